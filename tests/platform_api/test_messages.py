"""The seven messages: one form out, every form in, nothing rounded, no bad row spoils a page."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter import money
from chain_adapter.platform_api.messages import (
    Available,
    BadMessage,
    Cancel,
    Consume,
    DepositNotice,
    InternalNotice,
    Order,
    Register,
    TransId,
    WithdrawalNotice,
    read_available,
    read_consume,
    read_deposit_echo,
)
from tests.platform_api.peer import vectors

DEPOSIT = DepositNotice(
    request_id="0f" * 16,
    symbol="ETH",
    txid="0xabc",
    address_to="0xto",
    amount="0.000000000000000001",
    confirm=12,
    balance="115792089237316195423570985008687907853269984665640564039457.584007913129639935",
)
WITHDRAWAL = WithdrawalNotice(
    trans_id=TransId("50021", quoted=False),
    symbol="ETH",
    txid="0xdef",
    address_to="0xto",
    amount="1.5",
    fee="0.00021",
    confirm=0,
    balance="0",
)
INTERNAL = InternalNotice("ETH", "0x1", "0xhot", "0", "0.00021", 3, "12")

# --- out ------------------------------------------------------------------------------------------


def test_a_deposit_is_written_to_the_byte() -> None:
    assert DEPOSIT.to_json() == (
        b'{"request_id":"' + b"0f" * 16 + b'","address_to":"0xto","txid":"0xabc",'
        b'"amount":0.000000000000000001,"confirm":12,"symbol":"ETH","balance":'
        b"115792089237316195423570985008687907853269984665640564039457.584007913129639935,"
        b'"status":1}'
    )


def test_the_other_calls_are_written_to_the_byte() -> None:
    for message, document in (
        (
            Register("ETH", ("0xa", "0xb"), memo=False),
            b'{"symbol":"ETH","addresses":"0xa,0xb","memo":false}',
        ),
        (Available("ETH"), b'{"symbol":"ETH"}'),
        (Consume("ETH"), b'{"symbol":"ETH"}'),
        (
            WITHDRAWAL,
            b'{"trans_id":50021,"address_to":"0xto","txid":"0xdef","amount":1.5,"fee":0.00021,'
            b'"confirm":0,"symbol":"ETH","balance":0}',
        ),
        (
            Cancel("ETH", TransId("7a", quoted=True), "no address: é"),
            b'{"symbol":"ETH","trans_id":"7a","msg":"no address: \\u00e9"}',
        ),
        (
            INTERNAL,
            b'{"address_to":"0xhot","txid":"0x1","amount":0,"fee":0.00021,"confirm":3,'
            b'"symbol":"ETH","balance":12}',
        ),
    ):
        assert message.to_json() == document
        assert type(message).from_json(document) == message


def test_optional_fields_stand_only_when_they_say_something() -> None:
    full = json.loads(
        DepositNotice(
            "r", "S", "t", "a", "1", 1, "2", address_from="f", memo="m", status=0
        ).to_json()
    )
    assert next(iter(full)) == "request_id"
    assert full["address_from"] == "f"
    assert full["memo"] == "m"
    assert full["status"] == 0
    for empty in (None, ""):
        bare = json.loads(
            DepositNotice("r", "S", "t", "a", "1", 1, "2", address_from=empty, memo=empty).to_json()
        )
        assert not {"address_from", "memo"} & set(bare)


@given(
    st.integers(0, 2**256 - 1),
    st.integers(0, 2**256 - 1),
    st.sampled_from((0, 2, 6, 8, 9, 18, 24)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
)
def test_a_notice_read_back_is_the_same_bytes(
    amount: int, balance: int, decimals: int, memo: str
) -> None:
    notice = DepositNotice(
        request_id="r-1",
        symbol="S",
        txid="t",
        address_to="a",
        amount=money.plain(amount, decimals),
        confirm=3,
        balance=money.plain(balance, decimals),
        memo=memo or None,
    )
    raw = notice.to_json()
    assert DepositNotice.from_json(raw) == notice
    assert DepositNotice.from_json(raw).to_json() == raw
    seen = json.loads(raw, parse_float=Decimal, parse_int=Decimal)
    assert seen["amount"].scaleb(decimals) == amount or Decimal(notice.amount) == seen["amount"]
    assert money.parse(str(notice.amount), decimals) == amount


@pytest.mark.parametrize(
    "amount", ["", "-1", "1e3", "1.", ".5", "NaN", "Infinity", "01", "1,5", " 1", "0x1", "1" * 121]
)
def test_amounts_that_are_not_plain_are_never_sent(amount: str) -> None:
    for make in (
        lambda: DepositNotice("r", "S", "t", "a", amount, 1, "0"),
        lambda: DepositNotice("r", "S", "t", "a", "1", 1, amount),
        lambda: WithdrawalNotice(TransId("1", False), "S", "t", "a", "1", amount, 1, "0"),
        lambda: InternalNotice("S", "t", "a", "1", amount, 1, "0"),
    ):
        with pytest.raises(BadMessage):
            make()


def test_what_a_register_call_refuses() -> None:
    Register("S", tuple(f"a{n}" for n in range(100)), memo=False)
    for addresses, memo in (
        ((), False),
        (tuple(f"a{n}" for n in range(101)), False),
        (("a", "b"), True),
        (("a,b",), False),
        (("a", ""), False),
    ):
        with pytest.raises(BadMessage):
            Register("S", addresses, memo)


def test_confirm_and_status_are_checked() -> None:
    with pytest.raises(BadMessage):
        DepositNotice("r", "S", "t", "a", "1", -1, "0")
    with pytest.raises(BadMessage):
        DepositNotice("r", "S", "t", "a", "1", 1, "0", status=2)


# --- the recorded plaintexts ----------------------------------------------------------------------

TYPES: dict[str, Any] = {
    "address/available": Available,
    "address/register": Register,
    "deposit/notify": DepositNotice,
    "withdraw/consume": Consume,
    "withdraw/notify": WithdrawalNotice,
    "internal/notify": InternalNotice,
    "withdraw/cancel": Cancel,
}


@pytest.mark.parametrize("item", vectors()["requests"], ids=lambda item: item["name"])
def test_recorded_requests_are_understood(item: dict[str, str]) -> None:
    kind = TYPES[item["name"].partition("#")[0]]
    assert item["path"] == f"/api/v1/{kind.call}"
    message = kind.from_json(item["plaintext"].encode())
    mine = json.loads(message.to_json(), parse_float=Decimal, parse_int=Decimal)
    theirs = json.loads(item["plaintext"], parse_float=Decimal, parse_int=Decimal)
    for key in ("amount", "balance", "fee"):
        if key in theirs:
            theirs[key] = Decimal(theirs[key])
    assert mine == theirs


def test_recorded_responses_are_understood() -> None:
    count, echo, page = (item["plaintext"].encode() for item in vectors()["responses"])
    assert read_available("VLX", count) == 4999
    read_deposit_echo("2343423242452", echo)
    got = read_consume("VLX", page, "sign")
    assert got.orders == (
        Order(TransId("49560", False), "VLX", "0.1", "LeXQmkKyQanzngTNScd2JeSE3CDPLTYPMy", None),
        Order(TransId("50021", False), "VLX", "50", "L111ZC5G3rWkzsDDRRJnMD9mfdefe2ncEF", None),
    )
    assert not got.bad_rows
    assert (got.warrant.plaintext, got.warrant.sign) == (page, "sign")


# --- in: count and echo ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b'{"symbol":"S","count":7}', b'{"count":"7","symbol":"S","more":1}',
            b'{"data":{"symbol":"S","count":7}}'],
)  # fmt: skip
def test_counts_are_read_in_every_form(raw: bytes) -> None:
    assert read_available("S", raw) == 7


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"7", b"[]", b"{}", b'{"count":7}', b'{"symbol":"T","count":7}',
        b'{"symbol":"S","count":-1}', b'{"symbol":"S","count":7.0}', b'{"symbol":"S","count":1e1}',
        b'{"symbol":"S","count":null}', b'{"symbol":"S","count":true}', b'{"symbol":"S"}',
        b'{"symbol":"S","count":7,"count":8}', b'{"symbol":7,"count":7}',
    ],
)  # fmt: skip
def test_counts_that_answer_nothing(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        read_available("S", raw)


def test_the_echo_must_be_ours() -> None:
    read_deposit_echo("r1", b'{"data":{"request_id":"r1"}}')
    read_deposit_echo("r1", b'{"request_id":"r1"}')
    for raw in (
        b'{"data":{"request_id":"r2"}}', b'{"request_id":"R1"}', b"{}", b'{"data":{}}', b"[]",
        b'{"data":null}', b'{"request_id":null}', b'{"request_id":"r2","request_id":"r1"}',
        b'{"request_id":"r1 "}', b'"r1"', b"",
    ):  # fmt: skip
        with pytest.raises(BadMessage):
            read_deposit_echo("r1", raw)
    with pytest.raises(BadMessage):
        read_deposit_echo("12", b'{"request_id":12}')


# --- in: the list ---------------------------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    good = {"trans_id": 1, "symbol": "S", "amount": "1.5", "address_to": "a", "memo": ""}
    return {key: value for key, value in (good | changes).items() if value is not ...}


def page(*rows: Any) -> Any:
    return read_consume("S", json.dumps(rows).encode(), "sign")


def test_an_empty_list_is_an_answer() -> None:
    got = page()
    assert (got.orders, got.bad_rows, got.rows, got.is_full) == ((), (), 0, False)


def test_a_full_page_says_so() -> None:
    assert page(*(row(trans_id=n) for n in range(20))).is_full
    assert not page(*(row(trans_id=n) for n in range(19))).is_full


def test_amounts_come_as_they_stood() -> None:
    raw = (
        b'[{"trans_id":1,"symbol":"S","amount":0.10,"address_to":"a"},'
        b'{"trans_id":2,"symbol":"S","amount":"1e-7","address_to":"a"},'
        b'{"trans_id":3,"symbol":"S","amount":123456789012345678.123456789012345678,'
        b'"address_to":"a"},'
        b'{"trans_id":4,"symbol":"S","amount":-5,"address_to":"a"}]'
    )
    amounts = [order.amount for order in read_consume("S", raw, "s").orders]
    assert amounts == ["0.10", "1e-7", "123456789012345678.123456789012345678", "-5"]


def test_trans_ids_go_back_in_the_form_they_came() -> None:
    raw = (
        b'[{"trans_id":50021,"symbol":"S","amount":1,"address_to":"a"},'
        b'{"trans_id":"50021","symbol":"S","amount":1,"address_to":"a"},'
        b'{"trans_id":123456789012345678901234567890,"symbol":"S","amount":1,"address_to":"a"},'
        b'{"trans_id":"w-1/\xc3\xa9","symbol":"S","amount":1,"address_to":"a"}]'
    )
    orders = read_consume("S", raw, "s").orders
    sent = [Cancel("S", order.trans_id, "m").to_json() for order in orders]
    assert orders[0].trans_id.text == orders[1].trans_id.text
    assert b'"trans_id":50021,' in sent[0]
    assert b'"trans_id":"50021",' in sent[1]
    assert b'"trans_id":123456789012345678901234567890,' in sent[2]
    assert json.loads(sent[3])["trans_id"] == "w-1/é"
    for document, order in zip(sent, orders, strict=True):
        assert Cancel.from_json(document).trans_id == order.trans_id


@pytest.mark.parametrize(
    "changes",
    [
        {"trans_id": None}, {"trans_id": ...}, {"trans_id": True}, {"trans_id": [1]},
        {"trans_id": {"a": 1}}, {"trans_id": ""}, {"trans_id": 1.0}, {"trans_id": -1},
        {"trans_id": 1e30}, {"trans_id": "a\nb"}, {"trans_id": "\x00"}, {"trans_id": "\ud800"},
        {"trans_id": "x" * 200}, {"symbol": None}, {"symbol": 5}, {"symbol": ...}, {"symbol": ""},
        {"amount": None}, {"amount": ...}, {"amount": True}, {"amount": []}, {"amount": ""},
        {"amount": "abc"}, {"amount": "NaN"}, {"amount": "1,5"}, {"amount": "0x10"},
        {"amount": " 1"}, {"amount": "9" * 1000}, {"address_to": None}, {"address_to": ...},
        {"address_to": 5}, {"address_to": "\x00"}, {"address_to": "\ud800"},
        {"address_to": "x" * 5000}, {"memo": 5}, {"memo": []}, {"memo": "\ud800"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_bad_row_does_not_spoil_the_page(changes: dict[str, Any]) -> None:
    got = page(row(trans_id=1), row(**({"trans_id": 2} | changes)), row(trans_id=3))
    assert [order.trans_id.text for order in got.orders] == ["1", "3"]
    (bad,) = got.bad_rows
    assert bad.why
    assert bad.raw_text
    assert bad.raw_text not in repr(bad)
    assert got.rows == 3
    if "trans_id" not in changes:
        assert bad.trans_id == TransId("2", quoted=False)
    else:
        assert bad.trans_id is None


@pytest.mark.parametrize("bad", [None, 5, "x", [], True, {}])
def test_rows_that_are_no_objects(bad: Any) -> None:
    got = page(bad, row())
    assert len(got.orders) == len(got.bad_rows) == 1


def test_a_row_with_a_repeated_key_is_not_believed() -> None:
    raw = b'[{"trans_id":1,"symbol":"S","amount":1,"amount":2,"address_to":"a"}]'
    got = read_consume("S", raw, "s")
    assert not got.orders
    assert "twice" in got.bad_rows[0].why
    assert got.bad_rows[0].trans_id is None


def test_a_repeated_row_is_one_order_but_other_content_is_shown() -> None:
    got = page(row(), row(), row(amount="2.5"))
    assert [order.amount for order in got.orders] == ["1.5", "2.5"]
    assert got.rows == 3


def test_memo_and_fee() -> None:
    got = page(
        row(trans_id=1, memo=None),
        row(trans_id=2, memo=...),
        row(trans_id=3, memo=" 12 ", fee="0"),
        row(trans_id=4, memo="备注", fee={"odd": 1}),
    )
    assert [order.memo for order in got.orders] == [None, None, " 12 ", "备注"]


def test_an_empty_address_is_the_payers_to_judge() -> None:
    assert page(row(address_to="")).orders[0].address_to == ""


def test_rows_for_another_symbol() -> None:
    got = page(row(), row(trans_id=2, symbol="T"))
    assert [order.trans_id.text for order in got.orders] == ["1"]
    assert "another symbol" in got.bad_rows[0].why
    with pytest.raises(BadMessage, match="another symbol"):
        page(row(symbol="T"), row(trans_id=2, symbol="T"))
    with pytest.raises(BadMessage, match="another symbol"):
        page(row(symbol="s"))


def test_a_list_inside_data_is_understood() -> None:
    raw = json.dumps({"data": [row()]}).encode()
    assert len(read_consume("S", raw, "s").orders) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b'"[]"',
        b"5",
        b'{"data":null}',
        b'{"data":{}}',
        b"[1",
        b'{"data":[],"data":[]}',
    ],
)
def test_what_is_no_list(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        read_consume("S", raw, "s")


# --- in: requests as a platform reads them --------------------------------------------------------


def test_exponents_are_taken_exactly() -> None:
    raw = DEPOSIT.to_json().replace(b"0.000000000000000001", b"1.50e-7")
    assert DepositNotice.from_json(raw).amount == "0.000000150"
    raw = DEPOSIT.to_json().replace(b"0.000000000000000001", b"15e2")
    assert DepositNotice.from_json(raw).amount == "1500"
    for bad in (b"-1", b"1e999999", b"1e-999999", b'"NaN"', b"true", b"null", b'""'):
        with pytest.raises(BadMessage):
            DepositNotice.from_json(DEPOSIT.to_json().replace(b"0.000000000000000001", bad))


@pytest.mark.parametrize("message", [DEPOSIT, WITHDRAWAL, INTERNAL], ids=lambda m: m.call)
def test_every_required_field_is_required(message: Any) -> None:
    whole = json.loads(message.to_json(), parse_float=str, parse_int=str)
    for key in whole:
        values: tuple[Any, ...] = (..., [], None)
        for value in values:
            broken = {k: (value if k == key else v) for k, v in whole.items()}
            broken = {k: v for k, v in broken.items() if v is not ...}
            with pytest.raises(BadMessage):
                type(message).from_json(json.dumps(broken).encode())
