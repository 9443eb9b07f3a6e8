"""The answers: every form is read, nothing is rounded, no bad row spoils a page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chain_adapter.platform_api.messages import (
    BadMessage,
    Cancel,
    TransId,
    read_available,
    read_consume,
    read_deposit_echo,
)

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
