"""Minutes of money under a SIGKILL every few seconds: nothing doubled, nothing lost.

A local EVM chain with one-second blocks, the sandbox and the daemon as processes of their own;
users deposit and withdraw, coin and token; the daemon is killed and started again. One JSON object
a line with the counts so far; at the end kills stop, everything has to come to rest, and chain and
platform are compared to the unit. Exit status 0: all agree; 1: something is doubled, lost or
different.

    .venv/bin/python tests/chaos/soak.py --minutes 10 --kill-every 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from chain_adapter import money
from chain_adapter.clock import SystemClock
from chain_adapter.demo.parts import Control, Process, command
from chain_adapter.errors import AdapterError

DEPTH = 3
SYMBOLS = ("ETH", "USDT")
REST_LIMIT_S = 180.0
MOST_OPEN = 60  # orders that wait at a time: the platform hands out twenty of a symbol


@dataclass(slots=True)
class Users:
    """What users did, for the comparison."""

    deposits: list[tuple[str, str, int]] = field(default_factory=list)  # symbol, address, units
    orders: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # trans_id -> the same


class Node:
    """JSON-RPC of the local chain, by its unlocked accounts."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url = str(ready["url"])
        self.address = str(ready["address"])
        self.assets: dict[str, dict[str, Any]] = ready["assets"]
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        await self._session.close()

    async def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with self._session.post(self.url, json=body) as answer:
            told = await answer.json()
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        return told["result"]

    @property
    def contract(self) -> str:
        return next(str(one["contract"]) for one in self.assets.values() if one["contract"])

    def decimals(self, symbol: str) -> int:
        wanted = symbol == "USDT"
        found = (one for one in self.assets.values() if bool(one["contract"]) is wanted)
        return int(next(found)["decimals"])

    async def pay(self, symbol: str, to: str, units: int) -> None:
        transaction = {"from": self.address, "to": to, "value": hex(units), "gas": hex(200_000)}
        if symbol == "USDT":
            data = f"0xa9059cbb{to[2:].lower():0>64}{units:064x}"
            transaction |= {"to": self.contract, "value": "0x0", "data": data}
        await self.rpc("eth_sendTransaction", transaction)

    async def balance(self, symbol: str, address: str) -> int:
        if symbol == "ETH":
            return int(await self.rpc("eth_getBalance", address, "latest"), 16)
        call = {"to": self.contract, "data": f"0x70a08231{address[2:].lower():0>64}"}
        return int(await self.rpc("eth_call", call, "latest"), 16)


class Soak:
    """The parts, the users, and the hand that kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.users = Users()
        self.counts: Counter[str] = Counter()
        self.stack = AsyncExitStack()
        self.node: Node
        self.control: Control
        self.daemon: Process
        self.begun = time.monotonic()
        self.clock = SystemClock()  # the pace of users and kills

    def say(self, **more: Any) -> None:
        seconds = round(time.monotonic() - self.begun, 1)
        print(json.dumps({"seconds": seconds, **self.counts, **more}), flush=True)

    # --- parts ------------------------------------------------------------------------------------

    async def open(self) -> None:
        devnet = Process(
            "devnet", ("devnet", "evm", "--listen", "127.0.0.1:0"), self.folder / "devnet.log"
        )
        await devnet.start()
        self.stack.push_async_callback(devnet.stop)
        self.node = Node(devnet.ready)
        self.stack.push_async_callback(self.node.close)
        platform = self.folder / "platform"
        sandbox = Process(
            "sandbox", ("sandbox", "--listen", "127.0.0.1:0", "--state", str(platform)),
            self.folder / "sandbox.log",
        )  # fmt: skip
        await sandbox.start()
        self.stack.push_async_callback(sandbox.stop)
        self.control = Control(sandbox.url)
        self.stack.push_async_callback(self.control.close)
        for symbol in SYMBOLS:
            await self.control.post(
                "coins", symbol=symbol, main_symbol="ETH", memo=False,
                decimals=self.node.decimals(symbol), confirmations=DEPTH,
            )  # fmt: skip
        config = self._configure(sandbox.url, platform)
        made = await command("keys", "init", "--config", str(config), "--yes", "--json")
        hot = next(row["address"] for row in made if row["role"] == "hot")
        for symbol in SYMBOLS:
            await self.node.pay(symbol, hot, 1000 * 10 ** self.node.decimals(symbol))
        self.daemon = Process(
            "daemon", ("run", "--config", str(config)), self.folder / "daemon.log"
        )
        await self.daemon.start()
        self.stack.push_async_callback(self.daemon.stop)

    def _configure(self, url: str, platform: Path) -> Path:
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        (state / "passphrase").touch(0o600)
        (state / "passphrase").write_text("soak\n")
        path = self.folder / "adapter.toml"
        path.write_text(
            f"""
