"""`check`: everything a start needs, tried one by one: books, keys, nodes, platform.

Changes nothing. A wrong configuration exits 2 as everywhere; any other failed step exits 1 with
its reason. A warning is a step that works, but not as well as it should.
"""

from __future__ import annotations

import asyncio
import socket
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from chain_adapter import telemetry
from chain_adapter.assembly import envelope, guarded_chain, plugin_of, signer_chains
from chain_adapter.chain import ChainError
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.config import ChainConfig, Config, Profile, load
from chain_adapter.errors import AdapterError, KeyFileError, LedgerMismatch, PlatformRefused
from chain_adapter.keys.journal_file import Journal, policy_in_force
from chain_adapter.keys.keystore import Keystore, PublicKeys, journal_path
from chain_adapter.keys.policy import parse_policy
from chain_adapter.keys.secret_files import check_private
from chain_adapter.keys.signer import scope_of
from chain_adapter.platform_api.client import LocalSealer, PlatformClient
from chain_adapter.platform_api.envelope import fingerprint, load_private_key, load_public_key
from chain_adapter.platform_api.profile import refuse_in_production
from chain_adapter.platform_api.transport import open_session
from chain_adapter.signing import kill_file, passphrase_of, policy_text
from chain_adapter.store import ledger, schema


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried. `level`: ok, warning, failed."""

    check: str
    level: str
    detail: str


@dataclass(slots=True)
class Report:
    """The steps so far."""

    steps: list[Step] = field(default_factory=list)

    def ok(self, check: str, detail: str) -> None:
        self.steps.append(Step(check, "ok", detail))

    def warn(self, check: str, detail: str) -> None:
        self.steps.append(Step(check, "warning", detail))

    def fail(self, check: str, detail: str) -> None:
        """One cause that stops several checks is told once, where it was met first."""
        if all(one.detail != detail for one in self.steps):
            self.steps.append(Step(check, "failed", detail))

    @contextmanager
    def trying(self, check: str) -> Iterator[None]:
        """An error of a step is its answer; the next one is tried all the same."""
        try:
            yield
        except (AdapterError, ChainError) as error:
            self.fail(check, " ".join(str(error).split()))

    def _of(self, level: str) -> list[str]:
        return [f"{one.check}: {one.detail}" for one in self.steps if one.level == level]

    def document(self) -> dict[str, Any]:
        reasons = self._of("failed")
        return {
            "ok": not reasons,
            "reasons": reasons,
            "warnings": self._of("warning"),
            "checks": [asdict(one) for one in self.steps],
        }


def check(args: Namespace) -> int:
    telemetry.configure("error")
    try:
        config = load(args.config)
        config.require_database()
        config.require_platform()
        config.require_keys()
        config.require_chains()
    except AdapterError as error:
        if args.json:
            print_json({"ok": False, "reasons": [str(error)], "warnings": [], "checks": []})
        raise
    report = Report()
    report.ok("configuration", f"{args.config}, profile {config.profile}")
    asyncio.run(_all(config, report))
    document = report.document()
    if args.json:
        print_json(document)
    else:
        for one in report.steps:
            print(harmless(f"{one.level.ljust(7)}  {one.check}: {one.detail}"))
    return 0 if document["ok"] else 1


async def _all(config: Config, report: Report) -> None:
    with report.trying("database"):
        _database(config, report)
    with report.trying("keys"):
        await asyncio.to_thread(_keys, config, report)
    pinned = _pinned(config)
    for name, chain in config.require_chains().items():
        with report.trying(f"chain {name}"):
            await _chain(chain, pinned.get(name), report)
    with report.trying("platform keys"):
        _platform_keys(config, report)
    with report.trying("platform"):
        await _platform(config, report)
    with report.trying("policy"):
        await asyncio.to_thread(_policy, config, report)


def _database(config: Config, report: Report) -> None:
    with opened(config) as store:
        ledger_id, record = store.read_now(
            lambda tx: (ledger.get(tx, "ledger_id"), ledger.get(tx, "record"))
        )
    if record is not None:
        raise LedgerMismatch("it is the record of a scan, not a ledger")
    if not ledger_id:
        raise LedgerMismatch("its ledger is bound to no keys yet: run `keys init`")
    public = PublicKeys.load(config.require_keys().keystore)
    if public.ledger_id != ledger_id:
        raise LedgerMismatch("database and keystore belong to different ledgers")
    report.ok("database", f"{config.require_database().shown_url}, ledger {ledger_id[:8]}…")


def _keys(config: Config, report: Report) -> None:
    keys = config.require_keys()
    keystore = Keystore.open(keys.keystore, passphrase_of(config))
    try:
        facts = Journal.facts(journal_path(keys.keystore))
        if facts["seed_id"] != keystore.seed_id:
            report.fail("keys", "the signer's journal beside the keystore is of another seed")
            return
    finally:
        keystore.close()
    report.ok("keys", f"{keys.keystore} opens, its journal is there")
    try:
        check_private(keys.passphrase_file, "passphrase")
    except KeyFileError as error:
        report.warn("keys", f"{error}; refused in profile production")


def _policy(config: Config, report: Report) -> None:
    """What limits the signer, or that nothing does. The journal tells what is in force."""
    text = policy_text(config)
    journal = journal_path(config.require_keys().keystore)
    in_force = policy_in_force(journal) if journal.exists() else None
    scope = scope_of(signer_chains(config))
    if kill_file(config).exists():
        report.warn("policy", f"the kill file {kill_file(config)} is there: nothing is signed")
    if text is None and in_force is None:
        report.warn(
            "policy",
            "none is in force (the platform is on loopback): all but own addresses, the zero "
            "address and token contracts may be paid without limits, and every deposit is credited",
        )
        return
    policy = parse_policy(in_force if in_force is not None else text or "", scope)
    names = ", ".join(sorted(policy.operators)) or "nobody"
    silent = sorted(set(scope.symbols) - set(policy.assets))
    report.ok("policy", f"{policy.digest[:16]}…, operators: {names}")
    if in_force is None:
        report.warn("policy", f"{config.policy} is in force from the first start on")
    elif text is not None and text != in_force:
        report.warn(
            "policy",
            f"{config.policy} differs from the policy in force and waits for operators: "
            "`policy approve`",
        )
    if silent:
        report.warn("policy", f"it allows nothing of {', '.join(silent)}")


def _pinned(config: Config) -> dict[str, str]:
    """chain -> network that the books are pinned to; nothing where there are no books yet."""
    chains = schema.chains
    try:
        with opened(config) as store:
            rows = store.read_now(lambda tx: tx.all(select(chains.c.chain, chains.c.identity)))
    except AdapterError:
        return {}  # told by the step about the database
    return {row.chain: row.identity for row in rows if row.identity is not None}


async def _chain(config: ChainConfig, pinned: str | None, report: Report) -> None:
    name = f"chain {config.name}"
    plugin_of(config)
    guard = guarded_chain(config, SystemClock(), identity=pinned, on_identity=None)
    try:
        trouble = await guard.reach()
        for error in trouble.values():
            if error is not None:
                report.fail(name, str(error))
        if all(error is not None for error in trouble.values()):
            return
        identity = await guard.identity()
        head = await guard.head()
        report.ok(name, f"{identity}, head {head.ref.height}")
        depth = config.confirmations
        if depth is not None and head.final_height is not None:
            own = head.ref.height - head.final_height + 1
            if depth < own:
                report.warn(
                    name,
                    f"confirmations = {depth} is weaker than the chain's own finality, which is "
                    f"{own} deep now",
                )
        if depth is not None and depth < guard.info.confirmations:
            report.warn(
                name,
                f"confirmations = {depth} is below the plugin's usual {guard.info.confirmations}",
            )
    finally:
        await guard.close()


def _platform_keys(config: Config, report: Report) -> None:
    platform = config.require_platform()
    envelope(platform)
    prints = [
        fingerprint(load_private_key(platform.private_key_file.read_bytes())),
        fingerprint(load_public_key(platform.platform_key_file.read_bytes())),
    ]
    if config.profile is Profile.PRODUCTION:
        refuse_in_production(platform.url, platform.app_id, *prints)
        if not platform.tls_pins:
            report.warn("platform keys", "no tls_pins: any authority can vouch for the platform")
    report.ok("platform keys", f"ours {prints[0][:16]}…, the platform's {prints[1][:16]}…")


async def _platform(config: Config, report: Report) -> None:
    platform = config.require_platform()
    clock = SystemClock()
    async with open_session(platform.tls_pins, ca_file=str(platform.ca_file or "") or None) as http:
        client = PlatformClient(
            http,
            platform.url,
            platform.app_id,
            LocalSealer(envelope(platform)),
            lambda: clock.now().timestamp(),
            platform.timeout_s,
        )
        for chain in config.require_chains().values():
            symbol = chain.native.symbol
            try:
                count = await client.available(symbol)
            except PlatformRefused as error:
                report.fail("platform", f"{symbol}: {error}")
            else:
                report.ok("platform", f"{platform.url}: {count} unused addresses of {symbol}")
    address = await _tried(lambda: asyncio.to_thread(_goes_out_by, platform.url))
    if address is not None:
        report.ok("platform", f"reached from {address}, as this machine sees it (allow-lists)")


async def _tried(call: Callable[[], Awaitable[str]]) -> str | None:
    try:
        return await call()
    except OSError:
        return None


def _goes_out_by(url: str) -> str:
    """The local address of the route to the platform; connecting UDP sends nothing."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    family, kind, _, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[
        0
    ]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])
