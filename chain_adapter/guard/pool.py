"""Which endpoint is asked: the current one while it serves, else the next best.

`any` tries all in rounds with backoff; `head` leaves an endpoint that lags or stands still for the
one that is ahead. An endpoint that lacks blocks below its own head comes last for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chain_adapter.chain import Chain, ChainError, Head, Unavailable, WrongNetwork
from chain_adapter.clock import Clock
from chain_adapter.guard.endpoint import Endpoint
from chain_adapter.guard.limits import Limits

T = TypeVar("T")
STANDSTILL_COMPARE_S = 1.0  # heads are compared so often while the current one stands still


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """What `status` shows of an endpoint."""

    label: str
    up: bool
    reason: str | None
    head_height: int | None


class Pool:
    """The endpoints of one chain and the one in use."""

    def __init__(self, endpoints: Sequence[Endpoint], clock: Clock, limits: Limits) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._limits = limits
        self._current = endpoints[0]
        self._compared_at = float("-inf")

    def health(self) -> tuple[EndpointHealth, ...]:
        return tuple(
            EndpointHealth(
                one.label,
                one.lost_at is None,
                one.reason,
                None if one.head is None else one.head.ref.height,
            )
            for one in self._endpoints
        )

    async def reach(self) -> dict[str, ChainError | None]:
        async def one(endpoint: Endpoint) -> ChainError | None:
            try:
                await endpoint.ask("head", lambda c: c.head(), self._limits.request_timeout_s)
            except ChainError as error:
                return error
            return None

        found = await asyncio.gather(*map(one, self._endpoints))
        return {one.label: error for one, error in zip(self._endpoints, found, strict=True)}

    def order(self, avoid: str | None = None) -> list[Endpoint]:
        """Whom to ask: the healthy first, among them the current one. `avoid` is left out, unless
        it is the only one configured."""
        now = self._clock.monotonic()
        able = [one for one in self._endpoints if one.label != avoid] or list(self._endpoints)
        return sorted(able, key=lambda one: (*one.rank(now), one is not self._current))

    async def any(
        self, what: str, call: Callable[[Chain], Awaitable[T]], timeout_s: float | None = None
    ) -> tuple[Endpoint, T]:
        """The first answer and who gave it. `Unavailable` after all rounds."""
        trouble: list[Unavailable] = []
        for turn in range(max(self._limits.attempts, 1)):
            if turn:
                await self.pause(turn)
            trouble = []
            for endpoint in self.order():
                try:
                    answer = await endpoint.ask(
                        what, call, timeout_s or self._limits.request_timeout_s
                    )
                except Unavailable as error:
                    trouble.append(error)
                else:
                    self._current = endpoint
                    return endpoint, answer
        raise worst(trouble)

    async def pause(self, turn: int) -> None:
        """Wait before round `turn` (the first repetition is 1)."""
        wait = self._limits.backoff_s * 2.0 ** min(turn - 1, 20)
        await self._clock.sleep(min(wait, self._limits.backoff_cap_s))

    # --- heads ----------------------------------------------------------------------------------

    async def head(self, after: Head | None) -> Head:
        wait = self._limits.request_timeout_s + self._limits.head_wait_s
        endpoint, head = await self.any("head", lambda chain: chain.head(after), wait)
        _seen(endpoint, head)
        moved = after is None or head.ref.height > after.ref.height
        due_s = self._limits.compare_s
        if not moved:
            due_s = min(due_s, STANDSTILL_COMPARE_S)
        now = self._clock.monotonic()
        if len(self._endpoints) == 1 or now - self._compared_at < due_s:
            return head
        self._compared_at = now
        return await self._compared(endpoint, head)

    async def _compared(self, endpoint: Endpoint, head: Head) -> Head:
        """`head`, or the best of the others if it is behind by too much: then we move there."""
        now = self._clock.monotonic()
        able = [
            one
            for one in self._endpoints
            if one is not endpoint and one.sick_until <= now and one.distrusted_until <= now
        ]
        heads = await asyncio.gather(*map(self._head_of, able))
        best, best_head = endpoint, head
        least = head.ref.height + self._limits.lag_blocks + 1
        for one, shown in zip(able, heads, strict=True):
            if shown is not None and shown.ref.height >= least:
                best, best_head, least = one, shown, shown.ref.height + 1
        if best is not endpoint:
            behind = best_head.ref.height - head.ref.height
            endpoint.note("endpoint lags", behind_blocks=behind, instead=best.label)
            self._current = best
        return best_head

    async def _head_of(self, endpoint: Endpoint) -> Head | None:
        try:
            head = await endpoint.ask("head", lambda c: c.head(), self._limits.request_timeout_s)
        except ChainError:
            return None
        _seen(endpoint, head)
        return head


def _seen(endpoint: Endpoint, head: Head) -> None:
    before, endpoint.head = endpoint.head, head
    if before is not None and head.ref.height < before.ref.height:
        endpoint.note("head moved back", from_height=before.ref.height, to_height=head.ref.height)


def worst(trouble: Sequence[Unavailable]) -> Unavailable:
    """What to tell when nobody answered: another network before a mere silence."""
    for error in trouble:
        if isinstance(error, WrongNetwork):
            return error
    return trouble[-1] if trouble else Unavailable("no endpoint answered")
