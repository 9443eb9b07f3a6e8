"""Blocks that were read before, held against the books with today's code, addresses and assets.

What no row knows yet is booked with its block's second reading in the same transaction: a deposit
that nobody was told of goes on as one, more of a told one goes to the inbox. Our own transactions
that were missed are noted. Only settled heights: what is above them is read by the watcher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, update

from chain_adapter.chain import Block
from chain_adapter.core.deposits import Arrival, Key, Why, compare, decide, fold, key_of
from chain_adapter.core.states import Deposit
from chain_adapter.store import blocks, deposits, payouts_onchain, schema, transfers
from chain_adapter.store.blocks import Reading
from chain_adapter.store.events import move_deposit, record
from chain_adapter.store.settling import Kinds
from chain_adapter.store.store import Tx


class SecondLookNeeded(Exception):
    """Something was missed in these blocks: read them again by another method first."""

    def __init__(self, heights: Sequence[int]) -> None:
        super().__init__(f"blocks {', '.join(map(str, heights))}")
        self.heights = tuple(heights)


@dataclass(frozen=True, slots=True)
class Found:
    """What a batch brought to light: keys of deposits, new or grown; of those that went to a
    person instead; transactions of ours."""

    deposits: tuple[Key, ...] = ()
    inbox: tuple[Key, ...] = ()
    sent: tuple[str, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(
            self.deposits + other.deposits, self.inbox + other.inbox, self.sent + other.sent
        )


def settled_range(tx: Tx, chain: str, from_height: int, to_height: int) -> tuple[int, int] | None:
    """The part of a range that is settled; None when nothing of it is."""
    state = blocks.chain(tx, chain)
    last = -1 if state is None else min(to_height, state.settled_height)
    return None if state is None or last < from_height else (from_height, last)


def hold_against(
    tx: Tx,
    how: Reading,
    batch: Sequence[Block],
    looked: Mapping[int, Block],
    kinds: Kinds,
    wanted: frozenset[str],
) -> Found:
    """Book what the books lack of `batch`; `looked` are second readings by height.

    `wanted` are the assets that are taken up, of those that `how` judges by. Raises
    `FilterOutdated`, `NotOurTip`, and `SecondLookNeeded`; then nothing is changed.
    """
    name, row = how.chain, blocks.locked(tx, how)
    if batch[-1].ref.height > row.settled_height:
        raise blocks.NotOurTip(f"chain {name}: {batch[-1].ref.height} is not settled any more")
    sightings = {block.ref.height: _missed(tx, how, block, wanted) for block in batch}
    lacking = [h for h, missed in sightings.items() if missed.anything and h not in looked]
    if lacking:
        raise SecondLookNeeded(lacking)
    found = Found()
    for block in batch:
        height = block.ref.height
        kept = blocks.at(tx, name, height)
        if kept is not None and kept.hash != block.ref.hash:
            raise blocks.NotOurTip(f"chain {name}: block {height} reads differently now")
        missed = sightings[height]
        if missed.anything:
            found += _take_up(tx, how, block, looked[height], missed, kinds)
        found += _sent(tx, how, block)
    only = {one: terms for one, terms in how.terms.assets.items() if one in wanted}
    covering = replace(how, terms=replace(how.terms, assets=only))
    first, last = batch[0], batch[-1]
    blocks.cover(tx, covering, first.ref.height, last.ref.height, first, blocks.RESCAN)
    return found


def confirm(tx: Tx, how: Reading) -> None:
    """Tell what was booked at settled heights: it was read twice by then."""
    state = blocks.chain(tx, how.chain)
    if state is not None and state.tip is not None:
        deposits.confirm_due(tx, how.terms, state.settled_height, state.tip.height)


@dataclass(frozen=True, slots=True)
class _Missed:
    """What the books lack of one block, beside what they have of it."""

    known: tuple[Arrival, ...]
    fresh: tuple[Arrival, ...]
    listed_again: tuple[Row[Any], ...]  # ignored while their asset was off

    @property
    def anything(self) -> bool:
        return bool(self.fresh or self.listed_again)


def _ours(tx: Tx, how: Reading, shown: Sequence[Any], wanted: frozenset[str]) -> list[Arrival]:
    return [
        one
        for one in transfers.match(tx, how.chain, shown, how.key_of)
        if one.transfer.asset in wanted and one.transfer.asset in how.terms.assets
    ]


def _missed(tx: Tx, how: Reading, block: Block, wanted: frozenset[str]) -> _Missed:
    if not block.transfers:
        return _Missed((), (), ())
    stored = transfers.at_height(tx, how.chain, block.ref.height)
    places = {(one.txid, one.place) for one in stored}
    fresh = [
        one
        for one in _ours(tx, how, block.transfers, wanted)
        if (one.transfer.txid, one.transfer.place) not in places
    ]
    listed_again = [
        row
        for row in deposits.at_height(tx, how.chain, block.ref.height).values()
        if row.state == Deposit.IGNORED
        and row.reason == Why.ASSET_OFF
        and row.asset in wanted
        and row.asset in how.terms.assets
        and how.terms.assets[row.asset].enabled
    ]
    known = _ours(tx, how, stored, frozenset(how.terms.assets)) if fresh or listed_again else []
    return _Missed(tuple(known), tuple(fresh), tuple(listed_again))


def _take_up(
    tx: Tx, how: Reading, block: Block, second: Block, missed: _Missed, kinds: Kinds
) -> Found:
    name, height = how.chain, block.ref.height
    if second.ref != block.ref:
        raise blocks.NotOurTip(f"chain {name}: block {height} reads differently now")
    shown = _ours(tx, how, second.transfers, frozenset(how.terms.assets))
    result = compare(
        transfers.pieces([*missed.known, *missed.fresh]),
        transfers.pieces(shown),
        kinds.get(block.method, frozenset()),
        kinds.get(second.method, frozenset()),
    )
    names = {key_of(one) for one in missed.fresh}
    more = {(piece.name.txid, piece.place) for piece in result.found if piece.name in names}
    fresh = [
        *missed.fresh,
        *(one for one in shown if (one.transfer.txid, one.transfer.place) in more),
    ]
    transfers.store(tx, name, [(block, fresh)])
    if names:
        record(
            tx, name, "found by rescan", f"{name}:{height}",
            txids=sorted({one.txid for one in names}), method=block.method,
        )  # fmt: skip
    rows = deposits.at_height(tx, name, height)
    new, told = [], []
    for sighting in fold([*missed.known, *fresh]):
        if sighting.name not in names:
            continue
        row = rows.get(sighting.name)
        if row is None:
            new.append((sighting, block.ref))
            continue
        deposits.grow(tx, how.terms, row, sighting, height)
        if Deposit(row.state) in (Deposit.CONFIRMED, Deposit.CREDITED):
            told.append(sighting.name)
    deposits.see(tx, how.terms, new)
    again = [key for row in missed.listed_again if (key := _list_again(tx, how, row, missed))]
    # Nothing is confirmed that two readings do not agree on.
    for key, row in deposits.at_height(tx, name, height).items():
        if key in result.differ and key in {*names, *again} and not row.released:
            deposits.hold(tx, row, Why.SECOND_LOOK)
    grown = [key for key in names if key not in told]
    return Found(tuple(sorted([*grown, *again])), tuple(sorted(told)))


def _list_again(tx: Tx, how: Reading, row: Row[Any], missed: _Missed) -> Key | None:
    """A deposit that came while its asset was off, judged anew now that it is on."""
    key = deposits.name_of(row)
    for sighting in fold(missed.known):
        if sighting.name != key:
            continue
        decision = decide(sighting, how.terms.assets[row.asset], how.terms)
        if decision.state is Deposit.IGNORED:
            return None
        move_deposit(
            tx, row, Deposit.SEEN, "its asset is on now: rescan", reason=None,
            told=str(decision.told), remainder=str(decision.remainder),
        )  # fmt: skip
        if decision.state is Deposit.HELD:
            deposits.hold(tx, deposits.get(tx, row.id), str(decision.reason))
        tx.run(
            update(schema.inbox)
            .where(
                schema.inbox.c.chain == row.chain,
                schema.inbox.c.asset == row.asset,
                schema.inbox.c.txid == row.txid,
                schema.inbox.c.to == row.to,
                schema.inbox.c.memo_key == row.memo_key,
                schema.inbox.c.reason == Why.ASSET_OFF,
                schema.inbox.c.state == "open",
            )
            .values(state="assigned", note=f"deposit {row.id}, by rescan")
        )
        return key
    return None


def _sent(tx: Tx, how: Reading, block: Block) -> Found:
    """Our own transactions that the books may lack: idempotent, so all are noted."""
    found: tuple[str, ...] = ()
    for ours in transfers.own_sent(tx, how.chain, [block], how.key_of):
        payouts_onchain.note_sent(tx, how.chain, ours)
        if how.keeps_coins:
            transfers.spend(tx, how.chain, ours)
        found += tuple(sent.txid for sent in ours.sent)
    return Found(sent=found)
