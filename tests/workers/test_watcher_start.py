"""The watcher's start, what makes blocks final, and what people decide."""

from __future__ import annotations

import pytest

from chain_adapter.chain import BlockRef, Head, Unavailable
from chain_adapter.core.states import Deposit
from chain_adapter.errors import ConfigError
from chain_adapter.sandbox.reference_tx import Flavour
from chain_adapter.store import pauses, rulings, schema
from chain_adapter.workers import watcher
from tests.workers.watching import CHAIN, MakeRoom

# --- start, finality, identity --------------------------------------------------------------------


async def test_another_network_is_refused(room: MakeRoom) -> None:
    r = room()
    await r.mine()
    r.restart()
    r.ledger.endpoint("").identity = "reference:account/other/00"
    with pytest.raises(ConfigError, match="pinned to"):
        await r.watcher.begin()


async def test_start_is_the_head_unless_configured_and_recorded(room: MakeRoom) -> None:
    r = room()
    r.ledger.mine(50)
    r.restart(start_height=None)
    to = r.add(1)
    await r.watcher.step()
    assert r.chain().start_height == 50
    r.ledger.pay(to, 5)
    await r.mine(3)
    r.restart(start_height=None)
    await r.mine()
    assert r.chain().start_height == 50
    assert r.holes() == []
    r.restart(start_height=10)
    with pytest.raises(ConfigError, match="start_height"):
        await r.watcher.begin()


async def test_finality_is_recorded_and_never_switched_silently(room: MakeRoom) -> None:
    r = room(confirmations=None, ledger_options={"final_lag": 4})
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine(4)
    assert r.chain().finality == "chain"
    assert r.states() == ["SEEN"]
    await r.mine()
    assert r.states() == ["CONFIRMED"]
    r.ledger.final_lag = None
    r.restart()
    with pytest.raises(Unavailable, match="final height"):
        await r.watcher.begin()
    r.restart(confirmations=2)
    await r.watcher.begin()
    assert r.chain().finality == "confirmations"
    assert any(row.what == "finality changed" for row in r.rows(schema.events))


async def test_a_lying_head_makes_nothing_final(
    room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = room(confirmations=3)
    r.ledger.mine(3)
    r.ledger.pay(r.add(1), 5)
    r.ledger.mine()
    r.reader.told_head = Head(BlockRef(1000, "ff"))
    monkeypatch.setattr(watcher, "WINDOW", 5)  # up to the last block that is really there
    await r.watcher.step()
    assert r.states() == ["SEEN"]
    assert r.chain().settled_height <= 2
    with pytest.raises(Unavailable):
        await r.watcher.step()
    r.reader.told_head = None
    await r.mine(2)
    assert r.states() == ["CONFIRMED"]


async def test_a_lagging_head_moves_nothing(room: MakeRoom) -> None:
    r = room()
    await r.mine(5)
    tip = r.chain().tip
    r.ledger.endpoint("").back = 3
    await r.watcher.step()
    assert r.chain().tip == tip


# --- operators ------------------------------------------------------------------------------------


async def test_release_before_and_after_final(room: MakeRoom) -> None:
    r = room(flavour=Flavour.MEMO, confirmations=3)
    to = r.add(1)
    r.ledger.pay(to, 10)
    await r.mine()
    [early] = r.deposits()
    terms = r.watcher.terms
    assert terms is not None
    released = r.store.write_now(
        lambda tx: rulings.release(tx, terms, early.id, "ann", "the user is known")
    )
    assert released == Deposit.SEEN
    await r.mine(2)
    assert r.states() == ["CONFIRMED"]
    r.ledger.pay(to, 11)
    await r.mine(3)
    [_, late] = r.deposits()
    assert late.state == "HELD"
    r.store.write_now(lambda tx: rulings.release(tx, terms, late.id, "ann", "known too"))
    assert r.states() == ["CONFIRMED", "CONFIRMED"]
    assert "deposit_held" not in r.alarms()
    events = [row for row in r.rows(schema.events) if row.what == "deposit released"]
    assert len(events) == 2
    assert "ann" in events[0].detail


async def test_ignore(room: MakeRoom) -> None:
    r = room(flavour=Flavour.MEMO, confirmations=1)
    r.ledger.pay(r.add(1), 10)
    await r.mine()
    r.store.write_now(lambda tx: rulings.ignore(tx, 1, "bob", "dust"))
    assert r.states() == ["IGNORED"]
    assert r.alarms() == set()


async def test_a_pause_reads_on_and_credits_nothing(room: MakeRoom) -> None:
    r = room(confirmations=1)
    to = r.add(1)
    await r.watcher.step()
    r.store.write_now(lambda tx: pauses.pause(tx, CHAIN, None, "ann", "maintenance"))
    r.ledger.pay(to, 5)
    await r.mine()
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "paused")]
    terms = r.watcher.terms
    assert terms is not None
    r.store.write_now(lambda tx: rulings.resume(tx, terms, None, "ann", "over"))
    assert r.states() == ["CONFIRMED"]
