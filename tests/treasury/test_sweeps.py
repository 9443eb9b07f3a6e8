"""Deposits reach the hot wallet by themselves: worth it, gas first, once, every fee told."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from chain_adapter.core.states import Payout
from chain_adapter.sandbox.reference_tx import NATIVE
from tests.stories.harness import World
from tests.treasury.conftest import collecting
from tests.treasury.truth import burnt, conserve, holdings, payouts, token_asset


async def start(world: Any, *, gas: int = 50, flavour: str = "account", **settings: str) -> World:
    """A world that collects, its gas address funded from outside."""
    w: World = await world(start=False, flavour=flavour)
    collecting(w.config_file, **{"collect_every_s": "1", **settings})
    await w.open()
    if gas and flavour == "account":
        units = gas * 10 ** w.assets[w.native]
        w.ledger.give([(w.daemon.accounts.gas("ref").address, units)], token=False)
        w.funded[w.native] += units
    await w.tick(5)
    return w


def collected(w: World, count: int) -> Any:
    """Whether so many sweeps have ended, and nothing is under way."""

    def holds() -> bool:
        rows = payouts(w, "sweep")
        done = [row for row in rows if row.state == Payout.REPORTED]
        resting = all(row.state in (Payout.REPORTED, Payout.REFUSED) for row in rows)
        return len(done) >= count and resting

    return holds


@pytest.mark.parametrize("flavour", ["account", "coin"])
async def test_main_coin_is_collected_whole(world: Any, flavour: str) -> None:
    w = await start(world, flavour=flavour)
    addresses = [(await w.deposit("2"))[1] for _ in range(3)]
    await w.until(collected(w, 3))
    key = w.daemon.guards["ref"].address_key
    dearest = max(int(a.max_fee) for p in payouts(w, "sweep") for a in w.view(p.trans_id).attempts)
    assert all(w.ledger.state.balance(NATIVE, key(one)) <= dearest for one in addresses)
    rows = await w.platform.internal()
    assert len(rows) == 3
    assert {row["address_to"] for row in rows} == {w.hot}
    hot = w.ledger.state.balance(NATIVE, key(w.hot))
    assert w.units(w.native, rows[-1]["balance"]) == hot
    await w.tick(6)
    await conserve(w)


async def test_a_token_gets_its_gas_first_and_no_more_than_it_needs(world: Any) -> None:
    w = await start(world)
    _, address = await w.deposit("40", w.token)
    await w.until(collected(w, 1))
    (top_up,) = payouts(w, "top-up")
    (sweep,) = payouts(w, "sweep")
    attempts = w.view(sweep.trans_id).attempts
    assert int(top_up.amount) == int(attempts[0].max_fee), "exact to the estimated need"
    key = w.daemon.guards["ref"].address_key(address)
    assert w.ledger.state.balance(token_asset(w), key) == 0
    left = w.ledger.state.balance(NATIVE, key)
    assert left == int(top_up.amount) - int(sweep.fee)
    await w.tick(6)
    await conserve(w)


async def test_what_is_too_small_stays_where_it_is(world: Any) -> None:
    w = await start(world)
    await w.deposit("0.001")
    await w.deposit("1", w.token)
    await w.tick(10)
    assert not payouts(w, "sweep")
    await w.deposit("2")
    await w.until(collected(w, 1))
    assert len(payouts(w, "sweep")) == 1
    await w.tick(6)
    await conserve(w)


async def test_collecting_is_quiet_while_fees_are_high(world: Any) -> None:
    w = await start(world)
    floor = w.ledger.state.fee_floor
    w.ledger.set_fee_floor(floor * 10**13)
    await w.deposit("0.2")
    await w.deposit("40", w.token)
    await w.tick(12)
    assert not payouts(w, "sweep")
    plan = await w.daemon.sweepers["ref"].plan()
    assert {one.verdict for one in plan} == {"the fee is too high for now"}
    assert all(one.fee > 0 for one in plan)
    w.ledger.set_fee_floor(floor)
    await w.until(collected(w, 2))
    await w.tick(6)
    await conserve(w)


async def test_a_sweep_that_fees_overtook_is_given_up_and_planned_anew(world: Any) -> None:
    w = await start(world)
    w.loop("payer").off = True
    await w.deposit("0.2")
    await w.until(lambda: bool(payouts(w, "sweep")))
    floor = w.ledger.state.fee_floor
    w.ledger.set_fee_floor(floor * 10**13)
    w.loop("payer").off = False
    await w.tick(8)
    (first,) = payouts(w, "sweep")
    assert (first.state, first.reason) == (Payout.REFUSED, "the fee is too high for now")
    w.ledger.set_fee_floor(floor)
    await w.until(collected(w, 1))
    assert len(payouts(w, "sweep")) == 2
    await w.tick(6)
    await conserve(w)


async def test_without_gas_it_waits_with_an_alarm_and_goes_on(world: Any) -> None:
    w = await start(world, gas=0)
    await w.deposit("40", w.token)
    await w.until(lambda: "gas_short" in w.alarms())
    units = 10 ** w.assets[w.native]
    w.ledger.give([(w.daemon.accounts.gas("ref").address, units)], token=False)
    await w.until(collected(w, 1))
    await w.tick(6)
    await conserve(w, Counter({w.native: units}))
    assert "gas_short" not in w.alarms()


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_top_up_that_a_reorganisation_drops_comes_again(world: Any, depth: int) -> None:
    w = await start(world)
    await w.deposit("40", w.token)
    await w.until(lambda: any(row.state == Payout.INCLUDED for row in payouts(w, "top-up")))
    w.ledger.reorg(depth)
    await w.until(collected(w, 1))
    assert len(payouts(w, "top-up")) == 1
    await w.tick(6)
    await conserve(w)


async def test_a_sweep_that_a_reorganisation_drops_comes_again(world: Any) -> None:
    w = await start(world)
    await w.deposit("2")
    await w.until(lambda: any(row.state == Payout.INCLUDED for row in payouts(w, "sweep")))
    w.ledger.reorg(1)
    await w.until(collected(w, 1))
    assert len(payouts(w, "sweep")) == 1
    await w.tick(6)
    await conserve(w)


async def test_withdrawals_go_first(world: Any) -> None:
    w = await start(world)
    await w.deposit("40", w.token)
    orders = [await w.order("1") for _ in range(5)]
    await w.until(w.ended(*orders))
    await w.until(collected(w, 1))
    await w.tick(6)
    await conserve(w)


async def test_what_fails_on_chain_is_not_tried_all_day(world: Any) -> None:
    w = await start(world)
    tries = 0
    await w.deposit("2")
    for _ in range(60):
        ours = {a.txid for p in payouts(w, "sweep") for a in w.view(p.trans_id).attempts}
        for txid in set(w.ledger.pending()) & ours:
            w.ledger.fail(txid)
            tries += 1
        await w.tick()
    assert tries == 2, "one new attempt, then a day's rest"
    (sweep,) = payouts(w, "sweep")
    assert sweep.state == Payout.REFUSED
    told = await w.platform.internal()
    assert sum(w.units(w.native, row["fee"]) for row in told) == burnt(w)
    await conserve(w)


async def test_above_its_ceiling_the_hot_wallet_gives_to_the_cold_address(world: Any) -> None:
    w: World = await world(start=False)
    cold = w.stranger()
    text = w.config_file.read_text().replace(
        "[chains.ref.assets.REF]\n",
        f'[chains.ref.assets.REF]\nhot_floor = "100"\nhot_ceiling = "600"\n'
        f'cold_address = "{cold}"\n',
    )
    w.config_file.write_text(text)
    collecting(w.config_file, collect_every_s="1")
    await w.open(fund=False)
    w.loop("sweeper").off = True
    order = await w.order("500")
    await w.tick(2)
    w.loop("sweeper").off = False
    await w.fund()  # 1000, of which 500 are owed
    await w.until(w.ended(order))
    assert not payouts(w, "cold"), "what users wait for is not put away"
    units = 200 * 10 ** w.assets[w.native]
    w.ledger.give([(w.hot, units)])
    w.funded[w.native] += units
    await w.until(lambda: any(row.state == Payout.REPORTED for row in payouts(w, "cold")))
    (transfer,) = payouts(w, "cold")
    key = w.daemon.guards["ref"].address_key
    assert w.ledger.state.balance(NATIVE, key(cold)) == int(transfer.amount)
    assert transfer.to == cold
    await w.tick(6)
    w.funded[w.native] -= int(transfer.amount)  # it left our addresses on purpose
    await conserve(w)
    assert "hot_below_floor" not in w.alarms()
    assert holdings(w)[w.native] <= 600 * 10 ** w.assets[w.native]
