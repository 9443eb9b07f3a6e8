"""The sandbox's books: one SQLite file, one writer thread, group commits.

A unit of work runs in a savepoint of the batch that happens to be waiting; its caller is woken
after the commit of that batch is on the disk. So what was answered survives a hard kill, and many
callers share one sync. A unit that raises is rolled back alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chain_adapter.errors import ConfigError, SchemaMismatch

T = TypeVar("T")
Row = sqlite3.Row

SCHEMA_VERSION = 1
_IDLE_S = 0.05  # what nobody waits for is written after this, or with the next batch
_BATCH = 200

# Amounts are plain decimal texts, exact. Times are Unix microseconds. `memo` is '' when absent.
_SCHEMA = """
CREATE TABLE coins (
  symbol TEXT PRIMARY KEY, main_symbol TEXT NOT NULL, memo INTEGER NOT NULL,
  decimals INTEGER NOT NULL, confirmations INTEGER NOT NULL) STRICT;
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, created_at INTEGER NOT NULL) STRICT;
CREATE TABLE addresses (
  place INTEGER PRIMARY KEY AUTOINCREMENT, main_symbol TEXT NOT NULL, address TEXT NOT NULL,
  user INTEGER REFERENCES users, registered_at INTEGER NOT NULL, given_at INTEGER,
  UNIQUE (main_symbol, address)) STRICT;
CREATE INDEX unused_addresses ON addresses (main_symbol, place) WHERE user IS NULL;
CREATE TABLE memos (
  main_symbol TEXT NOT NULL, memo TEXT NOT NULL, user INTEGER NOT NULL REFERENCES users,
  PRIMARY KEY (main_symbol, memo), UNIQUE (main_symbol, user)) STRICT;
CREATE TABLE accounts (
  user INTEGER NOT NULL REFERENCES users, symbol TEXT NOT NULL, amount TEXT NOT NULL,
  PRIMARY KEY (user, symbol)) STRICT;
CREATE TABLE entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users,
  symbol TEXT NOT NULL, amount TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
  at INTEGER NOT NULL) STRICT;
CREATE TABLE deposits (
  place INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, symbol TEXT NOT NULL,
  txid TEXT NOT NULL, address_from TEXT NOT NULL, address_to TEXT NOT NULL, memo TEXT NOT NULL,
  amount TEXT NOT NULL, confirm INTEGER NOT NULL, status INTEGER NOT NULL,
  credited TEXT NOT NULL, duplicate INTEGER NOT NULL, user INTEGER REFERENCES users,
  notified_at INTEGER NOT NULL, last_notified_at INTEGER NOT NULL, credited_at INTEGER) STRICT;
CREATE INDEX natural_deposits ON deposits (txid, address_to);
CREATE TABLE withdrawals (
  trans_id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, amount TEXT NOT NULL,
  address_to TEXT NOT NULL, memo TEXT NOT NULL, state TEXT NOT NULL, txid TEXT, fee TEXT NOT NULL,
  confirm INTEGER NOT NULL, user INTEGER REFERENCES users, cancelled_by TEXT, cancel_msg TEXT,
  created_at INTEGER NOT NULL, claimed_at INTEGER, completed_at INTEGER,
  cancelled_at INTEGER) STRICT;
CREATE INDEX open_withdrawals ON withdrawals (symbol, trans_id) WHERE state = 'pending';
CREATE INDEX paid_withdrawals ON withdrawals (txid) WHERE txid IS NOT NULL;
INSERT INTO sqlite_sequence (name, seq) VALUES ('withdrawals', 50000);
CREATE TABLE withdrawal_history (
  id INTEGER PRIMARY KEY AUTOINCREMENT, trans_id INTEGER NOT NULL REFERENCES withdrawals,
  at INTEGER NOT NULL, txid TEXT NOT NULL, confirm INTEGER NOT NULL, fee TEXT NOT NULL) STRICT;
CREATE INDEX history_of ON withdrawal_history (trans_id);
CREATE TABLE internal (
  place INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, txid TEXT NOT NULL,
  address_from TEXT NOT NULL, address_to TEXT NOT NULL, memo TEXT NOT NULL, amount TEXT NOT NULL,
  fee TEXT NOT NULL, confirm INTEGER NOT NULL, balance TEXT NOT NULL, at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, UNIQUE (symbol, txid)) STRICT;
