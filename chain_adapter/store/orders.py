"""What a consume answer changes: new orders stored with their warrant, known ones compared.

The platform hands the same withdrawal out until it is claimed, so one order comes many times;
`take` says what each sighting means for the payout that the first one made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, or_, select, update

from chain_adapter.core.states import Kind, Payout
from chain_adapter.store import imported_orders, outbox, payout_marks, payouts, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import record
from chain_adapter.store.payouts_onchain import PAYOUTS
from chain_adapter.store.store import Tx

FIRST_PAGE = "first page of a new ledger"
"""Why the orders of a new ledger's first page are held (`payouts release --first`)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One order of one consume answer."""

    trans_id: str
    quoted: bool
    symbol: str
    amount: str
    address_to: str
    memo: str | None


def same_amount(one: str, other: str) -> bool:
    """Whether two decimal texts are the same number ("1.0" and "1")."""
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return one == other


def take(
    tx: Tx,
    chain: str,
    asset: str,
    order: Sighting,
    *,
    warrant: bytes,
    warrant_sign: str,
    asked_at: int,
    hold_new: bool,
) -> str:
    """Store or compare one order; what happened ("new", "known", "changed", "again")."""
    row = payouts.find(tx, Kind.WITHDRAWAL, order.symbol, order.trans_id)
    if row is None:
        _store(tx, chain, asset, order, warrant, warrant_sign, asked_at, hold_new)
        return "new"
    if imported_orders.lacks_content(row):
        content = _content(chain, asset, order, warrant, warrant_sign, tx.session, asked_at)
        imported_orders.complete(tx, row, content)
        return "known"
    told = (row.amount_told, row.address_to, row.memo_told or "")
    same = (
        same_amount(told[0], order.amount)
        and told[1] == order.address_to
        and told[2] == (order.memo or "")
        and row.asset == asset
    )
    if not same:
        return _changed(tx, row, order)
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id)
        .values(listed_session=tx.session, listed_at=asked_at)
    )
    return _again(tx, row, asked_at)


def _store(
    tx: Tx,
    chain: str,
    asset: str,
    order: Sighting,
    warrant: bytes,
    warrant_sign: str,
    asked_at: int,
    hold_new: bool,
) -> None:
    payout_id = tx.insert(
        insert(PAYOUTS).values(
            kind=Kind.WITHDRAWAL,
            symbol=order.symbol,
            trans_id=order.trans_id,
            state=Payout.QUEUED,
            received_at=tx.now_us,
            **_content(chain, asset, order, warrant, warrant_sign, tx.session, asked_at),
        )
    )
    record(
        tx, chain, "order", f"payout:{payout_id}",
        symbol=order.symbol, trans_id=order.trans_id, amount=order.amount,
        address_to=order.address_to, memo=order.memo,
    )  # fmt: skip
    if imported_orders.never(tx, order.symbol, order.trans_id):
        payout_marks.hold(tx, payouts.get(tx, payout_id), "adapter", imported_orders.NEVER)
    elif hold_new:
        payout_marks.hold(tx, payouts.get(tx, payout_id), "adapter", FIRST_PAGE)


def _content(
    chain: str,
    asset: str,
    order: Sighting,
    warrant: bytes,
    warrant_sign: str,
    session: str,
    asked_at: int,
) -> dict[str, Any]:
    """What the platform says of an order, and the answer in which it said so."""
    return {
        "trans_id_quoted": order.quoted,
        "chain": chain,
        "asset": asset,
        "address_to": order.address_to,
        "memo": order.memo or None,
        "memo_told": order.memo or None,
        "amount_told": order.amount,
        "warrant": warrant,
        "warrant_sign": warrant_sign,
        "listed_session": session,
        "listed_at": asked_at,
    }


def _changed(tx: Tx, row: Row[Any], order: Sighting) -> str:
    gone = row.claim_code == payouts.OPERATOR_REFUSED and not row.ever_claimed
    if gone or outbox.state_of(tx, f"cancel:{row.id}") is not None:
        return "known"  # it goes back, whatever it says now
    message = (
        f"{row.symbol} {row.trans_id} was {row.amount_told} to {row.address_to}"
        f"{' memo ' + row.memo_told if row.memo_told else ''}, is now {order.amount} to "
        f"{order.address_to}{' memo ' + order.memo if order.memo else ''}"
    )
    new = raise_alarm(tx, "order_changed", payouts.subject(row), message, row.chain)
    if new:
        record(tx, row.chain, "order changed", payouts.subject(row), message=message)
    if row.held_reason is None and Payout(row.state) not in (
        Payout.REPORTED,
        Payout.CANCELLED,
        Payout.SETTLED,
    ):
        payout_marks.hold(tx, row, "adapter", "the platform changed its content")
    return "changed"


