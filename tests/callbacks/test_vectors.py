"""Every recorded message is made and opened to the byte, by both ends."""

from __future__ import annotations

import base64
import json

import pytest

from chain_adapter.callbacks.events import (
    AddressReplaced,
    ConfirmRequest,
    Deposited,
    Event,
    WithdrawalFailed,
    Withdrawn,
)
from chain_adapter.callbacks.waas import WaasV2
from tests.callbacks.ends import (
    form,
    item,
    items,
    merchant,
    opened_by_hand,
    platform,
    private,
    sealed_by_hand,
    uu_merchant,
    uu_platform,
)

WAAS = [pytest.param(one, id=one["name"]) for one in items("waas_v2.json")]
UU = [pytest.param(one, id=one["name"]) for one in items("uuwallet.json")]


def ends_of(one: dict[str, str]) -> tuple[WaasV2, WaasV2]:
    """(who sealed it, who opens it)"""
    both = (platform(), merchant())
    return both if one["sender"] == "platform" else (both[1], both[0])


@pytest.mark.parametrize("one", WAAS)
def test_waas_to_the_byte(one: dict[str, str]) -> None:
    sender, receiver = ends_of(one)
    assert sender.seal(one["plaintext"].encode()) == one["data"]
    assert receiver.open(one["data"]) == one["plaintext"].encode()


@pytest.mark.parametrize("one", WAAS)
def test_older_clients_cut_at_234(one: dict[str, str]) -> None:
    key = private("platform" if one["sender"] == "platform" else "merchant")
    _, receiver = ends_of(one)
    plaintext = one["plaintext"].encode()
    for segment in (234, 100):
        assert receiver.open(sealed_by_hand(key, plaintext, segment)) == plaintext
    assert sealed_by_hand(key, plaintext, 245) == one["data"]


@pytest.mark.parametrize("one", UU)
def test_uuwallet_to_the_byte(one: dict[str, str]) -> None:
    assert uu_platform().seal(one["plaintext"].encode()) == one["data"]
    message = uu_merchant().open(one["data"].encode())
    assert message.fields == json.loads(one["plaintext"], parse_int=str)


def test_deposit_is_typed() -> None:
    one = item("waas_v2.json", "notify/deposit")
    event = merchant().notification(form(one["data"]))
    assert isinstance(event, Deposited)
    assert (event.key, event.subject) == ("waas/deposit/48393/1", "waas/deposit/48393")
    assert (event.user_id, event.symbol, event.amount) == ("10739", "LTC", "10.00000001")
    assert event.units(8) == 1_000_000_001
    assert event.address_to == "LhFrA5ZJL15UdRV1uEfFxfdqWJUbBhXpRk1"
    assert (event.confirmations, event.final) == (11, True)


def test_withdrawal_is_typed() -> None:
    one = item("waas_v2.json", "notify/withdraw")
    event = merchant().notification(form(one["data"]))
    assert isinstance(event, Withdrawn)
    assert (event.request_id, event.record_id, event.amount) == ("wd-1", "48680", "0.4")
    assert (event.withdraw_fee, event.real_fee, event.fee_symbol) == ("0.01", "0.00042", "ETH")


def test_second_confirmation_is_answered_to_the_byte() -> None:
    asked = item("waas_v2.json", "confirm/request")
    request, check_sum = merchant().confirmation(form(asked["data"]))
    assert isinstance(request, ConfirmRequest)
    assert (request.request_id, request.user_id, request.address) == ("wd-1", "10739", "eos_24545")
    assert (request.amount, request.symbol, check_sum) == ("0.4", "EOS", "7f3a")
    answered = item("waas_v2.json", "confirm/response")
    body = merchant().confirm_answer(check_sum, 1586420916400)
    assert json.loads(body) == {"data": answered["data"]}
    assert platform().confirms(body, "7f3a")
    assert not platform().confirms(body, "7f3b")


def test_merchant_request_and_its_answer() -> None:
    one = item("waas_v2.json", "response/syncWithdrawList")
    response = merchant().response(json.dumps({"data": one["data"]}).encode())
    assert (response.code, response.msg) == ("0", "success")
    assert response.data[0]["memo"] == "中文备注"
    made = merchant().request({"max_id": 0}, 1586420916306)
    assert json.loads(platform().open(made["data"])) == {
        "max_id": 0, "time": 1586420916306, "charset": "utf-8", "version": "v2",
    }  # fmt: skip


UU_EVENTS = {
    "NOTIFY_DEPOSITED": Deposited,
    "NOTIFY_WITHDRAW": Withdrawn,
    "NOTIFY_ADDRESS": AddressReplaced,
    "NOTIFY_INVALID_ADDRESS": WithdrawalFailed,
}


@pytest.mark.parametrize(("name", "kind"), UU_EVENTS.items())
def test_uuwallet_is_typed(name: str, kind: type[Event]) -> None:
    event = uu_merchant().event(uu_merchant().open(item("uuwallet.json", name)["data"].encode()))
    assert type(event) is kind


def test_uuwallet_deposit_in_full() -> None:
    message = uu_merchant().open(item("uuwallet.json", "NOTIFY_DEPOSITED")["data"].encode())
    event = uu_merchant().event(message)
    assert isinstance(event, Deposited)
    assert (event.amount, event.user_id, event.record_id) == ("2.5", "2049", "6484")
    assert (event.risk_from, event.risk_to) == (3, 3)
    assert event.txid.startswith("b00a4aa3") and event.chain is not None
    assert event.key.endswith(f"/{event.txid}/{event.chain}/{event.symbol}/{event.address_to}")


def test_uuwallet_answer_repeats_the_fields() -> None:
    message = uu_merchant().open(item("uuwallet.json", "NOTIFY_DEPOSITED")["data"].encode())
    body = json.loads(uu_merchant().accept(message))
    assert (body["apiKey"], body["errCode"], body["message"]) == ("an-agreed-key", 0, "success")
    data = json.loads(opened_by_hand(private("uuwallet"), body["data"]))
    asked = json.loads(item("uuwallet.json", "NOTIFY_DEPOSITED")["plaintext"])
    assert data == asked
    assert isinstance(data["amount"], str)
    assert len(base64.b64decode(body["data"])) % 128 == 0
    assert uu_platform().read(json.dumps(body).encode()).data["requestUUID"] == asked["requestUUID"]
