"""How a payout comes to its end: FINAL with its report, REPORTED, given up, or back to QUEUED.

Blocks proved what the payer decided on; each function is one transition in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from chain_adapter.core.states import Kind, Payout
from chain_adapter.errors import StateConflict
from chain_adapter.store import outbox
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import move_payout
from chain_adapter.store.payouts import (
    OPERATOR_REFUSED,
    PAID_NOT_ACCEPTED,
    WAITING,
    View,
    get,
    is_over,
    put_cancel,
    subject,
    unmark,
    view,
)
from chain_adapter.store.payouts_onchain import LOCKS
from chain_adapter.store.store import Tx


def included_fee(entry: View) -> int:
    """Base units of the fee asset over all included attempts, voids and failures too."""
    return sum(int(a.fee or 0) for a in entry.attempts if a.included_height is not None)


def finish(tx: Tx, payout_id: int, paid: Mapping[str, Any], depth: int) -> None:
    """INCLUDED and final: FINAL, and the report with the real fee goes into the outbox.

    `paid` is the body of the message but for txid and fee; `depth` the platform's.
    """
    row = get(tx, payout_id)
    entry = view(tx, row)
    winner = next(a for a in entry.paying if a.final and a.ok)
    fee = included_fee(entry)
    move_payout(
        tx, row, Payout.FINAL, f"{winner.txid} in block {winner.included_height}",
        final_txid=winner.txid, final_height=winner.included_height, fee=str(fee),
    )  # fmt: skip
    if row.kind == Kind.WITHDRAWAL:
        key, call = f"paid:{row.id}", "withdraw/notify"
    else:
        key, call = f"internal:{row.chain}:{winner.txid}", "internal/notify"
    body = {**paid, "txid": winner.txid}
    fresh = outbox.put(
        tx,
        dedupe_key=key,
        call=call,
        symbol=row.symbol,
        chain=row.chain,
        subject=subject(row),
        body=body,
        grows=True,
        height=winner.included_height,
        depth=depth,
    )
    if not fresh:
        outbox.reopen(tx, key, body=body, height=winner.included_height, depth=depth)
    # The replacement's own notice, if it is still waiting, has nothing left to say.
    for attempt in entry.attempts:
        outbox.withdraw(tx, f"replaced:{row.id}:{attempt.txid}")
    for code in ("payment_failed", *WAITING):
        close_alarm(tx, code, subject(row), row.chain)


def reported(tx: Tx, payout_id: int) -> None:
    """The platform acknowledged at its own depth."""
    row = get(tx, payout_id)
    if row.state != Payout.FINAL:
        return
    move_payout(tx, row, Payout.REPORTED, "acknowledged", ended_at=tx.now_us)
    if row.held_reason == PAID_NOT_ACCEPTED:
        unmark(tx, row, "adapter", "the platform accepted it after all")
    close_alarm(tx, "paid_not_accepted", subject(row), row.chain)


def give_up(tx: Tx, payout_id: int, fee_notes: Sequence[Mapping[str, Any]], depth: int) -> None:
    """SIGNED -> REFUSED: its claim was refused and nothing of it can be paid any more.

    Fees of voids that complete no withdrawal go to internal/notify, one item a transaction.
    """
    row = get(tx, payout_id)
    entry = view(tx, row)
    if any(not a.dead and not is_over(a) for a in entry.paying):
        raise StateConflict(f"payout {row.id} has a paying attempt that is alive")
    move_payout(tx, row, Payout.REFUSED, row.reason or "claim refused")
    put_fee_notes(tx, row, fee_notes, depth)
    close_alarm(tx, "claim_refused", subject(row), row.chain)
    close_alarm(tx, "claim_failing", subject(row), row.chain)
    if row.claim_code == OPERATOR_REFUSED and not row.ever_claimed:
        put_cancel(tx, get(tx, payout_id), row.reason or "refused")


def put_fee_notes(tx: Tx, row: Row[Any], notes: Sequence[Mapping[str, Any]], depth: int) -> None:
    """Tell fees of ours that complete no withdrawal; once a transaction."""
    for note in notes:
        body = {key: value for key, value in note.items() if key not in ("symbol", "height")}
        outbox.put(
            tx,
            dedupe_key=f"internal:{row.chain}:{note['txid']}",
            call="internal/notify",
            symbol=note["symbol"],
            chain=row.chain,
            subject=subject(row),
            body=body,
            grows=True,
            height=note["height"],
            depth=depth,
        )


def requeue(tx: Tx, payout_id: int, why: str) -> None:
    """Back to QUEUED: every attempt is dead (docs/laws.md 2.9, §4). Freed locks are deleted."""
    row = get(tx, payout_id)
    entry = view(tx, row)
    alive = [a for a in entry.attempts if not a.dead and not is_over(a)]
    if alive:
        raise StateConflict(f"payout {row.id} has an attempt that is alive")
    for lock in entry.locks:
        holders = [a for a in entry.attempts if lock.lock in json.loads(a.locks)]
        if lock.used_txid is None and all((a.dead or "").startswith("expired") for a in holders):
            tx.run(LOCKS.delete().where(LOCKS.c.chain == lock.chain, LOCKS.c.lock == lock.lock))
    move_payout(tx, row, Payout.QUEUED, why, tries=row.tries + 1, reason=why)
