"""A block on its way: its header held against itself, its results, its Transfer logs. Pure.

`open_block` and `take_infos` refuse what contradicts itself or is not whole; `moves_of` lists every
transfer of a configured token, whoever it concerns. Value counts only where the block
(`contractRet`) and the receipt both say SUCCESS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chain_adapter.chain import BlockRef, Unavailable
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.wire import FullBlock, Info, Log, Tx

TRANSFER_TOPIC = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_SUCCESS = "SUCCESS"
_FAILED = "FAILED"
_RUNS_CODE = ("TriggerSmartContract", "CreateSmartContract")
_PADDINGS = ("0" * 24, "0" * 22 + "41")


class Move(NamedTuple):
    """A Transfer log of a configured contract. Addresses are 40 hex digits, as logs name them."""

    txid: str
    at: int  # among all logs of its transaction
    contract: str
    sender: str
    to: str
    amount: int


@dataclass(slots=True)
class Draft:
    """A block on its way: `infos` by txid once they are there."""

    ref: BlockRef
    parent_hash: str
    timestamp_ms: int
    txs: Sequence[Tx]
    infos: Mapping[str, Info] = field(default_factory=dict)


def open_block(where: str, height: int, block: FullBlock) -> Draft:
    """The header held against itself. Raises `Unavailable` for a block that contradicts itself."""
    header = block.block_header.raw_data
    identity = block.blockID.lower()
    if header.number != height:
        raise Unavailable(f"{where} told block {header.number} for {height}")
    if len(identity) != 64 or identity[:16] != f"{height:016x}":
        raise Unavailable(f"{where}: block {height} has the id {block.blockID[:80]!r}")
    # What is in block 0 was never executed: it has no results, and nobody was paid by it.
    txs = block.transactions if height else []
    parent = header.parentHash.lower()
    return Draft(BlockRef(height, identity), parent, header.timestamp, txs)


def take_infos(where: str, draft: Draft, infos: Sequence[Info]) -> None:
    """Gives a block its results. `Unavailable` unless every transaction has one."""
    height = draft.ref.height
    found = {info.id.lower(): info for info in infos}
    missing = [tx.txID for tx in draft.txs if tx.txID.lower() not in found]
    if missing or len(infos) != len(draft.txs):
        raise Unavailable(
            f"{where}: block {height} has {len(draft.txs)} transactions, and {len(infos)} results "
            "are told: the node has not indexed it yet, or keeps no results"
        )
    other = next((info.blockNumber for info in infos if info.blockNumber != height), None)
    if other is not None:
        raise Unavailable(f"{where}: results of block {height} say block {other}")
    draft.infos = found


def moves_of(where: str, draft: Draft, assets: Assets) -> list[Move]:
    """Every Transfer of a configured contract in the block, whoever it concerns."""
    found: list[Move] = []
    if not assets.by_contract:
        return found
    for tx in draft.txs:
        info = draft.infos.get(tx.txID.lower())
        if info is None or not info.log or not did_run(tx, info):
            continue
        for index, log in enumerate(info.log):
            move = _move(where, tx.txID.lower(), index, log, assets)
            if move is not None:
                found.append(move)
    return found


def _move(where: str, txid: str, index: int, log: Log, assets: Assets) -> Move | None:
    contract = log.address.lower()
    if len(contract) == 42 and contract.startswith("41"):
        contract = contract[2:]
    if contract not in assets.by_contract or len(log.topics) != 3:
        return None
    topic, sender, to = (one.lower() for one in log.topics)
    if topic != TRANSFER_TOPIC or len(log.data) != 64:
        return None
    if len(sender) != 64 or len(to) != 64:
        return None
    if sender[:24] not in _PADDINGS or to[:24] not in _PADDINGS:
        return None
    try:
        amount = int.from_bytes(bytes.fromhex(log.data), "big")
    except ValueError:
        raise Unavailable(f"{where}: a log of {txid} is not hex") from None
    return Move(txid, index, contract, sender[24:], to[24:], amount)


def did_pay(tx: Tx, info: Info) -> bool:
    """`contractRet` of the block and the receipt, both. Contracts without code have no receipt
    result; for those that run code it must be there."""
    if not tx.ret or tx.ret[0].contractRet != _SUCCESS or info.result == _FAILED:
        return False
    kind = tx.raw_data.contract[0].type if tx.raw_data.contract else ""
    if kind in _RUNS_CODE:
        return info.receipt.result == _SUCCESS
    return info.receipt.result in ("", _SUCCESS)


def did_run(tx: Tx, info: Info) -> bool:
    """Whether logs and internal calls of this transaction count: its code ran, and to its end."""
    contracts = tx.raw_data.contract
    return bool(contracts) and contracts[0].type in _RUNS_CODE and did_pay(tx, info)


def bare(where: str, address: str) -> str:
    """40 hex digits of an address that the node told as 41 and these."""
    if len(address) != 42 or not address.startswith("41"):
        raise Unavailable(f"{where}: {address[:50]!r} is no address (41 and 40 hex digits)")
    return address[2:]


def keys_of(where: str, digits: list[str]) -> list[bytes]:
    """Address keys of hex digits, 40 each, all at once; `Unavailable` if one is no address."""
    if not digits:
        return []
    size = 20 * len(digits)
    try:
        packed = bytes.fromhex("".join(digits))
    except ValueError:
        packed = b""
    if len(packed) != size:
        raise Unavailable(f"{where}: an address is not 40 hex digits")
    return [packed[at : at + 20] for at in range(0, size, 20)]
