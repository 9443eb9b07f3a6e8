"""The hand-off's memory in one SQLite file, which may be the merchant's own database.

Its tables begin with `callback_`. Everything runs in one thread, each unit in a transaction with
FULL sync, so what was answered SUCCESS is on the disk. An event's mark is a primary key, the one
final end of a subject a unique index: two processes cannot mark twice.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from chain_adapter.callbacks.events import Approved, Event
from chain_adapter.callbacks.handoff import Apply, Verdict

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS callback_events (
  key TEXT PRIMARY KEY, subject TEXT NOT NULL, final INTEGER NOT NULL, facts TEXT NOT NULL,
  at REAL NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS callback_final ON callback_events (subject) WHERE final = 1;
CREATE TABLE IF NOT EXISTS callback_approvals (
  request_id TEXT PRIMARY KEY, details TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS callback_cursors (name TEXT PRIMARY KEY, max_id INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS callback_open (
  name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (name, id)) STRICT;
CREATE TABLE IF NOT EXISTS callback_addresses (
  symbol TEXT NOT NULL, number INTEGER NOT NULL, uid TEXT NOT NULL, address TEXT NOT NULL,
  owner TEXT, PRIMARY KEY (symbol, number), UNIQUE (symbol, owner)) STRICT;
"""


class SqliteStore:
    """`Store`, and the memory of `Sync` and `AddressStock`. Close it when the program ends."""

    def __init__(self, path: Path | str, now: Callable[[], float] = time.time) -> None:
        self._path = str(path)
        self._now = now
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="callbacks")
        self._db: sqlite3.Connection | None = None

    async def close(self) -> None:
        """Let the running unit end and close the file."""
        await self._run(_close)
        self._db = None
        self._thread.shutdown()

    # --- events

    async def verdict(self, event: Event) -> Verdict:
        return await self.read(lambda db: _verdict(db, event))

    async def mark(self, event: Event) -> None:
        def unit(db: sqlite3.Connection) -> None:
            if _verdict(db, event) is Verdict.NEW:
                self._mark(db, event)

        await self.write(unit)

    async def apply(self, event: Event, unit: Apply) -> Verdict:
        def whole(db: sqlite3.Connection) -> Verdict:
            verdict = _verdict(db, event)
            if verdict is Verdict.NEW:
                unit(event, db)
                self._mark(db, event)
            return verdict

        return await self.write(whole)

    def _mark(self, db: sqlite3.Connection, event: Event) -> None:
        db.execute(
            "INSERT INTO callback_events (key, subject, final, facts, at) VALUES (?, ?, ?, ?, ?)",
            (event.key, event.subject, int(event.final), event.facts, self._now()),
        )

    # --- second confirmation

    async def approval(self, request_id: str) -> Approved | None:
        def unit(db: sqlite3.Connection) -> Approved | None:
            row = db.execute(
                "SELECT details FROM callback_approvals WHERE request_id = ?", (request_id,)
            ).fetchone()
            return None if row is None else Approved(**json.loads(row[0]))

        return await self.read(unit)

    async def approve(self, request_id: str, details: Approved) -> None:
        text = json.dumps(asdict(details))
        await self.write(
            lambda db: db.execute(
                "INSERT OR IGNORE INTO callback_approvals (request_id, details, at)"
                " VALUES (?, ?, ?)",
                (request_id, text, self._now()),
            )
        )

    # --- sync lists

    async def cursor(self, name: str) -> int:
        """The highest id of a sync list whose record is handed on or noted as open."""

        def unit(db: sqlite3.Connection) -> int:
            row = db.execute(
                "SELECT max_id FROM callback_cursors WHERE name = ?", (name,)
            ).fetchone()
            return 0 if row is None else int(row[0])

        return await self.read(unit)

    async def advance(self, name: str, max_id: int, opened: Sequence[str]) -> None:
        """Everything up to `max_id` is handed on, but `opened`, which are asked again by id."""

        def unit(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT OR IGNORE INTO callback_open (name, id) VALUES (?, ?)",
                [(name, one) for one in opened],
            )
            db.execute(
                "INSERT INTO callback_cursors (name, max_id) VALUES (?, ?) ON CONFLICT (name)"
                " DO UPDATE SET max_id = max(max_id, excluded.max_id)",
                (name, max_id),
            )

        await self.write(unit)

    async def open_records(self, name: str) -> list[str]:
        """Ids of records that were not final when they were last seen."""
        return await self.read(
            lambda db: [
                row[0]
                for row in db.execute(
                    "SELECT id FROM callback_open WHERE name = ? ORDER BY rowid", (name,)
                )
            ]
        )

    async def close_record(self, name: str, record: str) -> None:
        """It has come to its end."""
        await self.write(
            lambda db: db.execute(
                "DELETE FROM callback_open WHERE name = ? AND id = ?", (name, record)
            )
        )

    # --- addresses fetched in advance

    async def stock(self, symbol: str) -> tuple[int, int]:
        """(addresses that nobody owns, the number that the next one gets)."""

        def unit(db: sqlite3.Connection) -> tuple[int, int]:
            row = db.execute(
                "SELECT COUNT(*) - COUNT(owner), COALESCE(MAX(number), 0) + 1"
                " FROM callback_addresses WHERE symbol = ?",
                (symbol,),
            ).fetchone()
            return int(row[0]), int(row[1])

        return await self.read(unit)

    async def put_address(self, symbol: str, number: int, uid: str, address: str) -> None:
        """One more address in stock; a number that is there already stays as it is."""
        await self.write(
            lambda db: db.execute(
                "INSERT OR IGNORE INTO callback_addresses (symbol, number, uid, address)"
                " VALUES (?, ?, ?, ?)",
                (symbol, number, uid, address),
            )
        )

    async def take_address(self, symbol: str, owner: str) -> tuple[str, str] | None:
        """(uid, address) of `owner`, the same at every call; None when the stock is empty."""

        def unit(db: sqlite3.Connection) -> tuple[str, str] | None:
            mine = "SELECT uid, address FROM callback_addresses WHERE symbol = ? AND owner = ?"
            row = db.execute(mine, (symbol, owner)).fetchone()
            if row is None:
                db.execute(
                    "UPDATE callback_addresses SET owner = ? WHERE symbol = ? AND number ="
                    " (SELECT MIN(number) FROM callback_addresses WHERE symbol = ?"
                    " AND owner IS NULL)",
                    (owner, symbol, symbol),
                )
                row = db.execute(mine, (symbol, owner)).fetchone()
            return None if row is None else (row[0], row[1])

        return await self.write(unit)

    # --- the thread

    async def write(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """Run in one transaction, durable when this returns; rolled back if it raises."""

        def whole(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                answer = unit(db)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
            return answer

        return await self._run(whole)

    async def read(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """Run without a transaction of its own."""
        return await self._run(unit)

    async def _run(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        # A caller that is cancelled must not leave a unit half waited for: it ends by itself.
        return await loop.run_in_executor(self._thread, lambda: unit(self._open()))

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            db.executescript(_SCHEMA)
            self._db = db
        return self._db


def _close(db: sqlite3.Connection) -> None:
    db.close()


def _verdict(db: sqlite3.Connection, event: Event) -> Verdict:
    row = db.execute("SELECT facts FROM callback_events WHERE key = ?", (event.key,)).fetchone()
    if row is not None:
        return Verdict.KNOWN if row[0] == event.facts else Verdict.CONFLICT
    ended = db.execute(
        "SELECT 1 FROM callback_events WHERE subject = ? AND final = 1", (event.subject,)
    ).fetchone()
    if ended is None:
        return Verdict.NEW
    return Verdict.CONFLICT if event.final or event.undoes else Verdict.STALE
