"""The client on a bad line: refused, reset, cut, dripping, endless. All of it only delays."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aioresponses import aioresponses

from chain_adapter.platform_api import client as module
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.envelope import LocalSealer
from chain_adapter.platform_api.transport import open_session
from tests.platform_api.calls import (
    DEPOSIT,
    INTERNAL,
    WITHDRAWAL,
    unreachable,
)
from tests.platform_api.peer import Peer, done, ours


async def test_nobody_listens(peer: Peer) -> None:
    with contextlib.closing(await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)) as gone:
        port = gone.sockets[0].getsockname()[1]
    await gone.wait_closed()
    async with open_session() as session:
        client = PlatformClient(
            session, f"http://127.0.0.1:{port}", "x", LocalSealer(ours()), lambda: 1.0
        )
        assert f"http://127.0.0.1:{port}" in await unreachable(client.notify_internal(INTERNAL))


@contextlib.asynccontextmanager
async def raw_server(reply: bytes, *, reset: bool = False) -> Any:
    """A server that writes `reply` after the request and then closes, or resets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        if reset:
            writer.transport.abort()
            return
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_session() as session:
        port = server.sockets[0].getsockname()[1]
        yield PlatformClient(
            session, f"http://127.0.0.1:{port}", "x", LocalSealer(ours()), lambda: 1.0, timeout_s=5
        )


BODY = b'{"code":0,"msg":"success","data":"","sign":""}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        HEAD % (len(BODY) + 10) + BODY,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        *(HEAD % len(BODY) + BODY[:at] for at in range(0, len(BODY), 5)),
    ],
)
async def test_broken_answers(reply: bytes) -> None:
    async with raw_server(reply) as client:
        await unreachable(client.notify_withdrawal(WITHDRAWAL))
    async with raw_server(reply, reset=True) as client:
        await unreachable(client.notify_withdrawal(WITHDRAWAL))


async def test_a_whole_answer_is_enough() -> None:
    async with raw_server(HEAD % len(BODY) + BODY) as client:
        await client.notify_withdrawal(WITHDRAWAL)


async def test_a_body_without_end_is_given_up(peer: Peer, client: PlatformClient) -> None:
    written = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        chunk = b" " * 2**20
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await response.write(chunk)
                written += len(chunk)
        return response

    peer.will(answer)
    assert "longer than 16 MB" in await unreachable(client.consume("S"))
    assert module.MAX_BODY_BYTES <= written < 100 * 2**20


async def test_a_small_body_that_unpacks_into_a_large_one(
    peer: Peer, client: PlatformClient
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=b" " * (module.MAX_BODY_BYTES * 2))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    peer.will(answer)
    await unreachable(client.consume("S"))


async def test_a_silent_peer_is_given_up(peer: Peer) -> None:
    never = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return done()

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"code":')
        await never.wait()
        return response

    async with open_session() as session:
        client = PlatformClient(
            session, peer.url, "x", LocalSealer(ours()), lambda: 1.0, timeout_s=0.2
        )
        for odd in (silent, drips):
            peer.will(odd)
            assert "within 0.2 s" in await unreachable(client.consume("S"))
    never.set()


async def test_answers_that_only_a_stub_can_give(client: PlatformClient, peer: Peer) -> None:
    url = f"{peer.url}/api/v1/withdraw/notify"
    for error in (
        aiohttp.ClientConnectionError("gone"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ClientOSError(104, "reset"),
        TimeoutError(),
        ConnectionResetError(),
        OSError(101, "Network is unreachable"),
    ):
        with aioresponses() as stub:
            stub.post(url, exception=error)
            await unreachable(client.notify_withdrawal(WITHDRAWAL))
    with aioresponses() as stub:
        stub.post(url, status=200, body=BODY, content_type="application/octet-stream")
        await client.notify_withdrawal(WITHDRAWAL)


async def test_errors_tell_nothing_secret(peer: Peer) -> None:
    peer.will(web.Response(status=500))
    url = peer.url.replace("http://", "http://user:hunter2@")
    async with open_session() as session:
        client = PlatformClient(session, url, "x", LocalSealer(ours()), lambda: 1.0)
        text = await unreachable(client.notify_deposit(DEPOSIT))
    assert "hunter2" not in text
    assert "r-1" not in text
