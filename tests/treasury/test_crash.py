"""A hard end at every instant of a sweep with its top-up: no double, none lost, to the unit.

The same story as often as there are points to die at: before and after each commit, signature and
broadcast of sweeper, payer and courier. After each death the daemon starts on what is on the disk.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from chain_adapter.core.states import Payout
from tests.stories.harness import World
from tests.stories.parts import SimulatedCrash
from tests.treasury.test_sweeps import start
from tests.treasury.truth import conserve, payouts

# All points take some minutes; without the wish for it, every so manieth is tried.
STRIDE = 1 if os.environ.get("EVERY_POINT") else 7
PARTS = 2  # the points are dealt to so many tests


async def story(w: World, at: int | None, *, token: bool) -> int:
    """One deposit of each asset and a withdrawal, all collected; how many points were passed."""
    w.crash_in = ("sweeper", "payer", "courier")
    await w.deposit("2")
    if token:
        await w.deposit("40", w.token)
    order = await w.order("1")
    wanted = 1 + token
    w.crasher.passed.clear()
    w.crasher.at = at

    def done() -> bool:
        rows = payouts(w, "sweep")
        ended = sum(row.state == Payout.REPORTED for row in rows)
        return ended >= wanted and w.state(order) == Payout.REPORTED

    for _ in range(90):
        if done():
            break
        try:
            await w.tick()
        except SimulatedCrash:
            w.crasher.at = None
            await w.stop()
            await w.start()
    assert done(), w.shown()
    passed = len(w.crasher.passed)
    w.crasher.at = None
    await w.tick(6)
    assert len(payouts(w, "sweep")) == wanted, "one sweep for each deposit"
    assert len(payouts(w, "top-up")) == token, "one top-up for the token"
    await conserve(w)
    return passed


@pytest.mark.parametrize("part", range(PARTS))
async def test_death_at_every_point_of_collecting(world: Any, part: int) -> None:
    at = part * STRIDE + 1
    while True:
        w = await start(world)
        passed = await story(w, at, token=True)
        await w.close()
        if at > passed:
            assert passed > 20, "there is something to die at"
            return
        at += PARTS * STRIDE


async def test_death_now_and_then_on_a_coin_chain(world: Any) -> None:
    for at in range(4, 40, 9):
        w = await start(world, flavour="coin")
        await story(w, at, token=False)
        await w.close()
