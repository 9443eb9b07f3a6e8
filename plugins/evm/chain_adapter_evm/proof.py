"""Deposits of a token held against the balance: what came must be what the logs say (D-12).

For every (contract, address) with a credit in a block, `balanceOf` at the block less that at its
parent must equal the block's Transfer logs in less those out. A node without that old state leaves
the proof unmade; near the head, where every node has it, an error means: ask again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chain_adapter.chain import Unavailable
from chain_adapter_evm.codec import word
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.wire import TEXTS

Holder = tuple[str, bytes]
"""A contract in its EIP-55 spelling, and the 20 bytes of an address."""

_BALANCE_OF = "0x70a08231"
_INVALID_PARAMS = -32602
TIP_DEPTH = 8
"""Blocks below the head where every node still has the state."""


def balance_call(contract: str, owner: bytes) -> dict[str, str]:
    """The `eth_call` object of `balanceOf(owner)`."""
    return {"to": contract, "data": _BALANCE_OF + owner.hex().rjust(64, "0")}


async def prove(
    node: Node,
    block: tuple[int, str],
    parent: tuple[int, str],
    expected: Mapping[Holder, int],
    *,
    at_tip: bool,
) -> dict[Holder, bool | None]:
    """True: proven. False: refuted. None: the node cannot tell. Raises `Unavailable`."""
    holders = list(expected)
    calls = [balance_call(*holder) for holder in holders]
    verdicts: dict[Holder, bool | None] = {}
    answers = await _at_both(node, calls, block, parent)
    for holder, after, before in zip(holders, answers[0], answers[1], strict=True):
        gained = _balance(after)
        had = 0 if before == "0x" else _balance(before)  # "0x": no contract there yet
        untold = [a for a in (after, before) if not isinstance(a, str) and not _reverted(a)]
        if untold:
            if at_tip and not (isinstance(untold[0], NodeError) and untold[0].no_state):
                raise Unavailable(f"no balance proof at the tip: {untold[0]}")
            verdicts[holder] = None
        else:
            known = gained is not None and had is not None
            verdicts[holder] = known and (gained or 0) - (had or 0) == expected[holder]
    return verdicts


def _reverted(answer: NodeError | None) -> bool:
    return answer is not None and answer.reverted


def _balance(answer: str | NodeError | None) -> int | None:
    if not isinstance(answer, str):
        return None
    try:
        return word(answer)
    except ValueError:
        return None


async def _at_both(
    node: Node,
    calls: Sequence[dict[str, str]],
    block: tuple[int, str],
    parent: tuple[int, str],
) -> tuple[Sequence[str | NodeError | None], Sequence[str | NodeError | None]]:
    """Balances at the block and at its parent, by hash where the node takes one (EIP-1898)."""
    by_hash = [[call, {"blockHash": at[1]}] for at in (block, parent) for call in calls]
    answers = await node.batch("eth_call", by_hash, TEXTS)
    if any(isinstance(a, NodeError) and a.code == _INVALID_PARAMS and not a.no_state
           for a in answers):  # fmt: skip
        by_height = [[call, hex(at[0])] for at in (block, parent) for call in calls]
        answers = await node.batch("eth_call", by_height, TEXTS)
    return answers[: len(calls)], answers[len(calls) :]
