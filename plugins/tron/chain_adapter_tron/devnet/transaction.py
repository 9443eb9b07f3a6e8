"""A transaction as the local chain takes it: read once from its bytes, signatures recovered.

`sign_transaction` makes one from a contract message and a key, for the chain's own payments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coincurve import PrivateKey, PublicKey

from chain_adapter_tron.address import of_public_key, sha256
from chain_adapter_tron.codec import RESULT_BYTES
from chain_adapter_tron.devnet.schema import CONTRACTS, Unknown, read_message, write_message
from chain_adapter_tron.protobuf import Message, bytes_field, message_field, number_field

RESULTS = {
    "SUCCESS": 1, "REVERT": 2, "BAD_JUMP_DESTINATION": 3, "ILLEGAL_OPERATION": 8,
    "OUT_OF_ENERGY": 10, "UNKNOWN": 13,
}  # fmt: skip


class Refused(Exception):
    """The node refuses a transaction: `code` is its word, the text its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Tx:
    """`owner` is a 20-byte key; `fields` the contract's message; times in milliseconds."""

    raw_data: bytes
    signatures: tuple[bytes, ...]
    txid: str
    kind: int
    name: str
    fields: Mapping[str, Any] = field(repr=False)
    owner: bytes
    permission_id: int
    ref_block_bytes: bytes
    ref_block_hash: bytes
    expiration: int
    data: bytes
    fee_limit: int

    @property
    def size(self) -> int:
        """Bytes of bandwidth."""
        return len(self.encode(None)) + RESULT_BYTES

    def encode(self, result: str | None) -> bytes:
        """The transaction's bytes, with its result as a block holds it."""
        out = message_field(1, self.raw_data)
        for signature in self.signatures:
            out += message_field(2, signature)
        return out if result is None else out + message_field(5, number_field(3, RESULTS[result]))

    def key(self, name: str) -> bytes:
        """An address of the contract's message, as 20 bytes."""
        return bytes(self.fields[name])[1:]

    def number(self, name: str) -> int:
        return int(self.fields[name])


def read_tx(raw_data: bytes, signatures: Sequence[bytes]) -> Tx:
    """A transaction from its parts. Raises `Refused` for bytes that are none."""
    try:
        raw = Message(raw_data)
        contracts = raw.all_of(11)
        if len(contracts) != 1:
            raise Refused("CONTRACT_VALIDATE_ERROR", "contract size should be exactly 1")
        contract = Message(contracts[0])
        kind = contract.number(1)
        if kind not in CONTRACTS:
            raise Refused("CONTRACT_VALIDATE_ERROR", f"contract type {kind} is not known here")
        name, table = CONTRACTS[kind]
        fields = read_message(table, Message(contract.bytes_of(2)).bytes_of(2))
    except Unknown as error:
        raise Refused("CONTRACT_VALIDATE_ERROR", str(error)) from None
    except ValueError as error:
        raise Refused("OTHER_ERROR", f"Protocol buffer parse error: {error}") from None
    for field_, kind_ in ((n, k) for _, n, k in table if k == "address"):
        address = fields[field_]
        if len(address) != 21 or address[:1] != b"\x41":
            raise Refused("CONTRACT_VALIDATE_ERROR", f"Invalid {field_} ({kind_})!")
    return Tx(
        raw_data=raw_data,
        signatures=tuple(signatures),
        txid=sha256(raw_data).hex(),
        kind=kind,
        name=name,
        fields=fields,
        owner=bytes(fields["owner_address"])[1:],
        permission_id=contract.number(5),
        ref_block_bytes=raw.bytes_of(1),
        ref_block_hash=raw.bytes_of(4),
        expiration=raw.number(8),
        data=raw.bytes_of(10),
        fee_limit=raw.number(18),
    )


def decode_tx(data: bytes) -> Tx:
    """A transaction from the bytes that `broadcasthex` takes."""
    try:
        parts = Message(data)
    except ValueError as error:
        raise Refused("OTHER_ERROR", f"Protocol buffer parse error: {error}") from None
    return read_tx(parts.bytes_of(1), parts.all_of(2))


def signer_of(digest: bytes, signature: bytes) -> bytes:
    """The 20-byte key that signed; both ways to count the parity are taken. `ValueError`."""
    if len(signature) < 65:
        raise ValueError("signature size is below 65")
    parity = signature[64] - 27 if signature[64] >= 27 else signature[64]
    if parity > 3:
        raise ValueError(f"header byte out of range: {signature[64]}")
    compact = signature[:64] + bytes((parity,))
    point = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    return of_public_key(point.format())


def raw_data_of(
    kind: int,
    fields: Mapping[str, Any],
    ref_block: bytes,
    expiration: int,
    timestamp: int,
    *,
    data: bytes = b"",
    fee_limit: int = 0,
    permission_id: int = 0,
) -> bytes:
    """`raw_data` of any contract that this chain knows; `ref_block` is a block id."""
    name, table = CONTRACTS[kind]
    url = f"type.googleapis.com/protocol.{name}".encode()
    parameter = bytes_field(1, url) + bytes_field(2, write_message(table, fields))
    contract = number_field(1, kind) + message_field(2, parameter) + number_field(5, permission_id)
    return (
        bytes_field(1, ref_block[6:8]) + bytes_field(4, ref_block[8:16])
        + number_field(8, expiration) + bytes_field(10, data) + message_field(11, contract)
        + number_field(14, timestamp) + number_field(18, fee_limit)
    )  # fmt: skip


def sign_transaction(raw_data: bytes, *private_keys: bytes) -> Tx:
    """The transaction signed by each key."""
    digest = sha256(raw_data)
    signatures = [PrivateKey(key).sign_recoverable(digest, hasher=None) for key in private_keys]
    return read_tx(raw_data, signatures)
