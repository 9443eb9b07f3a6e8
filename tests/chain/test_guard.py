"""The guard: identity, time, rate, errors and what is logged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from chain_adapter.chain import (
    Unavailable,
    WrongNetwork,
)
from chain_adapter.errors import StoreError
from chain_adapter.guard import Guard, labels
from chain_adapter.registry import settings_of
from chain_adapter.sandbox.reference import (
    ReferenceDevnet,
    ReferencePlugin,
)
from tests.chain.stage import LIMITS, START, Make, Stage

# --- identity -----------------------------------------------------------------------------------


async def test_first_identity_is_recorded_before_anything_is_answered(make_ledger: Make) -> None:
    recorded: list[str] = []

    async def record(identity: str) -> None:
        await asyncio.sleep(0)
        recorded.append(identity)

    stage = Stage(make_ledger(), on_identity=record)
    await stage.run(stage.guard.head())
    assert recorded == [stage.ledger.identity]
    assert await stage.run(stage.guard.identity()) == stage.ledger.identity
    assert recorded == [stage.ledger.identity]


async def test_what_cannot_be_recorded_is_not_pinned(make_ledger: Make) -> None:
    def refuse(_: str) -> None:
        raise StoreError("disk full")

    stage = Stage(make_ledger(), "a", on_identity=refuse)
    with pytest.raises(StoreError):
        await stage.run(stage.guard.head())
    assert stage.ways["a"].calls["head"] == 0


async def test_an_endpoint_of_another_network_is_never_read(make_ledger: Make) -> None:
    other = make_ledger(seed=7)
    stage = Stage(make_ledger())
    stage.ledger.mine(3)
    stage.ways["a"].serves = other
    guard = Guard(
        stage.plugin,
        settings_of(stage.plugin, ReferenceDevnet(stage.ledger).node, "node"),
        ReferenceDevnet(stage.ledger).assets,
        [stage.ledger.url("a"), stage.ledger.url("b")],
        identity=stage.ledger.identity,
        clock=stage.clock,
        limits=LIMITS,
    )
    head = await stage.run(guard.head())
    assert head.ref == stage.ref(3)
    assert stage.ways["a"].calls["head"] == 0
    problems = await stage.run(guard.reach())
    assert isinstance(problems[stage.labels["a"]], WrongNetwork)
    assert problems[stage.labels["b"]] is None


async def test_identity_is_proven_again_after_every_reconnect(make_ledger: Make) -> None:
    other = make_ledger(seed=7)
    stage = Stage(make_ledger(), "a")
    stage.ledger.mine(2)
    other.mine(9)
    await stage.run(stage.guard.head())
    assert stage.ways["a"].calls["identity"] == 1
    stage.ways["a"].down = True
    with pytest.raises(Unavailable):
        await stage.run(stage.guard.head())
    stage.ways["a"].down = False
    stage.ways["a"].serves = other
    heads = stage.ways["a"].calls["head"]
    with pytest.raises(WrongNetwork, match="another network"):
        await stage.run(stage.guard.head())
    assert stage.ways["a"].calls["head"] == heads
    stage.ways["a"].serves = stage.ledger
    assert (await stage.run(stage.guard.head())).ref == stage.ref(2)


async def test_identity_is_asked_now_and_then_without_trouble(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a")
    await stage.run(stage.guard.head())
    stage.ways["a"].serves = make_ledger(seed=7)
    await stage.clock.advance(LIMITS.prove_every_s + 1)
    with pytest.raises(WrongNetwork):
        await stage.run(stage.guard.head())


# --- time, rate, errors -------------------------------------------------------------------------


async def test_a_hanging_endpoint_is_left_after_its_time(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    stage.ways["a"].hangs = True
    begun = stage.clock.monotonic()
    await stage.run(stage.guard.balance(stage.ledger.address(stage.ledger.faucet), stage.native))
    assert stage.clock.monotonic() - begun == LIMITS.request_timeout_s
    with pytest.raises(Unavailable, match="no answer to identity within 5 s"):
        stage.ways["b"].hangs = True
        await stage.run(stage.guard.locate("00"))


async def test_time_is_limited_for_each_block_not_for_all(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a")
    stage.ledger.mine(10)
    stage.ways["a"].latency_s = 4.0
    assert len(await stage.read(START, 10)) == 10
    assert stage.clock.monotonic() >= 40
    stage.ways["a"].latency_s = 6.0
    with pytest.raises(Unavailable, match="within 5 s"):
        await stage.read(START, 10)


async def test_requests_are_spaced_by_the_rate(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, rate_per_s=10, burst=5))
    stage.ledger.mine(54)
    begun = stage.clock.monotonic()
    await stage.read(START, 54)
    assert stage.clock.monotonic() - begun == pytest.approx(5.0)  # 55 requests, 5 at once
    assert len(stage.seen) == 55
    assert {one.outcome for one in stage.seen} == {"ok"}


@pytest.mark.parametrize(
    "error",
    [KeyError("result"), ValueError("bad json"), OSError("reset"), TypeError("None"),
     ZeroDivisionError(), RuntimeError("session is closed"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_foreign_errors_become_unavailable(make_ledger: Make, error: Exception) -> None:
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1))
    stage.ways["a"].fails.append(error)
    with pytest.raises(Unavailable, match=r"(?i)error|no answer"):
        await stage.run(stage.guard.head())
    await stage.run(stage.guard.head())


async def test_a_cancellation_inside_the_plugin_is_trouble(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1))
    await stage.run(stage.guard.head())
    stage.ways["a"].fails.append(asyncio.CancelledError())
    with pytest.raises(Unavailable, match="cancelled inside"):
        await stage.run(stage.guard.head())
    stage.ways["a"].hangs = True
    waiting = asyncio.create_task(stage.guard.head())
    await stage.clock.settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_plugin_may_name_errors_of_its_own_libraries(make_ledger: Make) -> None:
    class LibraryError(Exception):
        pass

    plugin: Any = ReferencePlugin("account")
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1))
    stage.ways["a"].fails.append(LibraryError())
    with pytest.raises(LibraryError):
        await stage.run(stage.guard.head())
    plugin.foreign_errors = (LibraryError,)
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1), plugin=plugin)
    stage.ways["a"].fails.append(LibraryError())
    with pytest.raises(Unavailable, match="LibraryError"):
        await stage.run(stage.guard.head())


async def test_rounds_are_repeated_with_growing_pauses(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), limits=replace(LIMITS, attempts=6, backoff_cap_s=1))
    for way in stage.ways.values():
        way.down = True
    begun = stage.clock.monotonic()
    with pytest.raises(Unavailable):
        await stage.run(stage.guard.locate("00"))
    assert stage.clock.monotonic() - begun == 0.25 + 0.5 + 1 + 1 + 1
    assert stage.ways["a"].calls["identity"] == 6


async def test_trouble_is_logged_once_when_it_begins_and_once_when_it_ends(
    make_ledger: Make,
) -> None:
    with capture_logs() as logs:
        stage = Stage(make_ledger(), "a")
        await stage.run(stage.guard.head())
        stage.ways["a"].down = True
        for _ in range(3):
            with pytest.raises(Unavailable):
                await stage.run(stage.guard.head())
            await stage.clock.advance(100)
        stage.ways["a"].down = False
        for _ in range(3):
            await stage.run(stage.guard.head())
    assert [entry["event"] for entry in logs] == ["endpoint lost", "endpoint back"]
    assert logs[0]["endpoint"] == stage.labels["a"]
    assert logs[1]["gone_s"] >= 300
    ups = [one for one in stage.seen if one.what == "up"]
    assert [one.outcome for one in ups] == ["0", "1"]


def test_labels_hold_no_secret() -> None:
    urls = [
        "https://user:hunter22@eth.example:8545/v3/0123456789abcdef?key=aaaaaaaaaaaa",
        "https://eth.example:8545/v3/other",
        "memory://net/b",
    ]
    assert labels(urls) == ["eth.example:8545", "eth.example:8545#2", "net/b"]


async def test_errors_hold_no_secret(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "a", limits=replace(LIMITS, attempts=1))
    endpoint = stage.guard._endpoints[0]
    url = "https://user:hunter22@eth.example/v3/0123456789abcdef?key=bbbbbbbb"
    endpoint._url = url
    for text in (url, "GET /v3/0123456789abcdef failed", "denied for hunter22", "key=bbbbbbbb"):
        stage.ways["a"].fails.append(Unavailable(f"cannot: {text}"))
        with pytest.raises(Unavailable) as caught:
            await stage.run(stage.guard.head())
        for secret in ("hunter22", "0123456789abcdef", "bbbbbbbb"):
            assert secret not in str(caught.value)
