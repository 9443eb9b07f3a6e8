"""Over HTTP: an event is handed on once, a refusal hands on nothing and says so."""

from __future__ import annotations

import asyncio
import json

import pytest

from chain_adapter.callbacks.events import Approved, Deposited, Event, Refused
from chain_adapter.callbacks.handler import UuWalletCallbacks, WaasCallbacks, parse_form
from chain_adapter.callbacks.handoff import HandOff
from chain_adapter.callbacks.sqlite_store import SqliteStore
from chain_adapter.errors import ConfigError
from tests.callbacks.conftest import Post, Serve, Shop
from tests.callbacks.ends import (
    form,
    item,
    merchant,
    notice,
    opened_by_hand,
    paid,
    platform,
    private,
    question,
    raw,
    sealed,
    told,
    uu_merchant,
    uu_platform,
    uu_sealed,
)


async def test_three_lines_are_enough(serve: Serve, post: Post, store: SqliteStore) -> None:
    seen: list[Event] = []

    async def credit(event: Event) -> None:
        seen.append(event)

    callbacks = WaasCallbacks(merchant(), HandOff(store, credit))
    url = await serve(callbacks.routes())
    async with post.session.post(url + "/callbacks/notify", data=sealed(notice())) as answer:
        assert (answer.status, await answer.text()) == (200, "SUCCESS")
    assert [type(event) for event in seen] == [Deposited]
    # Nobody gave a coroutine for second confirmations, so every one is refused.
    async with post.session.post(url + "/callbacks/confirm", data=sealed(question())) as answer:
        assert not platform().confirms(await answer.read(), "7f3a")


# --- WaaS V2 ------------------------------------------------------------------------------------


async def test_a_redelivery_is_answered_and_not_handed_on(shop: Shop, post: Post) -> None:
    till = await shop.open()
    for time in ("1551429063000", "1551429183000", "1551429663000"):
        later = notice(notify_time=time, confirmations=int(time[-6:-4]))
        assert await post.waas(till, sealed(later)) == "SUCCESS"
    assert [event.key for event in till.handed] == ["waas/deposit/48393/1"]


async def test_many_at_once_are_one(shop: Shop, post: Post) -> None:
    till = await shop.open()
    answers = await asyncio.gather(*(post.waas(till, sealed(notice())) for _ in range(20)))
    assert set(answers) == {"SUCCESS"}
    assert len(till.handed) == 1


async def test_exactly_once_in_the_merchants_transaction(shop: Shop, post: Post) -> None:
    till = await shop.open(exactly=True)
    await asyncio.gather(*(post.waas(till, sealed(notice())) for _ in range(5)))
    await post.waas(till, sealed(paid()))
    assert await till.booked() == [
        ("Deposited", "10739", "LTC", "10.00000001"),
        ("Withdrawn", "10739", "ETH", "0.4"),
    ]


async def test_older_and_later_states(shop: Shop, post: Post) -> None:
    till = await shop.open()
    for status in ("0", "4", "1", "0", "4", "1"):
        assert await post.waas(till, sealed(notice(status=status))) == "SUCCESS"
    assert [event.key[-1] for event in till.handed] == ["0", "4", "1"]


@pytest.mark.parametrize(
    "second",
    [notice(amount="10.00000002"), notice(uid="1"), notice(symbol="BTC"), notice(amount="100")],
)
async def test_one_deposit_told_in_two_ways(
    shop: Shop, post: Post, second: dict[str, object]
) -> None:
    till = await shop.open(exactly=True)
    assert await post.waas(till, sealed(notice())) == "SUCCESS"
    assert await post.waas(till, sealed(second)) == "FAILURE"
    assert len(await till.booked()) == 1
    assert await post.waas(till, sealed(notice(amount="10.000000010"))) == "SUCCESS"


async def test_a_withdrawal_has_one_end(shop: Shop, post: Post) -> None:
    till = await shop.open(exactly=True)
    assert await post.waas(till, sealed(paid(status=1))) == "SUCCESS"
    assert await post.waas(till, sealed(paid(status=4))) == "SUCCESS"
    assert await post.waas(till, sealed(paid(status=5))) == "FAILURE"
    assert await till.booked() == [("WithdrawalFailed", "10739", "ETH", "0.4")]


async def test_a_failing_merchant_is_asked_again(shop: Shop, post: Post) -> None:
    till = await shop.open()
    till.failures, till.not_now = 1, 1
    assert "SUCCESS" not in await post.waas(till, sealed(notice()))
    assert post.status == 500
    assert await post.waas(till, sealed(notice())) == "FAILURE"
    assert await post.waas(till, sealed(notice())) == "SUCCESS"
    assert len(till.handed) == 1


