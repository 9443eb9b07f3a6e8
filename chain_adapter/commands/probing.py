"""`probe`: asks a platform's test environment what its documents leave open.

Refuses a production profile and books with a history, and asks before it begins: it registers
addresses, tells deposits that never happened and uses up withdrawals of test users.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coincurve import PrivateKey
from sqlalchemy import func, select

from chain_adapter import telemetry
from chain_adapter.assembly import ConfiguredAccounts, envelope, pure_chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.config import ChainConfig, Config, Profile, load
from chain_adapter.errors import ConfigError, KeyFileError, LedgerMismatch
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.platform_api.transport import open_session
from chain_adapter.probe import deposits, questions, withdrawals
from chain_adapter.probe.answers import Findings, as_text, as_toml
from chain_adapter.probe.line import Line
from chain_adapter.probe.room import Coin, Room
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Tx

DEEPEST = 64
FAR = 1_000_000_000
"""Deposit addresses of the probe have numbers that no pool reaches."""


def probe(args: Namespace) -> int:
    config = load(args.config)
    telemetry.configure(config.log.level, config.log.format)
    _refuse_production(config)
    chain = _chain_of(config, args.chain)
    with _books_without_history(config):
        _ask_first(config, chain, args)
        findings = asyncio.run(_run(config, chain, args))
    if args.json:
        print_json(findings.document())
    else:
        print(harmless_lines(as_text(findings)))
    if args.write is not None:
        _write(args.write, findings)
    return 0


def harmless_lines(text: str) -> str:
    """What the platform said may not steer a terminal."""
    return "\n".join(harmless(line) for line in text.splitlines())


def _refuse_production(config: Config) -> None:
    if config.profile is Profile.PRODUCTION:
        raise ConfigError(
            'probe tells false deposits: it is for a test environment, profile = "development"'
        )


def _chain_of(config: Config, name: str | None) -> ChainConfig:
    if name is not None:
        return config.chain(name)
    chains = list(config.require_chains().values())
    if len(chains) > 1:
        names = ", ".join(one.name for one in chains)
        raise ConfigError(f"--chain: which one? There are {names}")
    return chains[0]


@contextmanager
def _books_without_history(config: Config) -> Iterator[None]:
    """No daemon runs on these books, and they hold nothing that a false answer could disturb."""
    if config.database is None:
        yield
        return
    url = config.database.connect_url()
    try:
        store = ledger.open_ledger(url, SystemClock())
    except LedgerMismatch:
        yield  # no books at all
        return
    lock = ledger.InstanceLock(url)
    try:
        lock.take()
        if store.read_now(_history):
            raise ConfigError(
                "these books hold deposits or payouts: probe uses up withdrawals and tells false "
                "deposits. Give it a configuration of its own, with an app_id for tests"
            )
        yield
    finally:
        lock.release()
        store.close()


def _history(tx: Tx) -> int:
    tables = (schema.deposits, schema.payouts)
    return sum(int(tx.value(select(func.count()).select_from(one)) or 0) for one in tables)


def _ask_first(config: Config, chain: ChainConfig, args: Namespace) -> None:
    platform = config.require_platform()
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("probe changes the test environment: say --yes, or call it by hand")
    symbols = ", ".join(one.symbol for one in chain.assets.values())
    print(
        f"This asks {platform.url} as app_id {platform.app_id} about {symbols}.\n"
        "It registers addresses that no daemon watches, credits a few test users a thousandth of a "
        "coin that nobody paid,\nand uses up the withdrawals that wait there. Nothing of it can be "
        "taken back. Never do this to an environment with real users.",
        file=sys.stderr,
    )
    print("Type the app_id to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != platform.app_id:
        raise ConfigError("that was not the app_id: nothing was asked")


async def _run(config: Config, chain: ChainConfig, args: Namespace) -> Findings:
    platform = config.require_platform()
    deepest = args.deepest or DEEPEST
    async with open_session(platform.tls_pins, ca_file=str(platform.ca_file or "") or None) as http:
        line = Line(http, platform.url, platform.app_id, envelope(platform), platform.timeout_s)
        room = Room(line, _coin(chain), _addresses(config, chain), deepest)
        await questions.envelope(room)
        await questions.addresses(room)
        paid = room.address()
        await room.register(paid)
        await questions.amounts(room, paid)
        await questions.internal(room)
        await deposits.deposits(room)
        await withdrawals.withdrawals(room, room.coin.symbol)
        if room.coin.token is not None:
            await withdrawals.withdrawals(room, room.coin.token, is_token=True)
        if args.register_limit:
            await questions.register_limit(room)
    return room.findings


def _coin(chain: ChainConfig) -> Coin:
    native = chain.native
    token = next((one for one in chain.assets.values() if not one.is_native), None)
    return Coin(
        chain=chain.name,
        symbol=native.symbol,
        decimals=native.platform_decimals,
        memo=chain.memo,
        token=None if token is None else token.symbol,
        token_decimals=0 if token is None else token.platform_decimals,
    )


def _addresses(config: Config, chain: ChainConfig) -> Callable[[], str]:
    """Addresses of ours where there is a keystore, so that what is paid there is not lost."""
    pure = pure_chain(chain)
    numbers = itertools.count(FAR + secrets.randbelow(FAR // 2))
    if config.keys is not None:
        try:
            accounts = ConfiguredAccounts(PublicKeys.load(config.keys.keystore))
        except KeyFileError:
            pass
        else:
            accounts.add(chain.name, pure)
            return lambda: accounts.at(chain.name, Account.DEPOSIT, next(numbers)).address

    def nobodys() -> str:
        return pure.address_of(PrivateKey(secrets.token_bytes(32)).public_key.format())

    return nobodys


def _write(path: Path, findings: Findings) -> None:
    """Answers as comments, settings as lines: fit to be copied into the configuration."""
    lines = [f"# {one.rule}: {one.answer} ({one.evidence})" for one in findings.answers]
    text = harmless_lines("\n".join(lines)) + "\n\n" + as_toml(findings.settings())
    path.write_text(text, encoding="utf-8")
