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
from chain_adapter.clock import Clock
from chain_adapter.config.records import ChainConfig
from chain_adapter.core.quorum import Agreement, judge
from chain_adapter.store import blocks, settling
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.reading import Ours, Reader

log = structlog.get_logger(__name__)

LOOKS_MOST = 256  # second looks in one commit
LOOKS_AT_ONCE = 8  # ranges that are read again at the same time
TELL_AFTER_S = 60.0  # where crediting would wait for ever, people hear of it then
TELL_EVERY_S = 60.0
ALONE_S = 60.0  # second looks stay at one endpoint so long, then another is tried again


class Patience:
    """How long others have been waited for, and what follows from that."""

    def __init__(self, clock: Clock, limit_s: float | None) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._since: float | None = None

    def begin(self) -> None:
        if self._since is None:
            self._since = self._clock.monotonic()

    def end(self) -> None:
        self._since = None

    @property
    def has_begun(self) -> bool:
        return self._since is not None

    @property
    def waited_s(self) -> float:
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    @property
    def is_over(self) -> bool:
        """Whether to go on without them."""
        return self._limit_s is not None and self._since is not None and (
            self.waited_s >= self._limit_s
        )  # fmt: skip

    @property
    def is_to_be_told(self) -> bool:
        return self.is_over or (self._limit_s is None and self.waited_s >= TELL_AFTER_S)


class Settler:
    """Guarantees: no height is settled that an endpoint contradicts (with a quorum: that fewer
    endpoints show), or that was to be looked at twice and was not. Does not guarantee: that
    endpoints which do not answer agree.
    """

    def __init__(self, config: ChainConfig, chain: Reader, store: Store) -> None:
        self._name = config.name
        self._all_followed = config.second_look == "all"
        self._chain = chain
        self._store = store
        self._kinds = {one.name: one.kinds for one in chain.info.methods}
        self._quorum = config.quorum
        self._answers = Patience(store.clock, config.alone_after_s)  # enough endpoints tell a hash
        self._looks = Patience(store.clock, config.alone_after_s)  # another one reads a block again
        self._alone_until = float("-inf")
        self._told: dict[str, tuple[str, float]] = {}  # alarm -> what was said last, and when
        self._is_quiet = False  # alarms of an earlier run may be open
        self._agreement: Agreement | None = None
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
        """Whether enough endpoints have our block; a difference pauses the chain."""
        told = await self._chain.agreed_hash(goal.height)
        found = self._agreement = judge(goal.hash, told, self._quorum)
        where = f"block {goal.height}"
        if found.must_pause:
            log.error("endpoints_differ", chain=self._name, height=goal.height)
            text = f"{where}: {found.text}"
            await self._store.write(lambda tx: blocks.endpoints_differ(tx, self._name, text))
            self._is_quiet = False
            return False
        if found.differ and found.is_agreed:
            await self._raise("endpoint_outvoted", where, found.text)
        if found.is_short and not found.is_alone and not (found.differ and not found.ours):
            self._answers.begin()
            if self._answers.is_to_be_told:
                names = ", ".join(found.silent)
                await self._raise("endpoint_missing", where, f"not shown by {names}")
        elif not found.is_short:
            self._answers.end()
            await self._quieten()
        return found.is_agreed and (
            not found.is_short or found.is_alone or self._answers.is_over
        )  # fmt: skip

    async def _raise(self, code: str, where: str, text: str) -> None:
        """Once, and again now and then while it lasts."""
        now = self._store.clock.monotonic()
        said, at = self._told.get(code, ("", float("-inf")))
        self._is_quiet = False
        if said == text and now - at < TELL_EVERY_S:
            return
        self._told[code] = (text, now)
        log.warning(code, chain=self._name, at=where, what=text)
        message = f"{where}: {text}"
        await self._store.write(lambda tx: raise_alarm(tx, code, self._name, message, self._name))

    async def _quieten(self) -> None:
        """If all is well: alarms whose cause is gone are closed."""
        found = self._agreement
        is_well = found is not None and found.is_agreed and not found.differ
        if self._is_quiet or not is_well or self._answers.has_begun or self._looks.has_begun:
            return

        def unit(tx: Tx) -> None:
            for code in ("endpoints_differ", "endpoint_outvoted", "endpoint_missing"):
                close_alarm(tx, code, self._name, self._name)

        await self._store.write(unit)
        self._told.clear()
        self._is_quiet = True

    async def _look_again(self, plan: settling.Plan, ours: Ours) -> list[Block] | None:
        """The second readings of a plan; None when a block reads differently now, or when another
        endpoint than that of the first look is still being waited for."""
        if self._answers.is_over or self._store.clock.monotonic() < self._alone_until:
            return await self._read_again(plan, ours, elsewhere=False)
        try:
            looked = await self._read_again(plan, ours, elsewhere=True)
        except Unavailable as error:
            if self._agreement is None or self._agreement.is_alone:
                raise
            self._looks.begin()
            log.info("second_look_failed", chain=self._name, error=str(error))
            if self._looks.is_to_be_told:
                where = f"block {plan.goal.height}"
                await self._raise("endpoint_missing", where, f"not read again elsewhere: {error}")
            if not self._looks.is_over:
                return None
            self._alone_until = self._store.clock.monotonic() + ALONE_S
            return await self._read_again(plan, ours, elsewhere=False)
        self._looks.end()
        await self._quieten()
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
