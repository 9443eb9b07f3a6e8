"""Decisions about money that leaves, as functions of values (docs/laws.md §2).

`screen` judges an order before anything is signed; `did_pay` reads what a transaction moved;
`lock_order` orders claims and broadcasts of one account.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from chain_adapter import money
from chain_adapter.chain import InvalidAddress, Payment
from chain_adapter.errors import AmountError

_SUFFIX = re.compile(r"^(.*)/([0-9]+)$")


@dataclass(frozen=True, slots=True)
class Screened:
    """An order that may be built: canonical recipient and base units."""

    to: str
    amount: int
    memo: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An order that can never succeed; `reason` goes back to the platform."""

    reason: str


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who may not be paid: keys of own addresses and of token contracts."""

    own: Container[bytes]
    contracts: frozenset[bytes]


def screen(
    *,
    address_to: str,
    amount: str,
    memo: str | None,
    decimals: int,
    memos: bool,
    parse_address: Callable[[str], str],
    address_key: Callable[[str], bytes],
    recipients: Recipients,
) -> Screened | Refused:
    """Everything about an order that no later time can change.

    `amount` is the decimal as the platform wrote it, `decimals` those of the chain: a finer
    amount cannot be paid. `memo=""` means none.
    """
    try:
        to = parse_address(address_to)
    except InvalidAddress as error:
        return Refused(f"bad address: {error}")
    key = address_key(to)
    if not any(key.lstrip(b"\x00")):
        return Refused("the zero address cannot be paid")
    if key in recipients.contracts:
        return Refused("the recipient is a token contract")
    if key in recipients.own:
        return Refused("the recipient is an address of the platform's own wallet")
    if memo and not memos:
        return Refused("this chain has no memos")
    try:
        units = money.parse(amount, decimals)
    except AmountError as error:
        return Refused(str(error))
    if units == 0:
        return Refused("the amount is zero")
    return Screened(to, units, memo or None)


def did_pay(moved: Iterable[Payment], wanted: Iterable[Payment]) -> bool:
    """Whether `moved` holds every wanted payment exactly (to, asset, amount, memo).

    The status of a transaction is not enough: a token may return false, or move another amount.
    A wanted amount of None ("all, less the fee") is met by any amount to that recipient.
    """
    have = Counter((p.asset, p.to, p.amount, p.memo) for p in moved)
    targets = {(p.asset, p.to) for p in moved if p.amount}
    for payment in wanted:
        if payment.amount is None:
            if (payment.asset, payment.to) not in targets:
                return False
            continue
        key = (payment.asset, payment.to, payment.amount, payment.memo)
        if have[key] < 1:
            return False
        have[key] -= 1
    return True


def lock_order(lock: str) -> tuple[str, int, str]:
    """Sort key of a lock within its account: nonces by number, anything else by text."""
    match = _SUFFIX.match(lock)
    return (match[1], int(match[2]), "") if match else (lock, -1, lock)
