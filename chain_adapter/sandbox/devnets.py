"""Send me a coin: pays from the funded key of a local chain, through that chain's plugin.

The ready line of `chain-adapter devnet NAME` plus `plugin` is what `POST /sandbox/devnets` takes.
build -> inspect -> sign with the devnet's key -> assemble -> broadcast. Only for local chains whose
key everybody knows: nothing here is careful the way the signer is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from coincurve import PrivateKey

from chain_adapter import money, registry
from chain_adapter.chain import Asset, Chain, ChainError, Intent, Payment
from chain_adapter.errors import AdapterError, AmountError, ConfigError

SCHEME = "secp256k1"
_KEPT_LOCKS = 256


class SendFailed(AdapterError):
    """The local chain did not take the payment."""


@dataclass(frozen=True, slots=True)
class DevnetConfig:
    """As stored: everything to open the chain again after a restart."""

    plugin: str
    node: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]  # asset -> {contract, decimals, symbol?}
    private_key: str = field(repr=False)

    def asset_of(self) -> dict[str, str]:
        """The platform's symbol -> the plugin's asset."""
        return {str(told.get("symbol") or name): name for name, told in self.assets.items()}


@dataclass(slots=True)
class _Open:
    chain: Chain
    config: DevnetConfig
    key: PrivateKey
    locks: list[str] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Devnets:
    """The chains that coins can be sent on, by symbol."""

    def __init__(self) -> None:
        self._of_symbol: dict[str, _Open] = {}

    @property
    def symbols(self) -> list[str]:
        return sorted(self._of_symbol)

    def open(self, config: DevnetConfig) -> None:
        """No I/O. Raises `ConfigError` for an unknown plugin, settings or key."""
        plugin = registry.plugin(config.plugin, "plugin")
        settings = registry.settings_of(plugin, config.node, "node")
        endpoint = registry.endpoints_of(config.node, "node")[0]
        assets = {name: _asset(name, config.assets[name]) for name in config.assets}
        if not assets:
            raise ConfigError("assets: give at least one")
        chain = plugin.open(settings, assets, endpoint, _gate)
        if chain.info.scheme != SCHEME:
            raise ConfigError(f"plugin {config.plugin}: scheme {chain.info.scheme} is not served")
        try:
            key = PrivateKey(bytes.fromhex(config.private_key.removeprefix("0x")))
        except ValueError:
            raise ConfigError("private_key: is no key in hex") from None
        opened = _Open(chain, config, key)
        for symbol in config.asset_of():
            self._of_symbol[symbol] = opened

    async def send(self, symbol: str, to: str, amount: str, memo: str) -> str:
        """Pay `amount` (decimal text) to an address; the txid. Raises `SendFailed`."""
        opened = self._of_symbol.get(symbol)
        if opened is None:
            raise SendFailed(f"no local chain is set for {symbol}")
        asset = opened.config.asset_of()[symbol]
        try:
            units = money.parse(amount, int(opened.config.assets[asset]["decimals"]))
        except AmountError as error:
            raise SendFailed(str(error)) from None
        async with opened.turn:
            try:
                return await _pay(opened, Payment(asset, to, units, memo or None))
            except ChainError as error:
                raise SendFailed(f"{type(error).__name__}: {error}") from None

    async def close(self) -> None:
        """Give back connections."""
        for opened in {id(one): one for one in self._of_symbol.values()}.values():
            await opened.chain.close()
        self._of_symbol.clear()


async def _pay(opened: _Open, payment: Payment) -> str:
    chain, key = opened.chain, opened.key
    public_key = key.public_key.format(compressed=True)
    intent = Intent(
        sender=chain.address_of(public_key),
        public_key=public_key,
        payments=(payment,),
        fee_limit=10**30,  # play money
        reserved=frozenset(opened.locks),
        salt=secrets.token_bytes(16),
    )
    payload = await chain.build(intent)
    effect = chain.inspect(payload)
    signatures = [key.sign_recoverable(one.message, hasher=None) for one in effect.to_sign]
    signed = chain.assemble(payload, signatures)
    await chain.broadcast(signed)
    # The next one may be built before a block has this one.
    opened.locks = [*opened.locks, *effect.locks][-_KEPT_LOCKS:]
    return signed.txid


def _asset(name: str, told: Mapping[str, Any]) -> Asset:
    decimals = told.get("decimals")
    contract = told.get("contract")
    if not isinstance(decimals, int) or not isinstance(contract, str | None):
        raise ConfigError(f"assets.{name}: give decimals, and contract for a token")
    return Asset(name, contract or None, decimals)


@asynccontextmanager
async def _gate(method: str) -> AsyncIterator[None]:
    yield
