"""Planted bugs: mutants of the reference chain, each with the check that must catch it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from chain_adapter.chain import (
    Block,
    BlockRef,
    Watch,
)
from chain_adapter.sandbox.reference import ReferenceChain

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


def transfers_with(block: Block, **changes: Any) -> Block:
    return replace(block, transfers=tuple(replace(one, **changes) for one in block.transfers))


def sent_with(block: Block, **changes: Any) -> Block:
    return replace(block, sent=tuple(replace(one, **changes) for one in block.sent))
