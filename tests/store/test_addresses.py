"""Addresses: counted, imported whole or not at all, found exactly, filtered compactly."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from chain_adapter.clock import SystemClock
from chain_adapter.core.states import Role
from chain_adapter.store import addresses, ledger
from chain_adapter.store.addresses import NewAddress
from chain_adapter.store.store import Store, Tx

CHAIN = "main"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = ledger.create(database_url, SystemClock())
    yield made
    made.close()


def some(count: int, seed: int = 1) -> list[tuple[bytes, str]]:
    chance = random.Random(seed)
    keys = [chance.randbytes(20) for _ in range(count)]
    return [(key, f"0x{key.hex()}") for key in keys]


def test_every_insert_raises_the_counter(store: Store) -> None:
    [(one, text), (other, _)] = some(2)

    def unit(tx: Tx) -> list[object]:
        return [
            addresses.add(tx, CHAIN, one, text, Role.DEPOSIT, account=1, idx=0),
            addresses.counter(tx, CHAIN),
            addresses.add(tx, CHAIN, one, "another spelling", Role.HOT),
            addresses.counter(tx, CHAIN),
            addresses.add_many(tx, CHAIN, [NewAddress(other, "x", Role.HOT, 0, 0)] * 2),
            addresses.counter(tx, CHAIN),
            addresses.next_index(tx, CHAIN, 1),
            addresses.next_index(tx, CHAIN, 7),
        ]

    assert store.write_now(unit) == [True, 1, False, 1, 1, 2, 1, 0]
    rows = store.read_now(lambda tx: addresses.listed(tx, CHAIN))
    assert [(row.address, row.role, row.seq) for row in rows] == [
        (text, "deposit", 1),
        ("x", "hot", 2),
    ]


def test_import_is_idempotent_and_counts_once(store: Store) -> None:
    rows = some(500)
    store.write_now(lambda tx: addresses.add(tx, CHAIN, rows[0][0], "ours", Role.DEPOSIT))
    first = store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, [*rows, *rows[:100]]))
    assert first == (499, 101)
    counted = store.read_now(lambda tx: addresses.counter(tx, CHAIN))
    assert store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, rows)) == (0, 500)
    assert store.read_now(lambda tx: addresses.counter(tx, CHAIN)) == counted
    known = store.read_now(lambda tx: addresses.find(tx, CHAIN, [key for key, _ in rows]))
    assert len(known) == 500
    assert known[rows[0][0]].role is Role.DEPOSIT
    assert known[rows[1][0]].is_credited
    assert not known[rows[1][0]].is_signing
    assert store.read_now(lambda tx: addresses.unregistered(tx, CHAIN)) != []
    assert len(store.read_now(lambda tx: addresses.unregistered(tx, CHAIN))) == 1


def test_a_bad_line_leaves_nothing(store: Store) -> None:
    def lines() -> Iterator[tuple[bytes, str]]:
        yield from some(10)
        raise ValueError("line 11")

    with pytest.raises(ValueError, match="line 11"):
        store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, lines()))
    assert store.read_now(addresses.listed) == []
    assert store.read_now(lambda tx: addresses.counter(tx, CHAIN)) == 0


def test_a_hundred_thousand_in_seconds(store: Store) -> None:
    rows = some(100_000)
    begun = time.monotonic()
    assert store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, rows)) == (100_000, 0)
    assert time.monotonic() - begun < 20
    loaded = store.read_now(lambda tx: addresses.load_filter(tx, CHAIN))
    assert len(loaded.every) == 100_000
    assert len(loaded.signing) == 0
    assert loaded.every.hits([key for key, _ in rows]) == list(range(100_000))


def test_the_filter_is_brought_up_to_date(store: Store) -> None:
    first, later, strangers = some(100), some(100, seed=2), some(100, seed=3)
    store.write_now(
        lambda tx: [
            addresses.add(tx, CHAIN, key, text, Role.DEPOSIT, account=1, idx=n)
            for n, (key, text) in enumerate(first)
        ]
    )
    loaded = store.read_now(lambda tx: addresses.load_filter(tx, CHAIN))
    assert loaded.every is loaded.signing
    assert loaded.counter == 100
    key, text = later[0]
    store.write_now(lambda tx: addresses.add(tx, CHAIN, key, text, Role.HOT, account=0, idx=0))
    store.read_now(lambda tx: addresses.refresh(tx, CHAIN, loaded))
    assert key in loaded.every
    assert key in loaded.signing
    store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, later[1:]))
    store.read_now(lambda tx: addresses.refresh(tx, CHAIN, loaded))
    assert loaded.every is not loaded.signing
    assert all(key in loaded.every for key, _ in [*first, *later])
    assert all(key in loaded.signing for key, _ in [*first, later[0]])
    assert not any(key in loaded.signing for key, _ in later[1:])
    assert not any(key in loaded.every for key, _ in strangers)
    assert loaded.counter == store.read_now(lambda tx: addresses.counter(tx, CHAIN))


def test_registering(store: Store) -> None:
    rows = some(5)
    store.write_now(
        lambda tx: addresses.add_many(
            tx,
            CHAIN,
            [NewAddress(key, text, Role.DEPOSIT, 1, n) for n, (key, text) in enumerate(rows)],
        )
    )
    waiting = store.read_now(lambda tx: addresses.unregistered(tx, CHAIN, 3))
    assert [row.address for row in waiting] == [text for _, text in rows[:3]]
    keys = [bytes(row.key) for row in waiting]
    assert store.write_now(lambda tx: addresses.mark_registered(tx, CHAIN, keys)) == 3
    assert store.write_now(lambda tx: addresses.mark_registered(tx, CHAIN, keys)) == 0
    assert store.read_now(lambda tx: addresses.count_registered(tx, CHAIN)) == 3
    assert len(store.read_now(lambda tx: addresses.unregistered(tx, CHAIN))) == 2
    assert store.read_now(lambda tx: addresses.own_senders(tx, CHAIN, 2)) == [
        text for _, text in rows[:2]
    ]


def test_copy_for_a_record(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = some(300)
    store.write_now(lambda tx: addresses.import_watched(tx, CHAIN, rows))
    key = b"\x01" * 20
    store.write_now(lambda tx: addresses.add(tx, CHAIN, key, "hot", Role.HOT, account=0, idx=0))
    folder = tmp_path_factory.mktemp("copy")
    target = ledger.create(f"sqlite:///{folder}/copy.db", SystemClock(), record_of=CHAIN)
    try:
        copied = store.read_now(
            lambda one: target.write_now(lambda other: addresses.copy_all(one, other, CHAIN))
        )
        assert copied == 301
        assert _all(target) == _all(store)
    finally:
        target.close()


def _all(store: Store) -> tuple[int, list[tuple[object, ...]]]:
    rows = store.read_now(addresses.listed)
    counted = store.read_now(lambda tx: addresses.counter(tx, CHAIN))
    return counted, [tuple(row) for row in rows]
