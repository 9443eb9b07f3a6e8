"""Real parts: anvil, the sandbox and the daemon as processes, and a relay that bends the node.

The configuration is the one that docs and harnesses use; the daemon runs through its command.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web

from chain_adapter import money
from chain_adapter.demo.parts import Control, Process, command, wait_until
from chain_adapter.errors import AdapterError
from chain_adapter_evm.devnet import AnvilDevnet

BLOCK_S = 0.2
DEPTH = 3
DECIMALS = {"ETH": 18, "USDT": 6}


class Relay:
    """Between daemon and node. `bend` names what becomes of the answers; None: nothing."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.bend: str | None = None
        self.bent = 0
        self._runner: web.AppRunner
        self._session: aiohttp.ClientSession
        self.url = ""

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self.bend is None:
            return await self._pass(raw)
        self.bent += 1
        if self.bend == "html":
            return web.Response(text="<html>busy</html>", content_type="text/html")
        if self.bend == "429":
            return web.Response(status=429, headers={"Retry-After": "1"}, text="slow down")
        if self.bend == "500":
            return web.Response(status=500, text="oops")
        if self.bend == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        whole = await self._pass(raw)
        assert isinstance(whole.body, bytes)
        if self.bend == "truncated":
            return web.Response(body=whole.body[: len(whole.body) // 2],
                                content_type="application/json")  # fmt: skip
        if self.bend == "empty":
            return web.Response(body=b"", content_type="application/json")
        assert self.bend == "nulls"
        answer = json.loads(whole.body)
        rows = answer if isinstance(answer, list) else [answer]
        for row in rows:
            row["result"] = None
        return web.json_response(answer)

    async def _pass(self, raw: bytes) -> web.Response:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self.target, data=raw, headers=headers) as answer:
            return web.Response(
                body=await answer.read(), status=answer.status, content_type="application/json"
            )


class Real:
    """`async with` starts everything but the daemon; `daemon` is started by `start`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = random.Random(11)
        self.stack = AsyncExitStack()
        self.devnet: AnvilDevnet
        self.relay: Relay
        self.control: Control
        self.daemon: Process
        self.hot = ""
        self.config = folder / "adapter.toml"
        self.paid_in: list[tuple[str, str, int]] = []  # symbol, address, units
        self.orders: dict[str, tuple[str, str, int]] = {}  # trans_id -> symbol, address, units

    async def __aenter__(self) -> Real:
        try:
            await self._open()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stack.aclose()

    async def _open(self) -> None:
        self.devnet = await AnvilDevnet.start("127.0.0.1:0")
        self.stack.push_async_callback(self.devnet.close)
        self.relay = Relay(self.devnet.url)
        await self.relay.start()
        self.stack.push_async_callback(self.relay.close)
        platform = Process(
            "sandbox",
            ("sandbox", "--listen", "127.0.0.1:0", "--state", str(self.folder / "platform")),
            self.folder / "sandbox.log",
        )
        await platform.start()
        self.stack.push_async_callback(platform.stop)
        self.control = Control(platform.url)
        self.stack.push_async_callback(self.control.close)
        for symbol, decimals in DECIMALS.items():
            await self.control.post(
                "coins", symbol=symbol, main_symbol="ETH", memo=False, decimals=decimals,
                confirmations=DEPTH,
            )  # fmt: skip
        self._configure(platform.url)
        made = await command("keys", "init", "--config", str(self.config), "--yes", "--json")
        self.hot = next(row["address"] for row in made if row["role"] == "hot")
        await self.devnet.pay("ETH", self.hot, 100 * 10**18)
        await self.devnet.pay(self._token, self.hot, 10_000 * 10**6)
        await self.devnet.mine(1)
        await self.devnet.automine(BLOCK_S)
        self.daemon = Process(
            "daemon", ("run", "--config", str(self.config)), self.folder / "daemon.log"
        )
        self.stack.push_async_callback(self.daemon.stop)

    @property
    def _token(self) -> str:
        return next(one.name for one in self.devnet.assets.values() if one.contract is not None)

    def _configure(self, platform_url: str) -> None:
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        (state / "passphrase").touch(0o600)
        (state / "passphrase").write_text("a passphrase\n")
        platform = self.folder / "platform"
        contract = self.devnet.assets[self._token].contract
        self.config.write_text(
            f"""
