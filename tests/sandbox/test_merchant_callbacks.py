"""Callbacks from the platform to a merchant that uses the product's library, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chain_adapter.sandbox.callbacks_out import SCHEDULE_S, next_try
from chain_adapter.sandbox.merchant import Merchant
from chain_adapter.sandbox.merchant_books import SINCE_FIRST, Settings
from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import Operator, Platform, make_party
from tests.sandbox.merchant_ends import FAST, Shop, merchant_end, until

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


# --- a merchant that misbehaves -----------------------------------------------------------------


class Rude:
    """Answers what it is told to, in turn; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append({key: str(value) for key, value in (await request.post()).items()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.Response(status=answer, text="SUCCESS")
        if answer is None:
            transport = request.transport
            assert transport is not None
            transport.abort()
            return web.Response()
        return web.Response(body=answer, content_type="text/html")


@pytest.fixture
async def rude() -> AsyncIterator[Callable[..., Awaitable[tuple[Rude, str]]]]:
    async with AsyncExitStack() as stack:

        async def opened(*answers: Any) -> tuple[Rude, str]:
            made = Rude(*answers)
            app = web.Application()
            app.router.add_post("/", made.handle)
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return made, f"http://127.0.0.1:{runner.addresses[0][1]}/"

        yield opened


async def one_deposit(platform: Platform, **settings: object) -> list[dict[str, Any]]:
    """Tell one deposit; the callback's tries once it is over."""
    await platform.control.post("merchant", {"speed": FAST} | settings)
    await platform.party.register("VLX", "A1")
    await platform.party.deposit("r1", "A1")

    async def over() -> bool:
        found = await platform.control.get("merchant/callbacks")
        return bool(found) and found[0]["state"] != "waiting"

    await until(over, "the callback to be over")
    (found,) = await platform.control.get("merchant/callbacks")
    return list(found["tries"])


async def test_four_failures_and_the_fifth_succeeds(platform: Platform, rude: Any) -> None:
    answers = (b"FAILURE", b"<html>SUCCESS</html>", 500, None, b"SUCCESS")
    shop, url = await rude(*answers)
    tries = await one_deposit(platform, notify_url=url)
    assert [one["ok"] for one in tries] == [False] * 4 + [True]
    assert [one["answer"][:8] for one in tries[:3]] == ["HTTP 200", "HTTP 200", "HTTP 500"]
    opened = [json.loads(merchant_end(platform.sandbox).open(one["data"])) for one in shop.bodies]
    assert len({one["id"] for one in opened}) == 1
    assert {one["app_id"] for one in shop.bodies} == {platform.sandbox.app_id}


async def test_the_fifth_failure_ends_it(platform: Platform, rude: Any) -> None:
    shop, url = await rude(b"FAILURE")
    tries = await one_deposit(platform, notify_url=url)
    assert len(tries) == 5 == len(shop.bodies)
    (found,) = await platform.control.get("merchant/callbacks")
    assert (found["state"], found["next_at"]) == ("given_up", None)


async def test_a_merchant_that_never_answers(platform: Platform, rude: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        tries = await one_deposit(platform, notify_url=url, timeout_s=0.05)
    assert len(tries) == 5
    assert all("Timeout" in one["answer"] for one in tries)


async def test_encrypted_answers_are_understood(platform: Platform, rude: Any) -> None:
    word = merchant_end(platform.sandbox).word("SUCCESS", encrypted=True)
    _, url = await rude(word.encode())
    assert [one["ok"] for one in await one_deposit(platform, notify_url=url)] == [True]


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        pytest.param((b"FAILURE",), 1, id="no check_sum"),
        pytest.param((b"<html>",), 1, id="HTML"),
        pytest.param((b'{"data":"AAAA"}',), 1, id="does not open"),
        pytest.param((401,), 1, id="unauthorised"),
        pytest.param((None, 500, b"FAILURE"), 3, id="silence is asked again"),
        pytest.param((None,), 5, id="silence for good"),
    ],
)
async def test_whatever_is_not_the_check_sum_refuses(
    platform: Platform, rude: Any, answers: tuple[Any, ...], tries: int
) -> None:
    _, url = await rude(*answers)
    await platform.control.post("merchant", {"speed": FAST, "confirm_url": url})
    await platform.party.register("VLX", "A1")
    user = await platform.control.user()
    await platform.party.deposit("r1", user["address"], amount="5")
    end = merchant_end(platform.sandbox)
    fields = {"request_id": "w", "from_uid": user["user"], "symbol": "VLX", "amount": "2",
              "to_address": "to"}  # fmt: skip
    url = f"{platform.sandbox.url}/api/v2/billing/withdraw"
    async with platform.party.session.post(url, data=end.request(fields, 1)) as answer:
        assert end.response(await answer.read()).code == "0"

    async def rejected() -> bool:
        (row,) = await platform.control.get("merchant/withdrawals")
        return bool(row["status"] == 2)

    await until(rejected, "the refusal")
    (found,) = await platform.control.get("merchant/callbacks")
    assert len(found["tries"]) == tries
    assert (await platform.party.consume()).payload == []


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


async def test_callbacks_survive_a_restart_of_the_platform(
    state: Path, session: aiohttp.ClientSession, rude: Any
) -> None:
    shop, url = await rude(b"SUCCESS")
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        await control.coin("VLX")
        await control.post("merchant", {"notify_url": url, "speed": 0.0001})
        party = make_party(sandbox.url, state, session)
        await party.register("VLX", "A1")
        await party.deposit("r1", "A1")

        async def queued() -> bool:
            return bool(await control.get("merchant/callbacks"))

        await until(queued, "the callback to be queued")
    assert shop.bodies == []
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        (found,) = await control.get("merchant/callbacks")
        assert (found["state"], found["tries"]) == ("waiting", [])
        await control.post("merchant", {"speed": FAST})  # what waits is hurried too

        async def delivered() -> bool:
            (found,) = await control.get("merchant/callbacks")
            return bool(found["state"] == "done")

        await until(delivered, "the delivery")
    assert len(shop.bodies) == 1


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
