"""The reference chain passes the conformance suite in all its flavours."""

from __future__ import annotations

from typing import Any

from chain_adapter.chain import Devnet, Plugin
from chain_adapter.sandbox.reference import ReferencePlugin
from chain_adapter.testing import Conformance

LOCKS = frozenset({
    "a_replacement_shares_a_lock_and_pays_more",
    "only_one_attempt_is_included",
    "a_void_pays_nobody",
    "reserved_locks_are_respected",
})  # fmt: skip


class _Reference(Conformance):
    made: ReferencePlugin

    async def devnet(self) -> Devnet:
        return await self.made.devnet()


def _suite(flavour: str, skips: frozenset[str], **options: Any) -> type[_Reference]:
    plugin = ReferencePlugin(flavour, **options)
    shown: Plugin = plugin
    fields = {"plugin": shown, "made": plugin, "expected_skips": skips}
    return type(f"Test{flavour.title()}", (_Reference,), fields)


NO_EXPIRY = frozenset({"an_expired_payload_is_never_included"})
NO_COINS = frozenset({"coins_are_followed_within_a_read"})
NO_MEMOS = frozenset({"memos_arrive_byte_for_byte"})
ONE_METHOD = frozenset({"methods_agree"})

TestAccount = _suite("account", NO_EXPIRY | NO_COINS | NO_MEMOS)
TestCoin = _suite(
    "coin",
    NO_EXPIRY | NO_MEMOS | {"a_failure_on_chain_is_told", "other_assets_are_not_shown"},
)
TestMemo = _suite("memo", NO_EXPIRY | NO_COINS | ONE_METHOD, reserve=1_000)
TestExpiringAccount = _suite("account", LOCKS | NO_COINS | NO_MEMOS, expiring=True)
TestExpiringMemo = _suite("memo", LOCKS | NO_COINS | ONE_METHOD, expiring=True)
