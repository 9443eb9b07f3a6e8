"""Value moved by contracts, out of `trace_block` or, where that is missing, `callTracer`.

Both are brought to one form: calls that carry value, named by their trace address, the same by
either. A failure goes down the tree: what stands below a failed call did not happen, though it
carries no error of its own. The outermost call is the transaction's own value and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from chain_adapter.chain import Unavailable
from chain_adapter_evm.wire import Frame, Trace, TxFrames

_LAST_PRECOMPILE = 0x1FF  # rollups put theirs up to 0x1ff; ordinary addresses are never so small


@dataclass(frozen=True, slots=True)
class Call:
    """Value that a contract moved, or tried to: addresses and amount are the node's hex."""

    txid: str
    address: tuple[int, ...]  # trace address
    sender: str
    to: str
    value: str


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one block that carry value, dead ones too; `traces` tells those apart."""

    calls: list[Call]
    traces: Sequence[Trace] = ()

    def settle(self, hits: Sequence[tuple[Call, bytes]]) -> list[tuple[Call, bytes]]:
        """The hits that took effect, under the trace address that every node would give them."""
        if not self.traces or not hits:
            return list(hits)
        txids = {call.txid for call, _ in hits}
        failed: set[tuple[str, tuple[int, ...]]] = set()
        uncounted: set[tuple[str, tuple[int, ...]]] = set()
        for trace in self.traces:
            if trace.transactionHash in txids:
                place = (trace.transactionHash, tuple(trace.traceAddress))
                if trace.error is not None:
                    failed.add(place)
                if trace.type == "call" and _uncounted(trace.action.to, trace.action.value):
                    uncounted.add(place)
        settled = []
        for call, key in hits:
            depths = range(len(call.address) + 1)
            if any((call.txid, call.address[:depth]) in failed for depth in depths):
                continue
            address = tuple(
                index - sum((call.txid, (*above, earlier)) in uncounted for earlier in range(index))
                for above, index in [
                    (call.address[:depth], index) for depth, index in enumerate(call.address)
                ]
            )
            settled.append((replace(call, address=address), key))
        return settled


def _uncounted(to: str | None, value: str | None) -> bool:
    """A call of a precompile that carries nothing: some nodes tell it and some do not."""
    if to is None or value not in (None, "0x0") or not to.startswith("0x" + "0" * 36):
        return False
    return 0 < int(to, 16) <= _LAST_PRECOMPILE


def from_traces(
    where: str, traces: Sequence[Trace], block_hash: str, txids: Collection[str]
) -> Calls:
    """Calls of a block from `trace_block`; `Unavailable` if a transaction has no trace in it."""
    if any(trace.blockHash != block_hash for trace in traces if trace.blockHash is not None):
        raise Unavailable(f"{where}: traces belong to another block than {block_hash}")
    if not {trace.transactionHash for trace in traces}.issuperset(txids):
        raise Unavailable(f"{where}: traces of block {block_hash} are not complete")
    found: list[Call] = []
    for trace in traces:
        action = trace.action
        kind = trace.type
        if kind == "call":
            if action.value == "0x0" or not trace.traceAddress or action.callType != "call":
                continue
            sender, to, value = action.sender, action.to, action.value
        elif kind == "create" and trace.traceAddress:
            to = trace.result.address if trace.result is not None else None
            sender, value = action.sender, action.value
        elif kind in ("suicide", "selfdestruct"):
            sender, to, value = action.address, action.refundAddress, action.balance or "0x0"
        else:
            continue
        if value != "0x0" and to and sender and sender != to and trace.transactionHash:
            found.append(Call(trace.transactionHash, tuple(trace.traceAddress), sender, to, value))
    return Calls(found, traces)


def from_frames(where: str, answers: Sequence[TxFrames], txids: Sequence[str]) -> Calls:
    """Calls of a block from `callTracer`, whose answers stand in the order of the transactions."""
    if len(answers) != len(txids):
        raise Unavailable(f"{where}: callTracer told {len(answers)} of {len(txids)} transactions")
    found: list[Call] = []
    for answer, txid in zip(answers, txids, strict=True):
        if answer.result is None or (answer.txHash is not None and answer.txHash != txid):
            why = answer.error or "another transaction's trace"
            raise Unavailable(f"{where}: callTracer failed on {txid}: {why[:200]}")
        if answer.result.error is None:
            _walk(txid, answer.result, (), found)
    return Calls(found)


def _walk(txid: str, root: Frame, address: tuple[int, ...], found: list[Call]) -> None:
    stack = [(root, address)]
    while stack:
        frame, address = stack.pop()
        index = 0
        for inner in frame.calls or ():
            value = inner.value or "0x0"
            if inner.type != "SELFDESTRUCT" and _uncounted(inner.to, value):
                continue
            place = (*address, index)
            index += 1
            if inner.error is not None:
                continue
            if inner.type in ("CALL", "CREATE", "CREATE2", "SELFDESTRUCT"):
                sender, to = inner.sender, inner.to
                if value != "0x0" and sender and to and sender != to:
                    found.append(Call(txid, place, sender, to, value))
            stack.append((inner, place))
