"""What the JSON-RPC answers, as typed records with only the fields that are read.

msgspec fills them straight from the bytes; a missing field or one of another type is an error of
the decoder, which `node.py` turns into `Unavailable`. Numbers stay hex text until they are needed.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar, cast

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

Address = Annotated[str, Meta(min_length=42, max_length=42)]
Hash = Annotated[str, Meta(min_length=66, max_length=66)]


class Fault(Struct, gc=False):
    """A JSON-RPC error object."""

    code: int = 0
    message: str = ""


class Answer(Struct, Generic[T], gc=False):
    """One JSON-RPC answer. `result` is None where the node says null or nothing."""

    id: int | str | None = None
    result: T | None = None
    error: Fault | None = None


class RawAnswer(Struct, gc=False):
    """One JSON-RPC answer whose result is left as JSON text."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Fault | None = None


class Tx(Struct, gc=False, rename={"sender": "from"}):
    """A transaction inside a block."""

    hash: str
    value: str = "0x0"
    to: str | None = None
    sender: str | None = None
    nonce: str = "0x0"


class Header(Struct, gc=False):
    """A block without its transactions."""

    number: str
    hash: Hash
    parentHash: Hash
    timestamp: str
    baseFeePerGas: str | None = None


class FullBlock(Struct, gc=False):
    """A block with its transactions."""

    number: str
    hash: Hash
    parentHash: Hash
    timestamp: str
    transactions: list[Tx]
    logsBloom: str = "0x"


class Log(Struct, gc=False):
    """One event. `logIndex` counts through the block; `topics` is a list of texts, left as JSON."""

    address: str
    topics: msgspec.Raw
    data: str
    blockHash: str
    transactionHash: str
    logIndex: str


class Receipt(Struct, gc=False, kw_only=True):
    """What a transaction did. `root` stands instead of `status` before Byzantium."""

    transactionHash: Hash
    blockHash: Hash
    gasUsed: str
    status: str | None = None
    root: str | None = None
    type: str = "0x0"
    effectiveGasPrice: str | None = None
    l1Fee: str | None = None
    blobGasUsed: str | None = None
    blobGasPrice: str | None = None


class FullReceipt(Receipt, gc=False, kw_only=True):
    """A receipt with its logs."""

    logs: list[Log]


class Place(Struct, gc=False):
    """Where a transaction stands."""

    blockHash: Hash | None = None
    blockNumber: str | None = None


class OldTx(Struct, gc=False):
    """Fields of a transaction that only a receipt without status or price asks for."""

    gas: str
    gasPrice: str = "0x0"
    input: str = "0x"


class Action(Struct, gc=False, rename={"sender": "from"}):
    """The action of a `trace_block` entry; `refundAddress` and `balance` of a self-destruct."""

    value: str = "0x0"
    callType: str | None = None
    to: str | None = None
    sender: str | None = None
    address: str | None = None
    refundAddress: str | None = None
    balance: str | None = None


class Created(Struct, gc=False):
    """The result of a traced creation."""

    address: str | None = None


class Trace(Struct, gc=False):
    """One entry of `trace_block`."""

    action: Action
    type: str
    traceAddress: list[int]
    blockHash: str | None = None
    transactionHash: str | None = None
    result: Created | None = None
    error: str | None = None


class Frame(Struct, gc=False, rename={"sender": "from"}):
    """One call of `callTracer`, with the calls inside it."""

    type: str
    sender: str | None = None
    to: str | None = None
    value: str | None = None
    error: str | None = None
    calls: list[Frame] | None = None


class TxFrames(Struct, gc=False):
    """`callTracer`'s answer for one transaction."""

    result: Frame | None = None
    txHash: str | None = None
    error: str | None = None


def answers(shape: type[T]) -> msgspec.json.Decoder[list[Answer[T]]]:
    """Decoder of a batch whose results have this shape."""
    return msgspec.json.Decoder(list[Answer[shape]])  # type: ignore[valid-type]


BLOCKS = answers(FullBlock)
HEADERS = answers(Header)
LOGS = answers(list[Log])
RECEIPTS = answers(Receipt)
BLOCK_RECEIPTS = answers(list[FullReceipt])
PLACES = answers(Place)
OLD_TXS = answers(OldTx)
TRACES = answers(list[Trace])
FRAMES = answers(list[TxFrames])
TEXTS = answers(str)
RAWS = cast(
    "msgspec.json.Decoder[list[Answer[msgspec.Raw]]]", msgspec.json.Decoder(list[RawAnswer])
)
LONE = msgspec.json.Decoder(RawAnswer)

header_of = msgspec.json.Decoder(Header | None).decode
texts_of = msgspec.json.Decoder(list[str]).decode
text_of = msgspec.json.Decoder(str).decode
