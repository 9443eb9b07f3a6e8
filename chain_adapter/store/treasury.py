"""Sweeps, top-ups and cold transfers as payouts with keys of ours; candidates out of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select

from chain_adapter import money
from chain_adapter.core.states import PAYOUT_ENDED, Kind, Payout, Role
from chain_adapter.store import schema
from chain_adapter.store.events import record
from chain_adapter.store.payouts_onchain import PAYOUTS
from chain_adapter.store.store import Tx

TRANSFERS = schema.transfers
ADDRESSES = schema.addresses
_OWED = (Payout.QUEUED, Payout.RESERVED, Payout.SIGNED, Payout.CLAIMED)
_ENDED = tuple(state.value for state in (*PAYOUT_ENDED, Payout.REFUSED, Payout.FINAL))


def received_since(
    tx: Tx, chain: str, above_height: int, settled_height: int
) -> Sequence[Row[Any]]:
    """(to, asset) of deposit addresses of ours that received in settled blocks above a height."""
    return tx.all(
        select(TRANSFERS.c.to, TRANSFERS.c.asset)
        .join(
            ADDRESSES,
            (ADDRESSES.c.chain == TRANSFERS.c.chain) & (ADDRESSES.c.address == TRANSFERS.c.to),
        )
        .where(
            TRANSFERS.c.chain == chain,
            TRANSFERS.c.height > above_height,
            TRANSFERS.c.height <= settled_height,
            ADDRESSES.c.role == Role.DEPOSIT,
            ADDRESSES.c.account.is_not(None),
        )
        .distinct()
    )


def settled_height(tx: Tx, chain: str) -> int:
    """Up to here every height is final and looked at twice."""
    value = tx.value(select(schema.chains.c.settled_height).where(schema.chains.c.chain == chain))
    return -1 if value is None else int(value)


def is_paused(tx: Tx, chain: str) -> bool:
    """Whether the whole chain is paused."""
    pauses = schema.pauses
    return (
        tx.one(select(pauses.c.chain).where(pauses.c.chain == chain, pauses.c.asset == ""))
        is not None
    )


def moved(tx: Tx, chain: str, txid: str, to: str, asset: str) -> int:
    """What a transaction brought to an address of ours, base units."""
    rows = tx.all(
        select(TRANSFERS.c.amount).where(
            TRANSFERS.c.chain == chain,
            TRANSFERS.c.txid == txid,
            TRANSFERS.c.to == to,
            TRANSFERS.c.asset == asset,
        )
    )
    return sum(int(row.amount) for row in rows)


def key_of(tx: Tx, chain: str, address: str) -> Row[Any] | None:
    """Where an address of ours stands in the seed (account, idx)."""
    return tx.one(
        select(ADDRESSES).where(ADDRESSES.c.chain == chain, ADDRESSES.c.address == address)
    )


def busy(tx: Tx, chain: str, address: str) -> bool:
    """Whether a payout from or to this deposit address is under way."""
    return bool(
        tx.value(
            select(func.count())
            .select_from(PAYOUTS)
            .where(
                PAYOUTS.c.chain == chain,
                PAYOUTS.c.kind.in_((Kind.SWEEP, Kind.TOP_UP)),
                PAYOUTS.c.state.not_in(_ENDED),
                (PAYOUTS.c.sender == address) | (PAYOUTS.c.to == address),
            )
        )
    )


def failed_since(tx: Tx, chain: str, address: str, since_us: int) -> bool:
    """Whether a sweep of this address, begun since then, was given up after it failed on chain."""
    return bool(
        tx.value(
            select(func.count())
            .select_from(PAYOUTS)
            .where(
                PAYOUTS.c.chain == chain,
                PAYOUTS.c.kind == Kind.SWEEP,
                PAYOUTS.c.sender == address,
                PAYOUTS.c.state == Payout.REFUSED,
                PAYOUTS.c.tries > 0,
                PAYOUTS.c.received_at > since_us,
            )
        )
    )


def owed(tx: Tx, chain: str, asset: str) -> int:
    """What withdrawals that are not in a block yet will take, base units of the asset."""
    rows = tx.all(
        select(PAYOUTS.c.amount).where(
            PAYOUTS.c.chain == chain,
            PAYOUTS.c.asset == asset,
            PAYOUTS.c.kind == Kind.WITHDRAWAL,
            PAYOUTS.c.amount.is_not(None),
            PAYOUTS.c.state.in_(_OWED),
        )
    )
    return sum(int(row.amount) for row in rows)


def cold_under_way(tx: Tx, chain: str, asset: str) -> bool:
    """Whether a cold transfer of this asset is not final yet."""
    return bool(
        tx.value(
            select(func.count())
            .select_from(PAYOUTS)
            .where(
                PAYOUTS.c.chain == chain,
                PAYOUTS.c.asset == asset,
                PAYOUTS.c.kind == Kind.COLD,
                PAYOUTS.c.state.not_in(_ENDED),
            )
        )
    )


def add(
    tx: Tx,
    *,
    kind: Kind,
    stem: str,
    chain: str,
    asset: str,
    symbol: str,
    decimals: int,
    sender: str,
    account: int,
    idx: int,
    to: str,
    amount: int | None,
) -> int:
    """Queue a payout of ours; its key is `stem` and a number, so it exists once.

    `amount=None` moves all, less the fee (the main coin).
    """
    number = tx.value(
        select(func.count())
        .select_from(PAYOUTS)
        .where(PAYOUTS.c.kind == kind, PAYOUTS.c.trans_id.like(f"{stem}:%"))
    )
    trans_id = f"{stem}:{number + 1}"
    payout_id = tx.insert(
        insert(PAYOUTS).values(
            kind=kind,
            symbol=symbol,
            trans_id=trans_id,
            trans_id_quoted=True,
            chain=chain,
            asset=asset,
            address_to=to,
            to=to,
            amount_told=money.plain(amount or 0, decimals),
            amount=None if amount is None else str(amount),
            sender=sender,
            account=account,
            idx=idx,
            state=Payout.QUEUED,
            received_at=tx.now_us,
        )
    )
    record(
        tx, chain, f"{kind} planned", f"payout:{payout_id}",
        trans_id=trans_id, asset=asset, amount="all" if amount is None else str(amount), to=to,
    )  # fmt: skip
    return payout_id


def top_ups_of(tx: Tx, sweep: Row[Any]) -> Sequence[Row[Any]]:
    """Top-ups that were made for a sweep, oldest first."""
    return tx.all(
        select(PAYOUTS)
        .where(
            PAYOUTS.c.kind == Kind.TOP_UP,
            PAYOUTS.c.chain == sweep.chain,
            PAYOUTS.c.trans_id.like(f"{top_up_stem(sweep)}:%"),
        )
        .order_by(PAYOUTS.c.id)
    )


def top_up_stem(sweep: Row[Any]) -> str:
    """What the keys of a sweep's top-ups begin with."""
    return f"top-up:{sweep.trans_id}"


def is_under_way(row: Row[Any]) -> bool:
    """Whether a payout of ours is not final yet."""
    return bool(row.state not in _ENDED)
