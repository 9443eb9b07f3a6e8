"""The virtual clock: order, timeouts, and that it says so when nothing can happen any more."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from chain_adapter.clock import Clock, SystemClock
from chain_adapter.testing import Stuck, VirtualClock


async def test_sleepers_wake_in_order_of_their_time() -> None:
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, s: float) -> None:
        await clock.sleep(s)
        woken.append((name, clock.monotonic()))
        if name == "b":
            await clock.sleep(1)
            woken.append(("b2", clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("a", 5), ("b", 2), ("c", 4))]
    start = clock.now()
    await clock.advance(4)
    assert woken == [("b", 2.0), ("b2", 3.0), ("c", 4.0)]
    assert clock.now() - start == timedelta(seconds=4)
    assert await clock.run_until(lambda: len(woken) == 4) == 1.0
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("clock", [VirtualClock(), SystemClock()], ids=["virtual", "system"])
async def test_timeout_cancels_what_is_inside_and_nothing_else(clock: Clock) -> None:
    outcome: list[str] = []

    async def work() -> None:
        try:
            async with clock.timeout(0.01):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            outcome.append("timeout")
        async with clock.timeout(1000):
            outcome.append("in time")
        await clock.sleep(0)
        outcome.append("after")

    task = asyncio.create_task(work())
    if isinstance(clock, VirtualClock):
        await clock.advance(5000)
    await asyncio.wait_for(task, 5)
    assert outcome == ["timeout", "in time", "after"]


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    clock = VirtualClock()

    async def work() -> None:
        async with clock.timeout(10):
            await clock.sleep(100)

    task = asyncio.create_task(work())
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_stuck_is_told() -> None:
    clock = VirtualClock()
    with pytest.raises(Stuck, match="nothing sleeps"):
        await clock.run_until(lambda: False)
    task = asyncio.create_task(clock.sleep(100))
    with pytest.raises(Stuck, match="after 10 virtual"):
        await clock.run_until(lambda: False, limit_s=10)
    assert clock.monotonic() == 0
    await clock.advance(100)
    await task


async def test_time_stands_still_while_a_thread_works() -> None:
    clock = VirtualClock()
    go = threading.Event()
    seen: list[float] = []

    async def work() -> None:
        with clock.hold():
            await asyncio.to_thread(go.wait, 5)
            seen.append(clock.monotonic())

    task = asyncio.create_task(work())
    asyncio.get_running_loop().call_later(0.02, go.set)
    await clock.advance(3600)
    assert seen == [0.0]
    await task
