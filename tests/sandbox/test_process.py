"""The sandbox as its own process: ready line, signals, restarts, hard kills."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from Crypto.PublicKey import RSA

from chain_adapter.errors import ConfigError, KeyFileError, SchemaMismatch
from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import STATE_FILES, Operator, PartyA

PartyOf = Callable[[str, Path], PartyA]
OperatorOf = Callable[[str], Operator]


@dataclass
class Running:
    process: asyncio.subprocess.Process
    url: str

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 20)


@contextlib.asynccontextmanager
async def started(state: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chain_adapter.sandbox", "--listen", listen, "--state", str(state),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        ready = json.loads(line)
        assert ready["event"] == "ready"
        yield Running(process, ready["url"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_sigterm_ends_with_0_and_says_nothing_more(
    state: Path, operator_of: OperatorOf
) -> None:
    async with started(state) as running:
        assert running.url.startswith("http://127.0.0.1:")
        await operator_of(running.url).coin("VLX")
        assert await running.end(signal.SIGTERM) == 0
        assert running.process.stdout is not None
        assert await running.process.stdout.read() == b""


async def test_a_first_start_makes_the_files(tmp_path: Path, party_of: PartyOf) -> None:
    state = tmp_path / "not" / "there"
    async with started(state) as running:
        party = party_of(running.url, state)
        assert (await party.available("VLX")).code == 100009
        await running.end(signal.SIGTERM)
    contents = {name: (state / name).read_bytes() for name in STATE_FILES}
    for side in ("party_a", "platform"):
        private = contents[f"{side}_private.pem"]
        assert private.startswith(b"-----BEGIN PRIVATE KEY-----")
        assert stat.S_IMODE((state / f"{side}_private.pem").stat().st_mode) == 0o600
        assert contents[f"{side}_public.pem"].startswith(b"-----BEGIN PUBLIC KEY-----")
        key = RSA.import_key(private)
        assert key.size_in_bits() == 2048
        assert key.public_key() == RSA.import_key(contents[f"{side}_public.pem"])
    async with Sandbox(state) as again:
        assert again.app_id == contents["app_id"].decode().strip()
    assert {name: (state / name).read_bytes() for name in STATE_FILES} == contents


async def test_only_a_public_key_of_party_a_is_enough(
    state: Path, keys: Path, party_of: PartyOf
) -> None:
    (state / "party_a_private.pem").unlink()
    async with Sandbox(state) as sandbox:
        assert not (state / "party_a_private.pem").exists()
        party = party_of(sandbox.url, keys)
        assert (await party.available("VLX")).code == 100009


async def test_a_half_made_pair_is_completed(state: Path) -> None:
    before = RSA.import_key((state / "platform_public.pem").read_bytes())
    (state / "platform_public.pem").unlink()
    async with Sandbox(state):
        assert RSA.import_key((state / "platform_public.pem").read_bytes()) == before


async def test_keys_that_cannot_be_used_are_clear_errors(state: Path, tmp_path: Path) -> None:
    public = state / "platform_public.pem"
    good = public.read_bytes()
    public.write_bytes((state / "party_a_public.pem").read_bytes())
    with pytest.raises(ConfigError, match="platform_public"):
        await Sandbox(state).start()
    public.write_bytes(b"garbage")
    with pytest.raises(KeyFileError, match="platform"):
        await Sandbox(state).start()
    public.write_bytes(good)
    (state / "platform_private.pem").unlink()
    with pytest.raises(ConfigError, match="private key"):
        await Sandbox(state).start()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        await Sandbox(tmp_path / "file").start()


async def test_two_on_one_state_are_refused(state: Path) -> None:
    async with started(state):
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chain_adapter.sandbox",
            "--listen", "127.0.0.1:0", "--state", str(state),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(second.communicate(), 30)
        assert (second.returncode, out) == (2, b"")
        assert b"another sandbox" in err and b"Traceback" not in err


async def test_wrong_use_exits_2(state: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chain_adapter.sandbox", "--listen", "x", "--state", str(state),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2 and b"HOST:PORT" in err


async def test_books_of_another_version_are_refused(state: Path) -> None:
    async with Sandbox(state):
        pass
    with contextlib.closing(sqlite3.connect(state / "sandbox.db")) as books:
        books.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaMismatch, match="99"):
        await Sandbox(state).start()


async def snapshot(control: Operator) -> dict[str, object]:
    paths = ("coins", "users", "withdrawals", "deposits", "internal", "faults", "behaviour")
    return {path: await control.get(path) for path in (*paths, "addresses?symbol=VLX")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_everything_survives(
    state: Path, party_of: PartyOf, operator_of: OperatorOf, number: signal.Signals
) -> None:
    async with started(state) as running:
        party, control = party_of(running.url, state), operator_of(running.url)
        await control.coin("VLX")
        await party.register("VLX", "a", "b")
        user = await control.user()
        await party.deposit("r1", user["address"], amount=1.5)
        ids = [int(await control.order()) for _ in range(3)]
        await party.notify(ids[0])
        await party.cancel(ids[1])
        await party.internal("I1")
        await control.rule("trans_id_form", "string")
        await control.fault("address/available", "html", times=5)
        await control.fault("withdraw/consume", "error_code", times=2)
        assert (await party.consume()).code == 100002
        before = await snapshot(control)
        await running.end(number)
    async with started(state) as running:
        party, control = party_of(running.url, state), operator_of(running.url)
        assert await snapshot(control) == before
        assert (await party.consume()).code == 100002
        orders = (await party.consume()).payload
        assert [order["trans_id"] for order in orders] == [str(ids[2])]
        assert int(await control.order()) > ids[2]


async def test_earlier_answers_survive_a_restart(
    state: Path, party_of: PartyOf, operator_of: OperatorOf
) -> None:
    async with started(state) as running:
        party, control = party_of(running.url, state), operator_of(running.url)
        await control.coin("VLX")
        earlier = await party.available("VLX")
        await running.end(signal.SIGTERM)
    async with started(state) as running:
        await operator_of(running.url).fault("address/available", "replay")
        assert (await party_of(running.url, state).available("VLX")).body == earlier.body


@dataclass
class Load:
    """Four clients that tell deposits and order withdrawals until the process is gone."""

    told: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    answers: int = 0

    async def lane(self, party: PartyA, control: Operator, name: str, deposits: bool) -> None:
        for number in itertools.count():
            request_id = f"{name}-{number}"
            if not deposits:
                self.ordered.add(await control.order())
            elif (await party.deposit(request_id, "a", txid=request_id)).code == 0:
                self.told.add(request_id)
            self.answers += 1

    async def until(self, answers: int) -> None:
        while self.answers < answers:
            await asyncio.sleep(0)


async def test_what_was_answered_survives_a_kill_at_any_moment(
    state: Path, party_of: PartyOf, operator_of: OperatorOf
) -> None:
    chance = random.Random(7)
    load = Load()
    async with started(state) as running:
        await operator_of(running.url).coin("VLX")
        await party_of(running.url, state).register("VLX", "a")
    for kill in range(6):
        async with started(state) as running:
            party, control = party_of(running.url, state), operator_of(running.url)
            lanes = [
                asyncio.create_task(load.lane(party, control, f"{kill}-{lane}", lane % 2 == 0))
                for lane in range(4)
            ]
            enough = load.answers + chance.randrange(5, 40)
            await asyncio.wait_for(load.until(enough), 60)
            os.kill(running.process.pid, signal.SIGKILL)
            ends = await asyncio.wait_for(asyncio.gather(*lanes, return_exceptions=True), 30)
            assert all(isinstance(end, aiohttp.ClientError) for end in ends), ends
            await running.process.wait()
    async with started(state) as running:
        control = operator_of(running.url)
        deposits = await control.get("deposits")
        assert load.told <= {row["request_id"] for row in deposits}
        assert all(row["credited"] == "1" for row in deposits)
        (user,) = await control.get("users")
        assert user["balances"] == {"VLX": str(len(deposits))}
        assert load.ordered <= {row["trans_id"] for row in await control.get("withdrawals")}
    assert len(load.told) > 20 and len(load.ordered) > 20


async def test_an_embedded_one_stops_and_starts_again(
    state: Path, party_of: PartyOf, operator_of: OperatorOf
) -> None:
    sandbox = Sandbox(state)
    await sandbox.start()
    await operator_of(sandbox.url).coin("VLX")
    port = sandbox.url.rpartition(":")[2]
    await sandbox.stop()
    async with Sandbox(state, f"127.0.0.1:{port}") as again:
        assert again.url == sandbox.url
        assert (await party_of(again.url, state).available("VLX")).code == 0


async def test_a_slow_answer_does_not_hold_up_the_end(
    state: Path, party_of: PartyOf, operator_of: OperatorOf
) -> None:
    async with started(state) as running:
        party, control = party_of(running.url, state), operator_of(running.url)
        await control.coin("VLX")
        await control.fault("address/available", "latency", seconds=600)
        slow = asyncio.create_task(party.available("VLX"))
        while await control.get("faults"):
            await asyncio.sleep(0)
        assert await running.end(signal.SIGTERM) == 0
        with pytest.raises(aiohttp.ClientError):
            await slow
