"""JSON numbers keep every digit in both directions."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter import money
from chain_adapter.platform_api.exact_json import (
    Ambiguous,
    BadMessage,
    Number,
    dumps,
    excerpt,
    loads,
)

DECIMALS = (0, 2, 6, 8, 9, 18, 24)


@given(st.integers(0, 2**256 - 1), st.sampled_from(DECIMALS))
def test_amounts_survive_the_way_out_and_in(amount: int, decimals: int) -> None:
    literal = money.plain(amount, decimals)
    document = dumps({"amount": Number(literal)})
    assert document == b'{"amount":' + literal.encode() + b"}"
    back = loads(document)["amount"]
    assert type(back) is Number
    assert money.parse(str(back), decimals) == amount
    # any exact reader sees the same number
    assert json.loads(document, parse_float=Decimal)["amount"] == Decimal(literal)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
        lambda d: -300 < d.adjusted() < 300
    )
)
def test_decimals_are_written_plainly(value: Decimal) -> None:
    document = dumps(value)
    assert b"e" not in document.lower()
    assert json.loads(document, parse_int=Decimal, parse_float=Decimal) == value


@pytest.mark.parametrize(
    "text", ["0", "-0", "1.10", "1e400", "1E-7", "123456789012345678901234567890.5"]
)
def test_numbers_come_in_as_they_stood(text: str) -> None:
    got = loads(text.encode())
    assert type(got) is Number
    assert got == text
    assert dumps(got) == text.encode()


def test_a_number_is_told_from_a_string() -> None:
    got = loads(b'[50021, "50021", 1.0]')
    assert [type(value) for value in got] == [Number, str, Number]
    assert [isinstance(value, Number) and value.is_digits for value in got] == [True, False, False]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"NaN", b'{"a":NaN}', b"[Infinity]", b"[-Infinity]", b"<html>", b'{"a":1', b"01",
        b"1.", b".5", b"+1", b"0x10", b"{'a':1}", b'{"a":1}x', b'"\xff"', b"\xff\xfe{\x00}\x00",
        b"[" * 100_000, b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(BadMessage):
        loads(raw)


def test_a_byte_order_mark_is_no_reason_to_refuse() -> None:
    assert loads(b'\xef\xbb\xbf{"a":"b"}') == {"a": "b"}


def test_a_repeated_key_is_marked_where_it_stands() -> None:
    got = loads(b'[{"a":1,"a":2},{"a":1}]')
    assert [type(value) for value in got] == [Ambiguous, dict]


@pytest.mark.parametrize("value", [1.5, float("nan"), b"x", {1, 2}, object(), Decimal("NaN"), 1j])
def test_what_has_no_exact_form_is_not_written(value: Any) -> None:
    with pytest.raises(BadMessage):
        dumps({"a": [value]})


@pytest.mark.parametrize("text", ["", "01", "1.", ".5", "+1", "1e", "NaN", "٣", "1 ", "1\n", "1,5"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(BadMessage):
        Number(text)


def test_order_text_and_escapes() -> None:
    value = {"z": True, "a": None, "m": 'é"\n', "list": [1, 2**70, Number("0.10")]}
    assert dumps(value) == (
        b'{"z":true,"a":null,"m":"\\u00e9\\"\\n","list":[1,1180591620717411303424,0.10]}'
    )


def test_excerpts_are_short_and_never_fail() -> None:
    assert excerpt({"a": Number("1.50")}) == '{"a":1.50}'
    assert len(excerpt(["x" * 5000])) == 2000
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    assert "deeply" in excerpt(deep)
