"""Collects deposits to the hot wallet, and moves what is too much there to the cold address.

settled transfers to deposit addresses -> balance asked -> worth its fee? -> a sweep is queued, and
from there the payer does it, gas top-up first where the fee asset is missing. Withdrawals go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import structlog

from chain_adapter.chain import (
    Chain,
    ChainError,
    Coin,
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    Payment,
    Rejected,
)
from chain_adapter.core.states import Kind
from chain_adapter.core.treasury import (
    BUSY,
    NOT_NOW,
    NOTHING,
    RESTING,
    TOO_LITTLE,
    to_cold,
    worth_collecting,
)
from chain_adapter.store import treasury
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.signing import Account, Accounts, spendable
from chain_adapter.workers.terms import AssetTerms, ChainTerms

log = structlog.get_logger(__name__)
LOOKS_A_WINDOW = 200  # addresses asked in one window
REST_S = 86400  # after a collection that failed on chain, which costs fees and brings nothing


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address and asset, and what is thought of it. Amounts in base units."""

    address: str
    asset: str
    balance: int
    fee: int  # of the collection and, where one is needed, of its gas top-up
    top_up: int  # what the gas address must send there first
    verdict: str | None  # None: worth collecting


class Sweeper:
    """Guarantees: one sweep an address at a time; none is queued that may cost more than its share
    of what it brings.

    Does not guarantee: that small deposits are ever collected, or when.
    """

    def __init__(self, terms: ChainTerms, chain: Chain, accounts: Accounts, store: Store) -> None:
        self._terms = terms
        self._chain = chain
        self._accounts = accounts
        self._store = store
        self._seen_height = -1
        self._waiting: dict[tuple[str, str], None] = {}  # in the order in which they came

    async def step(self) -> float:
        """One window."""
        await self._look()
        if await self._store.read(partial(treasury.is_paused, chain=self._terms.chain)):
            return self._terms.collect_every_s
        for candidate in await self.plan():
            if candidate.verdict is None:
                await self._store.write(partial(self._queue, candidate=candidate))
                log.info("sweep_planned", address=candidate.address, asset=candidate.asset)
        await self._hot_wallet()
        return self._terms.collect_every_s

    async def _look(self) -> None:
        settled = await self._store.read(partial(treasury.settled_height, chain=self._terms.chain))
        rows = await self._store.read(
            partial(
                treasury.received_since,
                chain=self._terms.chain,
                above_height=self._seen_height,
                settled_height=settled,
            )
        )
        for row in rows:
            asset = self._terms.assets.get(row.asset)
            if asset is not None and asset.collect:
                self._waiting[row.to, row.asset] = None
        self._seen_height = settled

    async def plan_all(self, most: int) -> list[Candidate]:
        """Judge everything that ever received, for people; nothing is queued."""
        await self._look()
        return await self.plan(most)

    async def plan(self, most: int = LOOKS_A_WINDOW) -> list[Candidate]:
        """Judge what waits longest, cost beside worth; what is too small is forgotten until it
        grows, anything else goes to the back, so that nothing keeps the rest from being seen."""
        found = []
        busy: set[str] = set()
        for address, asset in list(self._waiting)[:most]:
            del self._waiting[address, asset]
            why = (
                BUSY
                if address in busy
                else await self._store.read(partial(self._not_free, address=address))
            )
            if why is not None:
                candidate = Candidate(address, asset, 0, 0, 0, why)
            else:
                candidate = await self._judge(address, self._terms.assets[asset])
            found.append(candidate)
            if candidate.verdict is None:
                busy.add(address)  # one a window: the fee of the next depends on what is left
            if candidate.verdict not in (NOTHING, TOO_LITTLE):
                self._waiting[address, asset] = None
        return found

    def _not_free(self, tx: Tx, address: str) -> str | None:
        if treasury.busy(tx, self._terms.chain, address):
            return BUSY
        since = tx.now_us - REST_S * 1_000_000
        return RESTING if treasury.failed_since(tx, self._terms.chain, address, since) else None

    async def _judge(self, address: str, asset: AssetTerms) -> Candidate:
        balance = (await self._chain.balance(address, asset.asset)).amount
        terms = self._terms.collecting(asset)
        early = worth_collecting(terms, balance, 0)
        if early is not None:
            return Candidate(address, asset.asset, balance, 0, 0, early)
        cost = await self._cost(address, asset, balance)
        if cost is None:
            return Candidate(address, asset.asset, balance, 0, 0, NOT_NOW)
        fee, top_up = cost
        verdict = worth_collecting(terms, balance, fee)
        return Candidate(address, asset.asset, balance, fee, top_up, verdict)

    async def _cost(self, address: str, asset: AssetTerms, balance: int) -> tuple[int, int] | None:
        """What the sweep may cost with its top-up, and that top-up's size; by building them, of
        which nothing is kept. None where it cannot be built now."""
        row = await self._store.read(
            partial(treasury.key_of, chain=self._terms.chain, address=address)
        )
        if row is None or row.account is None:
            return None
        key = self._accounts.at(self._terms.chain, row.account, row.idx)
        hot = self._accounts.hot(self._terms.chain).address
        amount = None if asset.is_native else balance
        try:
            return await self._fee(key, Payment(asset.asset, hot, amount)), 0
        except InsufficientFunds as error:
            if error.asset != self._terms.fee_asset or asset.is_native:
                return None
            short_by = error.short_by
        except (Rejected, FeeAboveLimit) as error:
            log.info("not_collected", address=address, asset=asset.asset, why=str(error))
            return None
        try:
            payment = Payment(self._terms.fee_asset, address, short_by)
            own = await self._fee(self._accounts.gas(self._terms.chain), payment)
        except InsufficientFunds:
            own = 0  # the gas address is empty: its own alarm says so once a sweep waits for it
        except (Rejected, FeeAboveLimit) as error:
            log.info("no_top_up", address=address, why=str(error))
            return None
        return short_by + own, short_by

    async def _fee(self, key: Account, payment: Payment) -> int:
        """What a payment may cost, base units of the fee asset. Raises what `build` raises."""
        coins: tuple[Coin, ...] = ()
        if self._chain.info.family == "coin":
            rows = await self._store.read(lambda tx: spendable(tx, self._terms.chain, key.address))
            coins = tuple(
                Coin(row.lock, key.address, key.public_key, int(row.amount)) for row in rows
            )
        intent = Intent(
            sender=key.address,
            public_key=key.public_key,
            payments=(payment,),
            fee_limit=self._terms.fee_cap,
            coins=coins,
            salt=bytes(16),
        )
        return self._chain.inspect(await self._chain.build(intent)).max_fee

    def _queue(self, tx: Tx, candidate: Candidate) -> None:
        chain = self._terms.chain
        row = treasury.key_of(tx, chain, candidate.address)
        if row is None or treasury.busy(tx, chain, candidate.address):
            return
        asset = self._terms.assets[candidate.asset]
        treasury.add(
            tx,
            kind=Kind.SWEEP,
            stem=f"sweep:{candidate.address}",
            chain=chain,
            asset=asset.asset,
            symbol=asset.symbol,
            decimals=asset.decimals,
            sender=candidate.address,
            account=row.account,
            idx=row.idx,
            to=self._accounts.hot(chain).address,
            amount=None if asset.is_native else candidate.balance,
        )

    # --- the hot wallet ---------------------------------------------------------------------------

    async def _hot_wallet(self) -> None:
        """Floor and ceiling of every asset."""
        hot = self._accounts.hot(self._terms.chain)
        for asset in self._terms.assets.values():
            if not asset.hot_floor and asset.hot_ceiling is None:
                continue
            try:
                balance = (await self._chain.balance(hot.address, asset.asset)).amount
            except ChainError:
                return
            await self._store.write(
                partial(self._between_marks, asset=asset, balance=balance, hot=hot)
            )

    def _between_marks(self, tx: Tx, asset: AssetTerms, balance: int, hot: Account) -> None:
        chain = self._terms.chain
        subject = f"{chain}/{asset.asset}"
        if balance < asset.hot_floor:
            text = f"the hot wallet holds {balance} base units, its floor is {asset.hot_floor}"
            raise_alarm(tx, "hot_below_floor", subject, text, chain)
        else:
            close_alarm(tx, "hot_below_floor", subject, chain)
        # What users wait for is not there to be put away.
        free = balance - treasury.owed(tx, chain, asset.asset)
        amount = to_cold(free, asset.hot_floor, asset.hot_ceiling)
        if not amount or asset.cold_address is None:
            return
        if not treasury.cold_under_way(tx, chain, asset.asset):
            treasury.add(
                tx, kind=Kind.COLD, stem=f"cold:{subject}", chain=chain, asset=asset.asset,
                symbol=asset.symbol, decimals=asset.decimals, sender=hot.address,
                account=hot.account, idx=hot.index,
                to=self._chain.parse_address(asset.cold_address), amount=amount,
            )  # fmt: skip
