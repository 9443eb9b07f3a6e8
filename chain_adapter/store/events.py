"""Every transition is an event, append-only and hash-chained per scope (a chain, or "ledger").

`move` is the only way in which a deposit or payout changes its state: it checks the edge, names
the old state in the WHERE clause and writes the event in the same transaction.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import insert, select, update

from chain_adapter.core.states import DEPOSIT_EDGES, PAYOUT_EDGES, Deposit, Payout
from chain_adapter.errors import StateConflict
from chain_adapter.store import schema
from chain_adapter.store.store import Tx

LEDGER = "ledger"
"""The scope of events that belong to no chain."""

GENESIS = "0" * 64


def digest(previous: str, scope: str, seq: int, at: int, what: str, subject: str, body: str) -> str:
    """SHA-256, lower-case hex, over the previous hash and the row, each field length-prefixed."""
    sha = hashlib.sha256()
    for part in (previous, scope, str(seq), str(at), what, subject, body):
        raw = part.encode()
        sha.update(len(raw).to_bytes(8, "big") + raw)
    return sha.hexdigest()


def record(tx: Tx, scope: str, what: str, subject: str, **detail: Any) -> None:
    """Append one event. `detail` holds no secret: only fields of rows and people's reasons."""
    heads = schema.event_heads
    # FOR UPDATE orders writers of one scope on PostgreSQL; SQLite has one writer anyway.
    head = tx.one(select(heads).where(heads.c.scope == scope).with_for_update())
    seq, previous = (head.seq + 1, head.hash) if head else (1, GENESIS)
    body = json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str)
    value = digest(previous, scope, seq, tx.now_us, what, subject, body)
    if head:
        tx.run(update(heads).where(heads.c.scope == scope).values(seq=seq, hash=value))
    else:
        tx.run(insert(heads).values(scope=scope, seq=seq, hash=value))
    tx.run(
        insert(schema.events).values(
            scope=scope, seq=seq, at=tx.now_us, what=what, subject=subject, detail=body, hash=value
        )
    )


def move_deposit(tx: Tx, row: Any, to: Deposit, why: str = "", **fields: Any) -> None:
    """Move a deposit row along an edge; `fields` are columns set in the same update.

    Raises `StateConflict` when there is no such edge or the row is no longer in its old state.
    """
    old = Deposit(row.state)
    if (old, to) not in DEPOSIT_EDGES:
        raise StateConflict(f"deposit {row.id}: no edge {old} to {to}")
    table = schema.deposits
    touched = tx.run(
        update(table).where(table.c.id == row.id, table.c.state == old).values(state=to, **fields)
    )
    if touched != 1:
        raise StateConflict(f"deposit {row.id} is not {old} any more")
    record(
        tx, row.chain, f"deposit {to}", f"deposit:{row.id}",
        was=old, meaning=DEPOSIT_EDGES[old, to], why=why,
    )  # fmt: skip


def move_payout(tx: Tx, row: Any, to: Payout, why: str = "", **fields: Any) -> None:
    """Move a payout row along an edge; as `move_deposit`."""
    old = Payout(row.state)
    if (old, to) not in PAYOUT_EDGES:
        raise StateConflict(f"payout {row.id}: no edge {old} to {to}")
    table = schema.payouts
    touched = tx.run(
        update(table).where(table.c.id == row.id, table.c.state == old).values(state=to, **fields)
    )
    if touched != 1:
        raise StateConflict(f"payout {row.id} is not {old} any more")
    record(
        tx, row.chain, f"payout {to}", f"payout:{row.id}",
        was=old, meaning=PAYOUT_EDGES[old, to], why=why,
    )  # fmt: skip
