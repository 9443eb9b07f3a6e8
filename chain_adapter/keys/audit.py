"""The audit log: every decision with its reason, each entry chained to the one before and signed.

hash = SHA-256 over (seq, at, what, subject, detail, previous hash); sign = Ed25519 over the hash,
by a key that only the seed gives. So no entry can be changed, left out or put in between without
`verify_events` telling. What it cannot tell is that the newest entries were cut off: compare its
last hash with one that was written down elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chain_adapter.keys.journal import JournalTx

_LABEL: Final = b"chain-adapter/audit/1\x00"
FIRST: Final = "0" * 64


class AuditEvent(msgspec.Struct, frozen=True):
    """One entry. `detail` is JSON text without any secret."""

    seq: int
    at: str
    what: str
    subject: str
    detail: str
    prev: str
    hash: str
    sign: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify_events` found: how many entries hold, the last hash, the first trouble."""

    entries: int
    last_hash: str
    trouble: str | None


class AuditLog:
    """Appends within the transaction of what it tells about."""

    def __init__(self, private_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def append(self, tx: JournalTx, what: str, subject: str, detail: Mapping[str, object]) -> None:
        last = tx.connection.execute(
            "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        seq, prev = (1, FIRST) if last is None else (last[0] + 1, last[1])
        text = json.dumps(detail, sort_keys=True)
        digest = _digest(seq, tx.now, what, subject, text, prev)
        tx.connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (seq, tx.now, what, subject, text, prev, digest.hex(), self._key.sign(_LABEL + digest)),
        )


def events(tx: JournalTx, after: int = 0, limit: int = 1000) -> list[AuditEvent]:
    """Entries behind `after`, oldest first."""
    rows = tx.connection.execute(
        "SELECT seq, at, what, subject, detail, prev, hash, sign FROM events WHERE seq > ?"
        " ORDER BY seq LIMIT ?",
        (after, limit),
    )
    return [AuditEvent(*row) for row in rows]


def verify_events(entries: Iterable[AuditEvent], public_key: bytes) -> Verdict:
    """Walk the log from its first entry and hold each against its hash, its place, its signer."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    count, last = 0, FIRST
    for entry in entries:
        digest = _digest(entry.seq, entry.at, entry.what, entry.subject, entry.detail, entry.prev)
        if entry.seq != count + 1:
            return Verdict(count, last, f"entry {count + 1} is missing")
        if entry.prev != last:
            return Verdict(count, last, f"entry {entry.seq} does not follow entry {count}")
        if entry.hash != digest.hex():
            return Verdict(count, last, f"entry {entry.seq} was changed")
        try:
            key.verify(entry.sign, _LABEL + digest)
        except InvalidSignature:
            return Verdict(count, last, f"entry {entry.seq} was not signed by this signer")
        count, last = entry.seq, entry.hash
    return Verdict(count, last, None)


def _digest(seq: int, at: str, what: str, subject: str, detail: str, prev: str) -> bytes:
    return hashlib.sha256(json.dumps([seq, at, what, subject, detail, prev]).encode()).digest()
