"""Older books brought to this program's version: alone, after a backup, one transaction a step.

version in `meta` -> lock and lease -> `backup` -> each step: statements, version, row in
`migrations`, event; committed together, so that a kill leaves a whole version. Steps are appended
to `STEPS` for ever and never changed; `schema.VERSION` is the last one's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert, select

from chain_adapter.clock import Clock
from chain_adapter.errors import LeaseLost, SchemaMismatch
from chain_adapter.store import backup, ledger, schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.exclusive import alone
from chain_adapter.store.store import Lease, Store, Tx, sqlite_path

_apart = MetaData()
migrations = Table(
    "migrations",
    _apart,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("what", Text, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
)
"""Which steps were taken and when. Not on the schema page: it is read whatever version that is."""


@dataclass(frozen=True, slots=True)
class Step:
    """From `version - 1` to `version`. `apply` runs statements that both databases know, and
    leaves events, meta and leases as they are: they are used while other versions stand there."""

    version: int
    what: str
    apply: Callable[[Tx], None]


STEPS: tuple[Step, ...] = ()
"""In order. The first ledger was of version 1."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did. `backup` is None when nothing was to be done."""

    from_version: int
    to_version: int
    backup: Path | None


def version_of(store: Store) -> int:
    """The version of the books. Raises `LedgerMismatch` without any, `SchemaMismatch`."""
    if not ledger.exists(store):
        raise ledger.missing(store.url)
    text = store.read_now(lambda tx: ledger.get(tx, "schema")) or ""
    if not text.isdigit():
        raise SchemaMismatch(f"the database has schema {text!r}: it is damaged; restore a backup")
    return int(text)


def upgrade(
    url: str,
    clock: Clock,
    backup_folder: Path,
    *,
    steps: Sequence[Step] = STEPS,
    target: int = schema.VERSION,
) -> Upgraded:
    """Bring the ledger at `url` to `target`; nothing happens if it is there already.

    Raises `AlreadyRunning` beside a daemon, `SchemaMismatch` for a newer ledger or a version from
    which no step leads, `StoreError` when the backup or a step fails: then the step's transaction
    is undone, and the ledger is as before it.
    """
    store = Store(url, clock)
    try:
        found = version_of(store)
        _path(found, target, steps)
        if found == target:
            return Upgraded(found, target, None)
        with alone(store, "upgrade", any_version=True) as lease:
            found = version_of(store)  # another may have been faster
            ahead = _path(found, target, steps)
            if not ahead:
                return Upgraded(found, target, None)
            at = clock.now().strftime("%Y%m%dT%H%M%S")
            copy = backup_folder / f"{_stem(url)}.v{found}-{at}.db"
            backup.take(store, copy)
            for step in ahead:
                take_step(store, lease, step)
            return Upgraded(found, target, copy)
    finally:
        store.close()


def _path(found: int, target: int, steps: Sequence[Step]) -> list[Step]:
    if found > target:
        raise SchemaMismatch(
            f"the database has schema {found}, this program has {target}: it was written by a "
            "newer version; run that one"
        )
    ahead = [step for step in steps if found < step.version <= target]
    if [step.version for step in ahead] != list(range(found + 1, target + 1)):
        raise SchemaMismatch(
            f"no upgrade leads from schema {found} to {target}: use the version in between"
        )
    return ahead


def take_step(store: Store, lease: Lease, step: Step) -> None:
    """One step in one transaction. Raises `LeaseLost` when somebody else took the lease."""

    def unit(tx: Tx) -> None:
        # The row stays locked until the commit: nobody can take the lease over meanwhile, and who
        # waits for it finds another version then.
        row = tx.one(
            select(schema.leases.c.fence)
            .where(schema.leases.c.name == lease.name)
            .with_for_update()
        )
        if row is None or row.fence != lease.fence:
            raise LeaseLost("another daemon took the lease over: nothing was upgraded")
        _apart.create_all(tx.connection)
        step.apply(tx)
        ledger.put(tx, "schema", str(step.version))
        tx.run(
            insert(migrations).values(version=step.version, what=step.what, applied_at=tx.now_us)
        )
        record(tx, LEDGER, "schema upgraded", "ledger", version=step.version, step=step.what)

    store.write_now(unit)


def _stem(url: str) -> str:
    path = sqlite_path(url)
    return "adapter" if path is None else path.stem


def bring_up(url: str, clock: Clock, backup_folder: Path) -> Upgraded | None:
    """What `run` does before it opens its ledger: upgrade an older one, leave any other alone.

    None when there is nothing to do; what is wrong otherwise is told by whoever opens it.
    """
    store = Store(url, clock)
    try:
        if not ledger.exists(store):
            return None
        text = store.read_now(lambda tx: ledger.get(tx, "schema")) or ""
    finally:
        store.close()
    if not text.isdigit() or int(text) >= schema.VERSION:
        return None
    return upgrade(url, clock, backup_folder, steps=STEPS)
