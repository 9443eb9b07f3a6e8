"""Calendar work: that we can sign for our addresses is shown again, and the day is reconciled.

cron -> for each chain a sample of registered addresses is proven; the day before is reconciled as
soon as its last block is final.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from functools import partial

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from chain_adapter.chain import ChainError
from chain_adapter.config import ChainConfig
from chain_adapter.errors import SigningRefused
from chain_adapter.guard import Guard
from chain_adapter.keys.derivation import Account
from chain_adapter.store import addresses
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.reconciler import Reconciler

log = structlog.get_logger(__name__)
PROOFS_A_NIGHT = 20

Prove = Callable[[str, int, int, bytes], Awaitable[None]]
"""chain, account, index, challenge: raises `SigningRefused` unless we can sign for it."""


class Nightly:
    """Guarantees: what cannot be signed for, or does not add up, raises an alarm within a day.

    Does not guarantee: that every address is tried; a sample of each night's is.
    """

    def __init__(
        self,
        store: Store,
        chains: Mapping[str, ChainConfig],
        guards: Mapping[str, Guard],
        prove: Prove,
        *,
        internal_notify: bool,
    ) -> None:
        self._store = store
        self._chains = chains
        self._guards = guards
        self._prove = prove
        self._internal_notify = internal_notify
        self._reconciled: dict[str, date] = {}  # the last day that was done, a chain

    def schedule(self) -> Callable[[], None]:
        """Start the calendar; the function that ends it."""
        calendar = AsyncIOScheduler(timezone="UTC")
        calendar.add_job(self.prove, "cron", hour=2, minute=30, misfire_grace_time=3600)
        # Every ten minutes of the first hours: a day counts once its last block is final.
        calendar.add_job(
            self.reconcile, "cron", hour="0-5", minute="0,10,20,30,40,50", misfire_grace_time=3600
        )
        calendar.start()
        return partial(calendar.shutdown, wait=False)

    async def prove(self) -> None:
        """Show again, for a sample of registered addresses, that we can sign for them."""
        for name in self._guards:
            count = await self._store.read(
                partial(addresses.next_index, chain=name, account=Account.DEPOSIT)
            )
            sample = random.SystemRandom().sample(range(count), min(count, PROOFS_A_NIGHT))
            wrong: str | None = None
            for index in sample:
                try:
                    await self._prove(name, Account.DEPOSIT, index, secrets.token_bytes(32))
                except SigningRefused as error:
                    wrong = error.why
            await self._store.write(partial(_proven, chain=name, wrong=wrong))

    async def reconcile(self) -> None:
        """The day before, once for each chain, as soon as all of it is final."""
        day = self._store.clock.now().date() - timedelta(days=1)
        for name, chain in self._chains.items():
            if self._reconciled.get(name) == day:
                continue
            guard = self._guards[name]
            reconciler = Reconciler(
                chain, guard, guard, self._store, internal_notify=self._internal_notify
            )
            try:
                report = await reconciler.run(day)
            except ChainError as error:
                log.warning("not_reconciled", chain=name, day=str(day), error=str(error))
                continue
            log.info(
                "reconciled", chain=name, day=str(day), whole=report.is_whole,
                differences=len(report.differences),
            )  # fmt: skip
            if report.is_whole:
                self._reconciled[name] = day


def _proven(tx: Tx, chain: str, wrong: str | None) -> None:
    subject = f"prove:{chain}"
    if wrong is None:
        close_alarm(tx, "signing_refused", subject, chain)
    else:
        raise_alarm(tx, "signing_refused", subject, wrong, chain)