CREATE TABLE faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, kind TEXT NOT NULL,
  remaining INTEGER NOT NULL, seconds REAL NOT NULL, code INTEGER NOT NULL,
  effect INTEGER NOT NULL) STRICT;
CREATE TABLE behaviour (rule TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE answers (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, symbol TEXT NOT NULL,
  plaintext BLOB NOT NULL, body BLOB NOT NULL, UNIQUE (path, symbol, plaintext)) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Books:
    """What one unit of work sees: the open transaction, the time, the rules in force."""

    db: sqlite3.Connection
    now: int  # Unix microseconds
    rule: Mapping[str, str]

    def one(self, sql: str, *values: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self.db.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, *values: object) -> list[Row]:
        """Every row."""
        return self.db.execute(sql, values).fetchall()

    def do(self, sql: str, *values: object) -> int:
        """Run a change; the id of the row that it inserted."""
        return int(self.db.execute(sql, values).lastrowid or 0)

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one change for many rows."""
        self.db.executemany(sql, rows)


@dataclass(frozen=True, slots=True)
class _Job:
    unit: Callable[[Books], Any]
    keep: bool
    future: Future[Any] | None


class Ledger:
    """The file and its thread. `rule` is shared with units and changed by them only."""

    def __init__(self, state: Path, rule: dict[str, str]) -> None:
        self._path = state / "sandbox.db"
        self._rule = rule
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="sandbox-ledger", daemon=True)
        self._lock = _only_one(state / "sandbox.lock")
        self._db = self._open()

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, close the file, let the next process in. Blocks."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._db.close()
        os.close(self._lock)

    async def run(self, unit: Callable[[Books], T], *, keep: bool = True) -> T:
        """The unit's answer, once it is durable. Not `keep`: its effect is undone."""
        future: Future[T] = Future()
        self._jobs.put(_Job(unit, keep, future))
        return await asyncio.wrap_future(future)

    def later(self, unit: Callable[[Books], object]) -> None:
        """A change that nobody waits for; written with the next batch or when idle."""
        self._jobs.put(_Job(unit, True, None))

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            db.close()
            raise SchemaMismatch(
                f"{self._path} is of sandbox version {version}, this one writes {SCHEMA_VERSION}; "
                "start with another --state directory"
            )
        return db

    def _work(self) -> None:
        waiting: list[_Job] = []  # jobs without a caller, held back to share a commit
        running = True
        while running:
            try:
                first = self._jobs.get(timeout=_IDLE_S) if waiting else self._jobs.get()
            except queue.Empty:
                self._commit(waiting)
                waiting = []
                continue
            batch = waiting
            waiting = []
            while True:
                if first is None:
                    running = False
                    break
                batch.append(first)
                if len(batch) >= _BATCH or self._jobs.empty():
                    break
                first = self._jobs.get()
            if running and all(job.future is None for job in batch):
                waiting = batch
            else:
                self._commit(batch)

    def _commit(self, batch: Sequence[_Job]) -> None:
        done: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in batch:
                answer, error = self._one(job)
                if job.future is not None:
                    done.append((job.future, answer, error))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            # nothing of the batch is on the disk, so nobody may be told that it is
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            done = [(job.future, None, error) for job in batch if job.future is not None]
        for future, answer, failure in done:
            if not future.set_running_or_notify_cancel():
                continue
            if failure is None:
                future.set_result(answer)
            else:
                future.set_exception(failure)

    def _one(self, job: _Job) -> tuple[Any, BaseException | None]:
        books = Books(self._db, time.time_ns() // 1000, self._rule)
        self._db.execute("SAVEPOINT unit")
        try:
            answer = job.unit(books)
        except BaseException as error:  # whatever it is goes to the caller, who waits for it
            self._db.execute("ROLLBACK TO unit")
            self._db.execute("RELEASE unit")
            return None, error
        if not job.keep:
            self._db.execute("ROLLBACK TO unit")
        self._db.execute("RELEASE unit")
        return answer, None


def _only_one(path: Path) -> int:
    """Hold the state directory; the operating system lets go of it when the process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError(f"another sandbox runs on {path.parent}; stop it first") from None
    return handle
