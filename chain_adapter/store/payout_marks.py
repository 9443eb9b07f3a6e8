"""What people (and the adapter, of itself) may decide about a payout: hold, release, refuse.

`held` is a mark beside the state. It stops signing, claiming and cancelling; never tracking,
re-sending or reporting.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from chain_adapter.core.states import Payout
from chain_adapter.errors import StateConflict
from chain_adapter.store import outbox
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.events import record
from chain_adapter.store.payouts import (
    OPERATOR_REFUSED,
    get,
    put_cancel,
    refuse,
    subject,
    unmark,
)
from chain_adapter.store.payouts_onchain import PAYOUTS
from chain_adapter.store.store import Tx


def hold(tx: Tx, row: Row[Any], who: str, reason: str) -> None:
    """Mark beside the state: stops signing, claiming, cancelling; never tracking or reporting."""
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id)
        .values(held_reason=reason, held_by=who, held_at=tx.now_us)
    )
    outbox.hold(tx, subject(row), True)
    record(tx, row.chain, "held", subject(row), who=who, reason=reason)
    raise_alarm(
        tx, "payout_held", subject(row), f"{row.symbol} {row.trans_id}: {reason}", row.chain
    )  # fmt: skip


def release(tx: Tx, row: Row[Any], who: str, reason: str) -> None:
    """Take the mark away. Raises `StateConflict` when it is not held."""
    if row.held_reason is None:
        raise StateConflict(f"payout {row.id} is not held")
    unmark(tx, row, who, reason)


def operator_refuse(tx: Tx, row: Row[Any], who: str, reason: str) -> str:
    """An operator's no; what follows from it, for the answer.

    Before anything is reserved it goes back at once; reserved or signed but not claimed, its
    locks are voided first; after a claim the platform takes nothing back (`StateConflict`).
    """
    if row.held_reason is not None:
        release(tx, row, who, f"refused: {reason}")
        row = get(tx, row.id)
    state = Payout(row.state)
    text = f"refused by {who}: {reason}"
    record(tx, row.chain, "refused by operator", subject(row), who=who, reason=reason)
    if state is Payout.REFUSED and not row.ever_claimed and put_cancel(tx, row, text):
        return "goes back to its user"
    if state is Payout.QUEUED and not row.ever_claimed:
        refuse(tx, row, text, who=who)
        return "goes back to its user"
    if state in (Payout.RESERVED, Payout.SIGNED) and not row.ever_claimed:
        tx.run(
            update(PAYOUTS)
            .where(PAYOUTS.c.id == row.id)
            .values(claim_code=OPERATOR_REFUSED, reason=text)
        )
        for item in tx.all(
            select(outbox.T).where(
                outbox.T.c.subject == subject(row),
                outbox.T.c.state == "open",
                outbox.T.c.dedupe_key.like("claim:%"),
            )
        ):
            outbox.close_as(tx, item.id, "refused")
        return "its locks are voided, then it goes back to its user"
    raise StateConflict(f"payout {row.id} is {state}: it cannot be refused any more")


def waits(tx: Tx, row: Row[Any], reason: str) -> None:
    """Remember why nothing happens yet, for `why` and the lists."""
    if row.reason != reason:
        tx.run(update(PAYOUTS).where(PAYOUTS.c.id == row.id).values(reason=reason))
        record(tx, row.chain, "waits", subject(row), why=reason)


def waits_no_more(tx: Tx, row: Row[Any]) -> None:
    """Forget why nothing happened, unless there is another reason by now."""
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id, PAYOUTS.c.reason == row.reason)
        .values(reason=None)
    )
