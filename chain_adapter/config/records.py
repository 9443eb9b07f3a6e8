# ruff: noqa: RUF009 - `setting` returns a dataclass field
"""The configuration as the rest of the program sees it: chains, assets, and the whole file.

Inside, everything is final: absolute paths, base units, seconds. A record can be made by hand too
(tests, demo): what has a default need not be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chain_adapter.chain import Asset
from chain_adapter.config.assets import AssetConfig
from chain_adapter.config.kinds import (
    BOOLEAN,
    CHECKPOINTS,
    DECIMAL,
    DURATION_OR_NEVER,
    PATH,
    TEXT,
    TEXTS,
    choice,
    integer,
    seconds,
)
from chain_adapter.config.sections import (
    AlarmsConfig,
    ConsoleConfig,
    DatabaseConfig,
    KeysConfig,
    LogConfig,
    PlatformConfig,
)
from chain_adapter.config.settings import setting
from chain_adapter.errors import ConfigError

__all__ = ["AssetConfig", "ChainConfig", "Config", "FirstOrders", "PoolConfig", "Profile"]


class Profile(StrEnum):
    """`production` refuses what is only fit for trying out."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class FirstOrders(StrEnum):
    """What becomes of the first page of withdrawals that a new ledger sees."""

    HOLD = "hold"
    PAY = "pay"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """`[chains.NAME.pool]`: unused deposit addresses kept registered at the platform."""

    low: int = setting(
        integer(1, 4900),
        "Below so many unused addresses, new ones are registered.",
        default=200,
        shown="200",
    )
    high: int = setting(
        integer(1, 4999),
        "Up to so many. The platform refuses more than 5,000 unused ones.",
        default=1000,
        shown="1000",
    )


def _no_assets() -> Mapping[str, AssetConfig]:
    return MappingProxyType({})


