"""Whether the books are whole: pages, the chain of events, every row's history, coverage.

Each check reads one snapshot and tells what it looked at and what is wrong. What may never be true
of rows beside each other stands in `law_queries`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select, text

from chain_adapter.core.states import DEPOSIT_EDGES, PAYOUT_EDGES, Deposit, Payout
from chain_adapter.store import blocks, schema
from chain_adapter.store.events import GENESIS, digest
from chain_adapter.store.store import Tx

MOST = 20  # problems told of one check
PAGE = 5_000


@dataclass(slots=True)
class Finding:
    """One check: what it is about, how much it looked at, what is wrong."""

    check: str
    looked_at: int = 0
    problems: list[str] = field(default_factory=list)
    _more: int = 0

    def wrong(self, text: str) -> None:
        """One more problem; beyond `MOST` they are only counted."""
        if len(self.problems) < MOST:
            self.problems.append(text)
            return
        self._more += 1
        if self._more > 1:
            self.problems.pop()
        self.problems.append(f"and {self._more} more")


Check = Callable[[Tx], Finding]


def pages(tx: Tx) -> Finding:
    """What the database itself can tell."""
    found = Finding("storage")
    if tx.connection.dialect.name != "sqlite":
        found.looked_at = len(tx.all(text("SELECT 1 FROM pg_class WHERE relkind = 'r'")))
        return found
    for row in tx.all(text("PRAGMA integrity_check(20)")):
        found.looked_at += 1
        if row[0] != "ok":
            found.wrong(str(row[0]))
    for row in tx.all(text("PRAGMA foreign_key_check")):
        found.wrong(f"a row of {row[0]} names a row of {row[2]} that is not there")
    return found


# --- events ---------------------------------------------------------------------------------------


def event_chain(tx: Tx) -> Finding:
    """Every event hashes over the one before it, none is missing, the head is the newest."""
    found, table = Finding("event chain"), schema.events
    last: dict[str, tuple[int, str]] = {}
    stream = tx.connection.execution_options(yield_per=PAGE).execute(
        select(table).order_by(table.c.scope, table.c.seq)
    )
    for row in stream:
        found.looked_at += 1
        seq, previous = last.get(row.scope, (0, GENESIS))
        if row.seq != seq + 1:
            found.wrong(f"{row.scope}: event {seq + 1} is missing before {row.seq}")
        expected = digest(previous, row.scope, row.seq, row.at, row.what, row.subject, row.detail)
        if row.hash != expected:
            found.wrong(f"{row.scope}: event {row.seq} ({row.what}) is not what was written")
        last[row.scope] = (row.seq, row.hash)
    for head in tx.all(select(schema.event_heads)):
        seq, newest = last.pop(head.scope, (0, GENESIS))
        if (head.seq, head.hash) != (seq, newest):
            found.wrong(f"{head.scope}: the head names event {head.seq}, the newest is {seq}")
    for scope in last:
        found.wrong(f"{scope}: events without a head")
    return found


_BEGINNINGS = {
    "order": Payout.QUEUED,
    "sweep planned": Payout.QUEUED,
    "top-up planned": Payout.QUEUED,
    "cold planned": Payout.QUEUED,
}


def histories(tx: Tx) -> Finding:
    """Every deposit and payout got to its state along edges, as its events tell."""
    found, table = Finding("histories"), schema.events
    states: dict[str, str] = {}
    stream = tx.connection.execution_options(yield_per=PAGE).execute(
        select(table.c.what, table.c.subject, table.c.detail)
        .where(table.c.subject.like("deposit:%") | table.c.subject.like("payout:%"))
        .order_by(table.c.scope, table.c.seq)
    )
    for row in stream:
        _follow(found, states, row)
    for name, rows in (
        ("deposit", tx.all(select(schema.deposits.c.id, schema.deposits.c.state))),
        ("payout", tx.all(select(schema.payouts.c.id, schema.payouts.c.state))),
    ):
        for row in rows:
            found.looked_at += 1
            known = states.pop(f"{name}:{row.id}", None)
            if known is None:
                found.wrong(f"{name} {row.id} is {row.state}, and no event tells how it began")
            elif known != row.state:
                found.wrong(f"{name} {row.id} is {row.state}; by its events it is {known}")
    for subject in states:
        found.wrong(f"{subject} has events, but no row")
    return found


def _follow(found: Finding, states: dict[str, str], row: Row[Any]) -> None:
    kind, _, to = row.what.partition(" ")
    subject = row.subject
    if row.what in _BEGINNINGS:
        states[subject] = _BEGINNINGS[row.what]
        return
    if kind not in ("deposit", "payout") or not subject.startswith(f"{kind}:"):
        return
    known = Deposit if kind == "deposit" else Payout
    if to not in set(known):
        return  # a remark ("deposit grew"), no transition
    was = json.loads(row.detail).get("was")
    if was is None:
        if subject in states:
            found.wrong(f"{subject} began twice")
    elif states.get(subject) != was:
        found.wrong(f"{subject} became {to} from {was}, but was {states.get(subject)}")
    elif (was, to) not in (DEPOSIT_EDGES if kind == "deposit" else PAYOUT_EDGES):
        found.wrong(f"{subject}: no edge leads from {was} to {to}")
    states[subject] = to


# --- chains ---------------------------------------------------------------------------------------


def coverage(tx: Tx) -> Finding:
    """Every height from the start to the tip was read; kept blocks name each other."""
    found = Finding("coverage")
    for chain in tx.all(select(schema.chains)):
        if chain.start_height is None:
            continue
        top = blocks.tip(tx, chain.chain)
        height = chain.start_height - 1 if top is None else top.height
        found.looked_at += height - chain.start_height + 1
        for first, last in blocks.holes(tx, chain.chain):
            found.wrong(f"{chain.chain}: heights {first} to {last} were not read")
        beyond = tx.value(
            select(schema.coverage.c.to_height)
            .where(
                schema.coverage.c.chain == chain.chain,
                schema.coverage.c.look == blocks.FIRST_LOOK,
                schema.coverage.c.to_height > height,
            )
            .limit(1)
        )
        if beyond is not None:
            found.wrong(f"{chain.chain}: {beyond} counts as read, the tip is {height}")
        if chain.settled_height > height:
            found.wrong(f"{chain.chain}: {chain.settled_height} is settled, the tip is {height}")
        _links(tx, found, chain.chain)
    return found


def _links(tx: Tx, found: Finding, chain: str) -> None:
    table, before = schema.blocks, None
    for row in tx.connection.execution_options(yield_per=PAGE).execute(
        select(table.c.height, table.c.hash, table.c.parent_hash)
        .where(table.c.chain == chain)
        .order_by(table.c.height)
    ):
        adjacent = before is not None and before.height + 1 == row.height
        if adjacent and before is not None and row.parent_hash != before.hash:
            found.wrong(f"{chain}: block {row.height} does not follow block {before.height}")
        before = row


WHOLE: tuple[Check, ...] = (pages, event_chain, histories, coverage)
"""Whether the books are what was written."""
