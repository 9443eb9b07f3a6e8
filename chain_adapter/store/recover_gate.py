"""A new ledger of old keys signs nothing until `recover` has read what they did.

The gate is a pause of the chain that only `recover` lifts by itself; a person may, with a reason.
Beside it stands how far `recover` has derived addresses, so that a second run derives no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import func, select

from chain_adapter.core.deposits import Terms
from chain_adapter.store import addresses, ledger, pauses, rulings, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Tx

WHO = "recover"
REASON = "the ledger is new, its keys are not: `recover` has not read yet what they did"
PENDING = "transactions of ours that no journal knows wait in a node's pool"


def shut(tx: Tx, chains: Iterable[str], reason: str = REASON) -> None:
    """Nothing is signed or credited on these chains until `recover` has run."""
    for chain in chains:
        if pauses.pause(tx, chain, None, WHO, reason):
            raise_alarm(tx, "recover_needed", chain, reason, chain)


def is_shut(tx: Tx, chain: str) -> bool:
    """Whether the gate stands; a pause by anybody else is not it."""
    table = schema.pauses
    row = tx.one(select(table.c.who).where(table.c.chain == chain, table.c.asset == pauses.WHOLE))
    return row is not None and row.who == WHO


def lift(tx: Tx, terms: Terms) -> int:
    """`recover` has run: deposits that waited for it go on; how many."""
    if not is_shut(tx, terms.chain):
        return 0
    confirmed = rulings.resume(tx, terms, None, WHO, "recover has run")
    close_alarm(tx, "recover_needed", terms.chain, terms.chain)
    return confirmed


@dataclass(frozen=True, slots=True)
class Ahead:
    """Indexes that a `recover` derived beyond those that were in use: `first` up to `end`."""

    first: int
    end: int


def first_unused(tx: Tx, chain: str, account: int) -> int:
    """Where to derive from: behind the last address that an older recover did not make, or that
    was registered since."""
    text = ledger.get(tx, _key(chain))
    following = addresses.next_index(tx, chain, account)
    if text is None:
        return following
    ahead = Ahead(**json.loads(text))
    if following != ahead.end:
        return following
    table = schema.addresses
    registered = tx.value(
        select(func.max(table.c.idx)).where(
            table.c.chain == chain,
            table.c.account == account,
            table.c.idx >= ahead.first,
            table.c.registered_at.is_not(None),
        )
    )
    return ahead.first if registered is None else int(registered) + 1


def highest_used(tx: Tx, chain: str, account: int) -> int | None:
    """The highest index of an account whose address received something."""
    table, moves = schema.addresses, schema.transfers
    highest = tx.value(
        select(func.max(table.c.idx)).where(
            table.c.chain == chain,
            table.c.account == account,
            table.c.address.in_(select(moves.c.to).where(moves.c.chain == chain)),
        )
    )
    return None if highest is None else int(highest)


def note_ahead(tx: Tx, chain: str, ahead: Ahead) -> None:
    """Remember what was derived."""
    ledger.put(tx, _key(chain), json.dumps(asdict(ahead)))


def _key(chain: str) -> str:
    return f"recovered:{hashlib.sha256(chain.encode()).hexdigest()[:40]}"