def _no_node() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig:
    """`[chains.NAME]`: one chain, read and paid on through one plugin."""

    name: str
    plugin: str = setting(
        TEXT, "The plugin that speaks this chain (`plugins list`).", needed=True, example='"evm"'
    )
    enabled: bool = setting(
        BOOLEAN, "Whether the daemon works on this chain.", default=True, shown="true",
    )  # fmt: skip
    confirmations: int | None = setting(
        integer(1, 10**6),
        "Depth at which a block is final: head - height + 1.",
        default=None,
        shown="the chain's own final height where it tells one, else the plugin's depth",
        example="12",
    )
    platform_confirmations: int | None = setting(
        integer(1, 10**6),
        "As under `[platform]`, for the assets of this chain.",
        default=None,
        shown="that of `[platform]`",
        example="12",
    )
    start_height: int | None = setting(
        integer(0),
        "The first height to read.",
        default=None,
        shown="the head at the first start, recorded then",
        example="0",
    )
    poll_interval_s: float = setting(
        seconds(), "Pause between two questions for a new head.", default=1.0, shown="1",
    )  # fmt: skip
    memo: bool = setting(
        BOOLEAN,
        "A memo chain: one shared deposit address, the memo names the user.",
        default=False,
        shown="false",
    )
    memo_max: int = setting(
        integer(1, 255),
        "Longest memo, in bytes, that is passed on to the platform.",
        default=64,
        shown="64",
    )
    second_look: str = setting(
        choice("all", "deposits"),
        "Which final blocks are read again before their deposits are credited: every one while "
        "following the head, or only those with deposits. Catch-up reads again only the latter.",
        default="all",
        shown='"all"',
    )
    quorum: int | None = setting(
        integer(1, 99),
        "So many endpoints, more than half of them, must show the same block before anything in "
        "it is credited; an outvoted one is named by an alarm. Without it every endpoint that "
        "answers must agree, and two must answer where two are configured.",
        default=None,
        shown="all that answer",
        example="1",
    )
    alone_after_s: float | None = setting(
        DURATION_OR_NEVER,
        "Where too few endpoints answer, crediting waits so long for the others; then it goes on "
        "with those that do, by another method of reading, with an alarm. `never` waits on.",
        default=30.0,
        shown='"30s"',
        key="alone_after",
    )
    checkpoints: Mapping[int, str] | None = setting(
        CHECKPOINTS,
        "Block hashes that are known to be right, by height. An endpoint that shows another one "
        "is on another branch or network: nothing is read from it.",
        default=None,
        example='{ "19000000" = "0xcf38…" }',
    )
    methods: tuple[str, ...] = setting(
        TEXTS,
        "The plugin's methods of reading blocks that may be used, the one for scanning first.",
        default=(),
        shown="all that the plugin has",
        example="[]",
    )
    timeout_s: float = setting(
        seconds(), "How long an endpoint may take for one answer or one block.", default=30.0,
        shown="30",
    )  # fmt: skip
    requests_per_s: float | None = setting(
        seconds(),
        "Most requests a second to one endpoint.",
        default=None,
        shown="no limit",
        example="50",
    )
    replace_after_s: float = setting(
        seconds(),
        "A transaction of ours that is not included for so long is replaced with a higher fee.",
        default=60.0,
        shown="60",
    )
    fee_cap: int = setting(
        DECIMAL,
        "The most that one transaction may cost, in the main coin. Set it to what a payment on "
        "this chain may cost at its worst.",
        default=10**17,
        shown='"0.1", or "200" where the main coin has six decimals or fewer',
        example='"0.1"',
    )
    collect_every_s: float = setting(
        seconds(),
        "Deposits are collected in windows of so many seconds.",
        default=60.0,
        shown="60",
    )
    collect_fee_percent: int = setting(
        integer(1, 100),
        "A collection of the main coin whose fee may be more than so many percent of what it "
        "brings waits for lower fees.",
        default=10,
        shown="10",
    )
    collect_token_fee: int = setting(
        DECIMAL,
        "A collection of a token, which has no price here, waits while it may cost more than this "
        "in the main coin; its gas top-up and that one's own fee are part of it.",
        default=2 * 10**15,
        shown='"0.002", or "30" where the main coin has six decimals or fewer',
        example='"0.002"',
    )
    hold_limit_s: float | None = setting(
        DURATION_OR_NEVER,
        "As under an asset, for all assets of this chain.",
        default=86400.0,
        shown="that of the top of the file",
        example='"24h"',
        key="hold_limit",
    )
    window_s: float = setting(
        seconds(),
        "As under an asset, for all assets of this chain.",
        default=60.0,
        shown="that of the top of the file",
        example="60",
    )
    pool: PoolConfig = field(default_factory=PoolConfig)
    node: Mapping[str, Any] = field(default_factory=_no_node, repr=False)
    """The plugin's own settings as they came; `endpoints` is the one key the core reads."""
    assets: Mapping[str, AssetConfig] = field(default_factory=_no_assets)

    @property
    def native(self) -> AssetConfig:
        """The main coin."""
        return next(one for one in self.assets.values() if one.is_native)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(self.node.get("endpoints", ()))

    def plugin_assets(self) -> dict[str, Asset]:
        """The assets as a plugin's `open` takes them."""
        return {
            one.name: Asset(one.name, one.contract, one.decimals, one.balance_proof)
            for one in self.assets.values()
        }

    def asset(self, name: str) -> AssetConfig:
        """The asset of that name. Raises `ConfigError` naming those that are configured."""
        if name not in self.assets:
            known = ", ".join(self.assets)
            raise ConfigError(f"chain {self.name} has no asset {name!r}: configured are {known}")
        return self.assets[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file. Sections a command does not need may be missing: ask with `require_…`."""

    file: Path | None = None
    profile: Profile = setting(
        choice(*(one.value for one in Profile)),
        "`production` refuses an http platform and the app_id that is published for tests. A "
        "test environment that is not on loopback must say `development`.",
        default=Profile.PRODUCTION,
        shown='"production"; "development" while the platform is on loopback',
        example='"production"',
    )
    instance: str | None = setting(
        TEXT,
        "Name of this daemon in leases and events: a restarted holder of the same name takes "
        "over at once.",
        default=None,
        shown="the host's name",
        example='"adapter-1"',
    )
    policy: Path | None = setting(
        PATH,
        "The policy file: what may be paid and credited.",
        default=None,
        example='"policy.toml"',
    )
    first_orders: FirstOrders = setting(
        choice(*(one.value for one in FirstOrders)),
        "What a new ledger does with the first page of withdrawals: `hold` it until `payouts "
        "release --first`, or `pay`. May stand under `[platform]` too.",
        default=FirstOrders.HOLD,
        shown='"hold"; "pay" while the platform is on loopback',
        example='"hold"',
    )
    hold_limit_s: float | None = setting(
        DURATION_OR_NEVER,
        "A withdrawal that could not be begun for so long is sent back; `never` lets it wait. "
        "May stand under `[platform]`, a chain or an asset too.",
        default=86400.0,
        shown='"24h"',
        key="hold_limit",
    )
    window_s: float = setting(
        seconds(),
        "A full page of withdrawals that does not move for so long has its oldest sent back, one "
        "at a time. May stand under `[platform]`, a chain or an asset too.",
        default=60.0,
        shown="60",
    )
    database: DatabaseConfig | None = None
    platform: PlatformConfig | None = None
    keys: KeysConfig | None = None
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    log: LogConfig = field(default_factory=LogConfig)
    alarms: AlarmsConfig = field(default_factory=AlarmsConfig)
    chains: Mapping[str, ChainConfig] = field(default_factory=dict)

    def _missing(self, section: str) -> ConfigError:
        where = str(self.file) if self.file else "the configuration"
        return ConfigError(f"{where}: this command needs a [{section}] section")

    def require_database(self) -> DatabaseConfig:
        """`[database]`, or `ConfigError`."""
        if self.database is None:
            raise self._missing("database")
        return self.database

    def require_platform(self) -> PlatformConfig:
        """`[platform]`, or `ConfigError`."""
        if self.platform is None:
            raise self._missing("platform")
        return self.platform

    def require_keys(self) -> KeysConfig:
        """`[keys]`, or `ConfigError`."""
        if self.keys is None:
            raise self._missing("keys")
        return self.keys

    def require_chains(self) -> Mapping[str, ChainConfig]:
        """The chains that are enabled, at least one, or `ConfigError`."""
        enabled = {name: one for name, one in self.chains.items() if one.enabled}
        if not enabled:
            raise self._missing("chains.NAME")
        return enabled

    def chain(self, name: str) -> ChainConfig:
        """The chain of that name. Raises `ConfigError` naming those that are configured."""
        if name not in self.chains:
            known = ", ".join(self.chains) or "none"
            raise ConfigError(f"no chain {name!r} is configured: there is {known}")
        return self.chains[name]

    def symbols(self) -> dict[str, tuple[ChainConfig, AssetConfig]]:
        """The platform's symbols -> chain and asset."""
        return {
            asset.symbol: (chain, asset)
            for chain in self.chains.values()
            for asset in chain.assets.values()
        }
