"""What the platform is to be told: written in the transaction that causes it, sent afterwards.

An item is open until it is acknowledged (at `depth`, when it grows with confirmations), withdrawn,
refused (a claim) or parked. Its lane is one symbol and call: one message in flight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, or_, select, update

from chain_adapter.errors import UnknownRow
from chain_adapter.store import schema
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx

ROW_SCHEDULE_S = (1, 120, 480, 1920, 7680)
"""Waits after refusals of class row; after the last the item is parked (docs/laws.md §5)."""

T = schema.outbox


def put(
    tx: Tx,
    *,
    dedupe_key: str,
    call: str,
    symbol: str,
    chain: str,
    subject: str,
    body: Mapping[str, Any],
    order_key: str | None = None,
    order_seq: int = 0,
    grows: bool = False,
    height: int | None = None,
    depth: int = 0,
    held: bool = False,
) -> bool:
    """Add an item, once for ever a `dedupe_key`; whether it is new.

    `body` holds the fields that never change, amounts as decimal text. `height` is what
    confirmations count from, `depth` the confirmations at which it is done, if it `grows`.
    """
    return tx.insert_new(
        T,
        {
            "dedupe_key": dedupe_key,
            "lane": f"{symbol}:{call}",
            "call": call,
            "symbol": symbol,
            "chain": chain,
            "subject": subject,
            "order_key": order_key,
            "order_seq": order_seq,
            "body": json.dumps(body, separators=(",", ":")),
            "grows": grows,
            "height": height,
            "depth": depth,
            "held": held,
            "state": "open",
            "created_at": tx.now_us,
        },
    )


def withdraw(tx: Tx, dedupe_key: str) -> bool:
    """Take back an item that was not acknowledged; whether there was one to take back."""
    touched = tx.run(
        update(T)
        .where(T.c.dedupe_key == dedupe_key, T.c.state.in_(("open", "parked")))
        .values(state="withdrawn")
    )
    return touched == 1


def state_of(tx: Tx, dedupe_key: str) -> str | None:
    """The state of an item; None when there is none."""
    value = tx.value(select(T.c.state).where(T.c.dedupe_key == dedupe_key))
    return None if value is None else str(value)


def reopen(tx: Tx, dedupe_key: str, **fields: Any) -> bool:
    """Tell an item again, from the start of its schedule; `fields` replace columns of it."""
    if "body" in fields:
        fields["body"] = json.dumps(fields["body"], separators=(",", ":"))
    touched = tx.run(
        update(T)
        .where(T.c.dedupe_key == dedupe_key)
        .values(state="open", tries=0, next_at=0, acknowledged_confirm=-1, **fields)
    )
    return touched == 1


def due(tx: Tx, lane: str, heads: Mapping[str, int], most: int = 8) -> Sequence[Row[Any]]:
    """Open items of a lane that may go out now, in the order in which they should.

    Only messages about one subject, and items of one `order_key`, keep an order: an item waits
    for an earlier open one of the same key. `heads` are the newest heights a chain.
    """
    earlier = T.alias("earlier")
    blocked = exists().where(
        earlier.c.state == "open",
        or_(
            and_(
                earlier.c.order_key.is_not(None),
                earlier.c.order_key == T.c.order_key,
                or_(
                    earlier.c.order_seq < T.c.order_seq,
                    and_(earlier.c.order_seq == T.c.order_seq, earlier.c.id < T.c.id),
                ),
            ),
            and_(
                earlier.c.subject == T.c.subject,
                earlier.c.id < T.c.id,
                earlier.c.grows.is_(False),
            ),
        ),
    )
    return tx.all(
        select(T)
        .where(
            T.c.lane == lane,
            T.c.state == "open",
            T.c.held.is_(False),
            T.c.next_at <= tx.now_us,
            _has_grown(heads),
            ~blocked,
        )
        .order_by(T.c.next_at, T.c.order_seq, T.c.id)
        .limit(most)
    )


def _has_grown(heads: Mapping[str, int]) -> ColumnElement[bool]:
    """An item that grows is told again only when there is something new to tell."""
    fresh: list[ColumnElement[bool]] = [T.c.grows.is_(False), T.c.acknowledged_confirm < 0]
    fresh += [
        and_(T.c.chain == chain, head - T.c.height + 1 > T.c.acknowledged_confirm)
        for chain, head in heads.items()
    ]
    return or_(*fresh)


def lanes(tx: Tx) -> Sequence[str]:
    """Lanes that have open items."""
    return [row.lane for row in tx.all(select(T.c.lane).where(T.c.state == "open").distinct())]


def acknowledge(tx: Tx, item: Row[Any], confirm: int) -> bool:
    """The platform took it at `confirm`; whether the item is done with that."""
    done = bool(not item.grows or confirm >= item.depth)
    tx.run(
        update(T)
        .where(T.c.id == item.id, T.c.state == "open")
        .values(
            state="acknowledged" if done else "open",
            acknowledged_confirm=confirm,
            acknowledged_at=tx.now_us,
            tries=0,
            next_at=0,
            last_code=0,
            last_error=None,
        )
    )
    if done or item.acknowledged_confirm < 0:
        record(tx, item.chain, f"told {item.call}", item.subject, confirm=confirm, answer=0)
    return done


def row_refused(tx: Tx, item: Row[Any], code: int, message: str) -> bool:
    """A refusal of class row: the next try by the schedule, or parked. Whether it is parked."""
    tries = item.tries + 1
    parked = bool(tries > len(ROW_SCHEDULE_S))
    wait_s = 0 if parked else ROW_SCHEDULE_S[tries - 1]
    tx.run(
        update(T)
        .where(T.c.id == item.id)
        .values(
            state="parked" if parked else "open",
            tries=tries,
            next_at=tx.now_us + wait_s * 1_000_000,
            last_code=code,
            last_error=message[:300],
        )
    )
    record(
        tx, item.chain, f"refused {item.call}", item.subject,
        code=code, message=message[:300], parked=parked,
    )  # fmt: skip
    return parked


def delay(tx: Tx, item: Row[Any], wait_s: float, code: int | None, message: str) -> None:
    """A failure of class connection: to the back of its lane, nothing else."""
    tx.run(
        update(T)
        .where(T.c.id == item.id)
        .values(
            next_at=tx.now_us + int(wait_s * 1_000_000), last_code=code, last_error=message[:300]
        )
    )
    if item.last_code != code or item.last_error is None:
        record(
            tx, item.chain, f"unanswered {item.call}", item.subject,
            code=code, message=message[:300],
        )  # fmt: skip


def hold(tx: Tx, subject: str, held: bool) -> None:
    """Stop (or let go on) the claims and cancels of a subject; reports are never stopped."""
    tx.run(
        update(T)
        .where(
            T.c.subject == subject,
            T.c.state == "open",
            or_(T.c.call == "withdraw/cancel", T.c.dedupe_key.like("claim:%")),
        )
        .values(held=held)
    )


def close_as(tx: Tx, item_id: int, state: str) -> None:
    """End an open item without an acknowledgement (a refused claim)."""
    tx.run(update(T).where(T.c.id == item_id, T.c.state == "open").values(state=state))


def retry(tx: Tx, item_id: int | None, who: str, reason: str) -> int:
    """Open a parked item (all of them with None) again at once; how many. `UnknownRow`."""
    where = T.c.state.in_(("parked", "open")) if item_id is not None else T.c.state == "parked"
    if item_id is not None:
        where = and_(where, T.c.id == item_id)
    rows = tx.all(select(T).where(where))
    if item_id is not None and not rows:
        raise UnknownRow(f"outbox item {item_id} is neither parked nor open")
    for row in rows:
        tx.run(update(T).where(T.c.id == row.id).values(state="open", tries=0, next_at=0))
        record(tx, row.chain, "outbox retry", row.subject, item=row.id, who=who, reason=reason)
    return len(rows)
