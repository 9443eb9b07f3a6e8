"""Every check can fail: a reference chain with one planted bug each is caught by the check for it.

The run without a bug passes the same checks, so that it is the bug that is caught.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from chain_adapter.chain import (
    Balance,
    Block,
    BlockRef,
    Chain,
    Effect,
    FeeAboveLimit,
    Head,
    InsufficientFunds,
    Intent,
    Rejected,
    SignedTx,
    Unavailable,
    Watch,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference import ReferenceChain, ReferencePlugin
from chain_adapter.testing import CHECKS, Result, run_checks

Mutant = type[ReferenceChain]
PLANTED: list[tuple[str, str, Mutant, dict[str, Any]]] = []


def bug(check: str, flavour: str = "account", **options: Any) -> Callable[[Mutant], Mutant]:
    def add(mutant: Mutant) -> Mutant:
        PLANTED.append((check, flavour, mutant, options))
        return mutant

    return add


class Reading(ReferenceChain):
    """A base for mutants of blocks: `bend` gets each block, None leaves it out."""

    def bend(self, block: Block) -> Block | None:
        return block

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        async for block in super().blocks(after, last, watch, method):
            made = self.bend(block)
            if made is not None:
                yield made


def _transfers(block: Block, **changes: Any) -> Block:
    return replace(block, transfers=tuple(replace(one, **changes) for one in block.transfers))


def _sent(block: Block, **changes: Any) -> Block:
    return replace(block, sent=tuple(replace(one, **changes) for one in block.sent))


# --- reading ------------------------------------------------------------------------------------


@bug("identity_is_stable")
class IdentityWithHead(ReferenceChain):
    async def identity(self) -> str:
        return f"{await super().identity()}/{(await self.head()).ref.height}"


@bug("every_request_enters_the_gate")
class PastTheGate(ReferenceChain):
    async def head(self, after: Head | None = None) -> Head:
        self._gate, gate = lambda method: nullcontext(), self._gate
        try:
            return await super().head(after)
        finally:
            self._gate = gate


@bug("without_endpoint_nothing_is_asked")
class GuessesIdentity(ReferenceChain):
    async def identity(self) -> str:
        return "reference" if self._endpoint is None else await super().identity()


@bug("a_dead_endpoint_is_unavailable")
class LeaksConnectionErrors(ReferenceChain):
    async def identity(self) -> str:
        try:
            return await super().identity()
        except Unavailable as error:
            raise ConnectionRefusedError from error


@bug("head_tells_news")
class HeadNeverMoves(ReferenceChain):
    async def head(self, after: Head | None = None) -> Head:
        return after or await super().head()


@bug("head_is_a_block")
class FinalAboveHead(ReferenceChain):
    async def head(self, after: Head | None = None) -> Head:
        head = await super().head(after)
        return replace(head, final_height=head.ref.height + 1)


@bug("blocks_are_contiguous")
class SkipsABlock(Reading):
    def bend(self, block: Block) -> Block | None:
        return None if block.ref.height % 5 == 0 else block


@bug("a_read_can_be_resumed")
class CountsItsCalls(Reading):
    calls = itertools.count()

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        call = next(self.calls)
        async for block in super().blocks(after, last, watch, method):
            yield replace(block, time=block.time + call)


@bug("a_block_reads_the_same_again")
class NoMemoryOfTime(Reading):
    reads = itertools.count()

    def bend(self, block: Block) -> Block:
        return replace(block, time=block.time + next(self.reads))


@bug("nothing_to_read_is_nothing")
class ReadsOneMore(Reading):
    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        start = replace(after, height=min(after.height, last - 1), hash="")
        async for block in super().blocks(start, last, watch, method):
            yield block


@bug("a_block_that_is_not_there_is_unavailable")
class EndsQuietly(Reading):
    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        try:
            async for block in super().blocks(after, last, watch, method):
                yield block
        except Unavailable:
            return


@bug("a_reorganisation_is_seen")
class IgnoresReorgs(Reading):
    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        first = True
        async for block in super().blocks(replace(after, hash=""), last, watch, method):
            yield replace(block, parent_hash=after.hash) if first and after.hash else block
            first = False


@bug("transfers_are_found_exactly")
class OneTooMany(Reading):
    def bend(self, block: Block) -> Block:
        twice = tuple(replace(one, place="value/9") for one in block.transfers)
        return replace(block, transfers=block.transfers + twice)


@bug("transfers_are_found_exactly")
class MissesTokens(Reading):
    def bend(self, block: Block) -> Block:
        seen = tuple(one for one in block.transfers if one.asset == self.info.native)
        return replace(block, transfers=seen)


@bug("memos_arrive_byte_for_byte", "memo")
class TrimsMemos(Reading):
    def bend(self, block: Block) -> Block:
        return replace(
            block,
            transfers=tuple(
                replace(one, memo=one.memo and one.memo.lstrip(b"0")) for one in block.transfers
            ),
        )


@bug("methods_agree")
class SecondMethodBlind(Reading):
    def bend(self, block: Block) -> Block:
        return block if block.method == "scan" else replace(block, transfers=())


@bug("a_transfer_keeps_its_place")
class PlaceWithinBlock(Reading):
    """The block-level index: other transactions in the block move it."""

    def bend(self, block: Block) -> Block:
        return _transfers(block, place=f"value/{block.ref.height % 1000}")


@bug("the_filter_is_honoured")
class IgnoresTheFilter(ReferenceChain):
    def _shown(self, move: Any, watch: Watch, kinds: frozenset[str]) -> bool:
        return move.asset in self._names


@bug("other_assets_are_not_shown")
class AnyTokenIsNative(ReferenceChain):
    def _shown(self, move: Any, watch: Watch, kinds: frozenset[str]) -> bool:
        self._names.setdefault(move.asset, self.info.native)
        return super()._shown(move, watch, kinds)


@bug("balances_are_told")
class BalanceOfNative(ReferenceChain):
    async def balance(self, address: str, asset: str) -> Balance:
        return await super().balance(address, self.info.native)


@bug("transactions_are_located")
class LocatesAnything(ReferenceChain):
    async def locate(self, txid: str) -> BlockRef | None:
        return (await self.head()).ref


# --- names --------------------------------------------------------------------------------------


@bug("the_plugin_says_what_it_is")
class NoConfirmations(ReferenceChain):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.info = replace(self.info, confirmations=0)


@bug("addresses_have_one_spelling")
class ShoutsWithEndpoint(ReferenceChain):
    def address_of(self, public_key: bytes) -> str:
        address = super().address_of(public_key)
        return address if self._endpoint is None else address.upper()


@bug("what_is_parsed_stays_parsed")
class KeepsSpelling(ReferenceChain):
    def parse_address(self, text: str) -> str:
        lower = super().parse_address(text)
        return lower if text == lower else f" {lower}"


@bug("garbage_is_no_address")
class Strips(ReferenceChain):
    def parse_address(self, text: str) -> str:
        return super().parse_address(text.strip())


@bug("garbage_is_no_address")
class LeaksValueErrors(ReferenceChain):
    def parse_address(self, text: str) -> str:
        bytes.fromhex(text[3:])
        return super().parse_address(text)


@bug("garbage_is_no_address")
class NoChecksum(ReferenceChain):
    def parse_address(self, text: str) -> str:
        if len(text) == 51 and text.isascii() and text[3:43].isalnum() and "q" not in text[3:43]:
            return self._spell(bytes.fromhex(text[3:43]))
        return super().parse_address(text)


@bug("assets_have_keys_of_their_own")
class AllAssetsNative(ReferenceChain):
    def asset_key(self, asset: str) -> bytes:
        return b""


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
        return _sent(block, ok=True)


@bug("a_failure_on_chain_is_told")
class HidesFailures(Reading):
    """As one that reads only successful receipts: its nonce would seem unused for ever."""

    def bend(self, block: Block) -> Block:
        return replace(block, sent=tuple(one for one in block.sent if one.ok))


# --- the proof ----------------------------------------------------------------------------------


async def _run(flavour: str, mutant: Mutant, options: dict[str, Any], check: str) -> Result:
    class Planted(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return mutant(settings.flavour, assets, endpoint, gate, settings.confirmations)

    plugin = Planted(flavour, **options)
    devnet = await plugin.devnet()
    try:
        (result,) = await run_checks(devnet, plugin, only=[check], patience_s=0.3)
    finally:
        await devnet.close()
    return result


@pytest.mark.parametrize(
    ("check", "flavour", "mutant", "options"),
    PLANTED,
    ids=[f"{mutant.__name__}-{flavour}-{check}" for check, flavour, mutant, _ in PLANTED],
)
async def test_a_planted_bug_is_caught(
    check: str, flavour: str, mutant: Mutant, options: dict[str, Any]
) -> None:
    sound = await _run(flavour, ReferenceChain, options, check)
    assert sound.outcome == "passed", sound
    caught = await _run(flavour, mutant, options, check)
    assert caught.outcome == "failed", caught
    assert caught.detail


def test_every_check_has_a_planted_bug() -> None:
    assert {check.name for check in CHECKS} == {check for check, *_ in PLANTED}
    assert all(check.text and check.law for check in CHECKS)
