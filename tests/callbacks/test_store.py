"""The hand-off's memory survives: a kill between books and answer books nothing twice."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chain_adapter.callbacks.events import CallbackRefused, Event
from chain_adapter.callbacks.handoff import HandOff, Verdict
from chain_adapter.callbacks.sqlite_store import SqliteStore
from tests.callbacks.conftest import book
from tests.callbacks.ends import merchant, notice, paid, sealed


def deposit(**changed: object) -> Event:
    return merchant().notification(sealed(notice(**changed)))


def withdrawal(**changed: object) -> Event:
    return merchant().notification(sealed(paid(**changed)))


async def test_another_process_knows_it(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path / "a.db"), SqliteStore(tmp_path / "a.db")
    first, second = HandOff(one, apply=book), HandOff(other, apply=book)
    assert await first.offer(deposit()) is Verdict.NEW
    assert await second.offer(deposit()) is Verdict.KNOWN
    assert await second.offer(deposit(status=0)) is Verdict.STALE
    with pytest.raises(CallbackRefused, match="contradicts"):
        await second.offer(deposit(amount="1"))
    rows = await one.read(lambda db: db.execute("SELECT * FROM booked").fetchall())
    assert len(rows) == 1
    await one.close()
    await other.close()


async def test_books_that_fail_leave_no_mark(store: SqliteStore) -> None:
    def fails(event: Event, db: sqlite3.Connection) -> None:
        book(event, db)
        raise ValueError("no such user")

    with pytest.raises(ValueError, match="no such user"):
        await HandOff(store, apply=fails).offer(deposit())
    assert await store.verdict(deposit()) is Verdict.NEW
    assert await HandOff(store, apply=book).offer(deposit()) is Verdict.NEW
    rows = await store.read(lambda db: db.execute("SELECT * FROM booked").fetchall())
    assert len(rows) == 1


async def test_coroutine_is_marked_after_it_returned(store: SqliteStore) -> None:
    seen: list[Verdict] = []

    async def look(event: Event) -> None:
        seen.append(await store.verdict(event))

    assert await HandOff(store, look).offer(deposit()) is Verdict.NEW
    assert seen == [Verdict.NEW]
    assert await store.verdict(deposit()) is Verdict.KNOWN


async def test_a_failed_deposit_may_still_come(store: SqliteStore) -> None:
    hand_off = HandOff(store, apply=book)
    assert await hand_off.offer(deposit(status=2)) is Verdict.NEW
    assert await hand_off.offer(deposit(status=1)) is Verdict.NEW
    assert await hand_off.offer(deposit(status=2)) is Verdict.KNOWN


async def test_a_credit_is_not_taken_back_silently(store: SqliteStore) -> None:
    hand_off = HandOff(store, apply=book)
    await hand_off.offer(deposit(status=1))
    with pytest.raises(CallbackRefused, match="contradicts"):
        await hand_off.offer(deposit(status=2))
    assert await hand_off.offer(deposit(status=5)) is Verdict.STALE


@pytest.mark.parametrize(("first", "second"), [(5, 2), (2, 5), (4, 6), (6, 5)])
async def test_two_ends_contradict(store: SqliteStore, first: int, second: int) -> None:
    hand_off = HandOff(store, apply=book)
    await hand_off.offer(withdrawal(status=first))
    with pytest.raises(CallbackRefused):
        await hand_off.offer(withdrawal(status=second))


def test_one_end_is_a_constraint(tmp_path: Path) -> None:
    """Not only a check: a second final row of one subject cannot be written."""
    script = """
import asyncio, sys
from chain_adapter.callbacks.sqlite_store import SqliteStore
asyncio.run(SqliteStore(sys.argv[1]).cursor("x"))
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.db")], check=True, timeout=60)
    db = sqlite3.connect(tmp_path / "a.db")
    row = "INSERT INTO callback_events VALUES (?, 'subject', 1, '', 0)"
    db.execute(row, ("one",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(row, ("two",))
    db.close()


KILLED = """
import asyncio, json, os, signal, sqlite3, sys
from chain_adapter.callbacks.events import Deposited
from chain_adapter.callbacks.handoff import HandOff
from chain_adapter.callbacks.sqlite_store import SqliteStore
key = {key!r}
def event():
    return Deposited(key=key, subject=key, final=True, facts="", fields={{}}, record_id="1",
                     user_id="1", symbol="S", amount="1", address_to="a", txid="t")
def book(event, db):
    db.execute("CREATE TABLE IF NOT EXISTS booked (key TEXT)")
    db.execute("INSERT INTO booked VALUES (?)", (event.key,))
    if {inside}:
        os.kill(os.getpid(), signal.SIGKILL)
async def main():
    store = SqliteStore({path!r})
    print(await HandOff(store, apply=book).offer(event()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_hard_kill_at_either_side_of_the_commit(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")

    def run(*, inside: bool) -> str:
        script = KILLED.format(key="k", path=path, inside=inside)
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done.stdout.strip()

    assert run(inside=True) == ""  # nothing was committed
    assert run(inside=False) == "new"
    assert run(inside=False) == "known"
    db = sqlite3.connect(path)
    assert db.execute("SELECT COUNT(*) FROM booked").fetchone() == (1,)
    db.close()
