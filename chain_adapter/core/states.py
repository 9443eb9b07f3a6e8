"""The two state machines as data: every state, every edge, and what the edge means.

A row moves only along an edge that stands here, and the update names the old state in its WHERE
clause (`store.events.move`). Source: docs/laws.md §4.
"""

from __future__ import annotations

from enum import StrEnum


class Deposit(StrEnum):
    """What becomes of value that arrived for a user."""

    SEEN = "SEEN"  # in a block of ours, not yet final and looked at twice
    CONFIRMED = "CONFIRMED"  # final, second look agreed; its notification is in the outbox
    CREDITED = "CREDITED"  # acknowledged by a signed echo, at the platform's depth
    HELD = "HELD"  # a rule or a person wants an answer first
    IGNORED = "IGNORED"  # below the minimum, asset off, own money
    ORPHANED = "ORPHANED"  # its block was popped before anybody was told
    REVERSED = "REVERSED"  # its block was popped after it was confirmed


class Payout(StrEnum):
    """What becomes of an instruction to move money out."""

    QUEUED = "QUEUED"  # stored with its warrant; nothing done
    RESERVED = "RESERVED"  # locks and unsigned bytes committed
    SIGNED = "SIGNED"  # signed bytes stored, the claim is in the outbox
    CLAIMED = "CLAIMED"  # the platform acknowledged the claim: we must pay
    INCLUDED = "INCLUDED"  # a paying attempt stands in a block
    FINAL = "FINAL"  # that block is final
    REPORTED = "REPORTED"  # the platform acknowledged it at its own depth
    REFUSED = "REFUSED"  # will not be paid; nothing of it can be paid any more
    CANCELLED = "CANCELLED"  # the platform acknowledged that it goes back to its user
    SETTLED = "SETTLED"  # ended by hand with the platform: two people, evidence


class Kind(StrEnum):
    """Why money leaves. Only a withdrawal is claimed; the others end in internal/notify."""

    WITHDRAWAL = "withdrawal"
    SWEEP = "sweep"
    TOP_UP = "top-up"
    COLD = "cold"


class Purpose(StrEnum):
    """What one attempt is for."""

    PAY = "pay"  # first attempt, or a new one under other locks: claimed
    REPLACE = "replace"  # the same payments under the same locks with a higher fee
    VOID = "void"  # burns the locks and pays nobody


class Role(StrEnum):
    """What an address of ours is for."""

    DEPOSIT = "deposit"
    HOT = "hot"
    GAS = "gas"
    COLD = "cold"
    WATCHED = "watched"  # imported: credited, never registered, never swept


D, P = Deposit, Payout

DEPOSIT_EDGES: dict[tuple[Deposit, Deposit], str] = {
    (D.SEEN, D.CONFIRMED): "its block is final and the second look agrees",
    (D.SEEN, D.HELD): "a rule wants an answer first",
    (D.SEEN, D.IGNORED): "own money, asset off or below the minimum",
    (D.SEEN, D.ORPHANED): "its block was popped",
    (D.HELD, D.ORPHANED): "its block was popped",
    (D.IGNORED, D.ORPHANED): "its block was popped",
    (D.HELD, D.CONFIRMED): "released by an operator",
    (D.HELD, D.SEEN): "released by an operator before its block is final",
    (D.HELD, D.IGNORED): "ignored by an operator",
    (D.ORPHANED, D.SEEN): "included again",
    (D.ORPHANED, D.HELD): "included again, and a rule wants an answer first",
    (D.ORPHANED, D.IGNORED): "included again as own money or below the minimum",
    (D.CONFIRMED, D.CREDITED): "acknowledged at the platform's depth",
    (D.CONFIRMED, D.REVERSED): "its final block was popped",
    (D.CREDITED, D.REVERSED): "its final block was popped",
    (D.REVERSED, D.SEEN): "included again with the same amount",
    (D.REVERSED, D.HELD): "included again with another amount",
    (D.IGNORED, D.SEEN): "taken up by an operator",
}

PAYOUT_EDGES: dict[tuple[Payout, Payout], str] = {
    (P.QUEUED, P.RESERVED): "built and inspected: locks and unsigned bytes committed",
    (P.QUEUED, P.REFUSED): "can never succeed, waited too long, or refused by an operator",
    (P.QUEUED, P.SIGNED): "the signer's journal knows an attempt that the database lacked",
    (P.RESERVED, P.SIGNED): "signed bytes stored with the claim",
    (P.RESERVED, P.QUEUED): "nothing that pays was signed, and a lock is used or the bytes expired",
    (P.SIGNED, P.CLAIMED): "claim acknowledged (kinds without a claim pass at once)",
    (P.SIGNED, P.REFUSED): "claim refused, every paying attempt dead, locks used or expired",
    (P.SIGNED, P.QUEUED): "every attempt dead by expiry",
    (P.CLAIMED, P.INCLUDED): "a paying attempt stands in a block",
    (P.CLAIMED, P.QUEUED): "every attempt dead: one new attempt, claimed again",
    (P.INCLUDED, P.CLAIMED): "its block was popped, or it failed there",
    (P.INCLUDED, P.FINAL): "its block is final",
    (P.FINAL, P.REPORTED): "acknowledged at the platform's depth",
    (P.FINAL, P.CLAIMED): "its final block was popped: alarm and pause",
    (P.REPORTED, P.CLAIMED): "its final block was popped: alarm and pause",
    (P.REFUSED, P.CANCELLED): "cancel acknowledged",
    (P.REFUSED, P.SIGNED): "the signer's journal knows an attempt that the database lacked",
    (P.QUEUED, P.SETTLED): "settled by hand",
    (P.SIGNED, P.SETTLED): "settled by hand",
    (P.CLAIMED, P.SETTLED): "settled by hand",
    (P.FINAL, P.SETTLED): "settled by hand: paid, not accepted",
    (P.REFUSED, P.SETTLED): "settled by hand",
}

PAYOUT_ENDED = frozenset({P.REPORTED, P.CANCELLED, P.SETTLED})
"""States in which nothing more is expected of us. REFUSED may still be cancelled."""
