"""A clock that is moved by hand.

Tasks sleep on it; `advance` moves it and wakes them in order of their time; `run_until` jumps from
one sleeper to the next until a condition holds. Between two moments every task that can run has
run. Work outside the event loop (a thread) takes `hold()`, and time stands still until it is done.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_SETTLE_LIMIT = 1_000_000


class Stuck(AssertionError):
    """`run_until` cannot go on: the condition is false and nothing sleeps, or the limit came."""


class VirtualClock:
    """A `Clock` for one event loop. Starts at 2026-01-01T00:00:00Z unless told otherwise."""

    def __init__(self, start: datetime = _EPOCH) -> None:
        self._start = start
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._held = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, s: float) -> None:
        if s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self._at(self._elapsed + s, wake)
        await woken

    def timeout(self, s: float) -> AbstractAsyncContextManager[object]:
        return self._timeout(s)

    @asynccontextmanager
    async def _timeout(self, s: float) -> AsyncIterator[object]:
        loop = asyncio.get_running_loop()
        inside = True
        async with asyncio.timeout(None) as real:

            def expire() -> None:
                if inside:
                    real.reschedule(loop.time())

            self._at(self._elapsed + s, expire)
            try:
                yield real
            finally:
                inside = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Time stands still inside: for work whose end the event loop cannot foresee (threads)."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def settle(self) -> None:
        """Let every task run until all of them wait for time or for the outside."""
        loop = asyncio.get_running_loop()
        ready = getattr(loop, "_ready", None)
        for turn in range(_SETTLE_LIMIT):
            # The pause lets a thread that holds the clock hand its result over.
            await asyncio.sleep(0.0005 if self._held else 0)
            if not self._held and (not ready if ready is not None else turn >= 100):
                return
        raise Stuck("tasks run on and on without waiting for time")

    async def advance(self, s: float) -> None:
        """Move time by `s` seconds, waking sleepers in order on the way."""
        end = self._elapsed + s
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            await self._step()
        self._elapsed = end
        await self.settle()

    async def run_until(self, condition: Callable[[], bool], limit_s: float = 86_400.0) -> float:
        """Jump from sleeper to sleeper until `condition()`; returns the virtual seconds it took.

        Raises `Stuck` when nothing sleeps any more or `limit_s` virtual seconds have passed.
        """
        begun = self._elapsed
        await self.settle()
        while not condition():
            if not self._timers:
                raise Stuck("the condition is false and nothing sleeps on this clock")
            if self._timers[0][0] > begun + limit_s:
                raise Stuck(f"the condition is still false after {limit_s} virtual seconds")
            await self._step()
        return self._elapsed - begun

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, act))

    async def _step(self) -> None:
        when, _, act = heapq.heappop(self._timers)
        self._elapsed = max(self._elapsed, when)
        act()
        await self.settle()
