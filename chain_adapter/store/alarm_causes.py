"""Alarms whose cause is gone, though nothing passed by that could have closed them.

Most alarms are closed by what ends their cause (a payout that is released, an endpoint that
agrees again). This is the rest, looked at now and then: the subject's row says that it is over,
or a person has acknowledged what was a finding, not a state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, select

from chain_adapter.core.alarms import CODES, Ends
from chain_adapter.core.states import PAYOUT_ENDED, Deposit, Payout
from chain_adapter.store import schema
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import LEDGER
from chain_adapter.store.store import Tx

T = schema.alarms
IsGone = Callable[[Tx, int], bool]


def _payout(tx: Tx, number: int) -> Row[Any] | None:
    return tx.one(select(schema.payouts).where(schema.payouts.c.id == number))


def _over(row: Row[Any] | None) -> bool:
    return row is None or Payout(row.state) in PAYOUT_ENDED


def _not_held(tx: Tx, number: int) -> bool:
    row = _payout(tx, number)
    return _over(row) or (row is not None and row.held_reason is None)


def _ended(tx: Tx, number: int) -> bool:
    return _over(_payout(tx, number))


def _begun(tx: Tx, number: int) -> bool:
    """Past the queue: whatever it waited for is there."""
    row = _payout(tx, number)
    return _over(row) or (row is not None and row.state != Payout.QUEUED)


def _inbox_seen_to(tx: Tx, number: int) -> bool:
    """No open finding about this deposit is left."""
    deposits, inbox = schema.deposits, schema.inbox
    row = tx.one(select(deposits).where(deposits.c.id == number))
    if row is None:
        return True
    left = select(inbox.c.id).where(
        inbox.c.chain == row.chain, inbox.c.txid == row.txid, inbox.c.to == row.to,
        inbox.c.asset == row.asset, inbox.c.state == "open",
    )  # fmt: skip
    return tx.value(left.limit(1)) is None


def _deposit_stands(tx: Tx, number: int) -> bool:
    state = tx.value(select(schema.deposits.c.state).where(schema.deposits.c.id == number))
    return state not in (Deposit.REVERSED, Deposit.HELD)


def _item_done(tx: Tx, number: int) -> bool:
    state = tx.value(select(schema.outbox.c.state).where(schema.outbox.c.id == number))
    return state not in ("open", "parked")


GONE: dict[tuple[str, str], IsGone] = {
    ("order_changed", "payout"): _not_held,
    ("payout_held", "payout"): _not_held,
    ("signing_refused", "payout"): _not_held,
    ("journal_lacks", "payout"): _not_held,
    ("paid_not_accepted", "payout"): _ended,
    ("payment_failed", "payout"): _ended,
    ("claim_failing", "payout"): _ended,
    ("claim_refused", "payout"): _ended,
    ("claim_not_heard", "payout"): _ended,
    ("gas_short", "payout"): _begun,
    ("hot_wallet_short", "payout"): _begun,
    ("fee_above_cap", "payout"): _ended,
    ("late_find", "deposit"): _inbox_seen_to,
    ("deposit_reversed", "deposit"): _deposit_stands,
    ("outbox_parked", "outbox"): _item_done,
}
"""(code, kind of its subject) -> whether the subject's row says that the cause is gone."""


def close_gone(tx: Tx) -> int:
    """Close every open alarm whose cause is gone; how many."""
    closed = 0
    for row in tx.all(select(T).where(T.c.closed_at.is_(None)).order_by(T.c.id)):
        if _is_gone(tx, row):
            closed += close_alarm(tx, row.code, row.subject, LEDGER)
    return closed


def _is_gone(tx: Tx, row: Row[Any]) -> bool:
    code = CODES.get(row.code)
    if code is not None and code.ends is Ends.ACKNOWLEDGED and row.acknowledged_at is not None:
        return True
    kind, _, number = row.subject.partition(":")
    is_gone = GONE.get((row.code, kind))
    return is_gone is not None and number.isdigit() and is_gone(tx, int(number))
