"""A whole run on a real node with policy, approvals, kill switch and collecting; then the hunt.

Canary secrets (mnemonic, seed, every private key, passphrase, RSA keys) must be nowhere but in the
files they were given in: not in logs at their most talkative, books, journal, console, metrics,
answers and errors of commands, nor in what the kernel shows of the processes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.demo.parts import command, wait_until
from chain_adapter.demo.scenario import Scenario
from chain_adapter.keys.keystore import Keystore
from tests.keys.operators import Operators
from tests.treasury import canaries

WORDS = (
    "legal winner thank year wave sausage worth useful legal winner thank year wave sausage "
    "worth useful legal winner thank year wave sausage worth title"
)
PASSPHRASE = "canary-Passphrase-7f3a9b-never-to-be-seen"
POOL = 14
POLICY = """
version = 1
[operators]
{operators}
[approvals]
policy = 2
settle = 2
{assets}
[chains.devnet]
fee_per_transaction = "unlimited"
fee_per_day = "unlimited"
top_up_per_transaction = "unlimited"
top_up_per_day = "unlimited"
"""
ASSET = """
[assets.{symbol}]
per_transaction = "unlimited"
per_hour = "unlimited"
per_day = "unlimited"
per_destination_per_day = "unlimited"
approve_above = "0.5"
[assets.{symbol}.credits]
per_deposit = "0.5"
per_hour = "unlimited"
per_day = "unlimited"
"""


class Canary(Scenario):
    """The demo with keys that the test knows, a policy, and a log that tells everything."""

    def __init__(self, folder: Path, operators: Operators) -> None:
        super().__init__("evm", folder, quiet=True)
        self._operators = operators

    def _write_config(self, *, collect: bool) -> None:
        keys = self.folder / "keys"
        if not keys.exists():
            keys.mkdir(mode=0o700)
            for name, text in (("passphrase", PASSPHRASE), ("words", WORDS)):
                (keys / name).touch(0o600)
                (keys / name).write_text(f"{text}\n")
        super()._write_config(collect=collect)
        assets = "".join(ASSET.format(symbol=name) for name in self.assets)
        lines = self._operators.lines("ann", "bob")
        (self.folder / "policy.toml").write_text(POLICY.format(operators=lines, assets=assets))
        text = self.config_file.read_text()
        self.config_file.write_text(f'policy = "policy.toml"\n{text}\n[log]\nlevel = "debug"\n')
        if not (keys / "keystore.json").exists():
            words = ["keys", "import", str(keys / "words"), "--config", str(self.config_file)]
            subprocess.run(
                [sys.executable, "-m", "chain_adapter.cli", *words], check=True,
                capture_output=True, timeout=60,
            )  # fmt: skip


@pytest.fixture
async def scenario(tmp_path: Path, operators: Operators) -> AsyncIterator[Canary]:
    made = Canary(tmp_path / "run", operators)
    made.folder.mkdir()
    try:
        await made.open(pool=POOL)
        yield made
    finally:
        await made.stack.aclose()


def say(scenario: Scenario, *words: str) -> tuple[int, bytes]:
    """A command's status and all it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "chain_adapter.cli", *words, "--config", str(scenario.config_file)],
        check=False, capture_output=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def asked(scenario: Scenario, *words: str) -> Any:
    return await command(*words, "--config", str(scenario.config_file), "--json")


async def signed(scenario: Scenario, operators: Operators, *words: str) -> Any:
    """An operator signs what a command prints; its answer to the signature."""
    reason = ("--reason", "seen")
    text = (await asked(scenario, *words, *reason))["to_sign"]
    path = scenario.folder.parent / f"{'-'.join(words)}"
    path.write_text(text)
    key = str(operators.keys["ann"])
    line = ["ssh-keygen", "-q", "-Y", "sign", "-n", "chain-adapter", "-f", key, str(path)]
    await asyncio.to_thread(subprocess.run, line, check=True, timeout=60, capture_output=True)
    return await asked(scenario, *words, *reason, "--signature", f"{path}.sig")


async def until_row(scenario: Scenario, what: str, words: tuple[str, ...], **fields: Any) -> Any:
    """The first row of a list that has these fields."""
    found: list[Any] = []

    async def there() -> bool:
        rows = await asked(scenario, *words)
        found[:] = [row for row in rows if all(row[k] == v for k, v in fields.items())]
        return bool(found)

    await wait_until(what, there, 90, every_s=0.5)
    return found[0]


def fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:  # not ready: its page counts as well
        return bytes(error.read())


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


def shown_by_the_kernel(pid: int) -> list[tuple[str, bytes]]:
    found = []
    for name in ("cmdline", "environ"):
        try:
            found.append((f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()))
        except PermissionError:
            found.append((f"{name} of {pid}", b""))
    return found


