"""`treasury plan`: what collecting would do now, what it would cost beside what it would bring.

Books and node are asked as the daemon's own sweeper asks them; nothing is queued or signed.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from functools import partial
from typing import Any

from sqlalchemy import select

from chain_adapter import money, telemetry
from chain_adapter.assembly import ConfiguredAccounts, guarded_chain, pure_chain
from chain_adapter.chain import Chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import ChainConfig, Config, load
from chain_adapter.core.treasury import NOTHING, to_cold
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.store import schema, treasury
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.sweeper import Candidate, Sweeper
from chain_adapter.workers.terms import ChainTerms, chain_terms

MOST = 100_000
_COLUMNS = ("chain", "asset", "address", "balance_shown", "cost_shown", "top_up_shown", "does")
_HOT = ("chain", "asset", "balance_shown", "floor_shown", "ceiling_shown", "to_cold_shown", "does")


def plan(args: Namespace) -> int:
    config = load(args.config)
    telemetry.configure("error")
    with opened(config) as store:
        collections, hot = asyncio.run(_plan(config, store, args.chain))
    if args.json:
        print_json({"collections": collections, "hot": hot})
        return 0
    print(table(collections, _COLUMNS, "nothing to collect"))
    count = sum(row["does"] == "collect" for row in collections)
    print(f"{count} of {len(collections)} would be collected\n")
    print(table(hot, _HOT, "no hot wallet"))
    return 0


async def _plan(
    config: Config, store: Store, only: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    accounts = ConfiguredAccounts(PublicKeys.load(config.require_keys().keystore))
    collections: list[dict[str, Any]] = []
    hot: list[dict[str, Any]] = []
    chains = config.require_chains()
    for name in [config.chain(only).name] if only else list(chains):
        chain = chains[name]
        accounts.add(name, pure_chain(chain))
        pinned = store.read_now(partial(_pinned, name=name))
        guard = guarded_chain(chain, SystemClock(), identity=pinned, on_identity=None)
        try:
            terms = _terms(config, chain, guard)
            candidates = await Sweeper(terms, guard, accounts, store).plan_all(MOST)
            collections += [_collection(terms, one) for one in candidates if one.verdict != NOTHING]
            address = accounts.hot(name).address
            for asset in terms.assets.values():
                balance = (await guard.balance(address, asset.asset)).amount
                owed = store.read_now(partial(treasury.owed, chain=name, asset=asset.asset))
                hot.append(_hot(terms, asset.asset, address, balance, owed))
        finally:
            await guard.close()
    return collections, hot


def _pinned(tx: Tx, name: str) -> str | None:
    chains = schema.chains
    value = tx.value(select(chains.c.identity).where(chains.c.chain == name))
    return None if value is None else str(value)


def _terms(config: Config, chain: ChainConfig, opened_chain: Chain) -> ChainTerms:
    info = opened_chain.info
    return chain_terms(config, chain, fee_asset=info.fee_asset, default_depth=info.confirmations)


def _collection(terms: ChainTerms, one: Candidate) -> dict[str, Any]:
    asset, fee = terms.assets[one.asset], terms.fee
    return {
        "chain": terms.chain,
        "asset": one.asset,
        "address": one.address,
        "balance": str(one.balance),
        "cost": str(one.fee),
        "cost_asset": fee.asset,
        "top_up": str(one.top_up),
        "does": one.verdict or "collect",
        "balance_shown": money.plain(one.balance, asset.decimals),
        "cost_shown": f"{money.plain(one.fee, fee.decimals)} {fee.asset}",
        "top_up_shown": money.plain(one.top_up, fee.decimals) if one.top_up else None,
    }


def _hot(terms: ChainTerms, name: str, address: str, balance: int, owed: int) -> dict[str, Any]:
    asset = terms.assets[name]
    cold = to_cold(balance - owed, asset.hot_floor, asset.hot_ceiling)
    does = "to the cold address" if cold and asset.cold_address else None
    if balance < asset.hot_floor:
        does = "alarm: below its floor"
    ceiling = asset.hot_ceiling
    return {
        "chain": terms.chain,
        "asset": name,
        "address": address,
        "balance": str(balance),
        "owed": str(owed),
        "floor": str(asset.hot_floor),
        "ceiling": None if ceiling is None else str(ceiling),
        "to_cold": str(cold),
        "does": does or "nothing",
        "balance_shown": money.plain(balance, asset.decimals),
        "floor_shown": money.plain(asset.hot_floor, asset.decimals),
        "ceiling_shown": None if ceiling is None else money.plain(ceiling, asset.decimals),
        "to_cold_shown": money.plain(cold, asset.decimals) if cold else None,
    }
