"""Heights become settled: final by the head, and looked at twice. Only then is anything credited.

`due` names the blocks that have to be read again; `settle` compares both readings, holds what
differs, takes up what the first missed, and confirms the rest with its notifications, all in one
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update

from chain_adapter.chain import Block, BlockRef, Proof, Transfer
from chain_adapter.core.deposits import Arrival, Key, Terms, Why, compare, fold, key_of
from chain_adapter.core.scan import BATCH
from chain_adapter.core.states import Deposit
from chain_adapter.store import blocks, deposits, payouts_onchain, schema, transfers
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.blocks import Reading
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx

T = schema.blocks
Kinds = Mapping[str, frozenset[str]]
"""Method -> the kinds of places it sees."""

_WAITING = (Deposit.SEEN, Deposit.HELD)


@dataclass(frozen=True, slots=True)
class Again:
    """A block to be read again: after `parent`, and it must be `ref`."""

    ref: BlockRef
    parent: BlockRef


@dataclass(frozen=True, slots=True)
class Plan:
    """What could be settled now: up to `goal`, once `again` has been read."""

    goal: BlockRef
    again: tuple[Again, ...]
    coins: dict[str, int]  # coins of ours that were unspent before the first of them


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a commit got. `found` tells that it took something up and must look once more."""

    height: int
    confirmed: int
    found: bool


def plan(
    tx: Tx, chain: str, final_height: int, most: int, *, all_followed: bool, keeps_coins: bool
) -> Plan | None:
    """What to settle under a final height, with at most `most` second looks; None: nothing new.

    Only a block whose row is kept can be the goal: its hash is what endpoints are asked about.
    """
    state = blocks.chain(tx, chain)
    kept = blocks.newest_kept(tx, chain, final_height)
    if state is None or kept is None or kept.height <= state.settled_height:
        return None
    goal = BlockRef(kept.height, kept.hash)
    again = due(tx, chain, state.settled_height, goal.height, most, all_followed=all_followed)
    if len(again) == most:
        goal = again[-1].ref
    coins = transfers.coins(tx, chain, again[0].parent.height) if again and keeps_coins else {}
    return Plan(goal, tuple(again), coins)


def due(
    tx: Tx, chain: str, above: int, up_to: int, most: int, *, all_followed: bool
) -> list[Again]:
    """Blocks in (above, up_to] that must be looked at twice, lowest first, at most so many.

    Those with deposits that wait, and every one that was followed at the head.
    """
    holding = select(schema.deposits.c.height).where(
        schema.deposits.c.chain == chain,
        schema.deposits.c.state.in_(_WAITING),
        schema.deposits.c.height > above,
        schema.deposits.c.height <= up_to,
    )
    wanted: ColumnElement[bool] = T.c.height.in_(holding)
    if all_followed:
        wanted = or_(wanted, T.c.followed)
    rows = tx.all(
        select(T.c.height, T.c.hash, T.c.parent_hash)
        .where(T.c.chain == chain, T.c.height > above, T.c.height <= up_to, wanted)
        .order_by(T.c.height)
        .limit(most)
    )
    found = []
    for row in rows:
        # Where a chain skips heights the parent is the block before, however far below.
        kept = blocks.newest_kept(tx, chain, row.height - 1)
        is_parent = kept is not None and kept.hash == row.parent_hash
        parent_height = kept.height if kept is not None and is_parent else row.height - 1
        found.append(
            Again(BlockRef(row.height, row.hash), BlockRef(parent_height, row.parent_hash))
        )
    return found


def runs(again: Sequence[Again]) -> list[list[Again]]:
    """Blocks that follow each other, together: one range of reading each."""
    found: list[list[Again]] = []
    for one in again:
        if found and found[-1][-1].ref == one.parent and len(found[-1]) < BATCH:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def has_waiting(tx: Tx, chain: str) -> bool:
    """Whether a SEEN deposit stands at a settled height: immature, or released by a person."""
    table, state = schema.deposits, blocks.chain(tx, chain)
    settled_height = -1 if state is None else state.settled_height
    waiting = select(table.c.id).where(
        table.c.chain == chain, table.c.state == Deposit.SEEN, table.c.height <= settled_height
    )
    return tx.value(waiting.limit(1)) is not None


def confirm_waiting(tx: Tx, terms: Terms, tip_height: int) -> int:
    """Confirm those that have matured under a newer tip; how many."""
    state = blocks.chain(tx, terms.chain)
    if state is None:
        return 0
    return deposits.confirm_due(tx, terms, state.settled_height, tip_height)


