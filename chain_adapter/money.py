"""Decimals exist at the platform's edge only; inside, an amount is an integer of base units.

Text or number from outside -> `parse` -> int. Int -> `plain` -> the decimal literal sent out.
Nothing here rounds: a digit that does not fit is an `AmountError`.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from chain_adapter.errors import AmountError

MAX_DIGITS = 78  # 2^256 - 1 has 78 digits: more is no amount of any asset
_NUMBER = re.compile(r"-?[0-9]{1,120}(\.[0-9]{1,120})?([eE][+-]?[0-9]{1,4})?", re.ASCII)


def parse(text: str | int | Decimal, decimals: int) -> int:
    """Exact base units of a decimal amount.

    `text` is plain (`"1.50"`) or with an exponent, taken exactly. Raises `AmountError` for a text
    that is no number, a negative one, or one with more decimals than the asset has.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise AmountError(f"amount of type {type(text).__name__} is not a decimal number")
    raw = str(text)
    if not _NUMBER.fullmatch(raw):
        raise AmountError(f"amount {raw[:40]!r} is not a decimal number")
    try:
        sign, digits, exponent = Decimal(raw).as_tuple()
    except InvalidOperation:
        raise AmountError(f"amount {raw[:40]!r} is not a decimal number") from None
    if not isinstance(exponent, int):
        raise AmountError(f"amount {raw[:40]!r} is not a finite number")
    value = int("".join(map(str, digits)) or "0")
    if value == 0:
        return 0
    if sign:
        raise AmountError(f"amount {raw[:40]!r} is negative")
    shift = exponent + decimals
    if shift > MAX_DIGITS or len(digits) + shift > MAX_DIGITS:
        raise AmountError(f"amount {raw[:40]!r} is too large")
    if shift >= 0:
        return value * _power(shift)
    if -shift >= len(digits):
        raise AmountError(f"amount {raw[:40]!r} has more than {decimals} decimals")
    whole, rest = divmod(value, _power(-shift))
    if rest:
        raise AmountError(f"amount {raw[:40]!r} has more than {decimals} decimals")
    return whole


def plain(amount: int, decimals: int) -> str:
    """The decimal literal of `amount` base units: plain notation, every digit, no exponent.

    >>> plain(1_500_000, 6), plain(5, 6), plain(7, 0)
    ('1.5', '0.000005', '7')
    """
    if decimals == 0:
        return str(amount)
    sign, digits = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    digits = digits.rjust(decimals + 1, "0")
    whole, fraction = digits[:-decimals], digits[-decimals:].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def to_platform(amount: int, decimals: int, platform_decimals: int) -> tuple[int, int]:
    """Split base units into what the platform can hold and the finer remainder.

    Returns `(units of 10^-platform_decimals, remainder in base units)`. The remainder is booked,
    never told and never added to another deposit (docs/laws.md 3.7).
    """
    if platform_decimals >= decimals:
        return amount * _power(platform_decimals - decimals), 0
    return divmod(amount, _power(decimals - platform_decimals))


def from_platform(units: int, decimals: int, platform_decimals: int) -> int:
    """Base units of a platform amount; `AmountError` when the chain has fewer digits."""
    if platform_decimals <= decimals:
        return units * _power(decimals - platform_decimals)
    whole, rest = divmod(units, _power(platform_decimals - decimals))
    if rest:
        raise AmountError(f"amount has more than the {decimals} decimals of the chain")
    return whole


def _power(digits: int) -> int:
    return int(10**digits)
