# ruff: noqa: RUF009 - `setting` returns a dataclass field
"""One asset as configured: how the platform calls it, what is credited, when it is collected."""

from __future__ import annotations

from dataclasses import dataclass

from chain_adapter.chain import Proof
from chain_adapter.config.kinds import (
    BOOLEAN,
    DECIMAL,
    DURATION_OR_NEVER,
    TEXT,
    choice,
    integer,
    seconds,
)
from chain_adapter.config.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetConfig:
    """`[chains.NAME.assets.SYMBOL]`: one asset. Amounts are base units of it."""

    name: str
    symbol: str = setting(
        TEXT,
        "The platform's symbol of it. One symbol belongs to one asset of one chain.",
        shown="the name of this table",
        example='"USDT"',
    )
    decimals: int = setting(
        integer(0, 77), "Decimals of the asset on the chain.", needed=True, example="6"
    )
    contract: str | None = setting(
        TEXT,
        "Its contract or token id. Exactly one asset of a chain has none: the main coin.",
        default=None,
        shown="none: the main coin",
        example='"0x0000000000000000000000000000000000000001"',
    )
    platform_decimals: int = setting(
        integer(0, 77),
        "Decimals the platform keeps of it. Finer digits of a deposit are booked as its "
        "remainder, not told.",
        shown="`decimals`",
        example="6",
    )
    min_deposit: int = setting(
        DECIMAL,
        "Deposits below it are not credited. A decimal in the asset, in quotes.",
        default=0,
        shown='"0"',
    )
    balance_proof: Proof = setting(
        choice(*(one.value for one in Proof)),
        "Whether a token deposit is held against the balance difference of its block; `required` "
        "holds a deposit whose proof cannot be made. Never made for the main coin.",
        default=Proof.WHEN_POSSIBLE,
        shown='"when_possible"',
    )
    platform_confirmations: int | None = setting(
        integer(1, 10**6),
        "As under `[platform]`, for this asset.",
        default=None,
        shown="that of the chain, else of `[platform]`",
        example="12",
    )
    enabled: bool = setting(
        BOOLEAN,
        "An asset that is off is read and booked, but neither credited nor paid.",
        default=True,
        shown="true",
    )
    collect: bool = setting(
        BOOLEAN,
        "Whether its deposits are collected to the hot wallet.",
        default=True,
        shown="true",
    )
    collect_above: int = setting(
        DECIMAL,
        "A deposit address that holds less is left alone. A decimal in the asset, in quotes.",
        default=0,
        shown='"0.01" for the main coin, "10" for a token',
        example='"25"',
    )
    hot_floor: int = setting(
        DECIMAL,
        "An alarm is raised while the hot wallet holds less; 0: never.",
        default=0,
        shown='"0"',
    )
    hot_ceiling: int | None = setting(
        DECIMAL,
        "What the hot wallet holds above it goes to `cold_address`, down to halfway between "
        "floor and ceiling.",
        default=None,
        shown="none: nothing is moved",
        example='"1000"',
    )
    cold_address: str | None = setting(
        TEXT,
        "The one address that cold transfers of this asset may go to.",
        default=None,
        example='"0x0000000000000000000000000000000000000002"',
    )
    hold_limit_s: float | None = setting(
        DURATION_OR_NEVER,
        "A withdrawal that could not be begun for so long is sent back; `never` lets it wait.",
        default=86400.0,
        shown="that of the chain",
        example='"24h"',
        key="hold_limit",
    )
    window_s: float = setting(
        seconds(),
        "A full page of withdrawals that does not move for so long has its oldest sent back.",
        default=60.0,
        shown="that of the chain",
        example="60",
    )

    @property
    def is_native(self) -> bool:
        return self.contract is None
