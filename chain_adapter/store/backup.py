"""A copy of the books while they are in use, and the way back.

SQLite: the database's own online copy, in one piece. PostgreSQL: every table read in one
repeatable-read transaction into a SQLite file, which is a ledger itself. A copy is written under
another name, checked, and only then given its own. `restore` fills an empty place with a copy and
never writes over a ledger. The signer's journal is in no copy: it must never be older than it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from chain_adapter.clock import Clock
from chain_adapter.errors import ConfigError, LedgerMismatch, StoreError
from chain_adapter.store import ledger, schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.store import Store, sqlite_path

PAGE = 5_000  # rows read and written at a time


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished copy: what it holds. `as_of_us`: its newest event, microseconds."""

    path: Path
    size: int
    version: str
    ledger_id: str
    events: int
    as_of_us: int


def take(store: Store, path: Path) -> Copy:
    """Copy the books to a new file, beside a running daemon. Raises `StoreError`, `ConfigError`.

    The copy is a SQLite ledger of the same version whatever the database is; of older books on
    PostgreSQL it holds the rows alone.
    """
    if path.exists():
        raise ConfigError(f"{path} exists: a backup never replaces a file")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent} for the backup")
    if not ledger.exists(store):
        raise ledger.missing(store.url)
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        source = sqlite_path(store.url)
        if source is not None:
            _copy_file(source, part)
        else:
            _copy_server(store, part)
        made = examine(part)
        _sync(part)
        part.rename(path)
        _sync(path.parent)
    except (sqlite3.Error, OSError, SQLAlchemyError) as error:
        raise StoreError(f"no backup was made at {path}: {_why(error)}") from error
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                part.with_name(part.name + end).unlink(missing_ok=True)
    return Copy(path, made.size, made.version, made.ledger_id, made.events, made.as_of_us)


def _copy_file(source: Path, target: Path) -> None:
    """All pages in one step: one reading transaction, so no writer makes it begin anew."""
    with (
        closing(_read_only(source)) as books,
        closing(sqlite3.connect(target)) as copy,
    ):
        books.backup(copy, pages=-1)
        # One file: without this the copy would want a log beside it again.
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.commit()


def _read_only(path: Path) -> sqlite3.Connection:
    """A copy stays as it was made, whoever looks at it."""
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, timeout=30)


def _copy_server(store: Store, target: Path) -> None:
    url = f"sqlite:///{target}"
    copy = Store(url, store.clock)
    try:
        with store.engine.connect() as books:
            books = books.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with copy.engine.connect() as into:
                into.exec_driver_sql("PRAGMA journal_mode=DELETE")
                into.exec_driver_sql("PRAGMA foreign_keys=OFF")
                into.exec_driver_sql("BEGIN")
                tables = _tables_of(books)
                for table in tables:
                    table.create(into)
                    copy_rows(books, into, table)
                into.commit()
            books.rollback()
    finally:
        copy.close()


def _tables_of(books: Connection) -> list[Table]:
    """This version's tables; of another version what is there, with types alone."""
    row = books.execute(text("SELECT value FROM meta WHERE key = 'schema'")).first()
    found = MetaData()
    found.reflect(books)
    if row is not None and row[0] == str(schema.VERSION):
        known = list(schema.metadata.sorted_tables)
        names = {table.name for table in known}
        return [*known, *(_plain(one) for name, one in found.tables.items() if name not in names)]
    return [_plain(one) for one in found.tables.values()]


def _plain(table: Table) -> Table:
    columns = [
        Column(one.name, one.type.as_generic(), primary_key=one.primary_key, autoincrement=False)
        for one in table.columns
    ]
    return Table(table.name, MetaData(), *columns)


def copy_rows(source: Connection, target: Connection, table: Table) -> int:
    """Copy every row of a table that both have; how many."""
    copied = 0
    stream = source.execution_options(yield_per=PAGE).execute(select(table))
    for page in stream.partitions():
        target.execute(insert(table), [dict(row._mapping) for row in page])
        copied += len(page)
    return copied


