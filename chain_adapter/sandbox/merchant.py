"""A merchant for the sandbox: its users, its books, and the product's own callback library.

    python -m chain_adapter.sandbox.merchant --listen 127.0.0.1:9300 --platform URL --state DIR

start -> own key pair -> introduces itself to the platform -> serves the callbacks -> `sync`, once
and every `--sync-s` seconds. Books are one SQLite file; an event is booked in the transaction that
marks it, so whatever is delivered how often, the books hold it once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import aiohttp
from aiohttp import web

from chain_adapter.callbacks import (
    Approved,
    ConfirmRequest,
    Decision,
    HandOff,
    MerchantCallRefused,
    MerchantClient,
    Refused,
    SqliteStore,
    Sync,
    UuWallet,
    UuWalletCallbacks,
    WaasCallbacks,
    WaasV2,
    load_private_key,
    load_public_key,
)
from chain_adapter.callbacks.handler import (
    CONFIRM_PATH,
    NOTIFY_PATH,
    UU_CONFIRM_PATH,
    UU_NOTIFY_PATH,
)
from chain_adapter.errors import AdapterError, ConfigError, PlatformUnreachable
from chain_adapter.platform_api.envelope import generate_pair
from chain_adapter.sandbox import merchant_till as till
from chain_adapter.sandbox.control import Impossible, answered
from chain_adapter.sandbox.merchant_books import DIALECTS, UUWALLET, WAAS_V2
from chain_adapter.sandbox.server import parse_listen
from chain_adapter.sandbox.wire import Fields, loads

T = TypeVar("T")
APP_ID = "sandbox-merchant"


class Merchant:
    """`async with Merchant(...) as shop:` serves at `shop.url`."""

    def __init__(
        self,
        platform: str,
        state: Path,
        listen: str = "127.0.0.1:0",
        dialect: str = WAAS_V2,
        sync_s: float = 0.0,
    ) -> None:
        self.url = ""
        self._platform = platform.rstrip("/")
        self._state = state
        self._host, self._port = parse_listen(listen)
        self._dialect = dialect
        self._sync_s = sync_s
        self._stack = AsyncExitStack()
        self._refusing: str | None = None
        self._sync: Sync | None = None

    async def __aenter__(self) -> Merchant:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *gone: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        private, public = await asyncio.to_thread(_own_pair, self._state)
        self.store = SqliteStore(self._state / "merchant.db")
        self._stack.push_async_callback(self.store.close)
        await self.store.write(till.make_tables)
        timeout = aiohttp.ClientTimeout(total=30)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout)
        )
        # The platform must be told a URL before the keys are known that the handlers need: until
        # they serve, its calls wait in the socket's queue.
        listener = _listener(self._host, self._port)
        self._stack.callback(listener.close)
        self.url = f"http://{self._host}:{listener.getsockname()[1]}"
        told = await self._introduce(public)
        hand_off = HandOff(self.store, apply=till.book)
        app = web.Application()
        app.router.add_routes(self._routes())
        platform_key = load_public_key(told["platform_public_key"].encode())
        dialect = WaasV2(told["app_id"], load_private_key(private), platform_key)
        self.client = MerchantClient(self._session, self._platform, dialect)
        if self._dialect == UUWALLET:
            uu_key = load_public_key(told["uuwallet_public_key"].encode())
            uu = UuWallet(told["api_key"], uu_key)
            app.add_routes(UuWalletCallbacks(uu, hand_off, self.confirm).routes())
        else:
            app.add_routes(WaasCallbacks(dialect, hand_off, self.confirm).routes())
            # The sync lists are of this dialect: under the other one's keys they would count anew.
            self._sync = Sync(self.client, hand_off, self.store)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener).start()
        if self._sync is not None:
            task = asyncio.create_task(self._keep_in_step(self._sync))
            self._stack.push_async_callback(_ended, task)

    async def _introduce(self, public: bytes) -> dict[str, str]:
        """Tell the platform who and where we are; its answer has what we need of it."""
        uu = self._dialect == UUWALLET
        fields = {
            "dialect": self._dialect,
            "notify_url": self.url + (UU_NOTIFY_PATH if uu else NOTIFY_PATH),
            "confirm_url": self.url + (UU_CONFIRM_PATH if uu else CONFIRM_PATH),
            "app_id": APP_ID,
            "public_key": public.decode("ascii"),
        }
        try:
            async with self._session.post(
                f"{self._platform}/sandbox/merchant", json=fields
            ) as answer:
                if answer.status != 200:
                    text = (await answer.text())[:200]
                    raise PlatformUnreachable(f"{self._platform}: HTTP {answer.status}: {text}")
                told: dict[str, str] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PlatformUnreachable(f"{self._platform}: {error}") from None
        return told

    async def _keep_in_step(self, sync: Sync) -> None:
        while True:
            try:
                await sync()
            except (PlatformUnreachable, MerchantCallRefused) as error:
                print(f"merchant: sync: {error}", file=sys.stderr, flush=True)
            if not self._sync_s:
                return
            await asyncio.sleep(self._sync_s)

    # --- second confirmation

    async def confirm(self, request: ConfirmRequest) -> Decision:
        """Yes to what our own books asked for, with what they say about it."""
        if self._refusing is not None:
            return Refused(self._refusing)
        order = await self.store.read(lambda db: till.find_order(db, request.request_id))
        if order is None:
            return Refused("no such withdrawal in the merchant's books")
        if order["state"] not in ("asked", "placed"):
            return Refused(f"the withdrawal is {order['state']}")
        if request.user_id != order["uid"]:
            return Refused("another user's withdrawal")
        return Approved(
            address=str(order["address"]),
            chain=str(order["chain"]),
            symbol=str(order["symbol"]),
            amount=str(order["amount"]),
        )

    # --- what a shop assistant does, over HTTP

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/books", answered(self.books)),
            web.post("/users", answered(self.new_user)),
            web.post("/withdrawals", answered(self.withdraw)),
            web.post("/sync", answered(self.sync_now)),
            web.post("/refuse", answered(self.refuse)),
        ]

    async def books(self, request: web.Request) -> object:
        """Balances, deposits, withdrawals: decimal texts, summed exactly."""
        return await self.store.read(till.listing)

    async def new_user(self, request: web.Request) -> object:
        """`{name, symbol}` -> `{user, uid, address}`; the same name is the same user."""
        fields = Fields(loads(await request.read()))
        fields.only("name", "symbol")
        name, symbol = fields.text("name", longest=80), fields.text("symbol")
        uid = await _asked(self.client.register_email(f"{name}@shop.invalid"))
        address = await _asked(self.client.deposit_address(uid, symbol))
        await self.store.write(lambda db: till.put_user(db, name, uid, symbol, address))
        return {"user": name, "uid": uid, "address": address}

    async def withdraw(self, request: web.Request) -> object:
        """`{request_id, user, symbol, amount, address, chain?}`: frozen first, then asked for."""
        fields = Fields(loads(await request.read()))
        fields.only("request_id", "user", "symbol", "amount", "address", "chain")
        request_id, symbol = fields.text("request_id", longest=64), fields.text("symbol")
        name, amount = fields.text("user"), fields.number("amount")
        address, chain = fields.text("address"), fields.optional_text("chain") or symbol
        try:
            uid = await self.store.write(
                lambda db: till.freeze(db, request_id, name, symbol, str(amount), address, chain)
            )
        except till.TillRefused as error:
            raise Impossible(409, str(error)) from None
        call = self.client.withdraw(request_id, uid, symbol, str(amount), address)
        try:
            record_id = await _asked(call)
        except Impossible as error:
            if error.status == 409:  # the platform said no: nothing was ordered
                await self.store.write(lambda db: till.unfreeze(db, request_id, "refused"))
            raise
        await self.store.write(lambda db: till.placed(db, request_id))
        return {"request_id": request_id, "id": record_id}

    async def sync_now(self, request: web.Request) -> object:
        """Follow the sync lists now; what they brought."""
        if self._sync is None:
            raise Impossible(409, "this dialect has no sync lists")
        done = await _asked(self._sync())
        return {"handed_on": done.handed_on, "known": done.known, "open": done.open,
                "refused": list(done.refused)}  # fmt: skip

    async def refuse(self, request: web.Request) -> object:
        """`{reason}`: refuse every second confirmation from now on; null ends it."""
        fields = Fields(loads(await request.read()))
        fields.only("reason")
        self._refusing = fields.optional_text("reason") or None
        return {}


async def _asked(call: Awaitable[T]) -> T:
    """The platform's answer; its refusal is 409, its silence 502."""
    try:
        return await call
    except MerchantCallRefused as error:
        raise Impossible(409, str(error)) from None
    except PlatformUnreachable as error:
        raise Impossible(502, str(error)) from None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _own_pair(state: Path) -> tuple[bytes, bytes]:
    """(private, public) PEM; made the first time, the private one last."""
    private, public = state / "merchant_private.pem", state / "merchant_public.pem"
    if not private.exists():
        made = generate_pair()
        public.write_bytes(made[1])
        draft = private.with_suffix(".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(made[0])
            file.flush()
            os.fsync(handle)
        draft.rename(private)
    return private.read_bytes(), public.read_bytes()


async def _serve(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Merchant(
        given.platform, given.state, given.listen, given.dialect, given.sync_s
    ) as merchant:
        print(json.dumps({"event": "ready", "url": merchant.url}), flush=True)
        await stop.wait()


def main() -> int:
    """The command: prints one ready line, ends on SIGTERM with 0."""
    parser = argparse.ArgumentParser(
        prog="python -m chain_adapter.sandbox.merchant", description="a merchant for the sandbox"
    )
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--platform", required=True, metavar="URL", help="the sandbox")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR")
    parser.add_argument("--dialect", default=WAAS_V2, choices=DIALECTS)
    parser.add_argument(
        "--sync-s", type=float, default=0.0, help="follow the sync lists so often; 0: at start only"
    )
    try:
        asyncio.run(_serve(parser.parse_args()))
    except AdapterError as error:
        print(f"merchant: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
