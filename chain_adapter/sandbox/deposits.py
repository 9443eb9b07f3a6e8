"""Deposits as the platform is told of them: kept by request_id, credited once at the depth.

The platform believes what it is told: a new request_id for the same movement is credited again.
That sharp edge is on purpose, and the row says so (`duplicate`).
"""

from __future__ import annotations

from chain_adapter.sandbox.coins import (
    DEPOSIT_FAILED,
    FINANCE_ERROR,
    NO_SUCH_ADDRESS,
    REQUEST_ID_MISMATCH,
    SYSTEM_ERROR,
    Amounts,
    Coin,
    Outcome,
    Refusal,
    book,
    coin_of,
)
from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.pool import give_to_new_user, place_of
from chain_adapter.sandbox.wire import Fields, Malformed


def notify(books: Books, fields: Fields) -> Outcome:
    """deposit/notify: the echo of the request_id."""
    request_id = fields.text("request_id", longest=255)
    symbol, txid = fields.text("symbol"), fields.text("txid", longest=255)
    told = {
        "address_from": fields.optional_text("address_from"),
        "address_to": fields.text("address_to"),
        "memo": fields.optional_text("memo"),
        "symbol": symbol,
        "txid": txid,
    }
    confirm, status = fields.whole("confirm"), fields.whole("status")
    fields.number("amount")
    fields.number("balance")
    if status > 1:
        raise Malformed("field 'status' is neither 0 nor 1")
    coin = coin_of(books, symbol)
    amounts = Amounts(books, fields)
    told["amount"] = amounts.amount(coin.decimals)
    amounts.balance()
    row = books.one("SELECT * FROM deposits WHERE request_id = ?", request_id)
    if row is None:
        row = _first(books, coin, request_id, told, confirm, status)
    elif not _same(books, row, told):
        return _echo(books, request_id)
    _advance(books, coin, row, confirm, status)
    return _echo(books, request_id)


def _echo(books: Books, request_id: str) -> Outcome:
    bare = {"request_id": request_id}
    return Outcome(bare if books.rule["deposit_echo"] == "bare" else {"data": bare})


def _same(books: Books, row: Row, told: dict[str, str]) -> bool:
    changed = [
        name
        for name in ("txid", "address_to", "amount", "symbol", "memo")
        if row[name] != told[name]
    ]
    if not changed:
        return True
    if books.rule["changed_deposit"] == "ignore":
        return False
    code = REQUEST_ID_MISMATCH if "txid" in changed else DEPOSIT_FAILED
    raise Refusal(code, f"this request_id was told with another {changed[0]}")


def _first(
    books: Books, coin: Coin, request_id: str, told: dict[str, str], confirm: int, status: int
) -> Row:
    place = place_of(books, coin, told["address_to"], told["memo"])
    if not place.registered:
        raise Refusal(NO_SUCH_ADDRESS, "address does not exist")
    if not place.memo_known and books.rule["unknown_memo"] == "refuse":
        raise Refusal(NO_SUCH_ADDRESS, "address does not exist: unknown memo")
    if place.memo_known and place.user is None and books.rule["unheld_address"] == "refuse":
        raise Refusal(NO_SUCH_ADDRESS, "address does not exist: no user holds it")
    if books.rule["deposit_depth"] == "refuse_below" and confirm < coin.confirmations:
        raise Refusal(DEPOSIT_FAILED, f"{confirm} confirmations, {coin.confirmations} needed")
    duplicate = books.one(
        "SELECT 1 FROM deposits WHERE txid = ? AND address_to = ? AND symbol = ? AND memo = ?",
        told["txid"], told["address_to"], told["symbol"], told["memo"],
    )  # fmt: skip
    books.do(
        "INSERT INTO deposits (request_id, symbol, txid, address_from, address_to, memo, amount,"
        " confirm, status, credited, duplicate, user, notified_at, last_notified_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '0', ?, ?, ?, ?)",
        request_id, told["symbol"], told["txid"], told["address_from"], told["address_to"],
        told["memo"], told["amount"], confirm, status, int(duplicate is not None), place.user,
        books.now, books.now,
    )  # fmt: skip
    row = books.one("SELECT * FROM deposits WHERE request_id = ?", request_id)
    assert row is not None
    return row


