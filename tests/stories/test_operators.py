"""What people decide, at every state and in the middle of what the daemon is doing."""

from __future__ import annotations

import pytest

from chain_adapter.errors import PlatformUnreachable, StateConflict
from chain_adapter.store import orders
from tests.stories.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.truth import check, payments

NOTIFY = "withdraw/notify"


async def at_state(world: World, state: str) -> str:
    """An order that stands in `state`."""
    if state == "QUEUED":
        world.loop("payer").off = True
        order = await world.order("1")
        await world.tick(2)
    elif state == "RESERVED":
        sign = world.daemon.signer.sign

        async def away(_request: object) -> object:
            raise ConnectionError("the signer is away")

        world.daemon.signer.sign = away  # type: ignore[method-assign,assignment]
        world.known_trouble = (ConnectionError,)
        order = await world.order("1")
        await world.until(lambda: world.state(order) == state)
        world.daemon.signer.sign = sign  # type: ignore[method-assign]
    elif state == "SIGNED":
        world.loop("courier").off = True
        order = await world.order("1")
        await world.until(lambda: world.state(order) == state)
    else:
        order = await world.order("1")
        await world.until(lambda: world.state(order) == state, s=0.5)
    return order


@pytest.mark.parametrize("state", ["QUEUED", "RESERVED", "SIGNED"])
async def test_refused_before_the_claim_it_goes_back(either: MakeWorld, state: str) -> None:
    world = await either()
    order = await at_state(world, state)
    assert world.state(order) == state
    world.refuse(order)
    for name in ("payer", "courier"):
        world.loop(name).off = False
    await world.until(world.ended(order, state="CANCELLED"), ticks=20)
    after = await world.order("1")
    await world.until(world.ended(after))
    await world.tick(3)
    assert not payments(world).get(world.recipients[order])
    await check(world)


@pytest.mark.parametrize("state", ["CLAIMED", "INCLUDED", "FINAL", "REPORTED"])
async def test_after_the_claim_it_cannot_be_refused(world: MakeWorld, state: str) -> None:
    w = await world()
    order = await at_state(w, state)
    with pytest.raises(StateConflict):
        w.refuse(order)
    await w.until(w.ended(order))
    await check(w)


@pytest.mark.parametrize("decision", ["refuse", "hold"])
async def test_a_decision_in_the_middle_of_signing_is_not_lost(
    world: MakeWorld, decision: str
) -> None:
    w = await world()
    sign = w.daemon.signer.sign
    order = await w.order("1")

    async def slow(request: object) -> object:
        w.daemon.signer.sign = sign  # type: ignore[method-assign]
        getattr(w, decision)(order)
        return await sign(request)  # type: ignore[arg-type]

    w.daemon.signer.sign = slow  # type: ignore[method-assign,assignment]
    await w.tick(4)
    assert not [raw for path, raw in w.platform.said if path == NOTIFY], "nothing is claimed"
    assert not payments(w)
    if decision == "hold":
        assert w.state(order) == "SIGNED"
        w.release(order)
        await w.until(w.ended(order))
    else:
        await w.until(w.ended(order, state="CANCELLED"), ticks=20)
    await w.tick(3)
    await check(w)


async def test_a_refusal_that_crosses_the_claims_answer_comes_too_late(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")

    async def meanwhile() -> None:
        w.refuse(order)

    w.platform.after[NOTIFY].append(meanwhile)
    await w.until(lambda: w.state(order) in ("CLAIMED", "INCLUDED", "FINAL"), ticks=20)
    await w.until(w.ended(order))
    await w.tick(3)
    await check(w)


async def test_a_refusal_after_an_unanswered_claim_voids_it_and_a_person_looks(
    world: MakeWorld,
) -> None:
    """The claim did arrive: the platform refuses the cancel, so somebody has to find out."""
    w = await world()
    order = await w.order("1")
    w.platform.after[NOTIFY].append(PlatformUnreachable("reset"))
    await w.until(lambda: w.platform.calls[NOTIFY] == 1, s=0.01)
    w.refuse(order)
    await w.until(lambda: w.payout(order).held_reason is not None, ticks=30)
    assert w.state(order) == "REFUSED"
    assert not payments(w)
    await w.tick(3)
    await check(w)


async def test_the_first_page_of_a_new_ledger_waits_for_a_person(either: MakeWorld) -> None:
    world = await either(top='first_orders = "hold"')
    first = [await world.order("1") for _ in range(3)]
    await world.tick(5)
    assert {world.state(one) for one in first} == {"QUEUED"}
    assert all(world.payout(one).held_reason for one in first)
    world.write(lambda tx: orders.release_first_page(tx, "alice", "they are right"))
    later = await world.order("1")
    await world.until(world.ended(*first, later))
    await check(world)


async def test_an_order_that_waits_too_long_goes_back(world: MakeWorld) -> None:
    w = await world(native='hold_limit = "1h"')
    big = await w.order("100000")
    await w.tick(4)
    assert w.state(big) == "QUEUED"
    await w.tick(4, s=600)
    assert w.state(big) == "QUEUED"
    await w.until(w.ended(big, state="CANCELLED"), s=600, ticks=6)
    assert "hot_wallet_short" not in w.alarms()
    await check(w)


async def test_never_means_never(world: MakeWorld) -> None:
    w = await world(native='hold_limit = "never"')
    big = await w.order("100000")
    await w.tick(6, s=100_000)
    assert w.state(big) == "QUEUED"


async def test_a_page_of_twenty_unpayable_ones_moves_one_at_a_time(either: MakeWorld) -> None:
    world = await either()
    bad = [await world.order("100000") for _ in range(20)]
    good = await world.order("1")
    await world.tick(5, s=10)
    assert world.state(good) is None, "the page is full"
    assert "window_full" in world.alarms()
    await world.until(world.ended(good), ticks=40, s=10)
    states = [world.state(one) for one in bad]
    assert states[0] == "CANCELLED", "the oldest went"
    assert states.count("CANCELLED") <= 3
    assert states.count("QUEUED") >= 17


async def test_a_page_that_people_hold_raises_the_alarm_too(world: MakeWorld) -> None:
    w = await world()
    w.loop("payer").off = True
    page = [await w.order("1") for _ in range(20)]
    await w.tick(2)
    for one in page[:15]:
        w.hold(one)
    w.loop("consumer REF").off = False
    await w.tick(2, s=10)
    assert "window_full" in w.alarms()


async def test_a_claim_that_the_platform_forgot_is_said_again(either: MakeWorld) -> None:
    world = await either()
    order = await world.order("1")
    await world.until(lambda: world.state(order) == "CLAIMED", mine=False)
    world.loop("payer").off = True
    await world.platform.change(order, state="pending")  # as if the claim had never come
    await world.tick(3, mine=False)
    assert (await world.platform.withdrawal(order))["state"] == "paying"
    world.loop("payer").off = False
    await world.until(world.ended(order))
    assert "claim_not_heard" not in world.alarms()
    await check(world)


async def test_pool_is_filled_and_kept_between_its_marks(world: MakeWorld) -> None:
    w = await world()
    for _ in range(12):
        await w.deposit("1")
        await w.tick()
    assert await w.platform.available(w.native) >= 6
    registered = [raw for path, raw in w.platform.said if path == "address/register"]
    assert registered
    assert "pool_mismatch" not in w.alarms()
    await w.tick(6)
    await check(w)
