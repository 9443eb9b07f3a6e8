"""The journal on disk: one writer thread, commits in groups, one signer at a time.

units -> queue -> BEGIN, a savepoint for each unit, COMMIT (FULL sync) -> results
A caller is woken only after the commit that holds its unit, so no signed byte leaves before the
journal names it. An operating-system lock beside the file keeps a second signer out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from chain_adapter.errors import AlreadyRunning, KeyFileError, Unreachable
from chain_adapter.keys.journal import SCHEMA, SCHEMA_POLICY, VERSION, JournalTx
from chain_adapter.keys.secret_files import check_private, sync_directory

MAX_GROUP: Final = 128
T = TypeVar("T")

_LOST: Final = (
    "signer's journal {path} is missing, although the keystore has one. Without it a payment may "
    "be signed twice. Restore it from its backup; if there is none, stop the daemon, void every "
    "open nonce or outwait every expiry, and let two people write a new one with evidence"
)


class Journal:
    """The file, its one writer thread, and the lock that keeps a second signer out."""

    def __init__(self, path: Path, lock_handle: int, now: Callable[[], datetime]) -> None:
        self.path = path
        self._lock_handle = lock_handle
        self._now = now
        self._units: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._commits = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="signer-journal", daemon=True)
        self._thread.start()

    @property
    def commits(self) -> int:
        """How many durable commits were made: the benchmarks print it."""
        return self._commits

    @staticmethod
    def create(path: Path, *, journal_id: str, ledger_id: str, seed_id: str) -> None:
        """Make an empty journal; never over an existing one. Raises `KeyFileError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise KeyFileError(f"signer's journal {path} exists and is never overwritten") from None
        except OSError as problem:
            raise KeyFileError(
                f"signer's journal {path} cannot be made: {problem.strerror}"
            ) from None
        facts = {
            "version": str(VERSION),
            "journal_id": journal_id,
            "ledger_id": ledger_id,
            "seed_id": seed_id,
        }
        with closing(_connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {SCHEMA}")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", list(facts.items()))
            connection.execute("COMMIT")
        sync_directory(path.parent)

    @staticmethod
    def facts(path: Path) -> dict[str, str]:
        """version, journal_id, ledger_id, seed_id. Raises `KeyFileError` for a damaged file."""
        if not path.exists():
            raise KeyFileError(_LOST.format(path=path))
        check_private(path, "signer's journal")
        try:
            with closing(_connect(path)) as connection:
                rows = connection.execute("SELECT key, value FROM meta").fetchall()
        except sqlite3.DatabaseError as problem:
            raise KeyFileError(
                f"signer's journal {path} is damaged ({problem}). Stop the daemon, restore it "
                "from its backup, and let two people compare it with the chain before it signs"
            ) from None
        found = {str(key): str(value) for key, value in rows}
        if found.get("version") != str(VERSION):
            raise KeyFileError(
                f"signer's journal {path} is of version {found.get('version')}; "
                f"this program reads {VERSION}"
            )
        return found

    @staticmethod
    def is_empty(path: Path) -> bool:
        """Whether nothing was ever signed or pinned in it."""
        with closing(_connect(path)) as connection:
            row = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM attempts) OR EXISTS (SELECT 1 FROM pins)"
            ).fetchone()
            return not row[0]

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        journal_id: str,
        seed_id: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait_s: float = 10.0,
    ) -> Journal:
        """Open the journal that belongs to this keystore, and keep every other signer out.

        Waits up to `wait_s` for a signer that is just ending. Raises `KeyFileError`: missing,
        damaged, of another keystore; `AlreadyRunning`: held by another signer.
        """
        found = cls.facts(path)
        if found["journal_id"] != journal_id or found["seed_id"] != seed_id:
            raise KeyFileError(
                f"signer's journal {path} belongs to another keystore or was exchanged; "
                "put the right one back: signing without it can pay twice"
            )
        handle = _hold(path, wait_s)
        try:
            with closing(_connect(path)) as connection:
                connection.executescript(SCHEMA_POLICY)
        except sqlite3.Error as problem:
            os.close(handle)
            raise KeyFileError(f"signer's journal {path} cannot be opened: {problem}") from None
        return cls(path, handle, now)

    async def run(self, unit: Callable[[JournalTx], T]) -> T:
        """Run `unit` in the next commit and return its result when that commit is durable.

        What the unit raises is raised here, and only its own changes are undone.
        """
        return await asyncio.wrap_future(self.run_soon(unit))

    def run_soon(self, unit: Callable[[JournalTx], T]) -> Future[T]:
        """As `run`, for callers outside an event loop."""
        if self._closed:
            raise Unreachable("the signer is stopping")
        future: Future[T] = Future()
        self._units.put(_Job(unit, future))
        return future

    def close(self) -> None:
        """Finish what is queued, close the file, let the lock go."""
        if self._closed:
            return
        self._closed = True
        self._units.put(None)
        self._thread.join()
        os.close(self._lock_handle)

    # --- the thread

    def _work(self) -> None:
        connection = _connect(self.path)
        try:
            while (job := self._units.get()) is not None:
                group = [job]
                ending = False
                while len(group) < MAX_GROUP and not self._units.empty():
                    more = self._units.get()
                    if more is None:
                        ending = True
                        break
                    group.append(more)
                self._commit(connection, group)
                if ending:
                    return
        finally:
            connection.close()

    def _commit(self, connection: sqlite3.Connection, group: list[_Job]) -> None:
        """One transaction for the whole group; the callers wake up only after its commit."""
        done: list[tuple[Future[Any], Any]] = []
        undo: list[Callable[[], None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            tx = JournalTx(connection, self._now().isoformat(timespec="milliseconds"))
            before = connection.total_changes
            for job in group:
                if not job.future.set_running_or_notify_cancel():
                    continue
                connection.execute("SAVEPOINT unit")
                tx.undo = []
                try:
                    result = job.unit(tx)
                except BaseException as problem:  # handed over to the caller, never swallowed
                    _put_back(tx.undo)
                    connection.execute("ROLLBACK TO unit")
                    if isinstance(problem, sqlite3.Error):
                        problem = self._trouble(problem)
                    job.future.set_exception(problem)
                else:
                    undo += tx.undo
                    done.append((job.future, result))
                connection.execute("RELEASE unit")
            connection.execute("COMMIT")
            self._commits += connection.total_changes > before
        except sqlite3.Error as problem:
            _put_back(undo)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in group:
                if not job.future.done():
                    job.future.set_exception(self._trouble(problem))
            return
        for future, result in done:
            future.set_result(result)

    def _trouble(self, problem: sqlite3.Error) -> Unreachable:
        return Unreachable(
            f"signer's journal {self.path} cannot be written ({problem}); nothing was signed"
        )


def policy_in_force(path: Path) -> str | None:
    """The text of the policy that a journal has in force, read without holding it."""
    # without a log beside it nobody writes, and reading must not make one either
    quiet = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{quiet}", uri=True)) as db:
            row = db.execute("SELECT text FROM policies ORDER BY seq DESC LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        return None  # never opened by a signer: the table is not there yet
    return None if row is None else str(row[0])


@dataclass(frozen=True, slots=True)
class _Job:
    unit: Callable[[JournalTx], Any]
    future: Future[Any]


def _put_back(undo: list[Callable[[], None]]) -> None:
    for step in reversed(undo):
        step()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        # every commit is on the disk before its answer leaves
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _hold(path: Path, wait_s: float) -> int:
    """The operating system's lock beside the file; it dies with the process."""
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(handle)
                raise AlreadyRunning(
                    f"another signer holds the journal {path}; only one may sign for a keystore"
                ) from None
            time.sleep(0.05)
        else:
            return handle
