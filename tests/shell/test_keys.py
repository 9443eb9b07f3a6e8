"""`keys init`: keystore and ledger belong to each other; repeated, it changes nothing."""

from __future__ import annotations

from pathlib import Path

from chain_adapter.commands.output import iso
from tests.shell.conftest import MNEMONIC, Shell


def test_init_prints_the_addresses_of_every_chain(any_shell: Shell) -> None:
    made = any_shell.init()
    assert [(one["chain"], one["role"]) for one in made] == [("main", "hot"), ("main", "gas")]
    assert all(set(one) == {"chain", "address", "role", "path"} for one in made)
    assert made[0]["path"].startswith("m/44'/")
    assert any_shell.init() == made
    rows = any_shell.rows("addresses", "list")
    assert [(row["address"], row["role"]) for row in rows] == [
        (one["address"], one["role"]) for one in made
    ]
    assert not any(row["registered"] for row in rows)


def test_the_same_mnemonic_gives_the_same_addresses(shell: Shell, tmp_path: Path) -> None:
    made = shell.init()
    for path in [*(shell.folder / "keys").glob("keystore*"), *shell.folder.glob("books/*")]:
        path.unlink()
    assert shell.init() == made


def test_the_mnemonic_is_never_printed_under_yes(shell: Shell) -> None:
    answer = shell("keys", "init", "--yes", "--json")
    assert answer.status == 0
    words = set(MNEMONIC.split())
    assert not words & set(answer.err.split())
    assert len(answer.document) == 2


def test_a_new_seed_has_to_be_wanted(shell: Shell) -> None:
    answer = shell("keys", "init")
    assert answer.status == 2
    assert "--yes" in answer.err
    assert not (shell.folder / "keys" / "keystore.json").exists()


def test_another_passphrase_is_refused(books: Shell) -> None:
    books.write_secret("keys/passphrase", "wrong\n")
    answer = books("keys", "init", "--yes")
    assert answer.status == 2
    assert "passphrase" in answer.err
    assert "wrong" not in answer.err
    assert answer.err.count("\n") == 1


def test_a_foreign_ledger_is_refused(books: Shell) -> None:
    for path in (books.folder / "keys").glob("keystore*"):
        path.rename(path.with_name(f"old-{path.name}"))
    books.write_secret("words", "zoo " * 11 + "wrong")
    books.write(_rebound)
    answer = books("keys", "init", "--yes", "--mnemonic-file", str(books.folder / "words"))
    assert answer.status == 0
    for path in (books.folder / "keys").glob("old-*"):
        path.rename(path.with_name(path.name.removeprefix("old-")))
    answer = books("keys", "init", "--yes")
    assert answer.status == 2
    assert "ledger" in answer.err


def _rebound(tx):  # type: ignore[no-untyped-def]
    from chain_adapter.store import ledger

    ledger.put(tx, "ledger_id", "f" * 32)


def test_times_are_iso() -> None:
    assert iso(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"
    assert iso(None) is None
