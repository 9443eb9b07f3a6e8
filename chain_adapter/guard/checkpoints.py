"""Known hashes: an endpoint that shows another block at a checkpoint is on another branch.

Asked when an endpoint proves itself, at the start and after every trouble; and looked at whenever
a block at such a height is read. A node that has thrown its old blocks away proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from chain_adapter.chain import BlockRef, Chain, Watch

NOTHING = Watch(to=frozenset())


def contradicted(checkpoints: Mapping[int, str], ref: BlockRef) -> str | None:
    """What is wrong with a block at a checkpoint's height; None where nothing is."""
    known = checkpoints.get(ref.height)
    if known is None or known.casefold() == ref.hash.casefold():
        return None
    return f"block {ref.height} is {ref.hash}, the checkpoint says {known}: another branch"


async def shown_at(chain: Chain, height: int) -> BlockRef | None:
    """The block that a node has at a height. Raises what its plugin raises."""
    method = chain.info.methods[0].name
    items = chain.blocks(BlockRef(height - 1, ""), height, NOTHING, method)
    async with aclosing(items) as inner:  # type: ignore[type-var]
        async for block in inner:
            return block.ref if block.ref.height == height else None
    return None
