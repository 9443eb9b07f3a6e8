"""A withdrawal is paid or given back, never both: held by the signer too, which seals the cancel.

sealing a cancel -> no attempt of it may still pay -> booked; from then on nothing is paid for it
"""

from __future__ import annotations

from chain_adapter.errors import SigningRefused
from chain_adapter.keys.journal import JournalTx, PayoutKey, Purpose, State
from chain_adapter.keys.request import WITHDRAWAL


def book_cancel(tx: JournalTx, symbol: str, trans_id: str) -> None:
    """Allow a cancel and book it. Raises `SigningRefused` while a payment may land or has."""
    for attempt in tx.attempts_of(PayoutKey(WITHDRAWAL, symbol, trans_id)):
        if attempt.purpose != Purpose.VOID and attempt.state in (State.OPEN, State.FINAL):
            raise SigningRefused(
                f"withdrawal {symbol} {trans_id}: {attempt.txid} was signed and is "
                f"{attempt.state}; a cancel would give back what is paid"
            )
    tx.connection.execute(
        "INSERT OR IGNORE INTO cancels VALUES (?, ?, ?)", (symbol, trans_id, tx.now)
    )


def check_not_cancelled(tx: JournalTx, payout: PayoutKey) -> None:
    """Raises `SigningRefused` for a withdrawal whose cancel was sealed."""
    row = tx.connection.execute(
        "SELECT at FROM cancels WHERE symbol = ? AND trans_id = ?",
        (payout.symbol, payout.trans_id),
    ).fetchone()
    if row is not None and payout.kind == WITHDRAWAL:
        raise SigningRefused(f"{payout} was given back to its user at {row[0]}: it is not paid")
