"""What was signed: the signer's own file, apart from the daemon's database.

An attempt (payout, purpose, payments, raw bytes, locks, expiry, build height) is written here in
the commit after which its bytes leave. A lock that stands here for one payout is never signed for
another, and a payout gets no attempt beside an open one that could land too (rules.py).
Losing this file is the one loss that can pay twice: it lives on another disk than the database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from chain_adapter.errors import SigningRefused

VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
-- the one network a chain's signatures are for; never changed
CREATE TABLE pins (chain TEXT PRIMARY KEY, identity TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE attempts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  chain TEXT NOT NULL,
  txid TEXT NOT NULL,
  kind TEXT NOT NULL, symbol TEXT NOT NULL, trans_id TEXT NOT NULL,  -- the payout
  purpose TEXT NOT NULL,                    -- pay, replace, void
  account INTEGER NOT NULL, idx INTEGER NOT NULL, sender TEXT NOT NULL,
  payments BLOB NOT NULL,                   -- what it pays, canonical JSON
  payload BLOB NOT NULL, raw BLOB NOT NULL,
  max_fee TEXT NOT NULL,                    -- base units of the fee asset
  locks TEXT NOT NULL,                      -- JSON list; the table below is its index
  expires TEXT,                             -- in the clock of the chain's blocks
  build_height INTEGER NOT NULL,
  signed_at TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'final', 'failed', 'used', 'expired', 'orphaned')),
  ended_by TEXT, ended_height INTEGER, ended_at TEXT,  -- what proves it; when it was told
  UNIQUE (chain, txid)
) STRICT;
CREATE INDEX attempts_payout ON attempts (kind, symbol, trans_id);
CREATE TABLE locks (
  chain TEXT NOT NULL, lock TEXT NOT NULL, seq INTEGER NOT NULL REFERENCES attempts,
  PRIMARY KEY (chain, lock, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE settled (
  kind TEXT NOT NULL, symbol TEXT NOT NULL, trans_id TEXT NOT NULL,
  evidence TEXT NOT NULL, by_whom TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (kind, symbol, trans_id)
) STRICT, WITHOUT ROWID;
"""


SCHEMA_POLICY: Final = """
-- policy, approvals, kill switch and audit log: made when first opened
CREATE TABLE IF NOT EXISTS spends (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,                       -- pay, fee, top-up, credit
  scope TEXT NOT NULL,                      -- symbol or chain
  subject TEXT NOT NULL,                    -- payout or request id
  "to" TEXT NOT NULL, amount TEXT NOT NULL, at_s INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS spends_at ON spends (at_s);
CREATE TABLE IF NOT EXISTS credits (
  request_id TEXT PRIMARY KEY, content TEXT NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- withdrawals that a sealed cancel gives back to their user: never paid from then on
CREATE TABLE IF NOT EXISTS cancels (
  symbol TEXT NOT NULL, trans_id TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (symbol, trans_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS approvals (
  act TEXT NOT NULL, subject TEXT NOT NULL, content TEXT NOT NULL, operator TEXT NOT NULL,
  document TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (act, subject, content, operator)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kills (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, reason TEXT NOT NULL, killed_at TEXT NOT NULL,
  resumed_by TEXT, resumed_at TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS policies (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, approved_by TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY, at TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL, sign BLOB NOT NULL
) STRICT;
"""


class PayoutKey(msgspec.Struct, frozen=True, order=True):
    """Names a payout for ever. Kinds: withdrawal, sweep, top-up, cold."""

    kind: str
    symbol: str
    trans_id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.symbol} {self.trans_id}"


class Purpose(StrEnum):
    """What an attempt is for. A void pays nobody and burns locks."""

    PAY = "pay"
    REPLACE = "replace"
    VOID = "void"


class State(StrEnum):
    """What became of an attempt, as told by the daemon with a proof that the journal checks."""

    OPEN = "open"  # nothing known, or included and not yet final
    FINAL = "final"  # in a final block, and it did what its bytes say
    FAILED = "failed"  # in a final block, and it did not do what its bytes say
    USED = "used"  # dead: another transaction used a lock of it in a final block
    EXPIRED = "expired"  # dead: the clock of a final block lies beyond its expiry
    ORPHANED = "orphaned"  # dead: the transaction that made one of its coins is dead


