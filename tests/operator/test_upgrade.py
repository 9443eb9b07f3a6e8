"""Older books: upgraded alone, after a backup, a step a transaction; newer ones left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from chain_adapter.clock import SystemClock
from chain_adapter.errors import (
    AlreadyRunning,
    ConfigError,
    LeaseLost,
    LedgerMismatch,
    SchemaMismatch,
    StoreError,
)
from chain_adapter.store import backup, ledger, migrations, schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.exclusive import alone
from chain_adapter.store.integrity import event_chain
from chain_adapter.store.migrations import Step, upgrade
from chain_adapter.store.snapshot import snapshot
from chain_adapter.store.store import Store, Tx
from tests.operator.conftest import MakeWorld, command, run

LEDGER_ID = "ab" * 16


def statement(sql: str) -> Callable[[Tx], None]:
    def apply(tx: Tx) -> None:
        tx.connection.execute(text(sql))

    return apply


NEXT = (
    Step(2, "payouts get a note", statement("ALTER TABLE payouts ADD COLUMN note TEXT")),
    Step(3, "what was held is noted", statement("UPDATE payouts SET note = held_reason")),
)


@pytest.fixture
def books(database_url: str) -> str:
    store = ledger.create(database_url, SystemClock(), ledger_id=LEDGER_ID)
    store.write_now(lambda tx: record(tx, LEDGER, "note", "note:1", text="x"))
    store.close()
    return database_url


def version(url: str) -> str | None:
    store = Store(url, SystemClock())
    try:
        return store.read_now(lambda tx: ledger.get(tx, "schema"))
    finally:
        store.close()


def columns(url: str, table: str) -> set[str]:
    store = Store(url, SystemClock())
    try:
        return {one["name"] for one in inspect(store.engine).get_columns(table)}
    finally:
        store.close()


def test_one_step_after_the_other(books: str, tmp_path: Path) -> None:
    done = upgrade(books, SystemClock(), tmp_path, steps=NEXT, target=3)
    assert (done.from_version, done.to_version) == (1, 3)
    assert version(books) == "3"
    assert "note" in columns(books, "payouts")
    store = Store(books, SystemClock())
    with snapshot(store) as tx:
        assert event_chain(tx).problems == []
        taken = tx.all(migrations.migrations.select())
        assert [(row.version, row.what) for row in taken] == [(s.version, s.what) for s in NEXT]
    store.close()
    # The books before it are there, whole, and of the old version.
    assert done.backup is not None
    assert backup.examine(done.backup).version == "1"
    assert upgrade(books, SystemClock(), tmp_path, steps=NEXT, target=3).backup is None
    with pytest.raises(SchemaMismatch, match="newer version"):
        ledger.open_ledger(books, SystemClock())


def test_an_older_ledger_is_refused_by_everything_else(books: str, tmp_path: Path) -> None:
    store = Store(books, SystemClock())
    store.write_now(lambda tx: ledger.put(tx, "schema", "0"))
    with pytest.raises(SchemaMismatch, match="db upgrade"):
        ledger.open_ledger(books, SystemClock())
    # Nor does a daemon slip in that looked at the version before an upgrade ran.
    with pytest.raises(SchemaMismatch):
        ledger.take_lease(store, "adapter-1")
    store.close()
    config = tmp_path / "adapter.toml"
    config.write_text(f'[database]\nurl = "{books}"\n')
    for words in (("db", "check"), ("deposits", "list"), ("db", "backup", str(tmp_path / "c"))):
        answer = run(config, *words)
        assert answer.status == 2
        assert "db upgrade" in answer.err
    made = upgrade(books, SystemClock(), tmp_path, steps=[Step(1, "x", lambda _tx: None)])
    assert made.to_version == schema.VERSION
    assert run(config, "db", "check").status == 0


def test_a_step_that_fails_changes_nothing(books: str, tmp_path: Path) -> None:
    def fails(tx: Tx) -> None:
        tx.connection.execute(text("ALTER TABLE payouts ADD COLUMN half TEXT"))
        tx.connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(StoreError):
        upgrade(books, SystemClock(), tmp_path, steps=[*NEXT[:1], Step(3, "x", fails)], target=3)
    assert version(books) == "2"  # the step before it is whole
    assert "half" not in columns(books, "payouts")
    upgrade(books, SystemClock(), tmp_path, steps=NEXT, target=3)
    assert version(books) == "3"


def test_no_backup_no_upgrade(books: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        upgrade(books, SystemClock(), tmp_path / "nowhere", steps=NEXT, target=3)
    assert version(books) == "1"


def test_what_cannot_be_upgraded(books: str, tmp_path: Path, sqlite_url: str) -> None:
    for steps, target, says in (
        (NEXT, 0, "newer version"),
        (NEXT, 4, "no upgrade leads"),
        (NEXT[1:], 3, "no upgrade leads"),
    ):
        with pytest.raises(SchemaMismatch, match=says):
            upgrade(books, SystemClock(), tmp_path, steps=steps, target=target)
    with pytest.raises(LedgerMismatch, match="no ledger"):
        upgrade(f"sqlite:///{tmp_path}/nothing.db", SystemClock(), tmp_path)
    assert version(books) == "1"
    assert list(tmp_path.glob("*.v1-*")) == []


def test_not_beside_another_holder(books: str, tmp_path: Path) -> None:
    """A daemon that lives holds the lock beside the file, or renews its lease (test_recover)."""
    store = Store(books, SystemClock())
    if store.is_sqlite:
        with alone(store, "run"), pytest.raises(AlreadyRunning, match="another daemon"):
            upgrade(books, SystemClock(), tmp_path, steps=NEXT, target=3)
    else:
        # The lease was taken over meanwhile: the step finds another fence, and changes nothing.
        with alone(store, "run") as lease:
            instance = lease.holder.rpartition("/")[0]
            ledger.take_lease(Store(books, SystemClock()), instance)
            with pytest.raises(LeaseLost):
                migrations.take_step(store, lease, Step(2, "x", lambda _tx: None))
    store.close()
    assert version(books) == "1"


KILLED = """
import sys, time
from pathlib import Path
from sqlalchemy import text
from chain_adapter.clock import SystemClock
from chain_adapter.store.migrations import Step, upgrade

