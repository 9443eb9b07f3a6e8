"""What a plugin yields is checked before anyone books it.

A block that contradicts itself, the one before it, or the configuration is trouble of the endpoint
(`Unavailable`), never a deposit. One whose parent is not the block before it means that the branch
has changed: `NotOnChain`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from chain_adapter.chain import (
    Block,
    BlockRef,
    ChainInfo,
    Family,
    Method,
    NotOnChain,
    Payment,
    Sent,
    Transfer,
    Unavailable,
)
from chain_adapter.guard.checkpoints import contradicted


class Vet:
    """The checks for one chain as configured. What is no `Block` at all raises as it may."""

    def __init__(
        self, info: ChainInfo, assets: Container[str], checkpoints: Mapping[int, str]
    ) -> None:
        self._info = info
        self._checkpoints = checkpoints
        self._assets = assets
        self._methods: Mapping[str, Method] = {one.name: one for one in info.methods}

    def block(self, block: Block, at: BlockRef, last: int, method: str, clock: int | None) -> None:
        """`at` is the block before, `clock` its clock if known. `Unavailable`, `NotOnChain`."""
        height, hashed = block.ref.height, block.ref.hash
        if not _whole(height) or not _whole(block.time) or not _whole(block.clock):
            raise Unavailable(f"block {height!r}: height, time and clock are whole numbers")
        if not at.height < height <= last:
            raise Unavailable(f"block {height} after {at.height}, asked up to {last}")
        if not hashed or hashed == block.parent_hash or (not block.parent_hash and height > 0):
            raise Unavailable(f"block {height}: hash {hashed!r}, parent {block.parent_hash!r}")
        wrong = contradicted(self._checkpoints, block.ref)
        if wrong is not None:
            raise Unavailable(wrong)
        if height > at.height + 1 and block.parent_hash != at.hash:
            # A chain may skip heights; then the parent proves that nothing is missing.
            raise Unavailable(f"block {height} follows {at.height}: a hole")
        if at.hash and block.parent_hash != at.hash:
            raise NotOnChain(f"block {height} stands on {block.parent_hash}, not on {at.hash}")
        if clock is not None and block.clock < clock:
            raise Unavailable(f"block {height}: its clock goes back from {clock} to {block.clock}")
        if block.method != method:
            raise Unavailable(f"block {height}: read by {block.method!r}, asked was {method!r}")
        self._transfers(block, self._methods[method].kinds)
        self._sent(block)

    def _transfers(self, block: Block, kinds: Container[str]) -> None:
        seen: set[tuple[str, str]] = set()
        for one in block.transfers:
            where = f"block {block.ref.height}, transfer {one.txid!r} {one.place!r}"
            if not one.txid or not one.place or (one.txid, one.place) in seen:
                raise Unavailable(f"{where}: txid and place name a movement once")
            seen.add((one.txid, one.place))
            if one.place.partition("/")[0] not in kinds:
                raise Unavailable(f"{where}: {block.method!r} sees no such kind")
            wrong = self._transfer(one)
            if wrong is not None:
                raise Unavailable(f"{where}: {wrong}")

    def _transfer(self, one: Transfer) -> str | None:
        if one.asset not in self._assets:
            return f"asset {one.asset!r} is not configured"
        if not _whole(one.amount) or one.amount < 0:
            return f"amount {one.amount!r}"
        if not one.to or not _is(one.to, str):
            return f"recipient {one.to!r}"
        if not _is(one.memo, bytes, type(None)) or not _is(one.proof, bool, type(None)):
            return f"memo {one.memo!r}, proof {one.proof!r}"
        if one.matures is not None and not _whole(one.matures):
            return f"matures {one.matures!r}"
        if self._info.family is Family.COIN and not one.lock:
            return "an output without its lock"
        return None

    def _sent(self, block: Block) -> None:
        txids: set[str] = set()
        locks: set[str] = set()
        for one in block.sent:
            where = f"block {block.ref.height}, sent {one.txid!r}"
            if not one.txid or one.txid in txids:
                raise Unavailable(f"{where}: a transaction stands in a block once")
            txids.add(one.txid)
            if locks.intersection(one.locks) or len(set(one.locks)) != len(one.locks):
                raise Unavailable(f"{where}: a lock is used once")
            locks.update(one.locks)
            wrong = self._outcome(one)
            if wrong is not None:
                raise Unavailable(f"{where}: {wrong}")

    def _outcome(self, one: Sent) -> str | None:
        if not _whole(one.fee) or one.fee < 0 or one.fee_asset != self._info.fee_asset:
            return f"fee {one.fee!r} of {one.fee_asset!r}"
        if not one.ok and one.moved:
            return "it failed, and moved something"
        for payment in one.moved:
            wrong = self._payment(payment)
            if wrong is not None:
                return wrong
        return None

    def _payment(self, one: Payment) -> str | None:
        if one.asset not in self._assets:
            return f"moved {one.asset!r}, which is not configured"
        if not _whole(one.amount) or (one.amount or 0) < 0 or not one.to:
            return f"moved {one.amount!r} to {one.to!r}"
        return None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds)
