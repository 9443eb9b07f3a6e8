"""Withdrawals: ordered by users, handed out until they are claimed, completed or sent back.

pending -> paying (the first accepted withdraw/notify) -> complete (the one at the coin's depth)
pending -> cancelled (withdraw/cancel, or the user)
"""

from __future__ import annotations

from chain_adapter.sandbox.coins import (
    FINANCE_ERROR,
    SYSTEM_ERROR,
    Amounts,
    Coin,
    Outcome,
    Refusal,
    book,
    coin_of,
    same_value,
)
from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.wire import Fields, Num

PAGE = 20


def create(books: Books, coin: Coin, amount: str, address_to: str, memo: str) -> int:
    """A new order; the amount's text is kept as it is. Its trans_id."""
    return books.do(
        "INSERT INTO withdrawals (symbol, amount, address_to, memo, state, fee, confirm,"
        " created_at) VALUES (?, ?, ?, ?, 'pending', '0', 0, ?)",
        coin.symbol, amount, address_to, memo, books.now,
    )  # fmt: skip


def find(books: Books, trans_id: str) -> Row | None:
    """The withdrawal of that id: decimal text, no sign and no leading zero."""
    if not (trans_id.isascii() and trans_id.isdigit()) or len(trans_id) > 18 or trans_id[0] == "0":
        return None
    return books.one("SELECT * FROM withdrawals WHERE trans_id = ?", int(trans_id))


def consume(books: Books, fields: Fields) -> Outcome:
    """withdraw/consume: at most twenty that nobody has claimed."""
    coin = coin_of(books, fields.text("symbol"))
    order = "ASC" if books.rule["consume_order"] == "oldest" else "DESC"
    rows = books.all(
        "SELECT trans_id, symbol, amount, address_to, memo FROM withdrawals"
        f" WHERE symbol = ? AND state = 'pending' ORDER BY trans_id {order} LIMIT {PAGE}",
        coin.symbol,
    )
    if not rows and books.rule["consume_empty"] == "unsigned":
        return Outcome()
    return Outcome([_order(books, row) for row in rows])


def _order(books: Books, row: Row) -> dict[str, object]:
    rule = books.rule
    trans_id = str(row["trans_id"])
    number = rule["consume_amount"] == "number"
    order: dict[str, object] = {
        "trans_id": Num(trans_id) if rule["trans_id_form"] == "number" else trans_id,
        "symbol": row["symbol"],
        "amount": Num(row["amount"]) if number else row["amount"],
    }
    if rule["consume_fee"] == "present":
        order["fee"] = Num("0") if number else "0"
    order["address_to"] = row["address_to"]
    if row["memo"] or rule["consume_memo"] == "empty":
        order["memo"] = row["memo"]
    elif rule["consume_memo"] == "null":
        order["memo"] = None
    return order


def notify(books: Books, fields: Fields) -> Outcome:
    """withdraw/notify: claim, progress, completion."""
    trans_id, symbol = fields.identifier("trans_id"), fields.text("symbol")
    fields.optional_text("address_from")
    fields.optional_text("memo")
    address_to, txid = fields.text("address_to"), fields.text("txid", longest=255)
    confirm = fields.whole("confirm")
    for name in ("amount", "fee", "balance"):
        fields.number(name)
    coin = coin_of(books, symbol)
    amounts = Amounts(books, fields)
    amount, fee = amounts.amount(coin.decimals), amounts.fee(coin)
    amounts.balance()
    row = find(books, trans_id)
    if row is None:
        raise Refusal(FINANCE_ERROR, f"unknown trans_id {trans_id[:40]}")
    if row["symbol"] != symbol or not same_value(row["amount"], amount):
        raise Refusal(FINANCE_ERROR, "symbol or amount is not what was ordered")
    if books.rule["notify_address"] == "checked" and row["address_to"] != address_to:
        raise Refusal(FINANCE_ERROR, "address_to is not what was ordered")
    if row["state"] == "cancelled":
        if books.rule["after_cancel"] == "accept":
            return Outcome()
        raise Refusal(FINANCE_ERROR, "the withdrawal was cancelled")
    if row["state"] == "complete":
        if books.rule["after_completion"] == "accept":
            return Outcome()
        raise Refusal(FINANCE_ERROR, "the withdrawal is complete")
    if _changes(books, row, address_to, txid, confirm):
        _accept(books, coin, row, txid, confirm, fee)
    return Outcome()


