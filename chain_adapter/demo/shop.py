"""The merchant's shop in the demo: its process, asked over HTTP, and a bad line to it.

platform -> (bad line: four ways to fail, then none) -> merchant process -> its books
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from chain_adapter.demo.parts import Process
from chain_adapter.errors import AdapterError

NOTIFY_PATH = "/callbacks/notify"
FAILURES = 4  # of five tries


class Shop:
    """A merchant process that can be killed and started again on the same books."""

    def __init__(self, platform_url: str, folder: Path) -> None:
        self._process = Process(
            "merchant",
            ("--listen", "127.0.0.1:0", "--platform", platform_url,
             "--state", str(folder / "shop")),
            folder / "merchant.log",
            module="chain_adapter.sandbox.merchant",
        )  # fmt: skip
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    @property
    def url(self) -> str:
        return self._process.url

    async def start(self) -> None:
        """Start it; it introduces itself to the platform and follows the sync lists once."""
        await self._process.start()

    async def kill(self) -> None:
        """SIGKILL, at once."""
        await self._process.kill()

    async def close(self) -> None:
        """SIGTERM, and the session with it."""
        await self._process.stop()
        await self._session.close()

    async def books(self) -> dict[str, Any]:
        """The merchant's books: decimal texts."""
        return await self._ask("GET", "books", None)

    async def ask(self, path: str, /, **body: Any) -> dict[str, Any]:
        """One POST. Raises `AdapterError` for a refusal."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        async with self._session.request(method, f"{self.url}/{path}", json=body) as answer:
            if answer.status != 200:
                text = (await answer.text())[:300]
                raise AdapterError(f"merchant answered {answer.status} to /{path}: {text}")
            told: dict[str, Any] = await answer.json()
            return told


class BadLine:
    """Stands before the merchant: an HTML error, FAILURE, a line cut before it and one cut after.

    The fourth try reaches the merchant and only its answer is lost: the fifth must not book twice.
    """

    def __init__(self, shop: Shop) -> None:
        self.url = ""
        self.calls = 0
        self._target = shop.url + NOTIFY_PATH
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Serve; `url` is what the platform is told."""
        app = web.Application()
        app.router.add_post(NOTIFY_PATH, self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{NOTIFY_PATH}"

    async def close(self) -> None:
        """End serving; safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        self.calls += 1
        if self.calls == 1:
            return web.Response(
                status=502, text="<html><h1>Bad Gateway</h1></html>", content_type="text/html"
            )
        if self.calls == 2:
            return web.Response(text="FAILURE")
        raw, answer = await request.read(), web.Response()
        if self.calls >= FAILURES:
            headers = {"Content-Type": request.headers["Content-Type"]}
            async with self._session.post(self._target, data=raw, headers=headers) as told:
                answer = web.Response(status=told.status, body=await told.read())
        if self.calls <= FAILURES and request.transport is not None:
            request.transport.abort()
        return answer