def settle(
    tx: Tx, reading: Reading, target: BlockRef, looked: Sequence[Block], kinds: Kinds
) -> Settled:
    """Settle up to `target`, a kept block of ours, with the second readings it needs.

    A block in which something new was found is not settled: it is read once more. Raises
    `FilterOutdated`, `NotOurTip`; then nothing is changed.
    """
    name, row = reading.chain, blocks.locked(tx, reading)
    top, goal = blocks.tip(tx, name), blocks.at(tx, name, target.height)
    if top is None or goal is None or goal.hash != target.hash:
        raise blocks.NotOurTip(f"chain {name}: block {target.height} is no longer ours")
    height, found = goal.height, False
    for block in sorted(looked, key=lambda one: one.ref.height):
        mine = blocks.at(tx, name, block.ref.height)
        if mine is None or mine.hash != block.ref.hash:
            raise blocks.NotOurTip(f"chain {name}: block {block.ref.height} reads differently now")
        if _look(tx, reading, mine, block, kinds):
            height, found = block.ref.height - 1, True
            break
    if height < goal.height:
        kept = blocks.newest_kept(tx, name, height)
        goal = None if kept is None or kept.height <= row.settled_height else kept
    settled = row.settled_height
    if goal is not None and goal.height > settled:
        settled = goal.height
        tx.run(
            update(schema.chains)
            .where(schema.chains.c.chain == name)
            .values(settled_height=settled)
        )
        payouts_onchain.settle_to(tx, name, settled, goal.clock)
        blocks.prune(tx, name, settled, top.height, reading.reorg_limit)
    confirmed = deposits.confirm_due(tx, reading.terms, settled, top.height)
    return Settled(settled, confirmed, found)


def _look(tx: Tx, reading: Reading, mine: Row[Any], block: Block, kinds: Kinds) -> bool:
    """Hold one block's second reading against the first; whether something new was found."""
    name, height = reading.chain, block.ref.height
    first = _ours(tx, reading, transfers.at_height(tx, name, height))
    second = _ours(tx, reading, block.transfers)
    rows = deposits.at_height(tx, name, height)
    result = compare(
        transfers.pieces(first),
        transfers.pieces(second),
        kinds.get(mine.method, frozenset()),
        kinds.get(block.method, frozenset()),
    )
    seen_by_first = kinds.get(mine.method, frozenset())
    missed = {piece.name for piece in result.found if piece.kind in seen_by_first}
    if result.differ or missed:
        _name_readers(tx, reading, mine, block, {key.txid for key in result.differ | missed})
    for key in result.differ:
        if key in rows and not rows[key].released:
            deposits.hold(tx, rows[key], Why.SECOND_LOOK)
    _refute(tx, reading, rows, second)
    places = {(piece.name.txid, piece.place) for piece in result.found}
    found = [one for one in second if (one.transfer.txid, one.transfer.place) in places]
    if found:
        _take_up(tx, reading, rows, [*first, *found], found, block)
    for ours in transfers.own_sent(tx, name, [block], reading.key_of):
        # The first look may have missed it, and absence is a proof. It adds what is new.
        payouts_onchain.note_sent(tx, name, ours)
        if reading.keeps_coins:
            transfers.spend(tx, name, ours)
    blocks.cover(tx, reading, height, height, block, blocks.SECOND_LOOK)
    return bool(found)


def _name_readers(tx: Tx, reading: Reading, mine: Row[Any], block: Block, txids: set[str]) -> None:
    """One of two readings is wrong, or lacks something: say who made them."""
    first = f"{mine.endpoint or 'an earlier reading'} by {mine.method}"
    second = f"{reading.reader_of(block.ref) or 'the second look'} by {block.method}"
    shown = ", ".join(sorted(txids)[:5]) + (" …" if len(txids) > 5 else "")
    raise_alarm(
        tx, "readings_differ", reading.chain,
        f"block {block.ref.height}, read from {first} and from {second}, differs in {shown}",
        reading.chain,
    )  # fmt: skip


def _ours(tx: Tx, reading: Reading, shown: Sequence[Transfer]) -> list[Arrival]:
    return [
        one
        for one in transfers.match(tx, reading.chain, shown, reading.key_of)
        if one.transfer.asset in reading.terms.assets
    ]


def _refute(
    tx: Tx, reading: Reading, rows: Mapping[Key, Row[Any]], second: Sequence[Arrival]
) -> None:
    """A balance proof that only the second reading could make, and that contradicts."""
    for sighting in fold(second):
        row = rows.get(sighting.name)
        if row is None or sighting.proof is not False or row.proof is False or row.released:
            continue
        if reading.terms.assets[sighting.asset].proof is not Proof.OFF:
            deposits.hold(tx, row, Why.REFUTED)


def _take_up(
    tx: Tx,
    reading: Reading,
    rows: Mapping[Key, Row[Any]],
    whole: Sequence[Arrival],
    found: Sequence[Arrival],
    block: Block,
) -> None:
    """Book what the first reading missed: a new deposit, or more of one that nobody was told of."""
    transfers.store(tx, reading.chain, [(block, found)])
    names = {key_of(one) for one in found}
    record(
        tx, reading.chain, "found by second look", f"{reading.chain}:{block.ref.height}",
        txids=sorted({name.txid for name in names}), method=block.method,
    )  # fmt: skip
    new = []
    for sighting in fold(whole):
        if sighting.name not in names:
            continue
        row = rows.get(sighting.name)
        if row is None:
            new.append((sighting, block.ref))
        else:
            deposits.grow(tx, reading.terms, row, sighting, block.ref.height)
    deposits.see(tx, reading.terms, new)
