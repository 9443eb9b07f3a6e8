"""The client against a server that answers oddly: what is believed, and what only delays."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aioresponses import aioresponses

from chain_adapter.errors import ConfigError, PlatformRefused, PlatformUnreachable
from chain_adapter.platform_api import client as module
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.codes import CODES
from chain_adapter.platform_api.envelope import Envelope, LocalSealer
from chain_adapter.platform_api.messages import (
    BadMessage,
    DepositNotice,
    InternalNotice,
    TransId,
    WithdrawalNotice,
)
from chain_adapter.platform_api.transport import open_session
from tests.platform_api.peer import Peer, done, keys, ours, plain, sealed, stranger, theirs

DEPOSIT = DepositNotice("r-1", "S", "t", "a", "1.10", 3, "5")
WITHDRAWAL = WithdrawalNotice(TransId("7", quoted=True), "S", "t", "a", "1", "0", 0, "5")
INTERNAL = InternalNotice("S", "t", "a", "1", "0.1", 3, "5")
ROW = {"trans_id": 1, "symbol": "S", "amount": "1.5", "address_to": "a"}

Call = Callable[[PlatformClient], Awaitable[Any]]
TELLING: dict[str, Call] = {
    "address/register": lambda c: c.register("S", ["a", "b"], memo=False),
    "withdraw/notify": lambda c: c.notify_withdrawal(WITHDRAWAL),
    "withdraw/cancel": lambda c: c.cancel("S", TransId("7", quoted=False), "no address"),
    "internal/notify": lambda c: c.notify_internal(INTERNAL),
}
ASKING: dict[str, tuple[Call, Any]] = {
    "address/available": (lambda c: c.available("S"), {"symbol": "S", "count": 7}),
    "deposit/notify": (lambda c: c.notify_deposit(DEPOSIT), {"data": {"request_id": "r-1"}}),
    "withdraw/consume": (lambda c: c.consume("S"), [ROW]),
}
CALLS: dict[str, Call] = TELLING | {name: call for name, (call, _) in ASKING.items()}


async def unreachable(call: Awaitable[Any]) -> str:
    with pytest.raises(PlatformUnreachable) as caught:
        await call
    assert caught.value.exit_status == 3
    return str(caught.value)


# --- what is sent ---------------------------------------------------------------------------------


async def test_the_request_as_it_goes_out(peer: Peer, client: PlatformClient) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return done()

    peer.will(answer)
    await client.notify_withdrawal(WITHDRAWAL)
    path, outer, plaintext = peer.asked[0]
    assert path == "/api/v1/withdraw/notify"
    assert list(outer) == ["app_id", "time", "data", "sign"]
    assert outer["app_id"] == "app-1"
    assert outer["time"] == 1_700_000_000_123  # milliseconds
    assert plaintext == WITHDRAWAL.to_json()
    assert seen[0].method == "POST"
    assert seen[0].content_type == "application/json"


@pytest.mark.parametrize("name", CALLS)
async def test_each_call_has_its_path(peer: Peer, client: PlatformClient, name: str) -> None:
    peer.will(sealed(ASKING[name][1]) if name in ASKING else done())
    await CALLS[name](client)
    assert [asked[0] for asked in peer.asked] == [f"/api/v1/{name}"]


@pytest.mark.parametrize("tail", ["", "/", "/api/v1", "/api/v1/", "/below", "/below/api/v1"])
async def test_the_base_address_in_every_form(peer: Peer, tail: str) -> None:
    peer.will(done())
    async with open_session() as session:
        sealer = LocalSealer(ours())
        await PlatformClient(session, peer.url + tail, "x", sealer, lambda: 1.0).notify_internal(
            INTERNAL
        )
    below = "/below" if tail.startswith("/below") else ""
    assert peer.asked[0][0] == f"{below}/api/v1/internal/notify"


async def test_a_text_that_is_no_address() -> None:
    async with open_session() as session:
        for url in ("", "platform.example", "/api/v1"):
            with pytest.raises(ConfigError, match=r"platform\.url"):
                PlatformClient(session, url, "x", LocalSealer(ours()), lambda: 1.0)


async def test_what_may_not_be_sent_is_not_sent(peer: Peer, client: PlatformClient) -> None:
    with pytest.raises(BadMessage):
        await client.register("S", [f"a{n}" for n in range(101)], memo=False)
    assert not peer.asked


async def test_connections_are_used_again(peer: Peer, client: PlatformClient) -> None:
    peer.will(sealed([]))
    for _ in range(5):
        await client.consume("S")
    assert len(peer.asked) == 5
    assert len(peer.connections) == 1


# --- what is believed -----------------------------------------------------------------------------


async def test_answers_of_the_three_calls_with_a_payload(
    peer: Peer, client: PlatformClient
) -> None:
    peer.will(sealed({"symbol": "S", "count": 4999}))
    assert await client.available("S") == 4999
    for echo in ({"data": {"request_id": "r-1"}}, {"request_id": "r-1"}):
        peer.will(sealed(echo))
        await client.notify_deposit(DEPOSIT)
    peer.will(sealed([ROW]))
    page = await client.consume("S")
    assert [order.amount for order in page.orders] == ["1.5"]
    assert page.warrant.plaintext == json.dumps([ROW]).encode()
    assert ours().verify(page.warrant.plaintext, page.warrant.sign)
    peer.will(sealed(b"[]"))
    assert (await client.consume("S")).orders == ()


@pytest.mark.parametrize("code", [0, "0"])
@pytest.mark.parametrize("name", TELLING)
async def test_success_without_a_payload(
    peer: Peer, client: PlatformClient, name: str, code: Any
) -> None:
    for answer in (
        done(code), plain(code=code), plain(code=code, msg=None, data=None, sign=None),
        sealed({}, code=code), sealed(b"", code=code),
    ):  # fmt: skip
        peer.will(answer)
        assert await TELLING[name](client) is None


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "", None])
async def test_the_content_type_does_not_matter(
    peer: Peer, client: PlatformClient, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    peer.will(
        web.Response(body=b'\xef\xbb\xbf {"code":"0","data":"","sign":""}\n', headers=headers)
    )
    await client.notify_internal(INTERNAL)


# --- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("empty", [{"data": "", "sign": ""}, {}, {"data": None, "sign": None}])
async def test_an_empty_payload_is_not_success(
    peer: Peer, client: PlatformClient, name: str, empty: dict[str, Any]
) -> None:
    peer.will(plain(code=0, **empty))
    assert "empty payload" in await unreachable(CALLS[name](client))


@pytest.mark.parametrize("name", CALLS)
async def test_a_payload_that_does_not_open(peer: Peer, client: PlatformClient, name: str) -> None:
    payload = json.dumps(ASKING[name][1] if name in ASKING else {}).encode()
    good = theirs().seal(payload)
    by_stranger = Envelope(stranger(), keys("party_a").public_key()).seal(payload)
    bad = "A" if good.data[0] != "A" else "B"
    texts = set()
    for data, sign in (
        (good.data, ""),
        ("", theirs().sign(b"other")) if name in TELLING else (good.data, good.sign[:-4]),
        (good.data, by_stranger.sign),
        (by_stranger.data, by_stranger.sign),
        (bad + good.data[1:], good.sign),
        (good.data[:-5], good.sign),
        (good.data * 2, good.sign),
        ("not base64!", good.sign),
    ):
        peer.will(plain(code=0, msg="success", data=data, sign=sign))
        texts.add(await unreachable(CALLS[name](client)))
    assert len(texts) == 1  # no telling which step failed


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("address/available", {"symbol": "T", "count": 7}),
        ("address/available", [ROW]),
        ("address/available", b"not json"),
        ("deposit/notify", {"data": {"request_id": "r-2"}}),
        ("deposit/notify", {"data": {}}),
        ("deposit/notify", {}),
        ("deposit/notify", [ROW]),
        ("withdraw/consume", [ROW | {"symbol": "T"}]),
        ("withdraw/consume", {"symbol": "S", "count": 7}),
        ("withdraw/consume", b"null"),
        ("withdraw/consume", b"\xff"),
    ],
)
async def test_an_answer_to_another_question(
    peer: Peer, client: PlatformClient, name: str, payload: Any
) -> None:
    peer.will(sealed(payload))
    assert name in await unreachable(CALLS[name](client))


async def test_an_earlier_echo_does_not_serve_another_deposit(
    peer: Peer, client: PlatformClient
) -> None:
    peer.will(sealed({"data": {"request_id": "r-1"}}))
    await client.notify_deposit(DEPOSIT)
    other = DepositNotice("r-2", "S", "t2", "a", "1", 3, "5")
    await unreachable(client.notify_deposit(other))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"0", b'"0"', b"{}", b"<html><body>Bad gateway</body></html>",
        b'{"code":0', b'{"code":null}', b'{"code":true}', b'{"code":0.0}', b'{"code":"zero"}',
        b'{"code":[0]}', b'{"code":""}', b'{"code":" 0"}', b'{"code":0,"code":1000018}',
        b'{"code":"\xd9\xa0"}', b'{"msg":"success"}', b'{"code":0,"data":{},"sign":""}',
        b'{"code":0,"data":"","sign":7}', b'{"code":0,"data":5}', b'{"code":NaN}', b"\xff\xfe",
        b"{" * 100_000, b'{"code":9999999999999999}',
    ],
)  # fmt: skip
async def test_odd_bodies(peer: Peer, client: PlatformClient, body: bytes) -> None:
    for name in ("withdraw/notify", "withdraw/consume"):
        peer.will(web.Response(body=body))
        assert peer.url in await unreachable(CALLS[name](client))


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 403, 404, 429, 500, 502, 503])
async def test_only_http_200_is_an_answer(peer: Peer, client: PlatformClient, status: int) -> None:
    body = None if status in (204, 304) else b'{"code":0,"msg":"success","data":"","sign":""}'
    peer.will(web.Response(status=status, body=body))
    assert f"HTTP {status}" in await unreachable(client.notify_withdrawal(WITHDRAWAL))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(peer: Peer, client: PlatformClient, status: int) -> None:
    target = f"{peer.url}/api/v1/elsewhere"
    peer.will(web.Response(status=status, headers={"Location": target}), done())
    assert f"HTTP {status}" in await unreachable(client.notify_withdrawal(WITHDRAWAL))
    assert [asked[0] for asked in peer.asked] == ["/api/v1/withdraw/notify"]


@pytest.mark.parametrize("code", [code for code in CODES if code] + [-1, 77, 123456789012])
@pytest.mark.parametrize("as_text", [False, True])
async def test_codes_are_told_by_class(
    peer: Peer, client: PlatformClient, code: int, as_text: bool
) -> None:
    peer.will(plain(code=str(code) if as_text else code, msg="why\nnot", data="", sign=""))
    for name in ("withdraw/notify", "withdraw/consume"):
        with pytest.raises(PlatformRefused, match="why not") as caught:
            await CALLS[name](client)
        assert caught.value.code == code
        assert caught.value.call == name
        row = {1000010, 1000011, 1000012, 1000014, 1000015, 1000016, 1000017, 1000018}
        assert caught.value.row is (code in row)


async def test_a_refusal_without_words(peer: Peer, client: PlatformClient) -> None:
    for msg in (None, "", 5, "x" * 100_000):
        peer.will(plain(code=1000018, msg=msg))
        with pytest.raises(PlatformRefused, match="finance notify error") as caught:
            await client.notify_withdrawal(WITHDRAWAL)
        assert len(str(caught.value)) < 500


# --- the line -------------------------------------------------------------------------------------


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
