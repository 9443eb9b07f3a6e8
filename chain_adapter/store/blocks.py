"""Blocks in the books: the highest row is the tip, and the tip is the scan cursor.

`commit` writes blocks with all that they imply in one transaction; `pop` undoes the tip. Both
name what they expect to find, so a second writer cannot bend the chain. Rows stay for all above
the settled height and for at least `reorg_limit` below the tip; while catching up only for blocks
that hold something. What becomes final: `store.settling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, select, update

from chain_adapter.chain import Block, BlockRef
from chain_adapter.core import scan
from chain_adapter.core.deposits import Arrival, Terms, fold
from chain_adapter.errors import ConfigError, StateConflict
from chain_adapter.store import addresses, deposits, pauses, payouts_onchain, schema, transfers
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx

T = schema.blocks
CHAINS = schema.chains
COVERAGE = schema.coverage

FIRST_LOOK, SECOND_LOOK, RESCAN = 1, 2, 3


class FilterOutdated(StateConflict):
    """Addresses were added since the filter was made: bring it up to date and read again."""


class NotOurTip(StateConflict):
    """The blocks do not follow our tip: look at the tip again."""


class NoDeeper(StateConflict):
    """A reorganisation goes below the oldest block we keep. Needs a person."""


def _nobody(_ref: BlockRef) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """How blocks are read and booked; the same for the daemon and for a recorded scan."""

    terms: Terms
    key_of: transfers.KeyOf
    counter: int  # address counter that the filter was made from
    head_height: int
    reorg_limit: int
    plugin_version: str
    followed_from: int  # blocks from here on are looked at twice, whatever they hold
    keeps_coins: bool = False
    reader_of: Callable[[BlockRef], str | None] = _nobody  # the endpoint that read a block

    @property
    def chain(self) -> str:
        return self.terms.chain


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit changed, for caches in memory."""

    tip: BlockRef
    deposits: int
    coins_made: dict[str, int]
    coins_spent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain's row and tip."""

    identity: str | None
    finality: str | None
    start_height: int | None
    head_height: int
    settled_height: int
    tip: BlockRef | None
    tip_time: int | None  # Unix seconds, as the block says


# --- the chain itself -----------------------------------------------------------------------------


def chain(tx: Tx, name: str) -> Chain | None:
    """What the books hold of a chain; None before its first start."""
    row = tx.one(select(CHAINS).where(CHAINS.c.chain == name))
    if row is None:
        return None
    top = tip(tx, name)
    return Chain(
        row.identity,
        row.finality,
        row.start_height,
        row.head_height,
        row.settled_height,
        None if top is None else BlockRef(top.height, top.hash),
        None if top is None else top.time,
    )


def pin_identity(tx: Tx, name: str, identity: str) -> None:
    """Record the network at the first answer; hold every later one to it. `ConfigError`."""
    addresses.ensure_chain(tx, name)
    pinned = tx.value(select(CHAINS.c.identity).where(CHAINS.c.chain == name))
    if pinned is None:
        tx.run(update(CHAINS).where(CHAINS.c.chain == name).values(identity=identity))
        record(tx, name, "identity pinned", name, identity=identity)
    elif pinned != identity:
        raise ConfigError(
            f"chain {name}: the ledger is pinned to {pinned}, the endpoints serve {identity}. "
            "Another network needs another name under [chains]"
        )


def begin(tx: Tx, name: str, finality: scan.Finality, start_height: int) -> None:
    """First start: from which height on everything is read, and what makes a block final."""
    tx.run(
        update(CHAINS)
        .where(CHAINS.c.chain == name, CHAINS.c.start_height.is_(None))
        .values(finality=finality, start_height=start_height, settled_height=start_height - 1)
    )
    record(tx, name, "scan begun", name, start_height=start_height, finality=finality)


def change_finality(tx: Tx, name: str, old: str, new: scan.Finality) -> None:
    """The operator set or removed `confirmations`: recorded, never silent."""
    tx.run(update(CHAINS).where(CHAINS.c.chain == name).values(finality=new))
    record(tx, name, "finality changed", name, was=old, now=new)


def tip(tx: Tx, name: str) -> Row[Any] | None:
    """The highest block; None before the first."""
    return tx.one(select(T).where(T.c.chain == name).order_by(T.c.height.desc()).limit(1))


def at(tx: Tx, name: str, height: int) -> Row[Any] | None:
    """The block of a height, where its row is kept."""
    return tx.one(select(T).where(T.c.chain == name, T.c.height == height))


def newest_kept(tx: Tx, name: str, up_to: int) -> Row[Any] | None:
    """The highest kept block at or below a height."""
    return tx.one(
        select(T).where(T.c.chain == name, T.c.height <= up_to)
        .order_by(T.c.height.desc()).limit(1)
    )  # fmt: skip


