"""Withdrawals that another system ended before us: never paid by us.

One that was paid is booked as SETTLED. Of one that is never to be paid a note is kept, and it is
held when the platform lists it. All or nothing: `Conflict` names the row that cannot be taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from chain_adapter.core.states import Kind, Payout
from chain_adapter.store import ledger, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import move_payout, record
from chain_adapter.store.imports import IMPORTED, Conflict, Imported
from chain_adapter.store.store import Tx

P = schema.payouts

NEVER = "imported: never to be paid by us"
"""Why an order is held that an import names as such; `payouts release` or `refuse` ends it."""


@dataclass(frozen=True, slots=True)
class EndedPayout:
    """A withdrawal that another system ended. `txid` None: it is never to be paid."""

    line: int
    chain: str
    asset: str
    symbol: str
    trans_id: str
    txid: str | None


def add_payouts(tx: Tx, rows: Sequence[EndedPayout], who: str, source: str) -> Imported:
    """Book withdrawals that are never to be paid by us. Raises `Conflict`."""
    imported = known = 0
    seen: dict[tuple[str, str], EndedPayout] = {}
    for row in rows:
        before = seen.setdefault((row.symbol, row.trans_id), row)
        if before is not row:
            if before.txid != row.txid:
                raise Conflict(row.line, f"line {before.line} says otherwise of this withdrawal")
            continue
        if _end(tx, row, who, source):
            imported += 1
        else:
            known += 1
    return Imported(imported, known)


def _end(tx: Tx, row: EndedPayout, who: str, source: str) -> bool:
    found = tx.one(
        select(P).where(
            P.c.kind == Kind.WITHDRAWAL, P.c.symbol == row.symbol, P.c.trans_id == row.trans_id
        )
    )
    if row.txid is None:
        return _never(tx, row, found, who, source)
    reason = f"{IMPORTED}: paid by another system with {row.txid}"
    if found is None:
        if never(tx, row.symbol, row.trans_id):
            raise Conflict(row.line, "it was imported before as never to be paid")
        payout_id = tx.insert(
            insert(P).values(
                kind=Kind.WITHDRAWAL,
                symbol=row.symbol,
                trans_id=row.trans_id,
                trans_id_quoted=False,
                chain=row.chain,
                asset=row.asset,
                address_to="",
                amount_told="",
                state=Payout.SETTLED,
                reason=reason,
                final_txid=row.txid,
                received_at=tx.now_us,
                ended_at=tx.now_us,
            )
        )
        record(
            tx, row.chain, f"payout {Payout.SETTLED}", f"payout:{payout_id}",
            imported=source, who=who, symbol=row.symbol, trans_id=row.trans_id, txid=row.txid,
        )  # fmt: skip
        return True
    if found.state == Payout.SETTLED and found.reason == reason:
        return False
    if not _is_untouched(tx, found):
        raise Conflict(row.line, f"payout {found.id} is {found.state} here: compare both payments")
    tx.run(update(P).where(P.c.id == found.id).values(held_reason=None, held_by=None, held_at=None))
    close_alarm(tx, "payout_held", f"payout:{found.id}", row.chain)
    move_payout(
        tx, found, Payout.SETTLED, f"{reason} ({who})",
        reason=reason, final_txid=row.txid, ended_at=tx.now_us,
    )  # fmt: skip
    _tell_listed(tx, found.id, row.chain, row.symbol, row.trans_id, row.txid)
    return True


def _is_untouched(tx: Tx, found: Row[Any]) -> bool:
    links = schema.attempt_payouts
    attempt = tx.one(select(links).where(links.c.payout_id == found.id))
    return found.state == Payout.QUEUED and attempt is None and not found.ever_claimed


def _never(tx: Tx, row: EndedPayout, found: Row[Any] | None, who: str, source: str) -> bool:
    if found is not None:
        if found.held_reason == NEVER:
            return False
        if not _is_untouched(tx, found):
            raise Conflict(row.line, f"payout {found.id} is {found.state} here already")
        tx.run(
            update(P)
            .where(P.c.id == found.id)
            .values(held_reason=NEVER, held_by=who, held_at=tx.now_us)
        )
        record(tx, row.chain, "held", f"payout:{found.id}", who=who, reason=NEVER)
        return True
    if never(tx, row.symbol, row.trans_id):
        return False
    note = {"symbol": row.symbol, "trans_id": row.trans_id, "who": who, "file": source}
    ledger.put(tx, _note(row.symbol, row.trans_id), json.dumps(note))
    record(
        tx, row.chain, "imported: never to be paid", f"order:{row.symbol}:{row.trans_id}", **note
    )
    return True


def _note(symbol: str, trans_id: str) -> str:
    digest = hashlib.sha256(json.dumps([symbol, trans_id]).encode()).hexdigest()
    return f"never:{digest[:40]}"


def never(tx: Tx, symbol: str, trans_id: str) -> bool:
    """Whether an import said that this order, when it is listed, is not to be paid by us."""
    return ledger.get(tx, _note(symbol, trans_id)) is not None


def lacks_content(row: Row[Any]) -> bool:
    """Whether a payout was imported and the platform has not listed it since."""
    return bool(row.state == Payout.SETTLED and not row.amount_told and not row.address_to)


def complete(tx: Tx, row: Row[Any], content: Mapping[str, Any]) -> None:
    """The platform still lists an order that was imported as paid: a person must tell it."""
    tx.run(update(P).where(P.c.id == row.id).values(**content))
    _tell_listed(tx, row.id, row.chain, row.symbol, row.trans_id, row.final_txid)


def _tell_listed(
    tx: Tx, payout_id: int, chain: str, symbol: str, trans_id: str, txid: str | None
) -> None:
    raise_alarm(
        tx, "imported_listed", f"payout:{payout_id}",
        f"{symbol} {trans_id} was imported as paid with {txid}, and the platform lists it", chain,
    )  # fmt: skip
