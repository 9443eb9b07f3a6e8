"""Blocks of a real node into transfers: true ones once, false ones never, by every method alike."""

from __future__ import annotations

import random

import pytest

from chain_adapter.chain import BlockRef, NotOnChain, Rejected, Unavailable, Watch
from chain_adapter_evm.chain import EvmChain
from chain_adapter_evm.devnet import AnvilDevnet
from plugins.evm.tests.parts import (
    START,
    Opener,
    Relay,
    key_of,
    read,
    stranger,
    transfers,
    watching,
)

US, THEM = stranger(1), stranger(2)


async def test_native_and_tokens(devnet: AnvilDevnet, chain: EvmChain) -> None:
    native = await devnet.pay("ETH", US, 5)
    token = await devnet.pay("USDT", US, 7)
    await devnet.pay("ETH", THEM, 9)
    await devnet.pay("USDT", THEM, 9)
    await devnet.mine()
    (_, block) = await read(chain, watching(US))
    found = {t.txid: t for t in block.transfers}
    assert set(found) == {native, token}
    assert (found[native].asset, found[native].place, found[native].amount) == ("ETH", "value", 5)
    assert (found[token].asset, found[token].place, found[token].amount) == ("USDT", "log/0", 7)
    assert {t.to for t in block.transfers} == {US}
    assert {t.sender for t in block.transfers} == {devnet.address}
    assert (found[native].proof, found[token].proof) == (None, True)
    assert block.clock == block.ref.height
    assert block.internal


async def test_several_in_one_transaction(devnet: AnvilDevnet, chain: EvmChain) -> None:
    await devnet.split("ETH", [(US, 1), (THEM, 2), (US, 3)])
    await devnet.split("USDT", [(THEM, 4), (US, 5), (US, 6)])
    await devnet.mine()
    found = transfers(await read(chain, watching(US)))
    # places count among all that the transaction did, not among what is ours
    assert found == [
        ("ETH", "call/0", 1),
        ("ETH", "call/2", 3),
        ("USDT", "log/1", 5),
        ("USDT", "log/2", 6),
    ]


async def test_moved_by_contracts(devnet: AnvilDevnet, opener: Opener) -> None:
    """Call, self-destruction and a detour; not the failed ones; places alike by both tracers."""
    for function, amount in [
        ("forward(address)", 11),
        ("forwardAndRevert(address)", 12),
        ("tryForward(address)", 13),
        ("destroyTo(address)", 14),
        ("detour(address)", 15),
    ]:
        await devnet.through(function, US, amount)
    await devnet.mine()
    expected = [("ETH", "call/0", 11), ("ETH", "call/0.0", 14), ("ETH", "call/1", 15)]
    chain = opener(devnet.url, devnet.assets)
    assert transfers(await read(chain, watching(US))) == expected


