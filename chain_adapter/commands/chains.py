"""A configured chain with only its pure methods: names, addresses, keys. No endpoint is asked."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from chain_adapter import registry
from chain_adapter.chain import Chain
from chain_adapter.config import ChainConfig
from chain_adapter.errors import ConfigError


def no_requests(method: str) -> AbstractAsyncContextManager[None]:
    """The gate of a chain that was opened without an endpoint: there is nothing to ask."""
    raise ConfigError(f"{method}: this chain was opened without an endpoint")


def pure_chain(config: ChainConfig) -> Chain:
    """The chain without endpoint. `ConfigError` for a wrong plugin, node table or asset."""
    where = f"chains.{config.name}"
    plugin = registry.plugin(config.plugin, f"{where}.plugin")
    settings = registry.settings_of(plugin, config.node, f"{where}.node")
    return plugin.open(settings, config.plugin_assets(), None, no_requests)
