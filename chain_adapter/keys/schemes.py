"""The registry of signature schemes: what a message is, how it is signed, how keys are derived.

A chain names its scheme (`ChainInfo.scheme`); the signer asks the scheme for the private key at
(account, index) and signs with it. Every scheme is deterministic: the same message under the
same key gives the same signature, so a repeated request gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from coincurve import PrivateKey
from coincurve import PublicKey as Secp256k1PublicKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chain_adapter.errors import ConfigError
from chain_adapter.keys.derivation import (
    DerivationError,
    PublicNode,
    account_node,
    ed25519_seed,
    path,
)

_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class Scheme(Protocol):
    """One signature scheme: what a message is, and how keys are made from a seed."""

    name: str
    derives_publicly: bool
    """Whether the daemon can derive addresses from an account public key by itself."""

    def private_keys(self, seed: bytes, coin_type: int, account: int) -> Callable[[int], bytes]:
        """index -> private key, with the way down to the account gone only once."""
        ...

    def public_key(self, private_key: bytes) -> bytes: ...

    def account_public_key(self, seed: bytes, coin_type: int, account: int) -> str:
        """The text from which `derive` works; empty where there is no public derivation."""
        ...

    def derive(self, account_public_key: str, index: int) -> bytes:
        """The public key at `index` without any secret. Raises `DerivationError`."""
        ...

    def path(self, coin_type: int, account: int, index: int) -> str: ...

    def sign(self, private_key: bytes, message: bytes) -> bytes: ...

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


class Secp256k1:
    """A message is a 32-byte digest; a signature r‖s‖v, 65 bytes, low s, v 0 to 3 (RFC 6979)."""

    name = "secp256k1"
    derives_publicly = True

    def private_keys(self, seed: bytes, coin_type: int, account: int) -> Callable[[int], bytes]:
        branch = account_node(seed, coin_type, account).child(0)
        return lambda index: branch.child(index).private_key

    def public_key(self, private_key: bytes) -> bytes:
        return PrivateKey(private_key).public_key.format(compressed=True)

    def account_public_key(self, seed: bytes, coin_type: int, account: int) -> str:
        return account_node(seed, coin_type, account).public().xpub()

    def derive(self, account_public_key: str, index: int) -> bytes:
        return _change_node(account_public_key).child(index).public_key

    def path(self, coin_type: int, account: int, index: int) -> str:
        return path(coin_type, account, index)

    def sign(self, private_key: bytes, message: bytes) -> bytes:
        if len(message) != 32:
            raise ValueError(f"secp256k1 signs a 32-byte digest, not {len(message)} bytes")
        return PrivateKey(private_key).sign_recoverable(message, hasher=None)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether r‖s‖v is by this key; a high s or a v that recovers another key is not."""
        if len(message) != 32 or len(signature) != 65 or signature[64] > 3:
            return False
        if int.from_bytes(signature[32:64]) > _HALF_ORDER:
            return False
        try:
            found = Secp256k1PublicKey.from_signature_and_message(signature, message, hasher=None)
            return found == Secp256k1PublicKey(public_key)
        except ValueError:
            return False


@lru_cache(maxsize=64)
def _change_node(account_public_key: str) -> PublicNode:
    """The external chain of an account, kept: pools are derived in thousands."""
    return PublicNode.parse(account_public_key).child(0)


class Ed25519:
    """A message is the bytes themselves; a signature 64 bytes (RFC 8032). No public children."""

    name = "ed25519"
    derives_publicly = False

    def private_keys(self, seed: bytes, coin_type: int, account: int) -> Callable[[int], bytes]:
        return lambda index: ed25519_seed(seed, (44, coin_type, account, 0, index))

    def public_key(self, private_key: bytes) -> bytes:
        key = Ed25519PrivateKey.from_private_bytes(private_key).public_key()
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def account_public_key(self, seed: bytes, coin_type: int, account: int) -> str:
        return ""

    def derive(self, account_public_key: str, index: int) -> bytes:
        raise DerivationError("ed25519 has no public derivation: the signer exports keys ahead")

    def path(self, coin_type: int, account: int, index: int) -> str:
        return path(coin_type, account, index, hardened=True)

    def sign(self, private_key: bytes, message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(private_key).sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


SCHEMES: Final[dict[str, Scheme]] = {s.name: s for s in (Secp256k1(), Ed25519())}


def scheme_named(name: str) -> Scheme:
    """The scheme a chain names. Raises `ConfigError` for one that is not built in."""
    try:
        return SCHEMES[name]
    except KeyError:
        known = ", ".join(sorted(SCHEMES))
        raise ConfigError(f"signature scheme {name!r} is not known; there are {known}") from None