async def test_answers_can_be_encrypted(shop: Shop, post: Post) -> None:
    till = await shop.open(encrypted=True)
    for body, yes in ((sealed(notice()), True), (sealed(notice(status=3)), False)):
        said = await post.waas(till, body)
        assert said not in ("SUCCESS", "FAILURE")
        assert platform().is_success(said) is yes


async def test_what_is_not_the_platforms_is_refused(shop: Shop, post: Post) -> None:
    till = await shop.open()
    good = sealed(notice())["data"]
    by_stranger = type(platform())(
        "merchant-1", private("stranger"), private("merchant").public_key()
    )
    for body in (
        b"", b"garbage", b"\xff\xfe", b"app_id=merchant-1", {"data": good}, form(good, "other"),
        form(good[:-4]), form(good[:342]), form(good[342:] + good[:342]), form(good + good),
        form(by_stranger.seal(raw(notice()))), form(merchant().seal(raw(notice()))),
        form(raw(notice()).decode()), {"data": json.dumps(notice()), "app_id": "merchant-1"},
        f"app_id=merchant-1&data={good}&data={good}".encode(), b"x" * (1 << 20) + b"y",
        form(item("waas_v2.json", "confirm/request")["data"]),
        form(item("waas_v2.json", "response/syncWithdrawList")["data"]),
        form(item("waas_v2.json", "request/syncWithdrawList")["data"]),
    ):  # fmt: skip
        assert await post.waas(till, body) == "FAILURE"
        assert post.status == 400
    assert till.handed == []


async def test_second_confirmation(shop: Shop, post: Post) -> None:
    till = await shop.open()
    asked = sealed(question())

    async def confirmed() -> bool:
        return platform().confirms((await post.confirm(till, asked)).encode(), "7f3a")

    assert not await confirmed()
    till.decision = Approved()
    assert await confirmed()
    assert await confirmed()  # asked again because the answer was lost
    for wrong in (Approved(amount="0.5"), Approved(symbol="ETH"), Approved(address="eos_1")):
        till.decision = wrong
        assert not await confirmed()
    till.decision = Approved()
    assert await confirmed()
    till.decision = Approved(amount="0.40")  # agrees, but is not what was approved before
    assert not await confirmed()
    till.decision = Refused("the user has changed his mind")
    assert not await confirmed()
    assert {one.request_id for one in till.asked} == {"wd-1"}


async def test_details_of_the_books_are_compared(shop: Shop, post: Post) -> None:
    till = await shop.open()
    till.decision = Approved(address="eos_24545", symbol="EOS", amount="0.400")
    body = await post.confirm(till, sealed(question()))
    assert platform().confirms(body.encode(), "7f3a")


async def test_confirmation_of_garbage(shop: Shop, post: Post) -> None:
    till = await shop.open()
    till.decision = Approved()
    for wrong in (b"", sealed(notice()), sealed(question(check_sum=...)), form("AAAA")):
        body = await post.confirm(till, wrong)
        assert (post.status, body) == (400, "FAILURE")
    assert till.asked == []


# --- UUWallet -----------------------------------------------------------------------------------

NAMES = ("NOTIFY_DEPOSITED", "NOTIFY_WITHDRAW", "NOTIFY_ADDRESS", "NOTIFY_INVALID_ADDRESS")


async def test_every_type_once(shop: Shop, post: Post) -> None:
    till = await shop.open()
    bodies = [told(name) for name in NAMES]
    bodies[3]["callBackId"] = "another"
    bodies += [told("NOTIFY_REQUEST_WITHDRAW", type=kind, trackingId="7") for kind in (0, 6, 7)]
    for fields in bodies:
        for attempt in ("1", "2"):
            body = await post.uu(till, uu_sealed(fields | {"requestUUID": attempt}))
            answer = uu_platform().read(body)
            assert (post.status, answer.code) == (200, 0)
            assert answer.data["requestUUID"] == attempt
    assert len(till.handed) == len(bodies) == len({event.key for event in till.handed})


@pytest.mark.parametrize("key", [None, "", "another", "an-agreed-ke", "an-agreed-keyy"])
async def test_without_the_key_nothing_happens(shop: Shop, post: Post, key: str | None) -> None:
    till = await shop.open()
    till.decision = Approved("a", "c", "s", "1")
    for name, path in (
        ("NOTIFY_DEPOSITED", "/notify"),
        ("NOTIFY_REQUEST_WITHDRAW", "/withdraw/info"),
    ):
        body = item("uuwallet.json", name)["data"].encode()
        answer = json.loads(await post.uu(till, body, key, path="/api/v1/uu" + path))
        assert (post.status, answer["errCode"], answer["data"]) == (401, 401, "")
        assert answer["message"] and answer["apiKey"] == ""
    assert (till.handed, till.asked) == ([], [])


