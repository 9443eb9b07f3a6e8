"""A merchant on a real socket, with real SQLite, in either dialect."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from chain_adapter.callbacks.events import (
    ConfirmRequest,
    Decision,
    Deposited,
    Event,
    NotNow,
    Refused,
    WithdrawalFailed,
    Withdrawn,
)
from chain_adapter.callbacks.handler import (
    CONFIRM_PATH,
    NOTIFY_PATH,
    UU_CONFIRM_PATH,
    UU_NOTIFY_PATH,
    UuWalletCallbacks,
    WaasCallbacks,
)
from chain_adapter.callbacks.handoff import HandOff, Verifier
from chain_adapter.callbacks.sqlite_store import SqliteStore
from tests.callbacks.ends import API_KEY, merchant, uu_merchant

Serve = Callable[[Sequence[web.RouteDef]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves routes on a free port; the base URL."""
    async with AsyncExitStack() as stack:

        async def start(routes: Sequence[web.RouteDef]) -> str:
            app = web.Application()
            app.add_routes(routes)
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield start


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "merchant.db")
    yield made
    await made.close()


def book(event: Event, db: sqlite3.Connection) -> None:
    """A merchant's books in four lines, in the transaction of the mark."""
    db.execute("CREATE TABLE IF NOT EXISTS booked (what TEXT, user TEXT, symbol TEXT, amount TEXT)")
    if isinstance(event, Deposited | Withdrawn | WithdrawalFailed):
        db.execute("INSERT INTO booked VALUES (?, ?, ?, ?)",
                   (type(event).__name__, event.user_id, event.symbol, event.amount))  # fmt: skip


@dataclass
class Till:
    """The merchant's code: what it was handed, and what it is told to do."""

    store: SqliteStore
    handed: list[Event] = field(default_factory=list)
    asked: list[ConfirmRequest] = field(default_factory=list)
    decision: Decision = field(default_factory=lambda: Refused("not told"))
    failures: int = 0
    not_now: int = 0
    url: str = ""
    uu_url: str = ""

    async def on_event(self, event: Event) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the books are closed")
        if self.not_now:
            self.not_now -= 1
            raise NotNow("come again")
        self.handed.append(event)

    async def confirm(self, request: ConfirmRequest) -> Decision:
        self.asked.append(request)
        return self.decision

    async def booked(self) -> list[tuple[str, ...]]:
        return await self.store.read(lambda db: db.execute("SELECT * FROM booked").fetchall())


@dataclass
class Shop:
    """Builds a merchant around one store."""

    serve: Serve
    till: Till

    async def open(
        self, *, exactly: bool = False, verify: Verifier | None = None, encrypted: bool = False
    ) -> Till:
        till = self.till
        hand_off = HandOff(
            till.store,
            on_event=None if exactly else till.on_event,
            apply=book if exactly else None,
            verify=verify,
        )
        waas = WaasCallbacks(merchant(), hand_off, till.confirm, encrypted_answers=encrypted)
        uu = UuWalletCallbacks(uu_merchant(), hand_off, till.confirm)
        url = await self.serve([*waas.routes(), *uu.routes()])
        till.url, till.uu_url = url, url
        return till


@pytest.fixture
def shop(serve: Serve, store: SqliteStore) -> Shop:
    return Shop(serve, Till(store))


@dataclass
class Post:
    """What the platform does, over HTTP."""

    session: aiohttp.ClientSession
    status: int = 0

    async def waas(self, till: Till, form: object, path: str = NOTIFY_PATH) -> str:
        async with self.session.post(till.url + path, data=form) as answer:
            self.status = answer.status
            return await answer.text()

    async def confirm(self, till: Till, form: object) -> str:
        return await self.waas(till, form, CONFIRM_PATH)

    async def uu(
        self, till: Till, body: bytes, key: str | None = API_KEY, path: str = UU_NOTIFY_PATH
    ) -> bytes:
        headers = {} if key is None else {"X-API-KEY": key}
        async with self.session.post(till.uu_url + path, data=body, headers=headers) as answer:
            self.status = answer.status
            return await answer.read()

    async def ask(self, till: Till, body: bytes) -> bytes:
        return await self.uu(till, body, path=UU_CONFIRM_PATH)


@pytest.fixture
def post(session: aiohttp.ClientSession) -> Post:
    return Post(session)
