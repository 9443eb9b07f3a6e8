"""Following the sync lists of a platform that lists oddly; addresses fetched in advance."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chain_adapter.callbacks import (
    AddressStock,
    Deposited,
    Event,
    HandOff,
    MerchantCallRefused,
    MerchantClient,
    MinerFee,
    NotNow,
    SqliteStore,
    Sync,
    Transferred,
)
from chain_adapter.errors import PlatformUnreachable
from tests.callbacks.conftest import Serve
from tests.callbacks.ends import merchant, notice, paid, platform, raw


@dataclass
class Lists:
    """A platform that answers from lists, or with what `instead` says."""

    deposits: list[dict[str, object]] = field(default_factory=list)
    withdrawals: list[dict[str, object]] = field(default_factory=list)
    fees: list[dict[str, object]] = field(default_factory=list)
    transfers: list[dict[str, object]] = field(default_factory=list)
    instead: Any = None
    calls: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    pool: int = 1000

    async def handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.calls.append(path)
        form = {name: str(value) for name, value in (await request.post()).items()}
        fields = json.loads(platform().open_form(form))
        if callable(self.instead):
            return await self.instead(request)
        code, data = "0", self.answer(path, fields)
        if data is None:
            code = "100001"
        reply = {"code": code, "msg": "", "data": data}
        return web.json_response({"data": platform().seal(raw(reply))})

    def answer(self, path: str, fields: dict[str, Any]) -> Any:
        tables = {
            "billing/syncDepositList": self.deposits,
            "billing/syncWithdrawList": self.withdrawals,
            "billing/syncMinerFeeList": self.fees,
            "account/syncTransferList": self.transfers,
        }
        if path in tables:
            rows = [row for row in tables[path] if int(str(row["id"])) > int(fields["max_id"])]
            return sorted(rows, key=lambda row: int(str(row["id"])))[:100]
        if path == "billing/depositList":
            return [row for row in self.deposits if str(row["id"]) in fields["ids"].split(",")]
        if path == "billing/withdrawList":
            asked = fields["ids"].split(",")
            return [row for row in self.withdrawals if str(row["request_id"]) in asked]
        if path == "user/registerEmail":
            if fields["email"] not in self.users:
                self.users.append(fields["email"])
            return {"uid": self.users.index(fields["email"]) + 1}
        assert path == "account/getDepositAddress"
        if int(fields["uid"]) > self.pool:
            return None
        return {"uid": fields["uid"], "address": f"A{fields['uid']}"}


@dataclass
class Bench:
    lists: Lists
    client: MerchantClient
    store: SqliteStore
    handed: list[Event] = field(default_factory=list)
    not_now: set[str] = field(default_factory=set)

    async def on_event(self, event: Event) -> None:
        if event.key in self.not_now:
            raise NotNow("later")
        self.handed.append(event)

    @property
    def sync(self) -> Sync:
        return Sync(self.client, HandOff(self.store, self.on_event), self.store)


@pytest.fixture
async def bench(serve: Serve, session: aiohttp.ClientSession, store: SqliteStore) -> Bench:
    lists = Lists()
    url = await serve([web.post("/api/v2/{path:.*}", lists.handle)])
    return Bench(lists, MerchantClient(session, url, merchant(), timeout_s=5), store)


def row(number: int, status: int = 1, **changed: object) -> dict[str, object]:
    """A row of the deposit list: ids are numbers there, times too."""
    found = notice(id=number, uid=10739, status=status, confirmations=11, **changed)
    return {key: value for key, value in found.items() if key not in ("side", "notify_time")}


async def test_pages_to_the_end_and_then_only_what_is_new(bench: Bench) -> None:
    bench.lists.deposits = [row(number) for number in range(1, 251)]
    done = await bench.sync()
    assert (done.handed_on, done.known, done.open) == (250, 0, 0)
    assert bench.lists.calls.count("billing/syncDepositList") == 4
    bench.lists.deposits += [row(300), row(400)]
    assert (await bench.sync()).handed_on == 2
    assert (await bench.sync()).handed_on == 0
    assert len({event.key for event in bench.handed}) == 252 == len(bench.handed)


async def test_a_callback_and_the_list_are_one_event(bench: Bench) -> None:
    hand_off = HandOff(bench.store, bench.on_event)
    await hand_off.offer(merchant().notification({"app_id": "merchant-1", "data": platform().seal(
        raw(notice(id="7")))}))  # fmt: skip
    bench.lists.deposits = [row(7)]
    done = await bench.sync()
    assert (done.handed_on, done.known) == (0, 1)


async def test_every_list(bench: Bench) -> None:
    bench.lists.withdrawals = [paid(id=9, status=5)]
    bench.lists.fees = [{"id": 1, "symbol": "ETH", "fee": "0.1", "txid": "t", "amount": "3"}]
    bench.lists.transfers = [{"id": "5", "symbol": "ETH", "amount": "0.002", "from": "a", "to": "b",
                              "request_id": "r", "receipt": "x", "created_at": 1}]  # fmt: skip
    assert (await bench.sync()).handed_on == 3
    kinds = [type(event) for event in bench.handed]
    assert MinerFee in kinds and Transferred in kinds
    assert (await bench.sync()).handed_on == 0


async def test_open_records_are_followed_by_their_id(bench: Bench) -> None:
    bench.lists.deposits = [row(1, 0), row(2), row(3, 5), row(4, 2)]
    bench.lists.withdrawals = [paid(id=9, status=1, request_id="w-9")]
    done = await bench.sync()
    assert (done.handed_on, done.open) == (5, 3)
    again = await bench.sync()
    assert (again.handed_on, again.open) == (0, 3)
    bench.lists.deposits = [row(1), row(2), row(3), row(4, 2)]
    bench.lists.withdrawals = [paid(id=9, status=5, request_id="w-9")]
    assert (await bench.sync()).handed_on == 3
    bench.lists.calls.clear()
    await bench.sync()
    assert "billing/depositList" not in bench.lists.calls
    credited = [event for event in bench.handed if isinstance(event, Deposited)]
    assert [event.record_id for event in credited] == ["2", "1", "3"]


async def test_what_cannot_be_booked_now_is_asked_again(bench: Bench) -> None:
    bench.lists.deposits = [row(1), row(2)]
    bench.not_now = {"waas/deposit/1/1"}
    assert (await bench.sync()).handed_on == 1
    bench.not_now = set()
    assert (await bench.sync()).handed_on == 1
    bench.lists.fees = [{"id": 1, "symbol": "ETH", "fee": "0.1", "txid": "t"}]
    bench.not_now = {"waas/minerfee/1/0.1"}
    with pytest.raises(NotNow):
        await bench.sync()
    bench.not_now = set()
    assert (await bench.sync()).handed_on == 1


async def test_a_contradiction_is_named_and_stops_nothing(bench: Bench) -> None:
    bench.lists.deposits = [row(1)]
    await bench.sync()
    bench.lists.deposits = [row(2, 9), row(3, amount="-1"), row(4)]
    done = await bench.sync()
    assert (done.handed_on, len(done.refused)) == (1, 2)


async def test_a_crash_on_the_way_loses_nothing(bench: Bench) -> None:
    bench.lists.deposits = [row(number) for number in range(1, 6)]
    seen = 0

    async def fails(event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise RuntimeError("power cut")
        bench.handed.append(event)

    with pytest.raises(RuntimeError):
        await Sync(bench.client, HandOff(bench.store, fails), bench.store)()
    assert await bench.store.cursor("deposit") == 0
    await bench.sync()
    assert [event.key for event in bench.handed] == [f"waas/deposit/{n}/1" for n in range(1, 6)]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"<html>", b'{"data":""}', b'{"data":"AAAA"}', b"[]", b'{"data":5}',
     raw({"data": merchant().seal(b'{"code":"0","data":[]}')}),
     raw({"data": platform().seal(b"[]")}), raw({"data": platform().seal(b'{"code":null}')}),
     raw({"data": platform().seal(b'{"code":"0","data":5}')}),
     raw({"data": platform().seal(b'{"code":"0","data":[5]}')}),
     raw({"data": platform().seal(b'{"code":"0","data":[{"id":"x"}]}')}),
     raw({"data": platform().seal(b'{"code":"0","data":[{"id":0}]}')})],
)  # fmt: skip
async def test_odd_answers_move_nothing(bench: Bench, body: bytes) -> None:
    async def odd(request: web.Request) -> web.Response:
        return web.Response(body=body)

    bench.lists.instead = odd
    with pytest.raises(PlatformUnreachable):
        await bench.sync()
    assert (bench.handed, await bench.store.cursor("deposit")) == ([], 0)


async def test_refusals_and_silence(bench: Bench, session: aiohttp.ClientSession) -> None:
    with pytest.raises(MerchantCallRefused) as raised:
        bench.lists.pool = 0
        await bench.client.deposit_address("1", "LTC")
    assert raised.value.code == "100001"
    dead = MerchantClient(session, "http://127.0.0.1:9", merchant(), timeout_s=5)
    with pytest.raises(PlatformUnreachable):
        await dead.call("user/info")


# --- addresses in advance -----------------------------------------------------------------------


async def test_prefetch_and_take(bench: Bench) -> None:
    stock = AddressStock(bench.client, bench.store, "LTC")
    assert await stock.prefetch_addresses(3) == 3
    assert await stock.prefetch_addresses(3) == 0
    assert await stock.take("one") == ("1", "A1")
    assert await stock.take("one") == ("1", "A1")
    assert await stock.take("two") == ("2", "A2")
    assert await stock.prefetch_addresses(3) == 2
    taken = await asyncio.gather(*(stock.take(f"user-{n}") for n in range(3)))
    assert {one[1] for one in taken if one} == {"A3", "A4", "A5"}
    assert await stock.take("late") is None
    assert bench.lists.users[0] == "ltc-1@merchant.invalid"


async def test_prefetch_goes_on_where_the_pool_ended(bench: Bench) -> None:
    bench.lists.pool = 2
    stock = AddressStock(bench.client, bench.store, "LTC")
    with pytest.raises(MerchantCallRefused):
        await stock.prefetch_addresses(4)
    assert await bench.store.stock("LTC") == (2, 3)
    bench.lists.pool = 9
    assert await stock.prefetch_addresses(4) == 2
    assert len(bench.lists.users) == 4  # the third was asked for again, not anew
