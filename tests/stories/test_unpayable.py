"""Orders that cannot be paid: those that never can go back, those that cannot now wait."""

from __future__ import annotations

from tests.stories.conftest import MakeWorld
from tests.stories.truth import check, payments


async def test_bad_orders_go_back_and_good_ones_are_paid(either: MakeWorld) -> None:
    world = await either()
    own, _ = await world.platform.user(world.native)
    token = world.ledger.address(world.ledger.token)
    nobody = world.ledger.address(bytes(20))
    bad = {
        "no address": await world.order("1", to="not an address"),
        "empty address": await world.order("1", to=""),
        "one digit off": await world.order("1", to=world.stranger()[:-1] + "?"),
        "memo on a chain without": await world.order("1", memo="hello"),
        "own deposit address": await world.order("1", to=own),
        "own hot address": await world.order("1", to=world.hot),
        "token contract": await world.order("1", to=token),
        "zero address": await world.order("1", to=nobody),
        "finer than the chain": await world.order("1.0000001", world.token),
        "zero": await world.order("0"),
        "negative": await world.order("-1"),
        "too fine by exponent": await world.order("1e-7", world.token),
    }
    good = {
        "exponent": await world.order("1e-6", world.token),
        "big exponent": await world.order("1.5E+1", world.token),
        "trailing zeros": await world.order("1.5000000000", world.token),
    }
    await world.until(world.ended(*bad.values(), state="CANCELLED"), ticks=30)
    await world.until(world.ended(*good.values()))
    await world.tick(3)
    paid = payments(world)
    assert [one.amount for one in paid[world.recipients[good["exponent"]]]] == [1]
    assert [one.amount for one in paid[world.recipients[good["big exponent"]]]] == [15_000_000]
    assert [one.amount for one in paid[world.recipients[good["trailing zeros"]]]] == [1_500_000]
    assert not any(paid.get(world.recipients[one]) for one in bad.values())
    for name, trans_id in bad.items():
        assert not world.view(trans_id).attempts, f"{name}: something was built for it"
    world.recipients = {k: v for k, v in world.recipients.items() if k in good.values()}
    await check(world)


async def test_a_recipient_that_reverts_goes_back_with_the_funds_at_hand(world: MakeWorld) -> None:
    w = await world()
    to = w.stranger()
    w.ledger.revert(to)
    order = await w.order("1", to=to)
    other = await w.order("1")
    await w.until(w.ended(order, state="CANCELLED"), ticks=20)
    await w.until(w.ended(other))
    await check(w)


async def test_the_hot_wallet_is_short_small_ones_go_on_and_the_rest_when_it_is_filled(
    either: MakeWorld,
) -> None:
    world = await either(fund=False)
    await world.fund(10)
    await world.tick(4)
    big = [await world.order("50"), await world.order("80", world.token)]
    small = [await world.order("1"), await world.order("2", world.token), await world.order("3")]
    await world.until(world.ended(*small))
    assert {world.state(one) for one in big} == {"QUEUED"}
    assert "hot_wallet_short" in world.alarms()
    await world.fund(200)
    await world.until(world.ended(*big))
    assert "hot_wallet_short" not in world.alarms()
    await world.tick(3)
    await check(world)


async def test_unpayable_ones_at_the_front_do_not_starve_those_behind(world: MakeWorld) -> None:
    """Orders that users took back stay QUEUED in our books; more of them than one batch."""
    w = await world(native="window_s = 3600")
    w.loop("payer").off = True
    for _ in range(5):
        gone = [await w.order("1") for _ in range(20)]
        await w.tick()
        for one in gone:
            await w.platform.user_cancels(one)
            del w.recipients[one]
    w.loop("payer").off = False
    orders = [await w.order("1") for _ in range(3)]
    await w.until(w.ended(*orders), ticks=20)


async def test_a_fee_above_the_cap_waits_with_an_alarm(world: MakeWorld) -> None:
    w = await world(chain='fee_cap = "0.000000000000005"')  # 5,000 base units
    w.ledger.set_fee_floor(10_000)
    order = await w.order("1")
    await w.tick(6)
    assert w.state(order) == "QUEUED"
    assert "fee_above_cap" in w.alarms()
    w.ledger.set_fee_floor(1000)
    await w.until(w.ended(order))
    assert "fee_above_cap" not in w.alarms()
    await check(w)
