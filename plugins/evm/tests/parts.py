"""Parts for the plugin's tests: a relay that lies, a wallet that signs, short ways to read.

The relay is a real HTTP server before the node: a test bends single answers or replaces a whole
response, and the plugin under test sees nothing but bytes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from coincurve import PrivateKey

from chain_adapter.chain import Block, BlockRef, Watch
from chain_adapter_evm.chain import EvmChain
from chain_adapter_evm.codec import address_of, keccak, spell

START = BlockRef(0, "")

Bend = Callable[[list[Any], dict[str, Any]], dict[str, Any]]
"""Takes the parameters and the node's answer, gives the answer that is told."""


@asynccontextmanager
async def open_gate(method: str) -> AsyncIterator[None]:
    """A gate that lets everything through."""
    yield


@dataclass
class Relay:
    """Between plugin and node: `bend` alters answers by method, `replace` whole responses."""

    url: str = ""
    bend: dict[str, Bend] = field(default_factory=dict)
    refuse: dict[str, dict[str, Any]] = field(default_factory=dict)
    replace: dict[str, web.Response] = field(default_factory=dict)
    asked: list[tuple[str, list[Any]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    answer: Callable[[str, list[Any]], Awaitable[dict[str, Any]]] | None = None

    def error(self, method: str, code: int, message: str) -> None:
        """Answer this method with a JSON-RPC error; the node does not get to see it."""
        self.refuse[method] = {"error": {"code": code, "message": message}}

    def count(self, method: str) -> int:
        """How often a method was asked."""
        return sum(asked == method for asked, _ in self.asked)


@asynccontextmanager
async def relay_to(upstream: str | None) -> AsyncIterator[Relay]:
    """A relay before a node, or, with None, one that answers by `Relay.answer` alone."""
    relay = Relay()
    async with aiohttp.ClientSession() as session:

        async def one(call: dict[str, Any]) -> dict[str, Any]:
            method, params = call["method"], call["params"]
            relay.asked.append((method, params))
            if method in relay.refuse:
                answer = relay.refuse[method]
            elif upstream is None:
                assert relay.answer is not None
                answer = await relay.answer(method, params)
            else:
                async with session.post(upstream, json=call) as response:
                    answer = await response.json()
            if method in relay.bend:
                answer = relay.bend[method](params, answer)
            return {"jsonrpc": "2.0", "id": call["id"], **_without_envelope(answer)}

        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            relay.bodies.append(body)
            relay.headers.append(request.headers)
            calls = json.loads(body)
            several = isinstance(calls, list)
            first = calls[0]["method"] if several else calls["method"]
            if first in relay.replace:
                stored = relay.replace[first]
                return web.Response(
                    body=stored.body, status=stored.status, content_type=stored.content_type
                )
            answers = [await one(call) for call in (calls if several else [calls])]
            return web.json_response(answers if several else answers[0])

        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        relay.url = f"http://127.0.0.1:{port}"
        try:
            yield relay
        finally:
            await runner.cleanup()


def _without_envelope(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("jsonrpc", "id")}


Opener = Callable[..., EvmChain]


def key_of(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def stranger(number: int) -> str:
    """A made-up address, canonical."""
    return spell(keccak(f"stranger {number}".encode())[12:])


def watching(*addresses: str, senders: frozenset[str] = frozenset()) -> Watch:
    return Watch(frozenset(key_of(address) for address in addresses), senders)


async def read(
    chain: EvmChain,
    watch: Watch,
    *,
    after: BlockRef = START,
    last: int | None = None,
    method: str | None = None,
) -> list[Block]:
    """All blocks up to `last`, or to the head."""
    end = (await chain.head()).ref.height if last is None else last
    return [block async for block in chain.blocks(after, end, watch, method)]


def transfers(blocks: list[Block]) -> list[tuple[str, str, int]]:
    """(asset, place, amount) of every transfer, in a fixed order."""
    return sorted((t.asset, t.place, t.amount) for block in blocks for t in block.transfers)


@dataclass(frozen=True)
class Wallet:
    """A key that signs as the signer would."""

    private: PrivateKey
    public_key: bytes
    address: str

    def sign(self, message: bytes) -> bytes:
        return self.private.sign_recoverable(message, hasher=None)


def wallet_of(secret: bytes) -> Wallet:
    private = PrivateKey(secret)
    public = private.public_key.format()
    return Wallet(private, public, spell(address_of(public)))
