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
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    Payment,
    Rejected,
)
from chain_adapter.core.states import Kind
from chain_adapter.core.treasury import (
    NOTHING,
    TOO_LITTLE,
    Collecting,
    to_cold,
    worth_collecting,
)
from chain_adapter.store import treasury
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.signing import Account, Accounts
from chain_adapter.workers.terms import AssetTerms, ChainTerms

log = structlog.get_logger(__name__)
LOOKS_A_WINDOW = 200  # addresses asked in one window


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address and asset, and what is thought of it."""

    address: str
    asset: str
    balance: int
    fee: int
    verdict: str | None  # None: worth collecting


class Sweeper:
    """Guarantees: one sweep an address at a time; a sweep never costs more than its share.

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
            if self._terms.assets[row.asset].collect:
                self._waiting[row.to, row.asset] = None
        self._seen_height = settled

    async def plan(self, most: int = LOOKS_A_WINDOW) -> list[Candidate]:
        """Judge what waits, cost beside worth; what is too small is forgotten until it grows."""
        found = []
        for address, asset in list(self._waiting)[:most]:
            if await self._store.read(
                partial(treasury.busy, chain=self._terms.chain, address=address)
            ):
                continue
            candidate = await self._judge(address, self._terms.assets[asset])
            found.append(candidate)
            if candidate.verdict in (None, NOTHING, TOO_LITTLE):
                del self._waiting[address, asset]
        return found

    async def _judge(self, address: str, asset: AssetTerms) -> Candidate:
        balance = (await self._chain.balance(address, asset.asset)).amount
        native = self._terms.assets[self._chain.info.native]
        terms = Collecting(
            asset.asset,
            asset.is_native,
            asset.collect_above,
            self._terms.collect_fee_percent,
            native.collect_above,
        )
        early = worth_collecting(terms, balance, 0)
        if early is not None:
            return Candidate(address, asset.asset, balance, 0, early)
        fee = await self._fee(address, asset, balance)
        if fee is None:
            return Candidate(address, asset.asset, balance, 0, "cannot be built now")
        return Candidate(address, asset.asset, balance, fee, worth_collecting(terms, balance, fee))

    async def _fee(self, address: str, asset: AssetTerms, balance: int) -> int | None:
        """What the sweep may cost, by building it; nothing is kept of what was built."""
        row = await self._store.read(
            partial(treasury.key_of, chain=self._terms.chain, address=address)
        )
        if row is None or row.account is None:
            return None
        key = self._accounts.at(self._terms.chain, row.account, row.idx)
        amount = None if asset.is_native else balance
        hot = self._accounts.hot(self._terms.chain).address
        intent = Intent(
            sender=address,
            public_key=key.public_key,
            payments=(Payment(asset.asset, hot, amount),),
            fee_limit=self._terms.fee_cap,
            salt=bytes(16),
        )
        if self._chain.info.family == "coin":
            return 0  # no separate fee asset; the plugin refuses what costs more than it brings
        try:
            return self._chain.inspect(await self._chain.build(intent)).max_fee
        except InsufficientFunds as error:
            return error.short_by if error.asset == self._terms.fee_asset else None
        except (Rejected, FeeAboveLimit) as error:
            log.info("not_collected", address=address, asset=asset.asset, why=str(error))
            return None

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
        amount = to_cold(balance, asset.hot_floor, asset.hot_ceiling)
        if not amount or asset.cold_address is None:
            return
        if not treasury.cold_under_way(tx, chain, asset.asset):
            treasury.add(
                tx, kind=Kind.COLD, stem=f"cold:{subject}", chain=chain, asset=asset.asset,
                symbol=asset.symbol, decimals=asset.decimals, sender=hot.address,
                account=hot.account, idx=hot.index,
                to=self._chain.parse_address(asset.cold_address), amount=amount,
            )  # fmt: skip
