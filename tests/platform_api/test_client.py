"""The client against a server that answers oddly: what is believed, and what only delays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from chain_adapter.errors import ConfigError, PlatformRefused
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.codes import CODES
from chain_adapter.platform_api.envelope import Envelope, LocalSealer
from chain_adapter.platform_api.messages import (
    BadMessage,
    DepositNotice,
)
from chain_adapter.platform_api.transport import open_session
from tests.platform_api.calls import (
    ASKING,
    CALLS,
    DEPOSIT,
    INTERNAL,
    ROW,
    TELLING,
    WITHDRAWAL,
    unreachable,
)
from tests.platform_api.peer import Peer, done, keys, ours, plain, sealed, stranger, theirs

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


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
async def test_a_code_under_another_status(peer: Peer, client: PlatformClient, status: int) -> None:
    """Some platforms answer a refusal with HTTP 4xx; a 5xx is a fault, whatever it carries."""
    peer.will(web.Response(status=status, body=b'{"code":1000018,"msg":"no","data":""}'))
    if status < 500:
        with pytest.raises(PlatformRefused) as caught:
            await client.notify_withdrawal(WITHDRAWAL)
        assert (caught.value.code, caught.value.row) == (1000018, True)
    else:
        await unreachable(client.notify_withdrawal(WITHDRAWAL))
    for body in (b"", b"<html>", b'{"error":"x"}', b'{"code":0,"data":"","sign":""}'):
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
