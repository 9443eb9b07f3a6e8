"""Callbacks from the platform to a merchant that uses the product's library, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from chain_adapter.sandbox.callbacks_out import SCHEDULE_S, next_try
from chain_adapter.sandbox.merchant import Merchant
from chain_adapter.sandbox.merchant_books import SINCE_FIRST, Settings
from tests.sandbox.conftest import Operator, Platform
from tests.sandbox.merchant_ends import FAST, Shop, until

Opener = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def open_shop(
    platform: Platform, session: aiohttp.ClientSession, tmp_path: Path
) -> AsyncIterator[Opener]:
    """A merchant at this platform; by default the schedule runs a million times faster."""
    async with AsyncExitStack() as stack:

        async def opened(dialect: str = "waas_v2", **settings: object) -> Shop:
            await platform.party.register("VLX", "A1", "A2", "A3", "A4")
            merchant = await stack.enter_async_context(
                Merchant(platform.sandbox.url, tmp_path / "shop", dialect=dialect)
            )
            await platform.control.post("merchant", {"speed": FAST} | settings)
            return Shop(platform, merchant, session)

        yield opened


@pytest.mark.parametrize("dialect", ["waas_v2", "uuwallet"])
async def test_all_the_way_round(open_shop: Opener, dialect: str) -> None:
    """Deposit, withdrawal, one sent back: both books agree to the last digit."""
    shop = await open_shop(dialect)
    party = shop.platform.party
    await shop.platform.control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "0.01"})
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "5.00000001", "r1")
    await shop.deposit(one["address"], "1", "r2")
    await shop.settled()
    order = {"user": "one", "symbol": "VLX", "amount": "2.5", "address": "outside"}
    await shop.post("withdrawals", request_id="w-1", **order)
    await shop.post("withdrawals", request_id="w-2", **(order | {"amount": "1.5"}))

    async def handed_out() -> bool:
        return len((await party.consume()).payload) == 2

    await until(handed_out, "both second confirmations")
    first, second = (await party.consume()).payload
    assert {str(one["amount"]) for one in (first, second)} == {"2.49", "1.49"}
    if str(first["amount"]) != "2.49":
        first, second = second, first
    paid = {"address_to": "outside", "amount": "2.49", "txid": "P1", "fee": "0.001"}
    await party.notify(first["trans_id"], **paid)
    await party.notify(first["trans_id"], confirm=3, **paid)
    await party.cancel(second["trans_id"])
    await shop.settled()
    books = await shop.books()
    assert [row["amount"] for row in books["deposits"]] == ["5.00000001", "1"]
    states = {row["request_id"]: row["state"] for row in books["withdrawals"]}
    failed = "invalid_address" if dialect == "uuwallet" else "failed"
    assert states == {"w-1": "paid", "w-2": failed}
    assert books["balances"][one["uid"]]["VLX"] == "3.50000001"
    assert await shop.platform_balance(one["uid"]) == "3.50000001"
    assert (books["frozen"], books["odd"]) == ({}, [])
    assert all(one["state"] == "done" for one in await shop.callbacks())


@pytest.mark.parametrize("dialect", ["waas_v2", "uuwallet"])
async def test_one_user_pays_another(open_shop: Opener, dialect: str) -> None:
    shop = await open_shop(dialect)
    one = await shop.post("users", name="one", symbol="VLX")
    two = await shop.post("users", name="two", symbol="VLX")
    await shop.deposit(one["address"], "5", "r1")
    await shop.settled()
    await shop.post("withdrawals", request_id="w-1", user="one", symbol="VLX", amount="2",
                    address=two["address"])  # fmt: skip
    await shop.settled()
    books = await shop.books()
    assert books["balances"] == {one["uid"]: {"VLX": "3"}, two["uid"]: {"VLX": "2"}}
    assert books["withdrawals"][0]["state"] == "paid"
    assert (await shop.platform.party.consume()).payload == []


@pytest.mark.parametrize("dialect", ["waas_v2", "uuwallet"])
async def test_a_refused_confirmation_pays_nothing(open_shop: Opener, dialect: str) -> None:
    shop = await open_shop(dialect)
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "5", "r1")
    await shop.settled()
    await shop.post("refuse", reason="the shop is shut")
    await shop.post("withdrawals", request_id="w-1", user="one", symbol="VLX", amount="2",
                    address="outside")  # fmt: skip
    await shop.settled()
    assert (await shop.platform.party.consume()).payload == []
    (row,) = await shop.platform.control.get("merchant/withdrawals")
    assert row["status"] == 2
    (confirm,) = [one for one in await shop.callbacks() if one["kind"] == "confirm"]
    # V2 has no word for "refused": the empty check_sum is it. UUWallet asks five times.
    assert len(confirm["tries"]) == (1 if dialect == "waas_v2" else 5)
    assert confirm["state"] == "given_up"
    books = await shop.books()
    assert books["balances"][one["uid"]]["VLX"] == "5" == await shop.platform_balance(one["uid"])


async def test_an_order_that_the_shop_does_not_know_is_refused(open_shop: Opener) -> None:
    """Somebody who has the merchant's key alone gets nothing out."""
    shop = await open_shop()
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "5", "r1")
    await shop.settled()
    await shop.merchant.client.withdraw("thief-1", one["uid"], "VLX", "5", "thief")
    await shop.settled()
    assert (await shop.platform.party.consume()).payload == []
    assert await shop.platform_balance(one["uid"]) == "5"


