"""Keeps the platform's pool of deposit addresses between its marks; a memo coin has just one.

available below the low mark -> derive -> store -> prove that we can sign for them -> register in
hundreds -> mark registered. An address is stored before it is registered.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from chain_adapter.chain import Chain
from chain_adapter.core.states import Role
from chain_adapter.errors import PlatformRefused
from chain_adapter.keys.derivation import Account
from chain_adapter.platform_api import codes
from chain_adapter.platform_api.messages import MAX_ADDRESSES
from chain_adapter.store import addresses
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.signing import Accounts
from chain_adapter.workers.terms import AssetTerms

log = structlog.get_logger(__name__)
UNUSED_MOST = 5000  # the platform refuses what would pass it


class Platform(Protocol):
    """What the registrar asks of the platform."""

    async def register(self, symbol: str, addresses: Sequence[str], memo: bool) -> None: ...

    async def available(self, symbol: str) -> int: ...


Prove = Callable[[str, int, int, bytes], Awaitable[None]]
"""chain, account, index, challenge: raises `SigningRefused` unless we can sign for it."""


class Registrar:
    """Guarantees: what is registered is stored and was proven; at most 100 a push and 5,000
    unused; only the main coin's addresses; a memo coin's one address once.

    Does not guarantee: that the pool never runs empty while the platform does not answer.
    """

    def __init__(
        self,
        chain_name: str,
        native: AssetTerms,
        chain: Chain,
        accounts: Accounts,
        prove: Prove,
        platform: Platform,
        store: Store,
        *,
        memo: bool,
        low: int,
        high: int,
        poll_interval_s: float,
        on_addresses: Callable[[], None],
    ) -> None:
        self._name = chain_name
        self._symbol = native.symbol
        self._chain = chain
        self._accounts = accounts
        self._prove = prove
        self._platform = platform
        self._store = store
        self._memo = memo
        self._low = low
        self._high = min(high, UNUSED_MOST - 1)
        self._poll_interval_s = poll_interval_s
        self._on_addresses = on_addresses
        self._filling = False
        self.pool: int | None = None  # last answer of `available`

    async def step(self) -> float:
        """One look at the pool; returns the pause until the next."""
        if self._memo:
            return await self._memo_address()
        self.pool = await self._platform.available(self._symbol)
        registered = await self._store.read(lambda tx: addresses.count_registered(tx, self._name))
        subject = f"pool:{self._symbol}"

        def compare(tx: Tx) -> None:
            if self.pool is not None and self.pool > registered:
                raise_alarm(
                    tx, "pool_mismatch", subject,
                    f"the platform counts {self.pool} unused, we registered {registered}",
                    self._name,
                )  # fmt: skip
            else:
                close_alarm(tx, "pool_mismatch", subject, self._name)

        await self._store.write(compare)
        waiting = await self._store.read(
            lambda tx: addresses.unregistered(tx, self._name, MAX_ADDRESSES)
        )
        # Below the low mark it is filled up to the high one, not to the low one again and again.
        self._filling = self.pool < self._low or (self._filling and self.pool < self._high)
        room = self._high - self.pool
        if room <= 0 or not (self._filling or waiting):
            return self._poll_interval_s
        more = min(room, MAX_ADDRESSES) - len(waiting)
        if more > 0:
            await self._derive(more)
            waiting = await self._store.read(
                lambda tx: addresses.unregistered(tx, self._name, MAX_ADDRESSES)
            )
        await self._register([row.address for row in waiting[: min(room, MAX_ADDRESSES)]])
        return 0.0

    async def _derive(self, count: int) -> None:
        """Store the next addresses of the deposit account; proven before they are stored."""
        first = await self._store.read(
            lambda tx: addresses.next_index(tx, self._name, Account.DEPOSIT)
        )
        made = [
            self._accounts.at(self._name, Account.DEPOSIT, index)
            for index in range(first, first + count)
        ]
        # One key of the batch, the last: all come from one account key by the same derivation.
        await self._prove(self._name, Account.DEPOSIT, made[-1].index, secrets.token_bytes(32))

        rows = [
            addresses.NewAddress(
                self._chain.address_key(one.address), one.address, Role.DEPOSIT,
                one.account, one.index,
            )
            for one in made
        ]  # fmt: skip
        await self._store.write(lambda tx: addresses.add_many(tx, self._name, rows))
        self._on_addresses()

    async def _register(self, spellings: Sequence[str]) -> None:
        subject = f"register:{self._symbol}"
        try:
            await self._platform.register(self._symbol, spellings, self._memo)
        except PlatformRefused as error:
            if error.code == codes.ONLY_ONE_ADDRESS and self._memo:
                # For the stored address that means: registered.
                pass
            else:
                message = f"{error.code} {error.message[:200]}"
                await self._store.write(
                    lambda tx: raise_alarm(tx, "register_refused", subject, message, self._name)
                )
                raise
        keys = [self._chain.address_key(spelling) for spelling in spellings]

        def unit(tx: Tx) -> None:
            addresses.mark_registered(tx, self._name, keys)
            close_alarm(tx, "register_refused", subject, self._name)

        await self._store.write(unit)
        log.info("registered", chain=self._name, addresses=len(spellings))

    async def _memo_address(self) -> float:
        waiting = await self._store.read(lambda tx: addresses.unregistered(tx, self._name, 2))
        if not waiting:
            known = await self._store.read(
                lambda tx: addresses.next_index(tx, self._name, Account.DEPOSIT)
            )
            if known:
                self.pool = 1
                return max(self._poll_interval_s, 60.0)
            await self._derive(1)
            return 0.0
        await self._register([waiting[0].address])
        return 0.0
