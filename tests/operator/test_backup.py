"""Copies of the books: made while they are used, whole or not there, and put back only where
nothing stands."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from chain_adapter.clock import SystemClock
from chain_adapter.errors import ConfigError, LedgerMismatch, SchemaMismatch, StoreError
from chain_adapter.store import backup, ledger, schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.snapshot import snapshot
from chain_adapter.store.store import Store, Tx
from tests.operator.conftest import MakeWorld, command, done, lose, run, sound
from tests.operator.test_disasters import busy

LEDGER_ID = "ab" * 16


@pytest.fixture
def books(database_url: str) -> Store:
    store = ledger.create(database_url, SystemClock(), ledger_id=LEDGER_ID)
    store.write_now(lambda tx: fill(tx, 50))
    return store


def fill(tx: Tx, count: int) -> None:
    for number in range(count):
        record(tx, LEDGER, "note", f"note:{number}", text="x" * 50)


def contents(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, as of one moment."""
    with snapshot(store) as tx:
        return {
            table.name: sorted(
                (tuple(row) for row in tx.all(select(table))), key=repr
            )
            for table in schema.metadata.sorted_tables
        }  # fmt: skip


async def test_a_copy_is_the_books_and_comes_back_as_they_were(either: MakeWorld) -> None:
    """Every row of every table, on both databases, and new rows get new numbers."""
    w = await either()
    await busy(w, 4, 4)
    await w.tick(8)
    copy = w.folder / "copy.db"
    made = await done(w.config_file, "db", "backup", str(copy))
    assert copy.stat().st_mode & 0o777 == 0o600
    await w.stop()
    store = Store(w.url, SystemClock())
    before = contents(store)
    store.close()
    lose(w.url)
    back = await done(w.config_file, "db", "restore", str(copy))
    assert back["as_of"] == made["as_of"]
    store = Store(w.url, SystemClock())
    after = contents(store)
    changed = {"events", "event_heads", "leases"}  # the copy and the return are events themselves
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    assert len(after["events"]) == made["events"] + 1
    store.close()
    await w.start()
    order = await w.order("1")
    await w.until(w.ended(order))
    await sound(w.config_file)
    assert sorted(one.name for one in w.folder.glob("copy.db*")) == ["copy.db"]


def test_a_copy_is_of_one_moment(books: Store, tmp_path: Path) -> None:
    """Writers go on meanwhile; what the copy holds belongs together."""
    for number in range(5):
        futures = [books.submit(lambda tx: fill(tx, 5)) for _ in range(20)]
        made = backup.take(books, tmp_path / f"{number}.db")
        for one in futures:
            one.result()
        copy = sqlite3.connect(made.path)
        head = copy.execute("SELECT seq FROM event_heads").fetchone()[0]
        assert head == made.events == copy.execute("SELECT max(seq) FROM events").fetchone()[0]
        copy.close()
    books.close()


def test_it_never_writes_over_anything(books: Store, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    backup.take(books, path)
    with pytest.raises(ConfigError, match="never replaces"):
        backup.take(books, path)
    with pytest.raises(ConfigError, match="no folder"):
        backup.take(books, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(StoreError, match="never replaces"):
        backup.restore(path, books.url, SystemClock(), ledger_id=LEDGER_ID, who="me")
    books.close()


def test_what_is_put_back_must_belong_here(books: Store, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    backup.take(books, path)
    empty = f"sqlite:///{tmp_path}/other/adapter.db"

    def restored(file: Path, ledger_id: str = LEDGER_ID) -> None:
        backup.restore(file, empty, SystemClock(), ledger_id=ledger_id, who="me")

    with pytest.raises(LedgerMismatch, match="different ledgers"):
        restored(path, "cd" * 16)
    with pytest.raises(ConfigError, match="no backup"):
        restored(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_text("hello\n" * 500)
    with pytest.raises(StoreError, match=r"no copy of a ledger|damaged"):
        restored(tmp_path / "text.db")
    torn = tmp_path / "torn.db"
    torn.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"damaged|no copy"):
        restored(torn)
    for version, says in (("9", "newer version"), ("0", "db upgrade")):
        changed = tmp_path / f"v{version}.db"
        changed.write_bytes(path.read_bytes())
        connection = sqlite3.connect(changed)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
        connection.commit()
        connection.close()
        with pytest.raises(SchemaMismatch, match=says):
            restored(changed)
    assert not (tmp_path / "other" / "adapter.db").exists()
    restored(path)
    books.close()


def test_a_log_of_the_old_file_is_not_played_into_the_copy(tmp_path: Path) -> None:
    """After a kill the write-ahead log stands beside the file; a copy beside it would be torn."""
    url = f"sqlite:///{tmp_path}/adapter.db"
    store = ledger.create(url, SystemClock(), ledger_id=LEDGER_ID)
    backup.take(store, tmp_path / "copy.db")
    store.close()
    (tmp_path / "adapter.db").unlink()
    (tmp_path / "adapter.db-wal").write_bytes(b"old")
    with pytest.raises(StoreError, match=r"adapter\.db-wal"):
        backup.restore(tmp_path / "copy.db", url, SystemClock(), ledger_id=None, who="me")


def test_a_full_disk_leaves_no_half_copy(tmp_path: Path) -> None:
    """The file may not grow beyond a few pages: the command says so, and nothing is left."""
    url = f"sqlite:///{tmp_path}/adapter.db"
    store = ledger.create(url, SystemClock(), ledger_id=LEDGER_ID)
    store.write_now(lambda tx: fill(tx, 2000))
    store.close()
    config = tmp_path / "adapter.toml"
    config.write_text(f'[database]\nurl = "{url}"\n')

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    made = subprocess.run(
        [sys.executable, "-m", "chain_adapter.cli", "db", "backup", str(tmp_path / "copy.db"),
         "--config", str(config)],
        preexec_fn=small_files, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode != 0
    assert "no backup was made" in made.stderr
    assert "Traceback" not in made.stderr
    assert [one.name for one in tmp_path.glob("copy*")] == []
    assert run(config, "db", "check").status == 0


async def test_a_copy_beside_a_running_daemon_disturbs_nobody(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    for number in range(6):
        await w.tick()
        answer = await command(w.config_file, "db", "backup", str(w.folder / f"{number}.db"))
        assert answer.status == 0, answer.err
    await w.until(w.ended(order))
    assert not w.errors
