"""`db check`: every check of the books, and those that need keys and configuration too.

One snapshot -> the books alone (`store.integrity`, `store.law_queries`) -> the ledger and its keys
-> every request id made again -> amounts told -> a sample of addresses derived again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from sqlalchemy import func, select

from chain_adapter import money
from chain_adapter.assembly import ConfiguredAccounts, pure_chain
from chain_adapter.chain import Chain, InvalidAddress
from chain_adapter.config import Config
from chain_adapter.core.deposits import request_id
from chain_adapter.errors import AdapterError
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import PublicKeys, journal_path, public_path
from chain_adapter.store import ledger, schema
from chain_adapter.store.imports import IMPORTED
from chain_adapter.store.integrity import PAGE, WHOLE, Finding
from chain_adapter.store.law_queries import LAWS
from chain_adapter.store.snapshot import snapshot
from chain_adapter.store.store import Store, Tx

SAMPLE = 200  # addresses that are derived again


def check_books(store: Store, config: Config) -> list[Finding]:
    """All findings, of one moment. Raises `StoreError` when the books cannot be read at all."""
    with snapshot(store) as tx:
        found = [check(tx) for check in (*WHOLE, *LAWS)]
        public = _keys(tx, config, found)
        if public is not None:
            chains = {name: pure_chain(one) for name, one in config.chains.items()}
            found.append(_request_ids(tx, config, chains, public))
            found.append(_told(tx, config))
            found.append(_derived(tx, chains, public))
    return found


def _keys(tx: Tx, config: Config, found: list[Finding]) -> PublicKeys | None:
    """Ledger id and journal; the public keys, where there are some to check with."""
    one = Finding("ledger", 1)
    found.append(one)
    ledger_id = ledger.get(tx, "ledger_id") or ""
    if ledger.get(tx, "record") is not None:
        one.wrong("it is the record of a scan, not a ledger")
        return None
    if not ledger_id or config.keys is None:
        return None  # made by an import, still without keys; or nothing to hold it against
    if not public_path(config.keys.keystore).exists():
        one.wrong(f"there is no {public_path(config.keys.keystore)} beside the keystore")
        return None
    try:
        public = PublicKeys.load(config.keys.keystore)
        if public.ledger_id != ledger_id:
            one.wrong(
                f"database and keystore belong to different ledgers: {ledger_id[:8]}… and "
                f"{public.ledger_id[:8]}…"
            )
            return None
        facts = Journal.facts(journal_path(config.keys.keystore))
        if facts["journal_id"] != public.journal_id or facts["ledger_id"] != ledger_id:
            one.wrong("the signer's journal beside the keystore belongs to another ledger")
    except AdapterError as error:
        one.wrong(str(error))
        return None
    return public


def _request_ids(
    tx: Tx, config: Config, chains: Mapping[str, Chain], public: PublicKeys
) -> Finding:
    """A request id that comes out differently would be money credited twice."""
    found, table = Finding("request ids"), schema.deposits
    pinned = {row.chain: row.identity or "" for row in tx.all(select(schema.chains))}
    for row in tx.connection.execution_options(yield_per=PAGE).execute(select(table)):
        chain = chains.get(row.chain)
        if chain is None or row.asset not in config.chains[row.chain].assets:
            continue  # not configured any more
        if (row.reason or "").startswith(IMPORTED):
            continue  # another system gave it its id
        found.looked_at += 1
        memo = bytes.fromhex(row.memo_hex) if row.memo_hex else b""
        try:
            key = chain.address_key(row.to)
        except InvalidAddress:
            found.wrong(f"deposit {row.id}: {row.to} is no address of {row.chain}")
            continue
        expected = request_id(
            public.request_id_secret,
            pinned.get(row.chain, ""),
            chain.asset_key(row.asset),
            row.txid,
            key,
            memo,
        )
        if expected == row.request_id or _was_imported(tx, row.id):
            continue
        found.wrong(
            f"deposit {row.id} is told as {row.request_id}, from keys and chain comes {expected}"
        )
    return found


def _was_imported(tx: Tx, deposit_id: int) -> bool:
    events = schema.events
    first = tx.one(
        select(events.c.detail)
        .where(events.c.subject == f"deposit:{deposit_id}")
        .order_by(events.c.seq)
        .limit(1)
    )
    return first is not None and '"imported"' in first.detail


def _told(tx: Tx, config: Config) -> Finding:
    """What is told and its remainder are the amount, to the last unit."""
    found, table = Finding("told amounts"), schema.deposits
    for row in tx.connection.execution_options(yield_per=PAGE).execute(select(table)):
        chain = config.chains.get(row.chain)
        asset = None if chain is None else chain.assets.get(row.asset)
        if asset is None:
            continue
        found.looked_at += 1
        expected = money.to_platform(int(row.amount), asset.decimals, asset.platform_decimals)
        if (int(row.told), int(row.remainder)) != expected:
            found.wrong(
                f"deposit {row.id}: {row.amount} base units were told as {row.told}, remainder "
                f"{row.remainder}; with {asset.decimals} and {asset.platform_decimals} decimals it "
                f"is {expected[0]}, remainder {expected[1]}: have the decimals been changed?"
            )
    return found


def _derived(tx: Tx, chains: Mapping[str, Chain], public: PublicKeys) -> Finding:
    """A sample of our addresses comes out of the keys again."""
    found, table = Finding("derived addresses"), schema.addresses
    accounts = ConfiguredAccounts(public)
    for name, chain in chains.items():
        accounts.add(name, chain)
        count = int(
            tx.value(
                select(func.count())
                .select_from(table)
                .where(table.c.chain == name, table.c.account.is_not(None))
            )
            or 0
        )
        rows = tx.all(
            select(table)
            .where(table.c.chain == name, table.c.account.is_not(None))
            .order_by(table.c.seq)
            .limit(SAMPLE)
            .offset(random.SystemRandom().randrange(max(count - SAMPLE, 0) + 1))
        )
        for row in rows:
            found.looked_at += 1
            ours = accounts.at(name, row.account, row.idx)
            if chain.address_key(ours.address) != bytes(row.key):
                found.wrong(f"{name}: {row.address} is not what our keys give at {row.idx}")
    return found