def _changes(books: Books, row: Row, address_to: str, txid: str, confirm: int) -> bool:
    """Whether an accepted call moves the record; raises `Refusal` when it is not accepted."""
    rule = books.rule
    if row["txid"] != txid and rule["shared_txid"] == "refuse":
        other = books.one(
            "SELECT 1 FROM withdrawals WHERE txid = ? AND address_to = ? AND trans_id <> ?",
            txid, address_to, row["trans_id"],
        )  # fmt: skip
        if other is not None:
            raise Refusal(FINANCE_ERROR, "this transaction pays another withdrawal to the address")
    if row["state"] == "pending":
        if confirm > 0 and rule["late_claim"] == "refuse":
            raise Refusal(FINANCE_ERROR, "not claimed: the first confirm must be 0")
        return True
    if row["txid"] != txid:
        if rule["replacement"] == "refuse":
            raise Refusal(FINANCE_ERROR, "the withdrawal is paid by another transaction")
        return rule["replacement"] == "accept"
    if confirm == row["confirm"] and rule["claim_again"] == "refuse":
        raise Refusal(FINANCE_ERROR, "told before")
    return confirm >= row["confirm"] or rule["smaller_confirm"] == "take"


def _accept(books: Books, coin: Coin, row: Row, txid: str, confirm: int, fee: str) -> None:
    above = books.rule["withdraw_depth"] == "above"
    complete = confirm > coin.confirmations if above else confirm >= coin.confirmations
    books.do(
        "UPDATE withdrawals SET state = ?, txid = ?, confirm = ?, fee = ?,"
        " claimed_at = COALESCE(claimed_at, ?), completed_at = ? WHERE trans_id = ?",
        "complete" if complete else "paying", txid, confirm, fee, books.now,
        books.now if complete else None, row["trans_id"],
    )  # fmt: skip
    books.do(
        "INSERT INTO withdrawal_history (trans_id, at, txid, confirm, fee) VALUES (?, ?, ?, ?, ?)",
        row["trans_id"], books.now, txid, confirm, fee,
    )  # fmt: skip


def cancel(books: Books, fields: Fields) -> Outcome:
    """withdraw/cancel: back to its user, while nobody has claimed it."""
    trans_id, symbol = fields.identifier("trans_id"), fields.text("symbol")
    msg = fields.text("msg", empty=True)
    coin_of(books, symbol)
    row = find(books, trans_id)
    if row is None:
        unknown_is_system = books.rule["cancel_unknown"] == str(SYSTEM_ERROR)
        code = SYSTEM_ERROR if unknown_is_system else FINANCE_ERROR
        raise Refusal(code, f"unknown trans_id {trans_id[:40]}")
    if row["symbol"] != symbol:
        raise Refusal(FINANCE_ERROR, "symbol is not what was ordered")
    if row["state"] == "cancelled":
        if books.rule["cancel_again"] == "accept":
            return Outcome()
        raise Refusal(FINANCE_ERROR, "the withdrawal was cancelled before")
    may_be_paying = books.rule["cancel_paying"] == "accept"
    if row["state"] == "complete" or (row["state"] == "paying" and not may_be_paying):
        raise Refusal(FINANCE_ERROR, f"the withdrawal is {row['state']}")
    send_back(books, row, "chain", msg)
    return Outcome()


def send_back(books: Books, row: Row, by: str, msg: str) -> None:
    """Cancelled, and the money is its user's again."""
    books.do(
        "UPDATE withdrawals SET state = 'cancelled', cancelled_at = ?, cancelled_by = ?,"
        " cancel_msg = ? WHERE trans_id = ?",
        books.now, by, msg, row["trans_id"],
    )  # fmt: skip
    if row["user"] is not None:
        book(books, row["user"], row["symbol"], row["amount"], "refund", str(row["trans_id"]))


def listing(books: Books, trans_id: int | None = None) -> list[dict[str, object]]:
    """Every order with what was accepted about it."""
    only, values = ("", ()) if trans_id is None else (" WHERE trans_id = ?", (trans_id,))
    history: dict[int, list[dict[str, object]]] = {}
    for row in books.all(f"SELECT * FROM withdrawal_history{only} ORDER BY id", *values):
        history.setdefault(row["trans_id"], []).append(
            {
                "at": row["at"] / 1e6,
                "txid": row["txid"],
                "confirm": row["confirm"],
                "fee": row["fee"],
            }
        )
    return [
        {
            "trans_id": str(row["trans_id"]),
            "symbol": row["symbol"],
            "amount": row["amount"],
            "address_to": row["address_to"],
            "memo": row["memo"],
            "state": row["state"],
            "txid": row["txid"],
            "fee": row["fee"],
            "confirm": row["confirm"],
            "history": history.get(row["trans_id"], []),
            "created_at": row["created_at"] / 1e6,
            "claimed_at": _seconds(row["claimed_at"]),
            "completed_at": _seconds(row["completed_at"]),
            "cancelled_at": _seconds(row["cancelled_at"]),
            "cancelled_by": row["cancelled_by"],
            "cancel_msg": row["cancel_msg"],
        }
        for row in books.all(f"SELECT * FROM withdrawals{only} ORDER BY trans_id", *values)
    ]


def _seconds(at: int | None) -> float | None:
    return None if at is None else at / 1e6
