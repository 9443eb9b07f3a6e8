"""The database as a ledger: who may create it, which keys it belongs to, who runs on it.

`create` makes one, `open_for` checks version and ledger id, `take_lease` makes one daemon the
only one: on SQLite an operating-system lock beside the file (it dies with the process), on
PostgreSQL a lease row with a fence that rises at every taking.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from chain_adapter.clock import Clock
from chain_adapter.errors import (
    AlreadyRunning,
    LeaseLost,
    LedgerMismatch,
    SchemaMismatch,
    StoreError,
    Unreachable,
)
from chain_adapter.store import schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.store import Lease, Store, Tx, sqlite_path

LEASE_NAME = "daemon"
LEASE_S = 15
META = schema.meta


def get(tx: Tx, key: str) -> str | None:
    """A value of `meta`."""
    value = tx.value(select(META.c.value).where(META.c.key == key))
    return None if value is None else str(value)


def put(tx: Tx, key: str, value: str) -> None:
    """Set a value of `meta`."""
    if not tx.run(update(META).where(META.c.key == key).values(value=value)):
        tx.run(insert(META).values(key=key, value=value))


def exists(store: Store) -> bool:
    """Whether the database holds a ledger (of any version). Raises `Unreachable`."""
    path = sqlite_path(store.url)
    if path is not None and not path.exists():
        return False
    try:
        with store.engine.connect() as connection:
            return inspect(connection).has_table("meta")
    except SQLAlchemyError as error:
        raise Unreachable(f"the database does not answer: {_line(error)}") from error


def create(
    url: str, clock: Clock, *, ledger_id: str | None = None, record_of: str | None = None
) -> Store:
    """Make an empty ledger; the caller names who asked for it by the event it writes.

    `ledger_id=None` makes one that `keys init` binds later. `record_of` marks a database that
    only holds what a scan found: `run` refuses it. Raises `StoreError` if it is not empty.
    """
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    store = Store(url, clock)
    try:
        with store.engine.begin() as connection:
            if inspect(connection).has_table("meta"):
                raise StoreError("the database holds a ledger already")
            schema.metadata.create_all(connection)
    except SQLAlchemyError as error:
        store.close()
        raise Unreachable(f"the database cannot be written: {_line(error)}") from error
    except StoreError:
        store.close()
        raise

    def first(tx: Tx) -> None:
        put(tx, "schema", str(schema.VERSION))
        put(tx, "ledger_id", ledger_id or "")
        if record_of is not None:
            put(tx, "record", record_of)
        record(tx, LEDGER, "ledger created", "ledger", ledger_id=ledger_id or "")

    store.write_now(first)
    return store


def open_ledger(url: str, clock: Clock) -> Store:
    """Open an existing ledger of this version.

    Raises `LedgerMismatch` when there is none, `SchemaMismatch` for another version.
    """
    store = Store(url, clock)
    try:
        if not exists(store):
            raise missing(url)
        store.read_now(check_version)
    except BaseException:
        store.close()
        raise
    return store


def missing(url: str) -> LedgerMismatch:
    """What to say where no ledger is."""
    return LedgerMismatch(
        f"there is no ledger at {shown(url)}: `keys init` makes one; if there was one, find out "
        "where it went (an unmounted volume?) before you make another; after a loss: `recover`"
    )


def check_version(tx: Tx) -> None:
    """Raises `SchemaMismatch` unless the books are of this program's version."""
    version = get(tx, "schema")
    if version != str(schema.VERSION):
        raise other_version(version, "the database")


def other_version(version: str | None, what: str) -> SchemaMismatch:
    """What to say of books that another version wrote."""
    newer = version is not None and version.isdigit() and int(version) > schema.VERSION
    return SchemaMismatch(
        f"{what} has schema {version}, this program has {schema.VERSION}: "
        + (
            "it was written by a newer version; run that one"
            if newer
            else "run `chain-adapter db upgrade`"
        )
    )


def bind(store: Store, ledger_id: str) -> None:
    """Bind a ledger that has no id yet (made by an import) to these keys; checks one that has."""

    def unit(tx: Tx) -> None:
        current = get(tx, "ledger_id") or ""
        if current and current != ledger_id:
            raise LedgerMismatch(
                "database and keystore belong to different ledgers: "
                f"{current[:8]}… and {ledger_id[:8]}…"
            )
        if not current:
            put(tx, "ledger_id", ledger_id)
            record(tx, LEDGER, "ledger bound", "ledger", ledger_id=ledger_id)

    store.write_now(unit)


