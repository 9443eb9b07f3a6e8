"""What the policy does not let go waits without a lock, stops nobody, and goes when it may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from chain_adapter.core.states import Payout
from chain_adapter.errors import SigningRefused, SigningWaits
from chain_adapter.store import schema
from tests.keys.operators import Operators
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.truth import check
from tests.treasury.conftest import Policed, approve, controls, pays


def locks(world: World) -> int:
    return len(world.read(lambda tx: tx.all(select(schema.locks))))


async def signatures(world: World) -> int:
    return len(await world.daemon.signer.journal(CHAIN))


async def test_an_order_above_the_threshold_waits_and_the_others_go(
    policed: Policed, operators: Operators
) -> None:
    w = await policed()
    large, small, later = [await w.order(amount) for amount in ("5", "1", "2")]
    await w.until(w.ended(small, later))
    row = w.payout(large)
    assert (row.state, row.held_reason) == (Payout.QUEUED, None)
    assert "pay waits for 1 operators" in row.reason
    assert "approval_needed" in w.alarms()
    assert not w.view(large).attempts
    await approve(w, operators, "ann", pays(w, large))
    await w.until(w.ended(large))
    assert "approval_needed" not in w.alarms()
    await check(w)


async def test_two_must_approve_what_is_larger(policed: Policed, operators: Operators) -> None:
    w = await policed()
    large = await w.order("60")
    await w.tick(5)
    await approve(w, operators, "ann", pays(w, large))
    await w.tick(8)
    assert w.state(large) == Payout.QUEUED
    assert "1 did (ann)" in w.payout(large).reason
    await approve(w, operators, "bob", pays(w, large))
    await w.until(w.ended(large))
    await check(w)


async def test_an_approval_of_one_payout_is_none_of_another(
    policed: Policed, operators: Operators
) -> None:
    w = await policed()
    one, other = await w.order("5"), await w.order("5")
    await w.tick(4)
    await approve(w, operators, "ann", pays(w, one))
    await w.until(w.ended(one))
    await w.tick(6)
    assert w.state(other) == Payout.QUEUED


async def test_without_approval_it_goes_back_in_the_end(policed: Policed) -> None:
    w = await policed(native='hold_limit = "60s"')
    large = await w.order("5")
    await w.until(lambda: w.state(large) == Payout.CANCELLED, ticks=90)
    assert "approval_needed" not in w.alarms()
    assert await signatures(w) == 0
    await check(w)


async def test_an_hours_limit_lets_as_many_go_as_it_may(policed: Policed) -> None:
    w = await policed(per_hour="5")
    first = [await w.order("2") for _ in range(4)]
    await w.until(lambda: sum(w.state(one) == "REPORTED" for one in first) == 2)
    await w.tick(8)
    waiting = [one for one in first if w.state(one) == Payout.QUEUED]
    assert len(waiting) == 2
    assert all("per_hour" in w.payout(one).reason for one in waiting)
    assert "policy_limit" in w.alarms()
    small = await w.order("1")
    await w.until(w.ended(small))
    events = [row.what for row in w.read(lambda tx: tx.all(select(schema.events)))]
    assert events.count("waits") == 2, "a wait is told once"
    later = datetime.now(UTC) + timedelta(hours=2)
    w.daemon.signer._gate._now = lambda: later  # type: ignore[attr-defined]
    await w.until(w.ended(*first))
    assert "policy_limit" not in w.alarms()
    await check(w)


# --- the kill switch ------------------------------------------------------------------------------


async def test_killed_nothing_is_signed_and_all_else_goes_on(
    policed: Policed, operators: Operators
) -> None:
    w = await policed()
    before = await w.order("1")
    await w.until(lambda: w.state(before) == Payout.CLAIMED)
    await controls(w).kill("drill")
    count = await signatures(w)
    order = await w.order("1")
    await w.deposit("2")
    await w.until(w.ended(before))  # sent and reported all the same
    await w.until(lambda: any(d.state == "CREDITED" for d in w.deposits()))
    await w.tick(5)
    row = w.payout(order)
    assert (row.state, row.held_reason) == (Payout.QUEUED, None)
    assert "kill switch" in row.reason
    assert "signing_stopped" in w.alarms()
    assert await signatures(w) == count
    claim = (await controls(w).status()).resume
    assert claim is not None
    from chain_adapter.keys.approvals import Claim

    await approve(w, operators, "bob", Claim(*claim))
    await controls(w).resume("")
    await w.until(w.ended(order))
    assert "signing_stopped" not in w.alarms()
    await check(w)


async def test_killed_between_the_lock_and_the_signature(policed: Policed) -> None:
    w = await policed()
    judge = w.daemon.signer.judge

    async def then_killed(requests: Any) -> Any:
        verdicts = await judge(requests)
        await controls(w).kill("drill")
        return verdicts

    w.daemon.signer.judge = then_killed  # type: ignore[method-assign]
    order = await w.order("1")
    await w.tick(6)
    w.daemon.signer.judge = judge  # type: ignore[method-assign]
    row = w.payout(order)
    assert (row.state, row.held_reason) == (Payout.RESERVED, None)
    assert await signatures(w) == 0
    gate = w.daemon.signer._gate  # type: ignore[attr-defined]
    gate._killed = None
    await w.until(w.ended(order))
    await check(w)


# --- what was judged otherwise a moment ago -------------------------------------------------------


async def test_a_lock_is_given_up_when_the_policy_says_no_after_all(
    policed: Policed, operators: Operators
) -> None:
    w = await policed()
    judge = w.daemon.signer.judge

    async def credulous(requests: Any) -> Any:
        return [None for _ in requests]

    w.daemon.signer.judge = credulous  # type: ignore[method-assign]
    large = await w.order("5")
    await w.until(lambda: w.state(large) == Payout.RESERVED)
    w.daemon.signer.judge = judge  # type: ignore[method-assign]
    behind = await w.order("1")
    await w.until(w.ended(behind))
    await w.until(lambda: w.state(large) == Payout.QUEUED)
    assert [a.purpose for a in w.view(large).attempts if a.txid] == ["void"]
    await approve(w, operators, "ann", pays(w, large))
    await w.until(w.ended(large))
    await check(w)


async def test_a_refusal_that_is_none_of_waiting_holds_without_a_lock(policed: Policed) -> None:
    w = await policed()
    judge = w.daemon.signer.judge

    async def stern(requests: Any) -> Any:
        return [SigningRefused("the warrant is of another order") for _ in requests]

    w.daemon.signer.judge = stern  # type: ignore[method-assign]
    order = await w.order("1")
    await w.tick(4)
    w.daemon.signer.judge = judge  # type: ignore[method-assign]
    assert w.payout(order).held_reason == "the signer refused: the warrant is of another order"
    assert "signing_refused" in w.alarms()
    assert locks(w) == 0
    other = await w.order("1")
    await w.until(w.ended(other))


# --- judge itself ---------------------------------------------------------------------------------


async def test_judging_books_nothing_and_counts_together(policed: Policed) -> None:
    w = await policed(per_hour="5")
    seen: list[Any] = []
    judge = w.daemon.signer.judge

    async def watched(requests: Any) -> Any:
        seen.extend(requests)
        return [SigningWaits("not yet", "policy") for _ in requests]

    w.daemon.signer.judge = watched  # type: ignore[method-assign]
    for _ in range(3):
        await w.order("2")
    await w.until(lambda: len(seen) >= 3)
    three = {str(one.payout): one for one in seen}.values()
    for _ in range(5):
        verdicts = await judge(list(three))
        assert [verdict is None for verdict in verdicts] == [True, True, False]
        assert isinstance(verdicts[2], SigningWaits)
        assert verdicts[2].waits_for == "policy"
    assert await signatures(w) == 0
