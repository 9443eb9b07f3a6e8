"""`check` against a real platform and a reference ledger: each thing that is wrong is named."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.config import Profile, load
from chain_adapter.errors import KeyFileError
from chain_adapter.sandbox.reference import ReferenceLedger
from chain_adapter.signing import passphrase_of
from chain_adapter.store import ledger
from tests.shell.conftest import Shell


@dataclass
class Platform:
    url: str
    state: Path


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The sandbox as a process, with the coins of the configuration."""
    state = tmp_path_factory.mktemp("sandbox")
    words = ["sandbox", "--listen", "127.0.0.1:0", "--state", str(state)]
    process = subprocess.Popen(
        [sys.executable, "-m", "chain_adapter.cli", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        for symbol, decimals in (("REF", 9), ("USDX", 6)):
            coin: dict[str, Any] = {"symbol": symbol, "memo": False, "decimals": decimals}
            coin |= {"confirmations": 3} | ({"main_symbol": "REF"} if symbol == "USDX" else {})
            request = urllib.request.Request(
                f"{url}/sandbox/coins",
                json.dumps(coin).encode(),
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=10).close()
        yield Platform(url, state)
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def ready(books: Shell, platform: Platform, request: pytest.FixtureRequest) -> Shell:
    """Everything is right: what a test breaks is the only thing wrong."""
    chain = ReferenceLedger(f"check-{request.node.name}")
    chain.mine(3)
    for ours, theirs in (("a.pem", "party_a_private.pem"), ("b.pem", "platform_public.pem")):
        path = books.folder / ours
        path.write_bytes((platform.state / theirs).read_bytes())
        path.chmod(0o600)
    put(books, "http://127.0.0.1:9", platform.url)
    put(books, '"abc"', f'"{(platform.state / "app_id").read_text().strip()}"')
    put(books, "memory://nowhere", chain.url())
    put(books, "cc0000000000000000000000000000000000000a", chain.token.hex())
    return books


def put(shell: Shell, old: str, new: str) -> None:
    text = shell.config.read_text()
    assert old in text
    shell.config.write_text(text.replace(old, new))


def wrong(shell: Shell) -> str:
    answer = shell("check", "--json")
    assert answer.status == 1, answer.err
    assert answer.document["ok"] is False
    (reason,) = answer.document["reasons"]
    return str(reason)


def test_all_is_well(ready: Shell) -> None:
    answer = ready("check", "--json")
    assert answer.status == 0, answer.out
    said = answer.document
    assert (said["ok"], said["reasons"]) == (True, [])
    checks = {one["check"] for one in said["checks"]}
    assert {
        "configuration",
        "database",
        "keys",
        "chain main",
        "platform keys",
        "platform",
    } <= checks
    assert any("weaker" in one or "below" in one for one in said["warnings"])
    assert "ok       keys: " in ready("check").out


def test_check_changes_nothing(ready: Shell) -> None:
    before = {path: path.read_bytes() for path in ready.folder.rglob("*") if path.is_file()}
    assert ready("check").status == 0
    after = {path: path.read_bytes() for path in ready.folder.rglob("*") if path.is_file()}
    assert {p for p in after if before.get(p) != after[p] and not p.name.endswith("-shm")} == set()


def test_wrong_passphrase(ready: Shell) -> None:
    ready.write_secret("keys/passphrase", "wrong\n")
    reason = wrong(ready)
    assert reason.startswith("keys: ")
    assert "passphrase" in reason


def test_passphrase_that_all_can_read(ready: Shell) -> None:
    """In production it is refused; while the platform is on this machine it is remarked."""
    (ready.folder / "keys/passphrase").chmod(0o644)
    answer = ready("check")
    assert answer.status == 0
    assert "chmod 600" in answer.out
    production = dataclasses.replace(load(ready.config), profile=Profile.PRODUCTION)
    with pytest.raises(KeyFileError, match="chmod 600"):
        passphrase_of(production)


def test_missing_platform_key(ready: Shell) -> None:
    (ready.folder / "b.pem").unlink()
    answer = ready("check", "--json")
    assert answer.status == 1
    assert all("b.pem" in reason for reason in answer.document["reasons"])


def test_swapped_platform_keys(ready: Shell, platform: Platform) -> None:
    (ready.folder / "b.pem").write_bytes((platform.state / "party_a_public.pem").read_bytes())
    assert wrong(ready).startswith("platform: ")


def test_platform_that_does_not_answer(ready: Shell, platform: Platform) -> None:
    put(ready, platform.url, "http://127.0.0.1:9")
    assert wrong(ready).startswith("platform: ")


def test_node_that_does_not_answer(ready: Shell) -> None:
    put(ready, "memory://check", "memory://nowhere")
    assert wrong(ready).startswith("chain main: ")


def test_network_other_than_the_pinned_one(ready: Shell) -> None:
    from chain_adapter.store import schema

    ready.write(lambda tx: tx.insert_new(schema.chains, {"chain": "main", "identity": "ref:other"}))
    ready.write(lambda tx: tx.run(schema.chains.update().values(identity="ref:other")))
    reason = wrong(ready)
    assert reason.startswith("chain main: ")
    assert "ref:other" in reason


def test_keystore_that_is_not_there(ready: Shell) -> None:
    put(ready, "keystore.json", "another.json")
    answer = ready("check", "--json")
    assert answer.status == 1
    assert {reason.partition(":")[0] for reason in answer.document["reasons"]} == {
        "database", "keys",
    }  # fmt: skip


def test_another_ledger(ready: Shell) -> None:
    ready.write(lambda tx: ledger.put(tx, "ledger_id", "f" * 32))
    assert "different ledgers" in wrong(ready)


def test_a_record_of_a_scan(ready: Shell) -> None:
    ready.write(lambda tx: ledger.put(tx, "record", "sqlite:///x"))
    assert "record of a scan" in wrong(ready)


def test_plugin_that_is_not_there(ready: Shell) -> None:
    put(ready, '"reference"', '"refrence"')
    assert "did you mean 'reference'" in wrong(ready)


def test_node_key_that_is_misspelt(ready: Shell) -> None:
    put(ready, "[chains.main.node]", "[chains.main.node]\nflavor = 'account'")
    reason = wrong(ready)
    assert "flavour" in reason


def test_a_wrong_configuration_exits_2_and_answers_in_json(ready: Shell) -> None:
    put(ready, "confirmations = 3", "confirmatons = 3")
    answer = ready("check", "--json")
    assert answer.status == 2
    assert "did you mean confirmations?" in answer.document["reasons"][0]
    assert "did you mean confirmations?" in answer.err


def test_a_section_that_is_missing(ready: Shell) -> None:
    text = ready.config.read_text()
    start, end = text.index("[keys]"), text.index("[console]")
    ready.config.write_text(text[:start] + text[end:])
    answer = ready("check")
    assert answer.status == 2
    assert "needs a [keys] section" in answer.err
