"""Withdrawals that go well, wait, or cannot be paid."""

from __future__ import annotations

import json

import pytest

from chain_adapter.errors import PlatformUnreachable
from chain_adapter.platform_api import codes
from tests.stories.conftest import MakeWorld
from tests.stories.platform import refused
from tests.stories.truth import check, payments

NOTIFY = "withdraw/notify"
REFUSAL = refused(NOTIFY, codes.FINANCE_NOTIFY_ERROR)


def of(trans_id: str):  # type: ignore[no-untyped-def]
    """Judges messages about one withdrawal."""
    return lambda request: getattr(getattr(request, "trans_id", None), "text", None) == trans_id


@pytest.mark.parametrize(
    ("flavour", "expiring"),
    [("account", False), ("coin", False), ("memo", False), ("account", True), ("memo", True)],
)
async def test_paid_and_reported_on_every_flavour(
    world: MakeWorld, flavour: str, expiring: bool
) -> None:
    w = await world(flavour=flavour, expiring=expiring)
    orders = [await w.order("0.5") for _ in range(4)]
    if flavour != "coin":
        orders.append(await w.order("2.25", w.token))
    if flavour == "memo":
        orders.append(await w.order("1", memo="for carol"))
    await w.until(w.ended(*orders))
    await w.tick(3)
    await check(w)
    for trans_id in orders:
        row = await w.platform.withdrawal(trans_id)
        assert row["state"] == "complete"
        assert row["history"][0]["confirm"] == 0, "the claim comes first"
        assert [h["confirm"] for h in row["history"][1:]] == sorted(
            h["confirm"] for h in row["history"][1:]
        )
        assert row["history"][1]["confirm"] >= 3, "nothing above 0 before FINAL"


async def test_money_leaves_only_after_the_claim_is_acknowledged(either: MakeWorld) -> None:
    world = await either()
    world.platform.before[NOTIFY].extend(PlatformUnreachable("no answer") for _ in range(5))
    order = await world.order("1")
    await world.until(lambda: world.state(order) == "SIGNED")
    for _ in range(3):
        await world.tick()
        assert not world.ledger.pending()
        assert not payments(world)
    await world.until(world.ended(order), s=5)
    await check(world)


async def test_a_refused_claim_is_voided_and_the_order_goes_back_within_a_page(
    either: MakeWorld,
) -> None:
    world = await either()
    world.platform.before[NOTIFY].append(REFUSAL)
    order = await world.order("1")
    await world.until(lambda: "claim_refused" in world.alarms())
    await world.until(world.ended(order, state="CANCELLED"), ticks=15)
    await world.tick(4)
    row = await world.platform.withdrawal(order)
    assert row["state"] == "cancelled"
    assert row["cancelled_by"] == "chain"
    (internal,) = await world.platform.internal()
    assert internal["amount"] == "0", "the void burnt a fee, and the platform is told"
    assert "claim_refused" not in world.alarms()
    after = await world.order("1")
    await world.until(world.ended(after))
    await world.tick(3)
    await check(world)


async def test_nothing_behind_an_unanswered_claim_is_sent_and_then_all_goes_on(
    either: MakeWorld,
) -> None:
    world = await either()
    first = await world.order("1")
    is_first = of(first)
    world.platform.judge = lambda path, request: (
        PlatformUnreachable("no answer")
        if path == NOTIFY and is_first(request) else None
    )  # fmt: skip
    await world.until(lambda: world.state(first) == "SIGNED")
    others = [await world.order("1") for _ in range(4)]
    await world.tick(30, s=5)
    assert not payments(world)
    assert not world.ledger.pending()
    assert {world.state(one) for one in [first, *others]} == {"SIGNED"}
    world.platform.judge = lambda _path, _request: None
    await world.until(world.ended(first, *others), s=5)
    await check(world)


async def test_a_claim_that_fails_alone_raises_an_alarm_and_a_person_can_refuse_it(
    world: MakeWorld,
) -> None:
    w = await world()
    first = await w.order("1")
    is_first = of(first)
    w.platform.judge = lambda path, request: (
        refused(path, codes.SYSTEM_ERROR)
        if path == NOTIFY and is_first(request) else None
    )  # fmt: skip
    await w.until(lambda: w.state(first) == "SIGNED")
    second = await w.order("1")
    for _ in range(6):
        await w.deposit("1")
        await w.tick(4, s=10)
    assert "claim_failing" in w.alarms()
    w.refuse(first)
    await w.until(w.ended(second), s=5)
    await w.until(w.ended(first, state="CANCELLED"), s=5)
    assert "claim_failing" not in w.alarms()
    await w.tick(3)
    await check(w)


