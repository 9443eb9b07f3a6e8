"""The configuration: one TOML file, read once, into frozen records.

`load` reads the file, refuses what it does not know (naming the nearest right key) and turns every
value into its final form: absolute paths, base units, seconds. A record of `records` is the only
form in which the rest of the program sees a setting; `reference` writes the documents from them.
"""

from __future__ import annotations

from chain_adapter.config.load import load, loads
from chain_adapter.config.records import (
    AssetConfig,
    ChainConfig,
    Config,
    FirstOrders,
    PoolConfig,
    Profile,
)
from chain_adapter.config.sections import (
    AlarmsConfig,
    ConsoleConfig,
    DatabaseConfig,
    KeysConfig,
    LogConfig,
    PlatformConfig,
)

__all__ = [
    "AlarmsConfig",
    "AssetConfig",
    "ChainConfig",
    "Config",
    "ConsoleConfig",
    "DatabaseConfig",
    "FirstOrders",
    "KeysConfig",
    "LogConfig",
    "PlatformConfig",
    "PoolConfig",
    "Profile",
    "load",
    "loads",
]
