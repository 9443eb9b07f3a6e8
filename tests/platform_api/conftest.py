"""A peer that answers as told, on a real socket, and a client that speaks with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.envelope import LocalSealer
from chain_adapter.platform_api.transport import open_session
from tests.platform_api.peer import Peer, ours

NOW_S = 1_700_000_000.1239


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[PlatformClient]:
    async with open_session() as session:
        yield PlatformClient(
            session, peer.url, "app-1", LocalSealer(ours()), lambda: NOW_S, timeout_s=5
        )
