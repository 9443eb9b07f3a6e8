"""Checks of reading: identity, heads, blocks, transfers, what our own keys sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from chain_adapter.chain import (
    Block,
    BlockRef,
    Family,
    NotOnChain,
    SignedTx,
    Unavailable,
    Watch,
)
from chain_adapter.testing.bench import EVERYTHING, Bench, ensure
from chain_adapter.testing.check import check

SPAN = 20  # blocks below the head that reading checks look at


async def _anchor(bench: Bench) -> BlockRef:
    """A block some way below the head, with its hash."""
    head = await bench.tip()
    if head.height < SPAN and bench._devnet is not None:
        head = await bench.mine(SPAN - head.height)
    height = max(head.height - SPAN + 1, 1)
    block = (await bench.read(BlockRef(height - 1, ""), height))[0]
    return block.ref


def _same(a: list[Block], b: list[Block]) -> bool:
    def shown(blocks: list[Block]) -> list[object]:
        return [
            replace(
                block,
                transfers=tuple(sorted(block.transfers, key=repr)),
                sent=tuple(sorted(block.sent, key=repr)),
            )
            for block in blocks
        ]

    return shown(a) == shown(b)


# --- identity and head --------------------------------------------------------------------------


@check("interface: identity", live=True)
async def identity_is_stable(bench: Bench) -> None:
    """`identity` is one non-empty text, the same from every Chain and at every time."""
    first = await bench.chain.identity()
    ensure(first, f"identity is {first!r}")
    ensure(await bench.chain.identity() == first, "the second answer differs")
    ensure(await bench.open(bench.endpoint).identity() == first, "another Chain says otherwise")
    if bench._devnet is not None:
        await bench.mine(3)
        ensure(await bench.chain.identity() == first, "it changes with the head")
        await bench.reorg(1)
        ensure(await bench.chain.identity() == first, "it changes with a reorganisation")


@check("interface: gate", live=True)
async def every_request_enters_the_gate(bench: Bench) -> None:
    """Identity, head and blocks go through the gate, which limits and counts requests."""
    tip = await bench.tip()
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "identity": bench.chain.identity,
        "head": bench.chain.head,
        "blocks": lambda: bench.read(BlockRef(tip.height - 1, ""), tip.height),
        "balance": lambda: bench.chain.balance(bench.actor().address, bench.native),
    }
    for what, ask in asks.items():
        before = bench.requests
        await ask()
        ensure(bench.requests > before, f"{what} asked a node without entering the gate")


@check("interface: endpoint None", live=True)
async def without_endpoint_nothing_is_asked(bench: Bench) -> None:
    """Opened without an endpoint, what needs a node raises `Unavailable` at once."""
    for ask in (bench.pure.identity, bench.pure.head):
        error = await bench.outcome(ask())
        ensure(isinstance(error, Unavailable), f"got {error!r} instead of Unavailable")


@check("interface: errors", live=True)
async def a_dead_endpoint_is_unavailable(bench: Bench) -> None:
    """An endpoint where nobody listens raises `Unavailable`, no error of a library."""
    scheme, _, _ = bench.endpoint.partition("://")
    dead = bench.open(f"{scheme}://127.0.0.1:1")
    for ask in (dead.identity, dead.head):
        error = await bench.outcome(ask())
        ensure(isinstance(error, Unavailable), f"got {error!r} instead of Unavailable")


@check("interface: head")
async def head_tells_news(bench: Bench) -> None:
    """`head(after)` ends within 15 s, and with the newer block once there is one."""
    before = await bench.chain.head()
    waiting = asyncio.create_task(bench.chain.head(before))
    # Lets the request start, so that a block is made while it waits.
    await asyncio.sleep(0)
    await bench.mine()
    async with asyncio.timeout(15):
        shown = await waiting
    ensure(shown.ref.height >= before.ref.height, f"went back from {before} to {shown}")

    async def newer() -> bool | None:
        head = await bench.chain.head(before)
        return True if head.ref.height == before.ref.height + 1 else None

    await bench.until("a head that is newer than `after`", newer)


@check("laws 1, final", live=True)
async def head_is_a_block(bench: Bench) -> None:
    """The head can be read and has the hash that `head` told; what is final is not above it."""
    head = await bench.chain.head()
    blocks = await bench.read(BlockRef(head.ref.height - 1, ""), head.ref.height)
    if bench._devnet is not None:
        ensure(blocks[-1].ref == head.ref, f"head {head.ref}, block {blocks[-1].ref}")
    final = head.final_height
    ensure(final is None or 0 <= final <= head.ref.height, f"final height {final}")


# --- blocks -------------------------------------------------------------------------------------


@check("laws 1, read", live=True)
async def blocks_are_contiguous(bench: Bench) -> None:
    """Heights rise, each parent is the block before, hashes differ, clock and time do not fall
    back, and the names of method and heights are those asked for."""
    at = await _anchor(bench)
    blocks = await bench.read(at)
    ensure(blocks, "no blocks")
    first = at
    method = bench.info.methods[0].name
    clock = None
    for block in blocks:
        ensure(block.ref.height > at.height, f"{block.ref} after {at}")
        ensure(block.parent_hash == at.hash, f"{block.ref} stands on {block.parent_hash}")
        ensure(clock is None or block.clock >= clock, f"{block.ref}: the clock goes back")
        ensure(block.method == method, f"{block.ref} was read by {block.method!r}, not {method!r}")
        ensure(block.time > 0, f"{block.ref}: time {block.time}")
        at, clock = block.ref, block.clock
    ensure(
        len({block.ref.hash for block in blocks} | {first.hash}) == len(blocks) + 1, "a hash twice"
    )


@check("laws 1, read", live=True)
async def a_read_can_be_resumed(bench: Bench) -> None:
    """Two reads, the second after the last block of the first, give what one read gives."""
    at = await _anchor(bench)
    end = (await bench.tip()).height
    whole = await bench.read(at, end)
    half = whole[len(whole) // 2].ref
    parts = await bench.read(at, half.height) + await bench.read(half, end)
    ensure(_same(whole, parts), "the halves are not the whole")
    ensure(_same(whole, await bench.read(replace(at, hash=""), end)), "without a hash it differs")


@check("laws 3.2", live=True)
async def a_block_reads_the_same_again(bench: Bench) -> None:
    """The same blocks read twice, and by another Chain, are equal."""
    at = await _anchor(bench)
    end = (await bench.tip()).height
    first = await bench.read(at, end)
    ensure(_same(first, await bench.read(at, end)), "the second read differs")
    again = await bench.read(at, end, chain=bench.open(bench.endpoint))
    ensure(_same(first, again), "another Chain reads otherwise")


@check("interface: blocks", live=True)
async def nothing_to_read_is_nothing(bench: Bench) -> None:
    """A read that ends at or before its beginning yields nothing and raises nothing."""
    tip = await bench.tip()
    for last in (tip.height, tip.height - 1):
        ensure(await bench.read(tip, last) == [], f"blocks after {tip.height} up to {last}")


@check("interface: blocks")
async def a_block_that_is_not_there_is_unavailable(bench: Bench) -> None:
    """Beyond the head a read yields what there is and then raises `Unavailable`: ending normally
    would say that all was read."""
    tip = await bench.tip()
    seen: list[Block] = []

    async def read() -> None:
        watch = Watch(to=EVERYTHING)
        async for block in bench.chain.blocks(replace(tip, hash=""), tip.height + 3, watch):
            seen.append(block)

    error = await bench.outcome(read())
    ensure(isinstance(error, Unavailable), f"ended with {error!r}")
    ensure(not seen, f"made up {len(seen)} blocks")


@check("laws 3.4")
async def a_reorganisation_is_seen(bench: Bench) -> None:
    """After a reorganisation a read on the old tip raises `NotOnChain` or shows another parent;
    replaced heights have other hashes, the ones below keep theirs."""
    await bench.mine(5)
    old = (await bench.read(replace(await _anchor(bench), hash="")))[-5:]
    await bench.reorg(2)
    await bench.mine(2)
    lowest = replace(old[0].ref, hash="")
    new = {block.ref.height: block.ref.hash for block in await bench.read(lowest)}
    for block in old[1:3]:
        ensure(new[block.ref.height] == block.ref.hash, f"{block.ref.height} was not replaced")
    for block in old[3:]:
        ensure(new[block.ref.height] != block.ref.hash, f"{block.ref.height} kept its hash")
    tip = old[-1].ref
    parents: list[str] = []

    async def read() -> None:
        async for block in bench.chain.blocks(tip, tip.height + 1, Watch(to=EVERYTHING)):
            parents.append(block.parent_hash)

    error = await bench.outcome(read())
    gone = isinstance(error, NotOnChain) or (parents and parents[0] != tip.hash)
    ensure(gone, f"the lost tip goes unnoticed: {error!r}, parents {parents}")


# --- transfers ----------------------------------------------------------------------------------


@check("laws 3.1")
async def transfers_are_found_exactly(bench: Bench) -> None:
    """Each payment of each asset is one transfer with its txid, amount and recipient; nothing is
    shown twice, nothing to others."""
    start = await bench.tip()
    to, stranger = [bench.actor(), bench.actor()], bench.actor()
    wanted: Counter[tuple[str, str, str, int]] = Counter()
    for asset in bench.assets:
        for nth, actor in enumerate((*to, to[0]), 1):
            amount = bench.some(asset, nth)
            txid = await bench.devnet.pay(asset, actor.address, amount)
            wanted[(txid, asset, actor.address, amount)] += 1
        await bench.devnet.pay(asset, stranger.address, bench.some(asset))
    await bench.mine(2)
    watch = Watch(to=frozenset(actor.key for actor in to))
    found = [one for block in await bench.read(start, None, watch) for one in block.transfers]
    shown = Counter((one.txid, one.asset, one.to, one.amount) for one in found)
    ensure(shown == wanted, f"shown {shown}, paid {wanted}")
    ensure(all(one.place for one in found), "a transfer without a place")
    ensure(all(one.proof is not False for one in found), "an honest transfer is refuted")
    names = Counter((one.txid, one.place) for one in found)
    ensure(max(names.values()) == 1, f"a place names two transfers: {names}")
    kinds = bench.info.methods[0].kinds
    ensure(all(one.place.partition("/")[0] in kinds for one in found), f"places beyond {kinds}")
    coin = bench.info.family is Family.COIN
    ensure(all(bool(one.lock) == coin for one in found), "outputs, and only they, have locks")


@check("laws 3.6")
async def memos_arrive_byte_for_byte(bench: Bench) -> None:
    """A transfer carries exactly the bytes of its memo; without one, None."""
    bench.need(bench.info.memos, "a chain without memos")
    start = await bench.tip()
    to = bench.actor()
    memos = ["7", "0007", "1234567890", None]
    amounts = {}
    for nth, memo in enumerate(memos, 1):
        amounts[nth] = memo
        await bench.devnet.pay(bench.native, to.address, bench.some(nth=nth), memo)
    await bench.mine()
    found = await bench.read(start, None, Watch(to=frozenset({to.key})))
    got = {one.amount: one.memo for block in found for one in block.transfers}
    for nth, memo in enumerate(memos, 1):
        want = None if memo is None else memo.encode()
        shown = got.get(bench.some(nth=nth))
        ensure(shown == want, f"memo {memo!r} arrived as {shown!r}")


@check("laws 3.2")
async def methods_agree(bench: Bench) -> None:
    """Over the kinds that both see, every method shows the same transfers at the same places."""
    bench.need(len(bench.info.methods) > 1, "a chain with one method")
    start = await bench.tip()
    to = bench.actor()
    for asset in bench.assets:
        await bench.devnet.pay(asset, to.address, bench.some(asset))
    await bench.mine()
    watch = Watch(to=frozenset({to.key}))
    first, *more = bench.info.methods
    usual = await bench.read(start, None, watch, first.name)
    for method in more:
        both = first.kinds & method.kinds
        shown = await bench.read(start, None, watch, method.name)
        ensure(all(block.method == method.name for block in shown), "the method is not told")
        ensure(
            _places(usual, both) == _places(shown, both),
            f"{first.name} and {method.name} differ over {sorted(both)}",
        )


def _places(blocks: list[Block], kinds: frozenset[str]) -> set[tuple[str, str, str, str, int]]:
    return {
        (one.txid, one.place, one.asset, one.to, one.amount)
        for block in blocks
        for one in block.transfers
        if one.place.partition("/")[0] in kinds
    }


@check("laws 3.1, D-24")
async def a_transfer_keeps_its_place(bench: Bench) -> None:
    """The same bytes mined again elsewhere give the same txid, place and amount."""
    sender, to = await bench.funded(), bench.actor()
    start = await bench.tip()
    tx = await bench.send(await bench.build(sender, [bench.payment(to.address)]))
    await bench.mine()
    first, _ = await bench.find(tx, start, Watch(to=frozenset({to.key})))
    ensure(len(first) == 1, f"the payment is shown as {first}")
    await bench.reorg(1)
    await bench.mine()
    await _again(bench, tx)
    await bench.mine(2)
    again, _ = await bench.find(tx, start, Watch(to=frozenset({to.key})))
    ensure([replace(one) for one in again] == first, f"first {first}, mined again {again}")


async def _again(bench: Bench, tx: SignedTx) -> None:
    """Send the same bytes until a block has them: nodes need a moment after a reorganisation."""

    async def probe() -> bool | None:
        await bench.chain.broadcast(tx)
        return True

    await bench.until("the same bytes to be accepted again", probe)


@check("interface: watch")
async def the_filter_is_honoured(bench: Bench) -> None:
    """With an empty filter nothing is shown; with one that says yes to all, ours is among it."""
    start = await bench.tip()
    to = bench.actor()
    await bench.devnet.pay(bench.native, to.address, bench.some())
    await bench.mine()
    for block in await bench.read(start, None, Watch(to=frozenset())):
        ensure(not block.transfers and not block.sent, f"{block.ref} shows what nobody asked for")
    wide = await bench.read(start)
    ours = [one for block in wide for one in block.transfers if one.to == to.address]
    ensure(len(ours) == 1, "what a wide filter shows lacks ours")
    for block in wide:
        for one in block.transfers:
            ensure(one.asset in bench.assets and one.amount >= 0, f"shows {one}")


@check("laws 3.1, D-08")
async def other_assets_are_not_shown(bench: Bench) -> None:
    """A token that is not configured is nothing to us, though it moves to our address."""
    bench.need(bench.tokens, "a chain without tokens")
    start = await bench.tip()
    to = bench.actor()
    await bench.devnet.pay(bench.tokens[0], to.address, bench.some(bench.tokens[0]))
    await bench.mine()
    native = {bench.native: bench.assets[bench.native]}
    chain = bench.open(bench.endpoint, native)
    blocks = await bench.read(start, None, Watch(to=frozenset({to.key})), chain=chain)
    shown = [one for block in blocks for one in block.transfers]
    ensure(not shown, f"shows {shown}")


@check("interface: balance", live=True)
async def balances_are_told(bench: Bench) -> None:
    """A fresh address has nothing; a funded one what it was paid, as of a block."""
    fresh = bench.actor()
    shown = await bench.chain.balance(fresh.address, bench.native)
    ensure(shown.amount == 0, f"a fresh address has {shown.amount}")
    ensure(shown.at.height >= 0 and shown.at.hash, f"as of {shown.at}")
    if bench._devnet is None:
        return
    for asset in bench.assets:
        await bench.devnet.pay(asset, fresh.address, bench.some(asset))
    await bench.mine()
    for asset in bench.assets:
        amount = (await bench.chain.balance(fresh.address, asset)).amount
        ensure(amount == bench.some(asset), f"{asset}: {amount}, paid {bench.some(asset)}")


@check("interface: locate")
async def transactions_are_located(bench: Bench) -> None:
    """`locate` tells the block of an included transaction, None for one that nobody knows."""
    txid = await bench.devnet.pay(bench.native, bench.actor().address, bench.some())
    await bench.mine()
    height = (await bench.tip()).height
    shown = await bench.chain.locate(txid)
    ensure(shown is not None and 0 < shown.height <= height, f"{txid} is at {shown}")
    fresh = txid[:-8] + ("0" * 8 if txid[-8:] != "0" * 8 else "1" * 8)
    error = await bench.outcome(bench.chain.locate(fresh))
    ensure(error is None, f"an unknown transaction raises {error!r}")
    ensure(await bench.chain.locate(fresh) is None, "an unknown transaction has a block")
