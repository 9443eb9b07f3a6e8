"""A pause of a chain or of one asset: it reads and tracks on, but credits and signs nothing."""

from __future__ import annotations

from sqlalchemy import delete, select

from chain_adapter.store import schema
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx

T = schema.pauses
WHOLE = ""
"""In the column `asset`: the whole chain."""


def pause(tx: Tx, chain: str, asset: str | None, who: str, reason: str) -> bool:
    """Pause a chain (asset None) or one asset; whether it was not paused before."""
    values = {
        "chain": chain,
        "asset": asset or WHOLE,
        "reason": reason,
        "who": who,
        "paused_at": tx.now_us,
    }
    if not tx.insert_new(T, values):
        return False
    record(tx, chain, "paused", subject(chain, asset), who=who, reason=reason)
    return True


def lift(tx: Tx, chain: str, asset: str | None, who: str, reason: str) -> bool:
    """Take the pause away; whether there was one. Deposits held by it: `rulings.resume`."""
    touched = tx.run(delete(T).where(T.c.chain == chain, T.c.asset == (asset or WHOLE)))
    if touched:
        record(tx, chain, "resumed", subject(chain, asset), who=who, reason=reason)
    return bool(touched)


def paused(tx: Tx, chain: str) -> frozenset[str]:
    """What is paused: names of assets, and "" for the whole chain."""
    return frozenset(row.asset for row in tx.all(select(T.c.asset).where(T.c.chain == chain)))


def is_paused(tx: Tx, chain: str, asset: str) -> bool:
    """Whether nothing of this asset may be credited or signed now."""
    return not paused(tx, chain).isdisjoint({WHOLE, asset})


def subject(chain: str, asset: str | None) -> str:
    """How events and alarms name a chain or an asset of it."""
    return f"{chain}/{asset}" if asset else chain
