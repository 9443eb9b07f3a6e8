"""The outbox: once for ever a key, lanes, orders within them, the schedule of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.errors import UnknownRow
from chain_adapter.store import outbox
from tests.store.books import Books

LANE = "REF:withdraw/notify"


def put(books: Books, key: str, **changed: Any) -> bool:
    fields: dict[str, Any] = {
        "dedupe_key": key, "call": "withdraw/notify", "symbol": "REF", "chain": "ref",
        "subject": f"payout:{key}", "body": {"n": 1}, **changed,
    }  # fmt: skip
    return bool(books.write(lambda tx: outbox.put(tx, **fields)))


def due(books: Books, head: int = 10) -> list[str]:
    return [row.dedupe_key for row in books.read(lambda tx: outbox.due(tx, LANE, {"ref": head}))]


def item(books: Books, key: str) -> Any:
    return next(row for row in books.rows(outbox.T) if row.dedupe_key == key)


def test_a_key_exists_once_for_ever(books: Books) -> None:
    assert put(books, "a")
    assert not put(books, "a", body={"n": 2})
    books.write(lambda tx: outbox.acknowledge(tx, item(books, "a"), 0))
    assert not put(books, "a")
    assert len(books.rows(outbox.T)) == 1


def test_claims_of_one_account_go_in_lock_order_others_do_not_wait(books: Books) -> None:
    put(books, "second", order_key="acc", order_seq=2)
    put(books, "first", order_key="acc", order_seq=1)
    put(books, "other", order_key="acc2", order_seq=9)
    put(books, "free")
    assert set(due(books)) == {"first", "other", "free"}
    books.write(lambda tx: outbox.delay(tx, item(books, "first"), 60, None, "no answer"))
    assert "second" not in due(books), "it waits behind an unanswered one"
    books.write(lambda tx: outbox.acknowledge(tx, item(books, "first"), 0))
    assert "second" in due(books)


def test_a_refused_claim_lets_the_next_one_go(books: Books) -> None:
    put(books, "first", order_key="acc", order_seq=1)
    put(books, "second", order_key="acc", order_seq=2)
    first = item(books, "first")
    books.write(lambda tx: outbox.close_as(tx, first.id, "refused"))
    assert due(books) == ["second"]


def test_messages_about_one_subject_keep_their_order(books: Books) -> None:
    put(books, "claim", subject="payout:1")
    put(books, "replaced", subject="payout:1")
    assert due(books) == ["claim"]


def test_what_grows_is_told_again_only_when_there_is_more_to_tell(books: Books) -> None:
    put(books, "paid", grows=True, height=8, depth=5)
    assert due(books, head=10) == ["paid"]
    assert not books.write(lambda tx: outbox.acknowledge(tx, item(books, "paid"), 3))
    assert due(books, head=10) == []
    assert due(books, head=11) == ["paid"]
    assert books.write(lambda tx: outbox.acknowledge(tx, item(books, "paid"), 5))
    assert due(books, head=99) == []


def test_the_schedule_of_row_refusals_ends_parked(books: Books) -> None:
    put(books, "a")
    for number, wait_s in enumerate(outbox.ROW_SCHEDULE_S, 1):
        assert not books.write(lambda tx: outbox.row_refused(tx, item(books, "a"), 1000011, "no"))
        assert due(books) == []
        books.clock.advance(wait_s - 0.5)
        assert due(books) == []
        books.clock.advance(0.5)
        assert due(books) == ["a"]
        assert item(books, "a").tries == number
    assert books.write(lambda tx: outbox.row_refused(tx, item(books, "a"), 1000011, "no"))
    assert item(books, "a").state == "parked"
    books.clock.advance(10**6)
    assert due(books) == []
    assert books.write(lambda tx: outbox.retry(tx, None, "alice", "mended")) == 1
    assert due(books) == ["a"]


def test_a_failing_item_goes_to_the_back_of_its_lane(books: Books) -> None:
    put(books, "a")
    put(books, "b")
    assert due(books) == ["a", "b"]
    books.write(lambda tx: outbox.delay(tx, item(books, "a"), 5, None, "timeout"))
    assert due(books) == ["b"]
    books.clock.advance(6)
    assert due(books) == ["b", "a"]


def test_withdrawn_and_held_items_stay_at_home(books: Books) -> None:
    put(books, "claim:1", subject="payout:1")
    put(books, "gone")
    assert books.write(lambda tx: outbox.withdraw(tx, "gone"))
    assert not books.write(lambda tx: outbox.withdraw(tx, "gone"))
    books.write(lambda tx: outbox.hold(tx, "payout:1", True))
    assert due(books) == []
    books.write(lambda tx: outbox.hold(tx, "payout:1", False))
    assert due(books) == ["claim:1"]


def test_a_mark_never_stops_a_report(books: Books) -> None:
    put(books, "paid:1", subject="payout:1")
    books.write(lambda tx: outbox.hold(tx, "payout:1", True))
    assert due(books) == ["paid:1"]


def test_what_is_put_for_a_held_payout_is_held(books: Books) -> None:
    put(books, "claim:1", held=True)
    assert due(books) == []


def test_an_acknowledged_item_cannot_be_withdrawn_and_can_be_said_again(books: Books) -> None:
    put(books, "a")
    books.write(lambda tx: outbox.acknowledge(tx, item(books, "a"), 0))
    assert not books.write(lambda tx: outbox.withdraw(tx, "a"))
    assert books.write(lambda tx: outbox.reopen(tx, "a", body={"n": 3}))
    assert due(books) == ["a"]
    assert item(books, "a").body == '{"n":3}'
    assert not books.write(lambda tx: outbox.reopen(tx, "nothing"))


def test_a_retry_of_nothing_says_so(books: Books) -> None:
    with pytest.raises(UnknownRow):
        books.write(lambda tx: outbox.retry(tx, 7, "alice", "why"))
