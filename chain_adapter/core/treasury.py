"""Where collected money should be, as functions of values.

`worth_collecting` decides about one address and asset; `to_cold` about the hot wallet.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing there"
TOO_LITTLE = "below the threshold"
FEE_TOO_HIGH = "the fee is too high for now"
BUSY = "a collection is under way"
NOT_NOW = "cannot be built now"
RESTING = "a collection failed on chain within a day"


@dataclass(frozen=True, slots=True)
class Collecting:
    """The operator's terms for one asset. Amounts are base units of it."""

    asset: str
    is_native: bool
    above: int
    fee_percent: int
    token_fee: int  # base units of the main coin: what collecting a token may cost


def worth_collecting(terms: Collecting, balance: int, fee: int) -> str | None:
    """None when `balance` is worth collecting for `fee` (base units of the main coin), else why
    not. A token has no price here, so its fee is held against a limit of its own."""
    if balance <= 0:
        return NOTHING
    if balance < terms.above:
        return TOO_LITTLE
    most = balance * terms.fee_percent // 100 if terms.is_native else terms.token_fee
    return FEE_TOO_HIGH if fee > most else None


def to_cold(balance: int, floor: int, ceiling: int | None) -> int:
    """What leaves the hot wallet for the cold address: down to halfway between the marks."""
    if ceiling is None or balance <= ceiling:
        return 0
    return balance - (floor + ceiling) // 2
