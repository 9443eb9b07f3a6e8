"""Which network, which head, which contracts: what is held against the configuration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chain_adapter.chain import (
    Asset,
    BlockRef,
    Head,
    Rejected,
    Unavailable,
    WrongNetwork,
)
from chain_adapter_evm.chain import EvmChain
from chain_adapter_evm.devnet import AnvilDevnet
from plugins.evm.tests.parts import Opener, Relay, read, stranger, watching

US = stranger(1)


async def test_other_networks_are_refused(devnet: AnvilDevnet, opener: Opener) -> None:
    genesis = devnet.node["genesis"]
    right = opener(devnet.url, devnet.assets, chain_id=31337, genesis=genesis)
    assert await right.identity() == f"eip155:31337/{genesis}"
    with pytest.raises(WrongNetwork, match="31337, configured is 1"):
        await opener(devnet.url, devnet.assets, chain_id=1).identity()
    with pytest.raises(WrongNetwork, match="began with block"):
        await opener(devnet.url, devnet.assets, genesis="0x" + "ab" * 32).identity()


async def test_identity_of_a_node_without_its_first_block(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    relay.bend["eth_getBlockByNumber"] = lambda params, answer: {"result": None}
    with pytest.raises(Unavailable, match="lacks block 0"):
        await opener(relay.url, devnet.assets).identity()
    genesis = devnet.node["genesis"]
    chain = opener(relay.url, devnet.assets, genesis=genesis)
    assert await chain.identity() == f"eip155:31337/{genesis}"


async def test_wrong_contracts_are_refused(devnet: AnvilDevnet, opener: Opener) -> None:
    """Before the first block: no code, other decimals, no token at all."""
    token, liar = devnet.contracts["TestUSDT"], devnet.contracts["Forwarder"]
    for asset, said in [
        (Asset("USDT", stranger(9), 6), "no contract"),
        (Asset("USDT", token, 18), "has 6 decimals, configured are 18"),
        (Asset("USDT", liar, 6), "tells no decimals"),
    ]:
        chain = opener(devnet.url, {"USDT": asset})
        for call in (
            chain.check,
            chain.head,
            lambda chain=chain: read(chain, watching(US), last=1),
        ):
            with pytest.raises(Rejected, match=said):
                await call()
    with pytest.raises(Rejected, match="one main coin"):
        opener(devnet.url, {"A": Asset("A", None, 18), "B": Asset("B", None, 18)})
    with pytest.raises(Rejected, match="name one contract"):
        opener(devnet.url, {"A": Asset("A", token, 6), "B": Asset("B", token.lower(), 6)})


async def test_a_node_without_state_is_read_all_the_same(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    """An archive of blocks answers no eth_call: contracts cannot be held against it."""
    await devnet.pay("USDT", US, 5)
    await devnet.mine()
    for method in ("eth_call", "eth_getCode", "trace_block", "debug_traceBlockByNumber"):
        relay.error(method, -32601, "Method not found")
    (block,) = await read(opener(relay.url, devnet.assets), watching(US), after=BlockRef(1, ""))
    assert [(t.amount, t.proof) for t in block.transfers] == [(5, None)]


async def test_a_head_that_moves_back(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    await devnet.mine(5)
    chain = opener(relay.url, devnet.assets, finality="depth")
    head = await chain.head()

    async def older(tag: str) -> dict[str, Any]:
        return {"result": await devnet.rpc("eth_getBlockByNumber", tag, False)}

    stale = await older("0x2")
    relay.bend["eth_getBlockByNumber"] = lambda params, answer: stale
    with pytest.raises(Unavailable, match="moved back from 6 to 2"):
        await chain.head()
    fresh = opener(relay.url, devnet.assets, finality="depth")
    assert (await fresh.head()).ref.height == 2  # it has no memory, and is told nothing
    waiting = asyncio.create_task(opener(relay.url, devnet.assets, finality="depth").head(head))
    await devnet.mine()
    while relay.count("eth_getBlockByNumber") < 6:
        await asyncio.sleep(0)
    assert not waiting.done()
    del relay.bend["eth_getBlockByNumber"]
    assert (await waiting).ref.height == 7


async def test_a_shorter_branch_is_no_lie(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    for _ in range(3):
        await devnet.mine()
        old = await chain.head()
    snapshot_of_other_branch = {
        **await devnet.rpc("eth_getBlockByNumber", "0x3", False),
        "hash": "0x" + "ab" * 32,
    }
    relay.bend["eth_getBlockByNumber"] = lambda params, answer: {"result": snapshot_of_other_branch}
    head = await chain.head(old)
    assert (head.ref.height, head.ref.hash) == (3, "0x" + "ab" * 32)


async def test_finality(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    await devnet.mine(80)
    assert (await opener(relay.url, devnet.assets).head()).final_height == 81 - 64
    assert (await opener(relay.url, devnet.assets, finality="depth").head()).final_height is None
    tag = opener(relay.url, devnet.assets, finality="tag")
    assert (await tag.head()).final_height == 81 - 64
    auto = opener(relay.url, devnet.assets)
    await auto.head()

    def without(params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if params[0] == "finalized":
            return {"error": {"code": -32602, "message": "finalized block not found"}}
        return answer

    relay.bend["eth_getBlockByNumber"] = without
    for chain in (tag, auto):  # told once, its absence is no answer any more
        with pytest.raises(Unavailable, match="finalized"):
            await chain.head()
    late = opener(relay.url, devnet.assets)
    assert (await late.head()).final_height is None
    del relay.bend["eth_getBlockByNumber"]
    assert (await late.head()).final_height is None  # the source is never switched


async def test_head_waits_for_something_newer(devnet: AnvilDevnet, chain: EvmChain) -> None:
    first = await chain.head()
    waiting = asyncio.create_task(chain.head(first))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    await devnet.mine()
    newer = await asyncio.wait_for(waiting, 5)
    assert newer.ref.height == first.ref.height + 1
    assert isinstance(newer, Head)
