"""The database as the rest of the core sees it: units of work, run one after another.

`write(unit)` queues a unit for the one writer thread; the thread runs what waits, each unit in a
savepoint, commits the group once and only then wakes the callers. `read(unit)` runs beside it.
SQLite: WAL, synchronous=FULL, immediate transactions. PostgreSQL: the same code; a unit written
under a lease proves its fence in the same transaction.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Insert,
    Row,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from chain_adapter.clock import Clock
from chain_adapter.errors import LeaseLost, StateConflict, StoreError
from chain_adapter.store import schema

T = TypeVar("T")
CONNECTIONS = 4  # kept open: the writer, two readers, a command beside them
GROUP_MOST = 256  # units a commit: bounds how long the first of them waits
_CLOSE = object()


@dataclass(slots=True)
class Tx:
    """One open transaction. `now_us` is the clock's time in microseconds, UTC."""

    connection: Connection
    now_us: int
    session: str

    def run(self, statement: Executable, rows: Any = None) -> int:
        """Execute; the number of rows that were touched."""
        if rows and type(statement) is Insert and self.connection.dialect.name == "sqlite":
            plain = insert(statement.table)
            if statement.compare(plain):
                return self._insert_many(statement.table.name, rows)
        return self.connection.execute(statement, rows).rowcount

    def _insert_many(self, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Plain rows past the statement compiler, which costs more a row than the insert does.

        Every column type here is one that SQLite's driver takes as it is.
        """
        names = tuple(rows[0])
        values = [tuple(map(row.__getitem__, names)) for row in rows]
        return self.connection.exec_driver_sql(_insert_text(table, names), values).rowcount

    def one(self, statement: Executable) -> Row[Any] | None:
        """The first row, or None."""
        return self.connection.execute(statement).first()

    def all(self, statement: Executable) -> Sequence[Row[Any]]:
        """Every row."""
        return self.connection.execute(statement).all()

    def value(self, statement: Executable) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement).scalar()

    def insert(self, statement: Executable) -> int:
        """Execute an insert; the new row's id."""
        key = self.connection.execute(statement).inserted_primary_key
        if key is None:
            raise StoreError("the insert made no row")
        return int(key[0])

    def insert_new(self, table: Any, values: dict[str, Any]) -> bool:
        """Insert unless a unique key has it already; whether it was inserted."""
        if self.connection.dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import insert as upsert
        else:
            from sqlalchemy.dialects.postgresql import insert as upsert  # type: ignore[assignment]
        statement = (
            upsert(table)
            .values(**values)
            .on_conflict_do_nothing()
            .returning(*table.primary_key.columns)
        )
        return self.connection.execute(statement).first() is not None


@lru_cache(maxsize=256)
def _insert_text(table: str, names: tuple[str, ...]) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(names))})'


@dataclass(slots=True)
class Lease:
    """What a daemon holds while it runs; `fence` rises at every taking."""

    name: str
    holder: str
    fence: int


Unit = Callable[[Tx], T]


