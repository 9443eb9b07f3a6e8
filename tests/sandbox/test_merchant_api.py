"""The merchant API: every call, over a real socket, sealed and opened by both ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain_adapter.callbacks import MerchantCallRefused, MerchantClient
from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import Operator, PartyA, Platform
from tests.sandbox.merchant_ends import client_of, merchant_end


@pytest.fixture
async def client(
    platform: Platform, session: aiohttp.ClientSession
) -> AsyncIterator[MerchantClient]:
    yield client_of(platform.sandbox, session)


async def code_of(client: MerchantClient, path: str, **fields: object) -> str:
    try:
        await client.call(path, fields)
    except MerchantCallRefused as error:
        return error.code
    return "0"


async def funded(party: PartyA, client: MerchantClient, amount: str = "10") -> str:
    """The uid of a user with money."""
    await party.register("VLX", "A1", "A2", "A3")
    uid = await client.register_email("one@shop.example")
    address = await client.deposit_address(uid, "VLX")
    await party.deposit("r1", address, amount=amount)
    return uid


async def test_users(client: MerchantClient) -> None:
    uid = await client.register_email("one@shop.example")
    assert await client.register_email("one@shop.example") == uid
    assert await client.register_email("two@shop.example") != uid
    assert await client.user("one@shop.example") == uid
    mobile = {"country": "86", "mobile": 15812345678}
    by_number = (await client.row("user/createUser", mobile)).word("uid")
    assert (await client.row("user/info", mobile)).word("uid") == by_number
    assert await code_of(client, "user/info", email="nobody@shop.example") == "110065"
    assert await code_of(client, "user/registerEmail") == "100004"
    assert await code_of(client, "user/registerEmail", email="x" * 101) == "100004"
    listed = await client.page("user/syncList", 0)
    assert (listed[0].word("uid"), len(listed)) == (uid, 3)
    assert len(await client.page("user/syncList", int(uid))) == 2


async def test_coins(client: MerchantClient) -> None:
    coins = {row.word("symbol"): row.fields for row in await client.rows("user/getCoinList", {})}
    assert set(coins) == {"VLX", "SRM", "TOK"}
    assert (coins["TOK"]["base_symbol"], coins["TOK"]["decimals"]) == ("VLX", "2")
    assert (coins["SRM"]["support_memo"], coins["VLX"]["deposit_confirmation"]) == ("1", "3")


async def test_addresses_come_from_the_pool(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    one = await client.register_email("one@shop.example")
    other = await client.register_email("two@shop.example")
    assert await code_of(client, "account/getDepositAddress", uid=one, symbol="VLX") == "100001"
    await party.register("VLX", "A1", "A2")
    await party.register("SRM", "shared", memo=True)
    assert await client.deposit_address(one, "VLX") == "A1"
    assert await client.deposit_address(one, "VLX") == "A1"
    assert await client.deposit_address(one, "TOK") == "A1"
    assert await client.deposit_address(other, "TOK") == "A2"
    memo = await client.deposit_address(one, "SRM")
    assert memo == f"shared_{100_000 + int(one)}"
    assert memo != await client.deposit_address(other, "SRM")
    assert (await party.available("VLX")).payload["count"] == 0
    listed = await control.get("addresses?symbol=VLX")
    assert [str(row["user"]) for row in listed] == [one, other]
    rows = await client.page("address/syncList", 0)
    others = await client.deposit_address(other, "SRM")
    assert {(row.word("uid"), row.word("address")) for row in rows} == {
        (one, "A1"), (other, "A2"), (one, memo), (other, others),
    }  # fmt: skip
    assert await client.page("address/syncList", max(row.whole("id") for row in rows)) == []
    info = await client.row("account/getDepositAddressInfo", {"address": "A2"})
    assert (info.word("uid"), info.word("symbol")) == (other, "VLX")
    assert await code_of(client, "account/getDepositAddressInfo", address="nowhere") == "110055"
    assert await code_of(client, "account/getDepositAddress", uid="99", symbol="VLX") == "110065"
    assert await code_of(client, "account/getDepositAddress", uid="x", symbol="VLX") == "110065"
    assert await code_of(client, "account/getDepositAddress", uid=one, symbol="NO") == "120202"


async def test_a_deposit_is_listed_before_and_after_its_credit(
    client: MerchantClient, party: PartyA
) -> None:
    await party.register("VLX", "A1")
    uid = await client.register_email("one@shop.example")
    await client.deposit_address(uid, "VLX")
    assert await client.page("billing/syncDepositList", 0) == []
    await party.deposit("r1", "A1", amount="1.50", confirm=1)
    (row,) = await client.page("billing/syncDepositList", 0)
    assert (row.whole("status"), row.whole("confirmations"), row.word("uid")) == (0, 1, uid)
    assert await client.balance(uid, "VLX") == ("0", "0")
    await party.deposit("r1", "A1", amount="1.50", confirm=7)
    (again,) = await client.by_ids("billing/depositList", [row.word("id")])
    assert (again.whole("status"), again.whole("confirmations")) == (1, 7)
    assert (again.word("amount"), again.word("txid"), again.word("address_to")) == (
        "1.5",
        "T1",
        "A1",
    )
    assert await client.balance(uid, "VLX") == ("1.5", "0")
    assert await client.page("billing/syncDepositList", row.whole("id")) == []
    assert await client.by_ids("billing/depositList", ["7777"]) == []


async def test_a_withdrawal_is_handed_out_less_its_charge(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    uid = await funded(party, client)
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.01"})
    record = await client.withdraw("w-1", uid, "VLX", "4", "outside")
    assert await client.withdraw("w-1", uid, "VLX", "4.0", "outside") == record
    assert await client.balance(uid, "VLX") == ("6", "4")
    (order,) = (await party.consume()).payload
    assert (str(order["amount"]), order["address_to"]) == ("3.99", "outside")
    (row,) = await client.by_ids("billing/withdrawList", ["w-1"])
    assert (row.whole("status"), row.word("amount"), row.word("withdraw_fee")) == (1, "4", "0.01")
    await party.notify(order["trans_id"], address_to="outside", amount="3.99", txid="P1")
    assert (await client.page("billing/syncWithdrawList", 0))[0].whole("status") == 3
    await party.notify(
        order["trans_id"], address_to="outside", amount="3.99", txid="P1", fee="0.002", confirm=3
    )
    (row,) = await client.page("billing/syncWithdrawList", 0)
    assert (row.whole("status"), row.word("txid"), row.word("real_fee")) == (5, "P1", "0.002")
    assert await client.balance(uid, "VLX") == ("6", "0")
    company = await client.row("account/getCompanyBySymbol", {"symbol": "VLX"})
    assert company.word("balance") == "0.01"


async def test_withdrawals_that_are_refused(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    uid = await funded(party, client)
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.5"})
    good = {"request_id": "w", "from_uid": uid, "symbol": "VLX", "amount": "1", "to_address": "to"}
    for changed, code in (
        ({"amount": "11"}, "120402"), ({"amount": "0.5"}, "110078"), ({"amount": "0"}, "110078"),
        ({"amount": "1.000000001"}, "110161"), ({"amount": "-1"}, "100004"),
        ({"amount": "x"}, "100004"), ({"from_uid": "77"}, "110065"), ({"symbol": "NO"}, "120202"),
        ({"to_address": ""}, "110055"), ({"to_address": "A1"}, "110055"),
        ({"request_id": "y" * 65}, "100004"), ({"request_id": ""}, "100004"),
    ):  # fmt: skip
        assert await code_of(client, "billing/withdraw", **(good | changed)) == code, changed
    assert await client.balance(uid, "VLX") == ("10", "0")
    assert await code_of(client, "billing/withdraw", **good) == "0"
    for changed in ({"amount": "2"}, {"to_address": "other"}, {"symbol": "TOK"}):
        assert await code_of(client, "billing/withdraw", **(good | changed)) == "110088"
    assert await client.balance(uid, "VLX") == ("9", "1")
    assert len((await party.consume()).payload) == 1


@pytest.mark.parametrize(("by", "status"), [("chain", 4), ("user", 6)])
async def test_a_cancelled_withdrawal_gives_back_the_charge_too(
    client: MerchantClient, party: PartyA, control: Operator, by: str, status: int
) -> None:
    uid = await funded(party, client)
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.5"})
    await client.withdraw("w-1", uid, "VLX", "3", "outside")
    (order,) = (await party.consume()).payload
    if by == "chain":
        await party.cancel(order["trans_id"])
    else:
        await control.post(f"withdrawals/{order['trans_id']}", {"state": "cancelled"})
    (row,) = await client.page("billing/syncWithdrawList", 0)
    assert row.whole("status") == status
    assert await client.balance(uid, "VLX") == ("10", "0")
    company = await client.row("account/getCompanyBySymbol", {"symbol": "VLX"})
    assert company.word("balance") == "0"


async def test_another_users_address_is_paid_inside(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    uid = await funded(party, client)
    other = await client.register_email("two@shop.example")
    address = await client.deposit_address(other, "VLX")
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.5"})
    await client.withdraw("w-1", uid, "VLX", "3", address)
    assert (await party.consume()).payload == []
    assert await client.balance(uid, "VLX") == ("7", "0")
    assert await client.balance(other, "VLX") == ("2.5", "0")
    (row,) = await client.page("billing/syncWithdrawList", 0)
    assert (row.whole("status"), row.optional_word("txid")) == (5, None)
    assert [row.word("uid") for row in await client.page("billing/syncDepositList", 0)] == [
        uid,
        other,
    ]


async def test_memo_coins_inside_and_outside(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    await party.register("SRM", "shared", memo=True)
    uid = await client.register_email("one@shop.example")
    other = await client.register_email("two@shop.example")
    address, memo = (await client.deposit_address(uid, "SRM")).split("_")
    await party.deposit("r1", address, symbol="SRM", memo=memo, amount="9")
    (row,) = await client.page("billing/syncDepositList", 0)
    assert row.word("address_to") == f"{address}_{memo}"
    await client.withdraw("w-1", uid, "SRM", "2", await client.deposit_address(other, "SRM"))
    assert await client.balance(other, "SRM") == ("2", "0")
    await client.withdraw("w-2", uid, "SRM", "1", "exchange_24545")
    await client.withdraw("w-3", uid, "SRM", "1", "plain")
    handed = (await party.consume("SRM")).payload
    assert [(one["address_to"], one["memo"]) for one in handed] == [
        ("exchange", "24545"), ("plain", ""),
    ]  # fmt: skip


async def test_miner_fees_and_transfers(
    client: MerchantClient, party: PartyA, control: Operator
) -> None:
    await party.internal("sweep-1", amount="5", fee="0.001", address_from="A1")
    await party.internal("sweep-2", fee="0.002")
    first, second = await client.page("billing/syncMinerFeeList", 0)
    assert (first.word("txid"), first.word("fee"), first.word("symbol")) == (
        "sweep-1",
        "0.001",
        "VLX",
    )
    assert await client.by_ids("billing/minerFeeList", [second.word("id")]) != []
    await control.post("merchant/coins", {"symbol": "VLX", "company_balance": "3"})
    fields: dict[str, Any] = {"request_id": "t-1", "symbol": "VLX", "amount": "1.5", "to": "other",
                              "remark": "rent"}  # fmt: skip
    receipt = (await client.row("account/transfer", fields)).word("receipt")
    assert (await client.row("account/transfer", fields)).word("receipt") == receipt
    assert await code_of(client, "account/transfer", **(fields | {"amount": "1"})) == "110088"
    more = fields | {"request_id": "t-2", "amount": "1.6"}
    assert await code_of(client, "account/transfer", **more) == "120402"
    assert await code_of(client, "account/transfer", **(more | {"to": "an-app"})) == "100004"
    (row,) = await client.page("account/syncTransferList", 0)
    assert (row.word("from"), row.word("to"), row.word("amount")) == ("an-app", "other", "1.5")
    by_receipt = {"ids": receipt, "ids_type": "receipt"}
    assert len(await client.rows("account/transferList", by_receipt)) == 1
    assert len(await client.rows("account/transferList", {"ids": "t-1"})) == 1
    assert await code_of(client, "account/transferList", ids="1", ids_type="x") == "100004"


async def test_lists_are_pages_of_a_hundred(client: MerchantClient) -> None:
    for number in range(103):
        await client.register_email(f"{number}@shop.example")
    page = await client.page("user/syncList", 0)
    assert len(page) == 100
    assert len(await client.page("user/syncList", page[-1].whole("id"))) == 3
    ids = ",".join(str(one) for one in range(101))
    assert await code_of(client, "billing/depositList", ids=ids) == "100004"
    for wrong in ({}, {"ids": ""}, {"ids": ","}, {"ids": []}):
        assert await code_of(client, "billing/depositList", **wrong) == "100004"
    for wrong in ({}, {"max_id": "x"}, {"max_id": -1}, {"max_id": None}):
        assert await code_of(client, "billing/syncDepositList", **wrong) == "100004"
    assert await code_of(client, "billing/syncDepositList", max_id="0") == "0"
    assert await code_of(client, "billing/nothing") == "100001"


async def test_the_ways_a_request_may_come(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    end, url = merchant_end(platform.sandbox), f"{platform.sandbox.url}/api/v2/user/getCoinList"
    form = end.request({}, 1586420916306)

    async def code(method: str, **named: Any) -> str:
        async with session.request(method, url, **named) as answer:
            assert answer.status == 200
            return end.response(await answer.read()).code

    assert await code("POST", data=form) == "0"
    assert await code("GET", params=form) == "0"
    assert await code("POST", params=form) == "0"
    assert await code("POST", json=form) == "0"
    assert await code("POST", data=form | {"app_id": "x"}) == "100015"
    assert await code("POST", data={"data": form["data"]}) == "100015"
    for wrong in ("", "AAAA", form["data"][:-4], form["data"][:-1] + "A"):
        assert await code("POST", data=form | {"data": wrong}) == "100005"
    assert await code("POST", data=form | {"data": end.seal(b"[]")}) == "100004"
    assert (
        await code("POST", data=b"\xff", headers={"Content-Type": "application/json"}) == "100004"
    )
    platforms = json.dumps({"data": "x"}).encode()
    assert await code("POST", data=platforms) == "100015"


async def test_it_survives_a_restart(state: Path, session: aiohttp.ClientSession) -> None:
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        await control.coin("VLX")
        await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.25"})
        uid = await client_of(sandbox, session).register_email("one@shop.example")
        told = await control.post("merchant", {"speed": 5, "notify_url": "http://127.0.0.1:9/x"})
    async with Sandbox(state) as sandbox:
        client, control = client_of(sandbox, session), Operator(sandbox.url, session)
        assert await client.user("one@shop.example") == uid
        assert await control.get("merchant") == told
