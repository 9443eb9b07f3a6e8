"""Transactions as bytes: `raw_data`, the three contracts that pay, the payload container. Pure.

The txid is the SHA-256 of `raw_data`, computed here and nowhere else. Reading is tolerant, as the
chain's own parser is; `read_payload` refuses every byte string that `write_payload` would not have
written, so one payload has one meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from coincurve import PublicKey

from chain_adapter.chain import Rejected
from chain_adapter_tron.address import KEY_BYTES, PREFIX, of_public_key, sha256
from chain_adapter_tron.protobuf import Message, bytes_field, message_field, number_field, varint

TRANSFER, TRANSFER_ASSET, CREATE_CONTRACT, TRIGGER = 1, 2, 30, 31
PAYING = {
    TRANSFER: "TransferContract",
    TRANSFER_ASSET: "TransferAssetContract",
    TRIGGER: "TriggerSmartContract",
}
_URL = b"type.googleapis.com/protocol."
MAGIC = b"trx\x01"
_PUBLIC_KEY_BYTES = 33
_SIGNATURE_BYTES = 65
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MOST = (1 << 63) - 1
"""The largest amount that a field of a transaction holds."""
RESULT_BYTES = 64
"""What the chain adds to a transaction's size, for its result, when it charges bandwidth."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a transaction does. Addresses are 20-byte keys; `asset` names a TRC-10 token by its id;
    `to` is the contract where `kind` is TRIGGER, and `amount` the TRX sent along."""

    kind: int
    owner: bytes
    to: bytes
    amount: int = 0
    asset: bytes = b""
    data: bytes = b""
    token_amount: int = 0
    token_id: int = 0

    def encode(self) -> bytes:
        """The contract message. `ValueError` for a kind that this plugin does not write."""
        owner, to = PREFIX + self.owner, PREFIX + self.to
        if self.kind == TRANSFER:
            return bytes_field(1, owner) + bytes_field(2, to) + number_field(3, self.amount)
        if self.kind == TRANSFER_ASSET:
            return (
                bytes_field(1, self.asset) + bytes_field(2, owner) + bytes_field(3, to)
                + number_field(4, self.amount)
            )  # fmt: skip
        if self.kind == TRIGGER:
            return (
                bytes_field(1, owner) + bytes_field(2, to) + number_field(3, self.amount)
                + bytes_field(4, self.data) + number_field(5, self.token_amount)
                + number_field(6, self.token_id)
            )  # fmt: skip
        raise ValueError(f"contract type {self.kind} is not one that this plugin writes")


@dataclass(frozen=True, slots=True)
class Raw:
    """`raw_data`: what is signed. Times in milliseconds, `fee_limit` in sun. `action` is None where
    the contract is of a type that moves nothing to others, or is unknown."""

    ref_block_bytes: bytes
    ref_block_hash: bytes
    expiration: int
    timestamp: int
    kind: int
    action: Action | None
    data: bytes = b""  # the memo
    fee_limit: int = 0
    permission_id: int = 0

    def encode(self) -> bytes:
        """The bytes whose SHA-256 is the txid."""
        if self.action is None:
            raise ValueError("nothing to write")
        url = _URL + PAYING[self.kind].encode()
        parameter = bytes_field(1, url) + bytes_field(2, self.action.encode())
        contract = (
            number_field(1, self.kind) + message_field(2, parameter)
            + number_field(5, self.permission_id)
        )  # fmt: skip
        return (
            bytes_field(1, self.ref_block_bytes) + bytes_field(4, self.ref_block_hash)
            + number_field(8, self.expiration) + bytes_field(10, self.data)
            + message_field(11, contract) + number_field(14, self.timestamp)
            + number_field(18, self.fee_limit)
        )  # fmt: skip


def read_raw(data: bytes) -> Raw:
    """`raw_data` read. `ValueError` for bytes that are none, or without just one contract."""
    raw = Message(data)
    contracts = raw.all_of(11)
    if len(contracts) != 1:
        raise ValueError(f"a transaction has one contract, this one {len(contracts)}")
    contract = Message(contracts[0])
    kind = contract.number(1)
    return Raw(
        ref_block_bytes=raw.bytes_of(1),
        ref_block_hash=raw.bytes_of(4),
        expiration=raw.number(8),
        timestamp=raw.number(14),
        kind=kind,
        action=_action(kind, Message(contract.bytes_of(2)).bytes_of(2)),
        data=raw.bytes_of(10),
        fee_limit=raw.number(18),
        permission_id=contract.number(5),
    )


def _action(kind: int, value: bytes) -> Action | None:
    if kind not in PAYING:
        return None
    told = Message(value)
    if kind == TRANSFER:
        return Action(kind, _key(told, 1), _key(told, 2), told.number(3))
    if kind == TRANSFER_ASSET:
        return Action(kind, _key(told, 2), _key(told, 3), told.number(4), told.bytes_of(1))
    return Action(
        kind, _key(told, 1), _key(told, 2), told.number(3), b"", told.bytes_of(4),
        told.number(5), told.number(6),
    )  # fmt: skip


def _key(told: Message, number: int) -> bytes:
    address = told.bytes_of(number)
    if len(address) != KEY_BYTES + 1 or address[:1] != PREFIX:
        raise ValueError(f"{address.hex()!r} is not 41 and 20 bytes")
    return address[1:]


def txid_of(raw_data: bytes) -> str:
    """The transaction's id: 64 hex digits, lower case."""
    return sha256(raw_data).hex()


