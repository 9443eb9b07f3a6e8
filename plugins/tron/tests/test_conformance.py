"""The suite that every plugin passes, on the local chain; each check has a chain of its own."""

from __future__ import annotations

from chain_adapter.chain import Devnet
from chain_adapter.testing.suite import Conformance
from chain_adapter_tron.chain import plugin
from chain_adapter_tron.devnet.devnet import TronDevnet

LOCKLESS = frozenset(
    {
        "a_replacement_shares_a_lock_and_pays_more",
        "a_void_pays_nobody",
        "only_one_attempt_is_included",
        "reserved_locks_are_respected",
    }
)
"""What is about locks: transactions of this chain expire instead."""
NEVER = frozenset({"coins_are_followed_within_a_read", "a_failure_on_chain_is_told"})


class TestTron(Conformance):
    """The TRON plugin: an address for every owner."""

    plugin = plugin
    expected_skips = LOCKLESS | NEVER | {"memos_arrive_byte_for_byte"}

    async def devnet(self) -> Devnet:
        return await plugin.devnet("127.0.0.1:0")


class TestTronWithMemos(Conformance):
    """The same with one address, where the memo tells the owner."""

    plugin = plugin
    expected_skips = LOCKLESS | NEVER

    async def devnet(self) -> Devnet:
        return await TronDevnet.start("127.0.0.1:0", memo=True)
