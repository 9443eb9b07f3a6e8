"""Bytes of the EVM: Keccak, RLP, addresses, transactions, and the payload container. Pure.

`payload` = magic ‖ compressed public key ‖ unsigned transaction. `read_payload` refuses every
byte string that `write_payload` would not have written, so one payload has one meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from coincurve import PublicKey
from Crypto.Hash import keccak as _keccak

from chain_adapter.chain import InvalidAddress, Rejected

ZERO_ADDRESS = bytes(20)
MAGIC = b"evm\x01"
_KEY_BYTES = 33
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_ADDRESS = re.compile(r"0x(?:[0-9a-fA-F]{40})", re.ASCII)
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
_WORD = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_SHORT = 55
# the bit that tells small letters from capitals, for hex letters, and for hex digits from 8 on
_LETTERS = bytes(0x20 if chr(c) in "abcdef" else 0 for c in range(256))
_MARKS = bytes(0x20 if chr(c) in "89abcdef" else 0 for c in range(256))


def keccak(data: bytes) -> bytes:
    """Keccak-256 (not SHA3-256)."""
    return _keccak.new(digest_bits=256, data=data).digest()


# --- numbers of the JSON-RPC --------------------------------------------------------------------


def quantity(text: str) -> int:
    """A `0x…` number of at most 256 bits; `ValueError` for anything else."""
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no quantity")
    return int(text, 16)


def word(text: str) -> int:
    """A number of exactly 32 bytes as hex; `ValueError` for anything else."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no 32-byte word")
    return int(text, 16)


# --- RLP ----------------------------------------------------------------------------------------


def rlp(item: bytes | int | Sequence[object]) -> bytes:
    """RLP of bytes, of an integer (big-endian, no leading zero) or of a sequence of these."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _head(0x80, len(item)) + item
    body = b"".join([rlp(part) for part in item])  # type: ignore[arg-type]
    return _head(0xC0, len(body)) + body


def _head(base: int, size: int) -> bytes:
    if size <= _SHORT:
        return bytes((base + size,))
    count = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((base + _SHORT + len(count),)) + count


def unrlp_flat(data: bytes) -> list[bytes | None]:
    """Items of one RLP list whose parts are byte strings; an empty list inside is None.

    `ValueError` for anything else. Minimal form is the caller's check (encode again, compare).
    """
    start, end, is_list = _span(data, 0)
    if not is_list or end != len(data):
        raise ValueError("no RLP list")
    items: list[bytes | None] = []
    while start < end:
        inner, stop, nested = _span(data, start)
        if nested and inner != stop:
            raise ValueError("a list inside is not empty")
        items.append(None if nested else data[inner:stop])
        start = stop
    if start != end:
        raise ValueError("an item reaches beyond its list")
    return items


def _span(data: bytes, at: int) -> tuple[int, int, bool]:
    if at >= len(data):
        raise ValueError("RLP ends early")
    first = data[at]
    if first < 0x80:
        return at, at + 1, False
    is_list = first >= 0xC0
    size = first - (0xC0 if is_list else 0x80)
    start = at + 1
    if size > _SHORT:
        count = size - _SHORT
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + size > len(data):
        raise ValueError("RLP ends early")
    return start, start + size, is_list


# --- addresses ----------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def spell(key: bytes) -> str:
    """EIP-55 spelling of 20 bytes: a letter is a capital where the hash's digit is 8 or more."""
    text = key.hex().encode()
    marks = keccak(text)[:20].hex().encode().translate(_MARKS)
    capital = int.from_bytes(text.translate(_LETTERS)) & int.from_bytes(marks)
    return "0x" + (int.from_bytes(text) ^ capital).to_bytes(40).decode()


def parse_address(text: str) -> str:
    """The EIP-55 spelling of an address in lower case, upper case or right mixed case.

    Raises `InvalidAddress`: another length, no ``0x``, a wrong checksum (EIP-55), ICAP.
    """
    if not _ADDRESS.fullmatch(text):
        raise InvalidAddress(f"{text[:60]!r} is no EVM address (0x and 40 hex digits)")
    digits = text[2:]
    spelled = spell(bytes.fromhex(digits))
    if digits not in (digits.lower(), digits.upper()) and text != spelled:
        raise InvalidAddress(f"{text!r} has a wrong checksum (EIP-55): a digit is mistyped")
    return spelled


@lru_cache(maxsize=1024)
def address_of(public_key: bytes) -> bytes:
    """The 20 bytes of the address of a secp256k1 public key; `Rejected` if it is none."""
    try:
        point = PublicKey(public_key).format(compressed=False)
    except (ValueError, TypeError):
        raise Rejected("not a secp256k1 public key") from None
    return keccak(point[1:])[12:]


def created_address(sender: bytes, nonce: int) -> bytes:
    """Where a contract created by a transaction of `sender` comes to stand."""
    return keccak(rlp((sender, nonce)))[12:]


def lock_of(address: str, nonce: int) -> str:
    """The lock that a transaction uses up: its account's canonical spelling and its nonce."""
    return f"{address}/{nonce}"


