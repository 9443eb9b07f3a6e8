"""What feeds the figures: requests to nodes, calls to the platform, rounds of loops.

Each is put around a part and is told nothing but names, outcomes and times; parts that decide
something know nothing of figures.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from chain_adapter.telemetry.metrics import Metrics

T = TypeVar("T")

CALLS = {
    "register": "address/register",
    "available": "address/available",
    "notify_deposit": "deposit/notify",
    "consume": "withdraw/consume",
    "notify_withdrawal": "withdraw/notify",
    "cancel": "withdraw/cancel",
    "notify_internal": "internal/notify",
}
"""Methods of the platform's client and the call that each makes."""


class Seen(Protocol):
    """One request to a node, or one change of an endpoint (`what` is then ``up``)."""

    @property
    def endpoint(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class NodeFeed:
    """Counts what a guard sees. Endpoints are told by their number: a label may name a host."""

    def __init__(self, metrics: Metrics, chain: str, labels: Sequence[str]) -> None:
        self._metrics = metrics
        self._chain = chain
        self._numbers = {label: str(number) for number, label in enumerate(labels, 1)}
        for number in self._numbers.values():
            metrics.endpoint_up.labels(chain, number).set(1)

    def __call__(self, seen: Seen) -> None:
        number = self._numbers.get(seen.endpoint, "?")
        if seen.what == "up":
            self._metrics.endpoint_up.labels(self._chain, number).set(float(seen.outcome))
            return
        self._metrics.node_requests.labels(self._chain, number, seen.outcome).inc()
        self._metrics.node_seconds.labels(self._chain, number).observe(seen.seconds)


class _Metered:
    """Any platform client with its seven calls counted."""

    def __init__(self, platform: Any, metrics: Metrics) -> None:
        self._platform = platform
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._platform, name)
        if name not in CALLS:
            return found
        call = CALLS[name]

        async def counted(*arguments: Any, **named: Any) -> Any:
            begun, outcome = time.perf_counter(), "cancelled"
            try:
                answer = await found(*arguments, **named)
                outcome = "ok"
            except Exception as error:
                outcome = type(error).__name__
                raise
            finally:
                self._metrics.platform_requests.labels(call, outcome).inc()
                seconds = time.perf_counter() - begun
                self._metrics.platform_seconds.labels(call).observe(seconds)
            return answer

        return counted


def metered(platform: T, metrics: Metrics) -> T:
    """`platform` with its calls counted and timed."""
    return cast(T, _Metered(platform, metrics))


def counted(
    name: str, step: Callable[[], Awaitable[float | None]], metrics: Metrics
) -> Callable[[], Awaitable[float | None]]:
    """A loop's step with its rounds counted."""

    async def round_() -> float | None:
        try:
            pause_s = await step()
        except Exception:
            metrics.rounds.labels(name, "failed").inc()
            raise
        metrics.rounds.labels(name, "ok").inc()
        return pause_s

    return round_
