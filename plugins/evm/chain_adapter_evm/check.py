"""What a node must be able to do, and the contracts it must have, before anything is read.

A configured contract without code, or with other decimals than configured, is refused: amounts
would be wrong by powers of ten. Traces are probed, not assumed. A node that keeps no state cannot
be asked about contracts, and is read all the same.
"""

from __future__ import annotations

from chain_adapter.chain import Rejected, Unavailable
from chain_adapter_evm.match import Token, number
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.scan import CALL_TRACER, TRACE_BLOCK
from chain_adapter_evm.wire import FRAMES, TEXTS, TRACES

_DECIMALS = "0x313ce567"


async def check_token(node: Node, token: Token) -> None:
    """`Rejected` if the chain contradicts the configuration of a token, else nothing."""
    call = {"to": token.address, "data": _DECIMALS}
    (code,) = await node.batch("eth_getCode", [[token.address, "latest"]], TEXTS)
    (told,) = await node.batch("eth_call", [[call, "latest"]], TEXTS)
    for answer in (code, told):
        if isinstance(answer, NodeError) and not (answer.no_state or answer.reverted):
            raise answer
    if code in ("0x", "0x0"):
        (syncing,) = await node.mixed([("eth_syncing", [])])
        if syncing not in (b"false", b"null") and not isinstance(syncing, NodeError):
            raise Unavailable(f"{node.name} is syncing, and has no contract of {token.name} yet")
        raise Rejected(f"{token.name}: there is no contract at {token.address} on {node.name}")
    if isinstance(told, NodeError) and told.no_state:
        return
    if not isinstance(told, str) or told == "0x":
        raise Rejected(
            f"{token.name}: the contract {token.address} tells no decimals: is it a token?"
        )
    on_chain = number(node.name, told[:66])
    if on_chain != token.decimals:
        raise Rejected(
            f"{token.name}: the contract {token.address} has {on_chain} decimals, configured are "
            f"{token.decimals}"
        )


async def probe_traces(node: Node, wanted: str) -> str | None:
    """TRACE_BLOCK, CALL_TRACER, or None where the node has neither or they are off.

    `wanted` is the setting `traces`. Raises `Unavailable` when they are required and missing.
    """
    if wanted == "off":
        return None
    (traces,) = await node.batch(TRACE_BLOCK, [["latest"]], TRACES)
    if not isinstance(traces, NodeError):
        return TRACE_BLOCK
    if not traces.no_such_method:
        raise traces
    params = ["latest", {"tracer": CALL_TRACER}]
    (frames,) = await node.batch("debug_traceBlockByNumber", [params], FRAMES)
    if not isinstance(frames, NodeError):
        return CALL_TRACER
    if not frames.no_such_method:
        raise frames
    if wanted == "required":
        raise Unavailable(
            f"{node.name} has neither trace_block nor callTracer, and traces are required"
        )
    return None
