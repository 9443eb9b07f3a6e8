"""Reads the file into the records: strict keys, strict types, then what follows from one another.

A table is read by the settings of its record; what is left over is unknown and refused with the
nearest right key. Values that depend on others (decimals, loopback, inheritance down to an asset)
are settled after their tables were read. Nothing but the file itself is opened.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chain_adapter import money
from chain_adapter.chain import Proof
from chain_adapter.config.kinds import TABLE, Place, is_loopback
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
from chain_adapter.config.settings import settings_of
from chain_adapter.errors import AmountError, ConfigError

SECTIONS: Mapping[str, type[Any]] = {
    "database": DatabaseConfig,
    "platform": PlatformConfig,
    "keys": KeysConfig,
    "console": ConsoleConfig,
    "log": LogConfig,
    "alarms": AlarmsConfig,
}

HANDED_DOWN = ("first_orders", "hold_limit", "window_s")
"""Keys of the top of the file that may stand under `[platform]` as well."""

PUBLISHED_APP_ID = "8ee3794a"
"""The app_id of the platform's public test environment begins so: anyone can act as its owner."""

MOVED: Mapping[tuple[str, str], str] = {
    ("database", "path"): 'it is written url = "sqlite:///…"',
    ("database", "dsn"): "it is written url",
    ("database", "password"): "secrets stand in files: use password_file",
    ("platform", "private_key"): "secrets stand in files: use private_key_file",
    ("platform", "public_key"): "use platform_key_file",
    ("platform", "public_key_file"): "it is written platform_key_file",
    ("platform", "platform_public_key_file"): "it is written platform_key_file",
    ("platform", "base_url"): "it is written url",
    ("platform", "confirmations"): "it is written platform_confirmations",
    ("keys", "passphrase"): "secrets stand in files: use passphrase_file",
    ("keys", "mnemonic"): "secrets stand in files: see keys init --mnemonic-file",
    ("console", "host"): 'it is written listen = "HOST:PORT"',
    ("console", "port"): 'it is written listen = "HOST:PORT"',
    ("chains.*", "collect_fee_share"): "it is written collect_fee_percent, a whole number",
    ("chains.*", "endpoints"): "it stands under [chains.NAME.node]",
    ("chains.*", "endpoint"): "it is written endpoints = […] under [chains.NAME.node]",
    ("chains.*", "rpc_url"): "it is written endpoints = […] under [chains.NAME.node]",
    ("chains.*", "chain_id"): "it stands under [chains.NAME.node]",
    ("chains.*", "genesis"): "it stands under [chains.NAME.node]",
    ("chains.*", "traces"): "it stands under [chains.NAME.node]",
    ("chains.*", "depth"): "it is written confirmations",
    ("chains.*", "start_block"): "it is written start_height",
    ("chains.*.assets.*", "min_amount"): "it is written min_deposit",
    ("chains.*.assets.*", "address"): "it is written contract",
    ("chains.*.assets.*", "confirmations"): (
        "a chain has one depth, confirmations under [chains.NAME]; "
        "the platform's is platform_confirmations"
    ),
}
"""Keys of older files and of other programs, by the table they are met in: what to write now."""

_CHAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_ASSET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}", re.ASCII)


def load(path: Path) -> Config:
    """The configuration in the file. Raises `ConfigError` with the file and the full key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"cannot read the configuration {path}: {why}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    try:
        return loads(text, path.absolute().parent, path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def loads(text: str, directory: Path, file: Path | None = None) -> Config:
    """The configuration in a text; relative paths start from `directory`."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not valid TOML: {error}") from None
    return _Loader(directory).config(document, file)


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