async def test_twenty_at_once_with_one_refused_in_the_middle(either: MakeWorld) -> None:
    world = await either()
    orders = [await world.order("1", (world.native, world.token)[i % 2]) for i in range(20)]
    is_middle = of(orders[10])
    world.platform.judge = lambda path, request: (
        REFUSAL if path == NOTIFY and is_middle(request) else None
    )
    others = [one for one in orders if one != orders[10]]
    took = await world.until(world.ended(*others), ticks=60)
    assert took <= 60
    await world.until(world.ended(orders[10], state="CANCELLED"), ticks=20)
    await world.tick(4)
    view = world.view(orders[10])
    assert [a.purpose for a in view.attempts] == ["pay", "void"]
    assert view.attempts[1].final, "its nonce was voided"
    assert not payments(world).get(world.recipients[orders[10]])
    await check(world)


async def test_more_than_a_page_is_paid(world: MakeWorld) -> None:
    w = await world()
    orders = [await w.order("1") for _ in range(50)]
    await w.until(w.ended(*orders), ticks=120)
    await w.tick(3)
    await check(w)


async def test_a_user_cancels_between_consume_and_claim(either: MakeWorld) -> None:
    world = await either()
    order = await world.order("1")
    await world.step("consumer")
    await world.platform.user_cancels(order)
    world.loop("consumer REF").off = True
    await world.until(lambda: world.state(order) == "REFUSED", ticks=20)
    world.loop("consumer REF").off = False
    await world.tick(5)
    assert not payments(world)
    row = await world.platform.withdrawal(order)
    assert row["cancelled_by"] == "user"
    after = await world.order("1")
    await world.until(world.ended(after))
    await world.tick(3)
    await check(world)


@pytest.mark.parametrize("change", [{"amount": "2"}, {"address_to": "new"}, {"memo": "x"}])
async def test_changed_content_is_held_with_an_alarm_and_not_paid(
    either: MakeWorld, change: dict[str, str]
) -> None:
    world = await either()
    world.loop("payer").off = True
    order = await world.order("1")
    await world.tick(2)
    assert world.state(order) == "QUEUED"
    if "address_to" in change:
        change = {"address_to": world.stranger()}
    await world.platform.change(order, **change)
    world.loop("payer").off = False
    await world.tick(6)
    row = world.payout(order)
    assert row.held_reason is not None
    assert "order_changed" in world.alarms()
    assert row.state == "QUEUED"
    other = await world.order("1")
    await world.until(world.ended(other))
    assert not payments(world).get(world.recipients[order])
    # A person decides: it goes back, whatever it says now.
    world.refuse(order)
    await world.until(world.ended(order, state="CANCELLED"), ticks=10)
    await world.tick(3)
    await check(world)


async def test_content_that_changes_back_is_paid_after_a_release(world: MakeWorld) -> None:
    w = await world()
    w.loop("payer").off = True
    order = await w.order("1")
    await w.tick(2)
    await w.platform.change(order, amount="2")
    await w.tick(2)
    await w.platform.change(order, amount="1.0")
    w.loop("payer").off = False
    await w.tick(3)
    assert w.state(order) == "QUEUED", "held until a person looks"
    w.release(order)
    await w.until(w.ended(order))
    await check(w)


async def test_content_changed_between_signature_and_claim_waits_for_a_person(
    either: MakeWorld,
) -> None:
    world = await either()
    world.loop("courier").off = True
    order = await world.order("1")
    await world.until(lambda: world.state(order) == "SIGNED")
    await world.platform.change(order, amount="2")
    behind = await world.order("1")
    world.loop("courier").off = False
    await world.tick(6)
    assert world.payout(order).held_reason is not None
    assert "order_changed" in world.alarms()
    assert not payments(world), "its claim waits for a person, and the line behind it"
    world.refuse(order)
    await world.until(world.ended(behind), ticks=20)
    await world.until(world.ended(order, state="CANCELLED"), ticks=10)
    await world.tick(3)
    await check(world)


async def test_a_stuck_payment_is_replaced_under_the_same_lock_and_paid_once(
    either: MakeWorld,
) -> None:
    world = await either(chain="replace_after_s = 5")
    order = await world.order("1")
    await world.until(lambda: len(world.ledger.pending()) == 1, mine=False)
    first = world.ledger.pending()[0]
    world.ledger.stick(first)
    await world.until(lambda: len(world.view(order).attempts) >= 2, ticks=15)
    await world.until(world.ended(order))
    view = world.view(order)
    assert len({a.locks for a in view.attempts}) == 1
    assert {a.purpose for a in view.attempts} == {"pay", "replace"}
    fees = [int(a.max_fee) for a in view.attempts]
    assert fees == sorted(set(fees)), "each costs more than the one before"
    row = await world.platform.withdrawal(order)
    assert len({h["txid"] for h in row["history"]}) >= 2, "the replacement is told"
    await world.tick(3)
    await check(world)


async def test_a_refused_replacement_notice_stops_nothing(world: MakeWorld) -> None:
    w = await world(chain="replace_after_s = 5")
    w.platform.rule["replacement"] = "refuse"
    order = await w.order("1")
    await w.until(lambda: len(w.ledger.pending()) == 1, mine=False)
    w.ledger.stick(w.ledger.pending()[0])
    await w.until(lambda: w.state(order) == "FINAL", ticks=40)
    w.platform.rule["replacement"] = "accept"
    await w.until(w.ended(order), s=60)
    await w.tick(3)
    await check(w)