def check_run(store: Store, ledger_id: str) -> None:
    """What `run` demands: this ledger, no scan record. Raises `LedgerMismatch`."""

    def unit(tx: Tx) -> None:
        current = get(tx, "ledger_id") or ""
        if get(tx, "record") is not None:
            raise LedgerMismatch("the database is the record of a scan, not a ledger")
        if not current:
            raise LedgerMismatch("the ledger is bound to no keys yet: run `keys init`")
        if current != ledger_id:
            raise LedgerMismatch(
                "database and keystore belong to different ledgers: "
                f"{current[:8]}… and {ledger_id[:8]}…"
            )

    store.read_now(unit)


class InstanceLock:
    """An operating-system lock beside a SQLite file: a second daemon exits at once."""

    def __init__(self, url: str) -> None:
        path = sqlite_path(url)
        self._path = None if path is None else Path(f"{path}.lock")
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Raises `AlreadyRunning`."""
        if self._path is None:
            return
        self._file = self._path.open("ab")
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            self._file = None
            raise AlreadyRunning(
                f"another daemon (or a command that needs it stopped) holds {self._path}"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())
        self._file.flush()

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def take_lease(store: Store, instance: str, *, any_version: bool = False) -> Lease:
    """Become the one daemon. The same instance name takes over at once, another waits for expiry.

    Raises `AlreadyRunning` while another instance holds it, `SchemaMismatch` unless the books
    are of this version, or of `any_version` (an upgrade).
    """
    leases = schema.leases
    holder = f"{instance}/{secrets.token_hex(6)}"

    def unit(tx: Tx) -> Lease:
        # Once more under the lock: an upgrade may have run since the ledger was opened.
        if not any_version:
            check_version(tx)
        now = database_now(tx)
        row = tx.one(select(leases).where(leases.c.name == LEASE_NAME).with_for_update())
        if row is None:
            tx.run(
                insert(leases).values(
                    name=LEASE_NAME, holder=holder, fence=1, expires_at=now + LEASE_S * 1_000_000
                )
            )
            fence = 1
        else:
            other = row.holder.rpartition("/")[0] != instance
            # On SQLite the lock beside the file has already proven that nobody runs.
            if other and row.expires_at > now and not store.is_sqlite:
                raise AlreadyRunning(
                    f"the daemon {row.holder.rpartition('/')[0]!r} holds this database"
                )
            fence = row.fence + 1
            tx.run(
                update(leases)
                .where(leases.c.name == LEASE_NAME)
                .values(holder=holder, fence=fence, expires_at=now + LEASE_S * 1_000_000)
            )
        record(tx, LEDGER, "lease taken", "ledger", instance=instance, fence=fence)
        return Lease(LEASE_NAME, holder, fence)

    lease = store.write_now(unit)
    store.session = secrets.token_hex(8)
    store.lease = lease
    return lease


async def renew_lease(store: Store) -> None:
    """Prolong the lease. Raises `LeaseLost`."""
    lease = store.lease
    if lease is None:
        raise LeaseLost("the lease was lost")
    leases = schema.leases

    def unit(tx: Tx) -> int:
        return tx.run(
            update(leases)
            .where(leases.c.name == lease.name, leases.c.fence == lease.fence)
            .values(expires_at=database_now(tx) + LEASE_S * 1_000_000)
        )

    if await store.write(unit) != 1:
        store.lease = None
        raise LeaseLost("another daemon took the lease over")


def end_lease(store: Store) -> None:
    """Let another instance start at once (an orderly stop)."""
    lease = store.lease
    if lease is None:
        return
    leases = schema.leases
    store.write_now(
        lambda tx: tx.run(
            update(leases)
            .where(leases.c.name == lease.name, leases.c.fence == lease.fence)
            .values(expires_at=0)
        )
    )
    store.lease = None


def database_now(tx: Tx) -> int:
    """The database's own clock, microseconds; SQLite's is this machine's."""
    if tx.connection.dialect.name == "sqlite":
        return tx.now_us
    value = tx.connection.execute(
        text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    ).scalar()
    return int(value or 0)


def shown(url: str) -> str:
    """A database URL without its password."""
    path = sqlite_path(url)
    return str(path) if path is not None else url.rpartition("@")[2]


def _line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
