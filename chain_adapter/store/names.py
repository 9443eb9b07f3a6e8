"""Chains and assets keep their names: the books know them by these, for as long as they stand.

At every start what is configured is held against what the books hold. A renamed chain would be
read twice and its payments forgotten; a renamed asset would lose its open rows; other decimals or
another contract under an old name would move every amount or mix two tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import func, select

from chain_adapter.core.states import PAYOUT_ENDED, Deposit, Payout
from chain_adapter.errors import ConfigError
from chain_adapter.store import ledger, schema
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx

CHAINS, DEPOSITS, PAYOUTS = schema.chains, schema.deposits, schema.payouts
_OPEN_DEPOSITS = (Deposit.SEEN, Deposit.HELD, Deposit.CONFIRMED)
_ENDED = (*PAYOUT_ENDED, Payout.REFUSED)


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """What may not change under a name. `key`: the chain's own bytes of it, hex."""

    symbol: str
    decimals: int
    key: str


def check_chains(tx: Tx, configured: Collection[str]) -> None:
    """Every chain that was worked on is still configured, switched off at least. `ConfigError`."""
    for row in tx.all(select(CHAINS.c.chain, CHAINS.c.identity).order_by(CHAINS.c.chain)):
        if row.identity is not None and row.chain not in configured:
            raise ConfigError(
                f"the ledger has worked on chain {row.chain!r} ({row.identity}), which is not "
                "configured: a chain keeps its name, and one that is given up stays, with "
                "enabled = false"
            )


def check_identity(tx: Tx, name: str, identity: str) -> None:
    """A network stands in the books once. Raises `ConfigError`."""
    other = tx.value(
        select(CHAINS.c.chain).where(CHAINS.c.identity == identity, CHAINS.c.chain != name)
    )
    if other is not None:
        raise ConfigError(
            f"chain {name}: the ledger knows this network ({identity}) as chain {other!r}: a chain "
            "keeps its name, and stands there once"
        )


def hold_assets(tx: Tx, chain: str, assets: Mapping[str, AssetFacts]) -> None:
    """Hold the configured assets of a chain to what the books know of them, and note new ones.

    Raises `ConfigError`; then nothing is noted.
    """
    symbols = {facts.symbol: name for name, facts in assets.items()}
    for name, symbol, is_open in _in_books(tx, chain):
        if name in assets:
            if is_open and assets[name].symbol != symbol:
                raise ConfigError(
                    f"chains.{chain}.assets.{name}: rows under way are told as symbol {symbol}, "
                    f"configured is {assets[name].symbol}: set it back"
                )
            continue
        if symbol in symbols:
            raise ConfigError(
                f"chains.{chain}: the ledger knows symbol {symbol} as asset {name!r}, configured "
                f"it is {symbols[symbol]!r}: an asset keeps its name; set it back"
            )
        if is_open:
            raise ConfigError(
                f"chains.{chain}: asset {name!r} is not configured, but deposits or payouts of it "
                "are under way: keep it, with enabled = false"
            )
    for name, facts in assets.items():
        _hold_one(tx, chain, name, facts)


def _in_books(tx: Tx, chain: str) -> list[tuple[str, str, bool]]:
    """(asset, symbol, whether something of it is under way) of all that the books name."""
    found: dict[tuple[str, str], bool] = {}
    for table, is_open in (
        (DEPOSITS, DEPOSITS.c.state.in_(_OPEN_DEPOSITS)),
        (PAYOUTS, PAYOUTS.c.state.not_in(_ENDED)),
    ):
        for row in tx.all(
            select(table.c.asset, table.c.symbol, func.count())
            .where(table.c.chain == chain, is_open)
            .group_by(table.c.asset, table.c.symbol)
        ):
            found[row.asset, row.symbol] = True
        for row in tx.all(
            select(table.c.asset, table.c.symbol).where(table.c.chain == chain).distinct()
        ):
            found.setdefault((row.asset, row.symbol), False)
    return sorted((asset, symbol, is_open) for (asset, symbol), is_open in found.items())


def _hold_one(tx: Tx, chain: str, name: str, facts: AssetFacts) -> None:
    key = _key(chain, name)
    text = ledger.get(tx, key)
    known = None if text is None else AssetFacts(**json.loads(text))
    if known == facts:
        return
    if known is not None and _is_used(tx, chain, name):
        where = f"chains.{chain}.assets.{name}"
        if known.decimals != facts.decimals:
            raise ConfigError(
                f"{where}.decimals: the ledger's amounts of it have {known.decimals} decimals, "
                f"configured are {facts.decimals}: set it back"
            )
        if known.key != facts.key:
            raise ConfigError(
                f"{where}.contract: the ledger's {name} is {known.key or 'the main coin'}, "
                f"configured is {facts.key or 'the main coin'}: another token needs another name"
            )
    ledger.put(tx, key, json.dumps(asdict(facts)))
    record(tx, chain, "asset configured", f"{chain}/{name}", **asdict(facts))


def _is_used(tx: Tx, chain: str, name: str) -> bool:
    transfers = schema.transfers
    return any(
        tx.one(select(table.c.chain).where(table.c.chain == chain, column == name).limit(1))
        for table, column in (
            (DEPOSITS, DEPOSITS.c.asset),
            (PAYOUTS, PAYOUTS.c.asset),
            (transfers, transfers.c.asset),
        )
    )


def _key(chain: str, name: str) -> str:
    digest = hashlib.sha256(json.dumps([chain, name]).encode()).hexdigest()
    return f"asset:{digest[:40]}"
