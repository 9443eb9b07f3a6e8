"""What the operators allow, as pure decisions: what a policy does not allow is denied.

TOML -> `Policy` (strict: an unknown key, asset or chain is an error, a missing limit is zero)
(payment, what was spent in the windows) -> refused with a reason, or how many operators must
approve. The signer asks with its own ledger of what was spent; nobody else's counts.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chain_adapter import money
from chain_adapter.errors import AmountError, ConfigError, SigningWaits
from chain_adapter.keys.ssh_signature import PublicKey, SignatureError

HOUR_S: Final = 3600
DAY_S: Final = 86400
MAX_POLICY_BYTES: Final = 256 * 1024
UNLIMITED: Final = "unlimited"
WAITS_FOR: Final = "policy"

Limit = int | None
"""Base units; None is unlimited, 0 denies."""


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """Most that deposits of an asset may credit without an operator."""

    per_deposit: Limit = 0
    per_hour: Limit = 0
    per_day: Limit = 0


@dataclass(frozen=True, slots=True)
class AssetPolicy:
    """Most that withdrawals of an asset (by the platform's symbol) may pay. Base units.

    `allow` empty: any recipient that is not denied. Above `approve_above` one operator approves,
    above `approve_twice_above` two different ones.
    """

    per_transaction: Limit = 0
    per_hour: Limit = 0
    per_day: Limit = 0
    per_destination_per_day: Limit = 0
    approve_above: Limit = None
    approve_twice_above: Limit = None
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    credits: CreditPolicy = field(default_factory=CreditPolicy)


@dataclass(frozen=True, slots=True)
class ChainPolicy:
    """Most that transactions of a chain may cost, and most that gas top-ups may move."""

    fee_per_transaction: Limit = 0
    fee_per_day: Limit = 0
    top_up_per_transaction: Limit = 0
    top_up_per_day: Limit = 0


@dataclass(frozen=True, slots=True)
class Quorums:
    """How many different operators each act needs.

    `redo`: paying again under other locks after a death that only the daemon tells (a used lock,
    a failure). `evidence`: believing that a transaction not signed here used a lock.
    """

    policy: int = 2
    settle: int = 2
    rotate: int = 2
    evidence: int = 2
    redo: int = 1
    resume: int = 1
    credit: int = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force. `digest` is the SHA-256 of its text, which operators sign."""

    text: str = field(repr=False)
    operators: Mapping[str, PublicKey]
    quorums: Quorums
    assets: Mapping[str, AssetPolicy]
    chains: Mapping[str, ChainPolicy]

    @property
    def digest(self) -> str:
        return digest_of(self.text)


@dataclass(frozen=True, slots=True)
class Spent:
    """What has left (or was credited) before: base units within the last hour and day."""

    hour: int = 0
    day: int = 0
    to_destination: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy may speak of: symbol -> decimals, chain -> decimals of its fee asset."""

    symbols: Mapping[str, int]
    chains: Mapping[str, int]


def digest_of(text: str) -> str:
    """SHA-256 of the policy's text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_policy(text: str, scope: Scope) -> Policy:
    """Read a policy. Raises `ConfigError` naming the key, and the nearest right one."""
    if len(text) > MAX_POLICY_BYTES:
        raise ConfigError(f"policy: larger than {MAX_POLICY_BYTES} bytes")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"policy: {problem}") from None
    _known(found, ("version", "operators", "approvals", "assets", "chains"), "policy")
    if found.get("version") != 1:
        raise ConfigError(f"policy: version is {found.get('version')!r}, this program reads 1")
    operators = _operators(_table(found, "operators", "policy"))
    quorums = _quorums(_table(found, "approvals", "policy"), len(operators))
    assets: dict[str, AssetPolicy] = {}
    for symbol, table in _table(found, "assets", "policy").items():
        _member(symbol, scope.symbols, "asset", "policy.assets")
        assets[symbol] = _asset(table, scope.symbols[symbol], f"policy.assets.{symbol}")
    chains: dict[str, ChainPolicy] = {}
    for name, table in _table(found, "chains", "policy").items():
        _member(name, scope.chains, "chain", "policy.chains")
        where = f"policy.chains.{name}"
        limits = _limits(table, ChainPolicy.__dataclass_fields__, scope.chains[name], where)
        chains[name] = ChainPolicy(**limits)
    for symbol, asset in assets.items():
        needed = (
            2 if asset.approve_twice_above is not None else int(asset.approve_above is not None)
        )
        if needed > len(operators):
            raise ConfigError(
                f"policy.assets.{symbol}: needs {needed} operators to approve, there are "
                f"{len(operators)}"
            )
    return Policy(text, operators, quorums, assets, chains)


def judge_payment(policy: Policy, symbol: str, amount: int, address_key: str, spent: Spent) -> int:
    """How many different operators must approve this withdrawal. Raises `SigningWaits`.

    `address_key` is the recipient's canonical spelling, `spent` what went before in the windows.
    """
    asset = policy.assets.get(symbol)
    if asset is None:
        raise SigningWaits(f"policy: {symbol} is not allowed", WAITS_FOR)
    if address_key in asset.deny:
        raise SigningWaits(f"policy: {symbol} to {address_key} is denied", WAITS_FOR)
    if asset.allow and address_key not in asset.allow:
        raise SigningWaits(f"policy: {address_key} is not among the allowed of {symbol}", WAITS_FOR)
    _within(symbol, "per_transaction", asset.per_transaction, amount)
    _within(symbol, "per_hour", asset.per_hour, spent.hour + amount)
    _within(symbol, "per_day", asset.per_day, spent.day + amount)
    _within(
        symbol,
        "per_destination_per_day",
        asset.per_destination_per_day,
        spent.to_destination + amount,
    )
    if asset.approve_twice_above is not None and amount > asset.approve_twice_above:
        return 2
    return int(asset.approve_above is not None and amount > asset.approve_above)


