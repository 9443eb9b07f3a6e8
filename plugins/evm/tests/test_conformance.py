"""The suite that every plugin passes, on anvil; each check has a chain of its own."""

from __future__ import annotations

from chain_adapter.chain import Devnet
from chain_adapter.testing.suite import Conformance
from chain_adapter_evm.chain import plugin


class TestEvm(Conformance):
    """The EVM plugin."""

    plugin = plugin
    expected_skips = frozenset(
        {
            "coins_are_followed_within_a_read",
            "memos_arrive_byte_for_byte",
            "an_expired_payload_is_never_included",
        }
    )

    async def devnet(self) -> Devnet:
        return await plugin.devnet("127.0.0.1:0")
