"""Planted bugs of paying."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from chain_adapter.chain import (
    Block,
    BlockRef,
    Effect,
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    Rejected,
    SignedTx,
    Watch,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference import ReferenceChain
from tests.chain.mutants import Reading, bug, sent_with

# --- paying -------------------------------------------------------------------------------------


@bug("the_effect_is_the_intent")
class PaysTheWrongAmount(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        less = tuple(replace(p, amount=p.amount and p.amount - 1) for p in intent.payments)
        return await super().build(replace(intent, payments=less))


@bug("the_effect_is_the_intent", "memo")
class LosesTheMemo(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        bare = tuple(replace(p, memo=None) for p in intent.payments)
        return await super().build(replace(intent, payments=bare))


@bug("inspect_needs_no_node")
class InspectKnowsTheEndpoint(ReferenceChain):
    def inspect(self, payload: bytes) -> Effect:
        effect = super().inspect(payload)
        return effect if self._endpoint else replace(effect, max_fee=effect.max_fee + 1)


@bug("assembling_is_deterministic")
class SaltsTheBytes(ReferenceChain):
    count = itertools.count()

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        made = super().assemble(payload, signatures)
        return replace(made, raw=made.raw + bytes([next(self.count) % 256]))


@bug("wrong_signatures_are_refused")
class VerifiesNothing(ReferenceChain):
    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        made, body = self._open(payload)
        raw = tx.encode(tx.Signed(made.body, tuple(signatures)))
        return SignedTx(tx.txid_of(body, raw, made.body), raw)


@bug("a_tampered_payload_tells")
class IgnoresTrailingBytes(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        return await super().build(intent) + b"#comment"

    def inspect(self, payload: bytes) -> Effect:
        return super().inspect(payload.partition(b"#")[0])


@bug("a_tampered_payload_tells")
class LeaksParserErrors(ReferenceChain):
    def inspect(self, payload: bytes) -> Effect:
        payload.decode("ascii").index('["')
        return super().inspect(payload)


@bug("a_payment_is_seen_as_it_was_built")
class AnotherTxid(ReferenceChain):
    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        made = super().assemble(payload, signatures)
        return replace(made, txid="0x" + made.txid)


@bug("a_payment_is_seen_as_it_was_built")
class FeeIsTheLimit(Reading):
    """Tells the highest fee instead of what was charged."""

    def bend(self, block: Block) -> Block:
        return replace(block, sent=tuple(replace(one, fee=2 * one.fee) for one in block.sent))


@bug("a_payment_is_seen_as_it_was_built", "coin")
class ForgetsChange(Reading):
    def bend(self, block: Block) -> Block:
        return replace(
            block,
            sent=tuple(
                replace(one, fee=one.fee + sum(p.amount or 0 for p in one.moved[1:]))
                for one in block.sent
            ),
        )


@bug("sending_twice_is_success")
class KnownIsAnError(ReferenceChain):
    async def broadcast(self, tx: SignedTx) -> None:
        if tx.txid in self._ledger().pending():
            raise Rejected("already known")
        await super().broadcast(tx)

    def _ledger(self) -> Any:
        from chain_adapter.sandbox.reference import ledger_at

        return ledger_at((self._endpoint or "").removeprefix("memory://"))


@bug("payments_of_one_account_follow_each_other")
@bug("reserved_locks_are_respected")
@bug("reserved_locks_are_respected", "coin")
class IgnoresReserved(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        return await super().build(replace(intent, reserved=frozenset()))


@bug("what_is_not_asked_is_not_told")
class TellsEverySender(Reading):
    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        every: Any = type("Every", (), {"__contains__": lambda self, _: True})()
        async for block in super().blocks(after, last, replace(watch, senders=every), method):
            yield block


@bug("coins_are_followed_within_a_read", "coin")
class ForgetsNewCoins(ReferenceChain):
    def _sent(self, done: Any, watch: Watch, ours: Any) -> Any:
        return super()._sent(done, watch, {})


@bug("coins_are_followed_within_a_read", "coin")
class IgnoresKnownCoins(ReferenceChain):
    def _sent(self, done: Any, watch: Watch, ours: Any) -> Any:
        return super()._sent(done, replace(watch, coins={}), ours)


@bug("all_less_the_fee_empties_the_account")
class AllMeansATenth(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        have = (await self.balance(intent.sender, self.info.native)).amount
        some = tuple(
            replace(p, amount=have // 10) if p.amount is None else p for p in intent.payments
        )
        return await super().build(replace(intent, payments=some))


@bug("a_replacement_shares_a_lock_and_pays_more")
@bug("only_one_attempt_is_included")
@bug("a_replacement_shares_a_lock_and_pays_more", "coin")
class ReplacesWithNewLocks(ReferenceChain):
    """The classic: another nonce, other coins, two payments."""

    async def build(self, intent: Intent) -> bytes:
        if not intent.replaces or not intent.payments:
            return await super().build(intent)
        used = [lock for one in intent.replaces for lock in self.inspect(one).locks]
        fresh = replace(intent, replaces=(), reserved=frozenset(used))
        coins = tuple(coin for coin in intent.coins if coin.lock not in used)
        try:
            return await super().build(replace(fresh, coins=coins))
        except InsufficientFunds:
            # No other coin: the same lock, but the fee is not raised.
            return await super().build(replace(intent, replaces=()))


@bug("a_void_pays_nobody")
class VoidPaysAgain(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        if intent.payments:
            return await super().build(intent)
        again = self.inspect(intent.replaces[0]).payments
        return await super().build(replace(intent, payments=again))


@bug("an_expired_payload_is_never_included", expiring=True)
class SameTxidTwice(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        return await super().build(replace(intent, salt=b""))


@bug("an_expired_payload_is_never_included", expiring=True)
class ClockOfAnother(ReferenceChain):
    """Tells an expiry that its bytes do not have."""

    def inspect(self, payload: bytes) -> Effect:
        effect = super().inspect(payload)
        return replace(effect, expires=(effect.expires or 0) - 40_000)

    async def broadcast(self, tx: SignedTx) -> None:
        await super().broadcast(tx)


@bug("the_fee_limit_holds")
class NoFeeLimit(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        return await super().build(replace(intent, fee_limit=10**30))


@bug("the_fee_limit_holds")
class ReplacesBeyondTheLimit(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        try:
            return await super().build(intent)
        except FeeAboveLimit:
            if not intent.replaces:
                raise
            return await super().build(replace(intent, fee_limit=10**30))


@bug("a_shortage_is_told_in_full")
class TellsHalfTheShortage(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        try:
            return await super().build(intent)
        except InsufficientFunds as short:
            raise InsufficientFunds(short.asset, max(short.short_by // 2, 1)) from None


@bug("what_can_never_be_paid_is_refused_for_good")
class RefusesForNow(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        try:
            return await super().build(intent)
        except Rejected as error:
            raise Rejected(error.why) from None


@bug("what_can_never_be_paid_is_refused_for_good")
class RefusesEverything(ReferenceChain):
    async def build(self, intent: Intent) -> bytes:
        if intent.payments and intent.payments[0].amount == 10**17 + 7:
            raise Rejected("no", for_good=True)
        return await super().build(intent)


@bug("a_failure_on_chain_is_told")
class FailureLooksFine(Reading):
    def bend(self, block: Block) -> Block:
        return sent_with(block, ok=True)


@bug("a_failure_on_chain_is_told")
class HidesFailures(Reading):
    """As one that reads only successful receipts: its nonce would seem unused for ever."""

    def bend(self, block: Block) -> Block:
        return replace(block, sent=tuple(one for one in block.sent if one.ok))