async def test_nothing_is_replaced_while_it_is_held(world: MakeWorld) -> None:
    w = await world(chain="replace_after_s = 5")
    order = await w.order("1")
    await w.until(lambda: len(w.ledger.pending()) == 1, mine=False)
    w.ledger.stick(w.ledger.pending()[0])
    w.hold(order)
    await w.tick(12)
    assert len(w.view(order).attempts) == 1, "held: nothing of it is signed"
    w.release(order)
    await w.until(w.ended(order))
    await check(w)


async def test_a_reorganisation_of_an_included_payment_sends_the_same_bytes_again(
    either: MakeWorld,
) -> None:
    world = await either()
    order = await world.order("1")
    await world.until(lambda: world.state(order) == "INCLUDED")
    txid = world.view(order).attempts[0].txid
    world.ledger.reorg(1, "drop", length=2)
    await world.tick(1, mine=False)
    assert world.state(order) == "CLAIMED"
    await world.until(world.ended(order))
    assert [a.txid for a in world.view(order).attempts] == [txid]
    await check(world)


async def test_a_final_payment_that_is_popped_raises_an_alarm_pauses_and_is_sent_again(
    either: MakeWorld,
) -> None:
    world = await either()
    order = await world.order("1")
    await world.until(world.ended(order))
    txid = world.view(order).attempts[0].txid
    height = world.view(order).attempts[0].included_height
    depth = world.ledger.height - height + 1
    world.ledger.reorg(depth, "drop", length=depth + 1)
    await world.until(lambda: world.state(order) == "CLAIMED", ticks=5, mine=False)
    assert world.is_paused()
    assert "deep_reorg" in world.alarms()
    await world.until(world.ended(order))
    assert [a.txid for a in world.view(order).attempts] == [txid], "nothing new was signed"
    await world.tick(3)
    await check(world)


async def test_hold_stops_the_beginning_and_release_lets_it_go_on(either: MakeWorld) -> None:
    world = await either()
    world.loop("payer").off = True
    order = await world.order("1")
    await world.tick(1)
    world.hold(order)
    world.loop("payer").off = False
    await world.tick(5)
    assert world.state(order) == "QUEUED"
    assert not world.view(order).attempts
    world.release(order)
    await world.until(world.ended(order))
    await check(world)


async def test_hold_stops_a_claim_never_the_tracking(either: MakeWorld) -> None:
    world = await either()
    world.loop("courier").off = True
    order = await world.order("1")
    await world.until(lambda: world.state(order) == "SIGNED")
    world.hold(order)
    world.loop("courier").off = False
    await world.tick(6)
    assert world.state(order) == "SIGNED"
    assert not [raw for path, raw in world.platform.said if path == NOTIFY]
    world.release(order)
    await world.until(lambda: world.state(order) in ("CLAIMED", "INCLUDED"))
    world.hold(order)
    await world.until(world.ended(order))
    await check(world)


async def test_the_paid_message_is_refused_held_then_accepted_after_all(either: MakeWorld) -> None:
    world = await either()
    world.platform.judge = lambda path, request: (
        refused(path, codes.FINANCE_NOTIFY_ERROR)
        if path == NOTIFY and request.confirm > 0 else None  # type: ignore[union-attr]
    )  # fmt: skip
    order = await world.order("1")
    await world.until(lambda: world.payout(order) and world.payout(order).held_reason is not None)
    row = world.payout(order)
    assert (row.state, row.held_reason) == ("FINAL", "paid, not accepted")
    assert "paid_not_accepted" in world.alarms()
    world.platform.judge = lambda _path, _request: None
    await world.until(world.ended(order), s=200)
    row = world.payout(order)
    assert row.held_reason is None
    assert not {"paid_not_accepted", "payout_held"} & world.alarms()
    await check(world)


async def test_the_claim_says_what_the_order_said(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1.50")
    await w.until(w.ended(order))
    said = [json.loads(raw) for path, raw in w.platform.said if path == NOTIFY]
    assert {message["trans_id"] for message in said} == {int(order)}, "in the form it came"
    assert {message["amount"] for message in said} == {1.5}
    assert said[0]["confirm"] == 0
    assert said[0]["fee"] == 0
    assert said[-1]["fee"] > 0


@pytest.mark.parametrize("form", ["string", "number"])
async def test_trans_id_goes_back_in_the_form_it_came(world: MakeWorld, form: str) -> None:
    w = await world()
    w.platform.rule["trans_id_form"] = form
    order = await w.order("1")
    await w.until(w.ended(order))
    said = [json.loads(raw)["trans_id"] for path, raw in w.platform.said if path == NOTIFY]
    assert set(said) == {order if form == "string" else int(order)}
