"""What a plugin yields is checked: a block that contradicts itself is trouble, no deposit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from chain_adapter.chain import (
    Block,
    BlockRef,
    Chain,
    Payment,
    Transfer,
    Unavailable,
    Watch,
)
from chain_adapter.sandbox.reference import (
    ReferenceChain,
    ReferencePlugin,
)
from tests.chain.stage import EVERYTHING, LIMITS, START, Make, Stage

# --- what plugins yield -------------------------------------------------------------------------

Bend = Callable[[Block], Block | None]


def _first(block: Block, **changes: Any) -> Block:
    transfers = (replace(block.transfers[0], **changes), *block.transfers[1:])
    return replace(block, transfers=transfers)


def _sent_first(block: Block, **changes: Any) -> Block:
    return replace(block, sent=(replace(block.sent[0], **changes), *block.sent[1:]))


BROKEN: dict[str, Bend] = {
    "a hole": lambda b: None if b.ref.height == 2 else b,
    "a repetition": lambda b: replace(b, ref=replace(b.ref, height=1)),
    "beyond the last": lambda b: replace(b, ref=replace(b.ref, height=b.ref.height + 9)),
    "no hash": lambda b: replace(b, ref=replace(b.ref, hash="")),
    "its own parent": lambda b: replace(b, parent_hash=b.ref.hash),
    "no parent": lambda b: replace(b, parent_hash=""),
    "clock goes back": lambda b: replace(b, clock=-5) if b.ref.height == 3 else b,
    "another method": lambda b: replace(b, method="guess"),
    "no block": lambda b: b.ref,  # type: ignore[return-value, dict-item]
    "height is text": lambda b: replace(b, ref=replace(b.ref, height=str(b.ref.height))),  # type: ignore[arg-type]
    "unknown asset": lambda b: _first(b, asset="GOLD"),
    "negative amount": lambda b: _first(b, amount=-1),
    "amount is no int": lambda b: _first(b, amount=1.5),
    "amount is a bool": lambda b: _first(b, amount=True),
    "no txid": lambda b: _first(b, txid=""),
    "no place": lambda b: _first(b, place=""),
    "another kind of place": lambda b: _first(b, place="dream/1"),
    "a place twice": lambda b: replace(b, transfers=b.transfers * 2),
    "no recipient": lambda b: _first(b, to=""),
    "memo is text": lambda b: _first(b, memo="7"),
    "proof is a word": lambda b: _first(b, proof="yes"),
    "sent twice": lambda b: replace(b, sent=b.sent * 2),
    "a lock twice": lambda b: _sent_first(b, locks=("x", "x")),
    "negative fee": lambda b: _sent_first(b, fee=-1),
    "fee of another asset": lambda b: _sent_first(b, fee_asset="GOLD"),
    "failed yet moved": lambda b: _sent_first(b, ok=False),
    "moved nothing known": lambda b: _sent_first(b, moved=(Payment("GOLD", "x", 1),)),
    "moved without amount": lambda b: _sent_first(b, moved=(Payment("REF", "x", None),)),
}


def bent_plugin(bend: Bend) -> ReferencePlugin:
    class Bent(ReferenceChain):
        async def blocks(
            self, after: BlockRef, last: int, watch: Watch, method: str | None = None
        ) -> AsyncIterator[Block]:
            async for block in super().blocks(after, last, watch, method):
                made = bend(block)
                if made is not None:
                    yield made

    class BentPlugin(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return Bent(settings.flavour, assets, endpoint, gate)

    return BentPlugin()


@pytest.mark.parametrize("bend", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_block_is_trouble_and_no_block(make_ledger: Make, bend: Bend) -> None:
    watch = Watch(to=EVERYTHING, senders=EVERYTHING)
    good = await _read_paid(make_ledger, lambda block: block, watch)
    assert good
    assert all(block.transfers and block.sent for block in good)
    with pytest.raises(Unavailable, match="broken answer"):
        await _read_paid(make_ledger, bend, watch)


async def _read_paid(make_ledger: Make, bend: Bend, watch: Watch) -> list[Block]:
    stage = Stage(make_ledger(), "a", plugin=bent_plugin(bend), limits=replace(LIMITS, attempts=1))
    for amount in (1, 2, 3):
        stage.ledger.pay(stage.ledger.address(b"\x04" * 20), amount)
        stage.ledger.mine()

    async def collect() -> list[Block]:
        return [block async for block in stage.guard.blocks(stage.ref(0), 3, watch)]

    made: list[Block] = await stage.run(collect())
    return made


async def test_a_broken_endpoint_is_replaced_by_a_sound_one(make_ledger: Make) -> None:
    count = 0

    def once(block: Block) -> Block:
        nonlocal count
        count += 1
        twice = (Transfer("t", "value", "REF", "x", 1),) * 2
        return replace(block, transfers=twice) if count == 2 else block

    stage = Stage(make_ledger(), plugin=bent_plugin(once))
    stage.ledger.mine(4)
    blocks = await stage.read(START, 4)
    assert [block.ref for block in blocks] == [stage.ref(h) for h in range(1, 5)]
    assert stage.guard.reader_of(blocks[1].ref) == stage.labels["b"]


async def test_skipped_heights_need_the_parent_for_proof(make_ledger: Make) -> None:
    hashes = {0: "h0", 2: "h2", 5: "h5"}

    class Skipping(ReferenceChain):
        async def blocks(
            self, after: BlockRef, last: int, watch: Watch, method: str | None = None
        ) -> AsyncIterator[Block]:
            for height, parent in ((2, "h0"), (5, "h2")):
                if after.height < height <= last:
                    ref = BlockRef(height, hashes[height])
                    yield Block(ref, parent, 0, height, (), (), "scan", True)

    class SkippingPlugin(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return Skipping(settings.flavour, assets, endpoint, gate)

    stage = Stage(make_ledger(), "a", plugin=SkippingPlugin(), limits=replace(LIMITS, attempts=1))
    blocks = await stage.read(BlockRef(0, "h0"), 7)
    assert [block.ref.height for block in blocks] == [2, 5]
    assert await stage.run(stage.guard.agreed_hash(3)) == {stage.labels["a"]: None}
    with pytest.raises(Unavailable, match="a hole"):
        await stage.read(BlockRef(0, ""), 7)