# --- schedule -----------------------------------------------------------------------------------


def test_schedule_as_gaps_and_since_the_event() -> None:
    assert SCHEDULE_S == (1, 120, 480, 1920, 7680)
    begun = 1_000_000_000
    gaps, since = Settings(), Settings(schedule=SINCE_FIRST)
    now = begun + 1_000_000
    for tries, after in ((1, 120), (2, 480), (3, 1920), (4, 7680)):
        assert next_try(gaps, begun, now, tries) == now + after * 1_000_000
        assert next_try(since, begun, now, tries) == begun + after * 1_000_000
        assert (
            next_try(replace(gaps, speed=60.0), begun, now, tries) == now + after * 1_000_000 // 60
        )
    late = begun + 9_000 * 1_000_000
    assert next_try(since, begun, late, 4) == late


async def test_the_first_try_comes_a_second_later(open_shop: Opener) -> None:
    shop = await open_shop(speed=4)
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "1", "r1")
    await shop.settled()
    (found,) = await shop.callbacks()
    assert 0.25 <= found["tries"][0]["at"] - found["created_at"] < 5


# --- restarts and absence -----------------------------------------------------------------------


async def test_a_merchant_that_was_down_misses_nothing(
    platform: Platform, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await platform.party.register("VLX", "A1", "A2")
    async with Merchant(platform.sandbox.url, tmp_path / "shop") as merchant:
        await platform.control.post("merchant", {"speed": FAST})
        shop = Shop(platform, merchant, session)
        one = await shop.post("users", name="one", symbol="VLX")
        await shop.deposit(one["address"], "1", "r1")
        await shop.settled()
    for number in range(2, 6):
        await shop.deposit(one["address"], "1", f"r{number}")
    await shop.settled()  # five failures each, and given up
    assert [one["state"] for one in await shop.callbacks()] == ["done"] + ["given_up"] * 4
    async with Merchant(platform.sandbox.url, tmp_path / "shop") as merchant:
        shop.merchant = merchant
        told = await shop.post("sync")
        assert told["open"] == 0 and told["refused"] == []
        books = await shop.books()
        assert books["balances"][one["uid"]]["VLX"] == "5"
        assert len(books["deposits"]) == 5
        assert (await shop.post("sync"))["handed_on"] == 0


async def test_open_records_are_asked_again(open_shop: Opener) -> None:
    """A record that the list showed too early is not lost behind the cursor."""
    shop = await open_shop(notify_url="")
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "1", "r1", confirm=1)
    await shop.deposit(one["address"], "2", "r2")
    assert (await shop.post("sync"))["open"] == 1
    assert [row["amount"] for row in (await shop.books())["deposits"]] == ["2"]
    await shop.deposit(one["address"], "1", "r1", confirm=9)
    assert (await shop.post("sync"))["handed_on"] == 1
    assert [row["amount"] for row in (await shop.books())["deposits"]] == ["2", "1"]
    assert (await shop.post("sync")) == {"handed_on": 0, "known": 0, "open": 0, "refused": []}


