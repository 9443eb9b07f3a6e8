"""Addresses: 20 bytes, told as 0x41 and these in Base58Check or hex. Pure.

One spelling is canonical, Base58Check ("T…"). Hex of 42 digits that begins with 41 is accepted;
hex without it, a test network's prefix (0xa0) and everything else is `InvalidAddress`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from coincurve import PublicKey
from Crypto.Hash import keccak as _keccak

from chain_adapter.chain import InvalidAddress, Rejected

PREFIX = b"\x41"
TEST_PREFIX = b"\xa0"
KEY_BYTES = 20
NOBODY = bytes(KEY_BYTES)
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = {
    first + second: high * 58 + low
    for high, first in enumerate(_ALPHABET)
    for low, second in enumerate(_ALPHABET)
}
_HEX = re.compile(r"(?:41|0x41)([0-9a-fA-F]{40})", re.ASCII)
_BARE_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{40}", re.ASCII)
_TEST_HEX = re.compile(r"(?:0x)?a0[0-9a-fA-F]{40}", re.ASCII | re.IGNORECASE)
_TEXT_BYTES = 25  # prefix, key, checksum
_PAIR_TEXTS = list(_PAIRS)
_LONGEST = 40
_POWERS = [58**count for count in range(11)]


def keccak(data: bytes) -> bytes:
    """Keccak-256 (not SHA3-256)."""
    return _keccak.new(digest_bits=256, data=data).digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _checksum(data: bytes) -> bytes:
    return sha256(sha256(data))[:4]


@lru_cache(maxsize=65_536)
def spell(key: bytes) -> str:
    """The canonical spelling of a 20-byte key."""
    data = PREFIX + key
    value = int.from_bytes(data + _checksum(data), "big")
    pairs = []
    while value:
        value, part = divmod(value, _POWERS[10])
        for _ in range(5):
            part, pair = divmod(part, 3364)
            pairs.append(_PAIR_TEXTS[pair])
    # The first byte is 0x41: the number begins with no zero, and what does is padding.
    return "".join(reversed(pairs)).lstrip("1")


def canonical(text: str) -> str:
    """The one spelling of an address in any accepted one. Raises `InvalidAddress`."""
    key = key_of(text)
    # Base58Check has one text for 25 bytes whose first is not zero.
    return text if text[0] == "T" else spell(key)


def key_of(text: str) -> bytes:
    """The 20 bytes of an address in any accepted spelling. Raises `InvalidAddress`."""
    if text[:1] != "T":
        return _other(text)
    return _decoded(text)


def _other(text: str) -> bytes:
    """Hex, or what is none of ours."""
    found = _HEX.fullmatch(text)
    if found is not None and not text.startswith("0x"):
        return bytes.fromhex(found[1])
    if _TEST_HEX.fullmatch(text):
        raise InvalidAddress(f"{text} begins with a0: it is of a test network, ours begin with 41")
    if found is not None or _BARE_HEX.fullmatch(text):
        raise InvalidAddress(f"{text} is hex without the leading 41: it may be of another chain")
    return _decoded(text)


@lru_cache(maxsize=8_192)
def _decoded(text: str) -> bytes:
    data = _base58(text)
    if data is None or len(data) != _TEXT_BYTES:
        raise InvalidAddress(f"{text[:80]!r} is no TRON address: it is T and 33 more characters")
    if data[-4:] != _checksum(data[:-4]):
        raise InvalidAddress(f"{text} has a wrong checksum: a character of it is wrong")
    if data[:1] == TEST_PREFIX:
        raise InvalidAddress(f"{text} is of a test network (prefix a0)")
    if data[:1] != PREFIX:
        raise InvalidAddress(f"{text} is of another network (prefix {data[:1].hex()})")
    return data[1:21]


def _base58(text: str) -> bytes | None:
    """The bytes; None where a letter is not of the alphabet or the number is too long."""
    size = len(text)
    if not size or size > _LONGEST:
        return None
    even = text if size % 2 == 0 else "1" + text
    value = 0
    try:
        for start in range(0, len(even), 10):  # ten letters fit a machine word: fast inside
            part = 0
            end = min(start + 10, len(even))
            for at in range(start, end, 2):
                part = part * 3364 + _PAIRS[even[at : at + 2]]
            value = value * _POWERS[end - start] + part
    except KeyError:
        return None
    zeros = size - len(text.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def of_public_key(public_key: bytes) -> bytes:
    """The 20-byte key of a public key in any encoding; `Rejected` if it is none."""
    try:
        point = PublicKey(public_key).format(compressed=False)
    except (ValueError, TypeError):
        raise Rejected("these bytes are no public key of secp256k1") from None
    return keccak(point[1:])[12:]
