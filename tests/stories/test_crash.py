"""A hard end at every instant of paying: before and after each commit, signature, call, broadcast.

The same story is told as often as there are points to die at, each time with a death at another
one; after it the daemon starts again on what is on the disk, and everything ends as if nothing had
happened.
"""

from __future__ import annotations

import os

import pytest

from chain_adapter.platform_api import codes
from tests.stories.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.parts import SimulatedCrash
from tests.stories.platform import refused
from tests.stories.truth import check

PARTS = 2  # the points are dealt to so many tests
# Every point takes two minutes; without the wish for it, every so manieth is tried.
STRIDE = 1 if os.environ.get("EVERY_POINT") else 6
NOTIFY = "withdraw/notify"


async def story(world: World, at: int | None) -> int:
    """Two payments and a refused claim, with a death at the `at`th point; how many there were."""
    orders = [await world.order("1"), await world.order("2"), await world.order("3")]
    world.platform.judge = lambda path, request: (
        refused(path, codes.FINANCE_NOTIFY_ERROR)
        if path == NOTIFY and request.trans_id.text == orders[1]  # type: ignore[attr-defined]
        else None
    )
    world.crasher.passed.clear()
    world.crasher.at = at

    def done() -> bool:
        ends = [world.state(one) for one in orders]
        return ends == ["REPORTED", "CANCELLED", "REPORTED"]

    for _ in range(80):
        if done():
            break
        try:
            await world.tick()
        except SimulatedCrash:
            world.crasher.at = None
            await world.stop()
            await world.start()
    assert done(), world.shown()
    passed = len(world.crasher.passed)
    world.crasher.at = None
    await world.tick(4)
    await check(world)
    return passed


@pytest.mark.parametrize("part", range(PARTS))
async def test_death_at_every_point_of_paying(world: MakeWorld, part: int) -> None:
    at = part * STRIDE + 1
    while True:
        w = await world()
        passed = await story(w, at)
        await w.close()
        if at > passed:
            return
        at += PARTS * STRIDE


@pytest.mark.parametrize("flavour", ["coin", "memo"])
async def test_death_now_and_then_on_other_flavours(world: MakeWorld, flavour: str) -> None:
    for at in range(9, 60, 26):
        w = await world(flavour=flavour)
        await story(w, at)
        await w.close()


async def test_death_of_payments_that_expire(world: MakeWorld) -> None:
    for at in range(8, 60, 22):
        w = await world(expiring=True)
        await story(w, at)
        await w.close()


async def test_death_now_and_then_on_postgresql(postgres_url: str, worlds: MakeWorld) -> None:
    w = await worlds(postgres_url)
    for at in (5, 14, 27):
        orders = [await w.order("1") for _ in range(2)]
        w.crasher.passed.clear()
        w.crasher.at = at
        for _ in range(60):
            if w.ended(*orders)():
                break
            try:
                await w.tick()
            except SimulatedCrash:
                w.crasher.at = None
                await w.stop()
                await w.start()
        w.crasher.at = None
        assert w.ended(*orders)(), w.shown()
    await w.tick(3)
    await check(w)
