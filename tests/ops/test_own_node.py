"""The demo on a node that is not ours: the price first, a question, and everything comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chain_adapter import cli
from chain_adapter.demo.own_node import read_key
from chain_adapter.errors import KeyFileError
from tests.fixtures import Anvil

KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first key of every anvil."""


def key_file(folder: Path, text: str = KEY) -> Path:
    path = folder / "key"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def demo(url: str, key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chain_adapter.cli", "demo", "--endpoint", url,
         "--funded-key-file", str(key), *more],
        capture_output=True, text=True, timeout=280, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_a_round_on_a_strangers_node(anvil: Anvil, tmp_path: Path) -> None:
    anvil.rpc("evm_setIntervalMining", 1)
    address = anvil.accounts[0]
    before = int(anvil.rpc("eth_getBalance", address, "latest"), 16)
    done = demo(anvil.url, key_file(tmp_path), "--deposits", "2", "--withdrawals", "2",
                "--yes", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["ok"]
    assert document["deposits"] == {"made": 2, "credited": 2, "doubled": 0, "missing": 0}
    assert document["withdrawals"] == {"asked": 2, "paid": 1, "cancelled": 1, "doubled": 0}
    assert document["difference_base_units"] == {"COIN": 0}
    after = int(anvil.rpc("eth_getBalance", address, "latest"), 16)
    assert before - after < 10**17, "only fees are gone, and a little dust"
    assert "transactions: about" in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_nothing_is_sent_without_a_yes(anvil: Anvil, tmp_path: Path) -> None:
    done = demo(anvil.url, key_file(tmp_path))
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert anvil.rpc("eth_getTransactionCount", anvil.accounts[0], "pending") == "0x0"


def test_a_poor_key_is_told_what_is_needed(anvil: Anvil, tmp_path: Path) -> None:
    done = demo(anvil.url, key_file(tmp_path, "11" * 32), "--yes")
    assert done.returncode in (1, 2)
    assert "holds 0 COIN" in done.stderr or "short of" in done.stderr


def test_the_key_file(tmp_path: Path) -> None:
    assert read_key(key_file(tmp_path, "0x" + KEY)) == bytes.fromhex(KEY)
    for text in ("", "abcd", "zz" * 32):
        with pytest.raises(KeyFileError) as caught:
            read_key(key_file(tmp_path, text))
        assert text == "" or text not in str(caught.value)
    path = key_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(path)


def test_both_or_neither(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["demo", "--endpoint", "http://127.0.0.1:1"]) == 2
    assert "belong together" in capsys.readouterr().err