class _Loader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _place(self, *parts: str) -> Place:
        return Place(".".join(part for part in parts if part), self._directory)

    def _table(self, value: Any, where: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = TABLE.read(value, self._place(where))
        return table

    def _refuse_unknown(
        self, table: Mapping[str, Any], known: Iterable[str], where: str, pattern: str
    ) -> None:
        known = list(known)
        for key in table:
            if key in known:
                continue
            place = self._place(where, key)
            if (pattern, key) in MOVED:
                raise place.refuse(f"is no key here: {MOVED[pattern, key]}")
            near = _nearest(key, known)
            home = "" if near else self._home_of(key, where)
            hint = f"did you mean {near}?" if near else home or "known are " + ", ".join(known)
            raise place.refuse(f"is an unknown key: {hint}")

    @staticmethod
    def _home_of(key: str, where: str) -> str:
        tables: dict[str, type[Any]] = {
            "top of the file": Config,
            **{f"[{name}]": record for name, record in SECTIONS.items()},
            "[chains.NAME]": ChainConfig,
            "[chains.NAME.pool]": PoolConfig,
            "[chains.NAME.assets.SYMBOL]": AssetConfig,
        }
        homes = [name for name, record in tables.items() if key in settings_of(record)]
        return f"it stands at {homes[0]}, not in [{where}]" if homes and where else ""

    def _read(
        self,
        record: type[Any],
        table: Mapping[str, Any],
        where: str,
        *,
        pattern: str = "",
        besides: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The values that the table gives, by field name; missing needed ones are refused."""
        settings = settings_of(record)
        self._refuse_unknown(table, [*settings, *besides], where, pattern or where)
        values: dict[str, Any] = {}
        for key, (name, one) in settings.items():
            if key in table:
                values[name] = one.kind.read(table[key], self._place(where, key))
            elif one.needed:
                hint = f", for example {key} = {one.example}" if one.example else ""
                raise ConfigError(f"[{where}] lacks {key}{hint}")
        return values

    def _handed_down(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of the top, given there or under `[platform]`."""
        top = dict(document)
        platform = self._table(document.get("platform", {}), "platform")
        for key in HANDED_DOWN:
            if key in platform:
                if key in top and top[key] != platform[key]:
                    raise self._place("platform", key).refuse(
                        "stands at the top of the file too, with another value: keep one"
                    )
                top[key] = platform[key]
        return top

    def config(self, document: Mapping[str, Any], file: Path | None) -> Config:
        top = self._read(Config, self._handed_down(document), "", besides=[*SECTIONS, "chains"])
        sections: dict[str, Any] = {}
        for name, record in SECTIONS.items():
            if name in document:
                table = dict(self._table(document[name], name))
                if name == "platform":
                    table = {k: v for k, v in table.items() if k not in HANDED_DOWN}
                sections[name] = record(**self._read(record, table, name))
        platform: PlatformConfig | None = sections.get("platform")
        loopback = platform is not None and platform.on_loopback
        top["profile"] = Profile(
            top.get("profile") or ("development" if loopback else "production")
        )
        top["first_orders"] = FirstOrders(
            top.get("first_orders") or ("pay" if loopback else "hold")
        )
        if platform is not None and top["profile"] is Profile.PRODUCTION:
            self._check_production(platform)
        chains = {
            name: self._chain(name, one, top, platform)
            for name, one in self._table(document.get("chains", {}), "chains").items()
        }
        self._check_symbols(chains)
        return Config(file=file, chains=MappingProxyType(chains), **sections, **top)

    def _check_production(self, platform: PlatformConfig) -> None:
        wayout = 'use the real one, or say profile = "development" for a test environment'
        if platform.url.startswith("http://"):
            raise self._place("platform", "url").refuse(f"is http in profile production: {wayout}")
        if platform.app_id.lower().startswith(PUBLISHED_APP_ID):
            raise self._place("platform", "app_id").refuse(
                f"is the published one of the test environment, in profile production: {wayout}"
            )

    def _chain(
        self, name: str, value: Any, top: Mapping[str, Any], platform: PlatformConfig | None
    ) -> ChainConfig:
        where = f"chains.{name}"
        if not _CHAIN_NAME.fullmatch(name):
            raise self._place(where).refuse("a chain's name has 1 to 32 of A-Z a-z 0-9 _ -")
        table = self._table(value, where)
        values = self._read(
            ChainConfig, table, where, pattern="chains.*", besides=["node", "assets", "pool"]
        )
        for key in ("hold_limit_s", "window_s"):
            if key in top:
                values.setdefault(key, top[key])
        assets = {
            asset: self._asset(name, asset, one, values, platform)
            for asset, one in self._table(table.get("assets", {}), f"{where}.assets").items()
        }
        self._check_assets(where, assets)
        self._check_quorum(where, values.get("quorum"), table)
        native = next(one for one in assets.values() if one.is_native)
        fee_cap = values.pop("fee_cap", "0.1" if native.decimals > 6 else "200")
        token_fee = values.pop("collect_token_fee", "0.002" if native.decimals > 6 else "30")
        return ChainConfig(
            name=name,
            node=MappingProxyType(_plain(self._table(table.get("node", {}), f"{where}.node"))),
            assets=MappingProxyType(assets),
            pool=self._pool(self._table(table.get("pool", {}), f"{where}.pool"), where),
            fee_cap=self._units(fee_cap, native.decimals, f"{where}.fee_cap"),
            collect_token_fee=self._units(token_fee, native.decimals, f"{where}.collect_token_fee"),
            **values,
        )

    def _check_quorum(self, where: str, quorum: int | None, table: Mapping[str, Any]) -> None:
        """Two branches must never both have one."""
        endpoints = self._table(table.get("node", {}), f"{where}.node").get("endpoints", ())
        count = len(endpoints) if isinstance(endpoints, list) else 0
        if quorum is None or not count:
            return
        if not count < 2 * quorum <= 2 * count:
            raise self._place(where, "quorum").refuse(
                f"of {count} endpoints it is from {count // 2 + 1} to {count}, not {quorum}"
            )

    def _pool(self, table: Mapping[str, Any], where: str) -> PoolConfig:
        pool = PoolConfig(**self._read(PoolConfig, table, f"{where}.pool", pattern="chains.*.pool"))
        if pool.low > pool.high:
            raise self._place(where, "pool").refuse(
                f"low = {pool.low} is above high = {pool.high}: set both"
            )
        return pool

    def _units(self, text: str, decimals: int, key: str) -> int:
        try:
            return money.parse(text, decimals)
        except AmountError as error:
            raise ConfigError(f"{key}: {error}") from None

    def _asset(
        self,
        chain: str,
        name: str,
        value: Any,
        chain_values: Mapping[str, Any],
        platform: PlatformConfig | None,
    ) -> AssetConfig:
        where = f"chains.{chain}.assets.{name}"
        if not _ASSET_NAME.fullmatch(name):
            raise self._place(where).refuse("an asset's name has 1 to 40 of A-Z a-z 0-9 . _ @ -")
        values = self._read(
            AssetConfig, self._table(value, where), where, pattern="chains.*.assets.*"
        )
        for key in ("hold_limit_s", "window_s", "platform_confirmations"):
            if key in chain_values:
                values.setdefault(key, chain_values[key])
        values.setdefault("symbol", name)
        values.setdefault("platform_decimals", values["decimals"])
        values["balance_proof"] = Proof(values.get("balance_proof", Proof.WHEN_POSSIBLE))
        values["min_deposit"] = self._units(
            values.get("min_deposit", "0"), values["decimals"], f"{where}.min_deposit"
        )
        usual = "10" if values.get("contract") is not None else "0.01"
        for key, default in (("collect_above", usual), ("hot_floor", "0"), ("hot_ceiling", None)):
            text = values.get(key, default)
            if text is not None:
                values[key] = self._units(text, values["decimals"], f"{where}.{key}")
        if values.get("hot_ceiling") is not None and values.get("cold_address") is None:
            raise self._place(where, "hot_ceiling").refuse("needs cold_address beside it")
        if platform is not None and values.get("platform_confirmations") is None:
            values["platform_confirmations"] = platform.platform_confirmations
            if platform.platform_confirmations is None:
                if not is_loopback(platform.url):
                    raise ConfigError(
                        f"platform.platform_confirmations is missing (and {where} has none): the "
                        "depth at which the platform credits has no default, for below it "
                        "deposits would be lost silently"
                    )
                values["platform_confirmations"] = chain_values.get("confirmations")
        return AssetConfig(name=name, **values)

    def _check_assets(self, where: str, assets: Mapping[str, AssetConfig]) -> None:
        natives = [one.name for one in assets.values() if one.is_native]
        if len(natives) != 1:
            found = " and ".join(natives) if natives else "none"
            raise self._place(where, "assets").refuse(
                f"exactly one asset must have no contract, the main coin; there is {found}"
            )
        contracts: dict[str, str] = {}
        for one in assets.values():
            if one.contract is not None:
                other = contracts.setdefault(one.contract.casefold(), one.name)
                if other != one.name:
                    raise self._place(where, "assets", one.name, "contract").refuse(
                        f"is the contract of {other} as well"
                    )

    def _check_symbols(self, chains: Mapping[str, ChainConfig]) -> None:
        owners: dict[str, str] = {}
        for chain in chains.values():
            for asset in chain.assets.values():
                where = f"chains.{chain.name}.assets.{asset.name}"
                other = owners.setdefault(asset.symbol, where)
                if other != where:
                    raise ConfigError(
                        f"{where}: the platform's symbol {asset.symbol} is taken by {other}: one "
                        'symbol is one asset of one chain; set symbol = "…"'
                    )


def _plain(node: Any) -> Any:
    """The plugin's settings in plain Python: decimal numbers become floats, tables dicts."""
    if isinstance(node, Mapping):
        return {key: _plain(one) for key, one in node.items()}
    if isinstance(node, list):
        return [_plain(one) for one in node]
    return float(node) if isinstance(node, Decimal) else node