def locked(tx: Tx, reading: Reading) -> Row[Any]:
    """The chain's row, locked, with the counter that the filter was made from.

    Inserts of addresses wait for this transaction, or it sees them. Raises `FilterOutdated`.
    """
    row = tx.one(select(CHAINS).where(CHAINS.c.chain == reading.chain).with_for_update())
    if row is None or row.start_height is None:
        raise StateConflict(f"chain {reading.chain} has not begun")
    if row.address_count != reading.counter:
        raise FilterOutdated(
            f"chain {reading.chain}: {row.address_count} addresses, the filter was made of "
            f"{reading.counter}"
        )
    return row


# --- commit ---------------------------------------------------------------------------------------


def commit(tx: Tx, reading: Reading, batch: Sequence[Block]) -> Committed:
    """Book blocks that follow our tip, with everything they imply, in one transaction.

    Raises `NotOurTip`, `FilterOutdated`; then nothing is changed.
    """
    name, row = reading.chain, locked(tx, reading)
    top = tip(tx, name)
    before = row.start_height - 1 if top is None else top.height
    first, last = batch[0], batch[-1]
    broken = scan.broken_link("" if top is None else top.hash, batch)
    if broken is not None or first.ref.height <= before:
        raise NotOurTip(f"chain {name}: block {first.ref.height} does not follow tip {before}")
    arrivals = _arrivals(tx, reading, batch)
    transfers.store(tx, name, arrivals)
    # After the coins are stored: a transaction may spend one of the same batch.
    sent = transfers.own_sent(tx, name, batch, reading.key_of)
    spent: tuple[str, ...] = ()
    for block in sent:
        if reading.keeps_coins:
            spent += transfers.spend(tx, name, block)
        payouts_onchain.note_sent(tx, name, block)
    seen = [(one, block.ref) for block, found in arrivals for one in fold(found)]
    deposits.see(tx, reading.terms, seen)
    _keep_rows(
        tx, reading, batch, {b.ref.height for b, _ in arrivals} | {b.ref.height for b in sent}
    )
    cover(tx, reading, before + 1, last.ref.height, first, FIRST_LOOK)
    if reading.head_height != row.head_height:
        note_head(tx, name, reading.head_height)
    made = {
        one.transfer.lock: one.transfer.amount
        for _, found in arrivals
        for one in found
        if one.transfer.lock is not None
    }
    return Committed(last.ref, len(seen), made, spent)


def _arrivals(
    tx: Tx, reading: Reading, batch: Sequence[Block]
) -> list[tuple[Block, list[Arrival]]]:
    """The blocks that brought something, with what is ours of it: one look-up for all."""
    holding = [block for block in batch if block.transfers]
    if not holding:
        return []
    both = [one for block in holding for one in block.transfers]
    matched = {
        (one.transfer.txid, one.transfer.place): one
        for one in transfers.match(tx, reading.chain, both, reading.key_of)
        if one.transfer.asset in reading.terms.assets
    }
    found = [
        (
            block,
            [
                matched[one.txid, one.place]
                for one in block.transfers
                if (one.txid, one.place) in matched
            ],
        )
        for block in holding
    ]
    return [(block, arrivals) for block, arrivals in found if arrivals]


def _keep_rows(tx: Tx, reading: Reading, batch: Sequence[Block], holding: set[int]) -> None:
    keep_from = min(reading.head_height - reading.reorg_limit, reading.followed_from)
    last = batch[-1].ref.height
    rows = [
        {
            "chain": reading.chain,
            "height": block.ref.height,
            "hash": block.ref.hash,
            "parent_hash": block.parent_hash,
            "time": block.time,
            "clock": block.clock,
            "method": block.method,
            "endpoint": reading.reader_of(block.ref),
            "followed": block.ref.height >= reading.followed_from,
        }
        for block in batch
        if block.ref.height >= keep_from or block.ref.height in holding or block.ref.height == last
    ]
    tx.run(insert(T), rows)


def note_head(tx: Tx, name: str, height: int) -> None:
    """The newest head told to us, for whoever reads the books without the node."""
    tx.run(update(CHAINS).where(CHAINS.c.chain == name).values(head_height=height))


