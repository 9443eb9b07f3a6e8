"""Many plain rows go past the statement compiler: what is stored must be the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from chain_adapter.clock import SystemClock
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StateConflict
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Store, Tx

T = schema.deposits


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "request_id": f"{number:032x}",
            "chain": "c",
            "asset": "A",
            "symbol": "A",
            "txid": f"0x{number}",
            "to": "quote \" and ' and ?",
            "memo_key": "",
            "memo": None,
            "amount": str(10**30 + number),
            "told": "1",
            "remainder": "0",
            "height": 2**40,
            "block_hash": "h",
            "state": Deposit.SEEN,
            "proof": [True, False, None][number % 3],
            "seen_at": 1,
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = ledger.create(f"sqlite:///{tmp_path / 'a.db'}", SystemClock())
    yield made
    made.close()


def read(tx: Tx, first: int, count: int) -> list[tuple[Any, ...]]:
    names = [f"{number:032x}" for number in range(first, first + count)]
    found = tx.all(select(T).where(T.c.request_id.in_(names)).order_by(T.c.request_id))
    return [tuple(row)[2:5] + tuple(row)[6:] for row in found]


def test_the_same_rows_either_way(store: Store) -> None:
    def unit(tx: Tx) -> None:
        assert tx.run(insert(T), rows(0, 6)) == 6
        for row in rows(6, 6):
            row["txid"] = f"0x{int(row['request_id'], 16) - 6}x"
            tx.run(insert(T).values(**row))

    store.write_now(unit)
    fast = store.read_now(lambda tx: read(tx, 0, 6))
    slow = store.read_now(lambda tx: read(tx, 6, 6))
    assert [row[3:5] for row in fast] == [row[3:5] for row in slow]
    assert [row[9:] for row in fast] == [row[9:] for row in slow]
    kinds = [[type(value) for value in row] for row in fast]
    assert kinds == [[type(value) for value in row] for row in slow]


def test_defaults_of_columns_that_are_left_out(store: Store) -> None:
    store.write_now(lambda tx: tx.run(insert(T), rows(0, 2)))
    found = store.read_now(lambda tx: tx.all(select(T.c.released, T.c.state, T.c.proof)))
    assert [tuple(one) for one in found] == [(False, "SEEN", True), (False, "SEEN", False)]


async def test_a_row_that_is_there_undoes_its_unit_only(store: Store) -> None:
    await store.write(lambda tx: tx.run(insert(T), rows(0, 1)))
    with pytest.raises(StateConflict):
        await store.write(lambda tx: tx.run(insert(T), rows(0, 3)))
    await store.write(lambda tx: tx.run(insert(T), rows(5, 1)))
    assert store.read_now(lambda tx: len(tx.all(select(T.c.id)))) == 2
