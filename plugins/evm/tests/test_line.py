"""The bare line against a server that says exactly the bytes of the test."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chain_adapter.chain import Unavailable
from chain_adapter_evm.line import Broken, Line, Lines, NotPlain, TooLarge
from chain_adapter_evm.node import Node
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import TEXTS

Say = Callable[[bytes, int], list[bytes] | None]
"""(request, its number) -> parts of the answer, each its own packet; None: hang up."""


@asynccontextmanager
async def _open_gate(method: str) -> AsyncIterator[None]:
    del method
    yield


@asynccontextmanager
async def served(say: Say) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port, and the requests that came to it."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                requests.append(head + await reader.readexactly(size))
                parts = say(requests[-1], len(requests))
                if parts is None:
                    break
                for part in parts:
                    if not part:
                        return
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()


def request(body: bytes = b"{}") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def whole(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


async def asked(port: int, times: int = 1, limit: int = 1 << 24) -> list[bytes]:
    lines = Lines("127.0.0.1", port, most=4, limit=limit)
    try:
        return [bytes((await lines.post(request())).body) for _ in range(times)]
    finally:
        lines.close()


@pytest.mark.parametrize("size", [0, 1, 65_000, 70_000, 3_000_000])
async def test_a_body_of_known_length(size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    async with served(lambda _request, _number: [whole(body)]) as (port, _):
        assert await asked(port, 2) == [body, body]


@pytest.mark.parametrize("at", [1, 3])
async def test_chunks_in_any_pieces(at: int) -> None:
    body = [b"a" * 10, b"b" * 70_000, b"c", b"d" * 300_000]
    raw = chunked(*body)
    cuts = sorted({5, 40, 60, 66, 67, 70_080, 70_090, len(raw) - 3, len(raw) // at})
    parts = [raw[i:j] for i, j in zip([0, *cuts], [*cuts, len(raw)], strict=True) if i < j]
    async with served(lambda _request, _number: parts) as (port, _):
        assert await asked(port, 3) == [b"".join(body)] * 3


async def test_byte_by_byte() -> None:
    raw = chunked(b"hello ", b"world")
    parts = [raw[i : i + 1] for i in range(len(raw))]
    async with served(lambda _request, _number: parts) as (port, _):
        assert await asked(port) == [b"hello world"]


async def test_a_line_is_used_again_and_its_memory_too() -> None:
    async with served(lambda _request, number: [whole(b"x" * (100_000 + number))]) as (port, _):
        lines = Lines("127.0.0.1", port, most=4, limit=1 << 24)
        sizes = [len((await lines.post(request())).body) for _ in range(5)]
        assert sizes == [100_001, 100_002, 100_003, 100_004, 100_005]
        assert len(lines._all) == 1
        assert len(lines._buffers._lent) == 1
        lines.close()


async def test_a_body_that_is_still_held_is_not_written_over() -> None:
    async with served(lambda _request, number: [whole(b"%d" % number * 1000)]) as (port, _):
        lines = Lines("127.0.0.1", port, most=4, limit=1 << 24)
        held = [(await lines.post(request())).body for _ in range(12)]
        for number, body in enumerate(held, 1):
            assert bytes(body) == b"%d" % number * 1000
        lines.close()


async def test_a_line_closed_while_idle_is_replaced() -> None:
    def say(_request: bytes, number: int) -> list[bytes]:
        return [whole(b"%d" % number), b""]  # hangs up after each answer

    async with served(say) as (port, requests):
        lines = Lines("127.0.0.1", port, most=4, limit=1 << 24)
        assert bytes((await lines.post(request())).body) == b"1"
        await asyncio.sleep(0)
        assert bytes((await lines.post(request())).body) == b"2"
        assert len(requests) == 2
        lines.close()


async def test_an_answer_that_breaks_off() -> None:
    cut = whole(b"x" * 1000)[:-10]
    async with served(lambda _request, _number: [cut, b""]) as (port, _):
        with pytest.raises(Broken) as caught:
            await asked(port)
        assert not caught.value.is_silent


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\n{}",  # ends with the connection
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200\r\nContent-Length: 2\r\n\r\n{}",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
        whole(b"..", b"Content-Encoding: gzip"),
    ],
)
async def test_what_needs_a_whole_client(raw: bytes) -> None:
    async with served(lambda _request, _number: [raw, b""]) as (port, _):
        with pytest.raises(NotPlain):
            await asked(port)


@pytest.mark.parametrize("raw", [whole(b"x" * 2000), chunked(*[b"x" * 400] * 5)])
async def test_an_answer_above_the_limit(raw: bytes) -> None:
    async with served(lambda _request, _number: [raw]) as (port, _):
        with pytest.raises(TooLarge):
            await asked(port, limit=1000)


async def test_what_comes_unasked_ends_the_line() -> None:
    async with served(lambda _request, _number: [whole(b"one"), whole(b"two")]) as (port, _):
        lines = Lines("127.0.0.1", port, most=1, limit=1 << 20)
        first = bytes((await lines.post(request())).body)
        assert first == b"one"
        while any(not line.is_closed for line in lines._idle):
            await asyncio.sleep(0)
        assert bytes((await lines.post(request())).body) == b"one"
        lines.close()


async def test_a_question_given_up_takes_its_line_along() -> None:
    async with served(lambda _request, _number: [b"HTTP/1.1 200 OK\r\n"]) as (port, _):
        lines = Lines("127.0.0.1", port, most=4, limit=1 << 20)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await lines.post(request())
        assert not lines._idle
        lines.close()


def test_a_line_that_is_not_connected_says_so() -> None:
    async def ask() -> None:
        await Lines("127.0.0.1", 1, most=1, limit=1).post(b"")

    with pytest.raises(OSError):
        asyncio.run(ask())
    assert not Line.__subclasses__()


# --- through the node -----------------------------------------------------------------------------


def answer(raw: bytes) -> bytes:
    number = json.loads(raw.partition(b"\r\n\r\n")[2])["id"]
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": "0x1"}).encode()


class Gate:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def call(port: int, times: int = 1, path: str = "") -> list[Any]:
    node = Node(f"http://127.0.0.1:{port}{path}", lambda _method: Gate(), Settings())
    try:
        return [await node.call("eth_chainId", [], TEXTS) for _ in range(times)]
    finally:
        await node.close()


async def test_a_node_that_compresses_is_read_by_the_whole_client() -> None:
    def say(raw: bytes, _number: int) -> list[bytes]:
        return [whole(gzip.compress(answer(raw)), b"Content-Encoding: gzip")]

    async with served(say) as (port, requests):
        assert await call(port, 3) == ["0x1"] * 3
        assert len(requests) == 4  # the first was asked twice
        assert b"aiohttp" in requests[1].lower()


async def test_a_node_behind_a_path_gets_its_path() -> None:
    async with served(lambda raw, _number: [chunked(answer(raw))]) as (port, requests):
        assert await call(port, 2, "/rpc/v1?key=abc") == ["0x1"] * 2
        assert all(one.startswith(b"POST /rpc/v1?key=abc HTTP/1.1\r\n") for one in requests)
        assert f"Host: 127.0.0.1:{port}\r\n".encode() in requests[0]


async def test_a_node_that_hangs_up_is_unavailable_without_its_path() -> None:
    async with served(lambda _raw, _number: None) as (port, _):
        with pytest.raises(Unavailable) as caught:
            await call(port, path="/very-secret-path")
        assert "secret" not in str(caught.value)


async def test_the_gate_is_not_needed_to_make_a_node() -> None:
    await Node("http://127.0.0.1:1", _open_gate, Settings()).close()
