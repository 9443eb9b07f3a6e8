"""`plugins`: what is installed, its conformance, a skeleton."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain_adapter.core.states import Role
from tests.shell.conftest import Shell


def test_list(shell: Shell) -> None:
    rows = shell("plugins", "list", "--json", config=False).document
    one = next(row for row in rows if row["name"] == "reference")
    assert one["usable"] is True
    assert one["devnet"] is True
    assert one["problem"] is None


def test_new_overwrites_nothing(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("plugins", "new", "mychain", config=False).status == 0
    assert (tmp_path / "plugins/mychain/chain_adapter_mychain/chain.py").is_file()
    again = shell("plugins", "new", "mychain", config=False)
    assert again.status == 2
    assert "nothing is overwritten" in again.err
    assert shell("plugins", "new", "My-Chain", config=False).status == 2


@pytest.mark.slow
def test_check_on_its_own_devnet(shell: Shell) -> None:
    answer = shell("plugins", "check", "reference", "--json", config=False)
    assert answer.status == 0, answer.out
    outcomes = {one["outcome"] for one in answer.document["results"]}
    assert "passed" in outcomes
    assert "failed" not in outcomes


def test_check_of_nothing(shell: Shell) -> None:
    answer = shell("plugins", "check", "refrence", config=False)
    assert answer.status == 2
    assert "did you mean 'reference'?" in answer.err
    answer = shell("plugins", "check", "evm")
    assert answer.status == 2
    assert "no chain uses plugin 'evm'" in answer.err


def test_roles_are_those_of_the_help() -> None:
    assert ", ".join(Role) == "deposit, hot, gas, cold, watched"
