"""Many events of one scope at once: the same chain of hashes, three statements instead of three
each. Used where a block brings many deposits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from chain_adapter.store import schema
from chain_adapter.store.events import GENESIS, digest
from chain_adapter.store.store import Tx


def record_many(tx: Tx, scope: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Append events (what, subject, detail) in order, as `events.record` does one."""
    if not rows:
        return
    heads = schema.event_heads
    head = tx.one(select(heads).where(heads.c.scope == scope).with_for_update())
    seq, previous = (head.seq, head.hash) if head else (0, GENESIS)
    values = []
    for what, subject, detail in rows:
        seq += 1
        body = json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str)
        previous = digest(previous, scope, seq, tx.now_us, what, subject, body)
        values.append(
            {
                "scope": scope,
                "seq": seq,
                "at": tx.now_us,
                "what": what,
                "subject": subject,
                "detail": body,
                "hash": previous,
            }
        )
    if head:
        tx.run(update(heads).where(heads.c.scope == scope).values(seq=seq, hash=previous))
    else:
        tx.run(insert(heads).values(scope=scope, seq=seq, hash=previous))
    tx.run(insert(schema.events), values)
