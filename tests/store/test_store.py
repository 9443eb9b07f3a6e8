"""Units of work: all or nothing, grouped, the writer never stopped by one that fails."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select

from chain_adapter.errors import StateConflict, StoreError
from chain_adapter.store import schema
from chain_adapter.store.store import Tx
from tests.store.books import Books

META = schema.meta


def put(key: str):  # type: ignore[no-untyped-def]
    return lambda tx: tx.run(insert(META).values(key=key, value="1"))


def keys(books: Books) -> set[str]:
    return {row.key for row in books.rows(META)} - {"schema", "ledger_id"}


async def test_many_units_share_few_commits(books: Books) -> None:
    await asyncio.gather(*(books.store.write(put(f"k{i}")) for i in range(200)))
    assert len(keys(books)) == 200
    assert books.store.commits < 100


async def test_a_unit_that_raises_takes_nothing_with_it(books: Books) -> None:
    def half(tx: Tx) -> None:
        put("half")(tx)
        raise StateConflict("changed its mind")

    results = await asyncio.gather(
        books.store.write(put("a")), books.store.write(half), books.store.write(put("b")),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(results[1], StateConflict)
    assert keys(books) == {"a", "b"}
    with pytest.raises(StateConflict):
        await books.store.write(half)
    assert keys(books) == {"a", "b"}


async def test_a_broken_constraint_is_a_conflict_of_its_own_unit(books: Books) -> None:
    await books.store.write(put("a"))
    results = await asyncio.gather(
        *(books.store.write(put(key)) for key in ("b", "a", "c")), return_exceptions=True
    )
    assert isinstance(results[1], StateConflict)
    assert keys(books) == {"a", "b", "c"}


async def test_any_exception_of_a_unit_reaches_its_caller_alone(books: Books) -> None:
    def wrong(_tx: Tx) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await books.store.write(wrong)
    await books.store.write(put("a"))
    assert keys(books) == {"a"}


async def test_units_of_one_caller_run_in_the_order_given(books: Books) -> None:
    seen: list[int] = []
    futures = [books.store.submit(lambda _tx, i=i: seen.append(i)) for i in range(50)]
    await asyncio.gather(*map(asyncio.wrap_future, futures))
    assert seen == list(range(50))


async def test_what_was_written_is_there_for_readers_and_others(books: Books) -> None:
    await books.store.write(put("a"))
    found = await books.store.read(lambda tx: tx.one(select(META).where(META.c.key == "a")))
    assert found is not None
    books.write(put("b"))
    assert keys(books) == {"a", "b"}


async def test_a_closed_store_says_so(books: Books) -> None:
    books.close()
    books.close()
    with pytest.raises(StoreError):
        await books.store.write(put("a"))


async def test_insert_new_tells_whether_it_inserted(books: Books) -> None:
    values = {"key": "a", "value": "1"}
    assert books.write(lambda tx: tx.insert_new(META, values))
    assert not books.write(lambda tx: tx.insert_new(META, {**values, "value": "2"}))
    assert {row.value for row in books.rows(META) if row.key == "a"} == {"1"}