def slow(tx):
    tx.connection.execute(text("ALTER TABLE payouts ADD COLUMN half TEXT"))
    print("inside", flush=True)
    time.sleep(60)

upgrade(sys.argv[1], SystemClock(), Path(sys.argv[2]), steps=[Step(2, "x", slow)], target=2)
"""


def test_a_kill_in_the_middle(books: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, books, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process.stdout.close()
    assert "half" not in columns(books, "payouts")
    store = ledger.open_ledger(books, SystemClock())  # it is what it was, and works
    store.close()
    # The dead one's lease is outwaited. The name of the copy has the second in it.
    monkeypatch.setattr(ledger, "LEASE_S", 20)
    done = upgrade(books, SystemClock(), _fresh(tmp_path), steps=NEXT, target=3)
    assert done.to_version == 3
    assert version(books) == "3"


def _fresh(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    return tmp_path / "more"


async def test_the_command(world: MakeWorld) -> None:
    w = await world()
    answer = await command(w.config_file, "db", "upgrade", "--json")
    assert answer.status == 0  # nothing to do is no error, also beside a daemon
    assert answer.document == {"from": schema.VERSION, "to": schema.VERSION, "backup": None}
    await w.stop()
    w.daemon.store = Store(w.url, w.clock)
    w.write(lambda tx: ledger.put(tx, "schema", "99"))
    answer = await command(w.config_file, "db", "upgrade")
    assert answer.status == 2
    assert "newer version; run that one" in answer.err
    with pytest.raises(SchemaMismatch, match="newer"):
        await w.start()
    w.write(lambda tx: ledger.put(tx, "schema", str(schema.VERSION)))
    w.daemon.store.close()
    await w.start()


async def test_run_upgrades_too(either: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the lock and after a copy, like the command; then it works on."""
    w = await either()
    order = await w.order("1")
    await w.until(w.ended(order))
    await w.stop()
    store = Store(w.url, w.clock)
    store.write_now(lambda tx: ledger.put(tx, "schema", "0"))
    store.close()
    step = Step(1, "notes", statement("ALTER TABLE payouts ADD COLUMN note TEXT"))
    monkeypatch.setattr(migrations, "STEPS", (step,))
    await w.start()
    assert "note" in columns(w.url, "payouts")
    [copy] = w.folder.glob("*.v0-*.db")
    assert backup.examine(copy).version == "0"
    again = await w.order("1")
    await w.until(w.ended(again))
