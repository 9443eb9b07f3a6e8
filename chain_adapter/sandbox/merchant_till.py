"""The sandbox merchant's books: what its users have, what was deposited, what was asked for.

Every function runs inside a transaction of the store. `book` is what the hand-off calls: its rows
and the mark of the event are one transaction, so an event is booked exactly once.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any

from chain_adapter.callbacks import (
    AddressReplaced,
    Deposited,
    Event,
    MinerFee,
    WithdrawalFailed,
    Withdrawn,
)
from chain_adapter.sandbox.coins import add
from chain_adapter.sandbox.wire import is_number

_TABLES = (
    """CREATE TABLE IF NOT EXISTS shop_users (
      name TEXT NOT NULL, uid TEXT NOT NULL, symbol TEXT NOT NULL, address TEXT NOT NULL,
      PRIMARY KEY (name, symbol)) STRICT""",
    """CREATE TABLE IF NOT EXISTS shop_entries (
      id INTEGER PRIMARY KEY, uid TEXT NOT NULL, symbol TEXT NOT NULL, amount TEXT NOT NULL,
      kind TEXT NOT NULL, subject TEXT NOT NULL, UNIQUE (kind, subject)) STRICT""",
    """CREATE TABLE IF NOT EXISTS shop_deposits (
      key TEXT PRIMARY KEY, record_id TEXT NOT NULL, uid TEXT NOT NULL, symbol TEXT NOT NULL,
      amount TEXT NOT NULL, address TEXT NOT NULL, txid TEXT NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS shop_orders (
      request_id TEXT PRIMARY KEY, uid TEXT NOT NULL, symbol TEXT NOT NULL, amount TEXT NOT NULL,
      address TEXT NOT NULL, chain TEXT NOT NULL, state TEXT NOT NULL, txid TEXT NOT NULL,
      fee TEXT NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS shop_fees (
      record_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, fee TEXT NOT NULL, txid TEXT NOT NULL)
    STRICT""",
    """CREATE TABLE IF NOT EXISTS shop_odd (key TEXT PRIMARY KEY, what TEXT NOT NULL) STRICT""",
)
_OPEN = ("asked", "placed")


class TillRefused(Exception):
    """The merchant's own books do not allow it."""


def make_tables(db: sqlite3.Connection) -> None:
    for statement in _TABLES:
        db.execute(statement)


def book(event: Event, db: sqlite3.Connection) -> None:
    """One event, once."""
    match event:
        case Deposited():
            db.execute(
                "INSERT INTO shop_deposits VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.key, event.record_id, event.user_id, event.symbol, event.amount,
                 event.address_to, event.txid),
            )  # fmt: skip
            _enter(db, event.user_id, event.symbol, event.amount, "deposit", event.key)
        case Withdrawn():
            _end(db, event.key, event.request_id, "paid", event.txid or "", event.real_fee or "0")
        case WithdrawalFailed():
            unfreeze(db, event.request_id, event.why)
        case AddressReplaced():
            db.execute(
                "UPDATE shop_users SET address = ? WHERE uid = ? AND symbol = ?",
                (event.address, event.user_id, event.symbol),
            )
        case MinerFee():
            db.execute("INSERT OR REPLACE INTO shop_fees VALUES (?, ?, ?, ?)",
                       (event.record_id, event.symbol, event.fee, event.txid))  # fmt: skip
        case _:
            pass  # nothing to book


def put_user(db: sqlite3.Connection, name: str, uid: str, symbol: str, address: str) -> None:
    """A user's address as the platform has told it."""
    db.execute("INSERT OR REPLACE INTO shop_users VALUES (?, ?, ?, ?)",
               (name, uid, symbol, address))  # fmt: skip


def freeze(
    db: sqlite3.Connection,
    request_id: str,
    name: str,
    symbol: str,
    amount: str,
    address: str,
    chain: str,
) -> str:
    """Take the amount off the user's balance and note the order; the user's uid.

    The same order again changes nothing. Raises `TillRefused`.
    """
    user = db.execute("SELECT uid FROM shop_users WHERE name = ?", (name,)).fetchone()
    if user is None:
        raise TillRefused(f"no user {name}")
    if not is_number(amount) or Decimal(amount) <= 0:
        raise TillRefused("the amount is not above zero")
    uid = str(user[0])
    known = find_order(db, request_id)
    if known is not None:
        if (known["uid"], known["symbol"], known["amount"], known["address"]) != (
            uid, symbol, amount, address,
        ):  # fmt: skip
            raise TillRefused("this request_id was used for another withdrawal")
        return uid
    if Decimal(_balance(db, uid, symbol)) < Decimal(amount):
        raise TillRefused("the balance is too small")
    db.execute("INSERT INTO shop_orders VALUES (?, ?, ?, ?, ?, ?, 'asked', '', '0')",
               (request_id, uid, symbol, amount, address, chain))  # fmt: skip
    _enter(db, uid, symbol, f"-{amount}", "freeze", request_id)
    return uid


def placed(db: sqlite3.Connection, request_id: str) -> None:
    """The platform has taken the order."""
    db.execute("UPDATE shop_orders SET state = 'placed' WHERE request_id = ? AND state = 'asked'",
               (request_id,))  # fmt: skip


def unfreeze(db: sqlite3.Connection, request_id: str, why: str) -> None:
    """The order is dead: the amount is the user's again."""
    order = find_order(db, request_id)
    if order is None or order["state"] not in _OPEN:
        _odd(db, f"failed/{request_id}", f"not open: {why}")
        return
    db.execute("UPDATE shop_orders SET state = ? WHERE request_id = ?", (why, request_id))
    _enter(db, order["uid"], order["symbol"], order["amount"], "unfreeze", request_id)


def find_order(db: sqlite3.Connection, request_id: str) -> dict[str, Any] | None:
    """An order by its name, or None."""
    found = _table(db, "SELECT * FROM shop_orders WHERE request_id = ?", request_id)
    return found[0] if found else None


def listing(db: sqlite3.Connection) -> dict[str, object]:
    """The books as JSON. `odd` holds what fitted nothing, and should be empty."""
    balances: dict[str, dict[str, str]] = {}
    frozen: dict[str, dict[str, str]] = {}
    for row in _table(db, "SELECT uid, symbol, amount FROM shop_entries ORDER BY id"):
        _add(balances, row)
    for row in _table(db, f"SELECT uid, symbol, amount FROM shop_orders WHERE state IN {_OPEN}"):
        _add(frozen, row)
    return {
        "balances": balances,
        "frozen": frozen,
        "users": _table(db, "SELECT * FROM shop_users ORDER BY uid, symbol"),
        "deposits": _table(db, "SELECT * FROM shop_deposits ORDER BY rowid"),
        "withdrawals": _table(db, "SELECT * FROM shop_orders ORDER BY rowid"),
        "miner_fees": _table(db, "SELECT * FROM shop_fees ORDER BY rowid"),
        "odd": _table(db, "SELECT * FROM shop_odd ORDER BY rowid"),
    }


def _end(
    db: sqlite3.Connection, key: str, request_id: str, state: str, txid: str, fee: str
) -> None:
    order = find_order(db, request_id)
    if order is None or order["state"] not in _OPEN:
        _odd(db, key, f"{state} by {txid}, but the order is {order['state'] if order else 'none'}")
        return
    db.execute("UPDATE shop_orders SET state = ?, txid = ?, fee = ? WHERE request_id = ?",
               (state, txid, fee, request_id))  # fmt: skip


def _enter(
    db: sqlite3.Connection, uid: str, symbol: str, amount: str, kind: str, subject: str
) -> None:
    db.execute(
        "INSERT INTO shop_entries (uid, symbol, amount, kind, subject) VALUES (?, ?, ?, ?, ?)",
        (uid, symbol, amount, kind, subject),
    )


def _balance(db: sqlite3.Connection, uid: str, symbol: str) -> str:
    total = "0"
    for row in db.execute(
        "SELECT amount FROM shop_entries WHERE uid = ? AND symbol = ?", (uid, symbol)
    ):
        total = add(total, row[0])
    return total


def _add(sums: dict[str, dict[str, str]], row: dict[str, Any]) -> None:
    of_user = sums.setdefault(row["uid"], {})
    of_user[row["symbol"]] = add(of_user.get(row["symbol"], "0"), row["amount"])


def _odd(db: sqlite3.Connection, key: str, what: str) -> None:
    db.execute("INSERT OR IGNORE INTO shop_odd VALUES (?, ?)", (key, what))


def _table(db: sqlite3.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    found = db.execute(query, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]