async def test_call_tracer_tells_the_same(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    relay.error("trace_block", -32601, "the method trace_block does not exist/is not available")
    for function in ("forward", "forwardAndRevert", "tryForward", "destroyTo", "detour"):
        await devnet.through(f"{function}(address)", US, 11)
    await devnet.split("ETH", [(US, 1), (US, 2)])
    await devnet.mine()
    by_frames = await read(opener(relay.url, devnet.assets), watching(US))
    assert relay.count("debug_traceBlockByHash") == 2
    by_traces = await read(opener(devnet.url, devnet.assets), watching(US))
    assert transfers(by_frames) == transfers(by_traces) != []
    assert all(block.internal for block in by_frames)


async def test_without_traces(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    await devnet.forward(US, 11)
    await devnet.pay("ETH", US, 5)
    await devnet.mine()
    off = opener(devnet.url, devnet.assets, traces="off")
    blocks = await read(off, watching(US))
    assert transfers(blocks) == [("ETH", "value", 5)]
    assert not any(block.internal for block in blocks)
    assert "call" not in off.info.methods[0].kinds
    for method in ("trace_block", "debug_traceBlockByNumber", "debug_traceBlockByHash"):
        relay.error(method, -32601, "Method not found")
    blocks = await read(opener(relay.url, devnet.assets, traces="auto"), watching(US))
    assert not any(block.internal for block in blocks)
    with pytest.raises(Unavailable, match="traces are required"):
        await read(opener(relay.url, devnet.assets, traces="required"), watching(US))


async def test_pruned_traces(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    """Old blocks of a node that keeps no old state: allowed by auto, and every block says so."""
    auto = opener(relay.url, devnet.assets)
    await auto.check()
    required = opener(relay.url, devnet.assets, traces="required")
    await required.check()
    relay.error("trace_block", -32000, "missing trie node 0xabc (path )")
    assert not (await read(auto, watching(US)))[0].internal
    with pytest.raises(Unavailable, match="missing trie node"):
        await read(required, watching(US))
    relay.error("trace_block", -32000, "internal error")
    with pytest.raises(Unavailable, match="internal error"):
        await read(auto, watching(US))


async def test_incomplete_traces(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    await devnet.forward(US, 11)
    await devnet.forward(US, 12)
    await devnet.mine()
    chain = opener(relay.url, devnet.assets)
    relay.bend["trace_block"] = lambda params, answer: {"result": answer["result"][:2]}
    with pytest.raises(Unavailable, match="not complete"):
        await read(chain, watching(US), after=BlockRef(1, ""))
    relay.bend["trace_block"] = lambda params, answer: {"result": []}
    with pytest.raises(Unavailable, match="not complete"):
        await read(chain, watching(US), after=BlockRef(1, ""))


async def test_second_method_agrees(devnet: AnvilDevnet, chain: EvmChain) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.pay("USDT", US, 7)
    await devnet.split("USDT", [(US, 1), (US, 2)])
    await devnet.failing(US, 3)
    await devnet.mine()
    senders = frozenset({devnet.address})
    logs = await read(chain, watching(US, senders=senders))
    receipts = await read(chain, watching(US, senders=senders), method="receipts")
    kinds = {method.name: method.kinds for method in chain.info.methods}
    both = kinds["logs"] & kinds["receipts"]
    for one, other in zip(logs, receipts, strict=True):
        assert one.sent == other.sent
        seen = [t for t in one.transfers if t.place.split("/")[0] in both]
        assert sorted(seen, key=str) == sorted(other.transfers, key=str)
        assert (one.ref, one.method, other.method) == (other.ref, "logs", "receipts")
    assert len(transfers(receipts)) == 4
    with pytest.raises(Rejected, match="not guess"):
        await read(chain, watching(US), method="guess")


async def test_failed_value_is_no_deposit(devnet: AnvilDevnet, chain: EvmChain) -> None:
    """The transaction names us as recipient and carries value, but its receipt says 0."""
    await devnet.revert(US)
    txid = await devnet.pay("ETH", US, 5)
    await devnet.mine()
    receipt = await devnet.rpc("eth_getTransactionReceipt", txid)
    assert receipt["status"] == "0x0"
    senders = frozenset({devnet.address})
    (block,) = await read(chain, watching(US, senders=senders), after=BlockRef(1, ""))
    assert block.transfers == ()
    (sent,) = block.sent
    assert (sent.ok, sent.moved) == (False, ())
    assert sent.fee == int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)


async def test_sent_tells_what_our_keys_did(devnet: AnvilDevnet, chain: EvmChain) -> None:
    native = await devnet.pay("ETH", THEM, 5)
    token = await devnet.pay("USDT", THEM, 7)
    failed = await devnet.failing(THEM, 3)
    batch = await devnet.split("USDT", [(US, 1), (THEM, 2)])
    await devnet.mine()
    count = int(await devnet.rpc("eth_getTransactionCount", devnet.address, "latest"), 16)
    senders = frozenset({devnet.address})
    (block,) = await read(chain, Watch(frozenset(), senders), after=BlockRef(1, ""))
    sent = {one.txid: one for one in block.sent}
    assert list(sent) == [native, token, failed, batch]
    assert [one.locks for one in block.sent] == [
        (f"{devnet.address}/{nonce}",) for nonce in range(count - 4, count)
    ]
    assert [(p.asset, p.to, p.amount) for p in sent[native].moved] == [("ETH", THEM, 5)]
    assert [(p.asset, p.to, p.amount) for p in sent[token].moved] == [("USDT", THEM, 7)]
    assert [(p.asset, p.to, p.amount) for p in sent[batch].moved] == [
        ("USDT", US, 1),
        ("USDT", THEM, 2),
    ]
    assert (sent[failed].ok, sent[failed].moved) == (False, ())
    spent = 0
    for txid in sent:
        receipt = await devnet.rpc("eth_getTransactionReceipt", txid)
        spent += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert sum(one.fee for one in block.sent) == spent
    before = int(await devnet.rpc("eth_getBalance", devnet.address, "0x1"), 16)
    after = int(await devnet.rpc("eth_getBalance", devnet.address, "0x2"), 16)
    assert before - after == spent + 5
    assert (await read(chain, Watch(frozenset()), after=BlockRef(1, "")))[0].sent == ()


class Vectorised:
    """A filter that looks up many keys at once, and offers nothing else."""

    def __init__(self, *addresses: str) -> None:
        self.keys = {key_of(address) for address in addresses}
        self.calls = 0

    def hits(self, keys: list[bytes]) -> list[int]:
        self.calls += 1
        return [index for index, key in enumerate(keys) if key in self.keys]

    def __contains__(self, key: object) -> bool:
        raise AssertionError("one by one")


class InOnePiece:
    """A filter that takes the keys one after another."""

    def __init__(self, *addresses: str) -> None:
        self.keys = {key_of(address) for address in addresses}

    def hits_in(self, joined: bytes, width: int) -> list[int]:
        count = len(joined) // width
        return [n for n in range(count) if joined[n * width : (n + 1) * width] in self.keys]

    def __contains__(self, key: object) -> bool:
        raise AssertionError("one by one")


class OnlyContains:
    """A container of senders that cannot be listed."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)

    def __contains__(self, address: object) -> bool:
        return address in self.addresses


async def test_filters_of_other_kinds(devnet: AnvilDevnet, chain: EvmChain) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.pay("USDT", US, 7)
    await devnet.mine()
    filter_, many = Vectorised(US), Vectorised(devnet.address)
    watch = Watch(filter_, OnlyContains(devnet.address))
    (block,) = await read(chain, watch, after=BlockRef(1, ""))
    assert filter_.calls
    (same,) = await read(chain, Watch(filter_, many), after=BlockRef(1, ""))  # type: ignore[arg-type]
    assert (same, bool(many.calls)) == (block, True)
    assert len(block.transfers) == len(block.sent) == 2
    assert (await read(chain, Watch(InOnePiece(US)), after=BlockRef(1, "")))[0].transfers


async def test_reorganisation(devnet: AnvilDevnet, chain: EvmChain) -> None:
    await devnet.pay("ETH", US, 5)
    await devnet.mine(3)
    blocks = await read(chain, watching(US))
    head = await chain.head()
    assert [block.parent_hash for block in blocks[1:]] == [b.ref.hash for b in blocks[:-1]]
    await devnet.reorg(2)
    again = await chain.head(head)
    assert again.ref.height == head.ref.height
    assert again.ref.hash != head.ref.hash
    await devnet.mine()
    with pytest.raises(NotOnChain):
        await read(chain, watching(US), after=head.ref)
    common = blocks[-3].ref
    assert (await read(chain, watching(US), after=common))[0].parent_hash == common.hash
    await devnet.reorg(4)
    assert transfers(await read(chain, watching(US))) == []


async def test_reorganisation_while_reading(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    """The tip we hold leaves the chain between two batches."""
    await devnet.mine(5)
    chain = opener(relay.url, devnet.assets, batch=1, window=1)
    seen = []
    with pytest.raises(NotOnChain):
        async for block in chain.blocks(START, 6, watching(US)):
            seen.append(block.ref)
            if block.ref.height == 4:
                await devnet.reorg(4)
                await devnet.mine()
    assert [ref.height for ref in seen][:4] == [1, 2, 3, 4]


async def test_missing_blocks(devnet: AnvilDevnet, chain: EvmChain) -> None:
    head = (await chain.head()).ref
    seen = []
    with pytest.raises(Unavailable, match=f"lacks block {head.height + 1}"):
        async for block in chain.blocks(START, head.height + 5, watching(US)):
            seen.append(block.ref.height)
    assert seen == list(range(1, head.height + 1))
    assert await read(chain, watching(US), after=head) == []


async def test_many_batches_in_order(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    rng = random.Random(7)
    expected = []
    for number in range(40):
        if rng.random() < 0.5:
            await devnet.pay("ETH", US, number + 1)
            expected.append(number + 1)
        await devnet.mine()
    chain = opener(relay.url, devnet.assets, batch=4, window=6)
    blocks = await read(chain, watching(US))
    assert [block.ref.height for block in blocks] == list(range(1, 42))
    assert [t.amount for block in blocks for t in block.transfers] == expected
    # receipts are asked for our hits alone
    assert relay.count("eth_getTransactionReceipt") == len(expected)


async def test_stopping_early_leaves_nothing_running(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    await devnet.mine(60)
    chain = opener(relay.url, devnet.assets, batch=2, window=4)
    stream = chain.blocks(START, 60, watching(US))
    assert (await anext(stream)).ref.height == 1
    await stream.aclose()  # type: ignore[attr-defined]
    asked = len(relay.asked)
    await chain.head()
    assert len(relay.asked) <= asked + 2


async def test_balance_and_locate(devnet: AnvilDevnet, chain: EvmChain) -> None:
    native = await devnet.pay("ETH", US, 5)
    await devnet.pay("USDT", US, 7)
    assert await chain.locate(native) is None
    await devnet.mine()
    head = (await chain.head()).ref
    assert (await chain.balance(US, "ETH")).amount == 5
    assert (await chain.balance(US, "USDT")).amount == 7
    assert (await chain.balance(US, "USDT")).at == head
    assert await chain.locate(native) == head
    assert await chain.locate("0x" + "ab" * 32) is None
    with pytest.raises(Rejected, match="DOGE"):
        await chain.balance(US, "DOGE")
