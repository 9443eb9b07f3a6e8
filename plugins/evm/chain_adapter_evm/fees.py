"""What a transaction offers a gas: market price, and the raise that a replacement needs. Pure.

A pool takes a transaction in place of another of the same nonce only for a clearly higher offer in
both of its numbers: an eighth more satisfies every client in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain_adapter.chain import FeeAboveLimit
from chain_adapter_evm.codec import Unsigned
from chain_adapter_evm.settings import Settings

_DEFAULT_TIP = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Market:
    """What the chain asks now, wei a gas; `base_fee` is None where it has none."""

    base_fee: int | None
    suggested: int | None  # tip, or the legacy gas price


@dataclass(frozen=True, slots=True)
class Offer:
    """Wei a gas; `tip` is None in a legacy transaction, whose gas price is `max_fee`."""

    max_fee: int
    tip: int | None


def raised(fee: int) -> int:
    """At least an eighth above."""
    return fee + fee // 8 + 1


def offer(
    settings: Settings, market: Market, gas: int, fee_limit: int, replaced: Sequence[Unsigned] = ()
) -> Offer:
    """The offer of a transaction of so much gas, above each replaced one.

    Raises `FeeAboveLimit` when even the least that the chain asks is more than `fee_limit` wei,
    the bound of L1 fees included.
    """
    affordable = (fee_limit - settings.l1_fee_bound) // gas
    legacy = settings.fees == "legacy" or (settings.fees == "auto" and market.base_fee is None)
    wanted_tip = settings.priority_fee
    if wanted_tip is None:
        wanted_tip = _DEFAULT_TIP if market.suggested is None else market.suggested
    if legacy:
        least = max([wanted_tip, *(raised(tx.max_fee) for tx in replaced)])
        _check(least, affordable, gas, fee_limit)
        return Offer(least, None)
    base_fee = market.base_fee or 0
    tip = max([wanted_tip, *(raised(tx.max_fee if tx.tip is None else tx.tip) for tx in replaced)])
    least = max([base_fee + tip, *(raised(tx.max_fee) for tx in replaced)])
    _check(least, affordable, gas, fee_limit)
    generous = base_fee * settings.base_fee_multiple + tip
    return Offer(max(least, min(generous, affordable)), tip)


def _check(least: int, affordable: int, gas: int, fee_limit: int) -> None:
    if least > affordable:
        raise FeeAboveLimit(
            f"the chain asks at least {least} wei a gas for {gas} gas, and the fee may be "
            f"{fee_limit} wei in all"
        )
