"""A node that lies, lags or breaks: a clear error, never a wrong block, never a traceback."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chain_adapter.chain import (
    Asset,
    BlockRef,
    ChainError,
    Unavailable,
    Watch,
)
from chain_adapter_evm.devnet import AnvilDevnet
from chain_adapter_evm.node import is_near
from plugins.evm.tests.parts import Opener, Relay, read, stranger, transfers, watching

US = stranger(1)
RESPONSES = {
    "HTML": web.Response(text="<html>Bad gateway</html>", content_type="text/html"),
    "HTTP 429": web.Response(status=429, text="slow down"),
    "HTTP 500": web.Response(status=500, text="oops"),
    "HTTP 302": web.Response(status=302, text=""),
    "truncated": web.Response(text='{"jsonrpc":"2.0","id":1,"result":{"number":"0x1","ha'),
    "empty": web.Response(text=""),
    "a number": web.Response(text="7"),
    "a list of numbers": web.Response(text="[1,2]"),
    "another id": web.Response(text='{"jsonrpc":"2.0","id":"x","result":null}'),
    "no utf-8": web.Response(body=b'{"jsonrpc":"2.0","id":1,"result":"\xff\xfe"}'),
    "deep": web.Response(text="[" * 100_000),
    "nulls": web.Response(text="null"),
    "deep junk": web.Response(text='{"id":1,"junk":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "a text as error": web.Response(text='{"id":1,"error":"no"}'),
}


@pytest.mark.parametrize("what", RESPONSES)
async def test_broken_responses(
    devnet: AnvilDevnet, relay: Relay, opener: Opener, what: str
) -> None:
    chain = opener(relay.url, devnet.assets)
    await chain.check()
    for method in (
        "eth_getBlockByNumber",
        "eth_chainId",
        "eth_getBalance",
        "eth_getTransactionByHash",
    ):
        relay.replace[method] = RESPONSES[what]
    calls: list[Callable[[], Any]] = [
        chain.head,
        chain.identity,
        lambda: read(chain, watching(US), last=1),
        lambda: chain.balance(US, "ETH"),
        lambda: chain.locate("0x" + "ab" * 32),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match=re.escape("127.0.0.1")):
            await call()


async def test_no_answer_at_all(devnet: AnvilDevnet, opener: Opener) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1: no connection"):
        await opener("http://127.0.0.1:1", devnet.assets).identity()


async def test_a_node_that_does_not_answer_in_time(opener: Opener) -> None:
    held: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    chain = opener(f"http://127.0.0.1:{port}", {}, timeout_s=0.1)
    with pytest.raises(Unavailable, match=r"no answer in 0\.1 s"):
        await chain.identity()
    for writer in held:
        writer.close()
    server.close()


async def test_an_answer_above_the_limit(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    chain = opener(relay.url, devnet.assets, answer_limit_mib=1)
    relay.replace["eth_chainId"] = web.Response(text='"' + "x" * (1 << 20) + '"')
    with pytest.raises(Unavailable, match="above the limit"):
        await chain.identity()


def test_an_endpoint_is_shown_without_its_secrets(opener: Opener) -> None:
    async def ask() -> str:
        chain = opener("http://user:pass@127.0.0.1:1/v3/key", {})
        try:
            await chain.identity()
        except Unavailable as error:
            return str(error)
        finally:
            await chain.close()
        return ""

    said = asyncio.run(ask())
    assert "127.0.0.1:1" in said
    assert not any(secret in said for secret in ("user", "pass", "key"))


def bent(change: Callable[[dict[str, Any]], None]) -> Callable[..., dict[str, Any]]:
    def bend(params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(answer))
        if copy.get("result"):
            change(copy["result"])
        return copy

    return bend


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda result: result.pop(name)


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda result: result.update({name: value})


def in_txs(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(result: dict[str, Any]) -> None:
        for tx in result["transactions"]:
            tx[name] = value

    return change


BENT_BLOCKS = {
    "no hash": drop("hash"),
    "short hash": put("hash", "0x12"),
    "no transactions": drop("transactions"),
    "transactions by hash": put("transactions", ["0x" + "ab" * 32]),
    "another number": put("number", "0x63"),
    "a number that is none": put("number", "latest"),
    "an oversize number": put("number", "0x" + "f" * 300),
    "an oversize time": put("timestamp", "0x" + "f" * 300),
    "a number in place of hex": put("timestamp", 7),
    "an oversize value": in_txs("value", "0x" + "f" * 65),
    "a recipient that is no hex": in_txs("to", "0x" + "zz" * 20),
    "a recipient with spaces": in_txs("to", "0x" + " " * 40),
    "a short recipient": in_txs("to", "0x12"),
    "a list": lambda result: result.update({"parentHash": [1]}),
}


@pytest.mark.parametrize("what", BENT_BLOCKS)
async def test_blocks_of_another_shape(
    devnet: AnvilDevnet, relay: Relay, opener: Opener, what: str
) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.mine()
    chain = opener(relay.url, devnet.assets)
    await chain.check()
    relay.bend["eth_getBlockByNumber"] = bent(BENT_BLOCKS[what])

    class Everybody:
        def __contains__(self, key: object) -> bool:
            return True

    with pytest.raises(Unavailable):
        watch = Watch(Everybody(), frozenset({devnet.address}))
        await read(chain, watch, after=BlockRef(1, ""), last=2)


async def test_logs_that_are_not_whole(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    """Empty, a prefix, one from the middle missing, another block's: nothing passes (D-21)."""
    await devnet.split("USDT", [(US, 1), (stranger(2), 2), (stranger(3), 3)])
    await devnet.mine()
    chain = opener(relay.url, devnet.assets)
    watch = watching(US, stranger(2), stranger(3))
    whole = transfers(await read(chain, watch))
    assert len(whole) == 3
    bends: list[Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = [
        lambda logs: [],
        lambda logs: logs[:2],
        lambda logs: logs[1:],
        lambda logs: [logs[0], logs[2]],
        lambda logs: [{**log, "blockHash": "0x" + "ab" * 32} for log in logs],
        lambda logs: [{**log, "address": US} for log in logs],
        lambda logs: [logs[1], logs[0], logs[2]],
    ]
    for change in bends:
        relay.bend["eth_getLogs"] = lambda params, answer, change=change: {
            "result": change(answer["result"])
        }
        with pytest.raises(Unavailable):
            await read(chain, watch, after=BlockRef(1, ""))
    relay.bend["eth_getLogs"] = lambda params, answer: {"result": None}
    with pytest.raises(Unavailable):
        await read(chain, watch, after=BlockRef(1, ""))
    del relay.bend["eth_getLogs"]
    assert transfers(await read(chain, watch)) == whole


async def test_a_prefix_of_the_logs_is_seen_near_the_head_only(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    """Deep blocks cost no bloom: there nodes have long indexed. Near the head it is made."""
    await devnet.split("USDT", [(US, 1), (stranger(3), 2)])
    await devnet.mine(10)
    relay.bend["eth_getLogs"] = lambda params, answer: {"result": answer["result"][:1]}
    with pytest.raises(Unavailable, match="bloom differs"):
        await read(opener(relay.url, devnet.assets), watching(US), after=BlockRef(1, ""), last=2)
    deep = opener(relay.url, devnet.assets, verify_depth=5)
    await deep.head()
    assert len(await read(deep, watching(US), after=BlockRef(1, ""), last=2)) == 1
    other = opener(relay.url, devnet.assets, blooms=False)
    assert len(await read(other, watching(US), after=BlockRef(1, ""), last=2)) == 1


async def test_receipts_that_are_not_whole(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.pay("ETH", US, 6)
    await devnet.mine()
    chain = opener(relay.url, devnet.assets)
    await chain.check()
    singles: list[Callable[..., dict[str, Any]]] = [
        lambda params, answer: {"result": None},
        bent(put("blockHash", "0x" + "ab" * 32)),
        bent(put("transactionHash", "0x" + "ab" * 32)),
        bent(put("status", None)),
        bent(put("status", "yes")),
    ]
    for bend in singles:
        relay.bend["eth_getTransactionReceipt"] = bend
        with pytest.raises(Unavailable):
            await read(chain, watching(US), after=BlockRef(1, ""))
    wholes: list[Callable[..., dict[str, Any]]] = [
        lambda params, answer: {"result": None},
        lambda params, answer: {"result": answer["result"][:1]},
        lambda params, answer: {"result": answer["result"][::-1]},
        lambda params, answer: {"error": {"code": -32601, "message": "Method not found"}},
    ]
    for bend in wholes:
        relay.bend["eth_getBlockReceipts"] = bend
        with pytest.raises(Unavailable):
            await read(chain, watching(US), after=BlockRef(1, ""), method="receipts")


async def test_answers_in_another_order(
    devnet: AnvilDevnet, canned: Relay, relay: Relay, opener: Opener
) -> None:
    """A batch may come back in any order, but not with ids of another one."""
    await devnet.mine(4)
    handed: list[web.Response] = []

    async def shuffled(url: str, mend: Callable[[list[Any]], list[Any]]) -> str:
        async def handle(request: web.Request) -> web.Response:
            calls = await request.json()
            several = isinstance(calls, list)
            answers = []
            for call in calls if several else [calls]:
                answers.append({"id": call["id"], "result": await devnet_result(call)})
            response = web.json_response(mend(answers) if several else answers[0])
            handed.append(response)
            return response

        async def devnet_result(call: dict[str, Any]) -> Any:
            return await devnet.rpc(call["method"], *call["params"])

        app = web.Application()
        app.router.add_post("/", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    runners: list[web.AppRunner] = []
    try:
        chain = opener(await shuffled("", lambda answers: answers[::-1]), devnet.assets)
        assert [block.ref.height for block in await read(chain, watching(US))] == [1, 2, 3, 4, 5]
        for mend in (
            lambda answers: answers[:-1],
            lambda answers: [*answers[:-1], answers[0]],
            lambda answers: [{**answer, "id": answer["id"] + 1000} for answer in answers],
        ):
            with pytest.raises(Unavailable, match="another request"):
                await read(opener(await shuffled("", mend), devnet.assets), watching(US), last=5)
    finally:
        for runner in runners:
            await runner.cleanup()


async def test_a_node_that_takes_no_batches(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.mine(8)
    chain = opener(relay.url, devnet.assets)
    await chain.check()
    taken: list[int] = []

    class Picky(dict[str, web.Response]):
        """Refuses what holds more than three requests."""

        def __contains__(self, method: object) -> bool:
            size = len(json.loads(relay.bodies[-1])) if relay.bodies[-1][:1] == b"[" else 1
            taken.append(size)
            return size > 3

        def __getitem__(self, method: str) -> web.Response:
            return web.json_response(
                {"id": None, "error": {"code": -32600, "message": "batch limit exceeded"}}
            )

    relay.replace = Picky()
    assert transfers(await read(chain, watching(US))) == [("ETH", "value", 5)]
    assert max(taken) > 3
    assert max(taken[-3:]) <= 3


async def test_no_deflation_on_a_near_network(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    await opener(relay.url, devnet.assets).head()
    assert relay.headers[-1]["Accept-Encoding"] == "identity"
    near = ["http://localhost:8545", "http://10.1.2.3", "http://[::1]:1", "http://anvil:8545"]
    far = ["https://eth.example.com", "https://8.8.8.8"]
    assert all(is_near(one) for one in near)
    assert not any(is_near(one) for one in far)


async def test_every_request_enters_the_gate(devnet: AnvilDevnet) -> None:
    from contextlib import asynccontextmanager

    from chain_adapter_evm.chain import plugin

    entered: list[str] = []

    @asynccontextmanager
    async def gate(method: str) -> Any:
        entered.append(method)
        yield

    chain = plugin.open(plugin.settings(endpoints=(devnet.url,)), devnet.assets, devnet.url, gate)
    await chain.identity()
    await chain.head()
    await chain.close()
    assert entered[:2] == ["eth_chainId", "eth_getBlockByNumber"]
    assert entered.count("eth_getBlockByNumber") == 2
    assert entered.count("eth_getCode") == entered.count("trace_block") == 1


async def test_without_an_endpoint_only_the_pure_part_works(opener: Opener) -> None:
    chain = opener(None, {"ETH": Asset("ETH", None, 18)})
    assert chain.parse_address(US.lower()) == US
    assert chain.address_key(US) == bytes.fromhex(US[2:])
    assert chain.asset_key("ETH") == b""
    for call in (chain.identity, chain.head, lambda: read(chain, watching(US), last=1)):
        with pytest.raises(ChainError, match="without an endpoint"):
            await call()
