"""Decimals at the edge: exact both ways, refused rather than rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter import money
from chain_adapter.errors import AmountError

DECIMALS = st.sampled_from([0, 2, 6, 8, 9, 18, 24])


@given(st.integers(0, 10**40), DECIMALS)
def test_there_and_back(amount: int, decimals: int) -> None:
    text = money.plain(amount, decimals)
    assert money.parse(text, decimals) == amount
    assert "e" not in text.lower()
    assert Decimal(text).scaleb(decimals) == amount


@given(st.integers(0, 10**30), DECIMALS, DECIMALS)
def test_what_the_platform_holds_and_the_rest_are_the_whole(
    amount: int, own: int, its: int
) -> None:
    units, rest = money.to_platform(amount, own, its)
    assert money.from_platform(units, own, its) + rest == amount
    assert rest == 0 or its < own


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [
        ("1", 6, 1_000_000), ("1.5", 6, 1_500_000), ("0.000001", 6, 1), ("1e-6", 6, 1),
        ("1.5E+1", 6, 15_000_000), ("1.50000000000", 2, 150), ("0", 6, 0), ("0e99", 6, 0),
        ("-0", 6, 0), ("007", 0, 7), (7, 2, 700), (Decimal("1.25"), 2, 125),
        ("1e3", 0, 1000), ("100e-2", 0, 1),
    ],
)  # fmt: skip
def test_taken_exactly(text: str | int | Decimal, decimals: int, units: int) -> None:
    assert money.parse(text, decimals) == units


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1,5", "0x10", "1.", ".5", "NaN", "Infinity", "-1", "1e", "1e99999", "+1",
     "1_000", "1.0000001", "1e-7", "٣", "1e78", "9" * 121],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(AmountError):
        money.parse(text, 6)


@pytest.mark.parametrize("value", [1.5, True, None, b"1"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(AmountError):
        money.parse(value, 6)  # type: ignore[arg-type]


def test_finer_than_the_chain_is_refused() -> None:
    with pytest.raises(AmountError):
        money.from_platform(15, 0, 1)


def test_negative_amounts_can_be_shown() -> None:
    assert money.plain(-1_500_000, 6) == "-1.5"
    assert money.plain(-5, 0) == "-5"
