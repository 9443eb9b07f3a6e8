"""The supervised loop: goes on after every failure, backs off, tells once, ends when told."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from chain_adapter.errors import LeaseLost
from chain_adapter.testing import VirtualClock
from chain_adapter.workers.loop import ALARM_AFTER, BACKOFF_FIRST_S, BACKOFF_MOST_S, Loop


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    async def __call__(self, name: str, _message: str, failing: bool) -> None:
        self.said.append((name, failing))


async def test_failures_back_off_raise_one_alarm_and_end_it() -> None:
    clock, told = VirtualClock(), Told()
    times: list[float] = []
    broken = True

    async def step() -> float:
        times.append(clock.monotonic())
        if broken:
            raise ValueError("no")
        return 1.0

    loop = Loop("worker", step, clock, told)
    task = asyncio.create_task(loop.run())
    await clock.run_until(lambda: len(times) == 15)
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert waits[0] == pytest.approx(BACKOFF_FIRST_S)
    assert waits[1] == pytest.approx(2 * BACKOFF_FIRST_S)
    assert max(waits) == pytest.approx(BACKOFF_MOST_S)
    assert told.said == [("worker", True)]
    assert loop.last_error == "ValueError: no"
    broken = False
    await clock.run_until(lambda: len(told.said) == 2)
    assert told.said[1] == ("worker", False)
    assert (loop.failures, loop.last_error) == (0, None)
    loop.stop()
    await task


async def test_a_few_failures_tell_nobody() -> None:
    clock, told = VirtualClock(), Told()
    count = 0

    async def step() -> float:
        nonlocal count
        count += 1
        if count < ALARM_AFTER:
            raise OSError("hm")
        return 1.0

    loop = Loop("worker", step, clock, told)
    task = asyncio.create_task(loop.run())
    await clock.run_until(lambda: count == ALARM_AFTER + 2)
    assert told.said == []
    loop.stop()
    await task


async def test_a_wake_ends_the_pause_and_is_not_lost_during_a_step() -> None:
    clock = VirtualClock()
    count = 0

    async def step() -> None:
        nonlocal count
        count += 1
        if count == 1:
            loop.wake()  # news that came while it was looking

    loop = Loop("worker", step, clock)
    task = asyncio.create_task(loop.run())
    await clock.settle()
    assert count == 2
    loop.wake()
    await clock.settle()
    assert count == 3
    loop.stop()
    await task


async def test_a_lost_lease_ends_it() -> None:
    async def step() -> float:
        raise LeaseLost("another one")

    with pytest.raises(LeaseLost):
        await Loop("worker", step, VirtualClock()).run()


async def test_a_trouble_that_cannot_be_told_does_not_end_it() -> None:
    clock = VirtualClock()
    count = 0

    async def step() -> float:
        nonlocal count
        count += 1
        raise ValueError("no")

    async def deaf(_name: str, _message: str, _failing: bool) -> None:
        raise RuntimeError("the database is the trouble")

    loop = Loop("worker", step, clock, deaf)
    task = asyncio.create_task(loop.run())
    await clock.run_until(lambda: count == ALARM_AFTER + 3)
    loop.stop()
    await clock.run_until(task.done)
