"""Findings that wait for a person: value that arrived, and that nobody is told of by itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from chain_adapter.core.deposits import Sighting, Why
from chain_adapter.store import pauses, schema
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.store import Tx


def put(tx: Tx, chain: str, sighting: Sighting, height: int, reason: str) -> bool:
    """Put a finding before a person, once; whether it is new."""
    return tx.insert_new(
        schema.inbox,
        {
            "chain": chain,
            "asset": sighting.asset,
            "txid": sighting.txid,
            "to": sighting.to,
            "memo_key": sighting.memo.key,
            "amount": str(sighting.amount),
            "height": height,
            "reason": reason,
            "state": "open",
            "opened_at": tx.now_us,
        },
    )


def late(tx: Tx, chain: str, row: Row[Any], sighting: Sighting, height: int) -> None:
    """More of a deposit that is in the books already; it is never told a second time."""
    put(tx, chain, sighting, height, f"found after it was {row.state}")
    message = (
        f"{sighting.amount} base units of {sighting.asset} in {sighting.txid} to {sighting.to}, "
        f"found at height {height} when the deposit was {row.state}"
    )
    raise_alarm(tx, "late_find", f"deposit:{row.id}", message, chain)


def unlisted(tx: Tx, chain: str, sighting: Sighting, height: int, deposit_id: int) -> None:
    """Somebody deposited an asset that is off: it is booked and not credited."""
    if not put(tx, chain, sighting, height, Why.ASSET_OFF):
        return
    message = (
        f"deposit:{deposit_id}: {sighting.amount} base units of {sighting.asset}, which is off, "
        f"in {sighting.txid} to {sighting.to}"
    )
    where = pauses.subject(chain, sighting.asset)
    raise_alarm(tx, "unlisted_deposit", where, message, chain)