[database]
url = "sqlite:///state/adapter.db"
[platform]
url = "{platform_url}"
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
endpoints = ["{self.relay.url}"]
traces = "auto"
[chains.devnet.assets.ETH]
decimals = 18
[chains.devnet.assets.USDT]
contract = "{contract}"
decimals = 6
min_deposit = "0"
balance_proof = "when_possible"
"""
        )

    async def start(self) -> None:
        """The daemon, and a pool that has addresses."""
        await self.daemon.start()
        await wait_until("addresses", self._has_pool, 60)

    async def _has_pool(self) -> bool:
        return len(await self.control.get("addresses?symbol=ETH")) >= 40

    async def command(self, *words: str) -> tuple[int, str]:
        """A command of the program; status and standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chain_adapter.cli", *words, "--config", str(self.config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return int(process.returncode or 0), (out + err).decode()

    # --- users ------------------------------------------------------------------------------------

    async def deposit(self, symbol: str = "ETH") -> None:
        units = self.random.randrange(1, 10**6) * 10 ** (DECIMALS[symbol] - 6)
        user = await self.control.post("users", symbol=symbol)
        name = symbol if symbol == "ETH" else self._token
        await self.devnet.pay(name, user["address"], units)
        self.paid_in.append((symbol, user["address"], units))

    async def order(self, symbol: str = "ETH") -> str:
        units = self.random.randrange(1, 10**6) * 10 ** (DECIMALS[symbol] - 6)
        to = "0x" + self.random.randbytes(20).hex()
        made = await self.control.post(
            "withdrawals", symbol=symbol, address_to=to,
            amount=money.plain(units, DECIMALS[symbol]),
        )  # fmt: skip
        self.orders[made["trans_id"]] = (symbol, to, units)
        return str(made["trans_id"])

    # --- the truth --------------------------------------------------------------------------------

    async def at_rest(self, limit_s: float = 60) -> None:
        """Wait until all is credited and every order has ended; then compare. Raises
        `AssertionError`."""
        try:
            await wait_until("rest", self._rests, limit_s, every_s=0.2)
        except AdapterError:
            rows = [r for r in await self.control.get("withdrawals") if r["state"] != "complete"]
            raise AssertionError(
                f"not at rest: {await self._missing()} of the deposits lack, {rows}\n"
                f"{self.daemon.tail(30)}"
            ) from None
        await self.compare()

    async def _missing(self) -> int:
        rows = await self.control.get("deposits")
        credited = {(row["symbol"], row["address_to"]) for row in rows if row["credited"] != "0"}
        return sum(1 for symbol, to, _ in self.paid_in if (symbol, to) not in credited)

    async def _rests(self) -> bool:
        rows = await self.control.get("withdrawals")
        ended = all(row["state"] in ("complete", "cancelled") for row in rows)
        return ended and not await self._missing()

    async def compare(self) -> None:
        """Nothing doubled, nothing lost, to the unit."""
        rows = await self.control.get("deposits")
        assert not [row for row in rows if row["duplicate"]], "a deposit was told twice"
        told = {(row["symbol"], row["address_to"]): row for row in rows}
        assert len(told) == len(rows) == len(self.paid_in)
        for symbol, to, units in self.paid_in:
            row = told[symbol, to]
            assert money.parse(row["credited"], DECIMALS[symbol]) == units, row
        for row in await self.control.get("withdrawals"):
            symbol, to, units = self.orders[row["trans_id"]]
            there = await self._balance(symbol, to)
            assert there == (units if row["state"] == "complete" else 0), (row, there)

    async def _balance(self, symbol: str, address: str) -> int:
        if symbol == "ETH":
            return int(await self.devnet.rpc("eth_getBalance", address, "latest"), 16)
        data = "0x70a08231" + address[2:].rjust(64, "0")
        contract = self.devnet.assets[self._token].contract
        call = {"to": contract, "data": data}
        return int(await self.devnet.rpc("eth_call", call, "latest"), 16)
