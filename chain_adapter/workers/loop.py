"""The one supervised loop that every worker runs in: step, wait, step again, for ever.

A step returns how long to wait (None: until woken). A step that fails is logged once when trouble
begins and once when it ends, retried with a capped backoff, and raises an alarm when it keeps
failing. This is the only place with `while True` and with `except Exception`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chain_adapter.clock import Clock
from chain_adapter.errors import LeaseLost

log = structlog.get_logger(__name__)

BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 30.0
ALARM_AFTER = 5  # failures in a row


class Loop:
    """Runs one worker's step until stopped.

    Guarantees: one step at a time; a failure never ends the loop, but for a lost lease.
    Does not guarantee: when the next step runs; every step re-reads what it needs.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[float | None]],
        clock: Clock,
        on_trouble: Callable[[str, str, bool], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.last_error: str | None = None
        self.failures = 0
        self._step = step
        self._clock = clock
        self._on_trouble = on_trouble
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is news: do not wait for the rest of the pause."""
        self._wake.set()

    def stop(self) -> None:
        """End after the step that runs now."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`. Raises only `LeaseLost` and cancellation."""
        while True:
            if self._stopping:
                return
            self._wake.clear()
            try:
                pause_s = await self._step()
                if self.failures:
                    await self._recovered()
            except LeaseLost:
                raise
            except Exception as error:
                pause_s = await self._failed(error)
            await self._pause(pause_s)

    async def _pause(self, pause_s: float | None) -> None:
        if self._stopping or self._wake.is_set():
            return
        if pause_s is None:
            await self._wake.wait()
            return
        sleeper = asyncio.ensure_future(self._clock.sleep(max(pause_s, 0)))
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()

    async def _failed(self, error: Exception) -> float:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        if self.failures == 1:
            log.warning("trouble", loop=self.name, error=self.last_error)
            log.debug("trouble_trace", loop=self.name, exc_info=error)
        if self.failures == ALARM_AFTER and self._on_trouble is not None:
            await self._tell(self.last_error, failing=True)
        return min(BACKOFF_FIRST_S * 2.0 ** (self.failures - 1), BACKOFF_MOST_S)

    async def _recovered(self) -> None:
        log.info("trouble_over", loop=self.name, failures=self.failures)
        told = self.failures >= ALARM_AFTER
        self.failures = 0
        self.last_error = None
        if told:
            await self._tell("", failing=False)

    async def _tell(self, message: str, *, failing: bool) -> None:
        if self._on_trouble is None:
            return
        try:
            await self._on_trouble(self.name, message, failing)
        except Exception as error:  # the database may be the trouble itself
            log.warning("alarm_not_stored", loop=self.name, error=str(error))
