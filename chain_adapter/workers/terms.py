"""What the workers need of the configuration, resolved: one record a chain, one an asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chain_adapter import money
from chain_adapter.config import Config
from chain_adapter.config.records import AssetConfig, ChainConfig
from chain_adapter.core.treasury import Collecting
from chain_adapter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AssetTerms:
    """One asset as the platform and the chain know it. `depth` is the platform's own."""

    asset: str
    symbol: str
    decimals: int
    platform_decimals: int
    depth: int
    enabled: bool
    is_native: bool
    hold_limit_s: float | None
    window_s: float
    collect: bool = True
    collect_above: int = 0
    hot_floor: int = 0
    hot_ceiling: int | None = None
    cold_address: str | None = None

    def told(self, amount: int) -> str:
        """Decimal text of base units as the platform can hold them; finer digits left off.

        Used for fees and balances; a deposit's remainder is booked where it arises.
        """
        units, _rest = money.to_platform(amount, self.decimals, self.platform_decimals)
        return money.plain(units, self.platform_decimals)


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """One chain: its assets by configured name, and how its payouts are handled."""

    chain: str
    assets: Mapping[str, AssetTerms]
    fee_asset: str
    fee_cap: int
    replace_after_s: float
    poll_interval_s: float
    internal_notify: bool
    collect_every_s: float = 60.0
    collect_fee_percent: int = 10
    collect_token_fee: int = 2 * 10**15

    @property
    def fee(self) -> AssetTerms:
        """The asset in which fees are paid."""
        return self.assets[self.fee_asset]

    def collecting(self, asset: AssetTerms) -> Collecting:
        """The operator's terms for collecting an asset."""
        return Collecting(
            asset.asset,
            asset.is_native,
            asset.collect_above,
            self.collect_fee_percent,
            self.collect_token_fee,
        )


@dataclass(slots=True)
class Page:
    """What is known of the last consume answer of a symbol."""

    asked_at: int  # microseconds, when the question left
    full: bool
    session: str


@dataclass(slots=True)
class Board:
    """Last known values that workers show each other; guesses, nothing depends on them."""

    balances: dict[tuple[str, str], int] = field(default_factory=dict)  # (chain, asset), hot
    pages: dict[str, Page] = field(default_factory=dict)  # by symbol
    heads: dict[str, int] = field(default_factory=dict)  # by chain


def depth_of(config: Config, chain: ChainConfig, asset: AssetConfig, default: int) -> int:
    """The platform's confirmations for an asset: asset, chain, platform, and on loopback
    `confirmations`. Raises `ConfigError` when nobody says it."""
    platform = config.require_platform()
    for value in (
        asset.platform_confirmations,
        chain.platform_confirmations,
        platform.platform_confirmations,
    ):
        if value is not None:
            return value
    if platform.on_loopback:
        return chain.confirmations if chain.confirmations is not None else default
    raise ConfigError(
        f"platform_confirmations is not set for {chain.name}/{asset.name}: ask the platform at "
        "which depth it credits, and set it under [platform] or the asset"
    )


def chain_terms(
    config: Config, chain: ChainConfig, *, fee_asset: str, default_depth: int
) -> ChainTerms:
    """Resolve one chain. `default_depth` is the plugin's. Raises `ConfigError`."""
    assets = {
        one.name: AssetTerms(
            asset=one.name,
            symbol=one.symbol,
            decimals=one.decimals,
            platform_decimals=one.platform_decimals,
            depth=depth_of(config, chain, one, default_depth),
            enabled=one.enabled,
            is_native=one.is_native,
            hold_limit_s=one.hold_limit_s,
            window_s=one.window_s,
            collect=one.collect and one.enabled,
            collect_above=one.collect_above,
            hot_floor=one.hot_floor,
            hot_ceiling=one.hot_ceiling,
            cold_address=one.cold_address,
        )
        for one in chain.assets.values()
    }
    return ChainTerms(
        chain=chain.name,
        assets=assets,
        fee_asset=fee_asset,
        fee_cap=chain.fee_cap,
        replace_after_s=chain.replace_after_s,
        poll_interval_s=chain.poll_interval_s,
        internal_notify=config.require_platform().internal_notify,
        collect_every_s=chain.collect_every_s,
        collect_fee_percent=chain.collect_fee_percent,
        collect_token_fee=chain.collect_token_fee,
    )
