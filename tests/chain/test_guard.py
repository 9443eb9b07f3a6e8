"""The guard over endpoints of the reference chain that fail, lie, lag, fork, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import coincurve
import pytest
from structlog.testing import capture_logs

from chain_adapter.chain import (
    Block,
    BlockRef,
    Chain,
    FeeAboveLimit,
    Intent,
    InvalidAddress,
    NotOnChain,
    Payment,
    Rejected,
    SignedTx,
    Transfer,
    Unavailable,
    Watch,
    WrongNetwork,
)
from chain_adapter.errors import StoreError
from chain_adapter.guard import Guard, Limits, Observation, labels
from chain_adapter.registry import settings_of
from chain_adapter.sandbox.reference import (
    ReferenceChain,
    ReferenceDevnet,
    ReferenceLedger,
    ReferencePlugin,
)
from chain_adapter.testing import VirtualClock

LIMITS = Limits(request_timeout_s=5, item_timeout_s=5, head_wait_s=10)
Make = Callable[..., ReferenceLedger]
EVERYTHING: Any = type("Everything", (), {"__contains__": lambda self, _: True})()
ALL = Watch(to=EVERYTHING)


class Stage:
    """A ledger with endpoints a, b, …, a virtual clock, and a guard over them."""

    def __init__(self, ledger: ReferenceLedger, ways: str = "ab", **options: Any) -> None:
        self.ledger = ledger
        self.clock = VirtualClock()
        ledger.clock = self.clock
        self.ways = {name: ledger.endpoint(name) for name in ways}
        self.labels = {name: f"{ledger.name}/{name}" for name in ways}
        self.seen: list[Observation] = []
        self.plugin: Any = options.pop("plugin", ReferencePlugin(ledger.flavour))
        devnet = ReferenceDevnet(ledger)
        self.native = next(iter(devnet.assets))
        options.setdefault("limits", LIMITS)
        self.guard = Guard(
            self.plugin,
            settings_of(self.plugin, devnet.node, "node"),
            devnet.assets,
            [ledger.url(name) for name in ways],
            clock=self.clock,
            observe=self.seen.append,
            **options,
        )

    async def run(self, work: Any, limit_s: float = 3600) -> Any:
        """The result of a coroutine, in virtual time."""
        task = asyncio.ensure_future(work)
        await self.clock.run_until(task.done, limit_s)
        return task.result()

    async def read(self, after: BlockRef, last: int, **options: Any) -> list[Block]:
        async def collect() -> list[Block]:
            return [block async for block in self.guard.blocks(after, last, ALL, **options)]

        made: list[Block] = await self.run(collect())
        return made

    def ref(self, height: int) -> BlockRef:
        return BlockRef(height, self.ledger.block(height).hash)


START = BlockRef(0, "")


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


# --- paying -------------------------------------------------------------------------------------

KEY = coincurve.PrivateKey(b"\x05" * 32)


def signed(stage: Stage, payload: bytes, key: coincurve.PrivateKey = KEY) -> SignedTx:
    wanted = stage.guard.inspect(payload).to_sign
    return stage.guard.assemble(
        payload, [key.sign_recoverable(one.message, hasher=None) for one in wanted]
    )


async def funded(stage: Stage) -> Intent:
    public = KEY.public_key.format()
    mine = stage.guard.address_of(public)
    stage.ledger.pay(mine, 10**9)
    stage.ledger.mine()
    to = stage.ledger.address(stage.ledger.faucet)
    return Intent(mine, public, (Payment(stage.native, to, 10**6),), fee_limit=10**8)


async def test_a_broadcast_goes_to_all_and_one_success_is_enough(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "abc")
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    stage.ways["a"].down = True
    stage.ways["b"].refuses = "underpriced"
    await stage.run(stage.guard.broadcast(tx))
    await stage.clock.settle()
    assert stage.ledger.pending() == (tx.txid,)
    assert stage.ways["b"].calls["broadcast"] == stage.ways["c"].calls["broadcast"] == 1


async def test_a_slow_endpoint_does_not_hold_up_a_broadcast(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    await stage.run(stage.guard.head())
    stage.ways["b"].latency_s = 4
    begun = stage.clock.monotonic()
    await stage.run(stage.guard.broadcast(tx))
    assert stage.clock.monotonic() == begun
    await stage.clock.advance(10)
    assert stage.ways["b"].calls["broadcast"] == 1
    await stage.run(stage.guard.close())


async def test_rejected_only_if_all_reject(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    stage.ways["a"].refuses = stage.ways["b"].refuses = "nonce too low"
    with pytest.raises(Rejected, match="nonce too low"):
        await stage.run(stage.guard.broadcast(tx))
    assert all(one.up for one in stage.guard.health())
    stage.ways["b"].refuses = None
    stage.ways["b"].loses_answers = True
    with pytest.raises(Unavailable):
        await stage.run(stage.guard.broadcast(tx))
    assert stage.ledger.pending() == (tx.txid,)


async def test_for_good_needs_every_endpoint_that_answers(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    intent = await funded(stage)
    stage.ledger.revert(intent.payments[0].to)
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert caught.value.for_good
    stage.ledger.revert(intent.payments[0].to, False)
    stage.ways["a"].fails.append(Rejected("reverts", for_good=True))
    await stage.run(stage.guard.reach())  # identity proven, the error is used up
    stage.ways["a"].fails.append(Rejected("reverts", for_good=True))
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert not caught.value.for_good
    stage.ledger.revert(intent.payments[0].to)
    stage.ways["b"].down = True
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert caught.value.for_good


async def test_pure_methods_let_no_foreign_error_through(make_ledger: Make) -> None:
    class Careless(ReferenceChain):
        def parse_address(self, text: str) -> str:
            return {"good": "good"}[text]

        def inspect(self, payload: bytes) -> Any:
            return payload[99]

    class CarelessPlugin(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return Careless(settings.flavour, assets, endpoint, gate)

    stage = Stage(make_ledger(), "a", plugin=CarelessPlugin())
    with pytest.raises(InvalidAddress):
        stage.guard.parse_address("bad")
    with pytest.raises(InvalidAddress):
        stage.guard.address_key("bad")
    with pytest.raises(Rejected):
        stage.guard.inspect(b"")
    with pytest.raises(Rejected):
        stage.guard.assemble(b"", [])


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
