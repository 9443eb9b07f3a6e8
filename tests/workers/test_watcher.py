"""The watcher step by step: what arrives is booked once, what is popped is undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chain_adapter.chain import BlockRef
from chain_adapter.core.states import Role
from chain_adapter.sandbox.reference_tx import Flavour
from chain_adapter.store import addresses, pauses, rulings, schema
from tests.workers.watching import CHAIN, Room

MakeRoom = Callable[..., Room]


async def test_a_deposit_is_seen_then_confirmed_at_depth(room: MakeRoom) -> None:
    r = room()
    to = r.add(1)
    txid = r.ledger.pay(to, 500)
    await r.mine()
    [row] = r.deposits()
    assert (row.state, row.amount, row.txid, row.to, row.told) == ("SEEN", "500", txid, to, "500")
    assert r.outbox() == []
    await r.mine()
    assert r.states() == ["SEEN"]
    await r.mine()
    [row], [item] = r.deposits(), r.outbox()
    assert row.state == "CONFIRMED"
    assert (item.dedupe_key, item.subject) == (f"deposit:{row.request_id}", f"deposit:{row.id}")
    assert (item.call, item.height, item.depth, item.grows) == ("deposit/notify", 1, 5, True)
    assert r.chain().settled_height == 1
    assert r.tips[-1] == 3
    assert r.holes() == []


async def test_several_transfers_to_one_address_are_one_notification(room: MakeRoom) -> None:
    r = room(confirmations=1)
    one, other = r.add(1), r.add(2)
    r.ledger.give([(one, 5), (one, 7), (other, 1)])
    await r.mine()
    assert sorted((row.to, row.amount) for row in r.deposits()) == sorted(
        [(one, "12"), (other, "1")]
    )
    assert len(r.outbox()) == 2


async def test_strangers_are_not_ours(room: MakeRoom) -> None:
    r = room(confirmations=1)
    r.add(1)
    r.ledger.pay(r.address(9), 500)
    await r.mine()
    assert r.deposits() == []
    assert r.rows(schema.transfers) == []


async def test_catching_up_commits_in_batches_and_keeps_the_rows_that_matter(
    room: MakeRoom,
) -> None:
    r = room(confirmations=3)
    to = r.add(1)
    r.ledger.mine(100)
    r.ledger.pay(to, 5)
    r.ledger.mine(400)
    before = r.store.commits
    await r.watcher.step()
    assert r.store.commits - before < 15
    state = r.chain()
    assert state.tip is not None
    assert state.tip.height == 500
    assert state.settled_height == 498
    assert r.states() == ["CONFIRMED"]
    assert len(r.rows(schema.blocks)) < 80
    assert r.holes() == []


async def test_an_address_added_later_is_seen_at_once(room: MakeRoom) -> None:
    r = room(confirmations=1)
    await r.mine()
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine()
    assert r.states() == ["CONFIRMED"]


async def test_a_popped_deposit_is_orphaned(room: MakeRoom) -> None:
    r = room()
    r.ledger.pay(r.add(1), 5)
    await r.mine()
    r.ledger.reorg(1, "drop", length=2)
    await r.watcher.step()
    assert r.states() == ["ORPHANED"]
    assert r.rows(schema.transfers) == []
    assert r.holes() == []
    await r.mine(4)
    assert r.states() == ["ORPHANED"]
    assert r.outbox() == []
    assert r.alarms() == set()


async def test_included_again_in_another_block(room: MakeRoom) -> None:
    r = room()
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine()
    [before] = r.deposits()
    r.ledger.reorg(1, "return")
    await r.watcher.step()
    await r.mine(3)
    [row] = r.deposits()
    assert row.request_id == before.request_id
    assert row.block_hash != before.block_hash
    assert row.state == "CONFIRMED"
    assert len(r.outbox()) == 1
    assert "deep_reorg" not in r.alarms()
    assert r.holes() == []


async def test_reorg_to_a_block_of_the_same_height(room: MakeRoom) -> None:
    r = room()
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine()
    r.ledger.reorg(1)
    await r.watcher.step()
    assert r.states() == ["ORPHANED"]
    assert r.chain().tip == BlockRef(1, r.ledger.block(1).hash)


async def test_a_confirmed_deposit_popped_is_reversed_alarmed_and_paused(room: MakeRoom) -> None:
    r = room(confirmations=2)
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine(2)
    assert r.states() == ["CONFIRMED"]
    r.ledger.reorg(2, "return", length=1)
    r.ledger.mine(2)
    await r.watcher.step()
    assert {"deposit_reversed", "deep_reorg"} & r.alarms() == {"deep_reorg"}
    # Included again with the same amount, and final again: but the chain is paused.
    [row] = r.deposits()
    assert (row.state, row.reason) == ("HELD", "paused")
    assert [item.state for item in r.outbox()] == ["withdrawn"]
    terms = r.watcher.terms
    assert terms is not None
    assert r.store.write_now(lambda tx: rulings.resume(tx, terms, None, "ann", "checked")) == 1
    assert r.states() == ["CONFIRMED"]
    [item] = r.outbox()
    assert (item.state, item.height) == ("open", row.height)
    assert r.alarms() == set()


async def test_reversed_stays_alarmed_while_it_is_gone(room: MakeRoom) -> None:
    r = room(confirmations=2)
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine(2)
    r.ledger.reorg(2, "drop")
    await r.watcher.step()
    assert r.states() == ["REVERSED"]
    assert {"deposit_reversed", "deep_reorg"} <= r.alarms()
    assert r.store.read_now(lambda tx: pauses.is_paused(tx, CHAIN, r.native))
    await r.mine(3)
    assert r.chain().settled_height == 4


async def test_deeper_than_kept_stops_with_an_alarm(room: MakeRoom) -> None:
    r = room(confirmations=2)
    r.add(1)
    r.ledger.mine(300)
    await r.watcher.step()
    r.ledger.reorg(290)
    with pytest.raises(Exception, match="oldest that is kept"):
        await r.watcher.step()
    assert "deep_reorg" in r.alarms()
    assert r.store.read_now(lambda tx: pauses.is_paused(tx, CHAIN, r.native))


async def test_own_money_and_own_addresses_are_ignored(room: MakeRoom) -> None:
    r = room(confirmations=1)
    to, hot = r.add(1), r.add(2, Role.HOT, account=0)
    faucet = r.ledger.address(r.ledger.faucet)
    key = r.reader.address_key(faucet)
    r.ledger.pay(hot, 50)
    await r.mine()
    r.store.write_now(lambda tx: addresses.add(tx, CHAIN, key, faucet, Role.GAS, account=2, idx=0))
    r.ledger.pay(to, 7)
    await r.mine()
    assert [(row.to, row.state, row.reason) for row in r.deposits()] == [
        (hot, "IGNORED", "own address"),
        (to, "IGNORED", "own money"),
    ]
    assert r.outbox() == []


async def test_watched_addresses_are_credited(room: MakeRoom) -> None:
    r = room(confirmations=1)
    to = r.add(1, Role.WATCHED, account=None)
    r.ledger.pay(to, 7)
    await r.mine()
    assert r.states() == ["CONFIRMED"]


async def test_minimum_and_remainder(room: MakeRoom) -> None:
    r = room(confirmations=1, asset={"platform_decimals": 4, "min_deposit": 10})
    to = r.add(1)
    r.ledger.give([(to, 9)], token=True)
    await r.mine()
    r.ledger.give([(to, 10)], token=True)
    await r.mine()
    r.ledger.give([(to, 12_345)], token=True)
    await r.mine()
    rows = r.deposits()
    assert [(row.state, row.reason) for row in rows] == [
        ("IGNORED", "below the minimum"),
        ("IGNORED", "finer than the platform holds"),
        ("CONFIRMED", None),
    ]
    assert (rows[2].told, rows[2].remainder, rows[2].amount) == ("123", "45", "12345")
    assert '"amount":"0.0123"' in r.outbox()[0].body


async def test_a_refuted_proof_holds_and_pauses_the_asset(room: MakeRoom) -> None:
    r = room(confirmations=1)
    to = r.add(1)
    r.ledger.skim(100)
    r.ledger.pay(to, 10_000, token=True)
    await r.mine()
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "proof refuted")]
    r.ledger.skim(0)
    r.ledger.pay(to, 10_000, token=True)
    r.ledger.pay(to, 5)
    await r.mine()
    states = sorted((row.asset, row.state, row.reason) for row in r.deposits())
    assert states == [
        (r.native, "CONFIRMED", None),
        ("USDX", "HELD", "paused"),
        ("USDX", "HELD", "proof refuted"),
    ]
    assert "deposit_held" in r.alarms()


async def test_memos(room: MakeRoom) -> None:
    r = room(flavour=Flavour.MEMO, confirmations=1)
    to = r.add(1)
    for memo in (b"1000017", None, b"\xff\x00", b" 7 "):
        r.ledger.pay(to, 10, memo=memo)
    await r.mine()
    found = {(row.memo, row.memo_hex, row.state, row.reason) for row in r.deposits()}
    assert found == {
        ("1000017", b"1000017".hex(), "CONFIRMED", None),
        (None, None, "HELD", "memo missing"),
        (None, "ff00", "HELD", "memo cannot be passed on"),
        (" 7 ", b" 7 ".hex(), "CONFIRMED", None),
    }
    assert {'"memo":"1000017"' in item.body or '"memo":" 7 "' in item.body for item in r.outbox()} \
        == {True}  # fmt: skip


async def test_an_immature_output_is_not_credited(room: MakeRoom) -> None:
    r = room(flavour=Flavour.COIN, confirmations=1, ledger_options={"maturity": 5})
    to = r.add(1)
    r.ledger.mine(1, coinbase=(to, 50))
    await r.watcher.step()
    assert r.states() == ["SEEN"]
    await r.mine(3)
    assert r.states() == ["SEEN"]
    await r.mine(3)
    assert r.states() == ["CONFIRMED"]


# --- the second look ------------------------------------------------------------------------------


async def test_a_deposit_missed_by_the_first_look_is_taken_up(room: MakeRoom) -> None:
    r = room(confirmations=2)
    to = r.add(1)
    txid = r.ledger.pay(to, 5)
    r.ledger.endpoint("").hidden.add((txid, "scan"))
    await r.mine()
    assert r.deposits() == []
    await r.mine()
    assert r.states() == ["CONFIRMED"]
    assert [row.amount for row in r.deposits()] == ["5"]
    assert len(r.rows(schema.transfers)) == 1


async def test_a_deposit_that_the_second_look_misses_is_held(room: MakeRoom) -> None:
    r = room(confirmations=2)
    to = r.add(1)
    txid = r.ledger.pay(to, 5)
    r.ledger.endpoint("").hidden.add((txid, "receipts"))
    await r.mine(2)
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "second look")]
    assert r.outbox() == []
    assert r.chain().settled_height == 1


async def test_value_moved_by_contracts_is_not_compared_with_who_cannot_see_it(
    room: MakeRoom,
) -> None:
    r = room(confirmations=1)
    to = r.add(1)
    r.ledger.give([(to, 5)], places=["call/0.1"])
    await r.mine()
    assert r.states() == ["CONFIRMED"]


async def test_deposits_only(room: MakeRoom) -> None:
    r = room(confirmations=2, chain={"second_look": "deposits"})
    to = r.add(1)
    txid = r.ledger.pay(to, 5)
    r.ledger.endpoint("").hidden.add((txid, "scan"))
    await r.mine(2)
    assert r.deposits() == []


async def test_endpoints_that_differ_pause_the_chain(room: MakeRoom) -> None:
    r = room(confirmations=2, endpoints=("a", "b"))
    to = r.add(1)
    r.ledger.pay(to, 5)
    await r.mine()
    r.ledger.endpoint("b").lies_from = 1
    await r.mine()
    assert r.states() == ["SEEN"]
    assert "endpoints_differ" in r.alarms()
    assert r.chain().settled_height == 0
    r.ledger.endpoint("b").lies_from = None
    await r.mine()
    assert [(row.state, row.reason) for row in r.deposits()] == [("HELD", "paused")]
    assert "endpoints_differ" not in r.alarms()


async def test_an_endpoint_that_is_down_stops_nothing_for_long(room: MakeRoom) -> None:
    r = room(confirmations=1, endpoints=("a", "b"))
    to = r.add(1)
    r.ledger.endpoint("b").down = True
    r.ledger.pay(to, 5)
    r.ledger.mine()
    await r.watcher.step()
    assert r.states() == ["SEEN"]
    assert r.alarms() == set()
    r.restart(alone_after_s=0.0)
    await r.watcher.step()
    assert r.states() == ["CONFIRMED"]
    assert r.alarms() == {"endpoint_missing"}
