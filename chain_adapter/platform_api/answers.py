"""The answers that carry a payload: a count, an echo, a list of orders with its warrant.

Each `read_*` is pure and holds the answer against the question: symbol and request id must match.
A row of the list that cannot be read is set aside as a `BadRow`; it does not spoil the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chain_adapter.platform_api.exact_json import Ambiguous, BadMessage, excerpt, loads
from chain_adapter.platform_api.fields import Row, TransId

PAGE_SIZE = 20  # a consume answer holds no more


@dataclass(frozen=True, slots=True)
class Warrant:
    """The platform's own signed answer that contains an order, kept to the byte."""

    plaintext: bytes
    sign: str

    def __repr__(self) -> str:
        return f"Warrant({len(self.plaintext)} bytes)"


@dataclass(frozen=True, slots=True)
class Order:
    """One withdrawal as handed out. `amount` is the decimal text as it came, not yet judged."""

    trans_id: TransId
    symbol: str
    amount: str
    address_to: str
    memo: str | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of the list that cannot be read. The others are not held up by it."""

    raw_text: str = field(repr=False)  # an excerpt for the operator
    why: str
    trans_id: TransId | None = None  # where at least that could be read


@dataclass(frozen=True, slots=True)
class ConsumePage:
    """What `withdraw/consume` answered: the orders, what could not be read, and the warrant."""

    orders: tuple[Order, ...]
    bad_rows: tuple[BadRow, ...]
    warrant: Warrant
    rows: int  # as handed out, repeated and bad ones included

    @property
    def is_full(self) -> bool:
        """Whether more may be waiting than the platform hands out at once."""
        return self.rows >= PAGE_SIZE


def read_available(symbol: str, plaintext: bytes) -> int:
    """The count in the answer to `Available(symbol)`. `BadMessage` if it answers another."""
    row = Row(_payload(plaintext, "count"))
    if row.name("symbol") != symbol:
        raise BadMessage("the answer is about another symbol than the one that was asked for")
    return row.whole("count")


def read_deposit_echo(request_id: str, plaintext: bytes) -> None:
    """Demand that the answer names `request_id`. Raises `BadMessage` otherwise."""
    if Row(_payload(plaintext, "request_id")).name("request_id") != request_id:
        raise BadMessage("the answer echoes another request_id than the one that was sent")


def read_consume(symbol: str, plaintext: bytes, sign: str) -> ConsumePage:
    """The answer to `Consume(symbol)`; pure, so that a warrant can be read again at any time.

    An unreadable row, or one for another symbol among others, is a `BadRow`. `BadMessage` when it
    is no list, or when every row is for another symbol: then it answers another question.
    """
    payload = loads(plaintext)
    if isinstance(payload, dict) and not isinstance(payload, Ambiguous):
        payload = payload.get("data")
    if not isinstance(payload, list):
        raise BadMessage("the answer is no list of withdrawals")
    orders: dict[Order, None] = {}
    bad_rows: list[BadRow] = []
    foreign = 0
    for value in payload:
        try:
            order = _order(value)
        except BadMessage as error:
            bad_rows.append(BadRow(excerpt(value), str(error), _trans_id_of(value)))
            continue
        if order.symbol == symbol:
            orders[order] = None
        else:
            foreign += 1
            why = "the row is for another symbol than the one that was asked for"
            bad_rows.append(BadRow(excerpt(value), why, order.trans_id))
    if foreign and foreign == len(payload):
        raise BadMessage("the list is for another symbol than the one that was asked for")
    return ConsumePage(tuple(orders), tuple(bad_rows), Warrant(plaintext, sign), len(payload))


# --- inside ---------------------------------------------------------------------------------------


def _order(value: Any) -> Order:
    row = Row(value)
    return Order(
        trans_id=row.trans_id(),
        symbol=row.name("symbol"),
        amount=row.number("amount"),
        address_to=row.text("address_to"),
        memo=row.optional("memo"),
    )


def _trans_id_of(value: Any) -> TransId | None:
    try:
        return Row(value).trans_id()
    except BadMessage:
        return None


def _payload(plaintext: bytes, key: str) -> Any:
    """The object that has `key`: the answer itself, or what its `data` holds."""
    value = loads(plaintext)
    if isinstance(value, dict) and not isinstance(value, Ambiguous) and key not in value:
        return value.get("data")
    return value
