"""Counts what the books say has happened: their events are read on, and told to the figures.

newest event of each scope at the start -> every few seconds those since, counted by what they
are. So a figure can say nothing that was not committed, and no transition has to know of figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, select

from chain_adapter.store import schema
from chain_adapter.store.store import Store, Tx
from chain_adapter.telemetry import Metrics

LOOK_S = 2.0
REPLACED = '%"purpose":"replace"%'


class Meter:
    """Guarantees: every committed transition since the start is counted once.

    Does not guarantee: at which second.
    """

    def __init__(
        self, store: Store, metrics: Metrics, settled: Callable[[], Mapping[str, int]]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._settled = settled  # chain -> settled height, live
        self._seen: dict[str, int] | None = None
        self._commits = store.commits

    async def step(self) -> float:
        """Count what is new; the pause."""
        if self._seen is None:
            self._seen = await self._store.read(_heads)
            return LOOK_S
        seen = self._seen
        heads, rows = await self._store.read(lambda tx: _since(tx, seen))
        for row in rows:
            self._count(row)
        self._seen = heads
        commits = self._store.commits
        self._metrics.commits.inc(commits - self._commits)
        self._commits = commits
        for chain, height in self._settled().items():
            self._metrics.settled_height.labels(chain).set(height)
        return LOOK_S

    def _count(self, row: Row[Any]) -> None:
        kind, _, state = row.what.partition(" ")
        number = row.number
        if row.what == "block popped":
            self._metrics.pops.labels(row.scope).inc(number)
        elif row.what == "signed":
            self._metrics.replacements.labels(row.scope).inc(row.replaced)
        elif kind == "deposit" and state.isupper():
            self._metrics.deposits.labels(row.scope, state).inc(number)
        elif kind == "payout" and state.isupper():
            self._metrics.payouts.labels(row.scope, state).inc(number)


def _heads(tx: Tx) -> dict[str, int]:
    return {row.scope: row.seq for row in tx.all(select(schema.event_heads))}


def _since(tx: Tx, seen: Mapping[str, int]) -> tuple[dict[str, int], Sequence[Row[Any]]]:
    """Newest event of each scope, and how many of each kind came since."""
    heads = _heads(tx)
    found: list[Row[Any]] = []
    table = schema.events
    for scope, seq in heads.items():
        if seq == seen.get(scope, 0):
            continue
        replaced = func.count().filter(table.c.what == "signed", table.c.detail.like(REPLACED))
        found += tx.all(
            select(
                table.c.scope, table.c.what, func.count().label("number"),
                replaced.label("replaced"),
            )
            .where(
                table.c.scope == scope, table.c.seq > seen.get(scope, 0), table.c.seq <= seq
            )
            .group_by(table.c.scope, table.c.what)
        )  # fmt: skip
    return heads, found
