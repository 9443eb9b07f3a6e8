"""How blocks follow each other and when they are final: pure functions of values.

`final_height` says up to where a head makes blocks final, by a source that is fixed at the first
start; `broken_link` finds where a run of blocks stops being one chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from chain_adapter.chain import Block, ChainInfo, Head

FOLLOWING = 32
"""A tip that is at most so many blocks behind the head follows it; further back it catches up."""

BATCH = 64
"""Most blocks in one commit while catching up."""


class Finality(StrEnum):
    """Where finality comes from. Recorded at the first start, never switched silently."""

    OPERATOR = "confirmations"  # the operator's `confirmations`
    CHAIN = "chain"  # the chain's own final height
    DEFAULT = "default"  # the plugin's default depth


def source_of(confirmations: int | None, head: Head) -> Finality:
    """Which source applies at a first start (docs/laws.md §1, "final")."""
    if confirmations is not None:
        return Finality.OPERATOR
    return Finality.DEFAULT if head.final_height is None else Finality.CHAIN


def final_height(
    source: Finality, confirmations: int | None, info: ChainInfo, head: Head
) -> int | None:
    """The newest height that is final under `head`; None when the head does not tell.

    confirmations of a block = head - height + 1. A plugin whose blocks become irreversible
    demands that besides, whatever the operator set.
    """
    if source is Finality.CHAIN:
        return head.final_height
    depth = info.confirmations if source is Finality.DEFAULT else confirmations
    if depth is None:
        return None
    by_depth = head.ref.height - depth + 1
    if not info.irreversible:
        return by_depth
    return None if head.final_height is None else min(by_depth, head.final_height)


def is_following(tip_height: int, head_height: int) -> bool:
    """Whether the tip follows the head, so that every block is looked at twice."""
    return head_height - tip_height <= FOLLOWING


def broken_link(parent_hash: str, blocks: Sequence[Block]) -> int | None:
    """Index of the first block that does not name the one before it as its parent.

    `parent_hash` is the hash of our tip, empty at a cold start: then any parent is right.
    """
    expected = parent_hash
    for index, block in enumerate(blocks):
        if expected and block.parent_hash != expected:
            return index
        expected = block.ref.hash
    return None


def is_too_deep(popped: int, reorg_limit: int) -> bool:
    """Whether a reorganisation that has popped so many blocks stops the chain."""
    return popped > reorg_limit
