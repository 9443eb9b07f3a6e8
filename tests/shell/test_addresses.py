"""`addresses import` and `addresses list`: all or nothing, each once, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain_adapter.commands import address_file
from tests.shell.conftest import Shell, address


def listed(shell: Shell) -> list[str]:
    return [one["address"] for one in shell.rows("addresses", "list", "--role", "watched")]


def load(shell: Shell, text: str | bytes) -> tuple[int, dict[str, int] | str]:
    file = shell.folder / "addresses.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    answer = shell("addresses", "import", str(file), "--chain", "main", "--json")
    return answer.status, answer.document if answer.status == 0 else answer.err


def test_import_makes_the_ledger_and_is_idempotent(any_shell: Shell) -> None:
    text = "".join(f"{address(n)}\n" for n in range(1, 6))
    assert load(any_shell, text) == (0, {"imported": 5, "known": 0})
    assert load(any_shell, text) == (0, {"imported": 0, "known": 5})
    assert load(any_shell, address(6)) == (0, {"imported": 1, "known": 0})
    rows = any_shell.rows("addresses", "list")
    assert {row["address"] for row in rows} == {address(n) for n in range(1, 7)}
    assert rows[-1]["address"] == address(6)
    assert {(r["role"], r["registered"], r["memo"], r["chain"]) for r in rows} == {
        ("watched", True, "", "main")
    }


def test_every_spelling_line_end_and_blank_line(shell: Shell) -> None:
    text = f"\ufeff{address(1)}\r\n\r\n  {address(1).upper()}  \n\t\n{address(2)}\n{address(2)}"
    assert load(shell, text) == (0, {"imported": 2, "known": 0})
    assert listed(shell) == [address(1), address(2)]


def test_an_empty_file_is_no_error(shell: Shell) -> None:
    assert load(shell, "\n \n") == (0, {"imported": 0, "known": 0})


BAD = [
    ("no address", "hello"),
    ("wrong checksum", address(3)[:-1] + ("0" if address(3)[-1] != "0" else "1")),
    ("mixed case", address(3)[:-9].upper() + address(3)[-9:]),
    ("two on a line", f"{address(3)} {address(4)}"),
    ("no text", "\udcff"),
    ("very long", "r" * 1000),
]


@pytest.mark.parametrize(("what", "line"), BAD, ids=[one[0] for one in BAD])
def test_a_bad_line_stores_nothing(shell: Shell, what: str, line: str) -> None:
    good = f"{address(1)}\n{address(2)}\n\n"
    raw = (good + line + "\n").encode("utf-8", "surrogateescape")
    status, err = load(shell, raw)
    assert status == 2, what
    assert "addresses.txt, line 4: " in str(err)
    assert str(err).count("\n") == 1
    assert not Path(f"{shell.folder}/books/adapter.db").exists()
    assert load(shell, good) == (0, {"imported": 2, "known": 0})
    assert load(shell, raw)[0] == 2
    assert listed(shell) == [address(1), address(2)]


def test_a_large_file_by_several_workers(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_file, "BLOCK", 4096)
    monkeypatch.setattr(address_file.os, "cpu_count", lambda: 2)
    lines = [address(n) for n in range(1, 2001)] + [address(7)]
    assert load(shell, "\n".join(lines)) == (0, {"imported": 2000, "known": 0})
    assert set(listed(shell)) == {address(n) for n in range(1, 2001)}
    lines[1500] = "nonsense"
    lines[1700] = "more nonsense"
    status, err = load(shell, "\n".join(lines))
    assert status == 2
    assert "line 1501: " in str(err)


def test_every_import_raises_the_counter_of_the_chain(shell: Shell) -> None:
    from sqlalchemy import select

    from chain_adapter.store import schema

    def counter() -> int:
        return int(shell.write(lambda tx: tx.value(select(schema.chains.c.address_count))))

    load(shell, address(1))
    first = counter()
    load(shell, f"{address(2)}\n{address(3)}")
    assert first >= 1
    assert counter() > first
    same = counter()
    load(shell, address(3))
    assert counter() == same


def test_import_is_an_event_with_who_and_how_many(shell: Shell) -> None:
    load(shell, address(1))
    ((what, detail),) = shell.events("addresses:main")
    assert what == "addresses imported"
    assert (detail["imported"], detail["file"]) == (1, "addresses.txt")
    assert detail["who"]


def test_import_opens_no_key_file_and_keys_init_binds_its_ledger(shell: Shell) -> None:
    keys = shell.folder / "keys"
    (keys / "passphrase").unlink()
    assert load(shell, address(1))[0] == 0
    assert not list(keys.iterdir())
    shell.write_secret("keys/passphrase", "correct horse\n")
    shell.init()
    assert [row["role"] for row in shell.rows("addresses", "list")] == ["watched", "hot", "gas"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--chain", "other"], "no chain 'other' is configured: there is main"),
        (["--chain", "main"], "cannot read"),
    ],
)
def test_wrong_use(shell: Shell, words: list[str], says: str) -> None:
    answer = shell("addresses", "import", str(shell.folder / "nowhere.txt"), *words)
    assert answer.status == 2
    assert says in answer.err


def test_list_of_a_role_that_is_none(books: Shell) -> None:
    answer = books("addresses", "list", "--role", "boss")
    assert answer.status == 2
    assert "deposit, hot, gas, cold, watched" in answer.err


def test_list_for_people(books: Shell) -> None:
    out = books("addresses", "list").out.splitlines()
    assert out[0].split() == ["chain", "address", "role", "registered", "memo"]
    assert [line.split()[2] for line in out[2:]] == ["hot", "gas"]
