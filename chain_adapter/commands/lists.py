"""Reads the books: deposits, payouts, outbox, inbox, alarms, events. Changes nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, Table, or_, select

from chain_adapter.commands import rows
from chain_adapter.commands.books import Keyed, opened
from chain_adapter.commands.output import answer, harmless, print_json, table
from chain_adapter.config import load
from chain_adapter.core.states import Deposit, Payout
from chain_adapter.errors import ConfigError
from chain_adapter.store import payouts as store_payouts
from chain_adapter.store import schema
from chain_adapter.store.store import Tx

PAYOUT = Keyed(schema.payouts, "payout", ("trans_id",))


def _state(args: Namespace, states: Sequence[str]) -> str | None:
    if args.state is None:
        return None
    for one in states:
        if one.lower() == args.state.lower():
            return one
    raise ConfigError(f"--state: {args.state!r} is none of {', '.join(states)}")


def _newest(tx: Tx, query: Select[Any], by: Any, limit: int | None) -> list[Row[Any]]:
    """Oldest first; with a limit, the newest so many."""
    if limit is None:
        return list(tx.all(query.order_by(by)))
    return list(reversed(tx.all(query.order_by(by.desc()).limit(limit))))


def _filtered(of: Table, args: Namespace, states: Sequence[str]) -> Select[Any]:
    query = select(of)
    if args.chain is not None:
        query = query.where(of.c.chain == args.chain)
    state = _state(args, states)
    return query if state is None else query.where(of.c.state == state)


def deposits(args: Namespace) -> int:
    config = load(args.config)
    query = _filtered(schema.deposits, args, list(Deposit))
    with opened(config) as store:
        found = store.read_now(lambda tx: _newest(tx, query, schema.deposits.c.id, args.limit))
    shown = [rows.deposit(row) for row in found]
    answer(args.json, shown, rows.DEPOSIT_COLUMNS, "no deposits")
    return 0


def newest_txids(tx: Tx) -> dict[int, str]:
    """payout id -> txid of its newest signed attempt that pays."""
    links, attempts = schema.attempt_payouts, schema.attempts
    query = (
        select(links.c.payout_id, attempts.c.txid)
        .join(attempts, attempts.c.id == links.c.attempt_id)
        .where(attempts.c.txid.is_not(None), attempts.c.purpose != "void")
        .order_by(attempts.c.id)
    )
    return {row.payout_id: row.txid for row in tx.all(query)}


def payouts(args: Namespace) -> int:
    config = load(args.config)
    query = _filtered(schema.payouts, args, list(Payout))
    if args.held:
        query = query.where(schema.payouts.c.held_reason.is_not(None))
    with opened(config) as store:
        found, txids = store.read_now(
            lambda tx: (
                _newest(tx, query, schema.payouts.c.id, args.limit),
                newest_txids(tx),
            )
        )
    shown = [rows.payout(row, config, txids.get(row.id)) for row in found]
    answer(args.json, shown, rows.PAYOUT_COLUMNS, "no payouts")
    return 0


def payout(args: Namespace) -> int:
    config = load(args.config)

    def unit(tx: Tx) -> dict[str, Any]:
        row = PAYOUT.row(tx, args.id)
        entry = store_payouts.view(tx, row)
        told = tx.all(
            select(schema.outbox)
            .where(schema.outbox.c.subject == store_payouts.subject(row))
            .order_by(schema.outbox.c.id)
        )
        return {
            **rows.payout(row, config, newest_txids(tx).get(row.id)),
            "attempts": [rows.attempt(one) for one in entry.attempts],
            "locks": [{"lock": one.lock, "used_txid": one.used_txid} for one in entry.locks],
            "outbox": [rows.outbox_item(one) for one in told],
        }

    with opened(config) as store:
        found = store.read_now(unit)
    if args.json:
        print_json(found)
        return 0
    attempts, locks, told = (found.pop(key) for key in ("attempts", "locks", "outbox"))
    width = max(map(len, found))
    for key, thing in found.items():
        if thing not in (None, ""):
            print(f"{key.replace('_', ' ').ljust(width)}  {harmless(thing)}")
    for title, some, columns in (
        ("attempts", attempts, rows.ATTEMPT_COLUMNS),
        ("locks", locks, ("lock", "used_txid")),
        ("messages", told, rows.OUTBOX_COLUMNS),
    ):
        print(f"\n{title}\n{table(some, columns)}")
    return 0


def outbox(args: Namespace) -> int:
    config = load(args.config)
    states = ("open", "acknowledged", "parked", "withdrawn", "refused")
    query = _filtered(schema.outbox, args, states)
    with opened(config) as store:
        found = store.read_now(lambda tx: _newest(tx, query, schema.outbox.c.id, args.limit))
    answer(args.json, [rows.outbox_item(r) for r in found], rows.OUTBOX_COLUMNS, "nothing to tell")
    return 0


def inbox(args: Namespace) -> int:
    config = load(args.config)
    query = _filtered(schema.inbox, args, ("open", "dismissed", "assigned"))
    with opened(config) as store:
        found = store.read_now(lambda tx: _newest(tx, query, schema.inbox.c.id, args.limit))
    answer(args.json, [rows.inbox_item(r) for r in found], rows.INBOX_COLUMNS, "the inbox is empty")
    return 0


def alarms(args: Namespace) -> int:
    config = load(args.config)
    query = select(schema.alarms)
    if not args.all:
        query = query.where(schema.alarms.c.closed_at.is_(None))
    with opened(config) as store:
        found = store.read_now(lambda tx: _newest(tx, query, schema.alarms.c.id, args.limit))
    answer(args.json, [rows.alarm(row) for row in found], rows.ALARM_COLUMNS, "no alarms")
    return 0


def events(args: Namespace) -> int:
    config = load(args.config)
    columns = schema.events.c
    query = select(schema.events)
    if args.scope is not None:
        query = query.where(columns.scope == args.scope)
    if args.subject is not None:
        query = query.where(or_(columns.subject == args.subject, columns.what == args.subject))
    order = (columns.at, columns.scope, columns.seq)

    def unit(tx: Tx) -> list[Row[Any]]:
        if args.limit is None:
            return list(tx.all(query.order_by(*order)))
        newest = [column.desc() for column in order]
        return list(reversed(tx.all(query.order_by(*newest).limit(args.limit))))

    with opened(config) as store:
        found = store.read_now(unit)
    answer(args.json, [rows.event(row) for row in found], rows.EVENT_COLUMNS, "no events")
    return 0