class Store:
    """Guarantees: a unit's effects are durable when `write` returns, or none of them exist.

    Does not guarantee: that a unit runs at once; units of one caller run in the order given.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.engine: Engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.session = secrets.token_hex(8)  # renewed whenever the connection was lost
        self.lease: Lease | None = None
        self.commits = 0
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._closed = False

    # --- asynchronous side ----------------------------------------------------------------------

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in the writer thread; returns after the commit. Raises what it raises."""
        return await asyncio.wrap_future(self.submit(unit))

    async def read(self, unit: Unit[T]) -> T:
        """Run a read-only `unit` beside the writer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.read_now, unit)

    def submit(self, unit: Unit[T]) -> Future[T]:
        """Queue `unit` without waiting: lets a caller group its own units."""
        if self._closed:
            raise StoreError("the store is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="store-write", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._queue.put((unit, future))
        return future

    # --- synchronous side (commands, tests) -----------------------------------------------------

    def read_now(self, unit: Unit[T]) -> T:
        """Run a read-only `unit` in this thread."""
        try:
            with self.engine.connect() as connection:
                try:
                    return unit(self._tx(connection))
                finally:
                    connection.rollback()
        except DBAPIError as error:
            raise StoreError(f"database: {_short(error)}") from error

    def write_now(self, unit: Unit[T]) -> T:
        """Run `unit` in a short transaction of this thread (commands beside a daemon)."""
        try:
            with self.engine.connect() as connection:
                _begin(connection)
                try:
                    result = unit(self._tx(connection))
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
                return result
        except DBAPIError as error:
            raise StoreError(f"database: {_short(error)}") from error

    def close(self) -> None:
        """Finish what is queued and close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(_CLOSE)
            self._thread.join()
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    # --- the writer -----------------------------------------------------------------------------

    def _tx(self, connection: Connection) -> Tx:
        return Tx(connection, int(self.clock.now().timestamp() * 1_000_000), self.session)

    def _serve(self) -> None:
        connection: Connection | None = None
        closing = False
        while not closing:
            group = [self._queue.get()]
            while len(group) < GROUP_MOST:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            if _CLOSE in group:
                closing = True
                group = [item for item in group if item is not _CLOSE]
            if group:
                connection = self._commit(connection, group)
        if connection is not None:
            connection.close()

    def _commit(
        self, connection: Connection | None, group: list[tuple[Unit[Any], Future[Any]]]
    ) -> Connection | None:
        """One group, one commit. On any database error the group failed as a whole."""
        done: list[tuple[Future[Any], Any]] = []
        waiting = [future for _, future in group]
        try:
            if connection is None:
                connection = self.engine.connect()
            _begin(connection)
            self._prove_fence(connection)
            for unit, future in group:
                try:
                    if len(group) == 1:
                        done.append((future, unit(self._tx(connection))))
                        continue
                    with connection.begin_nested():
                        done.append((future, unit(self._tx(connection))))
                except (OperationalError, InterfaceError, LeaseLost):
                    raise
                except BaseException as error:
                    # The unit changed its mind: only its own savepoint is undone. A lone unit
                    # has none, so the whole (empty) transaction goes.
                    waiting.remove(future)
                    if isinstance(error, SQLAlchemyError):
                        error = StateConflict(f"database: {_short(error)}")
                    future.set_exception(error)
                    if len(group) == 1:
                        connection.rollback()
                        return connection
            connection.commit()
            self.commits += 1
        except (SQLAlchemyError, LeaseLost, OSError) as error:
            failure = self._failed(connection, error)
            for future in waiting:
                future.set_exception(failure)
            return None
        for future, result in done:
            future.set_result(result)
        return connection

    def _failed(self, connection: Connection | None, error: BaseException) -> StoreError:
        """After a database error nothing of the group happened, and the session is another."""
        if connection is not None:
            try:
                connection.rollback()
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()
        if isinstance(error, LeaseLost):
            return error
        if not self.is_sqlite and isinstance(error, DBAPIError) and error.connection_invalidated:
            # A lost connection ends the lease: what was consumed before it no longer counts.
            self.session = secrets.token_hex(8)
            self.lease = None
            return LeaseLost(f"the database connection was lost: {_short(error)}")
        return StoreError(f"database: {_short(error)}")

    def _prove_fence(self, connection: Connection) -> None:
        if self.lease is None or self.is_sqlite:
            return
        row = connection.execute(
            select(schema.leases.c.fence)
            .where(schema.leases.c.name == self.lease.name)
            .with_for_update(read=True)
        ).first()
        if row is None or row.fence != self.lease.fence:
            self.lease = None
            raise LeaseLost("another daemon took the lease over")


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            poolclass=QueuePool,
            pool_size=CONNECTIONS,
            connect_args={"timeout": 30, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # BEGIN is ours, see `_begin`
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "busy_timeout=30000",
                "cache_size=-65536",
                # 32 MB of log: in catch-up a page is copied back once for many commits.
                "wal_autocheckpoint=8192",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        return engine
    # A reader's connection that broke while it was idle is exchanged; the writer keeps its own.
    return create_engine(parsed, poolclass=QueuePool, pool_size=CONNECTIONS, pool_pre_ping=True)


def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # IMMEDIATE: a deferred transaction that turns into a writer fails under a second writer.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT 1"))


def _short(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0][:300] if str(original).strip() else repr(original)


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL, None for another database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def expect_one(touched: int, what: str) -> None:
    """A conditional update must have met its row; raises `StateConflict` otherwise."""
    if touched != 1:
        raise StateConflict(what)
