"""The merchant's users at the platform: registered by name, given addresses of the pool.

A user has one address of a main coin, and its tokens share it; of a memo coin all users share the
one address and have a memo each, written `address_memo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from chain_adapter.sandbox.coins import Coin, add, find_coin
from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.pool import place_of, shared_address

# Codes of the merchant API.
SYSTEM_ERROR = "100001"
BAD_PARAMETER = "100004"
BAD_SEAL = "100005"
UNKNOWN_APP = "100015"
BAD_ADDRESS = "110055"
NO_SUCH_USER = "110065"
TOO_SMALL = "110078"
OTHER_CONTENT = "110088"
TOO_PRECISE = "110161"
NO_SUCH_SYMBOL = "120202"
NOT_ENOUGH = "120402"

OPEN_ORDERS = (0, 1, 3)


class MerchantRefusal(Exception):
    """A merchant call that is answered with a code other than 0 and changes nothing."""

    def __init__(self, code: str, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


def coin_of(books: Books, symbol: str) -> Coin:
    """The coin of that symbol, or refused."""
    coin = find_coin(books, symbol)
    if coin is None:
        raise MerchantRefusal(NO_SUCH_SYMBOL, f"symbol {symbol[:40]} is not supported")
    return coin


def main_of(books: Books, coin: Coin) -> Coin:
    """The coin whose addresses it uses."""
    return coin_of(books, coin.main_symbol) if coin.is_token else coin


def register(books: Books, name: str) -> int:
    """The uid of the user with that e-mail or number; a new one the first time."""
    row = books.one("SELECT user FROM merchant_users WHERE name = ?", name)
    if row is not None:
        return int(row["user"])
    user = books.do("INSERT INTO users (created_at) VALUES (?)", books.now)
    books.do("INSERT INTO merchant_users (user, name) VALUES (?, ?)", user, name)
    return user


def find(books: Books, name: str) -> int:
    """The uid of a known user, or refused."""
    row = books.one("SELECT user FROM merchant_users WHERE name = ?", name)
    if row is None:
        raise MerchantRefusal(NO_SUCH_USER, "no such user")
    return int(row["user"])


def known(books: Books, uid: str) -> int:
    """The user of that uid, or refused."""
    if uid.isascii() and uid.isdigit() and len(uid) < 19:
        row = books.one("SELECT id FROM users WHERE id = ?", int(uid))
        if row is not None:
            return int(row["id"])
    raise MerchantRefusal(NO_SUCH_USER, "no such user")


def address_of(books: Books, coin: Coin, user: int) -> str | None:
    """The user's address of that coin as the merchant sees it, newest first."""
    main = main_of(books, coin)
    if main.memo:
        shared = shared_address(books, main)
        memo = books.one(
            "SELECT memo FROM memos WHERE main_symbol = ? AND user = ?", main.symbol, user
        )
        return f"{shared}_{memo['memo']}" if shared and memo else None
    row = books.one(
        "SELECT address FROM addresses WHERE main_symbol = ? AND user = ?"
        " ORDER BY given_at DESC, place DESC LIMIT 1",
        main.symbol, user,
    )  # fmt: skip
    return row["address"] if row else None


def allot(books: Books, coin: Coin, user: int) -> str:
    """The user's address; taken from the pool the first time. Refused when the pool is empty."""
    return address_of(books, coin, user) or give(books, coin, user)


def give(books: Books, coin: Coin, user: int) -> str:
    """A new address of the pool (of a memo coin: a memo), beside any that the user has."""
    main = main_of(books, coin)
    if main.memo:
        if shared_address(books, main) is not None:
            books.do("INSERT OR IGNORE INTO memos (main_symbol, memo, user) VALUES (?, ?, ?)",
                     main.symbol, str(100_000 + user), user)  # fmt: skip
            books.do("UPDATE addresses SET user = ?, given_at = ? WHERE main_symbol = ?"
                     " AND user IS NULL", user, books.now, main.symbol)  # fmt: skip
    else:
        books.do(
            "UPDATE addresses SET user = ?, given_at = ? WHERE place = (SELECT MIN(place)"
            " FROM addresses WHERE main_symbol = ? AND user IS NULL)",
            user, books.now, main.symbol,
        )  # fmt: skip
    given = address_of(books, coin, user)
    if given is None:
        raise MerchantRefusal(SYSTEM_ERROR, f"no address of {main.symbol} is left, try again later")
    return given


