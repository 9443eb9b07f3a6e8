"""Deposits that another system told the platform before us: never told again.

`add_deposits` books them as CREDITED under the id that the platform knows; a block of ours that
shows one later only completes its row (`known_by_name`, `meet`). All or nothing: `Conflict` names
the row that cannot be taken. Withdrawals of another system: `imported_orders`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from chain_adapter import money
from chain_adapter.chain import BlockRef
from chain_adapter.core.deposits import Memo, Sighting, Terms, decide
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StoreError
from chain_adapter.store import ledger, outbox, schema
from chain_adapter.store.event_batch import record_many
from chain_adapter.store.events import move_deposit, record
from chain_adapter.store.store import Tx

D = schema.deposits

IMPORTED = "imported"
"""What the reason of an imported row begins with."""

UNSEEN = -1
"""Height of an imported deposit that no block of ours has shown."""

_MOST_ASKED = 200
_HASH = re.compile(r"(?:0x)?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


class Conflict(StoreError):
    """A row contradicts the books or another row. Nothing was stored."""

    exit_status = 2

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}; nothing was stored")
        self.number = number
        self.why = why


@dataclass(frozen=True, slots=True)
class ToldDeposit:
    """A deposit that the platform knows. `to` is spelled as in our books; `line` for errors."""

    line: int
    chain: str
    asset: str
    symbol: str
    txid: str
    to: str
    memo: Memo
    request_id: str


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows that were added, and rows that the books held before."""

    imported: int
    known: int


def spellings(txid: str) -> tuple[str, ...]:
    """Every way in which a transaction hash is written; another id as it is.

    What the other system wrote must be found by what the plugin writes: a hash that is not would
    be credited twice.
    """
    match = _HASH.fullmatch(txid)
    if match is None:
        return (txid,)
    bare = match[1].lower()
    return (bare, f"0x{bare}")


def spelled(txid: str) -> str:
    """As it is kept until a block shows it: one of its `spellings`, whatever case it came in."""
    return txid.lower() if _HASH.fullmatch(txid) else txid


# --- deposits -------------------------------------------------------------------------------------


def add_deposits(tx: Tx, rows: Sequence[ToldDeposit], who: str, source: str) -> Imported:
    """Book deposits that are never to be told again. Raises `Conflict`."""
    known = 0
    fresh: list[ToldDeposit] = []
    seen: dict[tuple[str, ...], ToldDeposit] = {}
    ids: dict[str, ToldDeposit] = {}
    for row in rows:
        key = (row.chain, row.asset, spellings(row.txid)[0], row.to, row.memo.key)
        before, same_id = seen.get(key), ids.get(row.request_id)
        if before is not None and before.request_id != row.request_id:
            raise Conflict(row.line, f"line {before.line} has this deposit with another request_id")
        if same_id is not None and same_id is not before:
            raise Conflict(row.line, f"line {same_id.line} has this request_id of another deposit")
        if before is not None or _is_booked(tx, row, who):
            known += before is None
            seen.setdefault(key, row)
            ids.setdefault(row.request_id, row)
            continue
        seen[key] = ids[row.request_id] = row
        fresh.append(row)
    _store(tx, fresh, who, source)
    return Imported(len(fresh), known)


def _is_booked(tx: Tx, row: ToldDeposit, who: str) -> bool:
    """Whether the books hold it already; one that was not told yet ends here."""
    owner = tx.one(select(D).where(D.c.request_id == row.request_id))
    if owner is not None and not _is_same(owner, row):
        raise Conflict(row.line, f"request_id {row.request_id} is that of deposit {owner.id} here")
    found = tx.one(
        select(D).where(
            D.c.chain == row.chain,
            D.c.asset == row.asset,
            D.c.txid.in_(spellings(row.txid)),
            D.c.to == row.to,
            D.c.memo_key == row.memo.key,
        )
    )
    if found is None:
        return False
    state = Deposit(found.state)
    if (found.reason or "").startswith(IMPORTED) and state is Deposit.CREDITED:
        if found.request_id != row.request_id:
            raise Conflict(row.line, f"it was imported before as {found.request_id}")
    elif state in (Deposit.SEEN, Deposit.HELD):
        reason = f"{IMPORTED}: the platform knows it as {row.request_id}"
        move_deposit(tx, found, Deposit.IGNORED, f"{reason} ({who})", reason=reason)
    elif state is Deposit.IGNORED:
        pass
    else:
        raise Conflict(
            row.line,
            f"deposit {found.id} is {state} here under {found.request_id}: compare both at the "
            "platform, it may have been credited twice",
        )
    return True


