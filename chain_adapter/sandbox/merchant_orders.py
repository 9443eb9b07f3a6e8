"""A merchant's withdrawals at the platform, and what becomes of deposits and orders.

ordered (amount taken from the user) -> second confirmation -> approved: handed out by
withdraw/consume as amount - fee, or paid inside the platform -> complete: callback.
`collect` reads the books' own logs (entries, withdrawal history) from where it stopped, so that
nothing is told twice and nothing is lost by a restart.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from chain_adapter import money
from chain_adapter.errors import AmountError
from chain_adapter.sandbox import merchant_users as users
from chain_adapter.sandbox import withdrawals
from chain_adapter.sandbox.coins import Coin, add, book, same_value
from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.merchant_books import Settings, cursor, enqueue, move_cursor
from chain_adapter.sandbox.merchant_users import (
    BAD_ADDRESS,
    BAD_PARAMETER,
    NOT_ENOUGH,
    OTHER_CONTENT,
    TOO_PRECISE,
    TOO_SMALL,
    MerchantRefusal,
)

UNREVIEWED, REVIEWED, REJECTED, PROCESSING, FAILED, SUCCESS, CANCELLED = range(7)
FINAL = (REJECTED, FAILED, SUCCESS, CANCELLED)
CONFIRMING, CREDITED, REVERSED = 0, 1, 2
FIRST_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What billing/withdraw asks for."""

    request_id: str
    uid: str
    symbol: str
    amount: str
    address: str


def exact(coin: Coin, text: str) -> str:
    """A plain amount above zero that the coin can hold, or refused."""
    try:
        units = money.parse(text, coin.decimals)
    except AmountError as error:
        code = TOO_PRECISE if "decimals" in str(error) else BAD_PARAMETER
        raise MerchantRefusal(code, str(error)) from None
    if units == 0:
        raise MerchantRefusal(TOO_SMALL, "the amount is zero")
    return money.plain(units, coin.decimals)


def order(books: Books, settings: Settings, wanted: Wanted) -> Row:
    """billing/withdraw: the order's row; the same request_id orders once."""
    coin = users.coin_of(books, wanted.symbol)
    user = users.known(books, wanted.uid)
    amount = exact(coin, wanted.amount)
    known = books.one("SELECT * FROM merchant_orders WHERE request_id = ?", wanted.request_id)
    if known is not None:
        asked = (user, wanted.symbol, wanted.address)
        if (known["user"], known["symbol"], known["address_to"]) != asked or not same_value(
            known["amount"], amount
        ):
            raise MerchantRefusal(OTHER_CONTENT, "this request_id was used for another withdrawal")
        return known
    if not wanted.address or len(wanted.address) > 255 or not wanted.address.isprintable():
        raise MerchantRefusal(BAD_ADDRESS, "to_address is empty or no address")
    if users.recipient(books, coin, wanted.address).user == user:
        raise MerchantRefusal(BAD_ADDRESS, "to_address is the user's own")
    fee = users.withdraw_fee(books, coin.symbol)
    if not users.below(fee, amount):
        raise MerchantRefusal(TOO_SMALL, f"the amount does not exceed the service charge of {fee}")
    if users.below(users.balance(books, user, coin.symbol), amount):
        raise MerchantRefusal(NOT_ENOUGH, "the balance is too small")
    order_id = books.do(
        "INSERT INTO merchant_orders (request_id, user, symbol, amount, fee, address_to, check_sum,"
        " status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        wanted.request_id, user, coin.symbol, amount, fee, wanted.address, secrets.token_hex(16),
        UNREVIEWED, books.now, books.now,
    )  # fmt: skip
    book(books, user, coin.symbol, f"-{amount}", "order", wanted.request_id)
    if settings.confirm_url:
        enqueue(books, "confirm", order_id, UNREVIEWED, books.now)
    else:
        approve(books, settings, order_id)
    return find(books, order_id)


def find(books: Books, order_id: int) -> Row:
    """An order by its id, which is known."""
    row = books.one("SELECT * FROM merchant_orders WHERE id = ?", order_id)
    assert row is not None
    return row


def approve(books: Books, settings: Settings, order_id: int) -> None:
    """The second confirmation said yes: hand it out, or pay it inside the platform."""
    row = find(books, order_id)
    if row["status"] != UNREVIEWED:
        return
    coin = users.coin_of(books, row["symbol"])
    to = users.recipient(books, coin, row["address_to"])
    net = add(row["amount"], f"-{row['fee']}")
    if to.user is not None:
        _pay_inside(books, settings, row, to.user, net)
        return
    trans_id = withdrawals.create(books, coin, net, to.address, to.memo)
    books.do("UPDATE withdrawals SET user = ? WHERE trans_id = ?", row["user"], trans_id)
    books.do(
        "UPDATE merchant_orders SET status = ?, trans_id = ?, confirmed_at = ?, updated_at = ?"
        " WHERE id = ?",
        REVIEWED, trans_id, books.now, books.now, order_id,
    )  # fmt: skip


def reject(books: Books, settings: Settings, order_id: int) -> None:
    """The second confirmation refused: the amount is the user's again."""
    row = find(books, order_id)
    if row["status"] != UNREVIEWED:
        return
    book(books, row["user"], row["symbol"], row["amount"], "order_refund", row["request_id"])
    _end(books, settings, row, REJECTED)


