"""What blocks can do to a payment: fail it, lose it, use its lock, pay it under another name."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from chain_adapter.chain import Unavailable
from chain_adapter.errors import PlatformUnreachable
from chain_adapter.platform_api import codes
from chain_adapter.store import pauses, rulings, schema
from chain_adapter.store.alarms import close_alarm
from tests.stories.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.platform import refused
from tests.stories.truth import check, payments


async def in_mempool(world: World) -> str:
    """Wait until a payment is pending; its txid."""
    await world.until(lambda: bool(world.ledger.pending()), mine=False)
    return world.ledger.pending()[0]


async def test_a_payment_that_fails_on_chain_gets_one_new_attempt(either: MakeWorld) -> None:
    world = await either()
    order = await world.order("1")
    world.ledger.fail(await in_mempool(world))
    await world.until(world.ended(order))
    view = world.view(order)
    assert [(a.purpose, a.ok) for a in view.attempts] == [("pay", False), ("pay", True)]
    row = await world.platform.withdrawal(order)
    assert len({h["txid"] for h in row["history"]}) == 2, "the new attempt was claimed again"
    await world.tick(3)
    await check(world)  # the fee told is that of both


async def test_a_payment_that_fails_twice_is_held(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    await in_mempool(w)
    for _ in range(25):
        for txid in w.ledger.pending():
            w.ledger.fail(txid)
        await w.tick()
    assert w.payout(order).held_reason is not None
    assert "payment_failed" in w.alarms()
    await w.tick(4)
    assert len(w.view(order).attempts) == 2
    assert not payments(w)
    assert w.state(order) == "CLAIMED", "a claimed one is never given back by itself"


async def test_a_recipient_that_reverts_after_the_claim_is_held(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    txid = await in_mempool(w)
    w.ledger.revert(w.recipients[order])
    assert txid
    await w.until(lambda: w.payout(order).held_reason is not None, ticks=20)
    assert not payments(w)
    other = await w.order("1")
    await w.until(w.ended(other))


async def test_foreign_use_of_the_key_blocks_signing_until_a_person_answers(
    either: MakeWorld,
) -> None:
    world = await either()
    first = await world.order("1")
    await world.until(world.ended(first))
    claimed = await world.order("2")
    txid = await in_mempool(world)
    lock = world.view(claimed).attempts[0].locks.strip('[]"')
    world.ledger.use_lock(lock)  # somebody else has the key; our payment is pushed out
    assert txid not in world.ledger.pending()
    later = await world.order("3")
    await world.until(lambda: "foreign_use" in world.alarms(), ticks=10)
    before = sum(len(world.view(one).attempts) for one in (claimed, later))
    await world.tick(8)
    assert sum(len(world.view(one).attempts) for one in (claimed, later)) == before
    acknowledge(world)
    await world.until(world.ended(claimed, later))
    await check(world, fees=False)


def acknowledge(world: World) -> None:
    """As `alarms ack` does."""
    table = schema.foreign_uses

    def unit(tx):  # type: ignore[no-untyped-def]
        for row in tx.all(select(table)):
            close_alarm(tx, "foreign_use", f"{row.chain}:{row.txid}", row.chain)
        tx.run(update(table).values(acknowledged_by="alice"))

    world.write(unit)


async def test_what_was_claimed_is_sent_and_reported_though_the_key_was_used(
    world: MakeWorld,
) -> None:
    w = await world()
    first = await w.order("1")
    second = await w.order("2")
    await w.until(lambda: len(w.ledger.pending()) == 2, mine=False)
    last = max(w.view(one).attempts[0].locks for one in (first, second)).strip('[]"')
    prefix, _, number = last.rpartition("/")
    w.ledger.use_lock(f"{prefix}/{int(number) + 1}")
    await w.until(w.ended(first, second))
    assert "foreign_use" in w.alarms()
    await check(w, fees=False)


async def test_a_malleated_payment_is_an_inclusion_under_its_new_name(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    old = await in_mempool(w)
    new = w.ledger.malleate(old)
    await w.until(w.ended(order))
    assert w.payout(order).final_txid == new
    assert (await w.platform.withdrawal(order))["txid"] == new
    assert "malleated" in w.alarms()
    other = await w.order("1")
    await w.until(w.ended(other))
    await w.tick(3)
    await check(w)


async def test_a_transaction_that_expired_is_built_again_only_after_proven_death(
    either: MakeWorld,
) -> None:
    world = await either(expiring=True)
    order = await world.order("1")
    first = await in_mempool(world)
    world.ledger.stick(first)
    world.ledger.endpoint().swallows = True
    while not world.view(order).attempts[0].dead:
        assert len(world.view(order).attempts) == 1, "nothing new before the death is proven"
        await world.tick()
    world.ledger.endpoint().swallows = False
    await world.until(world.ended(order))
    row = await world.platform.withdrawal(order)
    assert len({h["txid"] for h in row["history"] if h["confirm"] == 0}) == 2, "claimed again"
    await world.tick(3)
    await check(world)


async def test_expired_before_its_claim_was_answered_it_waits_for_the_answer(
    world: MakeWorld,
) -> None:
    w = await world(expiring=True)
    w.platform.judge = lambda path, _request: (
        PlatformUnreachable("no answer") if path == "withdraw/notify" else None
    )
    order = await w.order("1")
    await w.tick(30, s=2)
    assert len(w.view(order).attempts) == 1, "a second claim beside an open one is never made"
    w.platform.judge = lambda _path, _request: None
    await w.until(w.ended(order), s=10)
    await w.tick(3)
    await check(w)


async def test_a_refused_claim_of_one_that_expires_goes_back_after_its_death(
    world: MakeWorld,
) -> None:
    w = await world(expiring=True)
    w.platform.before["withdraw/notify"].append(
        refused("withdraw/notify", codes.FINANCE_NOTIFY_ERROR)
    )
    order = await w.order("1")
    await w.until(lambda: "claim_refused" in w.alarms())
    other = await w.order("1")
    await w.until(w.ended(other))
    await w.until(w.ended(order, state="CANCELLED"), ticks=40)
    await w.tick(3)
    await check(w)


async def test_coins_change_is_spent_again_and_immature_ones_are_not(world: MakeWorld) -> None:
    w = await world(flavour="coin", fund=False)
    w.ledger.mine(1, coinbase=(w.hot, 50 * 10**8))
    await w.tick(5)
    order = await w.order("1")
    await w.tick(3)
    assert not w.view(order).attempts, "a coinbase has to mature"
    w.ledger.mine(10)
    await w.until(w.ended(order), ticks=30)
    more = [await w.order("1") for _ in range(3)]
    await w.until(w.ended(*more), ticks=60)
    await w.tick(3)
    await check(w)


async def test_a_payment_with_a_coin_that_never_came_to_be_is_orphaned_and_made_anew(
    world: MakeWorld,
) -> None:
    """The change of a replaced payment is spent, then the replacement wins."""
    w = await world(flavour="coin", fund=False, chain="replace_after_s = 4")
    w.ledger.give([(w.hot, 5 * 10**8)])
    w.ledger.mine()
    await w.tick(5)
    first = await w.order("1")
    await w.until(lambda: len(w.ledger.pending()) == 1, mine=False)
    old = w.ledger.pending()[0]
    w.ledger.stick(old)
    await w.until(lambda: len(w.view(first).attempts) == 2, ticks=12)
    new = w.view(first).attempts[1].txid
    # The older one gets in after all, its change is spent, and then it is thrown out.
    raw = w.view(first).attempts[0].raw
    w.ledger.drop(new)
    w.ledger.submit(bytes(raw))
    w.ledger._pool.stuck.clear()
    w.ledger.mine()
    second = await w.order("2")
    await w.until(lambda: bool(w.payout(second) and w.view(second).attempts), ticks=6, mine=False)
    w.ledger.reorg(w.ledger.height - w.ledger.located(old).height + 1, "drop")  # type: ignore[union-attr]
    w.ledger.submit(bytes(w.view(first).attempts[1].raw))
    await w.until(w.ended(first), ticks=40)
    await w.until(w.ended(second), ticks=60)
    await w.tick(3)
    await check(w)


async def test_a_paused_chain_signs_nothing_but_sends_and_reports(either: MakeWorld) -> None:
    world = await either()
    claimed = await world.order("1")
    await world.until(lambda: world.state(claimed) == "CLAIMED", mine=False)
    world.write(lambda tx: pauses.pause(tx, CHAIN, None, "alice", "looking"))
    waiting = await world.order("2")
    await world.until(world.ended(claimed))
    assert world.state(waiting) == "QUEUED"
    assert not world.view(waiting).attempts
    resume(world, None)
    await world.until(world.ended(waiting))
    await check(world)


async def test_a_paused_asset_stops_only_itself(world: MakeWorld) -> None:
    w = await world()
    w.write(lambda tx: pauses.pause(tx, CHAIN, w.token, "alice", "upgrade"))
    coin, token = await w.order("1"), await w.order("1", w.token)
    await w.until(w.ended(coin))
    assert w.state(token) == "QUEUED"
    resume(w, w.token)
    await w.until(w.ended(token))
    await check(w)


def resume(world: World, asset: str | None) -> None:
    terms = world.daemon.watchers[CHAIN].terms
    assert terms is not None
    world.write(lambda tx: rulings.resume(tx, terms, asset, "alice", "done"))


async def test_a_broadcast_without_an_answer_stops_only_its_line(world: MakeWorld) -> None:
    w = await world()
    w.ledger.endpoint().loses_answers = True
    orders = [await w.order("1") for _ in range(3)]
    await w.until(w.ended(*orders), ticks=40)
    await w.tick(3)
    w.ledger.endpoint().loses_answers = False
    await check(w)


async def test_an_order_that_the_node_cannot_answer_does_not_stop_the_others(
    world: MakeWorld,
) -> None:
    w = await world()
    bad = await w.order("1")
    guard = w.daemon.guards[CHAIN]
    build = guard.build

    async def picky(intent):  # type: ignore[no-untyped-def]
        if any(one.to == w.recipients[bad] for one in intent.payments):
            raise Unavailable("no answer about this one")
        return await build(intent)

    guard.build = picky  # type: ignore[method-assign]
    orders = [await w.order("1") for _ in range(3)]
    await w.until(w.ended(*orders))
    assert w.state(bad) == "QUEUED"
    guard.build = build  # type: ignore[method-assign]
    await w.until(w.ended(bad))
    await check(w)


async def test_random_reorganisations_below_final_change_nothing(world: MakeWorld) -> None:
    w = await world()
    orders, credited = [], 0
    for turn in range(25):
        if turn % 3 == 0:
            orders.append(await w.order("1", (w.native, w.token)[turn % 2]))
        if turn % 5 == 0:
            await w.deposit("1")
            credited += 1
        await w.tick()
        if w.random.random() < 0.5:
            depth = w.random.randint(1, 2)
            mode = w.random.choice(["return", "reinclude"])
            w.ledger.reorg(depth, mode, length=depth + w.random.randint(0, 1))  # type: ignore[arg-type]
    await w.until(w.ended(*orders))
    await w.until(lambda: sum(d.state == "CREDITED" for d in w.deposits()) == credited)
    await w.tick(4)
    assert not w.is_paused()
    await check(w)


@pytest.mark.parametrize("mode", ["drop", "return", "reinclude"])
async def test_a_reorganisation_under_a_void_and_a_payment(world: MakeWorld, mode: str) -> None:
    w = await world()
    w.platform.before["withdraw/notify"].append(
        refused("withdraw/notify", codes.FINANCE_NOTIFY_ERROR)
    )
    orders = [await w.order("1") for _ in range(3)]
    await w.until(lambda: any(w.state(one) == "INCLUDED" for one in orders))
    w.ledger.reorg(2, mode, length=3)  # type: ignore[arg-type]
    ends = {"REPORTED", "CANCELLED"}
    await w.until(lambda: {w.state(one) for one in orders} == ends)
    await w.tick(4)
    assert sorted(str(w.state(one)) for one in orders) == ["CANCELLED", "REPORTED", "REPORTED"]
    await check(w)


async def test_a_void_in_a_block_stands_before_nobody(world: MakeWorld) -> None:
    w = await world(chain="replace_after_s = 600")
    w.platform.before["withdraw/notify"].append(
        refused("withdraw/notify", codes.FINANCE_NOTIFY_ERROR)
    )
    first = await w.order("1")
    await w.until(lambda: any(a.included_height for a in w.view(first).attempts) if w.payout(first)
                  else False)  # fmt: skip
    assert not w.view(first).attempts[1].final
    second = await w.order("1")
    await w.tick(2, mine=False)
    assert w.ledger.pending(), "sent at once, though the void is not final yet"
    await w.until(w.ended(second))
    await w.until(w.ended(first, state="CANCELLED"))
    await w.tick(3)
    await check(w)


async def test_a_nonce_that_nobody_holds_is_used_up(world: MakeWorld) -> None:
    """Three are built in one go; the first is taken away before its lock is committed."""
    w = await world(chain="replace_after_s = 8")
    orders = [await w.order("1") for _ in range(3)]
    submit = w.store.submit
    count = 0

    def meddling(unit):  # type: ignore[no-untyped-def]
        nonlocal count
        count += "reserve" in str(getattr(unit, "func", ""))
        if count == 1 and w.payout(orders[0]).held_reason is None:
            w.hold(orders[0])
        return submit(unit)

    w.store.submit = meddling  # type: ignore[method-assign,assignment]
    await w.until(lambda: all(w.state(one) == "CLAIMED" for one in orders[1:]), mine=False)
    w.store.submit = submit  # type: ignore[method-assign]
    assert not w.view(orders[0]).attempts
    await w.until(w.ended(*orders[1:]), ticks=40)
    w.release(orders[0])
    await w.until(w.ended(*orders))
    await w.tick(4)
    w.recipients["gap"] = w.daemon.accounts.gas("ref").address
    await check(w)
