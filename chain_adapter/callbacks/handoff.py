"""The one place where events reach the merchant's code, once each, whatever way they came.

event -> known under its key? -> verified, if asked -> the merchant's code -> marked -> answered.
`on_event` is a coroutine: marked after it returns, so a crash between the two hands the event on
again under the same `key` (at least once). `apply` is a function that books through the connection
it is given: its rows and the mark are one transaction (exactly once).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from chain_adapter.callbacks.events import Approved, CallbackRefused, Event
from chain_adapter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OnEvent = Callable[[Event], Awaitable[None]]
Apply = Callable[[Event, sqlite3.Connection], None]


class Verdict(StrEnum):
    """What the store knows of an event."""

    NEW = "new"
    KNOWN = "known"  # handed on before, with the same facts
    STALE = "stale"  # its subject is final already: an older message that comes late
    CONFLICT = "conflict"  # the same key with other facts, or two final ends of one subject


class Store(Protocol):
    """What the hand-off needs; `SqliteStore` is one, another database can be another."""

    async def verdict(self, event: Event) -> Verdict:
        """Whether it was handed on."""
        ...

    async def mark(self, event: Event) -> None:
        """It was handed on: durable when this returns."""
        ...

    async def apply(self, event: Event, unit: Apply) -> Verdict:
        """Judge, run `unit` if new, and mark, in one transaction."""
        ...

    async def approval(self, request_id: str) -> Approved | None:
        """What a second confirmation was approved with."""
        ...

    async def approve(self, request_id: str, details: Approved) -> None:
        """Remember an approval before it is answered."""
        ...


class Verifier(Protocol):
    """Asks someone else before an event is handed on."""

    async def __call__(self, event: Event) -> None:
        """Returns when it may be handed on. Raises `NotNow`, `CallbackRefused`."""
        ...


@dataclass(slots=True)
class _Lane:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class HandOff:
    """Give it `on_event` or `apply`, not both. One process a store file when it is `on_event`."""

    def __init__(
        self,
        store: Store,
        on_event: OnEvent | None = None,
        apply: Apply | None = None,
        verify: Verifier | None = None,
    ) -> None:
        if (on_event is None) == (apply is None):
            raise ConfigError("callbacks: give on_event (a coroutine) or apply (a function)")
        self.store = store
        self._on_event = on_event
        self._apply = apply
        self._verify = verify
        self._lanes: dict[str, _Lane] = {}

    async def offer(self, event: Event) -> Verdict:
        """Hand it on unless that was done. Returns once the mark is durable.

        Raises `CallbackRefused` for a contradiction, `NotNow` from verifier or handler; whatever
        else the merchant's code raises goes through, and nothing is marked.
        """
        async with self._lane(event.subject):
            verdict = await self.store.verdict(event)
            if verdict is Verdict.NEW:
                if self._verify is not None:
                    await self._verify(event)
                if self._apply is not None:
                    verdict = await self.store.apply(event, self._apply)
                elif self._on_event is not None:
                    await self._on_event(event)
                    await self.store.mark(event)
        if verdict is Verdict.CONFLICT:
            raise CallbackRefused(
                f"{event.key} contradicts what was handed on before: {event.facts}"
            )
        return verdict

    @asynccontextmanager
    async def _lane(self, subject: str) -> AsyncIterator[None]:
        """One delivery of a subject at a time; the lane goes when nobody waits in it."""
        lane = self._lanes.setdefault(subject, _Lane())
        lane.waiting += 1
        try:
            async with lane.lock:
                yield
        finally:
            lane.waiting -= 1
            if not lane.waiting:
                del self._lanes[subject]
