"""Endpoints that lie, lag, fork or are gone: crediting waits or pauses, and names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.chain import Unavailable, WrongNetwork
from chain_adapter.config import loads
from chain_adapter.core.quorum import judge
from chain_adapter.errors import ConfigError
from chain_adapter.sandbox.reference import ReferenceLedger
from chain_adapter.store import pauses
from tests.chain.stage import START, Stage
from tests.stories.parts import JumpClock
from tests.workers.watching import CHAIN, Room

MakeRoom = Callable[..., Room]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[MakeRoom]:
    made: list[Room] = []

    def make(**options: Any) -> Room:
        one = Room(f"sqlite:///{tmp_path}/books.db", **options)
        one.store.clock = JumpClock()
        one.restart()
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def alarm(room: Room, code: str) -> Any:
    from chain_adapter.store import schema

    return next(row for row in room.rows(schema.alarms) if row.code == code)


# --- the decision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "quorum", "agreed", "short", "pause"),
    [
        ({"a": "x"}, None, True, False, False),
        ({"a": None}, None, False, True, False),
        ({"a": "x", "b": "x"}, None, True, False, False),
        ({"a": "x", "b": None}, None, True, True, False),
        ({"a": "x", "b": "y"}, None, False, True, True),
        ({"a": "y", "b": "y"}, None, False, True, False),
        ({"a": "x", "b": "x", "c": None}, None, True, False, False),
        ({"a": "x", "b": "x", "c": "y"}, None, False, False, True),
        ({"a": "x", "b": "x", "c": "y"}, 2, True, False, False),
        ({"a": "x", "b": "y", "c": "y"}, 2, False, True, True),
        ({"a": "x", "b": "x", "c": None}, 3, True, True, False),
        ({"a": "x", "b": "x", "c": "y"}, 3, False, True, True),
        ({"a": "x", "b": None, "c": None}, 2, True, True, False),
    ],
)
def test_what_the_answers_mean(
    told: dict[str, str | None], quorum: int | None, agreed: bool, short: bool, pause: bool
) -> None:
    found = judge("x", told, quorum)
    assert (found.is_agreed, found.is_short, found.must_pause) == (agreed, short, pause)
    assert set(found.ours + found.differ + found.silent) == set(told)


def test_whoever_stands_alone_is_named() -> None:
    text = judge("x", {"a": "x", "b": "y", "c": "x"}, 2).text
    assert text == "a, c have x (which we read); b has y: b against the others"
    even = judge("x", {"a": "x", "b": "y"}, None).text
    assert even == "a has x (which we read); b has y"


CONFIG = """
[database]
url = "sqlite:///x.db"
[chains.main]
plugin = "reference"
{more}
[chains.main.node]
endpoints = {endpoints}
[chains.main.assets.REF]
decimals = 9
"""


def configured(more: str, endpoints: int = 3) -> Any:
    urls = [f"memory://net/{number}" for number in range(endpoints)]
    text = CONFIG.format(more=more, endpoints=str(urls).replace("'", '"'))
    return loads(text, Path("/nowhere")).chain("main")


def test_the_settings() -> None:
    plain = configured("")
    assert (plain.quorum, plain.alone_after_s, plain.checkpoints) == (None, 30.0, None)
    one = configured('quorum = 2\nalone_after = "never"\ncheckpoints = { "7" = "0xAB", "9" = "c" }')
    assert (one.quorum, one.alone_after_s) == (2, None)
    assert dict(one.checkpoints) == {7: "0xAB", 9: "c"}


@pytest.mark.parametrize("more", ["quorum = 1", "quorum = 4", "quorum = 0"])
def test_a_quorum_is_more_than_half(more: str) -> None:
    with pytest.raises(ConfigError, match=r"chains\.main\.quorum"):
        configured(more)


@pytest.mark.parametrize("more", ['checkpoints = { "x" = "ab" }', 'checkpoints = { "7" = 1 }'])
def test_a_checkpoint_is_a_height_and_a_hash(more: str) -> None:
    with pytest.raises(ConfigError, match=r"chains\.main\.checkpoints"):
        configured(more)


# --- crediting ------------------------------------------------------------------------------------


async def test_a_fork_pauses_and_names_every_endpoint(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b", "c"))
    r.ledger.pay(r.add(1), 5)
    await r.mine()
    r.ledger.endpoint("b").lies_from = 1
    await r.mine()
    assert r.states() == ["SEEN"]
    assert r.store.read_now(lambda tx: pauses.is_paused(tx, CHAIN, r.native))
    message = alarm(r, "endpoints_differ").message
    assert f"{r.ledger.name}/b against the others" in message
    assert message.startswith("block 1: ")


async def test_a_quorum_outvotes_one_endpoint_and_names_it(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b", "c"), chain={"quorum": 2})
    r.ledger.pay(r.add(1), 5)
    await r.mine()
    r.ledger.endpoint("b").lies_from = 1
    await r.mine()
    assert r.states() == ["CONFIRMED"]
    assert r.alarms() == {"endpoint_outvoted"}
    assert f"{r.ledger.name}/b against the others" in alarm(r, "endpoint_outvoted").message
    r.ledger.endpoint("b").lies_from = None
    await r.mine()
    assert r.alarms() == set()


async def test_our_own_reader_is_outvoted_and_pauses(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b", "c"), chain={"quorum": 2})
    r.add(1)
    r.ledger.endpoint("a").lies_from = 1
    await r.mine(2)
    assert r.alarms() == {"endpoints_differ"}
    assert f"{r.ledger.name}/a against the others" in alarm(r, "endpoints_differ").message


@pytest.mark.parametrize("trouble", ["down", "lags"])
async def test_a_missing_endpoint_is_waited_for_and_then_done_without(
    room: MakeRoom, trouble: str
) -> None:
    r = room(confirmations=1, endpoints=("a", "b"), chain={"alone_after_s": 30.0})
    other = r.ledger.endpoint("b")
    r.ledger.pay(r.add(1), 5)
    if trouble == "down":
        other.down = True
    else:
        other.lag = 50
    await r.mine()
    assert (r.states(), r.alarms()) == (["SEEN"], set())
    clock: Any = r.store.clock
    clock.advance(29)
    await r.watcher.step()
    assert (r.states(), r.alarms()) == (["SEEN"], set())
    clock.advance(2)
    await r.watcher.step()
    assert (r.states(), r.alarms()) == (["CONFIRMED"], {"endpoint_missing"})
    assert f"not shown by {r.ledger.name}/b" in alarm(r, "endpoint_missing").message
    other.down, other.lag = False, 0
    await r.mine(2)
    assert r.alarms() == set()


async def test_never_waits_on_and_says_so(room: MakeRoom) -> None:
    r = room(confirmations=1, endpoints=("a", "b"), chain={"alone_after_s": None})
    r.ledger.pay(r.add(1), 5)
    r.ledger.endpoint("b").down = True
    await r.mine()
    clock: Any = r.store.clock
    clock.advance(3600)
    await r.watcher.step()
    assert (r.states(), r.alarms()) == (["SEEN"], {"endpoint_missing"})
    r.ledger.endpoint("b").down = False
    await r.watcher.step()
    assert (r.states(), r.alarms()) == (["CONFIRMED"], set())


async def test_another_endpoint_that_cannot_read_again_is_done_without(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b"), chain={"alone_after_s": 30.0})
    r.ledger.pay(r.add(1), 5)
    await r.mine()

    def hang_on_second_look(*_: Any, **__: Any) -> Any:
        raise Unavailable("b: no such method")

    second = r.reader.second
    r.reader.second = lambda a, b, c, first=None: (  # type: ignore[method-assign]
        hang_on_second_look() if first is not None else second(a, b, c, first)
    )
    await r.mine()
    assert r.states() == ["SEEN"]
    clock: Any = r.store.clock
    clock.advance(31)
    await r.watcher.step()
    assert r.states() == ["CONFIRMED"]
    assert "not read again elsewhere" in alarm(r, "endpoint_missing").message
    r.reader.second = second  # type: ignore[method-assign]
    clock.advance(61)
    await r.mine(2)
    assert r.alarms() == set()


async def test_a_liar_and_the_one_that_contradicts_it_are_named(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b"))
    txid = r.ledger.pay(r.add(1), 5)
    r.ledger.endpoint("b").hidden.add((txid, None))
    await r.mine(2)
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "second look")]
    message = alarm(r, "readings_differ").message
    assert f"{r.ledger.name}/a by scan" in message
    assert f"{r.ledger.name}/b by receipts" in message
    assert txid in message


async def test_one_that_leaves_something_out_is_named_and_one_against_one_is_held(
    room: MakeRoom,
) -> None:
    r = room(confirmations=2, endpoints=("a", "b"))
    txid = r.ledger.pay(r.add(1), 5)
    r.ledger.endpoint("a").hidden.add((txid, None))
    await r.mine(2)
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "second look")]
    assert r.alarms() == {"readings_differ", "deposit_held"}
    assert f"{r.ledger.name}/a" in alarm(r, "readings_differ").message


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Iterator[ReferenceLedger]:
    made = ReferenceLedger("checkpoints")
    yield made
    made.close()


async def test_an_endpoint_on_another_branch_is_not_read(ledger: ReferenceLedger) -> None:
    ledger.mine(10)
    known = {3: ledger.block(3).hash, 7: ledger.block(7).hash.upper(), 900: "ff"}
    stage = Stage(ledger, "ab", checkpoints=known)
    stage.ways["a"].lies_from = 6
    assert (await stage.run(stage.guard.head())).ref == stage.ref(10)
    assert stage.guard.health()[0].reason is not None
    assert "block 7 is" in stage.guard.health()[0].reason
    problems = await stage.run(stage.guard.reach())
    assert isinstance(problems[stage.labels["a"]], WrongNetwork)
    assert problems[stage.labels["b"]] is None


async def test_every_block_read_at_a_checkpoint_is_held_to_it(ledger: ReferenceLedger) -> None:
    ledger.mine(3)
    stage = Stage(ledger, "a", checkpoints={5: "00" * 32})
    await stage.run(stage.guard.head())
    ledger.mine(5)
    with pytest.raises(Unavailable, match="checkpoint says"):
        await stage.read(START, 8)


async def test_a_node_without_old_blocks_is_no_liar(ledger: ReferenceLedger) -> None:
    ledger.mine(10)
    stage = Stage(ledger, "a", checkpoints={3: ledger.block(3).hash})
    stage.ways["a"].breaks_after = 0
    assert (await stage.run(stage.guard.head())).ref == stage.ref(10)
