"""Time as a port: whatever waits, measures or stamps takes a `Clock`.

`SystemClock` is the machine's; `chain_adapter.testing.VirtualClock` is moved by hand, so that the
same code runs through a week of faults in a second and gives the same run for the same seed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and waiting, of one source."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, s: float) -> None:
        """Wait `s` seconds; 0 or less only gives way to others."""
        ...

    def timeout(self, s: float) -> AbstractAsyncContextManager[object]:
        """A block that is cancelled after `s` seconds and then raises `TimeoutError`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, s: float) -> None:
        await asyncio.sleep(max(s, 0.0))

    def timeout(self, s: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(s)
