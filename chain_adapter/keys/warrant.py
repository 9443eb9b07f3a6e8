"""The platform's own signed answer as the reason to pay, held against the payment by the signer.

warrant (plaintext, signature) -> the platform's signature verifies -> the rows of the list
-> the one row of this trans_id -> symbol, address, amount, memo must be those of the payment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chain_adapter import money
from chain_adapter.chain import InvalidAddress
from chain_adapter.errors import AmountError, SigningRefused
from chain_adapter.platform_api.answers import Order, Warrant, read_consume
from chain_adapter.platform_api.exact_json import BadMessage

MAX_WARRANT_BYTES: Final = 1 << 20

Verify = Callable[[bytes, str], bool]
"""Whether the text is the platform's signature over these bytes."""


def ordered(warrant: Warrant, verify: Verify, symbol: str, trans_id: str) -> Order:
    """The order for `trans_id`, out of a list whose signature holds.

    Raises `SigningRefused`: wrong signature, no list, no such row, two different rows of one id,
    a list for another symbol.
    """
    if len(warrant.plaintext) > MAX_WARRANT_BYTES:
        raise refused("the warrant is larger than any answer of the platform")
    if not verify(warrant.plaintext, warrant.sign):
        raise refused(
            f"withdrawal {symbol} {trans_id}: the platform's signature on the warrant does not "
            "hold; it was changed, cut, or signed by another key"
        )
    try:
        page = read_consume(symbol, warrant.plaintext, warrant.sign)
    except BadMessage as problem:
        raise refused(f"the warrant: {problem}") from None
    found = [order for order in page.orders if order.trans_id.text == trans_id]
    unclear = any(row.trans_id and row.trans_id.text == trans_id for row in page.bad_rows)
    if not found and not unclear:
        raise refused(f"the warrant does not list withdrawal {symbol} {trans_id}")
    if len(found) != 1 or unclear:
        raise refused(f"the warrant does not list withdrawal {symbol} {trans_id} once and readably")
    return found[0]


def check_order(
    order: Order,
    *,
    to: str,
    amount: int | None,
    memo: str | None,
    decimals: int,
    parse_address: Callable[[str], str],
) -> None:
    """The payment is what the row orders: recipient, every digit of the amount, the memo's bytes.

    `amount` in base units of `decimals`. Raises `SigningRefused`.
    """
    try:
        canonical = parse_address(order.address_to)
    except InvalidAddress:
        raise refused(
            f"the address that the warrant names is none of this chain: {order.address_to[:80]!r}"
        ) from None
    if canonical != to:
        raise refused(f"the payment goes to {to}, the warrant names {canonical}")
    try:
        units = money.parse(order.amount, decimals)
    except AmountError as problem:
        raise refused(f"the warrant's amount: {problem}") from None
    if amount != units or units <= 0:
        raise refused(f"the payment is {amount} base units, the warrant orders {units}")
    if (memo or "") != (order.memo or ""):
        raise refused("the payment's memo is not the warrant's")


def refused(why: str) -> SigningRefused:
    """A refusal that no later time changes."""
    return SigningRefused(why, for_good=True)
