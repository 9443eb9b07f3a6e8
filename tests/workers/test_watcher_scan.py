"""The one-shot scan: the watcher's judgement, once, beside the books."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.clock import SystemClock
from chain_adapter.core.deposits import request_id
from chain_adapter.core.states import Role
from chain_adapter.errors import ConfigError
from chain_adapter.sandbox.reference_tx import Flavour
from chain_adapter.store import blocks, deposits, ledger, schema
from chain_adapter.store.store import Store
from chain_adapter.workers.scanner import SECRET_KEY, Scanner, ScanReport
from tests.workers.watching import CHAIN, MakeRoom, Room


async def scan(r: Room, start: int, end: int, record: Store | None = None) -> ScanReport:
    scanner = Scanner(r.config, r.reader, r.store, record=record, plugin_version="1")
    return await scanner.run(start, end)


async def test_both_ends_and_everything_between(room: MakeRoom) -> None:
    r = room()
    one, other = r.add(1), r.add(2, Role.WATCHED, account=None)
    txids = []
    for amount in (10, 11, 12, 13):
        txids.append(r.ledger.pay(one, amount))
        r.ledger.mine()
    both = r.ledger.give([(one, 5), (one, 7), (other, 1), (r.address(9), 4)])
    r.ledger.mine(200)
    report = await scan(r, 2, 5)
    assert [(row.height, row.txid, row.amount, row.to) for row in report.deposits] == [
        (2, txids[1], 11, one),
        (3, txids[2], 12, one),
        (4, txids[3], 13, one),
        (5, both, 12, one),
        (5, both, 1, other),
    ]
    assert report.blocks == 4
    assert report.internal_transfers
    assert (await scan(r, 0, 204)).blocks == 205
    assert (await scan(r, 5, 5)).blocks == 1
    plain = report.as_json()
    assert plain["deposits"][0] == {
        "asset": r.native, "txid": txids[1], "to": one, "memo": "", "amount": "11", "height": 2,
    }  # fmt: skip
    assert plain["seconds"] > 0
    assert plain["cpu_seconds"] > 0


async def test_nothing_is_changed(room: MakeRoom) -> None:
    r = room()
    r.ledger.pay(r.add(1), 10)
    r.ledger.mine(3)
    before = r.rows(schema.chains)
    await scan(r, 0, 3)
    assert r.rows(schema.chains) == before
    for table in (schema.blocks, schema.deposits, schema.transfers, schema.outbox, schema.events):
        assert [row for row in r.rows(table) if getattr(row, "chain", CHAIN) == CHAIN
                and getattr(row, "scope", CHAIN) == CHAIN] == []  # fmt: skip


async def test_what_the_daemon_would_not_credit_is_left_out(room: MakeRoom) -> None:
    r = room(asset={"min_deposit": 10})
    to, hot = r.add(1), r.add(2, Role.HOT, account=0)
    r.ledger.pay(to, 9)
    r.ledger.pay(hot, 50)
    r.ledger.pay(to, 10)
    r.ledger.mine()
    assert [row.amount for row in (await scan(r, 1, 1)).deposits] == [10]


async def test_a_refuted_proof_is_reported_as_held(room: MakeRoom) -> None:
    r = room()
    r.ledger.skim(100)
    txid = r.ledger.pay(r.add(1), 10_000, token=True)
    r.ledger.mine()
    report = await scan(r, 1, 1)
    assert report.deposits == ()
    assert [(row.txid, row.asset, row.amount) for row in report.held] == [(txid, "USDX", 10_000)]


async def test_memos(room: MakeRoom) -> None:
    r = room(flavour=Flavour.MEMO)
    to = r.add(1)
    for memo in (b"1000017", None, b"\x00\xff"):
        r.ledger.pay(to, 10, memo=memo)
    r.ledger.mine()
    report = await scan(r, 1, 1)
    assert sorted(row.memo for row in report.deposits) == ["", "00ff", "1000017"]


async def test_a_reorganisation_under_the_scan(room: MakeRoom, tmp_path: Path) -> None:
    r = room()
    to = r.add(1)
    r.ledger.pay(to, 10)
    r.ledger.mine(3)
    record = ledger.create(f"sqlite:///{tmp_path}/record.db", SystemClock(), record_of=CHAIN)
    try:
        scanner = Scanner(r.config, r.reader, r.store, record=record)
        taken = scanner._take

        async def reorganise(batch: list[Any]) -> None:
            await taken(batch)
            if r.ledger.height == 3:
                r.ledger.reorg(3, "return", length=1)
                r.ledger.mine(4)

        scanner._take = reorganise  # type: ignore[method-assign]
        scanner._chain.blocks = _short_first(scanner._chain.blocks)  # type: ignore[method-assign]
        report = await scanner.run(0, 3)
        assert [row.amount for row in report.deposits] == [10]
        assert report.blocks == 4
        rows = record.read_now(deposits.listed)
        assert [(row.state, row.height) for row in rows] == [("SEEN", report.deposits[0].height)]
        assert record.read_now(lambda tx: blocks.holes(tx, CHAIN)) == []
    finally:
        record.close()


def _short_first(read: Callable[..., Any]) -> Callable[..., Any]:
    """The first call ends as if the chain had changed behind block 2."""
    calls: list[int] = []

    async def reading(after: Any, last: int, watch: Any, method: Any = None) -> Any:
        from chain_adapter.chain import NotOnChain

        calls.append(1)
        if len(calls) > 1:
            async for block in read(after, last, watch, method):
                yield block
            return
        async for block in read(after, 2, watch, method):
            yield block
        raise NotOnChain("block 2 is gone")

    return reading


async def test_record_is_what_the_daemon_writes(room: MakeRoom, tmp_path: Path) -> None:
    r = room()
    to = r.add(1)
    for amount in (10, 11):
        r.ledger.pay(to, amount)
        r.ledger.mine(70)
    record = ledger.create(f"sqlite:///{tmp_path}/record.db", SystemClock(), record_of=CHAIN)
    try:
        report = await scan(r, 0, 140, record)
        rows = record.read_now(deposits.listed)
        assert [(row.txid, int(row.amount), row.height) for row in rows] == [
            (row.txid, row.amount, row.height) for row in report.deposits
        ]
        secret = bytes.fromhex(record.read_now(lambda tx: ledger.get(tx, SECRET_KEY)) or "")
        state = record.read_now(lambda tx: blocks.chain(tx, CHAIN))
        assert state is not None
        assert state.tip is not None
        assert state.tip.height == 140
        assert state.identity is not None
        key = r.reader.address_key(to)
        assert rows[0].request_id == request_id(secret, state.identity, b"", rows[0].txid, key, b"")
        assert record.commits <= 6
        assert record.read_now(lambda tx: blocks.holes(tx, CHAIN)) == []
        assert len(record.read_now(lambda tx: tx.all(schema.blocks.select()))) < 80
    finally:
        record.close()


async def test_wrong_ranges(room: MakeRoom) -> None:
    r = room()
    r.ledger.mine(3)
    for start, end, why in ((2, 1, "no range"), (-1, 1, "no range"), (0, 4, "no 4 yet")):
        with pytest.raises(ConfigError, match=why):
            await scan(r, start, end)
