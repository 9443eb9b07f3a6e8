"""Addresses: registered into a pool, counted, given to users.

address/register fills the pool of a main coin; its tokens share it. A user takes the oldest unused
one; of a memo coin all users share the one address and have a memo each.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain_adapter.sandbox.coins import (
    ADDRESS_TOO_LONG,
    JSON_ERROR,
    NO_TOKEN_ADDRESSES,
    ONE_ADDRESS_ONLY,
    SYSTEM_ERROR,
    TOO_MANY_ADDRESSES,
    Coin,
    Outcome,
    Refusal,
    coin_of,
    main_of,
)
from chain_adapter.sandbox.ledger import Books
from chain_adapter.sandbox.wire import Fields

MAX_PER_CALL = 100
MAX_UNUSED = 5000
MAX_ADDRESS = 255  # characters


@dataclass(frozen=True, slots=True)
class Holder:
    """A user and where he is paid. `memo` is '' for a coin without memos."""

    user: int
    address: str
    memo: str


def register(books: Books, fields: Fields) -> Outcome:
    """address/register: all of the call, or nothing of it."""
    symbol, listed, flag = fields.text("symbol"), fields.text("addresses"), fields.flag("memo")
    coin = coin_of(books, symbol)
    if coin.is_token:
        raise Refusal(NO_TOKEN_ADDRESSES, f"{symbol} uses the addresses of {coin.main_symbol}")
    if books.rule["memo_flag"] == "match" and flag != coin.memo:
        raise Refusal(SYSTEM_ERROR, f"memo is {coin.memo} for {symbol}")
    addresses = listed.split(",")
    if len(addresses) > MAX_PER_CALL:
        raise Refusal(TOO_MANY_ADDRESSES, f"more than {MAX_PER_CALL} addresses")
    bad = [found for address in addresses if (found := _fault_of(address)) is not None]
    good = list(dict.fromkeys(a for a in addresses if _fault_of(a) is None))
    if bad and (books.rule["bad_address"] == "none" or coin.memo):
        raise bad[0]
    if coin.memo:
        return _register_shared(books, coin, good)
    _store(books, coin, good)
    return Outcome(code=bad[0].code, msg=bad[0].msg) if bad else Outcome()


def _fault_of(address: str) -> Refusal | None:
    if len(address) > MAX_ADDRESS:
        return Refusal(ADDRESS_TOO_LONG, f"address longer than {MAX_ADDRESS} characters")
    if not address or not address.isprintable() or any(c.isspace() for c in address):
        return Refusal(JSON_ERROR, "addresses: an empty one, or one with spaces")
    return None


def _register_shared(books: Books, coin: Coin, addresses: list[str]) -> Outcome:
    if len(addresses) > 1:
        raise Refusal(ONE_ADDRESS_ONLY, "only one address is allowed for a memo coin")
    known = shared_address(books, coin)
    if known is None:
        _insert(books, coin, addresses)
    elif known != addresses[0] or books.rule["memo_again"] == "refuse":
        raise Refusal(ONE_ADDRESS_ONLY, f"{coin.symbol} has its address already")
    return Outcome()


def _store(books: Books, coin: Coin, addresses: list[str]) -> None:
    new = [
        address
        for address in addresses
        if not books.one(
            "SELECT 1 FROM addresses WHERE main_symbol = ? AND address = ?", coin.symbol, address
        )
    ]
    if len(new) < len(addresses) and books.rule["known_address"] == "refuse":
        raise Refusal(SYSTEM_ERROR, "an address is registered already")
    unused = _unused(books, coin)
    if books.rule["pool_limit"] == "at_5000":
        full = unused >= MAX_UNUSED or unused + len(new) > MAX_UNUSED
    else:
        full = unused > MAX_UNUSED
    if full:
        raise Refusal(SYSTEM_ERROR, f"{unused} addresses are unused; the limit is {MAX_UNUSED}")
    _insert(books, coin, new)


def _insert(books: Books, coin: Coin, addresses: list[str]) -> None:
    books.many(
        "INSERT INTO addresses (main_symbol, address, registered_at) VALUES (?, ?, ?)",
        [(coin.symbol, address, books.now) for address in addresses],
    )


def _unused(books: Books, main: Coin) -> int:
    row = books.one(
        "SELECT COUNT(*) AS n FROM addresses WHERE main_symbol = ? AND user IS NULL", main.symbol
    )
    return int(row["n"]) if row else 0


def available(books: Books, fields: Fields) -> Outcome:
    """address/available: registered and not yet given to a user."""
    coin = coin_of(books, fields.text("symbol"))
    if coin.is_token and books.rule["token_available"] == "zero":
        return Outcome({"symbol": coin.symbol, "count": 0})
    return Outcome({"symbol": coin.symbol, "count": _unused(books, main_of(books, coin))})


def shared_address(books: Books, main: Coin) -> str | None:
    """The one address of a memo coin."""
    row = books.one(
        "SELECT address FROM addresses WHERE main_symbol = ? ORDER BY place LIMIT 1", main.symbol
    )
    return row["address"] if row else None


def new_holder(books: Books, coin: Coin) -> Holder | None:
    """A new user with an address of the pool; None when the pool is empty."""
    main = main_of(books, coin)
    if main.memo:
        address = shared_address(books, main)
    else:
        row = books.one(
            "SELECT address FROM addresses WHERE main_symbol = ? AND user IS NULL"
            " ORDER BY place LIMIT 1",
            main.symbol,
        )
        address = row["address"] if row else None
    return None if address is None else _give(books, main, address)


def _give(books: Books, main: Coin, address: str) -> Holder:
    user = books.do("INSERT INTO users (created_at) VALUES (?)", books.now)
    memo = str(100_000 + user) if main.memo else ""
    if memo:
        books.do("INSERT INTO memos (main_symbol, memo, user) VALUES (?, ?, ?)",
                 main.symbol, memo, user)  # fmt: skip
    books.do(
        "UPDATE addresses SET user = ?, given_at = ?"
        " WHERE main_symbol = ? AND address = ? AND user IS NULL",
        user, books.now, main.symbol, address,
    )  # fmt: skip
    return Holder(user, address, memo)


@dataclass(frozen=True, slots=True)
class Place:
    """What an address and memo mean to the platform. `user` is None while nobody holds it."""

    registered: bool
    memo_known: bool
    user: int | None


def place_of(books: Books, coin: Coin, address: str, memo: str) -> Place:
    """Look a recipient up."""
    main = main_of(books, coin)
    row = books.one(
        "SELECT user FROM addresses WHERE main_symbol = ? AND address = ?", main.symbol, address
    )
    if row is None:
        return Place(False, False, None)
    if not main.memo:
        return Place(True, True, row["user"])
    known = books.one(
        "SELECT user FROM memos WHERE main_symbol = ? AND memo = ?", main.symbol, memo
    )
    return Place(True, known is not None, known["user"] if known else None)


def give_to_new_user(books: Books, coin: Coin, address: str) -> int:
    """A new user for a registered address that nobody holds; his id."""
    return _give(books, main_of(books, coin), address).user


def listing(books: Books, coin: Coin) -> list[dict[str, object]]:
    """Registered addresses with their users; of a memo coin one row a user."""
    main = main_of(books, coin)
    if main.memo:
        rows = books.all(
            "SELECT address, memos.user AS user, COALESCE(memo, '') AS memo FROM addresses"
            " LEFT JOIN memos ON memos.main_symbol = addresses.main_symbol"
            " WHERE addresses.main_symbol = ? ORDER BY memos.user",
            main.symbol,
        )
    else:
        rows = books.all(
            "SELECT address, user, '' AS memo FROM addresses WHERE main_symbol = ? ORDER BY place",
            main.symbol,
        )
    return [dict(row) for row in rows]
