"""The journal's rules: never two attempts of which both could land and both would pay.

A lock that was signed for one payout is signed for no other, until it is proven free.
A new attempt of a payout shares a lock with every attempt of it that is still open.
What became of an attempt is told by the daemon, with a proof that is held against the journal.
"""

from __future__ import annotations

from typing import Final

from chain_adapter.chain import Effect
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.journal import (
    Death,
    JournalEntry,
    JournalTx,
    Purpose,
    State,
)
from chain_adapter.keys.request import SignRequest
from chain_adapter.keys.warrant import refused

_MILLISECONDS_FROM: Final = 10**12  # as a count of seconds, this is the year 33658
_SECONDS_FROM: Final = 10**9  # a height that large would need a block a second since 1994


def check_exclusion(tx: JournalTx, request: SignRequest, effect: Effect) -> list[JournalEntry]:
    """Hold a new attempt against every journaled one. Returns those of its payout.

    Raises `SigningRefused`.
    """
    payout = request.payout
    attempts = tx.attempts_of(payout)
    locks = frozenset(effect.locks)
    for other in attempts:
        if other.chain != request.chain:
            raise refused(f"{payout} was signed before on chain {other.chain}")
    if request.purpose == Purpose.VOID:
        _check_void(request, attempts, locks)
    else:
        if tx.is_settled(payout):
            raise refused(f"{payout} is settled by hand: only voids are signed for it")
        for other in attempts:
            if other.state == State.FINAL and other.purpose != Purpose.VOID:
                raise refused(f"{payout} is paid: {other.txid} is final")
            if other.state == State.OPEN and not locks & set(other.locks):
                raise SigningRefused(
                    f"{payout}: {other.txid} may still land and shares no lock with the new "
                    "attempt; both could pay"
                )
    for lock in effect.locks:
        for holder in tx.holders(request.chain, lock):
            # used by another payout is used for ever: only expiry gives a lock back
            if holder.payout != payout and holder.state != State.EXPIRED:
                raise SigningRefused(
                    f"lock {lock} was signed for {holder.payout} ({holder.txid}), not for {payout}"
                )
    return attempts


def _check_void(request: SignRequest, attempts: list[JournalEntry], locks: frozenset[str]) -> None:
    if not locks:
        raise refused("a void must burn a lock, and this payload has none")
    unended = [a for a in attempts if a.state == State.OPEN]
    if unended and not any(locks & set(a.locks) for a in unended):
        raise refused(
            f"{request.payout}: the void burns no lock of an attempt of it that is still open"
        )


def check_death(
    tx: JournalTx, entry: JournalEntry, death: Death, *, now_s: float, trusting: bool
) -> None:
    """Hold what the daemon tells of an attempt against the journal and the signer's own clock.

    `trusting`: there is no policy, so the daemon's word is taken where the journal cannot know.
    Raises `SigningRefused`.
    """
    if death.reason == State.OPEN:
        return  # taking an end back only makes the rules stricter
    if entry.state not in (State.OPEN, death.reason):
        raise refused(
            f"{entry.txid} is journaled as {entry.state}, not as open; take that back first"
        )
    if death.reason == State.USED:
        _check_used(tx, entry, death, trusting=trusting)
    elif death.reason == State.EXPIRED:
        _check_expired(entry, death, now_s=now_s, trusting=trusting)
    elif death.reason == State.ORPHANED:
        parent = tx.attempt(entry.chain, death.by_txid or "")
        if parent is None or parent.state not in (State.USED, State.EXPIRED, State.ORPHANED):
            raise refused(f"{entry.txid}: its parent is not journaled as dead")
        if not any(parent.txid in lock for lock in entry.locks):
            raise refused(f"{entry.txid} spends no coin of {parent.txid}")


def _check_used(tx: JournalTx, entry: JournalEntry, death: Death, *, trusting: bool) -> None:
    if not death.by_txid or death.by_txid == entry.txid:
        raise refused(f"{entry.txid}: the transaction that used its lock is not named")
    other = tx.attempt(entry.chain, death.by_txid)
    if other is None:
        if trusting:
            return
        raise SigningRefused(
            f"{entry.txid}: {death.by_txid}, which is said to have used its lock, was not signed "
            "here; operators must approve this"
        )
    if not set(other.locks) & set(entry.locks):
        raise refused(f"{death.by_txid} shares no lock with {entry.txid}")


def _check_expired(entry: JournalEntry, death: Death, *, now_s: float, trusting: bool) -> None:
    if entry.expires is None:
        raise refused(f"{entry.txid} never expires")
    if death.clock is None or death.clock <= entry.expires:
        raise refused(
            f"{entry.txid} expires at {entry.expires}; the clock of the block is {death.clock}"
        )
    # where the chain counts time, our own clock must agree; a height only the daemon knows
    over = is_over(entry.expires, now_s) if counts_time(entry.expires) else True
    if not over and not trusting:
        raise SigningRefused(
            f"{entry.txid} expires at {entry.expires}, which by this machine's clock is not over"
        )


def counts_time(expires: int) -> bool:
    """Whether an expiry is a time (milliseconds or seconds since 1970) and not a height."""
    return expires >= _SECONDS_FROM


def is_over(expires: int, now_s: float) -> bool:
    """Whether an expiry that is a time lies behind `now_s`."""
    return now_s * 1000 > expires if expires >= _MILLISECONDS_FROM else now_s > expires