# --- transactions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A payment transaction before signing; `tip` is None for a legacy one (EIP-155).

    `max_fee` and `tip` are wei a gas: maxFeePerGas, or the gas price of a legacy transaction.
    """

    chain_id: int
    nonce: int
    max_fee: int
    tip: int | None
    gas: int
    to: bytes
    value: int
    data: bytes

    def encode(self) -> bytes:
        """The bytes that are hashed and signed (EIP-1559, or EIP-155)."""
        if self.tip is None:
            return rlp((*self._legacy(), self.chain_id, 0, 0))
        return b"\x02" + rlp(self._typed())

    def signed(self, r: int, s: int, parity: int) -> bytes:
        """The bytes that go to the node."""
        if self.tip is None:
            return rlp((*self._legacy(), self.chain_id * 2 + 35 + parity, r, s))
        return b"\x02" + rlp((*self._typed(), parity, r, s))

    def _legacy(self) -> tuple[bytes | int, ...]:
        return (self.nonce, self.max_fee, self.gas, self.to, self.value, self.data)

    def _typed(self) -> tuple[bytes | int | tuple[()], ...]:
        tip = self.tip or 0
        money = (self.max_fee, self.gas, self.to, self.value, self.data)
        return (self.chain_id, self.nonce, tip, *money, ())


@dataclass(frozen=True, slots=True)
class Payload:
    """What a payload holds, read back."""

    public_key: bytes
    sender: bytes
    tx: Unsigned
    digest: bytes  # what is signed


def write_payload(public_key: bytes, tx: Unsigned) -> bytes:
    """The payload container of a transaction that the key of `public_key` is to sign."""
    return MAGIC + public_key + tx.encode()


@lru_cache(maxsize=1024)
def read_payload(payload: bytes) -> Payload:
    """A payload's content; `Rejected` unless `write_payload` would give the same bytes."""
    body = len(MAGIC) + _KEY_BYTES
    if payload[: len(MAGIC)] != MAGIC or len(payload) <= body:
        raise Rejected("not a payload of the EVM plugin, or of a version this one does not know")
    public_key, raw = payload[len(MAGIC) : body], payload[body:]
    try:
        tx = _unsigned(raw)
    except ValueError as error:
        raise Rejected(f"payload holds no transaction that can be named: {error}") from None
    if tx.encode() != raw:
        raise Rejected("payload is not in its one canonical form")
    return Payload(public_key, address_of(public_key), tx, keccak(raw))


def _unsigned(raw: bytes) -> Unsigned:
    fields = 9
    if raw[0] == 2:
        items = unrlp_flat(raw[1:])
        if len(items) != fields or items[8] is not None:
            raise ValueError("not an EIP-1559 transaction without access list")
        chain_id, nonce, tip, max_fee, gas, to, value, data = _strings(items[:8])
        read_tip: int | None = _number(tip, 128)
    elif raw[0] >= 0xC0:
        items = unrlp_flat(raw)
        if len(items) != fields:
            raise ValueError("not a legacy transaction with a chain id")
        nonce, max_fee, gas, to, value, data, chain_id, zero, nought = _strings(items)
        read_tip = None
        if zero or nought:
            raise ValueError("not an unsigned legacy transaction")
    else:
        raise ValueError(f"transaction type {raw[0]} is not one this plugin builds")
    if len(to) != len(ZERO_ADDRESS):
        raise ValueError("no recipient")
    tx = Unsigned(
        chain_id=_number(chain_id, 64),
        nonce=_number(nonce, 64),
        max_fee=_number(max_fee, 128),
        tip=read_tip,
        gas=_number(gas, 63),
        to=to,
        value=_number(value, 256),
        data=data,
    )
    if tx.chain_id == 0:
        raise ValueError("no chain id: it would be valid on every chain")
    if tx.tip is not None and tx.tip > tx.max_fee:
        raise ValueError("the tip is above the cap")
    return tx


def _strings(items: Sequence[bytes | None]) -> list[bytes]:
    found = [item for item in items if item is not None]
    if len(found) != len(items):
        raise ValueError("a list stands where a value belongs")
    return found


def _number(data: bytes, bits: int) -> int:
    value = int.from_bytes(data, "big")
    if value.bit_length() > bits:
        raise ValueError("a number is too large")
    return value


def sign_bytes(payload: Payload, signature: bytes) -> bytes:
    """The signed transaction, its signature verified; `Rejected` if it is another's or high-s."""
    if len(signature) != 65 or signature[64] > 1:
        raise Rejected("a signature is 65 bytes r, s, parity")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < _CURVE_ORDER and 0 < s <= _CURVE_ORDER // 2):
        raise Rejected("the signature's s is in the upper half (EIP-2) or out of range")
    try:
        signer = PublicKey.from_signature_and_message(signature, payload.digest, hasher=None)
    except (ValueError, TypeError):
        raise Rejected("the signature is no signature of this transaction") from None
    if signer.format() != payload.public_key:
        raise Rejected("the signature is by another key than the payload's")
    return payload.tx.signed(r, s, signature[64])
