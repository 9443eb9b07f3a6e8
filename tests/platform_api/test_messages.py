"""The seven messages: one form out, every form in, to the byte and to the last digit."""

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