def cover(tx: Tx, reading: Reading, start: int, end: int, block: Block, look: int) -> None:
    """Note that heights were read; a range that ends just before them is extended in place."""
    same = and_(
        COVERAGE.c.chain == reading.chain,
        COVERAGE.c.look == look,
        COVERAGE.c.to_height == start - 1,
        COVERAGE.c.method == block.method,
        COVERAGE.c.plugin_version == reading.plugin_version,
        COVERAGE.c.assets == ",".join(sorted(reading.terms.assets)),
        COVERAGE.c.internal.is_(block.internal),
    )
    if tx.run(update(COVERAGE).where(same).values(to_height=end)):
        return
    tx.run(
        insert(COVERAGE).values(
            chain=reading.chain,
            from_height=start,
            to_height=end,
            method=block.method,
            plugin_version=reading.plugin_version,
            assets=",".join(sorted(reading.terms.assets)),
            internal=block.internal,
            look=look,
        )
    )


def prune(tx: Tx, name: str, settled_height: int, tip_height: int, reorg_limit: int) -> None:
    """Drop rows below the settled height that no reorganisation worth following reaches."""
    below = min(settled_height, tip_height - reorg_limit)
    tx.run(delete(T).where(T.c.chain == name, T.c.height < below))


# --- pop ------------------------------------------------------------------------------------------


def pop(tx: Tx, name: str, expected: BlockRef, popped_before: int, reorg_limit: int) -> int:
    """Undo the tip and all it implied; the height up to which we have read now.

    `popped_before` counts the blocks that this reorganisation popped already. Too deep a one, one
    that reaches a settled block, and one that takes a confirmed deposit pause the chain. Raises
    `NotOurTip`, `NoDeeper`.
    """
    row = tx.one(select(CHAINS).where(CHAINS.c.chain == name).with_for_update())
    top = tip(tx, name)
    if row is None or top is None or BlockRef(top.height, top.hash) != expected:
        raise NotOurTip(f"chain {name}: {expected.height} {expected.hash} is not the tip")
    below = newest_kept(tx, name, top.height - 1)
    if below is None and top.height > row.start_height and row.settled_height >= row.start_height:
        raise NoDeeper(
            f"chain {name}: a reorganisation goes below block {top.height}, the oldest that is "
            "kept. Compare with another node, then `recover` or `rescan`"
        )
    to = int(row.start_height - 1 if below is None else below.height)
    was_settled = top.height <= row.settled_height
    transfers.pop(tx, name, to)
    reversed_count = deposits.pop(tx, name, to)
    payouts_onchain.pop_block(tx, name, top.height, was_settled=was_settled)
    _uncover(tx, name, to)
    tx.run(delete(T).where(T.c.chain == name, T.c.height > to))
    if row.settled_height > to:
        tx.run(update(CHAINS).where(CHAINS.c.chain == name).values(settled_height=to))
    record(
        tx, name, "block popped", f"{name}:{top.height}",
        hash=top.hash, was_settled=was_settled, reversed=reversed_count,
    )  # fmt: skip
    if was_settled or reversed_count or scan.is_too_deep(popped_before + 1, reorg_limit):
        stop_for_reorg(tx, name, f"block {top.height} {top.hash} was popped", popped_before + 1)
    return to


def stop_for_reorg(tx: Tx, name: str, what: str, depth: int) -> None:
    """The circuit breaker: nothing is credited or signed until a person has looked."""
    message = f"{what}, {depth} deep: it was final, or deeper than the limit"
    raise_alarm(tx, "deep_reorg", name, message, name)
    pauses.pause(tx, name, None, "adapter", message)


def endpoints_differ(tx: Tx, name: str, message: str) -> None:
    """Endpoints show different blocks at credit depth: nothing is credited until a person looks."""
    raise_alarm(tx, "endpoints_differ", name, message, name)
    pauses.pause(tx, name, None, "adapter", message)


def _uncover(tx: Tx, name: str, to: int) -> None:
    mine = COVERAGE.c.chain == name
    tx.run(delete(COVERAGE).where(mine, COVERAGE.c.from_height > to))
    tx.run(update(COVERAGE).where(mine, COVERAGE.c.to_height > to).values(to_height=to))


def holes(tx: Tx, name: str) -> list[tuple[int, int]]:
    """Heights between start and tip that no first look covers; empty in sound books."""
    row, top = tx.one(select(CHAINS).where(CHAINS.c.chain == name)), tip(tx, name)
    if row is None or top is None:
        return []
    ranges = tx.all(
        select(COVERAGE.c.from_height, func.max(COVERAGE.c.to_height).label("to_height"))
        .where(COVERAGE.c.chain == name, COVERAGE.c.look == FIRST_LOOK)
        .group_by(COVERAGE.c.from_height)
        .order_by(COVERAGE.c.from_height)
    )
    missing, next_height = [], row.start_height
    for one in ranges:
        if one.from_height > next_height:
            missing.append((next_height, one.from_height - 1))
        next_height = max(next_height, one.to_height + 1)
    if next_height <= top.height:
        missing.append((next_height, top.height))
    return missing
