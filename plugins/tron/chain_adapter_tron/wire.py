"""Shapes of the node's answers: only the fields that are needed, decoded straight from bytes.

The node leaves out what is zero, false or empty: every field has a default, and an answer without
any (`{}`) means "there is none".
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Value(Struct, gc=False):
    """The parameters of a contract, as far as they are looked at before its bytes are read."""

    owner_address: str = ""
    to_address: str = ""


class Parameter(Struct, gc=False):
    """The wrapper around a contract's parameters."""

    value: Value = msgspec.field(default_factory=Value)


class Contract(Struct, gc=False):
    """What a transaction does; its type may be one that this plugin does not know."""

    type: str = ""
    parameter: Parameter = msgspec.field(default_factory=Parameter)


class RawData(Struct, gc=False):
    """The node's own reading of `raw_data`: a filter only."""

    contract: list[Contract] = []


class Ret(Struct, gc=False):
    """The result that a block holds for a transaction."""

    contractRet: str = ""
    ret: str = ""
    fee: int = 0


class Tx(Struct, gc=False):
    """A transaction inside a block."""

    txID: str
    raw_data: RawData = msgspec.field(default_factory=RawData)
    raw_data_hex: str = ""
    ret: list[Ret] = []
    signature: list[str] = []


class HeaderRaw(Struct, gc=False):
    """The header of a block. `timestamp` is in milliseconds."""

    number: int = 0
    parentHash: str = ""
    timestamp: int = 0
    txTrieRoot: str = ""
    witness_address: str = ""
    witness_id: int = 0
    version: int = 0
    accountStateRoot: str = ""


class Header(Struct, gc=False):
    """The header and its signature, which is not looked at."""

    raw_data: HeaderRaw = msgspec.field(default_factory=HeaderRaw)


class BlockHead(Struct, gc=False):
    """A block without its transactions."""

    blockID: str = ""
    block_header: Header = msgspec.field(default_factory=Header)


class FullBlock(BlockHead, gc=False):
    """A block. `transactions` is left out where there are none."""

    transactions: list[Tx] = []


class BlockList(Struct, gc=False):
    """The answer to `getblockbylimitnext`."""

    block: list[FullBlock] = []


class Log(Struct, gc=False):
    """One event: an address without 41, topics without 0x, data left out where it is empty."""

    address: str = ""
    topics: list[str] = []
    data: str = ""


class CallValue(Struct, gc=False):
    """What one internal transaction carries: sun, or units of a TRC-10 token."""

    callValue: int = 0
    tokenId: str = ""


class Internal(Struct, gc=False):
    """An internal transaction. `note` is hex text: call, create, suicide, or a resource matter."""

    caller_address: str = ""
    transferTo_address: str = ""
    callValueInfo: list[CallValue] = []
    note: str = ""
    rejected: bool = False


class Receipt(Struct, gc=False):
    """What a transaction used. `result` is left out for contracts that run no code."""

    result: str = ""


class Info(Struct, gc=False):
    """What became of a transaction. `fee` is every sun that it burned."""

    id: str = ""
    fee: int = 0
    blockNumber: int = 0
    result: str = ""
    receipt: Receipt = msgspec.field(default_factory=Receipt)
    log: list[Log] = []
    internal_transactions: list[Internal] = []


class TokenBalance(Struct, gc=False):
    """One TRC-10 balance, by numeric id."""

    key: str = ""
    value: int = 0


class Account(Struct, gc=False):
    """An account. `{}`: there is none at this address."""

    address: str = ""
    balance: int = 0
    type: str = ""
    assetV2: list[TokenBalance] = []


class Resource(Struct, gc=False):
    """Bandwidth and energy of an account: limits and what is used of them."""

    freeNetUsed: int = 0
    freeNetLimit: int = 0
    NetUsed: int = 0
    NetLimit: int = 0
    EnergyUsed: int = 0
    EnergyLimit: int = 0


class Result(Struct, gc=False):
    """Whether a request was carried out; `message` is hex text, or plain on some calls."""

    result: bool = False
    code: str = ""
    message: str = ""


class DryRet(Struct, gc=False):
    """The result of a dry run: `FAILED` where it reverts."""

    ret: str = ""


class DryTx(Struct, gc=False):
    """The transaction of a dry run."""

    ret: list[DryRet] = []


class DryRun(Struct, gc=False):
    """The answer to `triggerconstantcontract`. Newer nodes tell the logs too."""

    result: Result = msgspec.field(default_factory=Result)
    energy_used: int = 0
    constant_result: list[str] = []
    transaction: DryTx = msgspec.field(default_factory=DryTx)
    logs: list[Log] | None = None


class Energy(Struct, gc=False):
    """The answer to `estimateenergy`."""

    result: Result = msgspec.field(default_factory=Result)
    energy_required: int = 0


class ChainParameter(Struct, gc=False):
    """One of the chain's parameters; its value is left out where it is zero."""

    key: str = ""
    value: int = 0


class ChainParameters(Struct, gc=False):
    """The answer to `getchainparameters`."""

    chainParameter: list[ChainParameter] = []


class Issue(Struct, gc=False):
    """A TRC-10 token as issued."""

    id: str = ""
    precision: int = 0


class Sending(Struct, gc=False):
    """The answer to a broadcast."""

    result: bool = False
    code: str = ""
    message: str = ""
    txid: str = ""


class Fault(Struct, gc=False, rename={"error": "Error"}):
    """What a node says instead of an answer, with HTTP status 200."""

    error: str = ""