def _is_same(found: Row[Any], row: ToldDeposit) -> bool:
    return (
        found.chain == row.chain
        and found.asset == row.asset
        and found.txid in spellings(row.txid)
        and found.to == row.to
        and found.memo_key == row.memo.key
    )


def _store(tx: Tx, fresh: Sequence[ToldDeposit], who: str, source: str) -> None:
    if not fresh:
        return
    values = [
        {
            "request_id": row.request_id,
            "chain": row.chain,
            "asset": row.asset,
            "symbol": row.symbol,
            "txid": spelled(row.txid),
            "to": row.to,
            "memo_key": row.memo.key,
            "memo": row.memo.told,
            "memo_hex": row.memo.hex,
            "amount": "0",
            "told": "0",
            "remainder": "0",
            "height": UNSEEN,
            "block_hash": "",
            "state": Deposit.CREDITED,
            "reason": IMPORTED,
            "seen_at": tx.now_us,
            "credited_at": tx.now_us,
        }
        for row in fresh
    ]
    tx.run(insert(D), values)
    ids: dict[str, int] = {}
    names = [row.request_id for row in fresh]
    for start in range(0, len(names), _MOST_ASKED):
        page = names[start : start + _MOST_ASKED]
        for one in tx.all(select(D.c.id, D.c.request_id).where(D.c.request_id.in_(page))):
            ids[one.request_id] = one.id
    for chain in sorted({row.chain for row in fresh}):
        events = [
            (
                f"deposit {Deposit.CREDITED}",
                f"deposit:{ids[row.request_id]}",
                {"imported": source, "who": who, "txid": row.txid, "request_id": row.request_id},
            )
            for row in fresh
            if row.chain == chain
        ]
        record_many(tx, chain, events)
        ledger.put(tx, _flag(chain), "1")


def _flag(chain: str) -> str:
    return f"imported:{hashlib.sha256(chain.encode()).hexdigest()[:40]}"


def known_by_name(tx: Tx, terms: Terms, sightings: Mapping[str, Sighting]) -> dict[str, Row[Any]]:
    """Rows that another system gave their request_id, by the one that we would give them."""
    if not sightings or ledger.get(tx, _flag(terms.chain)) is None:
        return {}
    names = {
        (one.asset, txid, one.to, one.memo.key): name
        for name, one in sightings.items()
        for txid in spellings(one.txid)
    }
    txids = sorted({txid for _, txid, _, _ in names})
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(txids), _MOST_ASKED):
        page = txids[start : start + _MOST_ASKED]
        for row in tx.all(select(D).where(D.c.chain == terms.chain, D.c.txid.in_(page))):
            name = names.get((row.asset, row.txid, row.to, row.memo_key))
            if name is not None:
                found[name] = row
    return found


def is_unseen(row: Row[Any]) -> bool:
    """Whether no block of ours has shown this imported deposit yet."""
    return bool(row.height == UNSEEN)


def meet(tx: Tx, terms: Terms, row: Row[Any], sighting: Sighting, ref: BlockRef) -> None:
    """A block shows an imported deposit: its row is completed, nobody is told."""
    asset = terms.assets[sighting.asset]
    decision = decide(sighting, asset, terms)
    tx.run(
        update(D)
        .where(D.c.id == row.id, D.c.height == UNSEEN)
        .values(
            txid=sighting.txid,
            amount=str(sighting.amount),
            told=str(decision.told),
            remainder=str(decision.remainder),
            sender=sighting.sender,
            height=ref.height,
            block_hash=ref.hash,
            proof=sighting.proof,
        )
    )
    # An acknowledged message: should its block be popped and come again, it is CREDITED at once.
    key = f"deposit:{row.request_id}"
    outbox.put(
        tx,
        dedupe_key=key,
        call="deposit/notify",
        symbol=row.symbol,
        chain=row.chain,
        subject=f"deposit:{row.id}",
        body={
            "request_id": row.request_id,
            "address_to": row.to,
            "txid": sighting.txid,
            "amount": money.plain(decision.told, asset.platform_decimals),
        },
        grows=True,
        height=ref.height,
        depth=asset.depth,
    )
    tx.run(
        update(outbox.T)
        .where(outbox.T.c.dedupe_key == key)
        .values(state="acknowledged", acknowledged_confirm=asset.depth, acknowledged_at=tx.now_us)
    )
    record(
        tx, row.chain, "imported deposit met", f"deposit:{row.id}",
        txid=sighting.txid, amount=str(sighting.amount), height=ref.height,
    )  # fmt: skip
