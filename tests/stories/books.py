"""The books of a story as text, and the proof that nobody changed their events."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import select

from chain_adapter.store import events, schema

Read = Callable[[Callable[[Any], Any]], Any]
"""Runs a unit on the books."""


def shown(read: Read, alarms: Collection[str], errors: list[Any]) -> str:
    """Payouts, attempts, what is still to be told, alarms, the last errors."""
    lines = []
    for row in read(lambda tx: tx.all(select(schema.payouts))):
        lines.append(
            f"payout {row.trans_id} {row.state} held={row.held_reason} reason={row.reason} "
            f"code={row.claim_code} claimed={row.ever_claimed}"
        )
    for row in read(lambda tx: tx.all(select(schema.attempts))):
        lines.append(
            f"  attempt {row.id} {row.purpose} {(row.txid or '-')[:8]} {row.locks[-8:]} "
            f"in={row.included_height} ok={row.ok} final={row.final} dead={row.dead} "
            f"said={row.node_said}"
        )
    for row in read(lambda tx: tx.all(select(schema.outbox))):
        if row.state != "acknowledged":
            lines.append(
                f"  outbox {row.dedupe_key[:40]} {row.state} held={row.held} tries={row.tries} "
                f"code={row.last_code} {row.last_error}"
            )
    lines.append(f"alarms {sorted(alarms)}; errors {errors[-3:]}")
    return "\n".join(lines)


def verify_events(read: Read) -> None:
    """The hash chain of events holds (nothing was changed behind it)."""
    table = schema.events
    previous: dict[str, str] = {}
    rows = read(lambda tx: tx.all(select(table).order_by(table.c.scope, table.c.seq)))
    for row in rows:
        expected = events.digest(
            previous.get(row.scope, events.GENESIS), row.scope, row.seq, row.at, row.what,
            row.subject, row.detail,
        )  # fmt: skip
        assert row.hash == expected, f"event {row.scope}/{row.seq} breaks the chain"
        previous[row.scope] = row.hash
