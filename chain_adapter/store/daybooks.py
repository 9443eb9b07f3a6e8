"""What the books say about a range of blocks, for reconciliation; and what was found, kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, and_, insert, or_, select, update

from chain_adapter.core.reconcile import Difference, Entry
from chain_adapter.core.states import Deposit, Kind, Payout, Purpose
from chain_adapter.store import schema
from chain_adapter.store.payouts_onchain import ATTEMPTS, LINKS, PAYOUTS
from chain_adapter.store.store import Tx

DEPOSITS = schema.deposits
OUTBOX = schema.outbox
TRANSFERS = schema.transfers
RESULTS = schema.reconciliations


def deposits(tx: Tx, chain: str, first: int, last: int) -> list[Entry]:
    """Deposits of these blocks that are on the chain, whatever became of them."""
    rows = tx.all(
        select(DEPOSITS).where(
            DEPOSITS.c.chain == chain,
            DEPOSITS.c.height.between(first, last),
            DEPOSITS.c.state != Deposit.ORPHANED,
        )
    )
    return [
        Entry((r.asset, r.txid, r.to, r.memo_key), int(r.amount), r.state, subject=r.txid)
        for r in rows
    ]


def acknowledged_deposits(tx: Tx, chain: str, first: int, last: int) -> list[Entry]:
    """Deposits of these blocks that the platform has credited, amounts as it was told them."""
    rows = tx.all(
        select(DEPOSITS).where(
            DEPOSITS.c.chain == chain,
            DEPOSITS.c.height.between(first, last),
            DEPOSITS.c.state == Deposit.CREDITED,
        )
    )
    return [
        Entry((r.symbol, r.txid, r.to, r.memo or ""), int(r.told), "success", subject=r.txid)
        for r in rows
    ]


def payments(tx: Tx, chain: str, first: int, last: int) -> list[Entry]:
    """Transactions of ours in these blocks."""
    rows = tx.all(
        select(ATTEMPTS).where(
            ATTEMPTS.c.chain == chain, ATTEMPTS.c.included_height.between(first, last)
        )
    )
    return [Entry((r.txid,), 0, "ok" if r.ok else "failed", int(r.fee or 0), r.txid) for r in rows]


def paid_withdrawals(tx: Tx, chain: str, first: int, last: int) -> list[Row[Any]]:
    """Withdrawals whose final block is among these."""
    return list(
        tx.all(
            select(PAYOUTS).where(
                PAYOUTS.c.chain == chain,
                PAYOUTS.c.kind == Kind.WITHDRAWAL,
                PAYOUTS.c.final_height.between(first, last),
            )
        )
    )


def untold_fees(
    tx: Tx, chain: str, first: int, last: int, *, internal_notify: bool
) -> list[Difference]:
    """Included transactions whose fee is neither a withdrawal's report nor an internal one."""
    rows = tx.all(
        select(ATTEMPTS, PAYOUTS.c.id.label("payout_id"), PAYOUTS.c.kind, PAYOUTS.c.state)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .join(PAYOUTS, PAYOUTS.c.id == LINKS.c.payout_id)
        .where(
            ATTEMPTS.c.chain == chain,
            ATTEMPTS.c.included_height.between(first, last),
        )
    )
    found = []
    for row in rows:
        if not int(row.fee or 0):
            continue
        if row.state == Payout.REPORTED:
            continue  # the report's fee is the sum over all included attempts
        if not internal_notify and row.kind != Kind.WITHDRAWAL:
            continue
        told = tx.one(
            select(OUTBOX.c.state).where(
                OUTBOX.c.subject == f"payout:{row.payout_id}",
                or_(
                    OUTBOX.c.dedupe_key == f"internal:{chain}:{row.txid}",
                    OUTBOX.c.dedupe_key == f"paid:{row.payout_id}",
                ),
                OUTBOX.c.acknowledged_confirm >= 0,
            )
        )
        if told is None:
            found.append(
                Difference("fee_not_told", row.txid, str(row.fee), str(row.state), "books")
            )
    return found


def not_accepted(tx: Tx, chain: str, first: int, last: int) -> list[Difference]:
    """Withdrawals that are final and not reported."""
    return [
        Difference("withdrawal_not_accepted", row.trans_id, row.state, "REPORTED", "books")
        for row in paid_withdrawals(tx, chain, first, last)
        if row.state == Payout.FINAL
    ]


