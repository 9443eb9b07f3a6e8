"""What the guard allows an endpoint, and what it tells whoever counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, by the guard's clock."""

    request_timeout_s: float = 20.0
    item_timeout_s: float = 60.0  # for each block that is yielded
    head_wait_s: float = 10.0  # how long `head` may wait for news, on top of a request
    rate_per_s: float | None = None  # requests an endpoint; None: no limit
    burst: int = 20
    attempts: int = 3  # rounds over all endpoints before the caller hears `Unavailable`
    backoff_s: float = 0.25  # before the second round; doubled each round
    backoff_cap_s: float = 8.0
    prove_every_s: float = 60.0  # identity is asked again, trouble or not
    compare_s: float = 30.0  # heads of all endpoints are compared so often
    lag_blocks: int = 2  # an endpoint behind by more is left for the best one
    distrust_s: float = 60.0  # how long one that lacks blocks below its own head comes last
    quiet_s: float = 60.0  # the same endpoint's trouble is logged once in so long


@dataclass(frozen=True, slots=True)
class Observation:
    """One request, or one change of an endpoint's state (`what` is then ``up``, outcome 0 or 1)."""

    endpoint: str
    what: str
    outcome: str  # "ok", or the name of the error
    seconds: float


Observe = Callable[[Observation], None]


def unobserved(_: Observation) -> None:
    """For callers that do not count."""