class Death(msgspec.Struct, frozen=True):
    """Why an attempt ended, as of the final block at `height`.

    `by_txid`: what used its lock, or its dead parent. `clock`: that block's, in the chain's units.
    `reason` OPEN takes back what was told before (a reorganisation deeper than final).
    """

    reason: State
    height: int
    by_txid: str | None = None
    clock: int | None = None


class JournalEntry(msgspec.Struct, frozen=True):
    """One attempt as journaled. `seq` grows; `settled` tells that its payout is marked."""

    seq: int
    chain: str
    txid: str
    payout: PayoutKey
    purpose: Purpose
    account: int
    index: int
    sender: str
    payments: bytes
    payload: bytes
    raw: bytes
    max_fee: int
    locks: tuple[str, ...]
    expires: int | None
    build_height: int
    signed_at: str
    state: State
    settled: bool


class SettledMark(msgspec.Struct, frozen=True):
    """A payout that two people settled by hand; from then on only voids are signed for it."""

    payout: PayoutKey
    evidence: str
    by_whom: str
    at: str


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """What `record` stores: everything of the attempt before it leaves."""

    chain: str
    txid: str
    payout: PayoutKey
    purpose: Purpose
    account: int
    index: int
    sender: str
    payments: bytes
    payload: bytes
    raw: bytes
    max_fee: int
    locks: tuple[str, ...]
    expires: int | None
    build_height: int


