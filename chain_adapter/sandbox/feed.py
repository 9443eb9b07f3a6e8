"""Tells open pages that the books have changed, and nothing else: they fetch what they show."""

from __future__ import annotations

import asyncio


class Feed:
    """A counter with waiters. `changed` may be called as often as one likes."""

    def __init__(self) -> None:
        self._number = 0
        self._changed = asyncio.Event()
        self._closed = False

    def changed(self) -> None:
        """There may be something new."""
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Let every waiter go, for good."""
        self._closed = True
        self.changed()

    @property
    def is_closed(self) -> bool:
        return self._closed

    async def after(self, number: int, limit_s: float) -> int:
        """The number of the newest change; waits until there is one after `number`."""
        if self._number == number and not self._closed:
            waiter = self._changed
            try:
                async with asyncio.timeout(limit_s):
                    await waiter.wait()
            except TimeoutError:
                pass
        return self._number
