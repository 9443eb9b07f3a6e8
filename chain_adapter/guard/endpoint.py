"""One endpoint: its Chain, its gate, whether it has proven its network, and its health.

`ask` makes one request: the identity is proven first if need be (at the start, after every trouble,
and now and then), time is limited, and whatever a plugin lets through becomes one of the errors of
`chain.py`. Trouble is logged once when it begins and once when it ends.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from chain_adapter.chain import (
    Block,
    Chain,
    ChainError,
    FeeAboveLimit,
    Gate,
    Head,
    InsufficientFunds,
    InvalidAddress,
    NotOnChain,
    Rejected,
    Unavailable,
    WrongNetwork,
)
from chain_adapter.clock import Clock
from chain_adapter.guard.checkpoints import contradicted, shown_at
from chain_adapter.guard.limits import Limits, Observation, Observe

T = TypeVar("T")
Log = Any  # a bound structlog logger

FOREIGN: tuple[type[Exception], ...] = (
    ValueError,  # bad JSON, bad hex, bad text
    TypeError,
    LookupError,  # KeyError, IndexError: an answer without the field
    AttributeError,
    ArithmeticError,
    OSError,  # connections, TLS, TimeoutError
    EOFError,
    AssertionError,
    RuntimeError,  # a closed session, StopIteration inside a generator, recursion
    asyncio.InvalidStateError,
    aiohttp.ClientError,
    msgspec.MsgspecError,
)
"""What plugins let through by mistake. A plugin names more in `foreign_errors`."""

ANSWERS = (NotOnChain, InvalidAddress, FeeAboveLimit, InsufficientFunds, Rejected)
"""Errors that are answers about the question: they say nothing about the endpoint."""


def labels(endpoints: Sequence[str]) -> list[str]:
    """A name for logs a endpoint: host and port only, since a path may hold a provider's key."""
    made: list[str] = []
    for url in endpoints:
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https", "ws", "wss")
        name = parts.netloc.rpartition("@")[2] + ("" if web else parts.path)
        name = name or "endpoint"
        made.append(name if name not in made else f"{name}#{len(made) + 1}")
    return made


class Pin:
    """The identity that all endpoints must show. None until the first answer, which is recorded."""

    def __init__(
        self,
        identity: str | None,
        on_identity: Callable[[str], Awaitable[None] | None] | None,
    ) -> None:
        self.identity = identity
        self._on_identity = on_identity
        self._lock = asyncio.Lock()

    async def hold(self, shown: str, label: str) -> None:
        """`WrongNetwork` unless `shown` is the pinned identity (or the first ever, now pinned)."""
        if not shown:
            raise Unavailable(f"{label}: shows no identity")
        async with self._lock:
            if self.identity is None:
                recorded = self._on_identity(shown) if self._on_identity is not None else None
                if inspect.isawaitable(recorded):
                    await recorded
                self.identity = shown
        if shown != self.identity:
            raise WrongNetwork(
                f"{label} serves {shown}, pinned is {self.identity}: another network. "
                "Correct the endpoint; nothing was read from it"
            )


class Bucket:
    """A token bucket; those who wait are served in order."""

    def __init__(self, clock: Clock, rate_per_s: float | None, burst: int) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._burst = float(max(burst, 1))
        self._tokens = self._burst
        self._at = clock.monotonic()

    async def take(self) -> None:
        if self._rate is None:
            return
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self._rate)


class _Passage:
    """One request through the gate: waits for its turn, measures, counts."""

    __slots__ = ("_begun", "_endpoint", "_method")

    def __init__(self, endpoint: Endpoint, method: str) -> None:
        self._endpoint = endpoint
        self._method = method
        self._begun = 0.0

    async def __aenter__(self) -> None:
        if self._endpoint.closed:
            raise Unavailable(f"{self._endpoint.label}: closed")
        await self._endpoint.bucket.take()
        self._begun = self._endpoint.clock.monotonic()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        one = self._endpoint
        seconds = one.clock.monotonic() - self._begun
        outcome = "ok" if kind is None else kind.__name__
        one.observe(Observation(one.label, self._method, outcome, seconds))


