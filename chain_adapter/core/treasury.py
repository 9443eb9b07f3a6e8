"""Where collected money should be, as functions of values.

`worth_collecting` decides about one address and asset; `to_cold` about the hot wallet.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing there"
TOO_LITTLE = "below the threshold"


@dataclass(frozen=True, slots=True)
class Collecting:
    """The operator's terms for one asset. Amounts are base units of it."""

    asset: str
    is_native: bool
    above: int
    fee_percent: int
    native_above: int  # the main coin's `above`: what a token's collection may cost, by its share


def worth_collecting(terms: Collecting, balance: int, fee: int) -> str | None:
    """None when `balance` is worth collecting for `fee` (base units of the main coin), else why
    not. A token has no price here, so its fee is held against the main coin's threshold."""
    if balance <= 0:
        return NOTHING
    if balance < terms.above:
        return TOO_LITTLE
    measure = balance if terms.is_native else terms.native_above
    if fee * 100 > measure * terms.fee_percent:
        return "the fee is too high for now"
    return None


def to_cold(balance: int, floor: int, ceiling: int | None) -> int:
    """What leaves the hot wallet for the cold address: down to halfway between the marks."""
    if ceiling is None or balance <= ceiling:
        return 0
    return balance - (floor + ceiling) // 2
