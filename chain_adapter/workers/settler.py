"""Settles heights: compared between endpoints, read again by another method, confirmed.

The watcher's second half. What is final by the head -> every endpoint that answers has our block
-> the blocks that need it are read again -> one commit that compares, holds, takes up, confirms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import structlog

from chain_adapter.chain import Block, BlockRef, NotOnChain, Unavailable
from chain_adapter.config.records import ChainConfig
from chain_adapter.store import blocks, settling
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.store import Store
from chain_adapter.workers.reading import Ours, Reader

log = structlog.get_logger(__name__)

LOOKS_MOST = 256  # second looks in one commit
LOOKS_AT_ONCE = 8  # ranges that are read again at the same time
FAILURES_MOST = 3  # failures elsewhere before the endpoint of the first look is asked again
ALONE_S = 60.0  # then so long, until the others are tried again


class Settler:
    """Guarantees: no height is settled that an endpoint contradicts, or that was to be looked at
    twice and was not. Does not guarantee: that endpoints which do not answer agree.
    """

    def __init__(self, config: ChainConfig, chain: Reader, store: Store) -> None:
        self._name = config.name
        self._all_followed = config.second_look == "all"
        self._chain = chain
        self._store = store
        self._kinds = {one.name: one.kinds for one in chain.info.methods}
        self._failures = 0
        self._alone_until = float("-inf")
        self._differed = True  # an alarm of an earlier run may be open
        self._matured_at: BlockRef | None = None  # tip when deposits were last confirmed
        self.settled_height = -1
        self.confirmed = 0  # deposits, by the last step

    async def step(self, how: blocks.Reading, ours: Ours, final_height: int, tip: BlockRef) -> bool:
        """One commit of settling up to `final_height`, if any; whether there is more to do at once.

        Raises `FilterOutdated`, `Unavailable`.
        """
        self.confirmed = 0
        plan = await self._store.read(
            partial(
                settling.plan,
                chain=self._name,
                final_height=final_height,
                most=LOOKS_MOST,
                all_followed=self._all_followed,
                keeps_coins=how.keeps_coins,
            )
        )
        if plan is None:
            await self._confirm_matured(how, tip)
            return False
        if not await self._agree(plan.goal):
            return False
        looked = await self._look_again(plan, ours)
        if looked is None:
            return False
        done = await self._store.write(
            lambda tx: settling.settle(tx, how, plan.goal, looked, self._kinds)
        )
        self.settled_height = done.height
        self.confirmed = done.confirmed
        self._matured_at = tip
        if done.confirmed:
            log.info("deposits_confirmed", chain=self._name, count=done.confirmed)
        return done.found or done.height < final_height

    async def _confirm_matured(self, how: blocks.Reading, tip: BlockRef) -> None:
        """Nothing new is final, but outputs mature and people release."""
        if self._matured_at == tip:
            return
        if await self._store.read(lambda tx: settling.has_waiting(tx, self._name)):
            self.confirmed = await self._store.write(
                lambda tx: settling.confirm_waiting(tx, how.terms, tip.height)
            )
        self._matured_at = tip

    async def _agree(self, goal: BlockRef) -> bool:
        """Whether every endpoint that answers has our block; a difference pauses the chain."""
        told = await self._chain.agreed_hash(goal.height)
        shown = {label: one for label, one in told.items() if one is not None}
        if set(shown.values()) == {goal.hash}:
            if self._differed:
                self._differed = False
                await self._store.write(
                    lambda tx: close_alarm(tx, "endpoints_differ", self._name, self._name)
                )
            return True
        if len(set(shown.values())) > 1:
            self._differed = True
            listed = ", ".join(f"{label} has {one}" for label, one in sorted(shown.items()))
            message = f"block {goal.height} is {goal.hash} here; {listed}"
            log.error("endpoints_differ", chain=self._name, height=goal.height)
            await self._store.write(lambda tx: blocks.endpoints_differ(tx, self._name, message))
        # Where all agree on another block, ours has just been replaced: it will be popped.
        return False

    async def _look_again(self, plan: settling.Plan, ours: Ours) -> list[Block] | None:
        """The second readings of a plan; None when a block reads differently now.

        At another endpoint than the first, but for as long as no other answers.
        """
        if self._store.clock.monotonic() < self._alone_until:
            return await self._read_again(plan, ours, elsewhere=False)
        try:
            looked = await self._read_again(plan, ours, elsewhere=True)
        except Unavailable as error:
            self._failures += 1
            if self._failures < FAILURES_MOST:
                raise
            self._alone_until = self._store.clock.monotonic() + ALONE_S
            log.warning("second_look_at_the_same_endpoint", chain=self._name, error=str(error))
            return await self._read_again(plan, ours, elsewhere=False)
        self._failures = 0
        return looked

    async def _read_again(
        self, plan: settling.Plan, ours: Ours, *, elsewhere: bool
    ) -> list[Block] | None:
        gate = asyncio.Semaphore(LOOKS_AT_ONCE)
        watch = ours.watch(plan.coins)

        async def one(run: Sequence[settling.Again]) -> list[Block]:
            async with gate:
                first, last = run[0], run[-1].ref.height
                avoid = first.ref if elsewhere else None
                items = self._chain.second(first.parent, last, watch, avoid)
                async with aclosing(items) as found:  # type: ignore[type-var]
                    return [block async for block in found]

        try:
            read = await asyncio.gather(*map(one, settling.runs(plan.again)))
        except NotOnChain:
            return None
        looked = [block for run in read for block in run]
        wanted = [again.ref for again in plan.again]
        return looked if [block.ref for block in looked] == wanted else None