class Endpoint:
    """One Chain of the plugin behind its gate."""

    def __init__(
        self,
        url: str,
        label: str,
        open_chain: Callable[[Gate], Chain],
        *,
        pin: Pin,
        clock: Clock,
        limits: Limits,
        observe: Observe,
        foreign: tuple[type[Exception], ...],
        log: Log,
        checkpoints: Mapping[int, str],
    ) -> None:
        self.label = label
        self.clock = clock
        self.observe = observe
        self.closed = False
        self.bucket = Bucket(clock, limits.rate_per_s, limits.burst)
        self.chain = open_chain(self._gate)
        self.head: Head | None = None
        self.lost_at: float | None = None
        self.reason: str | None = None
        self.sick_until = 0.0
        self.distrusted_until = 0.0
        self._url = url
        self._pin = pin
        self._limits = limits
        self._foreign = foreign
        self._checkpoints = checkpoints
        self._log: Log = log.bind(endpoint=label)
        self._failures = 0
        self._proven_at: float | None = None
        self._proving = asyncio.Lock()
        self._logged_at: float | None = None
        self._told = False

    def _gate(self, method: str) -> AbstractAsyncContextManager[None]:
        return _Passage(self, method)

    def rank(self, now: float) -> tuple[bool, bool]:
        """Sorts: healthy before distrusted before sick."""
        return (self.sick_until > now, self.distrusted_until > now)

    async def ask(self, what: str, call: Callable[[Chain], Awaitable[T]], timeout_s: float) -> T:
        """One request. Raises only errors of `chain.py`, none of which holds the endpoint's URL."""
        await self.prove()
        return await self._guarded(what, lambda: call(self.chain), timeout_s)

    async def prove(self) -> None:
        """Ask who it is, unless it has said so since the last trouble, and not long ago."""
        fresh = self.clock.monotonic() - self._limits.prove_every_s
        if self._proven_at is not None and self._proven_at > fresh:
            return
        async with self._proving:
            fresh = self.clock.monotonic() - self._limits.prove_every_s
            if self._proven_at is not None and self._proven_at > fresh:
                return
            shown = await self._guarded(
                "identity", self.chain.identity, self._limits.request_timeout_s, proof=True
            )
            try:
                await self._pin.hold(shown, self.label)
                if self._checkpoints and self._proven_at is None:
                    await self._hold_to_checkpoints()
            except Unavailable as error:
                raise self.trouble(error) from None
            self._proven_at = self.clock.monotonic()

    async def _hold_to_checkpoints(self) -> None:
        """`WrongNetwork` if it shows another block at the newest checkpoint it has reached."""
        try:
            async with self.clock.timeout(self._limits.request_timeout_s):
                head = await self.chain.head()
                reached = [one for one in self._checkpoints if one <= head.ref.height]
                ref = await shown_at(self.chain, max(reached)) if reached else None
        except ChainError as error:
            self.note("checkpoint not shown", reason=str(self._scrubbed(error)))
            return
        except self._foreign as error:
            self.note("checkpoint not shown", reason=str(self._scrubbed(Unavailable(str(error)))))
            return
        wrong = None if ref is None else contradicted(self._checkpoints, ref)
        if wrong is not None:
            raise WrongNetwork(f"{self.label}: {wrong}. Nothing was read from it")

    async def stream(
        self, what: str, start: Callable[[Chain], AsyncIterator[Block]], timeout_s: float
    ) -> AsyncIterator[Block]:
        """The blocks of one call; time is limited for each."""
        await self.prove()
        items = await self._guarded(
            what, lambda: _started(start, self.chain), timeout_s, proof=True
        )
        async with aclosing(_closable(items)) as inner:
            while True:
                block = await self._guarded(what, lambda: _next(inner), timeout_s)
                if block is None:
                    return
                yield block

    async def _guarded(
        self,
        what: str,
        call: Callable[[], Awaitable[T]],
        timeout_s: float,
        *,
        proof: bool = False,
    ) -> T:
        try:
            async with self.clock.timeout(timeout_s):
                answer = await call()
        except ANSWERS as error:
            self.back()
            raise self._scrubbed(error) from None
        except ChainError as error:
            raise self.trouble(error) from None
        except TimeoutError:
            late = Unavailable(f"{self.label}: no answer to {what} within {timeout_s:g} s")
            raise self.trouble(late) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: a task inside the plugin was, with a session that closed, say.
            odd = Unavailable(f"{self.label}: {what}: cancelled inside the plugin")
            raise self.trouble(odd) from None
        except self._foreign as error:
            odd = Unavailable(f"{self.label}: {what}: {type(error).__name__}: {error}")
            raise self.trouble(odd) from None
        # That it says who it is does not yet mean that it serves.
        if self.lost_at is not None and not proof:
            self.back()
        return answer

    def trouble(self, error: ChainError) -> Unavailable:
        """Note that this endpoint failed; returns what to raise."""
        told = self._scrubbed(error)
        if not isinstance(told, Unavailable):
            told = Unavailable(f"{self.label}: {type(error).__name__}: {told}")
        now = self.clock.monotonic()
        self._proven_at = None
        self._failures += 1
        wait = self._limits.backoff_s * 2.0 ** min(self._failures - 1, 20)
        self.sick_until = now + min(wait, self._limits.backoff_cap_s)
        self.reason = str(told)
        if self.lost_at is None:
            self.lost_at = now
            self.observe(Observation(self.label, "up", "0", 0.0))
            if self._logged_at is None or now - self._logged_at >= self._limits.quiet_s:
                self._logged_at, self._told = now, True
                self._log.warning("endpoint lost", reason=self.reason)
        return told

    def back(self) -> None:
        """It answered."""
        self._failures = 0
        self.sick_until = 0.0
        if self.lost_at is None:
            return
        gone_s = self.clock.monotonic() - self.lost_at
        self.lost_at = self.reason = None
        self.observe(Observation(self.label, "up", "1", gone_s))
        if self._told:
            self._told = False
            self._log.info("endpoint back", gone_s=round(gone_s, 3))

    def note(self, event: str, **fields: object) -> None:
        """Something odd that is no failure."""
        self._log.warning(event, **fields)

    def _scrubbed(self, error: ChainError) -> ChainError:
        """The same error without the endpoint's URL, whose path or user may be a secret."""
        parts = urlsplit(self._url)
        text = str(error).replace(self._url, self.label)
        for secret in (parts.path, parts.query, parts.password, parts.username):
            if secret and len(secret) > 6:
                text = text.replace(secret.strip("/"), "…")
        if text == str(error):
            return error
        if isinstance(error, Rejected):
            return Rejected(text, for_good=error.for_good)
        if isinstance(error, InsufficientFunds):
            return error
        return type(error)(text)


async def _started(
    start: Callable[[Chain], AsyncIterator[Block]], chain: Chain
) -> AsyncIterator[Block]:
    return start(chain)


async def _next(items: AsyncIterator[Block]) -> Block | None:
    return await anext(items, None)


def _closable(items: AsyncIterator[Block]) -> Any:
    """Plugins may return an iterator that is no generator: it has nothing to close."""
    return items if hasattr(items, "aclose") else _Plain(items)


class _Plain:
    def __init__(self, items: AsyncIterator[Block]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncIterator[Block]:
        return self._items

    async def __anext__(self) -> Block:
        return await anext(self._items)

    async def aclose(self) -> None:
        return None


def default_log(name: str) -> Log:
    return structlog.get_logger("chain_adapter.guard").bind(chain=name)
