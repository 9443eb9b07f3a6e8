"""`events verify`: the hash chains of the books' events and of the signer's signed log.

A changed, missing or inserted event breaks its chain. Cut off at the end only a hash that was
written down elsewhere tells: the last ones are printed for that.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Any

from sqlalchemy import select

from chain_adapter.commands.books import opened
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.commands.signatures import at_signer
from chain_adapter.config import Config, load
from chain_adapter.errors import AdapterError, KeyFileError
from chain_adapter.keys.audit import AuditEvent, verify_events
from chain_adapter.store import schema
from chain_adapter.store.events import GENESIS, digest
from chain_adapter.store.store import Tx

PAGE = 5000


def verify(args: Namespace) -> int:
    config = load(args.config)
    with opened(config) as store:
        rows = store.read_now(_books)
    if not args.books:
        rows.append(asyncio.run(_signer(config)))
    ok = all(row["trouble"] is None for row in rows)
    if args.json:
        print_json({"ok": ok, "chains": rows})
    else:
        for row in rows:
            told = "ok    " if row["trouble"] is None else "FAILED"
            text = row["trouble"] or f"the last hash is {row['last_hash']}"
            print(harmless(f"{told}  {row['log']}: {row['entries']} events; {text}"))
    return 0 if ok else 1


def _books(tx: Tx) -> list[dict[str, Any]]:
    heads = {row.scope: row for row in tx.all(select(schema.event_heads))}
    events = schema.events
    scopes = {row.scope for row in tx.all(select(events.c.scope).distinct())} | set(heads)
    found = []
    for scope in sorted(scopes):
        last, count, trouble = _walk(tx, scope)
        head = heads.get(scope)
        if trouble is None and (head is None or (head.seq, head.hash) != (count, last)):
            trouble = f"the books end with {0 if head is None else head.seq} events, not {count}"
        found.append(
            {"log": f"books: {scope}", "entries": count, "last_hash": last, "trouble": trouble}
        )
    return found


def _walk(tx: Tx, scope: str) -> tuple[str, int, str | None]:
    """(last hash, how many hold, the first trouble)."""
    last, count = GENESIS, 0
    page = tx.all(_page(scope, 0))
    while page:
        for row in page:
            if row.seq != count + 1:
                return last, count, f"event {count + 1} is missing"
            expected = digest(last, scope, row.seq, row.at, row.what, row.subject, row.detail)
            if row.hash != expected:
                return last, count, f"event {row.seq} was changed"
            last, count = row.hash, row.seq
        page = tx.all(_page(scope, count))
    return last, count, None


def _page(scope: str, after: int) -> Any:
    events = schema.events
    return (
        select(events)
        .where(events.c.scope == scope, events.c.seq > after)
        .order_by(events.c.seq)
        .limit(PAGE)
    )


async def _signer(config: Config) -> dict[str, Any]:
    """The signer's own log; what keeps it from being read is trouble too."""
    row: dict[str, Any] = {"log": "signer", "entries": 0, "last_hash": "", "trouble": None}
    try:
        async with at_signer(config) as signer:
            status = await signer.status()
            entries: list[AuditEvent] = []
            while page := await signer.events(entries[-1].seq if entries else 0):
                entries += page
    except AdapterError as error:
        return {**row, "trouble": str(error)}
    try:
        verdict = verify_events(entries, bytes.fromhex(status.audit_key))
    except ValueError as error:
        raise KeyFileError(f"the signer's log key is none: {error}") from None
    return {
        **row, "entries": verdict.entries, "last_hash": verdict.last_hash,
        "trouble": verdict.trouble, "key": status.audit_key,
    }  # fmt: skip