# --- looking at a copy ----------------------------------------------------------------------------


def examine(path: Path) -> Copy:
    """What a copy holds, after its pages were checked. Raises `StoreError`, `ConfigError`."""
    if not path.is_file():
        raise ConfigError(f"there is no backup {path}")
    try:
        with closing(_read_only(path)) as copy:
            broken = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if broken != "ok":
                raise StoreError(f"{path} is damaged: {broken}")
            facts = dict(copy.execute("SELECT key, value FROM meta").fetchall())
            events, newest = copy.execute("SELECT count(*), max(at) FROM events").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no copy of a ledger: {error}") from error
    if facts.get("record") is not None:
        raise LedgerMismatch(f"{path} is the record of a scan, not a ledger")
    return Copy(
        path,
        path.stat().st_size,
        facts.get("schema", ""),
        facts.get("ledger_id", ""),
        int(events),
        int(newest or 0),
    )


# --- the way back ---------------------------------------------------------------------------------


def restore(path: Path, url: str, clock: Clock, *, ledger_id: str | None, who: str) -> Copy:
    """Fill an empty database with a copy. `ledger_id` is that of the keys, None where unknown.

    Raises `StoreError` if a ledger is there already or the copy is damaged, `LedgerMismatch` for
    another ledger's, `SchemaMismatch` for another version's.
    """
    made = examine(path)
    if ledger_id is not None and made.ledger_id not in ("", ledger_id):
        raise LedgerMismatch(
            f"{path} and the keystore belong to different ledgers: {made.ledger_id[:8]}… and "
            f"{ledger_id[:8]}…"
        )
    target = sqlite_path(url)
    if target is not None:
        _restore_file(path, target)
    else:
        _restore_server(path, url, clock)
    # Now that it stands there: the version is told the way every command tells it.
    store = ledger.open_ledger(url, clock)
    try:
        store.write_now(
            lambda tx: record(
                tx, LEDGER, "ledger restored", "ledger",
                who=who, file=path.name, as_of=made.as_of_us,
            )
        )  # fmt: skip
    finally:
        store.close()
    return made


def _restore_file(path: Path, target: Path) -> None:
    # A log left beside the old file would be played into the new one.
    standing = [one for end in ("", "-wal", "-shm") if (one := Path(f"{target}{end}")).exists()]
    if standing:
        raise StoreError(
            f"{standing[0]} is there: a backup never replaces a ledger. Move it away first, with "
            f"the files {target.name}-wal and {target.name}-shm beside it"
        )
    _same_version(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy_file(path, part)
        examine(part)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path} was not restored: {_why(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def _restore_server(path: Path, url: str, clock: Clock) -> None:
    _same_version(path)
    store = Store(url, clock)
    copy = create_engine("sqlite://", creator=lambda: _read_only(path), poolclass=NullPool)
    try:
        if ledger.exists(store):
            raise StoreError(
                f"{ledger.shown(url)} holds a ledger: a backup never replaces one. Name an empty "
                "database"
            )
        with store.engine.begin() as into, copy.connect() as books:
            schema.metadata.create_all(into)
            for table in schema.metadata.sorted_tables:
                copy_rows(books, into, table)
            _count_on(into, schema.metadata.sorted_tables)
    except SQLAlchemyError as error:
        raise StoreError(f"{path} was not restored: {_why(error)}") from error
    finally:
        copy.dispose()
        store.close()


def _same_version(path: Path) -> None:
    made = examine(path)
    if made.version != str(schema.VERSION):
        raise ledger.other_version(made.version, f"{path}")


def _count_on(into: Connection, tables: Iterable[Table]) -> None:
    """New rows get numbers above the copied ones."""
    for table in tables:
        column = table.columns.get("id")
        if column is None or column.autoincrement is not True:
            continue
        top = into.execute(select(func.max(column))).scalar()
        if top is not None:
            into.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), :top)"),
                {"top": top},
            )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