def _advance(books: Books, coin: Coin, row: Row, confirm: int, status: int) -> None:
    request_id: str = row["request_id"]
    credited = row["credited_at"] is not None
    reversing = credited and status == 0 and books.rule["status_zero_later"] == "reverse"
    if reversing and row["credited"] != "0":
        book(books, row["user"], row["symbol"], f"-{row['credited']}", "reversal", request_id)
        books.do("UPDATE deposits SET credited = '0' WHERE request_id = ?", request_id)
    if credited and status == 0 and not reversing:
        status = 1  # after a credit it changes nothing
    books.do(
        "UPDATE deposits SET confirm = ?, status = ?, last_notified_at = ? WHERE request_id = ?",
        max(confirm, row["confirm"]), status, books.now, request_id,
    )  # fmt: skip
    if credited or status == 0 or not _deep_enough(books, coin, confirm):
        return
    if row["duplicate"] and books.rule["new_request_id"] == "ignore":
        return
    user = row["user"]
    if user is None:
        place = place_of(books, coin, row["address_to"], row["memo"])
        if not place.memo_known:
            return  # kept for a person to assign
        user = place.user or give_to_new_user(books, coin, row["address_to"])
    book(books, user, row["symbol"], row["amount"], "deposit", request_id)
    books.do(
        "UPDATE deposits SET credited = amount, credited_at = ?, user = ? WHERE request_id = ?",
        books.now, user, request_id,
    )  # fmt: skip


def _deep_enough(books: Books, coin: Coin, confirm: int) -> bool:
    if books.rule["deposit_depth"] == "above":
        return confirm > coin.confirmations
    return confirm >= coin.confirmations


def listing(books: Books) -> list[dict[str, object]]:
    """One row a request_id, in the order they were first told."""
    return [
        {
            "request_id": row["request_id"],
            "symbol": row["symbol"],
            "txid": row["txid"],
            "address_from": row["address_from"],
            "address_to": row["address_to"],
            "memo": row["memo"],
            "amount": row["amount"],
            "confirm": row["confirm"],
            "status": row["status"],
            "credited": row["credited"],
            "duplicate": bool(row["duplicate"]),
            "user": row["user"],
            "notified_at": row["notified_at"] / 1e6,
            "last_notified_at": row["last_notified_at"] / 1e6,
            "credited_at": None if row["credited_at"] is None else row["credited_at"] / 1e6,
        }
        for row in books.all("SELECT * FROM deposits ORDER BY place")
    ]


def notify_internal(books: Books, fields: Fields) -> Outcome:
    """internal/notify: kept by (symbol, txid); a repeat updates `confirm` and `fee`."""
    symbol, txid = fields.text("symbol"), fields.text("txid", longest=255)
    address_from, memo = fields.optional_text("address_from"), fields.optional_text("memo")
    address_to, confirm = fields.text("address_to"), fields.whole("confirm")
    for name in ("amount", "fee", "balance"):
        fields.number(name)
    coin = coin_of(books, symbol)
    amounts = Amounts(books, fields)
    amount = amounts.amount(coin.decimals, may_be_zero=True)
    fee, balance = amounts.fee(coin), amounts.balance()
    if books.rule["internal_notify"] == "off":
        raise Refusal(SYSTEM_ERROR, "temporarily unavailable for third parties")
    known = books.one("SELECT place FROM internal WHERE symbol = ? AND txid = ?", symbol, txid)
    if known is None:
        books.do(
            "INSERT INTO internal (symbol, txid, address_from, address_to, memo, amount, fee,"
            " confirm, balance, at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            symbol, txid, address_from, address_to, memo, amount, fee, confirm, balance,
            books.now, books.now,
        )  # fmt: skip
    elif books.rule["internal_again"] == "refuse":
        raise Refusal(FINANCE_ERROR, "this transaction was told before")
    else:
        books.do("UPDATE internal SET confirm = ?, fee = ?, updated_at = ? WHERE place = ?",
                 confirm, fee, books.now, known["place"])  # fmt: skip
    return Outcome()


def internal_listing(books: Books) -> list[dict[str, object]]:
    """Every other transaction that burned a fee of ours."""
    return [
        {
            "symbol": row["symbol"],
            "txid": row["txid"],
            "address_from": row["address_from"],
            "address_to": row["address_to"],
            "memo": row["memo"],
            "amount": row["amount"],
            "fee": row["fee"],
            "confirm": row["confirm"],
            "balance": row["balance"],
            "at": row["at"] / 1e6,
            "updated_at": row["updated_at"] / 1e6,
        }
        for row in books.all("SELECT * FROM internal ORDER BY place")
    ]
