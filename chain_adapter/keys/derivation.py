"""From seed to keys: BIP-32 over secp256k1, SLIP-10 over ed25519, paths of BIP-44.

seed -> m/44'/coin'/account' (hardened: a leaked child cannot reach its siblings' accounts)
     -> /0/index by private derivation in the signer, or
     -> /0/index by public derivation in the daemon, from the account public key alone.
Account 0 is hot, 1 deposit, 2 gas.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from coincurve import PrivateKey, PublicKey

HARDENED: Final = 0x80000000
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_XPUB_VERSION: Final = bytes.fromhex("0488b21e")
_XPRV_VERSION: Final = bytes.fromhex("0488ade4")
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Account(IntEnum):
    """Which account of a coin type an address belongs to (BIP-44 level 3)."""

    HOT = 0
    DEPOSIT = 1
    GAS = 2


class DerivationError(ValueError):
    """An index out of range, a text that is no extended key, or the one key in 2^127 to skip."""


@dataclass(frozen=True, slots=True)
class PublicNode:
    """An extended public key (BIP-32). `public_key` is compressed, 33 bytes."""

    public_key: bytes
    chain_code: bytes
    depth: int = 0
    parent: bytes = b"\x00\x00\x00\x00"
    number: int = 0

    def child(self, index: int) -> PublicNode:
        """The non-hardened child. Raises `DerivationError` (BIP-32, CKDpub)."""
        _check_index(index)
        if index >= HARDENED:
            raise DerivationError("a hardened child needs the private key")
        left, chain_code = _split(self.chain_code, self.public_key + index.to_bytes(4))
        if not 0 < int.from_bytes(left) < _ORDER:
            raise DerivationError(f"child {index} does not exist: take the next index")
        try:
            point = PublicKey(self.public_key).add(left)
        except ValueError:
            raise DerivationError(f"child {index} does not exist: take the next index") from None
        return PublicNode(
            point.format(compressed=True), chain_code, self.depth + 1, self.fingerprint, index
        )

    @property
    def fingerprint(self) -> bytes:
        """The first four bytes of the key's HASH160 (BIP-32, serialization)."""
        return hash160(self.public_key)[:4]

    def xpub(self) -> str:
        """The Base58Check text (BIP-32, serialization)."""
        return _serialize(_XPUB_VERSION, self, self.public_key)

    @classmethod
    def parse(cls, text: str) -> PublicNode:
        """An `xpub…` text, its checksum and its point verified. Raises `DerivationError`."""
        raw = base58check_decode(text)
        if len(raw) != 78 or raw[:4] != _XPUB_VERSION:
            raise DerivationError("not an extended public key (xpub…)")
        try:
            PublicKey(raw[45:])
        except ValueError:
            raise DerivationError("the extended public key holds no point of the curve") from None
        return cls(raw[45:], raw[13:45], raw[4], raw[5:9], int.from_bytes(raw[9:13]))


@dataclass(frozen=True, slots=True)
class PrivateNode:
    """An extended private key (BIP-32). Never shown: its repr has no key."""

    private_key: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int = 0
    parent: bytes = b"\x00\x00\x00\x00"
    number: int = 0

    @classmethod
    def master(cls, seed: bytes) -> PrivateNode:
        """The root of a seed of 16 to 64 bytes (BIP-32, master key generation)."""
        if not 16 <= len(seed) <= 64:
            raise DerivationError(f"a seed has 16 to 64 bytes, not {len(seed)}")
        left, chain_code = _split(b"Bitcoin seed", seed)
        if not 0 < int.from_bytes(left) < _ORDER:
            raise DerivationError("this seed has no master key: make another")
        return cls(left, chain_code)

    def child(self, index: int) -> PrivateNode:
        """The child, hardened from 2^31 on. Raises `DerivationError` (BIP-32, CKDpriv)."""
        _check_index(index)
        public = self.public_key()
        material = b"\x00" + self.private_key if index >= HARDENED else public
        left, chain_code = _split(self.chain_code, material + index.to_bytes(4))
        tweak = int.from_bytes(left)
        key = (tweak + int.from_bytes(self.private_key)) % _ORDER
        if tweak >= _ORDER or key == 0:
            raise DerivationError(f"child {index} does not exist: take the next index")
        return PrivateNode(key.to_bytes(32), chain_code, self.depth + 1, hash160(public)[:4], index)

    def public_key(self) -> bytes:
        """Compressed, 33 bytes."""
        return PrivateKey(self.private_key).public_key.format(compressed=True)

    def public(self) -> PublicNode:
        """The same node without its private key (BIP-32, neuter)."""
        return PublicNode(self.public_key(), self.chain_code, self.depth, self.parent, self.number)

    def xprv(self) -> str:
        """The Base58Check text. A secret: for tests and ceremonies only."""
        return _serialize(_XPRV_VERSION, self, b"\x00" + self.private_key)


def account_node(seed: bytes, coin_type: int, account: int) -> PrivateNode:
    """m/44'/coin_type'/account' (BIP-44)."""
    node = PrivateNode.master(seed)
    for level in (44, coin_type, account):
        _check_level(level)
        node = node.child(HARDENED + level)
    return node


def path(coin_type: int, account: int, index: int, *, hardened: bool = False) -> str:
    """The path as it is stored and printed; `hardened` where the scheme has no public children.

    >>> path(60, Account.DEPOSIT, 7)
    "m/44'/60'/1'/0/7"
    """
    tail = f"0'/{index}'" if hardened else f"0/{index}"
    return f"m/44'/{coin_type}'/{int(account)}'/{tail}"


# --- SLIP-10, ed25519 ---------------------------------------------------------------------------


def ed25519_seed(seed: bytes, levels: tuple[int, ...]) -> bytes:
    """The 32-byte private seed at hardened `levels` (SLIP-0010, ed25519: hardened only)."""
    key, chain_code = _split(b"ed25519 seed", seed)
    for level in levels:
        _check_level(level)
        key, chain_code = _split(chain_code, b"\x00" + key + (HARDENED + level).to_bytes(4))
    return key


# --- inside -------------------------------------------------------------------------------------


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256."""
    from Crypto.Hash import RIPEMD160  # OpenSSL 3 hides it from hashlib on some systems

    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def base58check_decode(text: str) -> bytes:
    """The payload of a Base58Check text. Raises `DerivationError`."""
    number = 0
    for char in text:
        digit = _BASE58.find(char)
        if digit < 0 or len(text) > 200:
            raise DerivationError("not a Base58 text")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    raw = b"\x00" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
    if len(raw) < 5 or _checksum(raw[:-4]) != raw[-4:]:
        raise DerivationError("the checksum of the Base58 text is wrong")
    return raw[:-4]


def base58check_encode(payload: bytes) -> str:
    """The Base58Check text of `payload`."""
    raw = payload + _checksum(payload)
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\x00"))) + text


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]


def _serialize(version: bytes, node: PublicNode | PrivateNode, key: bytes) -> str:
    head = version + node.depth.to_bytes(1) + node.parent + node.number.to_bytes(4)
    return base58check_encode(head + node.chain_code + key)


def _split(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    digest = hmac.digest(key, data, "sha512")
    return digest[:32], digest[32:]


def _check_index(index: int) -> None:
    if not 0 <= index < 2**32:
        raise DerivationError(f"index {index} is outside 0 to 2^32-1")


def _check_level(level: int) -> None:
    if not 0 <= level < HARDENED:
        raise DerivationError(f"path level {level} is outside 0 to 2^31-1")
