"""Coins and amounts as the platform reads them, and how a call ends.

A call answers an `Outcome` or raises `Refusal`; a refused call has changed nothing. Amounts are
kept as plain decimal texts, exact: what does not fit is refused, never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, Inexact, InvalidOperation

from chain_adapter import money
from chain_adapter.errors import AmountError
from chain_adapter.sandbox.ledger import Books
from chain_adapter.sandbox.wire import Fields, Num, is_number

JSON_ERROR = 100001
SYSTEM_ERROR = 100002
UNKNOWN_APP = 100003
BAD_SIGNATURE = 100008
WRONG_SYMBOL = 100009
TOO_MANY_ADDRESSES = 1000010
DEPOSIT_FAILED = 1000011
REQUEST_ID_MISMATCH = 1000012
ONE_ADDRESS_ONLY = 1000014
NO_TOKEN_ADDRESSES = 1000015
ADDRESS_TOO_LONG = 1000016
NO_SUCH_ADDRESS = 1000017
FINANCE_ERROR = 1000018

_EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])
_CUT = Context(prec=400, rounding=ROUND_DOWN, traps=[InvalidOperation])


class Refusal(Exception):
    """A call that is answered with a code other than 0 and changes nothing."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


@dataclass(frozen=True, slots=True)
class Outcome:
    """`payload` is None where the call has none; a `code` other than 0 keeps its effect."""

    payload: object = None
    code: int = 0
    msg: str = "success"


@dataclass(frozen=True, slots=True)
class Coin:
    """`main_symbol` is its own symbol for a main coin. `confirmations`: depth that credits."""

    symbol: str
    main_symbol: str
    memo: bool
    decimals: int
    confirmations: int

    @property
    def is_token(self) -> bool:
        return self.main_symbol != self.symbol


def find_coin(books: Books, symbol: str) -> Coin | None:
    """The coin of that symbol, if it is ours."""
    row = books.one("SELECT * FROM coins WHERE symbol = ?", symbol)
    if row is None:
        return None
    return Coin(
        row["symbol"], row["main_symbol"], bool(row["memo"]), row["decimals"], row["confirmations"]
    )


def coin_of(books: Books, symbol: str) -> Coin:
    """The coin of that symbol; `Refusal` 100009 when it is not ours."""
    coin = find_coin(books, symbol)
    if coin is None:
        raise Refusal(WRONG_SYMBOL, f"app_id does not match the symbol {symbol[:40]}")
    return coin


def main_of(books: Books, coin: Coin) -> Coin:
    """The coin whose addresses it uses and that pays its fees."""
    return coin_of(books, coin.main_symbol) if coin.is_token else coin


@dataclass(frozen=True, slots=True)
class Amounts:
    """Reads the amounts of one call by the rules in force. Raises `Refusal` 100001."""

    books: Books
    fields: Fields

    def amount(self, decimals: int, *, may_be_zero: bool = False) -> str:
        """The field `amount`."""
        plain = self._exact("amount", decimals)
        if plain == "0" and not may_be_zero and self.books.rule["zero_amount"] == "refuse":
            raise Refusal(JSON_ERROR, "amount is zero")
        return plain

    def fee(self, coin: Coin) -> str:
        """The field `fee`, in the coin that pays it."""
        payer = main_of(self.books, coin) if self.books.rule["token_fee"] == "main" else coin
        return self._exact("fee", payer.decimals)

    def balance(self) -> str:
        """The field `balance`: kept for the eye, so it may be finer than the coin."""
        text = self._literal("balance")
        return _plain(_not_negative("balance", text))

    def _literal(self, name: str) -> str:
        text = self.fields.number(name)
        if not isinstance(text, Num) and self.books.rule["amount_text"] == "refuse":
            raise Refusal(JSON_ERROR, f"{name} is not a number")
        if "e" in text.lower() and self.books.rule["exponent"] == "refuse":
            raise Refusal(JSON_ERROR, f"{name} has an exponent")
        return text

    def _exact(self, name: str, decimals: int) -> str:
        text = self._literal(name)
        if self.books.rule["extra_decimals"] == "truncate":
            value = _not_negative(name, text)
            text = _plain(value.quantize(Decimal(1).scaleb(-decimals), context=_CUT))
        try:
            return money.plain(money.parse(text, decimals), decimals)
        except AmountError as error:
            raise Refusal(JSON_ERROR, f"{name}: {error}") from None


def _not_negative(name: str, text: str) -> Decimal:
    if not is_number(text):
        raise Refusal(JSON_ERROR, f"{name} is not a decimal number")
    value = _EXACT.create_decimal(text)
    if value < 0 or abs(value.adjusted()) > 120:
        raise Refusal(JSON_ERROR, f"{name} is negative or out of bounds")
    return value


def _plain(value: Decimal) -> str:
    text = f"{value.copy_abs():f}" if value == 0 else f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def same_value(one: str, other: str) -> bool:
    """Whether two decimal texts mean the same amount, however they are written."""
    return Decimal(one) == Decimal(other)


def add(one: str, other: str) -> str:
    """The exact sum as a plain decimal text."""
    return _plain(_EXACT.add(Decimal(one), Decimal(other)))


def book(books: Books, user: int, symbol: str, amount: str, kind: str, subject: str) -> None:
    """Put `amount` (negative: take) on a user's account, with its entry."""
    row = books.one("SELECT amount FROM accounts WHERE user = ? AND symbol = ?", user, symbol)
    balance = add(row["amount"] if row else "0", amount)
    books.do(
        "INSERT INTO accounts (user, symbol, amount) VALUES (?, ?, ?)"
        " ON CONFLICT (user, symbol) DO UPDATE SET amount = excluded.amount",
        user, symbol, balance,
    )  # fmt: skip
    books.do(
        "INSERT INTO entries (user, symbol, amount, kind, subject, at) VALUES (?, ?, ?, ?, ?, ?)",
        user, symbol, amount, kind, subject, books.now,
    )  # fmt: skip
