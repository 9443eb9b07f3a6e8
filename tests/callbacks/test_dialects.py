"""What the editions of the documents write differently, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from chain_adapter.callbacks.events import (
    AddressReplaced,
    Approved,
    CallbackRefused,
    Deposited,
    DepositUpdate,
    Notice,
    WithdrawalFailed,
    WithdrawalUpdate,
    Withdrawn,
)
from tests.callbacks.ends import (
    API_KEY,
    form,
    merchant,
    notice,
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
    without_its_message,
)

# --- WaaS V2 ------------------------------------------------------------------------------------


def test_numbers_or_strings() -> None:
    as_numbers = notice(id=48393, uid=10739, confirmations=11, status=1, notify_time=1551429063000)
    one, other = (
        merchant().notification(sealed(notice())),
        merchant().notification(sealed(as_numbers)),
    )
    assert without_its_message(one) == without_its_message(other)


def test_both_spellings_and_none() -> None:
    for fields in (notice(), notice(version=..., vesion="v2"), notice(version=...)):
        assert isinstance(merchant().notification(sealed(fields)), Deposited)
    for wrong in ("v3", "", "1"):
        if wrong:
            with pytest.raises(CallbackRefused, match="version"):
                merchant().notification(sealed(notice(version=wrong)))
            with pytest.raises(CallbackRefused, match="version"):
                merchant().notification(sealed(notice(version=..., vesion=wrong)))


@pytest.mark.parametrize(
    ("status", "state"),
    [(0, "confirming"), (2, "failed"), (4, "held"), (5, "held"), (6, "held")],
)
def test_only_status_1_credits(status: int, state: str) -> None:
    event = merchant().notification(sealed(notice(status=status)))
    assert isinstance(event, DepositUpdate)
    assert (event.state, event.final) == (state, False)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (0, WithdrawalUpdate, "unreviewed"), (1, WithdrawalUpdate, "paying"),
        (2, WithdrawalFailed, "rejected"), (3, WithdrawalUpdate, "processing"),
        (4, WithdrawalFailed, "failed"), (5, Withdrawn, ""), (6, WithdrawalFailed, "cancelled"),
        (7, WithdrawalUpdate, "held"), (8, WithdrawalUpdate, "held"),
    ],
)  # fmt: skip
def test_withdrawal_states(status: int, kind: type[Any], said: str) -> None:
    event = merchant().notification(sealed(paid(status=str(status))))
    assert type(event) is kind
    assert getattr(event, "state", getattr(event, "why", "")) == said
    assert event.final is (kind is not WithdrawalUpdate)


@pytest.mark.parametrize(
    "fields",
    [
        notice(side="transfer"), notice(side=...), notice(side=None), notice(side=["deposit"]),
        notice(status=3), notice(status=7), notice(status="x"), notice(status=1.5),
        notice(status=-1), notice(status=...), notice(status=True), paid(status=9),
        notice(id=...), notice(id=""), notice(id=None), notice(id={}), notice(uid=...),
        notice(symbol=...), notice(symbol=""),
        notice(amount=...), notice(amount="0"), notice(amount="0.000"), notice(amount=-1),
        notice(amount="-1"), notice(amount="1,5"), notice(amount="NaN"), notice(amount=""),
        notice(amount="0x10"), notice(amount="1" * 300), notice(confirmations="many"),
        notice(txid=...), notice(notify_time=...), notice(confirmations=...),
        notice(created_at=...), paid(real_fee=...), paid(address_to=...),
        paid(request_id=...), paid(request_id=""), paid(real_fee="-1"),
        question(), [], [notice()], "SUCCESS", 5, None, {}, {"data": notice()},
        {"code": "0", "msg": "success", "data": []},
    ],
)  # fmt: skip
def test_refused_by_name(fields: Any) -> None:
    with pytest.raises(CallbackRefused):
        merchant().notification(sealed(fields))


def test_exponents_are_taken_exactly() -> None:
    event = merchant().notification(form(platform().seal(raw(notice()).replace(
        b'"10.00000001"', b"1.50e-7"))))  # fmt: skip
    assert isinstance(event, Deposited)
    assert event.amount == "0.00000015"


@pytest.mark.parametrize(
    "plaintext",
    [
        b"", b"{", b"\xff\xfe", b"null", b"{}{}", raw(notice())[:-1], raw(notice()) + b"}",
        raw(notice()).replace(b'"uid":"10739"', b'"uid":"10739","uid":"1"'),
        raw(notice()).replace(b'"10.00000001"', b"NaN"),
        raw(notice()).replace(b"LTC", b"LT\\u0000C"), b"[" * 10_000,
    ],
)  # fmt: skip
def test_signed_garbage_is_refused(plaintext: bytes) -> None:
    with pytest.raises(CallbackRefused):
        merchant().notification(form(platform().seal(plaintext)))


def test_another_app_id_or_none() -> None:
    data = platform().seal(raw(notice()))
    for wrong in ({"data": data}, form(data, "other"), form(data, ""), {"app_id": "merchant-1"}):
        with pytest.raises(CallbackRefused):
            merchant().notification(wrong)


def test_plain_and_encrypted_answers() -> None:
    ours, theirs = merchant(), platform()
    assert ours.word("SUCCESS") == "SUCCESS"
    for yes in ("SUCCESS", " SUCCESS\n", '"SUCCESS"', ours.word("SUCCESS", encrypted=True),
                json.dumps({"data": ours.word("SUCCESS", encrypted=True)})):  # fmt: skip
        assert theirs.is_success(yes)
    stranger = type(ours)("merchant-1", private("stranger"), private("platform").public_key())
    for no in ("FAILURE", "", "success", "SUCCESSFUL", "<html>SUCCESS</html>", "null",
               ours.word("FAILURE", encrypted=True), stranger.word("SUCCESS", encrypted=True),
               theirs.word("SUCCESS", encrypted=True), '{"data": 5}', "{"):  # fmt: skip
        assert not theirs.is_success(no)


def test_confirmation_reads_transfers_and_refuses_the_rest() -> None:
    fields = question(from_uid=..., to_address=..., to="other-merchant", remark="for you")
    request, check_sum = merchant().confirmation(sealed(fields))
    assert (request.to_merchant, request.user_id, request.remark) == (
        "other-merchant",
        "",
        "for you",
    )
    assert check_sum == "7f3a"
    for wrong in (question(check_sum=...), question(check_sum=""), question(request_id=...),
                  question(amount="0"), question(to_address=...), question(from_uid=...),
                  question(version="v3"), notice(), paid(), [], None):  # fmt: skip
        with pytest.raises(CallbackRefused):
            merchant().confirmation(sealed(wrong))


def test_only_the_equal_check_sum_confirms() -> None:
    ours, theirs = merchant(), platform()
    stranger = type(ours)("merchant-1", private("stranger"), private("platform").public_key())
    assert theirs.confirms(ours.confirm_answer("a1", 5), "a1")
    for no in (ours.confirm_answer("", 5), ours.confirm_answer("A1", 5), b"", b"SUCCESS", b"{}",
               stranger.confirm_answer("a1", 5), b'{"data":"a1"}', b'{"check_sum":"a1"}',
               raw({"data": ours.seal(b'["a1"]')}), raw({"data": ours.seal(b'{"check_sum":1}')}),
               b"<html>"):  # fmt: skip
        assert not theirs.confirms(no, "a1")


# --- UUWallet -----------------------------------------------------------------------------------


def event_of(fields: object) -> Any:
    return uu_merchant().event(uu_merchant().open(uu_sealed(fields)))


def test_body_forms() -> None:
    text = uu_platform().seal(raw(told("NOTIFY_DEPOSITED")))
    want = uu_merchant().open(text.encode()).fields
    for body in (
        text,
        f"{text}\n",
        f"data={quote(text, safe='')}",
        f"data={text}",  # a sender that forgets to escape: a plus becomes a blank
        urlencode({"appId": "x", "data": text}),
        json.dumps({"data": text}),
        text.replace("+", "-").replace("/", "_").rstrip("="),
    ):
        assert uu_merchant().open(body.encode()).fields == want


def test_editions_of_types() -> None:
    one = event_of(told("NOTIFY_DEPOSITED"))
    other = event_of(told("NOTIFY_DEPOSITED", type="1", amount=2.5, trackingId=6484,
                          tenantUserId=2049, requestUUID="another", state=None, tenantType=None,
                          riskLevelTo="3"))  # fmt: skip
    assert without_its_message(one) == without_its_message(other)


def test_types_without_money() -> None:
    waiting = told("NOTIFY_REQUEST_WITHDRAW", type=6, trackingId="9")
    event = event_of(waiting)
    assert isinstance(event, WithdrawalUpdate)
    assert (event.state, event.request_id) == ("waiting_for_funds", "250624392590001")
    gas = event_of(waiting | {"type": 7})
    assert gas.state == "waiting_for_gas" and gas.key != event.key
    quiet = event_of({"type": 0, "requestUUID": "r-1"})
    assert isinstance(quiet, Notice) and quiet.key.endswith("/r-1")


def test_keys_follow_the_platforms_own() -> None:
    deposit = told("NOTIFY_DEPOSITED")
    key = event_of(deposit).key
    assert event_of(deposit | {"requestUUID": "2", "trackingId": "other"}).key == key
    for name in ("txId", "chainName", "symbol", "toAddress"):
        assert event_of(deposit | {name: "other"}).key != key
    sent = told("NOTIFY_WITHDRAW")
    assert event_of(sent | {"requestUUID": "2", "trackingId": "3"}).key == event_of(sent).key
    assert event_of(sent | {"txId": "other"}).key != event_of(sent).key
    dead = told("NOTIFY_INVALID_ADDRESS")
    assert event_of(dead | {"requestUUID": "2"}).key == event_of(dead).key
    assert event_of(dead | {"trackingId": "other"}).key != event_of(dead).key
    moved = told("NOTIFY_ADDRESS")
    assert isinstance(event_of(moved), AddressReplaced)
    assert event_of(moved | {"requestUUID": "2"}).key == event_of(moved).key
    new = {"newAddress": "other", "toAddress": "other"}
    assert event_of(moved | new).key != event_of(moved).key


@pytest.mark.parametrize(
    "fields",
    [
        told("NOTIFY_DEPOSITED", type=8), told("NOTIFY_DEPOSITED", type=-1),
        told("NOTIFY_DEPOSITED", type="one"), told("NOTIFY_DEPOSITED", type=...),
        told("NOTIFY_DEPOSITED", requestUUID=...), told("NOTIFY_DEPOSITED", txId=...),
        told("NOTIFY_DEPOSITED", txId=""), told("NOTIFY_DEPOSITED", chainName=None),
        told("NOTIFY_DEPOSITED", symbol=...), told("NOTIFY_DEPOSITED", toAddress=...),
        told("NOTIFY_DEPOSITED", amount="0"), told("NOTIFY_DEPOSITED", amount=-2),
        told("NOTIFY_DEPOSITED", tenantUserId=None), told("NOTIFY_WITHDRAW", callBackId=...),
        told("NOTIFY_WITHDRAW", txId=...), told("NOTIFY_ADDRESS", newAddress=...),
        told("NOTIFY_ADDRESS", toAddress="another"), told("NOTIFY_DEPOSITED", business=...),
        told("NOTIFY_DEPOSITED", fromAddress=...), told("NOTIFY_WITHDRAW", trackingId=...),
        told("NOTIFY_INVALID_ADDRESS", callBackId=None),
        [], None, "x", 5, {},
    ],
)  # fmt: skip
def test_uuwallet_refused_by_name(fields: Any) -> None:
    with pytest.raises(CallbackRefused):
        event_of(fields)


def test_key_is_compared_whole() -> None:
    assert uu_merchant().is_key(API_KEY)
    for wrong in (None, "", API_KEY[:-1], API_KEY + "x", API_KEY.upper(), "é", "\udcff"):
        assert not uu_merchant().is_key(wrong)
    assert not type(uu_merchant())("", private("uuwallet").public_key()).is_key("")


def test_approval_is_the_fields() -> None:
    ours = uu_merchant()
    message = ours.open(uu_sealed(told("NOTIFY_REQUEST_WITHDRAW")))
    assert ours.question(message).request_id == "250624392590001"
    answer = uu_platform().read(ours.approve(message, Approved("TG", "chain", "USDT", "2.5")))
    assert answer.code == 0
    assert answer.data == {
        "requestUUID": "11111111-c302-4228-bd61-6326e0539551", "tenantUserId": "1945",
        "type": "2", "business": "0", "chainName": "chain", "symbol": "USDT", "amount": "2.5",
        "address": "TG", "callBackId": "250624392590001",
    }  # fmt: skip
    for short in (Approved(), Approved("TG", "chain", "USDT"), Approved(chain="c", symbol="s")):
        with pytest.raises(CallbackRefused, match="does not say"):
            ours.approve(message, short)


def test_refusal_says_why_and_approves_nothing() -> None:
    ours = uu_merchant()
    message = ours.open(uu_sealed(told("NOTIFY_REQUEST_WITHDRAW")))
    answer = uu_platform().read(ours.refuse("not ours", message))
    assert (answer.code != 0, answer.message) == (True, "not ours")
    assert not {"address", "amount", "symbol"} & set(answer.data)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"SUCCESS", b"<html>", b'{"errCode":"x"}', b'{"errCode":0,"data":"AAAA"}',
     b'{"errCode":0,"data":5}'],
)  # fmt: skip
def test_platform_refuses_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(CallbackRefused):
        uu_platform().read(body)