@pytest.mark.timeout(420)
async def test_no_secret_leaves_its_file(scenario: Canary, operators: Operators) -> None:
    s = scenario
    native = next(iter(s.assets.values()))
    await s.deposits(4)
    await s.withdrawals(4)

    # what waits for people, and goes on
    units = int(10**native.decimals)
    to = s.stranger()
    body = {"symbol": native.name, "address_to": to, "amount": "1"}
    large = (await s.control.post("withdrawals", **body))["trans_id"]
    user = await s.control.post("users", symbol=native.name)
    await s.devnet.pay(native.name, user["address"], units)
    row = await until_row(
        s, "an order to wait for approval", ("payouts", "list"), trans_id=large, state="QUEUED"
    )
    await until_row(s, "its alarm", ("alarms", "list"), code="approval_needed")
    await signed(s, operators, "payouts", "approve", str(row["id"]))
    await until_row(s, "the credit to wait", ("alarms", "list"), code="credit_limit")
    told = await until_row(
        s, "the deposit", ("deposits", "list"), to=user["address"], state="CONFIRMED"
    )
    await signed(s, operators, "deposits", "approve", str(told["id"]))
    await until_row(
        s, "the order to be paid", ("payouts", "list"), trans_id=large, state="REPORTED"
    )  # fmt: skip
    await until_row(s, "the credit", ("deposits", "list"), to=user["address"], state="CREDITED")
    assert (await s.reader.balance(to, native.name)).amount == units

    # the kill switch
    killed = await asked(s, "kill", "--reason", "drill")
    assert killed["told_signer"] is True
    small = (await s.control.post("withdrawals", **{**body, "amount": "0.01"}))["trans_id"]
    await until_row(s, "the switch's alarm", ("alarms", "list"), code="signing_stopped")
    row = await until_row(s, "an order to wait", ("payouts", "list"), trans_id=small)
    assert (row["state"], row["held"]) == ("QUEUED", False)
    await signed(s, operators, "resume")
    await until_row(
        s, "the order to be paid", ("payouts", "list"), trans_id=small, state="REPORTED"
    )  # fmt: skip

    await s.settle()
    plan = await asked(s, "treasury", "plan")
    assert all(row["does"] != "collect" for row in plan["collections"]), "collecting is off"
    await s.collect()
    assert (await asked(s, "events", "verify"))["ok"]

    # everything that can be looked at
    said: list[tuple[str, bytes]] = []
    for path in ("/", "/metrics", "/status.json", "/health/live", "/health/ready"):
        said.append((path, await asyncio.to_thread(fetched, s.daemon.url + path)))
    for words in (
        ("status",), ("check",), ("payouts", "list"), ("payouts", "show", "1"),
        ("deposits", "list"), ("events", "list"), ("outbox", "list"), ("alarms", "list", "--all"),
        ("addresses", "list"), ("keys", "addresses"), ("policy", "show"), ("why", large),
        ("keys", "ceremony"), ("treasury", "plan"),
    ):  # fmt: skip
        status, text = await asyncio.to_thread(say, s, *words)
        assert status == 0, text
        said.append((" ".join(words), text))
    (signer,) = children(s.daemon.pid)
    for pid in (s.daemon.pid, signer):
        said += shown_by_the_kernel(pid)
    limits = Path(f"/proc/{signer}/limits").read_text()
    (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")]
    assert core == ["0", "0"], "the signer leaves no core dump"

    # errors, with the secrets at hand
    backup = s.folder / "backup"
    assert (await asyncio.to_thread(say, s, "keys", "backup", str(backup)))[0] == 0
    wrong = s.folder.parent / "wrong"
    wrong.touch(0o600)
    wrong.write_text(WORDS.replace("title", "legal") + "\n")
    for words in (
        ("keys", "import", str(wrong)),
        ("keys", "restore-check", str(backup), "--mnemonic-file", str(wrong)),
        ("keys", "restore-check", str(backup), "--passphrase-file", str(wrong)),
    ):
        status, text = await asyncio.to_thread(say, s, *words)
        assert status != 0
        said.append((" ".join(words), text))
    await s.daemon.stop()

    keys = s.folder / "keys"
    given = [keys / "passphrase", keys / "words"]
    rsa = [path for path in (s.folder / "platform").glob("*_private.pem")]
    keystore = Keystore.open(keys / "keystore.json", PASSPHRASE)
    coin_type = s.pure.info.coin_type
    wanted = [
        ("passphrase", PASSPHRASE.encode()),
        *canaries.of_words(WORDS),
        *canaries.of_keystore(keystore, coin_type, POOL),
        *(one for path in rsa for one in canaries.of_rsa(path.name, path.read_bytes())),
    ]
    keystore.close()
    texts = [*said, *canaries.files_below(s.folder, [*given, *rsa])]
    log = dict(texts)["daemon.log"]
    assert all(word in log for word in (b"signer_ready", b"stopped")), "both processes wrote it"
    found = await asyncio.to_thread(canaries.hunt, texts, wanted)
    assert not found, "\n".join(found)

    # the hunt can find: each canary stands in the file that it was given in
    where = [(path.name, path.read_bytes()) for path in (*given, *rsa)]
    caught = "\n".join(canaries.hunt(where, wanted))
    assert all(name in caught for name in ("passphrase", "words 1 to 3", "a line of its file"))
    assert canaries.hunt([("memory", json.dumps(list(WORDS.split())).encode())], wanted)
