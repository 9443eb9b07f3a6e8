"""Parts made from the configuration, the same for the daemon and for commands.

Configuration -> plugin and settings -> a pure chain (no endpoint) or a guarded one -> signer,
accounts, platform client. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from chain_adapter import registry
from chain_adapter.chain import Chain, ChainError, InvalidAddress, Plugin
from chain_adapter.clock import Clock
from chain_adapter.config import ChainConfig, Config
from chain_adapter.config.sections import PlatformConfig
from chain_adapter.errors import ConfigError, KeyFileError
from chain_adapter.guard import Guard
from chain_adapter.guard.limits import Limits, Observe, unobserved
from chain_adapter.keys.derivation import Account as AccountNumber
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.request import SignerAsset, SignerChain
from chain_adapter.platform_api.envelope import (
    Envelope,
    fingerprint,
    load_private_key,
    load_public_key,
    self_test,
)
from chain_adapter.workers.signing import Account


def no_requests(method: str) -> AbstractAsyncContextManager[None]:
    """The gate of a chain that was opened without an endpoint: there is nothing to ask."""
    raise ConfigError(f"{method}: this chain was opened without an endpoint")


def plugin_of(config: ChainConfig) -> tuple[Plugin, Any]:
    """A chain's plugin and its settings. Raises `ConfigError` naming the key that is wrong."""
    where = f"chains.{config.name}"
    plugin = registry.plugin(config.plugin, f"{where}.plugin")
    node = dict(config.node)
    settings_type = plugin.settings
    if is_dataclass(settings_type) and "memo" in {f.name for f in fields(settings_type)}:
        node.setdefault("memo", config.memo)  # where not, `memo` is held against what it tells
    return plugin, registry.settings_of(plugin, node, f"{where}.node")


@contextmanager
def _opening(config: ChainConfig) -> Iterator[None]:
    """What a plugin refuses while it opens is an asset or setting that is written wrong."""
    try:
        yield
    except (ChainError, ValueError) as error:
        raise ConfigError(f"chains.{config.name}: the plugin refuses it: {error}") from None


def pure_chain(config: ChainConfig) -> Chain:
    """The chain without endpoint: names, addresses, keys. Raises `ConfigError`."""
    plugin, settings = plugin_of(config)
    with _opening(config):
        return plugin.open(settings, config.plugin_assets(), None, no_requests)


def guarded_chain(
    config: ChainConfig,
    clock: Clock,
    *,
    identity: str | None,
    on_identity: Callable[[str], Awaitable[None] | None] | None,
    observe: Observe = unobserved,
) -> Guard:
    """All endpoints of a chain behind one `Chain`. Raises `ConfigError` when it has none."""
    plugin, settings = plugin_of(config)
    if not config.endpoints:
        raise ConfigError(f"chains.{config.name}.node.endpoints: name at least one endpoint")
    with _opening(config):
        return Guard(
            plugin,
            settings,
            config.plugin_assets(),
            config.endpoints,
            name=config.name,
            identity=identity,
            on_identity=on_identity,
            clock=clock,
            limits=Limits(
                request_timeout_s=config.timeout_s,
                item_timeout_s=config.timeout_s,
                rate_per_s=config.requests_per_s,
            ),
            observe=observe,
            checkpoints=config.checkpoints,
        )


class ConfiguredAccounts:
    """Addresses and public keys of ours, derived from account public keys (no secret)."""

    def __init__(self, keys: PublicKeys) -> None:
        self._keys = keys
        self._chains: dict[str, Chain] = {}
        self._hot: dict[str, Account] = {}

    def add(self, name: str, chain: Chain) -> None:
        """Make a chain known by its pure methods."""
        self._chains[name] = chain

    def at(self, chain: str, account: int, index: int) -> Account:
        """The key at a path. Raises `KeyFileError` when `keys init` has not exported it."""
        pure = self._chains[chain]
        key = self._keys.public_key(pure.info.scheme, pure.info.coin_type, account, index)
        return Account(account, index, pure.address_of(key), key)

    def hot(self, chain: str) -> Account:
        """The address that pays withdrawals."""
        if chain not in self._hot:
            self._hot[chain] = self.at(chain, AccountNumber.HOT, 0)
        return self._hot[chain]

    def gas(self, chain: str) -> Account:
        """The address that pays top-ups."""
        return self.at(chain, AccountNumber.GAS, 0)


def signer_chains(config: Config) -> dict[str, SignerChain]:
    """The chains as the signer knows them: pure methods and its own view of the assets."""
    found = {}
    for name, chain in config.require_chains().items():
        pure = pure_chain(chain)
        found[name] = SignerChain(
            chain=pure,
            assets={
                one.name: SignerAsset(one.name, one.symbol, one.decimals)
                for one in chain.assets.values()
            },
            cold=cold_addresses(chain, pure),
            fee_cap=chain.fee_cap,
        )
    return found


def cold_addresses(config: ChainConfig, chain: Chain) -> dict[str, str]:
    """Cold addresses by asset, in the chain's own spelling. Raises `ConfigError`."""
    found = {}
    for one in config.assets.values():
        if one.cold_address is None:
            continue
        try:
            found[one.name] = chain.parse_address(one.cold_address)
        except InvalidAddress as error:
            raise ConfigError(
                f"chains.{config.name}.assets.{one.name}.cold_address: {error}"
            ) from None
    return found


def read_key(path: Path, what: str) -> bytes:
    """A key file's bytes. Raises `KeyFileError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{what} {path} cannot be read: {error.strerror}") from None


def envelope(platform: PlatformConfig) -> Envelope:
    """Our private key and the platform's public one. Raises `KeyFileError`, `ConfigError`."""
    own = load_private_key(read_key(platform.private_key_file, "platform.private_key_file"))
    theirs = load_public_key(read_key(platform.platform_key_file, "platform.platform_key_file"))
    return Envelope(own, theirs)


def key_fingerprints(platform: PlatformConfig) -> tuple[str, str]:
    """Fingerprints of our key and the platform's: what a production profile refuses by."""
    own = load_private_key(read_key(platform.private_key_file, "platform.private_key_file"))
    theirs = load_public_key(read_key(platform.platform_key_file, "platform.platform_key_file"))
    return fingerprint(own), fingerprint(theirs)


def own_key_self_test(platform: PlatformConfig) -> None:
    """Prove that this machine's RSA tells nothing about forged padding. Raises `ConfigError`."""
    self_test(load_private_key(read_key(platform.private_key_file, "platform.private_key_file")))


def plugin_version(name: str) -> str:
    """Version of the distribution that a plugin comes from, for coverage records."""
    return next((one.version for one in registry.installed() if one.name == name), "")


def backup_folder(config: Config) -> Path:
    """Where copies before an upgrade go: beside a SQLite file, else beside the configuration."""
    file = config.require_database().sqlite_file
    if file is not None:
        return file.parent
    return Path.cwd() if config.file is None else config.file.absolute().parent
