"""What custodians do with keys, and the logs' chains, at the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from chain_adapter.clock import SystemClock
from chain_adapter.store import ledger, schema
from tests.keys.operators import Operators
from tests.shell.conftest import MNEMONIC, Shell, address, books, shell  # noqa: F401 - fixtures
from tests.treasury.desk import Desk, judged


@pytest.fixture
def desk(books: Shell, operators: Operators) -> Desk:  # noqa: F811 - the fixture
    return Desk(books, operators)


# --- keys -----------------------------------------------------------------------------------------


def test_addresses_are_those_of_init(desk: Desk) -> None:
    rows = desk.shell.rows("keys", "addresses", "--count", "3", "--from", "7")
    made = {row["role"]: row["address"] for row in desk.shell.rows("addresses", "list")}
    assert {r["role"]: r["address"] for r in rows if r["role"] != "deposit"} == made
    assert [row["index"] for row in rows if row["role"] == "deposit"] == [7, 8, 9]
    assert rows[-1]["path"].endswith("/1'/0/9")


def test_backup_and_its_check(desk: Desk) -> None:
    folder = desk.shell.folder / "copy"
    made = desk.shell.rows("keys", "backup", str(folder))
    assert set(made["files"]) == {
        "keystore.json", "keystore.public.json", "keystore.journal.db"
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("keystore*"))
    assert desk("keys", "backup", str(folder)).status == 2
    words = desk.shell.write_secret("words-again", MNEMONIC)
    check = ("keys", "restore-check", str(folder), "--mnemonic-file", str(words))
    document = desk.shell.rows(*check)
    assert document["ok"]
    assert [row["check"] for row in document["checks"]] == [
        "files", "keystore", "public keys", "journal", "addresses of main", "mnemonic"
    ]  # fmt: skip
    other = desk.shell.write_secret("other", "zoo " * 11 + "wrong")
    answer = desk("keys", "restore-check", str(folder), "--mnemonic-file", str(other), "--json")
    assert answer.status == 1
    assert [row["check"] for row in answer.document["checks"] if not row["ok"]] == ["mnemonic"]


@pytest.mark.parametrize("name", ["keystore.json", "keystore.public.json", "keystore.journal.db"])
def test_a_damaged_backup_is_told(desk: Desk, name: str) -> None:
    folder = desk.shell.folder / "copy"
    desk.shell.rows("keys", "backup", str(folder))
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    answer = desk("keys", "restore-check", str(folder), "--json")
    assert answer.status == 1
    failed = [row for row in answer.document["checks"] if not row["ok"]]
    assert failed[0]["check"] == "files"
    assert name in failed[0]["detail"]


def test_a_backup_of_other_keys_is_told(desk: Desk, tmp_path: Path) -> None:
    folder = desk.shell.folder / "copy"
    desk.shell.rows("keys", "backup", str(folder))
    with closing(sqlite3.connect(folder / "keystore.journal.db")) as journal:
        journal.execute("UPDATE meta SET value = 'other' WHERE key = 'journal_id'")
        journal.commit()
    manifest = json.loads((folder / "backup.json").read_text())
    del manifest["files"]["keystore.journal.db"]
    (folder / "backup.json").write_text(json.dumps(manifest))
    answer = desk("keys", "restore-check", str(folder), "--json")
    assert answer.status == 1
    assert "exchanged" in str(answer.document)


def test_import_makes_the_keystore_of_a_mnemonic(shell: Shell) -> None:  # noqa: F811
    words = shell.write_secret("words", MNEMONIC)
    rows = shell.rows("keys", "import", str(words))
    assert {row["role"] for row in rows} == {"hot", "gas"}
    assert rows == shell.init()


def test_dice_must_be_thrown_often(shell: Shell) -> None:  # noqa: F811
    few = shell.write_secret("dice", "123456")
    answer = shell("keys", "init", "--yes", "--entropy-file", str(few))
    assert answer.status == 2
    assert "at least 50" in answer.err
    many = shell.write_secret("dice", "123456" * 17)
    assert shell("keys", "init", "--yes", "--entropy-file", str(many)).status == 0


def test_the_ceremony_is_printed_for_this_configuration(desk: Desk) -> None:
    answer = desk("keys", "ceremony")
    assert str(desk.keystore) in answer.out
    assert "restore-check" in answer.out


# --- the logs -------------------------------------------------------------------------------------


def test_events_verify(desk: Desk) -> None:
    desk.with_policy()
    judged(desk, "77")
    document = desk.shell.rows("events", "verify")
    assert document["ok"]
    assert {"books: ledger", "books: main", "signer"} <= {one["log"] for one in document["chains"]}
    signer = document["chains"][-1]
    assert signer["entries"] >= 1, "the first policy is in the signer's log"
    table = schema.events
    desk.shell.write(
        lambda tx: tx.run(
            update(table).where(table.c.scope == "main", table.c.seq == 1).values(detail="{}")
        )
    )
    answer = desk("events", "verify", "--books", "--json")
    assert answer.status == 1
    (bad,) = [one for one in answer.document["chains"] if one["trouble"]]
    assert bad["trouble"] == "event 1 was changed"


def test_a_changed_signers_log_is_told(desk: Desk) -> None:
    desk.with_policy()
    assert desk.shell.rows("events", "verify")["ok"]
    journal = desk.keystore.with_name("keystore.journal.db")
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("UPDATE events SET detail = '{}'")
        connection.commit()
    answer = desk("events", "verify", "--json")
    assert answer.status == 1
    assert "entry 1 was changed" in str(answer.document)


def test_books_that_were_cut_off_are_told(desk: Desk) -> None:
    judged(desk, "77")
    table = schema.events
    desk.shell.write(
        lambda tx: tx.run(
            table.delete().where(
                table.c.scope == "main",
                table.c.seq
                == tx.value(select(table.c.seq).where(table.c.scope == "main")
                            .order_by(table.c.seq.desc()).limit(1)),
            )
        )
    )  # fmt: skip
    answer = desk("events", "verify", "--books", "--json")
    assert answer.status == 1
    assert "the books end with" in str(answer.document)


def test_the_ledger_opens_after_all(desk: Desk) -> None:
    ledger.open_ledger(desk.shell.url, SystemClock()).close()
