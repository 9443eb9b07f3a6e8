"""Planted bugs of reading and names."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from chain_adapter.chain import (
    Balance,
    Block,
    BlockRef,
    Head,
    Unavailable,
    Watch,
)
from chain_adapter.sandbox.reference import ReferenceChain
from tests.chain.mutants import Reading, bug, transfers_with

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
        return transfers_with(block, place=f"value/{block.ref.height % 1000}")


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
