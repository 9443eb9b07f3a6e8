"""What watches over a running daemon: figures, alarms and their webhook, heartbeat, calendar.

No money depends on any of it; each is a loop of its own, so that none holds up another.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from chain_adapter.console.health import Progress
from chain_adapter.console.server import DaemonStatus
from chain_adapter.store import alarm_causes
from chain_adapter.telemetry import METRICS
from chain_adapter.workers.herald import Heartbeat, Herald, Line, url_of
from chain_adapter.workers.meter import Meter
from chain_adapter.workers.nightly import Nightly, Prove

if TYPE_CHECKING:
    from chain_adapter.daemon import Daemon

Step = Callable[[], Awaitable[float | None]]
CAUSES_EVERY_S = 30.0
TROUBLE = {
    "Unavailable": "node_unreachable",
    "WrongNetwork": "node_unreachable",
    "PlatformUnreachable": "platform_unreachable",
    "PlatformRefused": "platform_unreachable",
}
"""The error that makes a loop fail -> the alarm that names the cause; else "worker_failing"."""
TROUBLES = frozenset({*TROUBLE.values(), "worker_failing"})


def trouble_code(message: str) -> str:
    """The alarm for a loop's error ("Unavailable: no endpoint answered")."""
    return TROUBLE.get(message.partition(":")[0], "worker_failing")


def steps(daemon: Daemon, prove: Prove, stack: AsyncExitStack) -> Iterator[tuple[str, Step]]:
    """Name and step of every such loop; what has to be ended is put on the stack.

    Raises `KeyFileError`, `ConfigError` for a URL file that holds none.
    """
    config = daemon.config
    meter = Meter(
        daemon.store,
        METRICS,
        lambda: {name: one.progress.settled_height for name, one in daemon.watchers.items()},
    )
    yield "meter", meter.step
    yield "causes", _causes(daemon)
    instance = config.instance or socket.gethostname()
    if (line := _line(daemon, "webhook", stack)) is not None:
        yield "herald", Herald(daemon.store, config.alarms, line, instance).step
    if (line := _line(daemon, "heartbeat", stack)) is not None:
        yield "heartbeat", Heartbeat(config.alarms, line, _readiness(daemon)).step
    nightly = Nightly(
        daemon.store,
        config.require_chains(),
        daemon.guards,
        prove,
        internal_notify=config.require_platform().internal_notify,
    )
    stack.callback(nightly.schedule())


def _causes(daemon: Daemon) -> Step:
    async def step() -> float:
        await daemon.store.write(alarm_causes.close_gone)
        return CAUSES_EVERY_S

    return step


def _line(daemon: Daemon, name: str, stack: AsyncExitStack) -> Line | None:
    url = url_of(daemon.config.alarms, name)
    if url is None:
        return None
    line = Line(name, url, daemon.config.alarms.timeout_s)
    stack.push_async_callback(line.close)
    return line


def _readiness(daemon: Daemon) -> Callable[[], Awaitable[Sequence[str]]]:
    """Why `/health/ready` would say no."""
    progress = Progress(daemon.config.console.unsent_limit_s)

    async def reasons() -> Sequence[str]:
        return progress.reasons(await DaemonStatus(daemon).status(), daemon.clock.monotonic())

    return reasons
