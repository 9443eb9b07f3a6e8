"""Blocks through one endpoint: windows of blocks, their results, what is ours.

By the method "window" blocks come from `getblockbylimitnext`, several at once; by "solid" each
comes alone, from the solidified interface where that has it already: another call, and another
state of the node. Either way all results of a block (`gettransactioninfobyblocknum`) are read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from chain_adapter.chain import Block, BlockRef, NotOnChain, Rejected, Unavailable, Watch
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.draft import Draft, Move, moves_of, open_block, take_infos
from chain_adapter_tron.node import Node, together
from chain_adapter_tron.proof import TIP_DEPTH, Prover
from chain_adapter_tron.reading import Ours, Reader
from chain_adapter_tron.roots import contradiction
from chain_adapter_tron.settings import Settings
from chain_adapter_tron.wire import BlockHead, BlockList, FullBlock, Info

WINDOW = "window"
SOLID = "solid"


@dataclass(frozen=True, slots=True)
class Source:
    """What every scan of one Chain has in common."""

    node: Node
    settings: Settings
    assets: Assets
    prover: Prover
    holds_roots: bool  # whether blocks are held against their ids


@dataclass(frozen=True, slots=True)
class Part:
    """The blocks of one window, and why the rest of it is missing."""

    blocks: list[Block]
    trouble: Exception | None


class Scan:
    """One call of `blocks`: from `after` to `last`, by one method.

    `head_height` is a height that the chain has reached: near it, balances can be asked.
    """

    def __init__(
        self,
        source: Source,
        after: BlockRef,
        last: int,
        watch: Watch,
        method: str,
        head_height: int,
    ) -> None:
        if method not in (WINDOW, SOLID):
            raise Rejected(f"this plugin reads by {WINDOW} or {SOLID}, not {method}")
        self._node = source.node
        self._where = source.node.name
        self._settings = source.settings
        self._assets = source.assets
        self._prover = source.prover
        self._holds_roots = source.holds_roots
        self._after = after
        self._last = last
        self._method = method
        self._head_height = head_height
        self._solid_height = -1
        self._ours = Ours(watch)
        self._reader = Reader(source.node.name, self._ours, source.assets, source.settings, method)

    async def blocks(self) -> AsyncIterator[Block]:
        """The blocks, in order. Raises `NotOnChain`, `Unavailable`."""
        tip = self._after
        following = self._after.height + 1
        tasks: deque[asyncio.Task[Part]] = deque()
        if self._method == SOLID and following <= self._last:
            self._solid_height = await solid_height(self._node)
        try:
            while following <= self._last or tasks:
                while following <= self._last and len(tasks) < self._settings.window:
                    end = min(following + self._settings.batch - 1, self._last)
                    tasks.append(asyncio.create_task(self._part(following, end)))
                    following = end + 1
                part = await tasks[0]
                tasks.popleft()
                for block in part.blocks:
                    if tip.hash and block.parent_hash != tip.hash:
                        await self._check_tip(tip)
                        raise Unavailable(
                            f"{self._where}: block {block.ref.height} does not follow block "
                            f"{tip.height} that it told before: it changed its mind while we read"
                        )
                    tip = block.ref
                    yield block
                if part.trouble is not None:
                    await self._check_tip(tip)
                    raise part.trouble
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_tip(self, tip: BlockRef) -> None:
        """`NotOnChain` if the node has another block at the tip's height."""
        if not tip.hash:
            return
        block = await self._node.ask("wallet/getblockbynum", {"num": tip.height}, BlockHead)
        if block.blockID and block.blockID.lower() != tip.hash.lower():
            raise NotOnChain(
                f"{self._where}: block {tip.height} is {block.blockID} there, ours is {tip.hash}"
            )

    # --- one window -----------------------------------------------------------------------------

    async def _part(self, first: int, last: int) -> Part:
        found = await self._fetch(first, last)
        drafts: list[Draft] = []
        trouble: Exception | None = None
        for height, block in enumerate(found, first):
            if block is None:
                trouble = Unavailable(f"{self._where} lacks block {height}")
                break
            wrong = contradiction(block) if self._holds_roots and height else None
            if wrong is not None:
                raise Unavailable(f"{self._where}: block {height}: {wrong}")
            drafts.append(open_block(self._where, height, block))
        if not self._ours.nothing:
            await together(*(self._results(draft) for draft in drafts))
        return Part([await self._finish(draft) for draft in drafts], trouble)

    async def _fetch(self, first: int, last: int) -> list[FullBlock | None]:
        if self._method == SOLID:
            return await together(*(self._fetch_one(height) for height in range(first, last + 1)))
        return await fetch_window(self._node, first, last)

    async def _fetch_one(self, height: int) -> FullBlock | None:
        path = f"{self._interface(height)}/getblockbynum"
        block = await self._node.ask(path, {"num": height}, FullBlock)
        return block if block.blockID else None

    def _interface(self, height: int) -> str:
        return "walletsolidity" if 0 <= height <= self._solid_height else "wallet"

    async def _results(self, draft: Draft) -> None:
        if draft.txs:
            interface = self._interface(draft.ref.height)
            await fetch_infos(self._node, draft, interface)

    async def _finish(self, draft: Draft) -> Block:
        moves = moves_of(self._where, draft, self._assets)
        proofs: dict[tuple[str, str], bool | None] = {}
        height = draft.ref.height
        if height > self._head_height - TIP_DEPTH and self._prover.is_wanted:
            if not self._ours.nothing:
                self._prover.remember(draft, moves)
            holders = self._provable(moves)
            if holders:
                proofs = await self._prover.prove(draft.ref, holders)
        return self._reader.read(draft, moves, proofs)

    def _provable(self, moves: list[Move]) -> set[tuple[str, str]]:
        return {holder for holder in self._reader.holders(moves) if self._prover.wants(holder[0])}


async def solid_height(node: Node) -> int:
    """Height of the newest solidified block. Raises `Unavailable`."""
    head = await node.newest("walletsolidity")
    if not head.blockID:
        raise Unavailable(f"{node.name} tells no solidified block")
    return head.block_header.raw_data.number


async def fetch_window(node: Node, first: int, last: int) -> list[FullBlock | None]:
    """Blocks `first` to `last`; None from the first one on that the node lacks."""
    asked = {"startNum": first, "endNum": last + 1}  # the end is not included
    told = await node.ask("wallet/getblockbylimitnext", asked, BlockList)
    by_height = {block.block_header.raw_data.number: block for block in told.block}
    return [by_height.get(height) for height in range(first, last + 1)]


async def fetch_infos(node: Node, draft: Draft, interface: str = "wallet") -> None:
    """Reads the results of a block into its draft. Raises `Unavailable`."""
    path = f"{interface}/gettransactioninfobyblocknum"
    infos = await node.ask(path, {"num": draft.ref.height}, list[Info])
    take_infos(node.name, draft, infos)
