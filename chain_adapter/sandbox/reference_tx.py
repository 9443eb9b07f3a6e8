"""Transactions and addresses of the reference chain: pure, deterministic bytes.

A `Body` is what a signature commits to; `Body` and signatures are a transaction; a *payload* is a
body with what its bytes lack (the coins behind its inputs). All three are canonical JSON arrays:
bytes that do not encode again to themselves are refused, so no two texts mean one transaction.
Signatures are real secp256k1 (recoverable, 65 bytes r||s||v) over SHA-256 digests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import coincurve
import msgspec

from chain_adapter.chain import InvalidAddress, Rejected

NATIVE = b""
SCRIPT = b"\x51\x14"  # what a coin address puts before the hash, so that keys differ by family
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_ADDRESS = re.compile(r"r[acm]1[0-9a-f]{48}", re.ASCII)
_LETTER = {"account": "a", "coin": "c", "memo": "m"}
MEMO_MAX = 64  # bytes
MAX_AMOUNT = 2**256 - 1


class Flavour(StrEnum):
    """Which of the three families the reference chain plays."""

    ACCOUNT = "account"
    COIN = "coin"
    MEMO = "memo"


class Output(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One payment: asset key, address key, base units, memo."""

    asset: bytes
    to: bytes
    amount: int
    memo: bytes | None


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed. `price` is the most an account pays a unit of weight, the fee of a memo
    transaction, and 0 on coin chains, where the fee is inputs less outputs."""

    flavour: Flavour
    binds: str
    sender: bytes  # compressed public key; b"" on coin chains
    sequence: int | None
    inputs: tuple[str, ...]
    price: int
    outputs: tuple[Output, ...]
    expires: int | None
    salt: bytes


class Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signatures: tuple[bytes, ...]


class Payload(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A body and, for each input, the public key and amount behind it."""

    body: bytes
    behind: tuple[tuple[bytes, int], ...]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def encode(value: Body | Signed | Payload) -> bytes:
    return msgspec.json.encode(value)


def decode(data: bytes, kind: type[Any]) -> Any:
    """`data` as `kind`; `Rejected` unless it is the one canonical encoding of it."""
    try:
        value = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected(f"no {kind.__name__.lower()}: {error}") from None
    if msgspec.json.encode(value) != data:
        raise Rejected(f"no canonical {kind.__name__.lower()}")
    if kind is Body:
        _check(value)
    return value


def _check(body: Body) -> None:
    """Refuse a body whose parts do not fit its flavour."""
    coin = body.flavour is Flavour.COIN
    if coin != bool(body.inputs) or coin != (body.sender == b"") or (coin and body.sequence):
        raise Rejected("inputs, sender and sequence do not fit the flavour")
    if not coin and (body.sequence is None) != (body.expires is not None):
        raise Rejected("a transaction has a sequence or an expiry")
    if len(set(body.inputs)) != len(body.inputs):
        raise Rejected("an input stands there twice")
    numbers = [body.price, body.sequence or 0, body.expires or 0]
    numbers += [output.amount for output in body.outputs]
    if any(not 0 <= number <= MAX_AMOUNT for number in numbers):
        raise Rejected("a number is out of range")
    length = 22 if coin else 20
    for output in body.outputs:
        if len(output.to) != length or (output.memo and len(output.memo) > MEMO_MAX):
            raise Rejected("an output is malformed")
        if coin and (output.asset != NATIVE or output.memo is not None):
            raise Rejected("coins carry neither token nor memo")
    if not coin:
        check_public(body.sender)


def check_public(key: bytes) -> None:
    """Refuse bytes that are no compressed public key."""
    try:
        good = len(key) == 33 and coincurve.PublicKey(key).format() == key
    except ValueError:
        good = False
    if not good:
        raise Rejected("no compressed public key")


# --- addresses ----------------------------------------------------------------------------------


def key_of(flavour: Flavour, public_key: bytes) -> bytes:
    """The address key of a compressed public key."""
    hashed = sha256(public_key)[:20]
    return SCRIPT + hashed if flavour is Flavour.COIN else hashed


