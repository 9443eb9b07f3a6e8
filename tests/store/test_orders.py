"""What a consume answer changes: one payout a trans_id for ever, whatever the platform says."""

from __future__ import annotations

import pytest

from chain_adapter.core.states import Payout
from chain_adapter.store import orders, outbox, payout_marks, payouts
from chain_adapter.store.events import move_payout
from tests.store.books import Books


def test_one_order_many_times_is_one_payout(books: Books) -> None:
    assert books.order() == "new"
    assert [books.order() for _ in range(3)] == ["known"] * 3
    row = books.payout()
    assert (row.state, bytes(row.warrant), row.warrant_sign) == ("QUEUED", b"signed", "s")
    assert row.listed_session == books.store.session


@pytest.mark.parametrize("amount", ["1.0", "1.000", "1e0", "10E-1"])
def test_another_spelling_of_the_amount_is_the_same_content(books: Books, amount: str) -> None:
    books.order()
    assert books.order(amount=amount) == "known"
    assert books.payout().held_reason is None


@pytest.mark.parametrize("change", [{"amount": "2"}, {"address_to": "x"}, {"memo": "m"}])
def test_other_content_is_held_and_lists_nothing(books: Books, change: dict[str, str]) -> None:
    books.order()
    first = books.payout()
    books.clock.advance(5)
    assert books.order(**change) == "changed"
    row = books.payout()
    assert row.held_reason is not None
    assert (row.amount_told, row.address_to, row.memo_told) == ("1", "to", None)
    assert row.listed_at == first.listed_at
    assert books.alarms() == {"order_changed", "payout_held"}


def test_the_same_trans_id_of_another_symbol_is_another_payout(books: Books) -> None:
    assert books.order() == "new"
    assert books.order(symbol="OTHER") == "new"


def test_a_number_and_its_text_are_one_trans_id(books: Books) -> None:
    books.order("7", quoted=False)
    assert books.order("7", quoted=True) == "known"
    assert not books.payout("7").trans_id_quoted, "it goes back as it came first"


def test_a_refused_one_that_is_still_listed_is_cancelled_once(books: Books) -> None:
    books.order()
    row = books.payout()
    books.write(lambda tx: payouts.refuse(tx, row, "no"))
    for _ in range(3):
        books.order()
    assert [i.dedupe_key for i in books.rows(outbox.T)] == [f"cancel:{row.id}"]


def test_what_goes_back_anyway_is_not_held_for_its_new_content(books: Books) -> None:
    books.order()
    books.write(lambda tx: payouts.refuse(tx, books.payout(), "no"))
    assert books.order(amount="3") == "known"
    assert books.payout().held_reason is None
    assert not books.rows(outbox.T)[0].held


def test_a_cancel_that_was_withdrawn_is_said_again(books: Books) -> None:
    books.order()
    books.write(lambda tx: payouts.refuse(tx, books.payout(), "no"))
    key = f"cancel:{books.payout().id}"
    books.write(lambda tx: outbox.withdraw(tx, key))
    books.order()
    assert books.rows(outbox.T)[0].state == "open"


def test_a_claimed_one_is_never_cancelled(books: Books) -> None:
    books.order()
    books.write(lambda tx: move_payout(tx, books.payout(), Payout.SIGNED, "test"))
    books.write(lambda tx: payouts.claimed(tx, books.payout().id))
    row = books.payout()
    assert row.ever_claimed
    with pytest.raises(payouts.StateConflict):
        books.write(lambda tx: payouts.put_cancel(tx, row, "no"))
    assert books.rows(outbox.T) == []


def test_only_what_waits_unclaimed_is_too_old(books: Books) -> None:
    for trans_id in ("1", "2", "3"):
        books.order(trans_id)
        books.clock.advance(10)
    books.write(lambda tx: payout_marks.hold(tx, books.payout("1"), "alice", "wait"))
    now = int(books.clock.now().timestamp() * 1_000_000)

    def old(age_s: int) -> list[str]:
        rows = books.read(
            lambda tx: orders.overdue(tx, "REF", older_than=now - age_s * 1_000_000, most=9)
        )
        return [row.trans_id for row in rows]

    assert old(5) == ["2", "3"]
    assert old(15) == ["2"]
    page = books.read(lambda tx: orders.waiting_among(tx, "REF", ["2", "1"]))
    assert [row.trans_id for row in page] == ["1", "2"], "held ones fill a page too"


def test_release_of_the_first_page_touches_nothing_else(books: Books) -> None:
    books.order("1")
    books.order("2")
    books.write(lambda tx: payout_marks.hold(tx, books.payout("1"), "a", orders.FIRST_PAGE))
    books.write(lambda tx: payout_marks.hold(tx, books.payout("2"), "a", "something else"))
    assert books.write(lambda tx: orders.release_first_page(tx, "alice", "fine")) == 1
    assert books.payout("1").held_reason is None
    assert books.payout("2").held_reason == "something else"
