"""Transfers to addresses of ours, written as one set with their block; unspent ones are the coins.

`match` confirms exactly what the filter let through; `own_sent` does the same for what claims to
be sent by us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from chain_adapter.chain import Block, InvalidAddress, Sent, Transfer
from chain_adapter.core.deposits import Arrival, Key, Piece, key_of, moves_value, read_memo
from chain_adapter.core.states import Role
from chain_adapter.store import addresses, schema
from chain_adapter.store.store import Tx

T = schema.transfers
KeyOf = Callable[[str], bytes]
"""The chain's `address_key`."""

_MOST_ASKED = 500


def match(tx: Tx, chain: str, transfers: Iterable[Transfer], key: KeyOf) -> list[Arrival]:
    """Those that bring value to an address of ours, by its bytes; the others are not ours."""
    moving = [(one, key(one.to)) for one in transfers if moves_value(one)]
    senders = {one.sender: _key_or_none(key, one.sender) for one, _ in moving if one.sender}
    asked = [to for _, to in moving] + [sender for sender in senders.values() if sender]
    known = addresses.find(tx, chain, asked)
    arrivals = []
    for one, to in moving:
        ours = known.get(to)
        if ours is None:
            continue
        sender = known.get(senders.get(one.sender or "") or b"")
        own = sender is not None and sender.role is not Role.WATCHED
        arrivals.append(Arrival(one, ours.address, to, ours.is_credited, own))
    return arrivals


def _key_or_none(key: KeyOf, address: str) -> bytes | None:
    try:
        return key(address)
    except InvalidAddress:
        return None  # a contract's or a pool's name that is no address: not ours


def own_sent(tx: Tx, chain: str, blocks: Sequence[Block], key: KeyOf) -> list[Block]:
    """The blocks that show transactions of ours, stripped of any other.

    Ours: signed by an address whose key we hold, or spending a coin of ours. `Watch.senders` may
    say yes wrongly, and a stranger must not look like a foreign use of our key.
    """
    shown = [sent for block in blocks for sent in block.sent]
    if not shown:
        return []
    keys = {sent.sender: _key_or_none(key, sent.sender) for sent in shown if sent.sender}
    known = addresses.find(tx, chain, [one for one in keys.values() if one])
    locks = _known_locks(tx, chain, [lock for sent in shown for lock in sent.locks])

    def is_ours(sent: Sent) -> bool:
        sender = known.get(keys.get(sent.sender) or b"")
        return (sender is not None and sender.is_signing) or any(one in locks for one in sent.locks)

    stripped = [
        replace(block, sent=tuple(one for one in block.sent if is_ours(one))) for block in blocks
    ]
    return [block for block in stripped if block.sent]


def _known_locks(tx: Tx, chain: str, locks: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(locks), _MOST_ASKED):
        asked = locks[start : start + _MOST_ASKED]
        rows = tx.all(select(T.c.lock).where(T.c.chain == chain, T.c.lock.in_(asked)))
        found.update(row.lock for row in rows)
    return found


# --- writing --------------------------------------------------------------------------------------


def store(tx: Tx, chain: str, found: Sequence[tuple[Block, Sequence[Arrival]]]) -> None:
    """Write the transfers of blocks, all at once."""
    rows = [_row(chain, block, arrival) for block, arrivals in found for arrival in arrivals]
    if rows:
        tx.run(insert(T), rows)


def _row(chain: str, block: Block, arrival: Arrival) -> dict[str, Any]:
    one = arrival.transfer
    return {
        "chain": chain,
        "txid": one.txid,
        "place": one.place,
        "height": block.ref.height,
        "block_hash": block.ref.hash,
        "asset": one.asset,
        "to": arrival.to,
        "amount": str(one.amount),
        "sender": one.sender,
        "memo": one.memo,
        "memo_key": read_memo(one.memo).key,
        "proof": one.proof,
        "lock": one.lock,
        "matures": one.matures,
    }


def spend(tx: Tx, chain: str, block: Block) -> tuple[str, ...]:
    """Mark the coins that this block's transactions used up; the locks that were coins of ours."""
    used: list[str] = []
    for sent in block.sent:
        for lock in sent.locks:
            touched = tx.run(
                update(T)
                .where(T.c.chain == chain, T.c.lock == lock, T.c.spent_txid.is_(None))
                .values(spent_txid=sent.txid, spent_height=block.ref.height)
            )
            if touched:
                used.append(lock)
    return tuple(used)


def pop(tx: Tx, chain: str, above: int) -> None:
    """Remove what stands above a height, and unspend what was spent there."""
    tx.run(delete(T).where(T.c.chain == chain, T.c.height > above))
    tx.run(
        update(T)
        .where(T.c.chain == chain, T.c.spent_height > above)
        .values(spent_txid=None, spent_height=None)
    )


# --- reading --------------------------------------------------------------------------------------


def coins(tx: Tx, chain: str, at_height: int | None = None) -> dict[str, int]:
    """Lock -> base units of every output of ours, mature or not, that is unspent (or was, when
    the block at `at_height` had been read)."""
    unspent: ColumnElement[bool] = T.c.spent_txid.is_(None)
    if at_height is not None:
        unspent = or_(unspent, T.c.spent_height > at_height)
    rows = tx.all(
        select(T.c.lock, T.c.amount).where(T.c.chain == chain, T.c.lock.is_not(None), unspent)
    )
    return {row.lock: int(row.amount) for row in rows}


def at_height(tx: Tx, chain: str, height: int) -> list[Transfer]:
    """The stored transfers of one block."""
    rows = tx.all(select(T).where(T.c.chain == chain, T.c.height == height))
    return [
        Transfer(
            txid=row.txid,
            place=row.place,
            asset=row.asset,
            to=row.to,
            amount=int(row.amount),
            sender=row.sender,
            memo=None if row.memo is None else bytes(row.memo),
            proof=row.proof,
            lock=row.lock,
            matures=row.matures,
        )
        for row in rows
    ]


def pieces(arrivals: Iterable[Arrival]) -> list[Piece]:
    """What a comparison of two readings needs."""
    return [Piece(key_of(one), one.transfer.place, one.transfer.amount) for one in arrivals]


def immature(tx: Tx, chain: str, tip_height: int) -> set[Key]:
    """Deposits with an output that may not be spent yet."""
    rows = tx.all(
        select(T.c.asset, T.c.txid, T.c.to, T.c.memo_key)
        .where(T.c.chain == chain, T.c.matures > tip_height)
        .distinct()
    )
    return {Key(row.asset, row.txid, row.to, row.memo_key) for row in rows}
