"""Health, metrics and the page over HTTP.

`Site` serves whatever a `StatusSource` says; `Console` is the daemon's: a site over its books and
its loops. Every answer is a read; nothing can be changed here.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from chain_adapter.config import Config, ConsoleConfig
from chain_adapter.console.health import Progress
from chain_adapter.console.page import STYLE, page
from chain_adapter.console.status import Status, read_status
from chain_adapter.core.alarms import CODES
from chain_adapter.errors import ConfigError, StoreError
from chain_adapter.store.store import Store
from chain_adapter.telemetry import METRICS, Metrics, redact
from chain_adapter.telemetry.metrics import CONTENT_TYPE

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class StatusSource(Protocol):
    """What the site asks for; a test answers with a value."""

    async def status(self) -> Status: ...


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Guarantees: answers within its source's time; an answer never changes anything."""

    def __init__(
        self,
        config: ConsoleConfig,
        source: StatusSource,
        *,
        metrics: Metrics = METRICS,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._source = source
        self._metrics = metrics
        self._now_s = now_s
        self._progress = Progress(config.unsent_limit_s)
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; the URL. Raises `ConfigError` when the address is taken."""
        app = web.Application(middlewares=[_guarded])
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/status.json", self._document)
        app.router.add_get("/style.css", self._style)
        app.router.add_get("/", self._page)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        listen = self._config.listen
        site = web.TCPSite(self._runner, listen.host, listen.port)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise ConfigError(
                f"console.listen: cannot listen on {listen}: {error.strerror or error}"
            ) from None
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _seen(self) -> tuple[Status, list[str]]:
        status = await self._source.status()
        return status, self._progress.reasons(status, self._now_s())

    async def _live(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        try:
            reasons = (await self._seen())[1]
        except StoreError as error:
            reasons = [f"the books cannot be read: {error}"]
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _document(self, _: web.Request) -> web.Response:
        status, reasons = await self._seen()
        return _json({**status.document(), "ready": not reasons, "reasons": reasons})

    async def _style(self, _: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def _page(self, _: web.Request) -> web.Response:
        status, reasons = await self._seen()
        return web.Response(text=page(status, reasons), content_type="text/html")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        status, reasons = await self._seen()
        show(self._metrics, status, ready=not reasons)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def show(metrics: Metrics, status: Status, *, ready: bool) -> None:
    """Put what was read into the gauges."""
    metrics.ready.set(ready)
    for name, chain in status.chains.items():
        metrics.paused.labels(name).set(chain.paused is not None)
        metrics.queued.labels(name).set(chain.queued)
        metrics.held.labels(name).set(chain.held)
        metrics.unsent.labels(name).set(chain.unsent)
        metrics.oldest_unsent_seconds.labels(name).set(chain.oldest_unsent_s or 0)
        for gauge, figure in (
            (metrics.tip_height, chain.tip),
            (metrics.head_height, chain.head),
            (metrics.lag_seconds, chain.lag_s),
            (metrics.pool, chain.pool),
        ):
            if figure is not None:
                gauge.labels(name).set(figure)
    metrics.alarms.clear()
    for code, one in CODES.items():
        metrics.alarms.labels(code, one.severity).set(0)
    for alarm in status.alarms:
        metrics.alarms.labels(alarm.code, alarm.severity).inc()


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.json_response(
        document, status=status, dumps=lambda thing: json.dumps(thing, default=str)
    )


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except StoreError as error:
        response = web.Response(status=503, text=f"the books cannot be read: {error}\n")
    response.headers.update(HEADERS)
    return response


# --- the daemon's ---------------------------------------------------------------------------------


class RunningLoop(Protocol):
    """A loop of the daemon."""

    name: str
    last_error: str | None


class Running(Protocol):
    """What the console needs of a daemon."""

    @property
    def config(self) -> Config: ...
    @property
    def store(self) -> Store: ...
    @property
    def loops(self) -> Sequence[RunningLoop]: ...
    @property
    def registrars(self) -> Mapping[str, Any]: ...  # with `pool`, the platform's last count
    @property
    def guards(self) -> Mapping[str, Any]: ...  # with `info.block_time_s`


class DaemonStatus:
    """The books, and what only the running daemon knows: pool, errors of loops, block times."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def status(self) -> Status:
        running = self._running
        pools = {
            name: registrar.pool
            for name, registrar in running.registrars.items()
            if registrar.pool is not None
        }
        status = await running.store.read(lambda tx: read_status(tx, running.config, pools))
        chains = {}
        for name, chain in status.chains.items():
            guard, error = running.guards.get(name), self._error(name)
            chains[name] = dataclasses.replace(
                chain,
                last_error=chain.last_error if error is None else str(redact(error)),
                block_time_s=chain.block_time_s if guard is None else guard.info.block_time_s,
            )
        return dataclasses.replace(status, chains=chains)

    def _error(self, chain: str) -> str | None:
        names = {chain, *(one.symbol for one in self._running.config.chain(chain).assets.values())}
        for loop in self._running.loops:
            if loop.last_error and loop.name.rpartition(" ")[2] in names:
                return f"{loop.name}: {loop.last_error}"
        return None


class Console(Site):
    """The site of a running daemon."""

    def __init__(self, config: ConsoleConfig, running: Running) -> None:
        super().__init__(config, DaemonStatus(running))
