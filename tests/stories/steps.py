"""One loop of the daemon, stepped by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chain_adapter.errors import LeaseLost


class Step:
    """Stands in for a loop: stepped by the test, which sees its errors as the loop would."""

    def __init__(self, name: str, step: Callable[[], Awaitable[float | None]]) -> None:
        self.name = name
        self.step = step
        self.failures = 0
        self.last_error: str | None = None
        self.errors: list[Exception] = []
        self.off = False
        self._stopped = asyncio.Event()

    def wake(self) -> None:
        """Every step is asked in every tick."""

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        await self._stopped.wait()

    async def once(self) -> None:
        try:
            await self.step()
        except LeaseLost:
            raise
        except Exception as error:
            self.errors.append(error)