def judge_fee(policy: Policy, chain: str, max_fee: int, more: int, spent_day: int) -> None:
    """`max_fee` of the transaction, `more` that it adds to the day's. Raises `SigningWaits`."""
    limits = _chain(policy, chain)
    _within(chain, "fee_per_transaction", limits.fee_per_transaction, max_fee)
    _within(chain, "fee_per_day", limits.fee_per_day, spent_day + more)


def judge_top_up(policy: Policy, chain: str, amount: int, spent_day: int) -> None:
    """Gas moved to an address of ours. Raises `SigningWaits`."""
    limits = _chain(policy, chain)
    _within(chain, "top_up_per_transaction", limits.top_up_per_transaction, amount)
    _within(chain, "top_up_per_day", limits.top_up_per_day, spent_day + amount)


def judge_credit(policy: Policy, symbol: str, amount: int, spent: Spent) -> str | None:
    """Why an operator must approve this credit; None when it is within the limits."""
    asset = policy.assets.get(symbol)
    if asset is None:
        return f"policy: credits of {symbol} are not allowed"
    for name, limit, value in (
        ("per_deposit", asset.credits.per_deposit, amount),
        ("per_hour", asset.credits.per_hour, spent.hour + amount),
        ("per_day", asset.credits.per_day, spent.day + amount),
    ):
        if limit is not None and value > limit:
            return f"policy: {symbol} credits {name} is {limit} base units, this makes {value}"
    return None


# --- inside -------------------------------------------------------------------------------------


def _chain(policy: Policy, chain: str) -> ChainPolicy:
    limits = policy.chains.get(chain)
    if limits is None:
        raise SigningWaits(f"policy: nothing is allowed on chain {chain}", WAITS_FOR)
    return limits


def _within(where: str, name: str, limit: Limit, value: int) -> None:
    if limit is not None and value > limit:
        raise SigningWaits(
            f"policy: {where} {name} is {limit} base units, this makes {value}", WAITS_FOR
        )


def _operators(table: Mapping[str, Any]) -> dict[str, PublicKey]:
    made: dict[str, PublicKey] = {}
    for name, text in table.items():
        try:
            key = PublicKey.parse(text if isinstance(text, str) else "")
        except SignatureError as problem:
            raise ConfigError(f"policy.operators.{name}: {problem}") from None
        if any(key.blob == other.blob for other in made.values()):
            raise ConfigError(f"policy.operators.{name}: the same key stands under another name")
        made[name] = key
    return made


def _quorums(table: Mapping[str, Any], operators: int) -> Quorums:
    known = tuple(Quorums.__dataclass_fields__)
    _known(table, known, "policy.approvals")
    for name, value in table.items():
        least = 0 if name == "redo" else 1
        if type(value) is not int or not least <= value <= 9:
            raise ConfigError(f"policy.approvals.{name}: a number from {least} to 9 is needed")
    made = Quorums(**table)
    for name in table:
        if getattr(made, name) > operators:
            raise ConfigError(
                f"policy.approvals.{name}: {getattr(made, name)} operators are needed, there are "
                f"{operators}"
            )
    return made


def _asset(table: Any, decimals: int, where: str) -> AssetPolicy:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table is needed")
    rest = dict(table)
    allow = _addresses(rest.pop("allow", []), f"{where}.allow")
    deny = _addresses(rest.pop("deny", []), f"{where}.deny")
    credit = rest.pop("credits", {})
    if not isinstance(credit, dict):
        raise ConfigError(f"{where}.credits: a table is needed")
    names = [
        name
        for name in AssetPolicy.__dataclass_fields__
        if name not in ("allow", "deny", "credits")
    ]
    return AssetPolicy(
        **_limits(rest, names, decimals, where, more=("allow", "deny", "credits")),
        allow=allow,
        deny=deny,
        credits=CreditPolicy(
            **_limits(credit, CreditPolicy.__dataclass_fields__, decimals, f"{where}.credits")
        ),
    )


def _limits(
    table: Any, names: Any, decimals: int, where: str, *, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: a table is needed")
    _known(table, (*names, *more), where)
    made: dict[str, Limit] = {}
    for name, value in table.items():
        if not isinstance(value, str):
            raise ConfigError(f"{where}.{name}: a decimal in quotes, or {UNLIMITED!r}, is needed")
        if value == UNLIMITED:
            made[name] = None
            continue
        try:
            made[name] = money.parse(value, decimals)
        except AmountError as problem:
            raise ConfigError(f"{where}.{name}: {problem}") from None
    return made


def _addresses(value: Any, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{where}: a list of addresses is needed")
    return frozenset(value)


def _table(found: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{where}.{name}: a table is needed")
    return table


def _known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            raise ConfigError(f"{where}: unknown key {name!r}{hint}")


def _member(name: str, known: Mapping[str, Any], what: str, where: str) -> None:
    if name not in known:
        raise ConfigError(
            f"{where}: unknown {what} {name!r}; configured are {', '.join(sorted(known))}"
        )
