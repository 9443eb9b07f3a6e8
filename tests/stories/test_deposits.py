"""Deposits: credited once, whatever becomes of blocks, platform and people."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from chain_adapter.errors import PlatformUnreachable
from chain_adapter.platform_api import codes
from chain_adapter.sandbox.reference_tx import Body, Flavour, Output
from chain_adapter.store import outbox, pauses, rulings, schema
from tests.stories.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.platform import refused
from tests.stories.truth import check

CALL = "deposit/notify"


def states(world: World) -> list[str]:
    """States of what users were paid; our own funds are no deposits."""
    return sorted(row.state for row in users(world))


def users(world: World) -> list[Any]:
    return [row for row in world.deposits() if row.to != world.hot]


async def credited(world: World) -> list[str]:
    return [row["credited"] for row in await world.platform.deposits()]


async def has_credited(world: World, *amounts: str) -> bool:
    return sorted(await credited(world)) == sorted(amounts)


@pytest.mark.parametrize("mode", ["drop", "return", "reinclude"])
async def test_a_deposit_goes_through_a_reorganisation_and_is_credited_once(
    either: MakeWorld, mode: str
) -> None:
    world = await either()
    txid, address = await world.deposit("3")
    await world.tick(2)
    assert states(world) == ["SEEN"]
    raw = world.ledger.located(txid)
    assert raw is not None
    world.ledger.reorg(2, mode)  # type: ignore[arg-type]
    await world.tick(2, mine=False)
    if mode == "drop":
        assert states(world) == ["ORPHANED"]
        await world.deposit("3", address=address)
    await world.until(lambda: has_credited(world, "3"))
    await world.tick(4)
    assert await credited(world) == ["3"]
    await check(world)


@pytest.mark.parametrize("flavour", ["account", "coin", "memo"])
async def test_every_flavour_credits_each_user_once(world: MakeWorld, flavour: str) -> None:
    w = await world(flavour=flavour)
    for amount in ("1", "2", "3"):
        await w.deposit(amount)
    await w.until(lambda: has_credited(w, "1", "2", "3"))
    await w.tick(3)
    assert states(w).count("CREDITED") == 3
    await check(w)


async def test_popped_after_it_was_credited_it_is_reversed_and_the_chain_pauses(
    either: MakeWorld,
) -> None:
    world = await either()
    txid, _ = await world.deposit("3")
    await world.until(lambda: has_credited(world, "3"))
    await world.until(lambda: states(world) == ["CREDITED"])
    depth = world.ledger.height - world.ledger.located(txid).height + 1  # type: ignore[union-attr]
    order = await world.order("1")
    world.ledger.reorg(depth, "return", length=depth + 1)
    await world.tick(4, mine=False)
    assert states(world) == ["REVERSED"]
    assert world.is_paused()
    assert "deposit_reversed" in world.alarms()
    # The same transaction again, with the same amount: the same request_id, no second credit.
    await world.tick(8)
    assert await credited(world) == ["3"]
    assert world.state(order) == "QUEUED", "a paused chain signs nothing"
    resume(world)
    await world.until(world.ended(order))
    await world.tick(4)
    assert await credited(world) == ["3"]
    await check(world)


def resume(world: World) -> None:
    terms = world.daemon.watchers[CHAIN].terms
    assert terms is not None
    world.write(lambda tx: rulings.resume(tx, terms, None, "alice", "compared by hand"))


async def test_included_again_with_another_amount_after_it_was_credited_it_is_held(
    world: MakeWorld,
) -> None:
    w = await world()
    address, _ = await w.platform.user(w.native)
    txid = w.ledger.give([(address, 3 * 10**18)])
    await w.until(lambda: states(w) == ["CREDITED"])
    depth = w.ledger.height - w.ledger.located(txid).height + 1  # type: ignore[union-attr]
    w.ledger.reorg(depth, "return", length=depth)
    one = w.ledger._pool.pending[txid]
    one.body = replace_amount(one.body, 4 * 10**18)
    await w.tick(8)
    assert states(w) == ["HELD"]
    assert await credited(w) == ["3"], "told once, with the first amount"


def replace_amount(body: Body, amount: int) -> Body:
    outputs = tuple(msgspec.structs.replace(one, amount=amount) for one in body.outputs)
    return msgspec.structs.replace(body, outputs=outputs)


async def test_a_row_code_goes_by_the_schedule_and_is_parked_then_retried_by_a_person(
    either: MakeWorld,
) -> None:
    world = await either()
    await world.deposit("3")
    tries: list[str] = []

    def judge(path: str, _request: object) -> BaseException | None:
        if path != CALL:
            return None
        tries.append(path)
        return refused(path, codes.DEPOSIT_NOTIFY_FAILED)

    world.platform.judge = judge
    await world.until(lambda: len(tries) == 1)
    for number, planned_s in enumerate((1, 120, 480, 1920, 7680), 1):
        await world.tick(1, s=planned_s * 0.8)
        assert len(tries) == number, "not before its time"
        await world.tick(1, s=planned_s * 0.4)
        assert len(tries) == number + 1
    assert "outbox_parked" in world.alarms()
    before = len(tries)
    await world.tick(5, s=4000)
    assert len(tries) == before, "parked: nothing is said until a person says so"
    world.platform.judge = lambda _path, _request: None
    world.write(lambda tx: outbox.retry(tx, None, "alice", "mended"))
    await world.until(lambda: has_credited(world, "3"))
    assert "outbox_parked" not in world.alarms()
    await check(world)


async def test_an_unknown_memo_is_told_again_after_an_hour_then_waits_in_the_inbox(
    either: MakeWorld,
) -> None:
    world = await either(flavour="memo")
    address, _ = await world.platform.user(world.native)
    other, memo = await world.platform.user(world.native)
    await world.deposit("3", address=address, memo="nobody has this one")
    await world.deposit("5", address=other, memo=memo)
    await world.until(lambda: has_credited(world, "5"))
    told = [raw for path, raw in world.platform.said if path == CALL and b"nobody has" in raw]
    assert len(told) == 1
    await world.tick(3, s=900)
    told = [raw for path, raw in world.platform.said if path == CALL and b"nobody has" in raw]
    assert len(told) == 1, "not before an hour is over"
    await world.tick(3, s=900)
    told = [raw for path, raw in world.platform.said if path == CALL and b"nobody has" in raw]
    assert len(told) == 2
    await world.tick(5, s=4000)
    told = [raw for path, raw in world.platform.said if path == CALL and b"nobody has" in raw]
    assert len(told) == 2
    inbox = world.read(lambda tx: tx.all(select(schema.inbox)))
    assert [(row.state, row.amount) for row in inbox] == [("open", str(3 * 10**6))]
    assert "outbox_parked" in world.alarms()


async def test_a_paused_chain_tracks_and_credits_nothing(either: MakeWorld) -> None:
    world = await either()
    world.write(lambda tx: pauses.pause(tx, CHAIN, None, "alice", "looking"))
    await world.deposit("3")
    tip = world.ledger.height
    await world.tick(8)
    assert states(world) == ["HELD"]
    assert await credited(world) == []
    assert world.daemon.board.heads[CHAIN] > tip, "it goes on reading"
    resume(world)
    await world.until(lambda: has_credited(world, "3"))
    await check(world)


CONNECTION = [
    100001, 100002, 100003, 100004, 100005, 100006, 100007, 100008, 100009, 1000013, 1000019, 777,
]  # fmt: skip


async def test_connection_errors_delay_and_decide_nothing(world: MakeWorld) -> None:
    w = await world()
    bad = {path: list(errors_of(path)) for path in (CALL, "withdraw/notify", "internal/notify")}

    def judge(path: str, _request: object) -> BaseException | None:
        return bad[path].pop() if bad.get(path) else None

    w.platform.judge = judge
    await w.deposit("3")
    order = await w.order("1")
    await w.until(w.ended(order), s=10, ticks=400)
    await w.until(lambda: has_credited(w, "3"), s=10, ticks=400)
    assert not any(bad[path] for path in (CALL, "withdraw/notify"))
    row = w.payout(order)
    assert row.claim_code is None
    assert row.held_reason is None
    assert "platform_unreachable" not in w.alarms()
    await check(w)


def errors_of(path: str) -> list[BaseException]:
    made: list[BaseException] = [refused(path, code) for code in CONNECTION]
    return made + [PlatformUnreachable("the signature does not hold") for _ in range(3)]


async def test_one_deposit_that_is_refused_does_not_hold_up_the_others(world: MakeWorld) -> None:
    w = await world()
    _, first = await w.deposit("1")
    w.platform.judge = lambda path, request: (
        refused(path, codes.REQUEST_ID_AND_TXID_DIFFER)
        if path == CALL and request.address_to == first
        else None
    )
    for amount in ("2", "3", "4"):
        await w.deposit(amount)
    await w.until(lambda: has_credited(w, "2", "3", "4"))
    w.platform.judge = lambda path, request: (
        PlatformUnreachable("no answer about this one")
        if path == CALL and request.address_to == first
        else None
    )
    await w.deposit("5")
    await w.until(lambda: has_credited(w, "2", "3", "4", "5"), s=2)
    w.platform.judge = lambda _path, _request: None
    await w.until(lambda: has_credited(w, "1", "2", "3", "4", "5"), s=30)
    await check(w)


async def test_a_notification_grows_until_the_platforms_depth_is_acknowledged(
    world: MakeWorld,
) -> None:
    w = await world(platform="")
    await w.deposit("3")
    await w.until(lambda: states(w) == ["CREDITED"])
    told = [json.loads(raw)["confirm"] for path, raw in w.platform.said if path == CALL]
    assert told == sorted(set(told)), "each message says more than the one before"
    assert told[0] >= 3, "nothing is told before it is final"
    assert told[-1] >= 4
    ids = {json.loads(raw)["request_id"] for path, raw in w.platform.said if path == CALL}
    assert len(ids) == 1
    before = len(told)
    await w.tick(5)
    assert len([1 for path, _ in w.platform.said if path == CALL]) == before


async def test_a_release_of_a_refuted_deposit_is_credited_and_an_ignored_one_is_not(
    world: MakeWorld,
) -> None:
    w = await world()
    w.ledger.skim(100)  # the token keeps one per cent back but shows the whole
    addresses = [(await w.platform.user(w.token))[0] for _ in range(2)]
    for address in addresses:
        await w.deposit("100", w.token, address=address)
    await w.tick(8)
    assert states(w) == ["HELD", "HELD"]
    assert "deposit_held" in w.alarms()
    assert await credited(w) == []
    terms = w.daemon.watchers[CHAIN].terms
    assert terms is not None
    assert w.is_paused(), "the asset as a whole is doubtful"
    keep, drop = users(w)
    w.write(lambda tx: rulings.release(tx, terms, keep.id, "alice", "we eat the difference"))
    w.write(lambda tx: rulings.ignore(tx, drop.id, "alice", "not ours to pay"))
    w.write(lambda tx: rulings.resume(tx, terms, w.token, "alice", "looked at"))
    await w.tick(6)
    assert await credited(w) == ["100"]
    assert states(w) == ["CREDITED", "IGNORED"]


async def test_a_kill_between_confirmed_and_told_changes_nothing(either: MakeWorld) -> None:
    world = await either()
    await world.deposit("3")
    world.platform.down = True
    await world.until(lambda: states(world) == ["CONFIRMED"], mine=True)
    await world.restart()
    world.platform.down = False
    await world.until(lambda: has_credited(world, "3"), s=10)
    await world.restart()
    await world.tick(5)
    assert await credited(world) == ["3"]
    world.errors.clear()
    await check(world)


async def test_an_answer_that_is_lost_leads_to_the_same_request_id_again(world: MakeWorld) -> None:
    w = await world()
    for _ in range(3):
        w.platform.after[CALL].append(PlatformUnreachable("reset"))
    await w.deposit("3")
    await w.until(lambda: states(w) == ["CREDITED"], s=5)
    rows = await w.platform.deposits()
    assert len(rows) == 1
    assert rows[0]["credited"] == "3"
    await check(w)


def test_the_row_replacement_really_changes_the_amount() -> None:
    body = Body(Flavour.ACCOUNT, "", b"", 1, (), 0, (Output(b"", b"x" * 20, 5, None),), None, b"")
    changed = replace_amount(body, 7)
    assert changed.outputs[0].amount == 7
    assert body.outputs[0].amount == 5
