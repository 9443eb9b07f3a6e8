"""`recover` and `rescan`: what the chain knows of us, read into the books again.

`recover` works alone on the books and makes them if they are lost; `rescan` runs beside a daemon.
Both need the keystore's public half, for the request ids, and no passphrase.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from sqlalchemy import select

from chain_adapter import telemetry
from chain_adapter.assembly import (
    ConfiguredAccounts,
    guarded_chain,
    plugin_of,
    plugin_version,
    pure_chain,
)
from chain_adapter.chain import Unavailable
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.config import ChainConfig, Config, load
from chain_adapter.core.deposits import Key
from chain_adapter.errors import ConfigError, KeyFileError
from chain_adapter.guard import Guard
from chain_adapter.keys.journal import JournalTx
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import PublicKeys, journal_path
from chain_adapter.store import blocks, ledger, recover_gate, schema
from chain_adapter.store.exclusive import alone, is_taken
from chain_adapter.store.store import Store
from chain_adapter.workers.recovery import Progress, Recovered, Recovery, acknowledge
from chain_adapter.workers.rescan import Rescan, Rescanned
from chain_adapter.workers.terms import depth_of

TELL_EVERY_S = 1.0
RENEW_EVERY_S = 4.0


def depths_of(config: Config, chain: ChainConfig, usual: int) -> dict[str, int]:
    """The platform's confirmations by asset; `usual` is the plugin's own depth."""
    return {one.name: depth_of(config, chain, one, usual) for one in chain.assets.values()}


class _Teller:
    """Progress for people, on standard error, not too often."""

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._last_at = time.monotonic()

    def __call__(self, one: Progress) -> None:
        now = time.monotonic()
        if now - self._last_at < TELL_EVERY_S and one.at < one.end:
            return
        self._last_at = now
        share = 100 * one.at // one.end if one.end else 100
        print(f"{self._chain}: {one.part} {one.at} of {one.end}, {share} %", file=sys.stderr)


# --- recover --------------------------------------------------------------------------------------


def recover(args: Namespace) -> int:
    """Exit 0 once the chain may be signed for again, 1 while a node's pool forbids it."""
    config = load(args.config)
    telemetry.configure(config.log.level, config.log.format)
    chain = config.chain(args.chain)
    keys = config.require_keys()
    if not keys.keystore.exists():
        raise KeyFileError(
            f"there is no keystore {keys.keystore}: put it back from its copy, or make it anew "
            "from the words of the seed with `keys init --mnemonic-file`"
        )
    public = PublicKeys.load(keys.keystore)
    with _ledger(config, public) as store, alone(store, "recover"):
        done = asyncio.run(_recover(config, chain, public, store, args))
        acknowledged = 0
        if args.acknowledge is not None and done.unknown:
            who, reason = operator(), args.acknowledge
            acknowledged = store.write_now(
                lambda tx: acknowledge(tx, chain.name, done.unknown, who, reason)
            )
    _tell(args, done, acknowledged)
    return 0 if done.is_done else 1


@contextmanager
def _ledger(config: Config, public: PublicKeys) -> Iterator[Store]:
    """The ledger, of these keys; where there is none an empty one behind the gate."""
    url = config.require_database().connect_url()
    clock = SystemClock()
    probe = Store(url, clock)
    try:
        there = ledger.exists(probe)
    finally:
        probe.close()
    if not there:
        store = ledger.create(url, clock, ledger_id=public.ledger_id)
        store.write_now(lambda tx: recover_gate.shut(tx, config.require_chains()))
        store.close()
    with opened(config) as store:
        bound = store.read_now(lambda tx: ledger.get(tx, "ledger_id"))
        ledger.bind(store, public.ledger_id)
        if not bound:  # an import has made it
            store.write_now(lambda tx: recover_gate.shut(tx, config.require_chains()))
        ledger.check_run(store, public.ledger_id)
        yield store


async def _recover(
    config: Config, chain: ChainConfig, public: PublicKeys, store: Store, args: Namespace
) -> Recovered:
    pinned = store.read_now(lambda tx: blocks.chain(tx, chain.name))
    guard = guarded_chain(
        chain, store.clock, identity=None if pinned is None else pinned.identity, on_identity=None
    )
    accounts = ConfiguredAccounts(public)
    accounts.add(chain.name, pure_chain(chain))
    renewing = asyncio.create_task(_renew(store))
    try:
        recovery = Recovery(
            chain, guard, guard, store, accounts,
            secret=public.request_id_secret,
            depths=depths_of(config, chain, guard.info.confirmations),
            journal=_journal(config, chain.name),
            pending=Pools(chain).count,
            plugin_version=plugin_version(chain.plugin),
            on_progress=_Teller(chain.name),
        )  # fmt: skip
        return await recovery.run(args.from_height, args.addresses, operator())
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await guard.close()


async def _renew(store: Store) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        await ledger.renew_lease(store)


def _journal(config: Config, chain: str) -> dict[str, str]:
    """txid -> sender of what the signer's journal knows; read without the passphrase."""
    path = journal_path(config.require_keys().keystore)
    Journal.facts(path)
    with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as connection:
        entries = JournalTx(connection, "").entries(chain)
    return {entry.txid: entry.sender for entry in entries}


