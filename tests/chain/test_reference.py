"""The reference ledger does on command what chains do to people."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext

import pytest

from chain_adapter.chain import (
    Asset,
    Block,
    BlockRef,
    InsufficientFunds,
    Intent,
    Payment,
    Rejected,
    Unavailable,
    Watch,
)
from chain_adapter.clock import SystemClock
from chain_adapter.registry import settings_of
from chain_adapter.sandbox.reference import ReferenceDevnet, ReferenceLedger, ReferencePlugin
from chain_adapter.testing import Result, VirtualClock, run_checks, run_live_checks
from tests.chain.wallet import ALL, EVERYTHING, FLAVOURS, PUBLIC, Make, Wallet


async def _story(name: str, flavour: str) -> list[Block]:
    ledger = ReferenceLedger(name, flavour, seed=42)
    wallet = Wallet(ledger)
    await wallet.fund()
    await wallet.send(await wallet.build())
    ledger.mine(3)
    ledger.reorg(2, "reinclude")
    ledger.mine(2)
    blocks = await wallet.read()
    ledger.close()
    return blocks


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_same_seed_same_commands_same_chain(flavour: str) -> None:
    assert await _story("twin", flavour) == await _story("twin", flavour)
    assert await _story("twin", flavour) != await _story("other", flavour)


async def test_thousands_of_blocks_a_second(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    begun = time.process_time()
    wallet.ledger.mine(5000)
    assert len(await wallet.read()) == 5000
    assert time.process_time() - begun < 5


# --- reorganisations ----------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_what_becomes_of_transactions(make_ledger: Make, flavour: str) -> None:
    for mode, included, pending in (
        ("drop", False, False),
        ("return", False, True),
        ("reinclude", True, False),
        ("conflict", False, False),
    ):
        wallet = Wallet(make_ledger(flavour))
        await wallet.fund()
        before = await wallet.chain.balance(wallet.address, wallet.native)
        tx = await wallet.send(await wallet.build())
        wallet.ledger.mine(2)
        old = [wallet.ledger.block(h).hash for h in range(4)]
        wallet.ledger.reorg(2, mode)  # type: ignore[arg-type]
        new = [wallet.ledger.block(h).hash for h in range(4)]
        assert [a == b for a, b in zip(old, new, strict=True)] == [True, True, False, False]
        assert (wallet.height_of(tx) is not None) == included, mode
        assert (tx.txid in wallet.ledger.pending()) == pending, mode
        after = await wallet.chain.balance(wallet.address, wallet.native)
        if mode in ("drop", "return"):
            assert after.amount == before.amount
        if mode == "conflict":
            with pytest.raises(Rejected):
                await wallet.chain.broadcast(tx)
        else:
            await wallet.chain.broadcast(tx)  # the same bytes are good again
            wallet.ledger.mine()
            assert wallet.height_of(tx) is not None, mode


async def test_a_deep_reorganisation_undoes_everything(make_ledger: Make) -> None:
    for flavour in FLAVOURS:
        wallet = Wallet(make_ledger(flavour))
        state = wallet.ledger.state
        genesis = (dict(state.balances), dict(state.sequences), dict(state.coins))
        await wallet.fund()
        for _ in range(20):
            await wallet.send(await wallet.build(1000))
            wallet.ledger.mine()
        wallet.ledger.reorg(wallet.ledger.height, length=1)
        shown = (state.balances, state.sequences, state.coins)
        assert shown == genesis
        assert wallet.ledger.height == 1


async def test_a_shorter_branch_moves_the_head_back(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    wallet.ledger.mine(10)
    wallet.ledger.reorg(5, length=2)
    assert (await wallet.chain.head()).ref.height == 7
    with pytest.raises(ValueError, match="cannot replace"):
        wallet.ledger.reorg(8)


# --- deposits of every kind ---------------------------------------------------------------------


async def test_many_movements_in_one_transaction(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    a, b = (wallet.ledger.address(bytes([i]) * 20) for i in (1, 2))
    txid = wallet.ledger.give([(a, 1), (b, 2), (a, 3)])
    internal = wallet.ledger.give([(a, 9)], places=["call/0.4"])
    wallet.ledger.give([(a, 5)], token=b"\x66" * 20)  # a look-alike
    wallet.ledger.mine()
    (block,) = await wallet.read()
    shown = [(one.txid, one.place, one.to, one.amount) for one in block.transfers]
    assert shown == [
        (txid, "value", a, 1),
        (txid, "call/0.0", b, 2),
        (txid, "call/0.1", a, 3),
        (internal, "call/0.4", a, 9),
    ]
    items = wallet.chain.blocks(BlockRef(0, ""), 1, ALL, "receipts")
    receipts = [block async for block in items]
    assert [one.place for one in receipts[0].transfers] == ["value"]
    assert (block.internal, receipts[0].internal) == (True, False)


async def test_a_token_that_keeps_a_part_is_refuted(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    wallet.ledger.pay(wallet.address, 1000, token=True)
    wallet.ledger.mine()
    wallet.ledger.skim(100)
    wallet.ledger.pay(wallet.address, 1000, token=True)
    wallet.ledger.mine()
    honest, skimmed = [one for block in await wallet.read() for one in block.transfers]
    assert (honest.amount, honest.proof) == (1000, True)
    assert (skimmed.amount, skimmed.proof) == (1000, False)
    assert (await wallet.chain.balance(wallet.address, wallet.token)).amount == 1990


async def test_a_coinbase_waits(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger("coin", maturity=3))
    wallet.ledger.mine(coinbase=(wallet.address, 10**8))
    (block,) = await wallet.read()
    assert [(one.place, one.matures) for one in block.transfers] == [("out/0", 4)]
    tx = await wallet.send(await wallet.build())
    wallet.ledger.mine(2)
    assert wallet.height_of(tx) is None
    wallet.ledger.mine()
    assert wallet.height_of(tx) == 4


async def test_a_memo_of_any_bytes_and_a_reserve(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger("memo", reserve=10**6))
    for memo in (b"", b"\xff\x00", b"7", None):
        wallet.ledger.pay(wallet.address, 10**7, memo=memo)
    wallet.ledger.mine()
    (block,) = await wallet.read(watch=Watch(to=EVERYTHING))
    assert [one.memo for one in block.transfers] == [b"", b"\xff\x00", b"7", None]
    with pytest.raises(InsufficientFunds) as short:
        await wallet.build(4 * 10**7 - 10**6)
    assert short.value.short_by == wallet.chain.inspect(await wallet.build()).max_fee
    new = wallet.ledger.address(b"\x03" * 20)
    for amount, good in ((10**6 - 1, False), (10**6, True)):
        intent = Intent(wallet.address, PUBLIC, (Payment(wallet.native, new, amount),), 10**7)
        if good:
            await wallet.chain.build(intent)
            continue
        with pytest.raises(Rejected, match="reserve") as refused:
            await wallet.chain.build(intent)
        assert not refused.value.for_good


# --- endpoints ----------------------------------------------------------------------------------


async def test_head_waits_for_a_block_in_virtual_time(make_ledger: Make) -> None:
    clock = VirtualClock()
    wallet = Wallet(make_ledger(clock=clock))
    head = await wallet.chain.head()
    waiting = asyncio.create_task(wallet.chain.head(head))
    await clock.advance(9)
    assert not waiting.done()
    wallet.ledger.mine()
    await clock.settle()
    assert (await waiting).ref.height == 1
    late = asyncio.create_task(wallet.chain.head(await wallet.chain.head()))
    assert await clock.run_until(late.done) == 10
    assert (await late).ref.height == 1


async def test_a_ledger_makes_blocks_by_itself(make_ledger: Make) -> None:
    clock = VirtualClock()
    devnet = ReferenceDevnet(make_ledger(clock=clock, real_time=True))
    await devnet.automine(3)
    await clock.advance(30)
    assert devnet.ledger.height == 10
    ledger = devnet.ledger
    assert ledger.block(10).time - ledger.block(1).time == 27
    await devnet.automine(None)
    await clock.advance(30)
    assert devnet.ledger.height == 10


async def test_a_closed_ledger_refuses_connections(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    wallet.ledger.close()
    with pytest.raises(Unavailable):
        await wallet.chain.head()


def test_what_cannot_be_configured(make_ledger: Make) -> None:
    ledger = make_ledger("coin")
    with pytest.raises(ValueError, match="is taken"):
        ReferenceLedger(ledger.name)
    plugin = ReferencePlugin("coin")
    settings = settings_of(plugin, {"flavour": "coin"}, "node")
    gate = lambda _: nullcontext()  # noqa: E731
    native = Asset("REC", None, 8)
    with pytest.raises(ValueError, match="no tokens"):
        plugin.open(settings, {"REC": native, "T": Asset("T", "ab" * 20, 6)}, None, gate)
    with pytest.raises(ValueError, match="exactly one"):
        plugin.open(settings, {}, None, gate)


# --- the checks without pytest ------------------------------------------------------------------


async def test_all_checks_on_one_devnet() -> None:
    for flavour in FLAVOURS:
        plugin = ReferencePlugin(flavour)
        devnet = await plugin.devnet()
        heard: list[Result] = []
        results = await run_checks(devnet, plugin, heard=heard.append)
        assert results == heard
        assert [one for one in results if one.outcome == "failed"] == []
        assert all(one.detail for one in results if one.outcome == "skipped")
        await devnet.close()


async def test_checks_that_only_read(make_ledger: Make) -> None:
    ledger = make_ledger()
    devnet = ReferenceDevnet(ledger)
    ledger.mine(30)
    ledger.pay(ledger.address(b"\x01" * 20), 5)
    ledger.mine(30)
    before = (ledger.height, ledger.pending())
    results = await run_live_checks(ReferencePlugin(), devnet.node, devnet.assets)
    assert {one.outcome for one in results} == {"passed"}
    assert len(results) > 10
    assert (ledger.height, ledger.pending()) == before


def test_the_system_clock_is_the_default(make_ledger: Make) -> None:
    assert isinstance(make_ledger().clock, SystemClock)
