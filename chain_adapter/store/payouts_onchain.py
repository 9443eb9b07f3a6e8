"""What blocks say about our transactions, kept beside the attempts as caches that a pop clears.

`note_sent` runs in the commit of a block, `pop_block` in the commit that pops it, `settle_to` when
heights become final and looked at twice. They record facts (inclusion, lock use, finality, death);
what follows for a payout is decided by the payer, which they cause to be woken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, insert, or_, select, update

from chain_adapter.chain import Block, BlockRef, Payment, Sent
from chain_adapter.core.payouts import did_pay
from chain_adapter.core.states import Payout, Purpose
from chain_adapter.store import outbox, schema
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.events import move_payout, record
from chain_adapter.store.store import Tx

ATTEMPTS = schema.attempts
LOCKS = schema.locks
PAYOUTS = schema.payouts
LINKS = schema.attempt_payouts


def payouts_of(tx: Tx, attempt_id: int) -> Sequence[Row[Any]]:
    """The payouts that an attempt pays."""
    return tx.all(
        select(PAYOUTS)
        .join(LINKS, LINKS.c.payout_id == PAYOUTS.c.id)
        .where(LINKS.c.attempt_id == attempt_id)
    )


def wanted(payouts: Sequence[Row[Any]]) -> tuple[Payment, ...]:
    """The payments that an attempt of these payouts has to make."""
    return tuple(
        Payment(p.asset, p.to, None if p.amount is None else int(p.amount), p.memo or None)
        for p in payouts
    )


def note_sent(tx: Tx, chain: str, block: Block) -> None:
    """Record every transaction of ours that `block` shows. Idempotent: a second look adds."""
    for sent in block.sent:
        if sent.locks:
            tx.run(
                update(LOCKS)
                .where(LOCKS.c.chain == chain, LOCKS.c.lock.in_(sent.locks))
                .values(used_txid=sent.txid, used_height=block.ref.height)
            )
        attempt = tx.one(
            select(ATTEMPTS).where(ATTEMPTS.c.chain == chain, ATTEMPTS.c.txid == sent.txid)
        )
        if attempt is not None:
            _include(tx, attempt, sent, block)
        else:
            _unknown(tx, chain, sent, block)


def replay(tx: Tx, use: Row[Any]) -> None:
    """Apply what a block said of a transaction that was unknown then and is adopted now."""
    moved = tuple(Payment(m[0], m[1], int(m[2]), m[3]) for m in json.loads(use.moved))
    sent = Sent(use.txid, use.sender, tuple(json.loads(use.locks)), use.ok, moved, int(use.fee), "")
    ref = BlockRef(use.height, use.block_hash)
    note_sent(tx, use.chain, Block(ref, "", 0, 0, (), (sent,), "", False))


def _include(tx: Tx, attempt: Row[Any], sent: Sent, block: Block) -> None:
    if attempt.included_hash == block.ref.hash:
        return
    payouts = payouts_of(tx, attempt.id)
    pays = attempt.purpose != Purpose.VOID
    ok = sent.ok and (not pays or did_pay(sent.moved, wanted(payouts)))
    tx.run(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id == attempt.id)
        .values(
            included_height=block.ref.height,
            included_hash=block.ref.hash,
            ok=ok,
            fee=str(sent.fee),
            dead=None,
        )
    )
    for payout in payouts:
        record(
            tx, payout.chain, "included", f"payout:{payout.id}",
            txid=sent.txid, height=block.ref.height, ok=ok, fee=str(sent.fee),
            purpose=attempt.purpose,
        )  # fmt: skip
        if pays and ok and payout.state == Payout.CLAIMED:
            move_payout(tx, payout, Payout.INCLUDED, f"in block {block.ref.height}")


def _unknown(tx: Tx, chain: str, sent: Sent, block: Block) -> None:
    """A transaction that is no attempt of ours: a malleated copy, or somebody uses the key."""
    holder = _holder(tx, chain, sent.locks)
    if (
        holder is not None
        and sent.ok
        and _has_signed(tx, holder)
        and did_pay(sent.moved, wanted([holder]))
    ):
        attempt_id = tx.insert(
            insert(ATTEMPTS).values(
                chain=chain,
                txid=sent.txid,
                purpose=Purpose.REPLACE,
                sender=sent.sender,
                locks=json.dumps(sent.locks),
                max_fee=str(sent.fee),
                build_height=block.ref.height - 1,
                salt="",
                built_at=tx.now_us,
                signed_at=tx.now_us,
                adopted=True,
            )
        )
        tx.run(insert(LINKS).values(attempt_id=attempt_id, payout_id=holder.id))
        raise_alarm(
            tx, "malleated", f"payout:{holder.id}", f"paid by {sent.txid} under the same locks",
            chain,
        )  # fmt: skip
        attempt = tx.one(select(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id))
        assert attempt is not None
        _include(tx, attempt, sent, block)
        return
    # The signer's journal may know it (an older database). Until the payer has asked, the
    # account is blocked by this row.
    tx.insert_new(
        schema.foreign_uses,
        {
            "chain": chain,
            "txid": sent.txid,
            "sender": sent.sender,
            "locks": json.dumps(sent.locks),
            "height": block.ref.height,
            "block_hash": block.ref.hash,
            "moved": json.dumps([[p.asset, p.to, str(p.amount), p.memo] for p in sent.moved]),
            "ok": sent.ok,
            "fee": str(sent.fee),
        },
    )


def _holder(tx: Tx, chain: str, locks: Sequence[str]) -> Row[Any] | None:
    if not locks:
        return None
    return tx.one(
        select(PAYOUTS)
        .join(LOCKS, LOCKS.c.payout_id == PAYOUTS.c.id)
        .where(LOCKS.c.chain == chain, LOCKS.c.lock.in_(locks))
    )


def _has_signed(tx: Tx, payout: Row[Any]) -> bool:
    """Whether there are bytes of which a copy could be made."""
    found = tx.value(
        select(ATTEMPTS.c.id)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .where(LINKS.c.payout_id == payout.id, ATTEMPTS.c.raw.is_not(None))
        .limit(1)
    )
    return found is not None


def pop_block(tx: Tx, chain: str, height: int, *, was_settled: bool) -> None:
    """Undo what the block at `height` said. A popped final payment is an alarm and a pause."""
    attempts = tx.all(
        select(ATTEMPTS).where(ATTEMPTS.c.chain == chain, ATTEMPTS.c.included_height == height)
    )
    for attempt in attempts:
        tx.run(
            update(ATTEMPTS)
            .where(ATTEMPTS.c.id == attempt.id)
            .values(included_height=None, included_hash=None, ok=None, fee=None, final=False)
        )
        for payout in payouts_of(tx, attempt.id):
            _uninclude(tx, payout, attempt, height)
    if was_settled:
        _revive(tx, chain, height)
    popped = tx.all(select(LOCKS).where(LOCKS.c.chain == chain, LOCKS.c.used_height == height))
    for lock in popped:
        if was_settled:
            # Death was proven by a block that is no more.
            tx.run(
                update(ATTEMPTS)
                .where(
                    ATTEMPTS.c.id.in_(
                        select(LINKS.c.attempt_id).where(LINKS.c.payout_id == lock.payout_id)
                    )
                )
                .values(dead=None)
            )
    tx.run(
        update(LOCKS)
        .where(LOCKS.c.chain == chain, LOCKS.c.used_height == height)
        .values(used_txid=None, used_height=None)
    )
    foreign = schema.foreign_uses
    tx.run(
        foreign.delete().where(
            foreign.c.chain == chain,
            foreign.c.height == height,
            foreign.c.acknowledged_by.is_(None),
        )
    )


def _revive(tx: Tx, chain: str, height: int) -> None:
    """Deaths that a final clock, or a dead parent, proved: that block is no more."""
    blocks = schema.blocks
    clock = tx.value(
        select(blocks.c.clock).where(blocks.c.chain == chain, blocks.c.height == height - 1)
    )
    expiry = ATTEMPTS.c.expires >= (-1 if clock is None else clock)
    tx.run(
        update(ATTEMPTS)
        .where(
            ATTEMPTS.c.chain == chain,
            or_(
                and_(ATTEMPTS.c.dead.like("expired%"), expiry),
                ATTEMPTS.c.dead.like("orphaned%"),
            ),
        )
        .values(dead=None)
    )


def _uninclude(tx: Tx, payout: Row[Any], attempt: Row[Any], height: int) -> None:
    record(
        tx, payout.chain, "popped", f"payout:{payout.id}", txid=attempt.txid, height=height
    )  # fmt: skip
    if attempt.purpose == Purpose.VOID or not attempt.ok:
        return
    state = Payout(payout.state)
    if state == Payout.INCLUDED:
        move_payout(tx, payout, Payout.CLAIMED, f"block {height} was popped")
    elif state in (Payout.FINAL, Payout.REPORTED):
        move_payout(
            tx, payout, Payout.CLAIMED, f"final block {height} was popped",
            final_txid=None, final_height=None, fee=None, ended_at=None,
        )  # fmt: skip
        outbox.withdraw(tx, f"paid:{payout.id}")
        message = f"the payment of {payout.symbol} {payout.trans_id} lost its final block {height}"
        raise_alarm(tx, "deep_reorg", payout.chain, message, payout.chain)
        tx.insert_new(
            schema.pauses,
            {
                "chain": payout.chain,
                "asset": "",
                "reason": message,
                "who": "adapter",
                "paused_at": tx.now_us,
            },
        )


def settle_to(tx: Tx, chain: str, settled_height: int, clock: int) -> None:
    """Everything up to `settled_height` is final and looked at twice; `clock` is its block's.

    Marks attempts final, and proves death: a lock used by another transaction in a final block,
    or a final clock beyond the expiry. Both demand that the attempt itself is in no block.
    """
    tx.run(
        update(ATTEMPTS)
        .where(
            ATTEMPTS.c.chain == chain,
            ATTEMPTS.c.final.is_(False),
            ATTEMPTS.c.included_height <= settled_height,
        )
        .values(final=True)
    )
    alive = and_(
        ATTEMPTS.c.chain == chain,
        ATTEMPTS.c.final.is_(False),
        ATTEMPTS.c.included_height.is_(None),
        ATTEMPTS.c.dead.is_(None),
        ATTEMPTS.c.build_height <= settled_height,
    )
    used = tx.all(
        select(ATTEMPTS.c.id, ATTEMPTS.c.txid, LOCKS.c.lock, LOCKS.c.used_txid)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .join(LOCKS, LOCKS.c.payout_id == LINKS.c.payout_id)
        .where(
            alive,
            LOCKS.c.used_height <= settled_height,
            or_(ATTEMPTS.c.txid.is_(None), LOCKS.c.used_txid != ATTEMPTS.c.txid),
        )
    )
    for row in used:
        held = tx.value(select(ATTEMPTS.c.locks).where(ATTEMPTS.c.id == row.id))
        if row.lock in json.loads(held):
            _bury(tx, row.id, f"its lock {row.lock} was used by {row.used_txid}")
    expired = tx.all(
        select(ATTEMPTS.c.id, ATTEMPTS.c.expires).where(
            alive, ATTEMPTS.c.expires.is_not(None), ATTEMPTS.c.expires < clock
        )
    )
    for row in expired:
        _bury(tx, row.id, f"expired at {row.expires}, final clock {clock}")
    _bury_orphans(tx, tx.all(select(ATTEMPTS).where(alive)))


def _bury_orphans(tx: Tx, alive: Sequence[Row[Any]]) -> None:
    """The transaction that made one of its coins is dead: a lock names it before its place."""
    parents = [
        (row, parent)
        for row in alive
        for lock in json.loads(row.locks)
        if (parent := lock.partition(":")[0]) != lock
    ]
    if not parents:
        return
    names = {parent for _, parent in parents}
    dead = {
        row.txid
        for row in tx.all(
            select(ATTEMPTS.c.txid).where(
                ATTEMPTS.c.chain == parents[0][0].chain,
                ATTEMPTS.c.txid.in_(names),
                ATTEMPTS.c.dead.is_not(None),
            )
        )
    }
    while True:  # a child of an orphan is one too
        found = {
            row.id: (row, parent)
            for row, parent in parents
            if parent in dead and row.txid not in dead
        }
        if not found:
            return
        for row, parent in found.values():
            _bury(tx, row.id, f"orphaned with {parent}")
            dead.add(row.txid)


def _bury(tx: Tx, attempt_id: int, why: str) -> None:
    tx.run(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.id == attempt_id, ATTEMPTS.c.dead.is_(None))
        .values(dead=why)
    )
    for payout in payouts_of(tx, attempt_id):
        record(tx, payout.chain, "dead", f"payout:{payout.id}", attempt=attempt_id, why=why)