# --- UUWallet's own -----------------------------------------------------------------------------


async def test_a_replaced_address_and_notices(open_shop: Opener) -> None:
    shop = await open_shop("uuwallet", chain_names={"VLX": "VELAS"})
    one = await shop.post("users", name="one", symbol="VLX")
    given = await shop.platform.control.post(
        "merchant/notify", {"type": 4, "user": one["uid"], "symbol": "VLX"}
    )
    await shop.settled()
    assert given["address"] != one["address"]
    assert (await shop.books())["users"][0]["address"] == given["address"]
    for address in (one["address"], given["address"]):  # the old one is still his
        await shop.deposit(address, "1", f"r-{address}")
    await shop.settled()
    assert (await shop.books())["balances"][one["uid"]]["VLX"] == "2"
    await shop.post("withdrawals", request_id="w-1", user="one", symbol="VLX", amount="1",
                    address="outside", chain="VELAS")  # fmt: skip
    await shop.settled()
    assert len((await shop.platform.party.consume()).payload) == 1
    for kind in (0, 6, 7):
        await shop.platform.control.post("merchant/notify", {"type": kind, "request_id": "w-1"})
    await shop.settled()
    assert all(one["state"] == "done" for one in await shop.callbacks())


async def test_another_key_is_not_listened_to(open_shop: Opener) -> None:
    shop = await open_shop("uuwallet", api_key="another")
    one = await shop.post("users", name="one", symbol="VLX")
    await shop.deposit(one["address"], "1", "r1")
    await shop.settled()
    (found,) = await shop.callbacks()
    assert found["state"] == "given_up" and "errCode 401" in found["tries"][0]["answer"]
    assert (await shop.books())["deposits"] == []


# --- the control calls --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [{"dialect": "x"}, {"schedule": "x"}, {"notify_url": "ftp://x"}, {"notify_url": 5},
     {"notify_url": "http://[x"}, {"speed": 0}, {"speed": "5"}, {"timeout_s": -1},
     {"public_key": "nothing"}, {"chain_names": []}, {"chain_names": {"a": 1}}, {"nothing": 1}],
)  # fmt: skip
async def test_settings_are_checked(control: Operator, fields: dict[str, object]) -> None:
    before = await control.get("merchant")
    await control.post("merchant", fields, expect=400)
    assert await control.get("merchant") == before


async def test_control_refusals(control: Operator) -> None:
    await control.post("merchant/coins", {"symbol": "NO", "withdraw_fee": "1"}, expect=404)
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "-1"}, expect=400)
    await control.post("merchant/coins", {"symbol": "VLX", "withdraw_fee": "x"}, expect=400)
    await control.post("merchant/notify", {"type": 4, "user": "1", "symbol": "VLX"}, expect=409)
    await control.post("merchant", {"dialect": "uuwallet", "notify_url": "http://127.0.0.1:9"})
    await control.post("merchant/notify", {"type": 4, "user": "1", "symbol": "VLX"}, expect=404)
    await control.post("merchant/notify", {"type": 1, "request_id": "x"}, expect=400)
    await control.post("merchant/notify", {"type": 6, "request_id": "x"}, expect=404)
    assert await control.get("merchant/callbacks") == []


async def test_without_a_merchant_nothing_is_queued(platform: Platform) -> None:
    await platform.party.register("VLX", "A1")
    await platform.party.deposit("r1", "A1")
    assert await platform.control.get("merchant/callbacks") == []
    assert (await platform.control.get("merchant"))["app_id"] == platform.sandbox.app_id
