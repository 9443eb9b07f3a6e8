"""The guard over endpoints that fail, lag, lie and fork while it reads."""

from __future__ import annotations

from dataclasses import replace

import coincurve
import pytest
from structlog.testing import capture_logs

from chain_adapter.chain import (
    Block,
    BlockRef,
    FeeAboveLimit,
    NotOnChain,
    Rejected,
    Unavailable,
    Watch,
)
from tests.chain.stage import ALL, LIMITS, START, Make, Stage

# --- failover -----------------------------------------------------------------------------------


async def test_a_read_resumes_elsewhere_after_the_last_block(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "abc")
    stage.ledger.mine(30)
    stage.ways["a"].breaks_after = 10
    stage.ways["b"].breaks_after = 5
    blocks = await stage.read(START, 30)
    assert [block.ref.height for block in blocks] == list(range(1, 31))
    readers = [stage.guard.reader_of(block.ref) for block in blocks]
    assert readers == [stage.labels["a"]] * 10 + [stage.labels["b"]] * 5 + [stage.labels["c"]] * 15
    assert stage.guard.reader_of(BlockRef(1, "unread")) is None


async def test_a_single_endpoint_that_breaks_again_and_again_still_gets_there(
    make_ledger: Make,
) -> None:
    stage = Stage(make_ledger(), "a")
    stage.ledger.mine(30)
    stage.ways["a"].breaks_after = 2
    assert len(await stage.read(START, 30)) == 30


async def test_a_resumed_read_knows_the_coins_it_has_shown(make_ledger: Make) -> None:
    stage = Stage(make_ledger("coin"))
    key = coincurve.PrivateKey(b"\x07" * 32)
    mine = stage.guard.address_of(key.public_key.format())
    txid = stage.ledger.pay(mine, 10**8)
    stage.ledger.mine()
    stage.ledger.use_lock(f"{txid}:0", [(stage.ledger.address(stage.ledger.faucet), 10**7)])
    stage.ledger.mine()
    stage.ways["a"].breaks_after = 1
    watch = Watch(to=frozenset({stage.guard.address_key(mine)}))

    async def collect() -> list[Block]:
        return [block async for block in stage.guard.blocks(START, 2, watch)]

    blocks = await stage.run(collect())
    assert stage.guard.reader_of(blocks[1].ref) == stage.labels["b"]
    assert [sent.locks for sent in blocks[1].sent] == [(f"{txid}:0",)]


async def test_a_fork_between_two_endpoints_is_not_glued_together(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    stage.ledger.mine(20)
    stage.ways["a"].breaks_after = 10
    stage.ways["b"].lies_from = 8
    with pytest.raises(NotOnChain):
        await stage.read(START, 20)


async def test_answers_do_not_make_an_endpoint_sick(make_ledger: Make) -> None:
    with capture_logs() as logs:
        stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1))
        await stage.run(stage.guard.head())
        for answer in (Rejected("no"), NotOnChain("gone"), FeeAboveLimit("dear")):
            stage.ways["a"].fails.append(answer)
            with pytest.raises(type(answer)):
                await stage.run(stage.guard.locate("00"))
    assert logs == []
    assert stage.guard.health()[0].up
    assert stage.ways["a"].calls["identity"] == 1


