"""Alarms: one open row a (code, subject); raised again it counts, its cause gone it closes.

The table of codes, with severity and what to do, is `core.alarms`.
"""

from __future__ import annotations

from sqlalchemy import insert, update

from chain_adapter.core.alarms import CODES
from chain_adapter.store import schema
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.store import Tx


def raise_alarm(tx: Tx, code: str, subject: str, message: str, scope: str = LEDGER) -> bool:
    """Open the alarm, or count it again. Returns whether it is new. `code` stands in `CODES`."""
    table = schema.alarms
    open_row = (table.c.code == code) & (table.c.subject == subject) & table.c.closed_at.is_(None)
    touched = tx.run(
        update(table)
        .where(open_row)
        .values(last_at=tx.now_us, count=table.c.count + 1, message=message)
    )
    if touched:
        return False
    tx.run(
        insert(table).values(
            code=code,
            subject=subject,
            severity=CODES[code].severity,
            message=message,
            opened_at=tx.now_us,
            last_at=tx.now_us,
        )
    )
    record(tx, scope, f"alarm {code}", subject, message=message)
    return True


def close_alarm(tx: Tx, code: str, subject: str, scope: str = LEDGER) -> bool:
    """Close an open alarm whose cause is gone; whether there was one."""
    table = schema.alarms
    touched = tx.run(
        update(table)
        .where(table.c.code == code, table.c.subject == subject, table.c.closed_at.is_(None))
        .values(closed_at=tx.now_us)
    )
    if touched:
        record(tx, scope, f"alarm closed {code}", subject)
    return bool(touched)