def open_inbox(tx: Tx, chain: str, first: int, last: int) -> list[Difference]:
    """Inflows of these blocks that nobody has explained."""
    inbox = schema.inbox
    rows = tx.all(
        select(inbox).where(
            inbox.c.chain == chain, inbox.c.height.between(first, last), inbox.c.state == "open"
        )
    )
    return [
        Difference("inbox_open", row.txid, row.reason, str(row.amount), "chain") for row in rows
    ]


def movement(
    tx: Tx, chain: str, address: str, asset: str, fee_asset: str, after: int, to: int
) -> int:
    """What the books say moved at an address in (after, to], base units, out negative."""
    came = tx.all(
        select(TRANSFERS.c.amount).where(
            TRANSFERS.c.chain == chain,
            TRANSFERS.c.to == address,
            TRANSFERS.c.asset == asset,
            TRANSFERS.c.height > after,
            TRANSFERS.c.height <= to,
        )
    )
    total = sum(int(row.amount) for row in came)
    left = tx.all(
        select(ATTEMPTS, PAYOUTS.c.asset, PAYOUTS.c.amount, PAYOUTS.c.to)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .join(PAYOUTS, PAYOUTS.c.id == LINKS.c.payout_id)
        .where(
            and_(
                ATTEMPTS.c.chain == chain,
                ATTEMPTS.c.sender == address,
                ATTEMPTS.c.included_height > after,
                ATTEMPTS.c.included_height <= to,
            )
        )
    )
    for row in left:
        if asset == fee_asset:
            total -= int(row.fee or 0)
        if row.asset == asset and row.ok and row.purpose != Purpose.VOID:
            total -= _paid(tx, chain, row)
    return total


def _paid(tx: Tx, chain: str, row: Row[Any]) -> int:
    if row.amount is not None:
        return int(row.amount)
    rows = tx.all(
        select(TRANSFERS.c.amount).where(
            TRANSFERS.c.chain == chain,
            TRANSFERS.c.txid == row.txid,
            TRANSFERS.c.to == row.to,
            TRANSFERS.c.asset == row.asset,
        )
    )
    return sum(int(one.amount) for one in rows)


def own_addresses(tx: Tx, chain: str, roles: Sequence[str]) -> list[str]:
    """Addresses of these roles."""
    table = schema.addresses
    rows = tx.all(select(table.c.address).where(table.c.chain == chain, table.c.role.in_(roles)))
    return [row.address for row in rows]


def last_snapshot(tx: Tx, chain: str, asset: str, before_day: str) -> Mapping[str, Any] | None:
    """Balances that an earlier reconciliation noted: {address: [amount, height]}."""
    row = tx.one(
        select(RESULTS.c.result)
        .where(RESULTS.c.chain == chain, RESULTS.c.asset == asset, RESULTS.c.day < before_day)
        .order_by(RESULTS.c.day.desc())
        .limit(1)
    )
    return None if row is None else dict(json.loads(row.result).get("balances", {}))


def keep(
    tx: Tx, day: str, chain: str, asset: str, result: Mapping[str, Any], *, clean: bool
) -> None:
    """Store a day's result; a later run of the same day replaces it."""
    values = {"result": json.dumps(result), "clean": clean, "made_at": tx.now_us}
    key = and_(RESULTS.c.day == day, RESULTS.c.chain == chain, RESULTS.c.asset == asset)
    if not tx.run(update(RESULTS).where(key).values(**values)):
        tx.run(insert(RESULTS).values(day=day, chain=chain, asset=asset, **values))


def start_height(tx: Tx, chain: str) -> int:
    """The first height that was read."""
    value = tx.value(select(schema.chains.c.start_height).where(schema.chains.c.chain == chain))
    return 0 if value is None else int(value)


def tip_height(tx: Tx, chain: str) -> int:
    """The newest height that was read."""
    value = tx.value(
        select(schema.blocks.c.height)
        .where(schema.blocks.c.chain == chain)
        .order_by(schema.blocks.c.height.desc())
        .limit(1)
    )
    return -1 if value is None else int(value)


def identity(tx: Tx, chain: str) -> str | None:
    """The network that is pinned for a chain."""
    value = tx.value(select(schema.chains.c.identity).where(schema.chains.c.chain == chain))
    return None if value is None else str(value)