def note_addresses(books: Books) -> None:
    """Give every address that a user has a number for the sync list."""
    books.do(
        "INSERT OR IGNORE INTO merchant_addresses (user, main_symbol, address)"
        " SELECT user, addresses.main_symbol, address FROM addresses"
        " JOIN coins ON symbol = addresses.main_symbol"
        " WHERE user IS NOT NULL AND NOT coins.memo ORDER BY given_at, place"
    )
    books.do(
        "INSERT OR IGNORE INTO merchant_addresses (user, main_symbol, address)"
        " SELECT memos.user, memos.main_symbol, address || '_' || memo FROM memos"
        " JOIN addresses ON addresses.main_symbol = memos.main_symbol ORDER BY memos.rowid"
    )


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a withdrawal goes. `user` is set when that is inside the platform."""

    address: str
    memo: str
    user: int | None


def recipient(books: Books, coin: Coin, text: str) -> Recipient:
    """Read `to_address`; of a memo coin what follows the last underscore is the memo."""
    address, memo = text, ""
    if main_of(books, coin).memo and "_" in text:
        address, _, memo = text.rpartition("_")
    place = place_of(books, coin, address, memo)
    return Recipient(address, memo, place.user if place.memo_known else None)


def balance(books: Books, user: int, symbol: str) -> str:
    """What the user may withdraw."""
    row = books.one("SELECT amount FROM accounts WHERE user = ? AND symbol = ?", user, symbol)
    return row["amount"] if row else "0"


def locked(books: Books, user: int, symbol: str) -> str:
    """What lies in withdrawals that are under way."""
    rows = books.all(
        "SELECT amount FROM merchant_orders WHERE user = ? AND symbol = ?"
        f" AND status IN {OPEN_ORDERS}",
        user, symbol,
    )  # fmt: skip
    return total([row["amount"] for row in rows])


def total(amounts: list[str]) -> str:
    """The exact sum of decimal texts."""
    result = "0"
    for amount in amounts:
        result = add(result, amount)
    return result


def withdraw_fee(books: Books, symbol: str) -> str:
    """The service charge of a withdrawal, in the same coin."""
    return _of_coin(books, symbol)["withdraw_fee"]


def company_balance(books: Books, symbol: str) -> str:
    """The merchant's own account: service charges of completed withdrawals."""
    return _of_coin(books, symbol)["company_balance"]


def pay_company(books: Books, symbol: str, amount: str) -> None:
    """Add to (negative: take from) the merchant's own account."""
    present = _of_coin(books, symbol)
    books.do(
        "INSERT OR REPLACE INTO merchant_coins (symbol, withdraw_fee, company_balance)"
        " VALUES (?, ?, ?)",
        symbol, present["withdraw_fee"], add(present["company_balance"], amount),
    )  # fmt: skip


def set_fee(books: Books, symbol: str, fee: str | None, company: str | None) -> None:
    """What the control API sets."""
    present = _of_coin(books, symbol)
    books.do(
        "INSERT OR REPLACE INTO merchant_coins (symbol, withdraw_fee, company_balance)"
        " VALUES (?, ?, ?)",
        symbol, present["withdraw_fee"] if fee is None else fee,
        present["company_balance"] if company is None else company,
    )  # fmt: skip


def _of_coin(books: Books, symbol: str) -> Row | dict[str, str]:
    row = books.one("SELECT * FROM merchant_coins WHERE symbol = ?", symbol)
    return row if row is not None else {"withdraw_fee": "0", "company_balance": "0"}


def below(one: str, other: str) -> bool:
    """Whether one decimal text is less than another."""
    return Decimal(one) < Decimal(other)
