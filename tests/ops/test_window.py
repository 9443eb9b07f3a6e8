"""Thirty withdrawals wait and twenty of them cannot be begun: the other ten are paid."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.console.status import read_status
from chain_adapter.store import schema
from tests.keys.operators import Operators
from tests.stories.harness import World
from tests.stories.truth import check

MakeWorld = Callable[..., Awaitable[World]]
ORDERS = ["oldest", "latest"]

POLICY = """
version = 1
[operators]
{operators}
[assets.{native}]
per_transaction = "unlimited"
per_hour = "unlimited"
per_day = "unlimited"
per_destination_per_day = "unlimited"
approve_above = "10"
[chains.ref]
fee_per_transaction = "unlimited"
fee_per_day = "unlimited"
"""


async def thirty(world: World, bad_first: bool, bad: str) -> tuple[list[str], list[str]]:
    """(twenty of amount `bad`, ten of 1), in the order that hides the ten."""
    made: dict[bool, list[str]] = {True: [], False: []}
    for is_bad in (True, False) if bad_first else (False, True):
        for _ in range(20 if is_bad else 10):
            made[is_bad].append(await world.order(bad if is_bad else "1"))
    return made[True], made[False]


def alarm(world: World) -> Any:
    table = schema.alarms
    rows = world.read(lambda tx: tx.all(table.select().where(table.c.closed_at.is_(None))))
    return next(row for row in rows if row.code == "window_full")


@pytest.mark.parametrize("order", ORDERS)
async def test_twenty_that_nobody_can_fund(world: MakeWorld, order: str) -> None:
    w = await world(native="window_s = 15")
    w.platform.rule["consume_order"] = order
    bad, good = await thirty(w, bad_first=order == "oldest", bad="100000")
    await w.tick(3)
    assert "window_full" in w.alarms()
    message = alarm(w).message
    assert "20 of the 20 withdrawals of REF" in message
    assert "20 for the hot wallet is short of REF" in message
    assert {w.state(one) for one in good} <= {None, "QUEUED"}, "hidden behind the twenty"
    await w.until(w.ended(*good), ticks=200)
    states = [w.state(one) for one in bad]
    assert states.count("CANCELLED") == 1, "one slot lets all the others through"
    assert states.count("QUEUED") == 19
    oldest = min(bad, key=int) if order == "oldest" else None
    if oldest is not None:
        assert w.state(oldest) == "CANCELLED"
    await check(w, at_rest=False, fees=False)


@pytest.mark.parametrize("order", ORDERS)
async def test_twenty_that_need_approval(world: MakeWorld, tmp_path: Path, order: str) -> None:
    operators = Operators(tmp_path)
    w = await world(start=False, top='policy = "policy.toml"\nwindow_s = 15')
    text = POLICY.format(operators=operators.lines("ann", "bob"), native=w.native)
    (w.folder / "policy.toml").write_text(text)
    await w.open()
    w.platform.rule["consume_order"] = order
    bad, good = await thirty(w, bad_first=order == "oldest", bad="20")
    await w.tick(3)
    assert "20 for waits for approval" in alarm(w).message
    await w.until(w.ended(*good), ticks=200)
    assert [w.state(one) for one in bad].count("CANCELLED") == 1
    for one in bad:
        assert not w.view(one).attempts, "nothing was signed, no lock was taken"
    await check(w, at_rest=False, fees=False)


async def test_new_bad_ones_that_push_the_others_out_are_no_movement(world: MakeWorld) -> None:
    """The latest twenty are shown, and a new unpayable one comes again and again."""
    w = await world(native="window_s = 20")
    w.platform.rule["consume_order"] = "latest"
    good = [await w.order("1") for _ in range(2)]
    w.loop("consumer").off = True
    for _ in range(20):
        await w.order("100000")
    w.loop("consumer").off = False
    for turn in range(90):
        if turn % 15 == 0:
            await w.order("100000")
        await w.tick()
        if all(w.state(one) == "REPORTED" for one in good):
            break
    else:
        pytest.fail(f"never paid\n{w.shown()}")


async def test_a_full_page_that_is_paid_raises_no_alarm(world: MakeWorld) -> None:
    w = await world()
    orders = [await w.order("1") for _ in range(45)]
    for _ in range(60):
        await w.tick()
        assert "window_full" not in w.alarms()
        if w.ended(*orders)():
            break
    assert w.ended(*orders)()
    await check(w)


async def test_never_sends_nothing_back_alarms_and_is_no_health(world: MakeWorld) -> None:
    w = await world(native='hold_limit = "never"\nwindow_s = 5')
    bad = [await w.order("100000") for _ in range(20)]
    good = await w.order("1")
    await w.tick(100, s=3600)
    assert {w.state(one) for one in bad} == {"QUEUED"}
    assert w.state(good) is None
    assert 'hold_limit is "never"' in alarm(w).message
    status = w.read(lambda tx: read_status(tx, w.daemon.config))
    assert status.chains["ref"].stuck_windows == (w.native,)


async def test_held_ones_count_and_stay(world: MakeWorld) -> None:
    w = await world(native="window_s = 5")
    w.loop("payer").off = True
    held = [await w.order("1") for _ in range(20)]
    await w.tick()
    for one in held:
        w.hold(one)
    w.loop("payer").off = False
    good = await w.order("1")
    await w.tick(20)
    assert {w.state(one) for one in held} == {"QUEUED"}
    assert w.state(good) is None
    assert "20 for a person; those that are held go back only when" in alarm(w).message
    w.release(held[7])
    await w.until(w.ended(held[7], good))
    for one in held[:10]:
        if one != held[7]:
            w.release(one)
    await w.until(w.ended(*held[:10]))
    await w.tick(2)
    assert "window_full" in w.alarms(), "ten are held still"
    w.release(held[10])
    await w.until(w.ended(held[10]))
    await w.tick(2)
    assert "window_full" not in w.alarms()


async def test_what_waits_longer_than_the_limit_goes_back(world: MakeWorld) -> None:
    w = await world(native='hold_limit = "1h"')
    bad = await w.order("100000")
    kept = await w.order("100000")
    await w.tick(2)
    w.hold(kept)
    await w.tick(2, s=1700)
    assert w.state(bad) == "QUEUED"
    await w.tick(3, s=600)
    assert w.state(bad) == "CANCELLED"
    assert w.state(kept) == "QUEUED", "a person keeps it"
    row = await w.platform.withdrawal(bad)
    assert row["state"] == "cancelled"
    assert json.dumps(row["cancel_msg"]) == '"not payable in time"'
