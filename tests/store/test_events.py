"""Edges and events: a row moves only along an edge, from the state it was read in, with a trace."""

from __future__ import annotations

import itertools

import pytest

from chain_adapter.core.states import PAYOUT_EDGES, Payout
from chain_adapter.errors import StateConflict
from chain_adapter.store import events, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from tests.store.books import Books


def test_only_the_edges_of_the_table_can_be_walked(books: Books) -> None:
    books.order()
    for old, new in itertools.product(Payout, Payout):
        books.write(lambda tx, s=old: tx.run(schema.payouts.update().values(state=s)))
        row = books.payout()
        if (old, new) in PAYOUT_EDGES:
            books.write(lambda tx, r=row, n=new: events.move_payout(tx, r, n))
            assert books.payout().state == new
        else:
            with pytest.raises(StateConflict):
                books.write(lambda tx, r=row, n=new: events.move_payout(tx, r, n))
            assert books.payout().state == old


def test_a_row_that_moved_meanwhile_is_not_moved_again(books: Books) -> None:
    books.order()
    stale = books.payout()
    books.write(lambda tx: events.move_payout(tx, stale, Payout.REFUSED))
    count = len(books.rows(schema.events))
    with pytest.raises(StateConflict):
        books.write(lambda tx: events.move_payout(tx, stale, Payout.RESERVED))
    assert books.payout().state == "REFUSED"
    assert len(books.rows(schema.events)) == count


def test_the_chain_of_events_shows_a_change_behind_it(books: Books) -> None:
    books.order("1")
    books.order("2")

    def intact() -> bool:
        previous: dict[str, str] = {}
        for row in sorted(books.rows(schema.events), key=lambda r: (r.scope, r.seq)):
            value = events.digest(
                previous.get(row.scope, events.GENESIS), row.scope, row.seq, row.at, row.what,
                row.subject, row.detail,
            )  # fmt: skip
            if value != row.hash:
                return False
            previous[row.scope] = row.hash
        return True

    assert intact()
    table = schema.events
    books.write(
        lambda tx: tx.run(table.update().where(table.c.what == "order").values(detail="{}"))
    )
    assert not intact()


def test_an_alarm_is_one_row_until_it_closes(books: Books) -> None:
    def up() -> bool:
        return bool(books.write(lambda tx: raise_alarm(tx, "order_bad", "x", "why")))

    assert up()
    assert not up()
    (row,) = books.rows(schema.alarms)
    assert (row.count, row.severity) == (2, "warning")
    assert books.write(lambda tx: close_alarm(tx, "order_bad", "x"))
    assert not books.write(lambda tx: close_alarm(tx, "order_bad", "x"))
    assert up()
    assert len(books.rows(schema.alarms)) == 2


def test_a_code_that_is_not_listed_cannot_be_raised(books: Books) -> None:
    with pytest.raises(KeyError):
        books.write(lambda tx: raise_alarm(tx, "no_such_code", "x", "why"))
