"""A guard over endpoints of one reference ledger, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chain_adapter.chain import (
    Block,
    BlockRef,
    Watch,
)
from chain_adapter.guard import Guard, Limits, Observation
from chain_adapter.registry import settings_of
from chain_adapter.sandbox.reference import (
    ReferenceDevnet,
    ReferenceLedger,
    ReferencePlugin,
)
from chain_adapter.testing import VirtualClock

LIMITS = Limits(request_timeout_s=5, item_timeout_s=5, head_wait_s=10)
Make = Callable[..., ReferenceLedger]
EVERYTHING: Any = type("Everything", (), {"__contains__": lambda self, _: True})()
ALL = Watch(to=EVERYTHING)


class Stage:
    """A ledger with endpoints a, b, …, a virtual clock, and a guard over them."""

    def __init__(self, ledger: ReferenceLedger, ways: str = "ab", **options: Any) -> None:
        self.ledger = ledger
        self.clock = VirtualClock()
        ledger.clock = self.clock
        self.ways = {name: ledger.endpoint(name) for name in ways}
        self.labels = {name: f"{ledger.name}/{name}" for name in ways}
        self.seen: list[Observation] = []
        self.plugin: Any = options.pop("plugin", ReferencePlugin(ledger.flavour))
        devnet = ReferenceDevnet(ledger)
        self.native = next(iter(devnet.assets))
        options.setdefault("limits", LIMITS)
        self.guard = Guard(
            self.plugin,
            settings_of(self.plugin, devnet.node, "node"),
            devnet.assets,
            [ledger.url(name) for name in ways],
            clock=self.clock,
            observe=self.seen.append,
            **options,
        )

    async def run(self, work: Any, limit_s: float = 3600) -> Any:
        """The result of a coroutine, in virtual time."""
        task = asyncio.ensure_future(work)
        await self.clock.run_until(task.done, limit_s)
        return task.result()

    async def read(self, after: BlockRef, last: int, **options: Any) -> list[Block]:
        async def collect() -> list[Block]:
            return [block async for block in self.guard.blocks(after, last, ALL, **options)]

        made: list[Block] = await self.run(collect())
        return made

    def ref(self, height: int) -> BlockRef:
        return BlockRef(height, self.ledger.block(height).hash)


START = BlockRef(0, "")