async def test_uuwallet_refusals_carry_a_message(shop: Shop, post: Post) -> None:
    till = await shop.open()
    good = item("uuwallet.json", "NOTIFY_DEPOSITED")["data"].encode()
    stranger = type(uu_platform())("", private("stranger"))
    for body in (
        b"", b"{}", b"\xff", b"data=", good[:-8], good[172:], good[:172], b"x" * ((1 << 20) + 1),
        good.replace(b"A", b"B", 1), stranger.seal(raw(told("NOTIFY_DEPOSITED"))).encode(),
        uu_sealed(told("NOTIFY_DEPOSITED", type=9)), uu_sealed([]),
        uu_sealed(told("NOTIFY_DEPOSITED", amount="many")), raw(told("NOTIFY_DEPOSITED")),
    ):  # fmt: skip
        answer = json.loads(await post.uu(till, body))
        assert answer["errCode"] != 0 and answer["message"]
    assert till.handed == []
    till.not_now = 1
    answer = json.loads(await post.uu(till, good))
    assert (answer["errCode"] != 0, answer["message"]) == (True, "come again")


async def test_uuwallet_contradictions(shop: Shop, post: Post) -> None:
    till = await shop.open(exactly=True)

    async def code(fields: dict[str, object]) -> int:
        return uu_platform().read(await post.uu(till, uu_sealed(fields))).code

    assert await code(told("NOTIFY_DEPOSITED")) == 0
    assert await code(told("NOTIFY_DEPOSITED", amount="2.5")) == 0  # the same value
    assert await code(told("NOTIFY_DEPOSITED", amount="25")) != 0
    assert await code(told("NOTIFY_DEPOSITED", tenantUserId="1")) != 0
    assert await code(told("NOTIFY_WITHDRAW")) == 0
    dead = told("NOTIFY_INVALID_ADDRESS", callBackId="250624392590001")
    assert await code(dead) != 0  # it was paid
    assert await code(told("NOTIFY_WITHDRAW", txId="another")) != 0  # it was paid, by another txid
    assert len(await till.booked()) == 2


async def test_uuwallet_second_confirmation(shop: Shop, post: Post) -> None:
    till = await shop.open()
    asked = item("uuwallet.json", "NOTIFY_REQUEST_WITHDRAW")["data"].encode()
    refused = uu_platform().read(await post.ask(till, asked))
    assert (refused.code != 0, refused.message) == (True, "not told")
    till.decision = Approved("TGDHyoMpgDQj4DmoZdwJP2FSkSG4DEchnK", "chain", "USDT", "2.5")
    body = await post.ask(till, asked)
    assert uu_platform().read(body).code == 0
    data = json.loads(opened_by_hand(private("uuwallet"), json.loads(body)["data"]))
    assert (data["address"], data["amount"]) == ("TGDHyoMpgDQj4DmoZdwJP2FSkSG4DEchnK", "2.5")
    assert data["callBackId"] == "250624392590001"
    assert uu_platform().read(await post.uu(till, asked)).code == 0  # one URL for all types
    till.decision = Approved("another", "chain", "USDT", "2.5")
    assert uu_platform().read(await post.ask(till, asked)).code != 0
    till.decision = Approved("x")
    incomplete = told("NOTIFY_REQUEST_WITHDRAW", callBackId="2")
    answer = uu_platform().read(await post.ask(till, uu_sealed(incomplete)))
    assert answer.code != 0 and "does not say" in answer.message


# --- odds and ends ------------------------------------------------------------------------------


def test_forms() -> None:
    assert parse_form(b"app_id=a&data=b%2Bc") == {"app_id": "a", "data": "b+c"}
    assert parse_form(b"") == {}


def test_one_of_the_two_ways(store: SqliteStore) -> None:
    async def one(event: Event) -> None: ...

    with pytest.raises(ConfigError):
        HandOff(store)
    with pytest.raises(ConfigError):
        HandOff(store, one, lambda event, db: None)


async def test_incomplete_approval_is_not_remembered(serve: Serve, store: SqliteStore) -> None:
    callbacks = UuWalletCallbacks(uu_merchant(), HandOff(store, apply=lambda event, db: None))
    assert await serve(callbacks.routes())
    assert await store.approval("x") is None