class Pools:
    """What nodes hold of an address beyond their newest block, where the plugin can tell.

    `pending_count(address) -> int` is an extra of a plugin's chain; without it nothing is known.
    """

    def __init__(self, config: ChainConfig) -> None:
        self._config = config

    async def count(self, address: str) -> int:
        """The highest count that any endpoint tells. `Unavailable` when none answers."""
        plugin, settings = plugin_of(self._config)
        counts, trouble = [], None
        for url in self._config.endpoints:
            chain: Any = plugin.open(settings, self._config.plugin_assets(), url, _open_gate)
            try:
                if not hasattr(chain, "pending_count"):
                    return 0
                counts.append(int(await chain.pending_count(address)))
            except Unavailable as error:
                trouble = error
            finally:
                await chain.close()
        if not counts and trouble is not None:
            raise trouble
        return max(counts, default=0)


@asynccontextmanager
async def _open_gate(method: str) -> AsyncIterator[None]:
    """Lets every request through: they are a handful."""
    del method
    yield


def _tell(args: Namespace, done: Recovered, acknowledged: int) -> None:
    document = {
        "chain": done.chain,
        "from": done.from_height,
        "to": done.to_height,
        "derived": done.derived,
        "addresses": done.addresses,
        "highest_used": done.highest_used,
        "new_deposits": done.new_deposits,
        "deposits": done.deposits,
        "unknown": list(done.unknown),
        "acknowledged": acknowledged,
        "pending": done.pending,
        "done": done.is_done,
    }
    if args.json:
        print_json(document)
        return
    states = ", ".join(f"{count} {state}" for state, count in sorted(done.deposits.items()))
    print(
        f"{done.chain}: read {done.from_height} to {done.to_height}; {done.derived} addresses "
        f"derived, {done.addresses} in all; {done.new_deposits} deposits found ({states or 'none'} "
        "in all)"
    )
    if done.is_short:
        print("the last address that was derived is in use: run it again with more --addresses")
    if done.unknown and not acknowledged:
        print(
            f"{len(done.unknown)} transactions of ours are in blocks that no journal knows: their "
            "accounts sign nothing until `recover … --acknowledge REASON`, or `alarms ack` each"
        )
    if done.pending:
        print(
            f"{done.pending} more wait in a node's pool: nothing is signed. Wait until blocks hold "
            "them, or they are gone for good; then run `recover` again"
        )


# --- rescan ---------------------------------------------------------------------------------------


def rescan(args: Namespace) -> int:
    """Beside a daemon or without one; safe to repeat."""
    config = load(args.config)
    telemetry.configure(config.log.level, config.log.format)
    chain = config.chain(args.chain)
    if args.to_height < args.from_height:
        raise ConfigError("--to: is below --from")
    if args.asset is not None:
        chain.asset(args.asset)
    public = PublicKeys.load(config.require_keys().keystore)
    with opened(config) as store:
        ledger.check_run(store, public.ledger_id)
        strange = _unknown_to_daemon(store, chain)
        if strange:
            print(
                f"the daemon has read no block with {', '.join(strange)} yet: if it runs with an "
                "older configuration, start it again before you go on",
                file=sys.stderr,
            )
        args.confirm = not strange
        done = asyncio.run(_rescan(config, chain, public, store, args))
    document = {
        "chain": chain.name,
        "from": done.from_height,
        "to": done.last_height,
        "blocks": done.blocks,
        "assets": sorted([args.asset] if args.asset else chain.assets),
        "deposits": [_row(one) for one in done.deposits],
        "inbox": [_row(one) for one in done.inbox],
    }
    if args.json:
        print_json(document)
        return 0
    for word, rows in (("deposit", done.deposits), ("inbox", done.inbox)):
        for one in rows:
            print(harmless(f"{word}: {one.asset} {one.txid} to {one.to} {one.memo_key}".rstrip()))
    read = "nothing" if done.last_height is None else f"{done.from_height} to {done.last_height}"
    print(
        f"{chain.name}: read {read}; {len(done.deposits)} deposits had been missed, "
        f"{len(done.inbox)} findings wait in the inbox"
    )
    if done.last_height != args.to_height:
        print(f"heights up to {args.to_height} are not final yet: the daemon reads them")
    return 0


def _row(key: Key) -> dict[str, str]:
    memo = key.memo_key
    return {"asset": key.asset, "txid": key.txid, "to": key.to, "memo": memo}


def _unknown_to_daemon(store: Store, chain: ChainConfig) -> list[str]:
    """Assets that a running daemon, as far as its newest block tells, does not read yet."""
    table = schema.coverage
    newest = store.read_now(
        lambda tx: tx.value(
            select(table.c.assets)
            .where(table.c.chain == chain.name, table.c.look == blocks.FIRST_LOOK)
            .order_by(table.c.to_height.desc())
            .limit(1)
        )
    )
    if newest is None or not is_taken(store):
        return []
    return sorted(set(chain.assets) - set(newest.split(",")))


async def _rescan(
    config: Config, chain: ChainConfig, public: PublicKeys, store: Store, args: Namespace
) -> Rescanned:
    state = store.read_now(lambda tx: blocks.chain(tx, chain.name))
    guard: Guard = guarded_chain(
        chain, store.clock, identity=None if state is None else state.identity, on_identity=None
    )
    last = args.to_height
    teller = _Teller(chain.name)
    try:
        work = Rescan(
            chain, guard, store,
            secret=public.request_id_secret,
            depths=depths_of(config, chain, guard.info.confirmations),
            plugin_version=plugin_version(chain.plugin),
            asset=args.asset,
            confirm=args.confirm,
            on_progress=lambda at: teller(
                Progress("rescan", at - args.from_height + 1, last - args.from_height + 1)
            ),
        )  # fmt: skip
        return await work.run(args.from_height, last)
    finally:
        await guard.close()
