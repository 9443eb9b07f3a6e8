"""Fixtures: a local chain, a relay before it or alone, chains opened on them and closed again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from chain_adapter.chain import Asset
from chain_adapter_tron.chain import TronChain, plugin
from chain_adapter_tron.devnet.devnet import TronDevnet
from plugins.tron.tests.parts import Opener, Relay, open_gate, relay_to


@pytest.fixture
async def devnet() -> AsyncIterator[TronDevnet]:
    chain = await plugin.devnet("127.0.0.1:0")
    yield chain
    await chain.close()


@pytest.fixture
async def relay(devnet: TronDevnet) -> AsyncIterator[Relay]:
    async with relay_to(devnet.url) as made:
        yield made


@pytest.fixture
async def canned() -> AsyncIterator[Relay]:
    async with relay_to(None) as made:
        yield made


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    """Opens chains and closes them: `opener(url, assets, **settings)`."""
    opened: list[TronChain] = []

    def open_one(url: str | None, assets: Mapping[str, Asset], **settings: Any) -> TronChain:
        settings.setdefault("endpoints", (url,) if url else ())
        settings.setdefault("head_poll_s", 0.02)
        chain = plugin.open(plugin.settings(**settings), assets, url, open_gate)
        opened.append(chain)
        return chain

    yield open_one
    for chain in opened:
        await chain.close()


@pytest.fixture
def chain(devnet: TronDevnet, opener: Opener) -> TronChain:
    return opener(devnet.url, devnet.assets)
