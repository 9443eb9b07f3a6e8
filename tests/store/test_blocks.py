"""Blocks in the books: in order, whole, and undone whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chain_adapter.chain import Block, BlockRef, Sent
from chain_adapter.core.states import Role
from chain_adapter.errors import ConfigError, StateConflict
from chain_adapter.store import blocks, pauses, schema, settling, transfers
from tests.store.booking import CHAIN, KINDS, Books, arrives, block, key_of


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    made = Books(database_url)
    yield made
    made.close()


def chain_of(count: int, start: int = 1, **holding: Any) -> list[Block]:
    return [block(height, **holding) for height in range(start, start + count)]


def settle(books: Books, up_to: int, *looked: Block, **more: Any) -> settling.Settled:
    how = books.reading(**more)

    def unit(tx: Any) -> settling.Settled:
        row = blocks.at(tx, CHAIN, up_to)
        assert row is not None
        return settling.settle(tx, how, BlockRef(row.height, row.hash), looked, KINDS)

    return books.store.write_now(unit)


def test_blocks_follow_each_other(books: Books) -> None:
    books.commit(*chain_of(3))
    for wrong in (
        [block(5)],  # a hole
        [block(4, parent="h9")],  # another parent
        [block(3)],  # again
        [block(4), block(5, parent="x")],  # broken inside
    ):
        with pytest.raises(blocks.NotOurTip):
            books.commit(*wrong)
    books.commit(block(4), block(6, parent="h4"))  # the chain itself skipped 5
    assert books.store.read_now(lambda tx: blocks.holes(tx, CHAIN)) == []
    [row] = books.rows(schema.coverage)
    assert (row.from_height, row.to_height, row.look) == (1, 6, 1)


def test_the_filter_must_be_of_today(books: Books) -> None:
    how = books.reading()
    books.add("C")
    with pytest.raises(blocks.FilterOutdated):
        books.store.write_now(lambda tx: blocks.commit(tx, how, chain_of(1)))
    assert books.rows(schema.blocks) == []
    books.commit(block(1, [arrives("t1", "C", 5)]))
    assert len(books.rows(schema.deposits)) == 1


def test_a_commit_is_whole_or_nothing(books: Books) -> None:
    twice = arrives("t1", "A", 5)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        books.commit(block(1, [twice]), block(2, [twice]))
    for table in (schema.blocks, schema.transfers, schema.deposits, schema.coverage):
        assert books.rows(table) == []


def test_what_is_not_exactly_ours_is_dropped(books: Books) -> None:
    stranger = Sent("s1", "Z", ("Z/1",), True, (), 1, "ETH")
    books.commit(block(1, [arrives("t1", "Z", 5), arrives("t2", "a", 7)], [stranger]))
    [row] = books.rows(schema.transfers)
    assert (row.txid, row.to) == ("t2", "A")  # spelled as registered
    assert books.rows(schema.foreign_uses) == []


def test_our_own_transactions_are_noted(books: Books) -> None:
    books.add("H", Role.HOT, account=0)
    books.add("W", Role.WATCHED, account=None)
    sent = [
        Sent("s1", "H", ("H/0",), True, (), 1, "ETH"),
        Sent("s2", "W", ("W/0",), True, (), 1, "ETH"),
    ]
    books.commit(block(1, [], sent))
    assert [row.txid for row in books.rows(schema.foreign_uses)] == ["s1"]
    books.pop()
    assert books.rows(schema.foreign_uses) == []


def test_rows_while_catching_up(books: Books) -> None:
    batch = chain_of(64)
    batch[20] = block(21, [arrives("t1", "A", 5)])
    books.commit(*batch, head=1000, followed_from=999)
    assert [row.height for row in books.rows(schema.blocks)] == [21, 64]
    books.commit(*chain_of(64, 65), head=130, followed_from=126)
    kept = [row.height for row in books.rows(schema.blocks)]
    assert kept == [21, 64, *range(120, 129)]
    followed = [row.height for row in books.rows(schema.blocks) if row.followed]
    assert followed == [126, 127, 128]


def test_pop_undoes_everything(books: Books) -> None:
    books.coins = True
    books.commit(block(1, [arrives("t1", "A", 5, "out/0", lock="t1:0")]))
    before = {
        table.name: [tuple(row) for row in books.rows(table)]
        for table in (schema.blocks, schema.transfers, schema.coverage)
    }
    spends = Sent("s2", "A", ("t1:0",), True, (), 1, "ETH")
    made = books.commit(block(2, [arrives("t2", "B", 7, "out/0", lock="t2:0")], [spends]))
    assert made.coins_made == {"t2:0": 7}
    assert made.coins_spent == ("t1:0",)
    assert books.store.read_now(lambda tx: transfers.coins(tx, CHAIN)) == {"t2:0": 7}
    at_one = books.store.read_now(lambda tx: transfers.coins(tx, CHAIN, 1))
    assert at_one == {"t1:0": 5, "t2:0": 7}
    assert books.pop() == 1
    assert books.store.read_now(lambda tx: transfers.coins(tx, CHAIN)) == {"t1:0": 5}
    after = {
        table.name: [tuple(row) for row in books.rows(table)]
        for table in (schema.blocks, schema.transfers, schema.coverage)
    }
    assert after == before
    assert [row.state for row in books.rows(schema.deposits)] == ["SEEN", "ORPHANED"]
    assert books.pop() == 0
    assert books.rows(schema.coverage) == []
    assert books.store.read_now(lambda tx: pauses.paused(tx, CHAIN)) == frozenset()


def test_pop_of_a_sparse_row_unreads_down_to_the_next(books: Books) -> None:
    books.commit(*chain_of(64), head=1000, followed_from=999)
    books.commit(*chain_of(64, 65), head=1000, followed_from=999)
    assert books.pop() == 64
    [row] = books.rows(schema.coverage)
    assert (row.from_height, row.to_height) == (1, 64)
    books.commit(block(65))


def test_pop_names_what_it_expects(books: Books) -> None:
    books.commit(*chain_of(2))
    with pytest.raises(blocks.NotOurTip):
        books.store.write_now(lambda tx: blocks.pop(tx, CHAIN, BlockRef(2, "other"), 0, 10))


def test_the_breaker(books: Books) -> None:
    books.commit(*chain_of(30))
    for depth in range(10):
        books.pop(depth)
    assert books.store.read_now(lambda tx: pauses.paused(tx, CHAIN)) == frozenset()
    books.pop(10)
    assert books.store.read_now(lambda tx: pauses.paused(tx, CHAIN)) == {""}
    assert [row.code for row in books.rows(schema.alarms)] == ["deep_reorg"]


def test_a_settled_block_popped_pauses_and_must_be_settled_again(books: Books) -> None:
    books.commit(*chain_of(5))
    assert settle(books, 4).height == 4
    books.pop()
    assert books.store.read_now(lambda tx: pauses.paused(tx, CHAIN)) == frozenset()
    books.pop()
    assert books.store.read_now(lambda tx: pauses.paused(tx, CHAIN)) == {""}
    state = books.store.read_now(lambda tx: blocks.chain(tx, CHAIN))
    assert state is not None
    assert state.settled_height == 3


def test_prune_keeps_what_a_reorganisation_may_reach(books: Books) -> None:
    books.commit(*chain_of(40))
    settle(books, 38)
    assert [row.height for row in books.rows(schema.blocks)] == list(range(30, 41))
    for _ in range(10):
        books.pop()
    with pytest.raises(blocks.NoDeeper):
        books.pop()


def test_settle_needs_our_blocks(books: Books) -> None:
    books.commit(*chain_of(3))
    with pytest.raises(blocks.NotOurTip):
        books.store.write_now(
            lambda tx: settling.settle(tx, books.reading(), BlockRef(2, "other"), [], KINDS)
        )
    with pytest.raises(blocks.NotOurTip):
        settle(books, 3, block(2, fork="x"))


def test_what_must_be_looked_at_twice(books: Books) -> None:
    batch = chain_of(10)
    batch[3] = block(4, [arrives("t1", "A", 5)])
    batch[6] = block(7, parent="h6")
    books.commit(*batch, followed_from=9)

    def due(up_to: int, most: int = 99, *, everything: bool = True) -> list[int]:
        found = books.store.read_now(
            lambda tx: settling.due(tx, CHAIN, 0, up_to, most, all_followed=everything)
        )
        assert all(one.parent.height == one.ref.height - 1 for one in found)
        return [one.ref.height for one in found]

    assert due(8) == [4]
    assert due(10) == [4, 9, 10]
    assert due(10, everything=False) == [4]
    assert due(10, most=2) == [4, 9]
    plan = books.store.read_now(
        lambda tx: settling.plan(tx, CHAIN, 10, 2, all_followed=True, keeps_coins=False)
    )
    assert plan is not None
    assert plan.goal == BlockRef(9, "h9")


def test_runs_of_second_looks(books: Books) -> None:
    def one(height: int, parent: int) -> settling.Again:
        return settling.Again(BlockRef(height, f"h{height}"), BlockRef(parent, f"h{parent}"))

    found = settling.runs([one(4, 3), one(5, 4), one(8, 7), one(10, 8)])
    assert [[again.ref.height for again in run] for run in found] == [[4, 5], [8, 10]]


def test_a_second_look_that_finds_more_is_not_the_last(books: Books) -> None:
    books.commit(*chain_of(3))
    richer = block(2, [arrives("t1", "A", 5)], method="other")
    done = settle(books, 3, richer)
    assert (done.height, done.found, done.confirmed) == (1, True, 0)
    done = settle(books, 3, richer)
    assert (done.height, done.found, done.confirmed) == (3, False, 1)
    looks = [
        (row.from_height, row.to_height) for row in books.rows(schema.coverage) if row.look == 2
    ]
    assert looks == [(2, 2), (2, 2)]


def test_more_of_a_known_one_by_a_method_that_sees_more(books: Books) -> None:
    books.commit(block(1, [arrives("t1", "A", 5)]), block(2))
    more = block(1, [arrives("t1", "A", 5), arrives("t1", "A", 3, "call/0.1")], method="other")
    assert settle(books, 2, more).found
    done = settle(books, 2, more)
    assert (done.height, done.confirmed) == (2, 1)
    [row] = books.rows(schema.deposits)
    assert (row.amount, row.told, row.state) == ("8", "8", "CONFIRMED")


def test_identity_is_pinned(books: Books) -> None:
    with pytest.raises(ConfigError, match="pinned to net"):
        books.store.write_now(lambda tx: blocks.pin_identity(tx, CHAIN, "other"))


def test_a_chain_that_has_not_begun_takes_no_block(books: Books) -> None:
    how = books.reading(terms=Books.terms_for("new"))
    with pytest.raises(StateConflict, match="not begun"):
        books.store.write_now(lambda tx: blocks.commit(tx, how, [block(1)]))
    assert key_of("A") == b"a" + b"\0" * 7
