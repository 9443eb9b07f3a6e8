"""Deposits in the books: one row for ever, told once, and every way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from chain_adapter.chain import Block, BlockRef
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StateConflict, UnknownRow
from chain_adapter.store import blocks, deposits, pauses, rulings, schema, settling
from chain_adapter.store.events import GENESIS, digest, move_deposit
from tests.store.booking import CHAIN, KINDS, Books, arrives, block


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    made = Books(database_url)
    yield made
    made.close()


def settle(books: Books, up_to: int, *looked: Block) -> settling.Settled:
    how = books.reading()

    def unit(tx: Any) -> settling.Settled:
        row = blocks.at(tx, CHAIN, up_to)
        assert row is not None
        return settling.settle(tx, how, BlockRef(row.height, row.hash), looked, KINDS)

    return books.store.write_now(unit)


def one(books: Books) -> Any:
    [row] = books.rows(schema.deposits)
    return row


def release(books: Books, deposit_id: int) -> str:
    return books.store.write_now(
        lambda tx: rulings.release(tx, books.terms, deposit_id, "ann", "because")
    )


def credit(books: Books) -> None:
    """What the courier does when the platform has acknowledged it."""

    def unit(tx: Any) -> None:
        tx.run(update(schema.outbox).values(state="acknowledged", acknowledged_confirm=6))
        for row in deposits.listed(tx, state="CONFIRMED"):
            move_deposit(tx, row, Deposit.CREDITED, "acknowledged")

    books.store.write_now(unit)


def test_told_once_with_exact_text(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 1_500_000_000_000_000_001, sender="S")]))
    assert settle(books, 1).confirmed == 1
    [item] = books.rows(schema.outbox)
    assert json.loads(item.body) == {
        "request_id": one(books).request_id,
        "address_to": "A",
        "address_from": "S",
        "txid": "t1",
        "amount": "1.500000000000000001",
    }
    assert settle(books, 1).confirmed == 0
    assert len(books.rows(schema.outbox)) == 1


def test_credited_reversed_and_included_again_is_credited_at_once(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]))
    settle(books, 1)
    credit(books)
    books.pop()
    assert one(books).state == "REVERSED"
    assert [item.state for item in books.rows(schema.outbox)] == ["acknowledged"]
    books.commit(block(1, fork="b"), block(2, [arrives("t1", "A", 5)], parent="h1b"))
    assert one(books).state == "SEEN"
    settle(books, 2)
    assert (one(books).state, one(books).reason) == ("HELD", "paused")
    books.store.write_now(lambda tx: rulings.resume(tx, books.terms, None, "ann", "checked"))
    assert one(books).state == "CREDITED"
    assert len(books.rows(schema.outbox)) == 1


def test_credited_and_back_with_another_amount_is_for_people(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]))
    settle(books, 1)
    credit(books)
    books.pop()
    books.commit(block(1, [arrives("t1", "A", 6)], fork="b"))
    assert (one(books).state, one(books).amount) == ("HELD", "6")
    settle(books, 1)
    books.store.write_now(lambda tx: pauses.lift(tx, CHAIN, None, "ann", "checked"))
    with pytest.raises(StateConflict, match="credited with"):
        release(books, 1)
    assert one(books).state == "HELD"
    books.store.write_now(lambda tx: rulings.ignore(tx, 1, "ann", "settled by mail"))
    assert one(books).state == "IGNORED"


def test_ids_do_not_hang_on_configured_names(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]))
    settle(books, 1)
    before = one(books).request_id
    # The same network under another name in the configuration, read again from the start.
    books.chain = "renamed"
    books.terms = Books.terms_for("renamed")
    books.begin("renamed", "net")
    books.add("A")
    books.commit(block(1, [arrives("t1", "A", 5)]))
    assert one(books).request_id == before
    [found] = books.rows(schema.inbox)
    assert (found.txid, found.amount, found.reason) == ("t1", "5", "found after it was CONFIRMED")
    assert [row.code for row in books.rows(schema.alarms)] == ["late_find"]
    assert len(books.rows(schema.outbox)) == 1


def test_the_second_look_after_confirmed_goes_to_the_inbox(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]), block(2))
    settle(books, 1)
    more = block(1, [arrives("t1", "A", 5), arrives("t1", "A", 3, "call/0.1")], method="other")
    settle(books, 2, more)
    assert (one(books).state, one(books).amount) == ("CONFIRMED", "5")
    [found] = books.rows(schema.inbox)
    assert found.amount == "8"
    assert len(books.rows(schema.outbox)) == 1


def test_second_look_disagreement_holds_until_released(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]), block(2))
    settle(books, 2, block(1, [arrives("t1", "A", 4)], method="other"))
    assert (one(books).state, one(books).reason) == ("HELD", "second look")
    assert release(books, 1) == "CONFIRMED"
    [item] = books.rows(schema.outbox)
    assert json.loads(item.body)["amount"] == "0.000000000000000005"


def test_a_release_before_final_is_not_held_again_by_the_same_rule(books: Books) -> None:
    books.terms = Books.terms_for(CHAIN, memo_coin=True)
    books.commit(block(1, [arrives("t1", "A", 5)]), block(2))
    assert release(books, 1) == "SEEN"
    settle(books, 2, block(1, [arrives("t1", "A", 4)], method="other"))
    assert one(books).state == "CONFIRMED"


def test_an_ignored_one_can_be_taken_up(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5, sender="B")]))
    settle(books, 1)
    assert (one(books).state, one(books).reason) == ("IGNORED", "own money")
    assert release(books, 1) == "CONFIRMED"


def test_a_release_during_a_pause_waits_for_the_resume(books: Books) -> None:
    books.terms = Books.terms_for(CHAIN, memo_coin=True)
    books.commit(block(1, [arrives("t1", "A", 5)]))
    settle(books, 1)
    books.store.write_now(lambda tx: pauses.pause(tx, CHAIN, "ETH", "bob", "odd"))
    assert release(books, 1) == "HELD"
    assert one(books).reason == "paused"
    resumed = books.store.write_now(
        lambda tx: rulings.resume(tx, books.terms, "ETH", "bob", "explained")
    )
    assert resumed == 1
    assert one(books).state == "CONFIRMED"


def test_a_resume_leaves_what_another_rule_holds(books: Books) -> None:
    books.terms = Books.terms_for(CHAIN, memo_coin=True)
    books.store.write_now(lambda tx: pauses.pause(tx, CHAIN, None, "bob", "odd"))
    books.commit(block(1, [arrives("t1", "A", 5), arrives("t2", "A", 5, memo=b"7")]))
    settle(books, 1)
    assert sorted(row.reason for row in books.rows(schema.deposits)) == ["memo missing", "paused"]
    books.store.write_now(lambda tx: rulings.resume(tx, books.terms, None, "bob", "over"))
    assert sorted(row.state for row in books.rows(schema.deposits)) == ["CONFIRMED", "HELD"]
    with pytest.raises(StateConflict, match="not paused"):
        books.store.write_now(lambda tx: rulings.resume(tx, books.terms, None, "bob", "over"))


def test_only_what_waits_can_be_ruled_on(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]))
    with pytest.raises(StateConflict, match="SEEN"):
        release(books, 1)
    with pytest.raises(StateConflict, match="SEEN"):
        books.store.write_now(lambda tx: rulings.ignore(tx, 1, "ann", "no"))
    with pytest.raises(UnknownRow):
        release(books, 9)


def test_an_asset_that_is_no_longer_configured_is_held(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]))
    terms = books.terms
    books.terms = type(terms)(CHAIN, terms.identity, terms.secret, {})
    settle(books, 1)
    assert (one(books).state, one(books).reason) == ("HELD", "asset off")


def test_the_alarm_of_held_ones_closes_with_the_last(books: Books) -> None:
    books.terms = Books.terms_for(CHAIN, memo_coin=True)
    books.commit(block(1, [arrives("t1", "A", 5), arrives("t2", "A", 5)]))
    assert [row.closed_at is None for row in books.rows(schema.alarms)] == [True]
    release(books, 1)
    assert [row.closed_at is None for row in books.rows(schema.alarms)] == [True]
    books.pop()
    assert [row.closed_at is None for row in books.rows(schema.alarms)] == [False]


def test_the_events_of_a_chain_are_one_chain_of_hashes(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5), arrives("t2", "B", 6)]))
    settle(books, 1)
    rows = [row for row in books.rows(schema.events) if row.scope == CHAIN]
    previous = GENESIS
    for number, row in enumerate(sorted(rows, key=lambda row: row.seq), start=1):
        assert row.seq == number
        previous = digest(previous, CHAIN, row.seq, row.at, row.what, row.subject, row.detail)
        assert row.hash == previous
    assert {"deposit SEEN", "deposit CONFIRMED"} <= {row.what for row in rows}
