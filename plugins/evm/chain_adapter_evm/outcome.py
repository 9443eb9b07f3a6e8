"""A block read, reduced to what is ours, turned into the core's `Block`. Pure.

Native value counts only with a receipt of status 1, and only for transaction types whose value is
known to be a payment. Where the main coin is also a contract, one movement that shows as log and
as value or call is counted once, as the log, which every method sees.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chain_adapter.chain import Block, BlockRef, Payment, Sent, Transfer, Unavailable
from chain_adapter_evm.codec import lock_of, spell
from chain_adapter_evm.logs import Movement
from chain_adapter_evm.match import Assets, key_of, number
from chain_adapter_evm.proof import Holder
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.trace import Call
from chain_adapter_evm.wire import Receipt, Tx


@dataclass(slots=True)
class Draft:
    """A block on its way, reduced to what concerns us."""

    ref: BlockRef
    parent_hash: str
    time: int
    bloom: str
    count: int  # of transactions
    txids: list[str]  # all of them, where something is held against them
    natives: list[tuple[Tx, bytes]] = field(default_factory=list)  # recipient's key beside it
    sent: list[Tx] = field(default_factory=list)
    arrived: list[Movement] = field(default_factory=list)
    left: list[Movement] = field(default_factory=list)
    expected: dict[Holder, int] = field(default_factory=dict)
    proofs: dict[Holder, bool | None] = field(default_factory=dict)
    calls: list[tuple[Call, bytes]] = field(default_factory=list)
    receipts: dict[str, Receipt] = field(default_factory=dict)  # of natives and sent, by txid
    internal: bool = False


def finish(where: str, draft: Draft, settings: Settings, assets: Assets, method: str) -> Block:
    """The block. Raises `Unavailable` where the node told a number that is none."""
    transfers: tuple[Transfer, ...] = ()
    sent: tuple[Sent, ...] = ()
    if draft.natives or draft.arrived or draft.calls:
        transfers = tuple(_transfers(where, draft, settings, assets))
    if draft.sent:
        sent = tuple(_sent(where, tx, draft, assets) for tx in draft.sent)
    return Block(
        ref=draft.ref,
        parent_hash=draft.parent_hash,
        time=draft.time,
        clock=draft.ref.height,
        transfers=transfers,
        sent=sent,
        method=method,
        internal=draft.internal,
    )


def _transfers(where: str, draft: Draft, settings: Settings, assets: Assets) -> list[Transfer]:
    found: list[Transfer] = []
    shown: Counter[tuple[str, bytes, int]] = Counter()  # main coin, by log: (txid, to, amount)
    for move in draft.arrived:
        if move.token.native:
            shown[move.txid, move.to, move.amount] += 1
        found.append(
            Transfer(
                txid=move.txid,
                place=move.place,
                asset=move.token.name,
                to=spell(move.to),
                amount=move.amount,
                sender=spell(move.sender),
                proof=draft.proofs.get((move.token.address, move.to)),
            )
        )
    if assets.native is None:
        return found
    coins = _values(where, draft, settings) + _calls(where, draft)
    for txid, place, sender, key, amount in coins:
        if shown[txid, key, amount]:
            shown[txid, key, amount] -= 1
            continue
        found.append(
            Transfer(
                txid=txid,
                place=place,
                asset=assets.native,
                to=spell(key),
                amount=amount,
                sender=sender,
            )
        )
    return found


_Coin = tuple[str, str, str | None, bytes, int]


def _values(where: str, draft: Draft, settings: Settings) -> list[_Coin]:
    found: list[_Coin] = []
    for tx, key in draft.natives:
        receipt = draft.receipts[tx.hash]
        amount = number(where, tx.value)
        if not succeeded(where, receipt) or not amount:
            continue
        if number(where, receipt.type) not in settings.value_types:
            continue  # minted by the protocol, or of a meaning unknown here: not a deposit
        sender = key_of(where, tx.sender) if tx.sender is not None else None
        if sender == key:
            continue
        place = "value" if tx.to is not None else "create"
        found.append((tx.hash.lower(), place, spell(sender) if sender else None, key, amount))
    return found


def _calls(where: str, draft: Draft) -> list[_Coin]:
    found: list[_Coin] = []
    for call, key in draft.calls:
        amount = number(where, call.value)
        sender = key_of(where, call.sender)
        if amount and sender != key:
            place = "call/" + ".".join(map(str, call.address))
            found.append((call.txid.lower(), place, spell(sender), key, amount))
    return found


def _sent(where: str, tx: Tx, draft: Draft, assets: Assets) -> Sent:
    receipt = draft.receipts[tx.hash]
    txid = tx.hash.lower()
    sender = spell(key_of(where, tx.sender or ""))
    ok = succeeded(where, receipt)
    moved: list[Payment] = []
    if ok:
        logs = [move for move in draft.left if move.txid == txid]
        moved = [Payment(move.token.name, spell(move.to), move.amount) for move in logs]
        amount = number(where, tx.value)
        if amount and assets.native is not None and tx.to is not None:
            key = key_of(where, tx.to)
            by_log = any(
                move.token.native
                and move.amount == amount
                and key in (move.to, assets.native_contract)
                for move in logs
            )
            if not by_log:
                moved.insert(0, Payment(assets.native, spell(key), amount))
    return Sent(
        txid=txid,
        sender=sender,
        locks=(lock_of(sender, number(where, tx.nonce)),),
        ok=ok,
        moved=tuple(moved),
        fee=fee_of(where, receipt),
        fee_asset=assets.fee_asset,
    )


def succeeded(where: str, receipt: Receipt) -> bool:
    """Whether the transaction did what it says; `Unavailable` if the receipt does not tell."""
    if receipt.status is None:
        raise Unavailable(f"{where}: the receipt of {receipt.transactionHash} has no status")
    return number(where, receipt.status) == 1


def fee_of(where: str, receipt: Receipt) -> int:
    """All wei that a transaction cost its sender beside its value, L1 and blob fees included."""
    if receipt.effectiveGasPrice is None:
        raise Unavailable(f"{where}: the receipt of {receipt.transactionHash} has no gas price")
    fee = number(where, receipt.gasUsed) * number(where, receipt.effectiveGasPrice)
    if receipt.l1Fee is not None:
        fee += number(where, receipt.l1Fee)
    if receipt.blobGasUsed is not None and receipt.blobGasPrice is not None:
        fee += number(where, receipt.blobGasUsed) * number(where, receipt.blobGasPrice)
    return fee
