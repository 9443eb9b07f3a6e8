"""The end of a payout by hand: what must be so first, who proposed it, what it changes.

Only when every attempt is dead or final and no lock is unused; the signer's journal is marked
before anything here is (docs/laws.md 2.9).
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, select, update

from chain_adapter.core.states import PAYOUT_EDGES, Payout
from chain_adapter.errors import StateConflict
from chain_adapter.store import schema
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import move_payout, record
from chain_adapter.store.outbox import T as OUTBOX
from chain_adapter.store.payouts import WAITING, get, subject, unmark, view
from chain_adapter.store.store import Tx

PEOPLE = 2
PROPOSED = "settlement proposed"
_ALARMS = (
    *WAITING, "payout_held", "paid_not_accepted", "claim_refused", "claim_failing",
    "payment_failed", "signing_refused", "journal_lacks", "order_changed",
)  # fmt: skip


def open_end(tx: Tx, row: Row[Any]) -> str | None:
    """Why it cannot be settled now; None when nothing of it may land any more."""
    if (Payout(row.state), Payout.SETTLED) not in PAYOUT_EDGES:
        return f"it is {row.state}, which is not settled by hand"
    entry = view(tx, row)
    for attempt in entry.attempts:
        if not attempt.dead and not attempt.final:
            name = attempt.txid or "what is reserved"
            return f"{name} may still land: it must be final or dead first (void it)"
    chains = schema.chains
    settled = tx.value(select(chains.c.settled_height).where(chains.c.chain == row.chain))
    for lock in entry.locks:
        if lock.used_height is None or lock.used_height > (-1 if settled is None else settled):
            return f"its lock {lock.lock} is not used by a final transaction: void it first"
    return None


def propose(tx: Tx, row: Row[Any], who: str, evidence: str, reason: str) -> list[str]:
    """Record one person's wish where no policy names operators; all who wished the same."""
    events = schema.events
    found = tx.all(
        select(events.c.detail)
        .where(events.c.subject == subject(row), events.c.what == PROPOSED)
        .order_by(events.c.seq)
    )
    names = [
        str(one["who"])
        for one in (json.loads(event.detail) for event in found)
        if one["evidence"] == evidence
    ]
    if who not in names:
        record(tx, row.chain, PROPOSED, subject(row), who=who, evidence=evidence, reason=reason)
        names.append(who)
    return names


def settle(tx: Tx, row: Row[Any], by_whom: str, reason: str, evidence: str, kept_at: str) -> None:
    """SETTLED, after the signer's journal said so. Raises `StateConflict`."""
    if Payout(row.state) is Payout.SETTLED:
        return
    why = open_end(tx, row)
    if why is not None:
        raise StateConflict(f"payout {row.id}: {why}")
    if row.held_reason is not None:
        unmark(tx, row, by_whom, f"settled: {reason}")
        row = get(tx, row.id)
    move_payout(tx, row, Payout.SETTLED, f"settled by {by_whom}: {reason}", ended_at=tx.now_us)
    record(
        tx, row.chain, "settled", subject(row), who=by_whom, reason=reason, evidence=evidence,
        kept_at=kept_at,
    )  # fmt: skip
    tx.run(
        update(OUTBOX)
        .where(
            OUTBOX.c.subject == subject(row),
            OUTBOX.c.state.in_(("open", "parked")),
            OUTBOX.c.call.in_(("withdraw/notify", "withdraw/cancel")),
        )
        .values(state="withdrawn")
    )
    for code in _ALARMS:
        close_alarm(tx, code, subject(row), row.chain)