[database]
url = "sqlite:///state/adapter.db"
[platform]
url = "{url}"
app_id = "{(platform / "app_id").read_text().strip()}"
private_key_file = "platform/party_a_private.pem"
platform_key_file = "platform/platform_public.pem"
[keys]
keystore = "state/keystore.json"
passphrase_file = "state/passphrase"
[console]
listen = "127.0.0.1:0"
[chains.devnet]
plugin = "evm"
confirmations = {DEPTH}
poll_interval_s = 0.2
[chains.devnet.node]
endpoints = ["{self.node.url}"]
[chains.devnet.assets.ETH]
decimals = {self.node.decimals("ETH")}
collect = false
[chains.devnet.assets.USDT]
contract = "{self.node.contract}"
decimals = {self.node.decimals("USDT")}
collect = false
"""
        )
        return path

    # --- what happens -----------------------------------------------------------------------------

    async def users_act(self) -> None:
        """One user deposits, one withdraws, each with a chance; for ever."""
        while True:
            symbol = self.random.choice(SYMBOLS)
            scale = 10 ** (self.node.decimals(symbol) - 6)
            units = self.random.randrange(1, 10**6) * scale
            if self.random.random() < 0.5:
                await self._deposit(symbol, units)
            elif self.counts["asked"] - self.counts["ended"] < MOST_OPEN:
                await self._order(symbol, units)
            await self.clock.sleep(self.random.uniform(0.05, 0.6))

    async def _deposit(self, symbol: str, units: int) -> None:
        try:
            user = await self.control.post("users", symbol=symbol)
        except AdapterError:
            return  # the pool is empty for a moment
        await self.node.pay(symbol, user["address"], units)
        self.users.deposits.append((symbol, user["address"], units))
        self.counts["deposits"] += 1

    async def _order(self, symbol: str, units: int) -> None:
        to = "0x" + self.random.randbytes(20).hex()
        made = await self.control.post(
            "withdrawals", symbol=symbol, address_to=to,
            amount=money.plain(units, self.node.decimals(symbol)),
        )  # fmt: skip
        self.users.orders[made["trans_id"]] = (symbol, to, units)
        self.counts["asked"] += 1

    async def kills(self, every_s: float) -> None:
        """SIGKILL and start again, for ever."""
        while True:
            await self.clock.sleep(self.random.uniform(0.3, 1.7) * every_s)
            await self.daemon.kill()
            self.counts["kills"] += 1
            await self.daemon.start()

    async def watches(self) -> None:
        """Counts as a line now and then; for ever."""
        while True:
            await self.clock.sleep(5)
            await self._count()
            self.say()

    async def _count(self) -> bool:
        """Whether everything has ended."""
        deposits = await self.control.get("deposits")
        orders = await self.control.get("withdrawals")
        self.counts["credited"] = sum(1 for row in deposits if row["credited"] != "0")
        self.counts["doubled"] = sum(1 for row in deposits if row["duplicate"])
        self.counts["paid"] = sum(1 for row in orders if row["state"] == "complete")
        self.counts["cancelled"] = sum(1 for row in orders if row["state"] == "cancelled")
        self.counts["ended"] = self.counts["paid"] + self.counts["cancelled"]
        return (
            self.counts["credited"] >= self.counts["deposits"]
            and self.counts["ended"] == self.counts["asked"]
        )

    async def run(self, minutes: float, every_s: float) -> None:
        """The wild part, then the quiet one."""
        tasks = [
            asyncio.create_task(self.users_act()),
            asyncio.create_task(self.kills(every_s)),
            asyncio.create_task(self.watches()),
        ]
        done, _ = await asyncio.wait(
            tasks, timeout=60 * minutes, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        if not self.daemon.is_running:
            await self.daemon.start()
        limit = time.monotonic() + REST_LIMIT_S
        while not await self._count() and time.monotonic() < limit:
            await self.clock.sleep(0.5)

    async def verdict(self) -> list[str]:
        """What is wrong, one text each."""
        wrong = []
        rows = await self.control.get("deposits")
        told: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            told.setdefault((row["symbol"], row["address_to"].lower()), []).append(row)
        for symbol, to, units in self.users.deposits:
            found = told.pop((symbol, to.lower()), [])
            total = sum(money.parse(r["credited"], self.node.decimals(symbol)) for r in found)
            if total != units or len(found) != 1:
                wrong.append(f"deposit of {units} {symbol} to {to}: credited {total}")
        wrong += [f"credited without a deposit: {key}" for key in told]
        for row in await self.control.get("withdrawals"):
            symbol, to, units = self.users.orders[row["trans_id"]]
            there = await self.node.balance(symbol, to)
            expected = units if row["state"] == "complete" else 0
            if row["state"] not in ("complete", "cancelled"):
                wrong.append(f"withdrawal {row['trans_id']} is {row['state']}")
            if there != expected:
                wrong.append(f"withdrawal {row['trans_id']}: {there} arrived, not {expected}")
        return wrong


async def soak(minutes: float, every_s: float, seed: int) -> int:
    """One run; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    one = Soak(folder, seed)
    wrong = ["it did not come to an end"]
    try:
        await one.open()
        await one.run(minutes, every_s)
        wrong = await one.verdict()
    finally:
        await one.stack.aclose()
        if wrong:
            print(f"logs and state are kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    one.say(wrong=wrong[:20], ok=not wrong)
    return 1 if wrong else 0


def main() -> int:
    """The command line; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--kill-every", type=float, default=3.0, help="seconds, on average")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    return asyncio.run(soak(given.minutes, given.kill_every, given.seed))


if __name__ == "__main__":
    sys.exit(main())
