"""Payouts and their attempts, one function a transition; each runs in one transaction.

order -> QUEUED -> `reserve` (locks, unsigned bytes) -> `sign` (bytes, claim) -> `claimed` ->
included (blocks say so) -> `finish` -> `reported`; or `refuse` -> `cancelled`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, or_, select, update

from chain_adapter.chain import Effect, SignedTx
from chain_adapter.core.payouts import lock_order
from chain_adapter.core.states import Kind, Payout, Purpose
from chain_adapter.errors import StateConflict, UnknownRow
from chain_adapter.store import outbox
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import move_payout, record
from chain_adapter.store.payouts_onchain import ATTEMPTS, LINKS, LOCKS, PAYOUTS
from chain_adapter.store.store import Tx

PAID_NOT_ACCEPTED = "paid, not accepted"
OPERATOR_REFUSED = -1
"""`claim_code` of a payout that an operator refused after it was reserved or signed."""

WAITING = ("hot_wallet_short", "gas_short", "fee_above_cap", "approval_needed", "policy_limit")
"""Alarms about a payout that only waits; they close when it goes on or ends."""

WORKING = (Payout.QUEUED, Payout.RESERVED, Payout.SIGNED, Payout.CLAIMED, Payout.INCLUDED)
"""States in which the payer has something to do or to wait for."""


@dataclass(frozen=True, slots=True)
class View:
    """One payout with its attempts, oldest first, and its locks: what a decision reads."""

    row: Row[Any]
    attempts: tuple[Row[Any], ...]
    locks: tuple[Row[Any], ...]

    @property
    def paying(self) -> list[Row[Any]]:
        """Signed or reserved attempts that pay."""
        return [a for a in self.attempts if a.purpose != Purpose.VOID]

    @property
    def open(self) -> list[Row[Any]]:
        """Neither dead nor finally failed nor a final void (docs/laws.md §1)."""
        return [a for a in self.attempts if not a.dead and not is_over(a)]


def is_over(attempt: Row[Any]) -> bool:
    """Final, and it pays nobody any more: failed, or a void."""
    return bool(attempt.final) and (attempt.purpose == Purpose.VOID or not attempt.ok)


def subject(row: Row[Any]) -> str:
    """How events, outbox and alarms name a payout."""
    return f"payout:{row.id}"


def get(tx: Tx, payout_id: int) -> Row[Any]:
    """The row; `UnknownRow`."""
    row = tx.one(select(PAYOUTS).where(PAYOUTS.c.id == payout_id))
    if row is None:
        raise UnknownRow(f"there is no payout {payout_id}")
    return row


def find(tx: Tx, kind: str, symbol: str, trans_id: str) -> Row[Any] | None:
    """The payout of a business key."""
    return tx.one(
        select(PAYOUTS).where(
            PAYOUTS.c.kind == kind, PAYOUTS.c.symbol == symbol, PAYOUTS.c.trans_id == trans_id
        )
    )


def view(tx: Tx, row: Row[Any]) -> View:
    """A payout with attempts and locks."""
    attempts = tx.all(
        select(ATTEMPTS)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .where(LINKS.c.payout_id == row.id)
        .order_by(ATTEMPTS.c.id)
    )
    locks = tx.all(select(LOCKS).where(LOCKS.c.payout_id == row.id))
    return View(row, tuple(attempts), tuple(locks))


def view_of(tx: Tx, payout_id: int) -> View:
    """As `view`, by id. Raises `UnknownRow`."""
    return view(tx, get(tx, payout_id))


def working(tx: Tx, chain: str, queued_most: int = 200) -> list[View]:
    """Everything of a chain that the payer works on, oldest first.

    Of what is QUEUED those that the platform listed last come first: orders that users took back
    stay QUEUED for a while, and must not stand before the others.
    """
    base = select(PAYOUTS).where(PAYOUTS.c.chain == chain)
    later = [state for state in WORKING if state is not Payout.QUEUED]
    rows = list(tx.all(base.where(PAYOUTS.c.state.in_(later)).order_by(PAYOUTS.c.id)))
    rows += tx.all(
        base.where(PAYOUTS.c.state == Payout.QUEUED, PAYOUTS.c.held_reason.is_(None))
        .order_by(PAYOUTS.c.listed_at.desc().nulls_first(), PAYOUTS.c.id)
        .limit(queued_most)
    )
    return _views(tx, rows)


def _views(tx: Tx, rows: Sequence[Row[Any]]) -> list[View]:
    """Attempts and locks of many payouts, in pages that every database takes as parameters."""
    attempts: dict[int, list[Row[Any]]] = {row.id: [] for row in rows}
    locks: dict[int, list[Row[Any]]] = {row.id: [] for row in rows}
    ids = list(attempts)
    for start in range(0, len(ids), 500):
        page = ids[start : start + 500]
        for attempt in tx.all(
            select(ATTEMPTS, LINKS.c.payout_id)
            .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
            .where(LINKS.c.payout_id.in_(page))
            .order_by(ATTEMPTS.c.id)
        ):
            attempts[attempt.payout_id].append(attempt)
        for lock in tx.all(select(LOCKS).where(LOCKS.c.payout_id.in_(page))):
            locks[lock.payout_id].append(lock)
    return [View(row, tuple(attempts[row.id]), tuple(locks[row.id])) for row in rows]


def reserved_locks(tx: Tx, chain: str, sender: str, settled_height: int) -> frozenset[str]:
    """Locks of an account that payouts hold; freed ones were deleted.

    Those used in a final block are left out: the chain itself never takes them again.
    """
    rows = tx.all(
        select(LOCKS.c.lock).where(
            LOCKS.c.chain == chain,
            LOCKS.c.sender == sender,
            or_(LOCKS.c.used_height.is_(None), LOCKS.c.used_height > settled_height),
        )
    )
    return frozenset(row.lock for row in rows)


# --- before anything is signed --------------------------------------------------------------------


def screened(tx: Tx, row: Row[Any], to: str, amount: int, memo: str | None) -> None:
    """Keep the canonical recipient and the base units that screening found."""
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id, PAYOUTS.c.state == Payout.QUEUED)
        .values(to=to, amount=str(amount), memo=memo)
    )


def refuse(tx: Tx, row: Row[Any], reason: str, *, who: str = "adapter") -> None:
    """Nothing was signed: it goes back to its user (docs/laws.md 2.9)."""
    move_payout(tx, row, Payout.REFUSED, reason, reason=reason)
    put_cancel(tx, row, reason)
    for code in ("payout_held", *WAITING):
        close_alarm(tx, code, subject(row), row.chain)


def put_cancel(tx: Tx, row: Row[Any], reason: str) -> bool:
    """The cancel of a withdrawal; once for ever. Never for one that was claimed.

    Whether there is something to tell that was not told before.
    """
    if row.kind != Kind.WITHDRAWAL:
        return False
    if row.ever_claimed:
        raise StateConflict(f"payout {row.id} was claimed: the platform takes nothing back")
    key = f"cancel:{row.id}"
    body = {
        "trans_id": row.trans_id,
        "quoted": bool(row.trans_id_quoted),
        "msg": reason[:200],
    }
    fresh = outbox.put(
        tx,
        dedupe_key=key,
        call="withdraw/cancel",
        symbol=row.symbol,
        chain=row.chain,
        subject=subject(row),
        body=body,
        held=row.held_reason is not None,
    )
    if not fresh and outbox.state_of(tx, key) == "withdrawn":
        # Withdrawn when an attempt was adopted, which has died since.
        return outbox.reopen(tx, key, body=body)
    return fresh


def reserve(
    tx: Tx,
    row: Row[Any],
    *,
    purpose: Purpose,
    payload: bytes,
    effect: Effect,
    build_height: int,
    salt: bytes,
    sender: str,
    account: int,
    idx: int,
    to_reserve: Sequence[str],
    check_session: bool = True,
) -> int:
    """Commit locks and unsigned bytes; the attempt's id.

    For the first attempt the payout moves QUEUED -> RESERVED, and a withdrawal that was never
    claimed must be listed by this session. Raises `StateConflict` if a lock is another's.
    """
    if Payout(row.state) is Payout.QUEUED:
        current = get(tx, row.id)
        if current.held_reason is not None:
            raise StateConflict(f"payout {row.id} is held")
        needs_listing = row.kind == Kind.WITHDRAWAL and not row.ever_claimed
        if check_session and needs_listing and current.listed_session != tx.session:
            raise StateConflict(f"payout {row.id} is not listed by a consume of this session")
    attempt_id = tx.insert(
        insert(ATTEMPTS).values(
            chain=row.chain,
            purpose=purpose,
            sender=sender,
            payload=payload,
            locks=json.dumps(list(effect.locks)),
            max_fee=str(effect.max_fee),
            expires=effect.expires,
            build_height=build_height,
            salt=salt.hex(),
            built_at=tx.now_us,
        )
    )
    tx.run(insert(LINKS).values(attempt_id=attempt_id, payout_id=row.id))
    for lock in to_reserve:
        if not tx.insert_new(
            LOCKS,
            {"chain": row.chain, "lock": lock, "payout_id": row.id, "sender": sender},
        ):
            owner = tx.value(
                select(LOCKS.c.payout_id).where(LOCKS.c.chain == row.chain, LOCKS.c.lock == lock)
            )
            if owner != row.id:
                raise StateConflict(f"lock {lock} belongs to payout {owner}")
    if Payout(row.state) is Payout.QUEUED:
        move_payout(
            tx, row, Payout.RESERVED, f"{purpose} under {', '.join(effect.locks) or 'no lock'}",
            sender=sender, account=account, idx=idx, reason=None,
        )  # fmt: skip
    else:
        record(
            tx, row.chain, "reserved", subject(row), purpose=purpose, locks=list(effect.locks)
        )  # fmt: skip
    return attempt_id


def sign(
    tx: Tx, row: Row[Any], attempt: Row[Any], signed: SignedTx, claim: Mapping[str, Any]
) -> None:
    """Store signed bytes; for a first paying attempt also the state and the claim.

    `claim` is the body of the notification (txid and addresses included).
    """
    touched = tx.run(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id == attempt.id, ATTEMPTS.c.txid.is_(None))
        .values(txid=signed.txid, raw=signed.raw, signed_at=tx.now_us)
    )
    if touched != 1:
        raise StateConflict(f"attempt {attempt.id} is signed already")
    record(
        tx, row.chain, "signed", subject(row), purpose=attempt.purpose, txid=signed.txid,
        max_fee=attempt.max_fee,
    )  # fmt: skip
    current = get(tx, row.id)
    if attempt.purpose == Purpose.PAY:
        move_payout(tx, current, Payout.SIGNED, f"txid {signed.txid}")
        if current.claim_code is None:  # else refused by an operator while it was being signed
            claim_or_pass(tx, get(tx, row.id), attempt, signed.txid, claim)
    elif attempt.purpose == Purpose.REPLACE and row.kind == Kind.WITHDRAWAL:
        # Told without waiting; a refusal of it stops nothing (docs/laws.md 2.7).
        outbox.put(
            tx,
            dedupe_key=f"replaced:{row.id}:{signed.txid}",
            call="withdraw/notify",
            symbol=row.symbol,
            chain=row.chain,
            subject=subject(row),
            body=dict(claim),
        )


def claim_or_pass(
    tx: Tx, row: Row[Any], attempt: Row[Any], txid: str, claim: Mapping[str, Any]
) -> None:
    """Put the claim of a withdrawal; other kinds have nobody to ask and pass at once."""
    if row.kind != Kind.WITHDRAWAL:
        move_payout(tx, row, Payout.CLAIMED, "no claim needed", claimed_at=tx.now_us)
        return
    locks = json.loads(attempt.locks)
    order = lock_order(locks[0])[1] if locks else -1
    outbox.put(
        tx,
        dedupe_key=f"claim:{row.id}:{txid}",
        call="withdraw/notify",
        symbol=row.symbol,
        chain=row.chain,
        subject=subject(row),
        body=dict(claim),
        order_key=f"{row.chain}/{attempt.sender}",
        order_seq=order if order >= 0 else attempt.id,
        held=row.held_reason is not None,
    )


# --- after the claim ------------------------------------------------------------------------------


def claimed(tx: Tx, payout_id: int) -> None:
    """The platform acknowledged the claim: from here on we must pay."""
    row = get(tx, payout_id)
    close_alarm(tx, "claim_failing", subject(row), row.chain)
    if row.state != Payout.SIGNED:
        return
    move_payout(
        tx, row, Payout.CLAIMED, "claim acknowledged",
        # Whoever said no meanwhile came too late: from now on it is owed.
        claimed_at=tx.now_us, ever_claimed=True, claim_code=None,
    )  # fmt: skip
    row = get(tx, payout_id)
    if any(a.included_height is not None and a.ok for a in view(tx, row).paying):
        # An adopted attempt may stand in a block before its claim is said again.
        move_payout(tx, row, Payout.INCLUDED, "already in a block")


def claim_refused(tx: Tx, item: Row[Any], payout_id: int, code: int, message: str) -> None:
    """A claim refused by code, class row: never sent again; its locks are to be voided."""
    outbox.close_as(tx, item.id, "refused")
    row = get(tx, payout_id)
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id)
        .values(claim_code=code, reason=f"claim refused: {code} {message[:200]}")
    )
    tx.run(
        update(outbox.T)
        .where(outbox.T.c.id == item.id)
        .values(last_code=code, last_error=message[:300])
    )
    record(tx, row.chain, "claim refused", subject(row), code=code, message=message[:300])
    raise_alarm(
        tx, "claim_refused", subject(row),
        f"{row.symbol} {row.trans_id}: the platform answered {code} {message[:200]}", row.chain,
    )  # fmt: skip


def mark_sent(tx: Tx, attempt_id: int, head_height: int, node_said: str | None) -> None:
    """A broadcast happened; what the node said is a hint."""
    row = tx.one(select(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id))
    if row is None:
        return
    tx.run(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id == attempt_id)
        .values(
            sent_at=row.sent_at or tx.now_us,
            resent_height=head_height,
            node_said=node_said[:300] if node_said else None,
        )
    )
    if row.sent_at is None or row.node_said != (node_said[:300] if node_said else None):
        for payout_id in tx.all(select(LINKS.c.payout_id).where(LINKS.c.attempt_id == attempt_id)):
            record(
                tx, row.chain, "broadcast", f"payout:{payout_id[0]}",
                txid=row.txid, node_said=node_said,
            )  # fmt: skip


def unmark(tx: Tx, row: Row[Any], who: str, reason: str) -> None:
    """Take the held mark away."""
    tx.run(
        update(PAYOUTS)
        .where(PAYOUTS.c.id == row.id)
        .values(held_reason=None, held_by=None, held_at=None)
    )
    outbox.hold(tx, subject(row), False)
    record(tx, row.chain, "released", subject(row), who=who, reason=reason, was=row.held_reason)
    close_alarm(tx, "payout_held", subject(row), row.chain)
