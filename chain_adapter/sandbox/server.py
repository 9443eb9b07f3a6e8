"""The sandbox as one server: keys, books, the seven calls, the control API.

`Sandbox` embeds it in a test, `serve` runs it until told to stop, `main` is the command. The
control API is there only where the listener is a loopback address.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from aiohttp import web

from chain_adapter.errors import AdapterError, ConfigError
from chain_adapter.platform_api.envelope import Envelope
from chain_adapter.sandbox import behaviour, faults
from chain_adapter.sandbox.control import Control, answered, not_found
from chain_adapter.sandbox.faults import FaultQueue
from chain_adapter.sandbox.identity import Identity, open_identity, stranger
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.merchant_side import MerchantSide
from chain_adapter.sandbox.pages import Pages
from chain_adapter.sandbox.wapi import Wapi

_MAX_BODY = 8 * 1024 * 1024  # bytes
_DRAIN_S = 0.5


class Sandbox:
    """`async with Sandbox(state) as platform:` gives a platform at `platform.url`.

    `url` is known after `start`. Files of `state`: `app_id`, `party_a_private.pem`,
    `party_a_public.pem`, `platform_private.pem`, `platform_public.pem`, and the books.
    """

    def __init__(self, state: Path, listen: str = "127.0.0.1:0") -> None:
        self.state = state
        self.url = ""
        self.app_id = ""
        self._host, self._port = parse_listen(listen)
        self._ledger: Ledger | None = None
        self._merchant: MerchantSide | None = None
        self._pages: Pages | None = None
        self._runner: web.AppRunner | None = None

    @property
    def party_a_private_file(self) -> Path:
        return self.state / "party_a_private.pem"

    @property
    def platform_public_file(self) -> Path:
        return self.state / "platform_public.pem"

    async def start(self) -> None:
        """Listen. Raises `ConfigError`, `KeyFileError`, `SchemaMismatch`."""
        identity = await asyncio.to_thread(open_identity, self.state)
        self.app_id = identity.app_id
        rule = behaviour.defaults()
        ledger = Ledger(self.state, rule)
        ledger.start()
        self._ledger = ledger
        try:
            await self._listen(identity, ledger, rule)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening, let running calls end, close the books."""
        if self._runner is not None:
            if self._merchant is not None:
                self._merchant.feed.close()  # an open page must not hold the server
            await self._runner.cleanup()
            self._runner = None
        if self._pages is not None:
            await self._pages.close()
            self._pages = None
        if self._merchant is not None:
            await self._merchant.stop()
            self._merchant = None
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.stop)
            self._ledger = None

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _listen(self, identity: Identity, ledger: Ledger, rule: dict[str, str]) -> None:
        queue = FaultQueue(ledger)
        queue.load(await ledger.run(faults.stored))
        known = await ledger.run(_stored_rules)
        rule.update({name: value for name, value in known.items() if name in rule})

        @functools.cache
        def other() -> Envelope:
            return stranger(identity, self.state)

        wapi = Wapi(ledger, rule, queue, identity.app_id, identity.envelope, other)
        merchant = MerchantSide(ledger, self.state, identity.app_id)
        await merchant.start()
        self._merchant = merchant
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[merchant.middleware])
        app.router.add_post("/api/v1/{path:.*}", wapi.handle)
        app.router.add_routes(merchant.api_routes())
        if is_loopback(self._host):
            app.router.add_routes(Control(ledger, rule, queue).routes())
            app.router.add_routes(merchant.control_routes())
            pages = Pages(ledger, merchant.feed, lambda: merchant.settings)
            await pages.load()
            self._pages = pages
            app.router.add_routes(pages.routes())
            app.router.add_route("*", "/sandbox/{rest:.*}", answered(not_found))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_DRAIN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}"
            ) from None
        port = self._runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{port}"


def _stored_rules(books: Books) -> dict[str, str]:
    rows = books.all("SELECT rule, value FROM behaviour")
    return {row["rule"]: row["value"] for row in rows}


def parse_listen(listen: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT`. Raises `ConfigError`."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"--listen {listen!r} is not HOST:PORT; for example 127.0.0.1:9100")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve(
    listen: str, state_dir: Path, stop: asyncio.Event, ready: Callable[[str], None] | None = None
) -> None:
    """Run until `stop` is set; `ready` is called with the URL once it listens."""
    async with Sandbox(state_dir, listen) as sandbox:
        if ready is not None:
            ready(sandbox.url)
        await stop.wait()


def _say_ready(url: str) -> None:
    print(json.dumps({"event": "ready", "url": url}), flush=True)


async def _until_signal(listen: str, state: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(listen, state, stop, _say_ready)


def main(listen: str, state: Path) -> int:
    """The command: the exit status. Prints one ready line, ends on SIGTERM with 0."""
    try:
        asyncio.run(_until_signal(listen, state))
    except AdapterError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return error.exit_status
    return 0