class JournalTx:
    """One open transaction on the journal. Its methods are the only SQL that touches attempts."""

    def __init__(self, connection: sqlite3.Connection, now: str) -> None:
        self.connection = connection
        self.now = now
        self.undo: list[Callable[[], None]] = []  # puts back what a unit kept in memory

    # --- pins

    def pinned(self, chain: str) -> str | None:
        row = self.connection.execute(
            "SELECT identity FROM pins WHERE chain = ?", (chain,)
        ).fetchone()
        return None if row is None else str(row[0])

    def pin(self, chain: str, identity: str) -> None:
        """Record the network of a chain. Raises `SigningRefused` for another than recorded."""
        known = self.pinned(chain)
        if known is None:
            if not identity:
                raise SigningRefused(f"chain {chain}: an empty identity cannot be pinned")
            self.connection.execute(
                "INSERT INTO pins (chain, identity, at) VALUES (?, ?, ?)",
                (chain, identity, self.now),
            )
        elif known != identity:
            raise SigningRefused(
                f"chain {chain} is pinned to {known}, not to {identity}; "
                "an endpoint serves another network, or the chain was renamed",
                for_good=True,
            )

    # --- reading

    def same_payload(
        self, chain: str, payout: PayoutKey, payload: bytes
    ) -> tuple[str, bytes] | None:
        """(txid, raw) of the attempt with exactly these bytes, if there is one."""
        row = self.connection.execute(
            "SELECT txid, raw FROM attempts WHERE kind = ? AND symbol = ? AND trans_id = ?"
            " AND chain = ? AND payload = ?",
            (payout.kind, payout.symbol, payout.trans_id, chain, payload),
        ).fetchone()
        return None if row is None else (str(row[0]), bytes(row[1]))

    def attempts_of(self, payout: PayoutKey) -> list[JournalEntry]:
        return self._entries(
            "a.kind = ? AND a.symbol = ? AND a.trans_id = ?",
            (payout.kind, payout.symbol, payout.trans_id),
        )

    def attempt(self, chain: str, txid: str) -> JournalEntry | None:
        found = self._entries("a.chain = ? AND a.txid = ?", (chain, txid))
        return found[0] if found else None

    def holders(self, chain: str, lock: str) -> list[JournalEntry]:
        """Every attempt that names this lock."""
        return self._entries(
            "a.seq IN (SELECT seq FROM locks WHERE chain = ? AND lock = ?)", (chain, lock)
        )

    def entries(self, chain: str, after: int = 0, limit: int = -1) -> list[JournalEntry]:
        """Attempts of a chain in the order of signing, from behind `after` on."""
        return self._entries("a.chain = ? AND a.seq > ?", (chain, after), limit)

    def is_settled(self, payout: PayoutKey) -> bool:
        row = self.connection.execute(
            "SELECT 1 FROM settled WHERE kind = ? AND symbol = ? AND trans_id = ?",
            (payout.kind, payout.symbol, payout.trans_id),
        ).fetchone()
        return row is not None

    def settled(self) -> list[SettledMark]:
        rows = self.connection.execute(
            "SELECT kind, symbol, trans_id, evidence, by_whom, at FROM settled ORDER BY at"
        )
        return [SettledMark(PayoutKey(r[0], r[1], r[2]), r[3], r[4], r[5]) for r in rows]

    # --- writing

    def record(self, new: NewAttempt) -> int:
        """Store a signed attempt. Raises `SigningRefused` for a txid that stands here already."""
        try:
            cursor = self.connection.execute(
                "INSERT INTO attempts (chain, txid, kind, symbol, trans_id, purpose, account, idx,"
                " sender, payments, payload, raw, max_fee, locks, expires, build_height, signed_at,"
                " state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')",
                (
                    new.chain, new.txid, new.payout.kind, new.payout.symbol, new.payout.trans_id,
                    new.purpose.value, new.account, new.index, new.sender, new.payments,
                    new.payload, new.raw, str(new.max_fee), json.dumps(new.locks),
                    None if new.expires is None else str(new.expires), new.build_height, self.now,
                ),
            )  # fmt: skip
        except sqlite3.IntegrityError:
            raise SigningRefused(
                f"transaction {new.txid} on {new.chain} was signed before for another payout",
                for_good=True,
            ) from None
        seq = int(cursor.lastrowid or 0)
        self.connection.executemany(
            "INSERT INTO locks (chain, lock, seq) VALUES (?, ?, ?)",
            [(new.chain, lock, seq) for lock in dict.fromkeys(new.locks)],
        )
        return seq

    def end(self, entry: JournalEntry, death: Death) -> None:
        self.connection.execute(
            "UPDATE attempts SET state = ?, ended_by = ?, ended_height = ?, ended_at = ?"
            " WHERE seq = ? AND state = ?",
            (death.reason.value, death.by_txid, death.height, self.now, entry.seq, entry.state),
        )

    def settle(self, payout: PayoutKey, evidence: str, by_whom: str) -> None:
        self.connection.execute(
            "INSERT OR IGNORE INTO settled (kind, symbol, trans_id, evidence, by_whom, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (payout.kind, payout.symbol, payout.trans_id, evidence, by_whom, self.now),
        )

    def _entries(
        self, where: str, values: tuple[str | int, ...], limit: int = -1
    ) -> list[JournalEntry]:
        rows = self.connection.execute(
            "SELECT a.seq, a.chain, a.txid, a.kind, a.symbol, a.trans_id, a.purpose, a.account,"
            " a.idx, a.sender, a.payments, a.payload, a.raw, a.max_fee, a.locks, a.expires,"
            " a.build_height, a.signed_at, a.state, s.kind IS NOT NULL"
            " FROM attempts a LEFT JOIN settled s"
            " ON s.kind = a.kind AND s.symbol = a.symbol AND s.trans_id = a.trans_id"
            f" WHERE {where} ORDER BY a.seq LIMIT ?",
            (*values, limit),
        )
        return [
            JournalEntry(
                r[0], r[1], r[2], PayoutKey(r[3], r[4], r[5]), Purpose(r[6]), r[7], r[8], r[9],
                r[10], r[11], r[12], int(r[13]), tuple(json.loads(r[14])),
                None if r[15] is None else int(r[15]), r[16], r[17], State(r[18]), bool(r[19]),
            )
            for r in rows
        ]  # fmt: skip
