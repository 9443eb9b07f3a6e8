"""Tables and settings of the platform's merchant side, in the same file as the rest of its books.

One merchant is served: whoever holds the private key that belongs to `public_key`. Until told
otherwise that is party A, with the sandbox's own app_id, as in the recorded vectors.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from chain_adapter.sandbox.ledger import Books

# Amounts are plain decimal texts, times Unix microseconds, as in the other tables.
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS merchant_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)
    STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_users (
      user INTEGER PRIMARY KEY REFERENCES users, name TEXT NOT NULL UNIQUE) STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_coins (
      symbol TEXT PRIMARY KEY, withdraw_fee TEXT NOT NULL, company_balance TEXT NOT NULL)
    STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_addresses (
      id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users,
      main_symbol TEXT NOT NULL, address TEXT NOT NULL, UNIQUE (user, main_symbol, address))
    STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_deposits (
      id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL UNIQUE,
      user INTEGER NOT NULL REFERENCES users, symbol TEXT NOT NULL, amount TEXT NOT NULL,
      address_to TEXT NOT NULL, address_from TEXT NOT NULL, txid TEXT NOT NULL,
      status INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_orders (
      id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE,
      user INTEGER NOT NULL REFERENCES users, symbol TEXT NOT NULL, amount TEXT NOT NULL,
      fee TEXT NOT NULL, address_to TEXT NOT NULL, check_sum TEXT NOT NULL,
      status INTEGER NOT NULL, trans_id INTEGER UNIQUE REFERENCES withdrawals,
      created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, confirmed_at INTEGER) STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_transfers (
      id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE,
      symbol TEXT NOT NULL, amount TEXT NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL,
      remark TEXT NOT NULL, receipt TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS merchant_callbacks (
      id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, record INTEGER NOT NULL,
      status INTEGER NOT NULL, detail TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL,
      created_at INTEGER NOT NULL, next_at INTEGER, done_at INTEGER,
      UNIQUE (kind, record, status, detail)) STRICT""",
    """CREATE INDEX IF NOT EXISTS merchant_due ON merchant_callbacks (next_at)
      WHERE state = 'waiting'""",
    """CREATE TABLE IF NOT EXISTS merchant_tries (
      id INTEGER PRIMARY KEY AUTOINCREMENT, callback INTEGER NOT NULL
      REFERENCES merchant_callbacks, at INTEGER NOT NULL, ok INTEGER NOT NULL,
      answer TEXT NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS merchant_tries_of ON merchant_tries (callback)",
    """CREATE TABLE IF NOT EXISTS merchant_cursors (name TEXT PRIMARY KEY, id INTEGER NOT NULL)
    STRICT""",
    """CREATE TABLE IF NOT EXISTS sent_coins (
      id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, txid TEXT NOT NULL,
      address TEXT NOT NULL, memo TEXT NOT NULL, amount TEXT NOT NULL, at INTEGER NOT NULL)
    STRICT""",
    """INSERT INTO sqlite_sequence (name, seq) SELECT 'merchant_orders', 48000
      WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'merchant_orders')""",
)

WAAS_V2, UUWALLET = "waas_v2", "uuwallet"
DIALECTS = (WAAS_V2, UUWALLET)
_LONGEST_WAIT = 10**17  # microseconds; an integer column ends soon after
GAPS, SINCE_FIRST = "gaps", "since_first"
SCHEDULES = (GAPS, SINCE_FIRST)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `POST /sandbox/merchant` sets. An empty URL: nothing is sent there."""

    dialect: str = WAAS_V2
    notify_url: str = ""
    confirm_url: str = ""  # without one every withdrawal is approved
    schedule: str = GAPS
    speed: float = 1.0  # the schedule runs so many times faster
    timeout_s: float = 10.0  # of one call to the merchant; not divided by `speed`
    app_id: str = ""  # empty: the sandbox's own
    public_key: str = ""  # the merchant's; empty: party A's
    api_key: str = ""
    chain_names: Mapping[str, str] | None = None  # main symbol -> chainName of UUWallet


def make_tables(books: Books) -> None:
    """Idempotent; an older state directory gets them as well."""
    for statement in _SCHEMA:
        books.do(statement)


def load_settings(books: Books) -> tuple[Settings, bool]:
    """(the settings, whether somebody has ever set them)"""
    rows = books.all("SELECT name, value FROM merchant_settings")
    known = {field.name for field in fields(Settings)}
    stored = {row["name"]: json.loads(row["value"]) for row in rows if row["name"] in known}
    return replace(Settings(), **stored), bool(stored)


def store_settings(books: Books, settings: Settings) -> Settings:
    """Keep them; an api_key is made where none was given."""
    if not settings.api_key:
        settings = replace(settings, api_key=secrets.token_hex(16))
    for name, value in asdict(settings).items():
        put_value(books, name, value)
    return settings


def put_value(books: Books, name: str, value: Any) -> None:
    """Any further value that belongs to the merchant side."""
    books.do("INSERT OR REPLACE INTO merchant_settings (name, value) VALUES (?, ?)",
             name, json.dumps(value))  # fmt: skip


def get_value(books: Books, name: str) -> Any:
    """None when it was never put."""
    row = books.one("SELECT value FROM merchant_settings WHERE name = ?", name)
    return None if row is None else json.loads(row["value"])


def cursor(books: Books, name: str) -> int:
    """How far a log was read."""
    row = books.one("SELECT id FROM merchant_cursors WHERE name = ?", name)
    return 0 if row is None else int(row["id"])


def move_cursor(books: Books, name: str, to: int) -> None:
    """It was read up to and with `to`."""
    books.do("INSERT OR REPLACE INTO merchant_cursors (name, id) VALUES (?, ?)", name, to)


def enqueue(
    books: Books, kind: str, record: int, status: int, first_at: int, detail: str = ""
) -> None:
    """A callback to be sent; one (kind, record, status, detail) is sent once."""
    books.do(
        "INSERT OR IGNORE INTO merchant_callbacks (kind, record, status, detail, state, tries,"
        " created_at, next_at) VALUES (?, ?, ?, ?, 'waiting', 0, ?, ?)",
        kind, record, status, detail, books.now, first_at,
    )  # fmt: skip


def hurry(books: Books, factor: float) -> None:
    """What is still to wait becomes so many times as long: the speed was changed."""
    for row in books.all(
        "SELECT id, next_at FROM merchant_callbacks WHERE state = 'waiting' AND next_at > ?",
        books.now,
    ):
        wait = min(round((row["next_at"] - books.now) * factor), _LONGEST_WAIT)
        books.do("UPDATE merchant_callbacks SET next_at = ? WHERE id = ?",
                 books.now + wait, row["id"])  # fmt: skip