def _pay_inside(books: Books, settings: Settings, row: Row, receiver: int, net: str) -> None:
    source = f"order:{row['id']}"
    book(books, receiver, row["symbol"], net, "inside", source)
    deposit_id = books.do(
        "INSERT INTO merchant_deposits (source, user, symbol, amount, address_to, address_from,"
        " txid, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, '', '', ?, ?, ?)",
        source, receiver, row["symbol"], net, row["address_to"], CREDITED, books.now, books.now,
    )  # fmt: skip
    _tell(books, settings, "deposit", deposit_id, CREDITED)
    books.do("UPDATE merchant_orders SET confirmed_at = ? WHERE id = ?", books.now, row["id"])
    _end(books, settings, row, SUCCESS)


def _end(books: Books, settings: Settings, row: Row, status: int) -> None:
    if status == SUCCESS:
        users.pay_company(books, row["symbol"], row["fee"])
    books.do("UPDATE merchant_orders SET status = ?, updated_at = ? WHERE id = ?",
             status, books.now, row["id"])  # fmt: skip
    _tell(books, settings, "withdraw", row["id"], status)


def _tell(books: Books, settings: Settings, kind: str, record: int, status: int) -> None:
    if settings.notify_url:
        delay = round(FIRST_DELAY_S * 1e6 / settings.speed)
        enqueue(books, kind, record, status, books.now + delay)


# --- reading the books' logs --------------------------------------------------------------------


def collect(books: Books, settings: Settings) -> None:
    """Bring records and callbacks up to date with what the other side of the platform did."""
    _new_deposits(books)
    _entries(books, settings)
    _payments(books, settings)


def _new_deposits(books: Books) -> None:
    """A deposit that was told and whose user is known is a record before it is credited."""
    seen = cursor(books, "deposits")
    for row in books.all("SELECT * FROM deposits WHERE place > ? ORDER BY place", seen):
        seen = row["place"]
        if row["user"] is not None:
            _record(books, row, CONFIRMING)
        move_cursor(books, "deposits", seen)


def _record(books: Books, row: Row, status: int) -> int:
    source = f"deposit:{row['request_id']}"
    known = books.one("SELECT id FROM merchant_deposits WHERE source = ?", source)
    if known is not None:
        books.do("UPDATE merchant_deposits SET status = ?, updated_at = ? WHERE id = ?",
                 status, books.now, known["id"])  # fmt: skip
        return int(known["id"])
    to = f"{row['address_to']}_{row['memo']}" if row["memo"] else row["address_to"]
    return books.do(
        "INSERT INTO merchant_deposits (source, user, symbol, amount, address_to, address_from,"
        " txid, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        source, row["user"], row["symbol"], row["amount"], to, row["address_from"], row["txid"],
        status, row["notified_at"], books.now,
    )  # fmt: skip


def _entries(books: Books, settings: Settings) -> None:
    """Credits and refunds, in the order in which they were booked."""
    for entry in books.all(
        "SELECT * FROM entries WHERE id > ? ORDER BY id", cursor(books, "entries")
    ):
        kind, subject = entry["kind"], entry["subject"]
        if kind in ("deposit", "reversal"):
            row = books.one("SELECT * FROM deposits WHERE request_id = ?", subject)
            if row is not None:
                status = CREDITED if kind == "deposit" else REVERSED
                _tell(books, settings, "deposit", _record(books, row, status), status)
        elif kind == "refund":
            _refunded(books, settings, int(subject), entry["amount"])
        move_cursor(books, "entries", entry["id"])


def _refunded(books: Books, settings: Settings, trans_id: int, amount: str) -> None:
    row = books.one("SELECT * FROM merchant_orders WHERE trans_id = ?", trans_id)
    if row is None or row["status"] in FINAL:
        return
    rest = add(row["amount"], f"-{amount}")  # the service charge, which was not handed out
    if not same_value(rest, "0"):
        book(books, row["user"], row["symbol"], rest, "order_refund", row["request_id"])
    paid = books.one("SELECT cancelled_by FROM withdrawals WHERE trans_id = ?", trans_id)
    by_chain = paid is not None and paid["cancelled_by"] == "chain"
    _end(books, settings, row, FAILED if by_chain else CANCELLED)


def _payments(books: Books, settings: Settings) -> None:
    """Claims and completions that the chain has told."""
    for told in books.all(
        "SELECT id, trans_id FROM withdrawal_history WHERE id > ? ORDER BY id",
        cursor(books, "payments"),
    ):
        row = books.one(
            "SELECT merchant_orders.*, withdrawals.state AS paid FROM merchant_orders"
            " JOIN withdrawals USING (trans_id) WHERE trans_id = ?",
            told["trans_id"],
        )
        if row is not None and row["status"] not in FINAL:
            if row["paid"] == "complete":
                _end(books, settings, row, SUCCESS)
            elif row["status"] != PROCESSING:
                books.do("UPDATE merchant_orders SET status = ?, updated_at = ? WHERE id = ?",
                         PROCESSING, books.now, row["id"])  # fmt: skip
        move_cursor(books, "payments", told["id"])