def _again(tx: Tx, row: Row[Any], asked_at: int) -> str:
    """A known order listed once more: does the platform not know what we told it?"""
    state = Payout(row.state)
    if state is Payout.REFUSED:
        # Refused after a refused claim: still listed, so it goes back (docs/laws.md 2.6).
        if not row.ever_claimed and row.held_reason is None:
            payouts.put_cancel(tx, row, row.reason or "refused")
        return "known"
    if state is Payout.CANCELLED:
        return _repeat(tx, row, f"cancel:{row.id}", asked_at, row.ended_at)
    if not row.ever_claimed or state is Payout.SETTLED:
        return "known"
    if state in (Payout.CLAIMED, Payout.INCLUDED):
        claim = tx.one(
            select(outbox.T)
            .where(
                outbox.T.c.subject == payouts.subject(row),
                outbox.T.c.dedupe_key.like("claim:%"),
                outbox.T.c.state == "acknowledged",
            )
            .order_by(outbox.T.c.id.desc())
            .limit(1)
        )
        if claim is not None:
            return _repeat(tx, row, claim.dedupe_key, asked_at, claim.acknowledged_at)
        return "known"
    paid = tx.one(select(outbox.T).where(outbox.T.c.dedupe_key == f"paid:{row.id}"))
    if paid is not None and paid.state == "acknowledged":
        return _repeat(tx, row, paid.dedupe_key, asked_at, paid.acknowledged_at)
    return "known"


def _repeat(tx: Tx, row: Row[Any], key: str, asked_at: int, told_at: int | None) -> str:
    if told_at is None or asked_at <= told_at:
        return "known"  # the question left before the answer to our message came
    if not outbox.reopen(tx, key):
        return "known"
    raise_alarm(
        tx, "claim_not_heard", payouts.subject(row),
        f"{row.symbol} {row.trans_id} is listed although the platform acknowledged {key}",
        row.chain,
    )  # fmt: skip
    return "again"


def heard(tx: Tx, chain: str, symbol: str, listed: set[str]) -> None:
    """A page that was not full: claimed payouts that it does not list were heard."""
    table = schema.alarms
    for alarm in tx.all(
        select(table).where(table.c.code == "claim_not_heard", table.c.closed_at.is_(None))
    ):
        row = payouts.get(tx, int(alarm.subject.partition(":")[2]))
        if row.symbol == symbol and row.trans_id not in listed:
            close_alarm(tx, "claim_not_heard", alarm.subject, chain)


def _not_begun(symbol: str) -> list[ColumnElement[bool]]:
    """Withdrawals of which nothing was signed or reserved, and nothing ever claimed."""
    return [
        PAYOUTS.c.symbol == symbol,
        PAYOUTS.c.kind == Kind.WITHDRAWAL,
        PAYOUTS.c.state == Payout.QUEUED,
        PAYOUTS.c.ever_claimed.is_(False),
    ]


def overdue(tx: Tx, symbol: str, *, older_than: int, most: int) -> Sequence[Row[Any]]:
    """Not begun, not held, received before `older_than`: oldest first."""
    return tx.all(
        select(PAYOUTS)
        .where(
            *_not_begun(symbol),
            PAYOUTS.c.held_reason.is_(None),
            PAYOUTS.c.received_at < older_than,
        )
        .order_by(PAYOUTS.c.received_at, PAYOUTS.c.id)
        .limit(most)
    )


def waiting_among(tx: Tx, symbol: str, names: Iterable[str]) -> list[Row[Any]]:
    """Those of a page that are not begun, held ones too: oldest first.

    What one answer brought is as old as its trans_id tells, in whichever order it stood there.
    """
    rows = tx.all(select(PAYOUTS).where(*_not_begun(symbol), PAYOUTS.c.trans_id.in_(list(names))))
    return sorted(rows, key=lambda row: (row.received_at, _age(row.trans_id), row.id))


def _age(trans_id: str) -> int:
    return int(trans_id) if trans_id.isascii() and trans_id.isdigit() else 0


def begun_among(tx: Tx, symbol: str, names: Iterable[str], but_for: str) -> bool:
    """Whether any of these has left the queue, begun, refused or ended; but for that reason."""
    begun = select(PAYOUTS.c.id).where(
        PAYOUTS.c.symbol == symbol,
        PAYOUTS.c.kind == Kind.WITHDRAWAL,
        PAYOUTS.c.trans_id.in_(list(names)),
        PAYOUTS.c.state != Payout.QUEUED,
        or_(PAYOUTS.c.reason.is_(None), PAYOUTS.c.reason != but_for),
    )
    return tx.value(begun.limit(1)) is not None


def release_first_page(tx: Tx, who: str, reason: str) -> int:
    """Release everything held as the first page of a new ledger; how many."""
    rows = tx.all(select(PAYOUTS).where(PAYOUTS.c.held_reason == FIRST_PAGE))
    for row in rows:
        payout_marks.release(tx, row, who, reason)
    return len(rows)