def bandwidth_of(raw_data: bytes, signatures: int = 1) -> int:
    """Bytes of bandwidth that the chain charges for a transaction."""
    signed = len(raw_data) + 1 + len(varint(len(raw_data)))
    return signed + signatures * (_SIGNATURE_BYTES + 2) + RESULT_BYTES


# --- calls of a token -----------------------------------------------------------------------------

TRANSFER_SELECTOR = bytes.fromhex("a9059cbb")
_CALL_BYTES = 68
_PADDING = bytes(12)


def transfer_call(to: bytes, amount: int) -> bytes:
    """Calldata of `transfer(to, amount)`: exactly 68 bytes."""
    return TRANSFER_SELECTOR + _PADDING + to + amount.to_bytes(32, "big")


def read_transfer_call(data: bytes) -> tuple[bytes, int]:
    """Recipient and amount of `transfer(to, amount)`; `Rejected` for any other call."""
    if len(data) != _CALL_BYTES or data[:4] != TRANSFER_SELECTOR:
        raise Rejected("it calls the token with something other than transfer(to, amount)")
    if data[4:16] != _PADDING:
        raise Rejected("the recipient in its calldata is not an address")
    return data[16:36], int.from_bytes(data[36:], "big")


# --- payload --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payload:
    """What a payload holds, read back. `activates`: the recipient had no account at build time."""

    public_key: bytes
    activates: bool
    raw_data: bytes
    raw: Raw
    action: Action


def write_payload(public_key: bytes, activates: bool, raw: Raw) -> bytes:
    """The container: magic ‖ whether it may create an account ‖ compressed public key ‖ bytes."""
    return MAGIC + bytes((activates,)) + public_key + raw.encode()


@lru_cache(maxsize=1024)
def read_payload(payload: bytes) -> Payload:
    """A payload's content; `Rejected` unless `write_payload` would give the same bytes."""
    head = len(MAGIC) + 1
    body = head + _PUBLIC_KEY_BYTES
    if payload[: len(MAGIC)] != MAGIC or len(payload) <= body or payload[len(MAGIC)] > 1:
        raise Rejected("not a payload of the TRON plugin, or of a version this one does not know")
    public_key, raw_data = payload[head:body], payload[body:]
    try:
        raw = read_raw(raw_data)
        if raw.action is None or raw.encode() != raw_data:
            raise ValueError("it is not in the one form that this plugin writes")
    except ValueError as error:
        raise Rejected(f"payload holds no transaction that can be named: {error}") from None
    if of_public_key(public_key) != raw.action.owner:
        raise Rejected("the public key in the payload is not its owner's")
    return Payload(public_key, bool(payload[len(MAGIC)]), raw_data, raw, raw.action)


def sign_bytes(payload: Payload, signature: bytes) -> bytes:
    """The signed transaction, its signature verified; `Rejected` if it is another's or high-s."""
    if len(signature) != _SIGNATURE_BYTES or signature[64] > 1:
        raise Rejected("a signature is 65 bytes r, s, parity")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not (0 < r < _CURVE_ORDER and 0 < s <= _CURVE_ORDER // 2):
        raise Rejected("the signature's s is in the upper half or out of range")
    digest = sha256(payload.raw_data)
    try:
        signer = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except (ValueError, TypeError):
        raise Rejected("the signature is no signature of this transaction") from None
    if signer.format() != payload.public_key:
        raise Rejected("the signature is by another key than the payload's")
    return message_field(1, payload.raw_data) + message_field(2, signature)