async def test_the_caller_may_stop_reading_at_any_block(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a")
    stage.ledger.mine(5)
    items = stage.guard.blocks(START, 5, ALL)
    first = await stage.run(anext(items))
    await stage.run(items.aclose())  # type: ignore[attr-defined]
    assert first.ref == stage.ref(1)
    assert stage.guard.health()[0].up


# --- heads --------------------------------------------------------------------------------------


async def test_a_lagging_endpoint_is_left_and_named(make_ledger: Make) -> None:
    with capture_logs() as logs:
        stage = Stage(make_ledger())
        stage.ledger.mine(20)
        stage.ways["a"].lag = 10
        assert (await stage.run(stage.guard.head())).ref == stage.ref(20)
    assert [(one["event"], one["endpoint"]) for one in logs] == [
        ("endpoint lags", stage.labels["a"])
    ]


async def test_a_standing_head_is_noticed_soon(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    stage.ledger.mine(5)
    head = await stage.run(stage.guard.head())
    stage.ways["a"].stalled_at = 5
    stage.ledger.mine(5)
    begun = stage.clock.monotonic()
    assert (await stage.run(stage.guard.head(head))).ref == stage.ref(10)
    assert stage.clock.monotonic() - begun <= 15


async def test_a_head_that_moves_back_is_noted(make_ledger: Make) -> None:
    with capture_logs() as logs:
        stage = Stage(make_ledger(), "a")
        stage.ledger.mine(5)
        await stage.run(stage.guard.head())
        stage.ways["a"].back = 3
        assert (await stage.run(stage.guard.head())).ref == stage.ref(2)
    assert [(one["event"], one["to_height"]) for one in logs] == [("head moved back", 2)]


async def test_the_guard_stays_where_it_went(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    stage.ways["a"].down = True
    await stage.run(stage.guard.head())
    stage.ways["a"].down = False
    await stage.clock.advance(20)
    asked = stage.ways["a"].calls["head"]
    for _ in range(5):
        await stage.run(stage.guard.head())
    assert stage.ways["a"].calls["head"] <= asked + 1  # a comparison, no more


async def test_one_that_lacks_blocks_below_its_head_comes_last(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    stage.ledger.mine(10)
    await stage.run(stage.guard.head())
    stage.ways["a"].breaks_after = 0
    blocks = await stage.read(START, 10)
    assert {stage.guard.reader_of(block.ref) for block in blocks} == {stage.labels["b"]}
    await stage.clock.advance(30)
    await stage.read(START, 10)
    assert stage.guard.reader_of(stage.ref(10)) == stage.labels["b"]


# --- comparison ---------------------------------------------------------------------------------


async def test_agreed_hash_over_all_endpoints(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "abc")
    stage.ledger.mine(10)
    stage.ways["b"].lies_from = 5
    stage.ways["c"].down = True
    found = await stage.run(stage.guard.agreed_hash(4))
    assert found == {
        stage.labels["a"]: stage.ref(4).hash,
        stage.labels["b"]: stage.ref(4).hash,
        stage.labels["c"]: None,
    }
    found = await stage.run(stage.guard.agreed_hash(5))
    assert found[stage.labels["a"]] == stage.ref(5).hash != found[stage.labels["b"]]
    assert found[stage.labels["b"]] is not None
    assert (await stage.run(stage.guard.agreed_hash(11)))[stage.labels["a"]] is None


async def test_the_second_look_is_by_another_method_at_another_endpoint(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    to = stage.ledger.address(b"\x09" * 20)
    txid = stage.ledger.give([(to, 5)])
    stage.ledger.mine(2)
    stage.ways["a"].hidden.add((txid, None))
    first = await stage.read(START, 1)
    assert first[0].transfers == ()
    assert first[0].method == "scan"

    async def collect() -> list[Block]:
        items = stage.guard.second(START, 1, ALL, first[0].ref)
        return [block async for block in items]

    again = await stage.run(collect())
    assert [(one.txid, one.amount) for one in again[0].transfers] == [(txid, 5)]
    assert again[0].method == "receipts"
    assert stage.guard.reader_of(again[0].ref) == stage.labels["b"]
    # The other one must be asked: when it is down there is no second look.
    stage.ways["a"].down = True
    with pytest.raises(Unavailable):
        await stage.run(collect())


async def test_the_only_endpoint_gives_the_second_look_too(make_ledger: Make) -> None:
    stage = Stage(make_ledger("memo"), "a")
    stage.ledger.mine()
    first = await stage.read(START, 1)
    assert await stage.read(START, 1, avoid=stage.labels["a"]) == first
    with pytest.raises(ValueError, match="no method"):
        await stage.read(START, 1, method="guess")