def spell(flavour: Flavour, key: bytes) -> str:
    """The canonical address of an address key: ``ra1`` / ``rc1`` / ``rm1``, hash, checksum."""
    hashed = key[-20:]
    check = sha256(flavour.encode() + hashed)[:4]
    return f"r{_LETTER[flavour]}1{hashed.hex()}{check.hex()}"


def parse(flavour: Flavour, text: str) -> str:
    """Canonical spelling; all upper case is allowed, mixed case is not. `InvalidAddress`."""
    low = text.lower() if text.isascii() and text == text.upper() else text
    if not _ADDRESS.fullmatch(low):
        raise InvalidAddress(f"{text[:80]!r} is no address of the reference chain")
    if spell(flavour, bytes.fromhex(low[3:43])) != low:
        raise InvalidAddress(f"{text[:80]!r}: wrong checksum or another flavour")
    return low


def unspell(flavour: Flavour, address: str) -> bytes:
    """The address key of an address in any spelling. `InvalidAddress`."""
    hashed = bytes.fromhex(parse(flavour, address)[3:43])
    return SCRIPT + hashed if flavour is Flavour.COIN else hashed


# --- signing ------------------------------------------------------------------------------------


def digests(body: bytes, behind: Sequence[tuple[bytes, int]]) -> tuple[bytes, ...]:
    """What is to be signed: one digest, or one an input that commits to the coin's key and amount,
    so that a false amount spoils the signature instead of raising the fee."""
    if not behind:
        return (sha256(b"reference/sign" + body),)
    return tuple(
        sha256(b"reference/coin" + sha256(body) + key + i.to_bytes(4) + amount.to_bytes(32))
        for i, (key, amount) in enumerate(behind)
    )


def sign(private_key: bytes, digest: bytes) -> bytes:
    """65 bytes r||s||v, deterministic (RFC 6979)."""
    return coincurve.PrivateKey(private_key).sign_recoverable(digest, hasher=None)


def signed_by(signature: bytes, digest: bytes) -> bytes | None:
    """The compressed public key that made `signature`; None if it is no signature."""
    if len(signature) != 65:
        return None
    try:
        return coincurve.PublicKey.from_signature_and_message(
            signature, digest, hasher=None
        ).format()
    except ValueError:
        return None


def txid_of(body: Body, raw: bytes, body_bytes: bytes) -> str:
    """Account chains with a sequence hash the signed bytes (and are malleable, as some real chains
    are); coin and memo chains and those that expire hash what is signed."""
    malleable = body.flavour is Flavour.ACCOUNT and body.sequence is not None
    return sha256(raw if malleable else body_bytes).hex()


def twin(signature: bytes) -> bytes:
    """The other signature (n - s) of the same key and digest."""
    other = _ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + other.to_bytes(32) + bytes([signature[64] ^ 1])


# --- weight, locks, places ----------------------------------------------------------------------


def weight(body: Body) -> int:
    """What the price is multiplied by."""
    match body.flavour:
        case Flavour.ACCOUNT:
            return 2 + len(body.outputs)
        case Flavour.COIN:
            return 2 * len(body.inputs) + len(body.outputs)
        case Flavour.MEMO:
            return 1


def locks_of(body: Body) -> tuple[str, ...]:
    """``ADDRESS/SEQUENCE``, or the outputs that are spent (``TXID:INDEX``), or none."""
    if body.flavour is Flavour.COIN:
        return body.inputs
    if body.sequence is None:
        return ()
    return (f"{spell(body.flavour, key_of(body.flavour, body.sender))}/{body.sequence}",)


def places(flavour: Flavour, outputs: Sequence[Output]) -> list[str]:
    """The place of each output: told by the bytes alone, so it never moves.

    Coins ``out/N``. Else the first native output is ``value``, further ones ``call/0.N`` (sent by
    a contract on the way), tokens ``log/N``.
    """
    if flavour is Flavour.COIN:
        return [f"out/{i}" for i in range(len(outputs))]
    made: list[str] = []
    natives = tokens = 0
    for output in outputs:
        if output.asset != NATIVE:
            made.append(f"log/{tokens}")
            tokens += 1
        else:
            made.append("value" if natives == 0 else f"call/0.{natives - 1}")
            natives += 1
    return made
