"""Turns payouts into transactions: one step reads everything that waits, and does what is due.

QUEUED: screen, funds, build, RESERVED, sign, SIGNED (`first_payments`). The courier claims.
CLAIMED: broadcast, the same bytes on every new head (`sending`). A refused claim: voided. Included
and final: FINAL with its report. Blocks say what became of a transaction, never a node.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from chain_adapter.chain import Chain
from chain_adapter.core.states import Kind, Payout, Purpose
from chain_adapter.errors import StateConflict
from chain_adapter.store import payout_marks, payouts, payouts_end, treasury
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.events import move_payout
from chain_adapter.store.payouts import View
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.adoption import Adoption
from chain_adapter.workers.desk import Desk, Situation
from chain_adapter.workers.first_payments import FirstPayments
from chain_adapter.workers.gaps import Gaps
from chain_adapter.workers.sending import Sending
from chain_adapter.workers.signing import Accounts, Signer
from chain_adapter.workers.terms import Board, ChainTerms


class Payer:
    """Guarantees: no first payment without a fresh listing, no two payments of one payout, only
    stored bytes leave, nothing is sent before its claim is acknowledged.

    Does not guarantee: order between payouts, or that one is paid while funds or fees forbid it.
    """

    def __init__(
        self,
        terms: ChainTerms,
        chain: Chain,
        accounts: Accounts,
        store: Store,
        signer: Signer,
        board: Board,
        on_outbox: Callable[[], None],
    ) -> None:
        self._terms = terms
        self._store = store
        self._desk = Desk(terms, chain, accounts, store, signer, board, on_outbox)
        self._adoption = Adoption(terms, store, signer, self._desk.attempts)
        self._first = FirstPayments(self._desk)
        self._sending = Sending(self._desk)
        self._gaps = Gaps(self._desk)

    async def adopt(self) -> None:
        """What the signer's journal knows, before a block is read that shows it as a stranger's.

        Where the two disagree nothing is lost: every step tries again, and says so.
        """
        with suppress(StateConflict):
            await self._adoption.run_once_a_session()

    async def step(self) -> float:
        """Do what is due; returns the pause until the next look."""
        await self._adoption.run_once_a_session()
        now = await self._store.read(self._desk.read)
        if await self._adoption.examine_foreign():
            now = await self._store.read(self._desk.read)
        if now.settled_height < 0:
            return self._terms.poll_interval_s
        await self._desk.refresh_balances(now)
        for view in now.views:
            await self._advance(view, now)
        moved = await self._first.run(now)
        now = await self._store.read(self._desk.read)
        await self._sending.run(now)
        await self._gaps.fill(now)
        return 0.0 if moved else self._terms.poll_interval_s

    async def _advance(self, view: View, now: Situation) -> None:
        """One payout that is past QUEUED: the next edge that blocks or the platform allow."""
        state = Payout(view.row.state)
        if state is Payout.RESERVED:
            await self._advance_reserved(view, now)
        elif state is Payout.SIGNED:
            await self._advance_signed(view, now)
        elif state is Payout.CLAIMED:
            await self._advance_claimed(view, now)
        elif state is Payout.INCLUDED and any(a.final and a.ok for a in view.paying):
            await self._finish(view, now)

    async def _advance_reserved(self, view: View, now: Situation) -> None:
        desk, row = self._desk, view.row
        if not view.open:
            await desk.attempts.tell_ends(view, now.settled_height)
            why = "nothing that pays was signed"
            await self._store.write(lambda tx: payouts_end.requeue(tx, row.id, why))
            return
        if not desk.may_sign(row, now):
            return
        voids = [a for a in view.open if a.purpose == Purpose.VOID]
        if voids:
            if voids[-1].txid is None:
                await desk.sign(view, voids[-1])
            return
        if row.held_reason is not None or row.claim_code is not None or desk.is_stale(row):
            # Nothing that pays was signed: free the lock, so that those behind it go on.
            await desk.again(view, now, Purpose.VOID)
            return
        unsigned = [a for a in view.open if a.txid is None]
        if unsigned:
            await desk.sign_or_void(view, now, unsigned[-1])

    async def _advance_signed(self, view: View, now: Situation) -> None:
        """Claimed or refused by the platform? The courier repeats the claim until it knows."""
        desk, row = self._desk, view.row
        if row.claim_code is None:
            return
        if any(a.final and a.ok for a in view.paying):
            if row.held_reason is None:
                await desk.hold(row, payouts.PAID_NOT_ACCEPTED, "paid_not_accepted")
            return
        if [a for a in view.open if a.purpose != Purpose.VOID]:
            if desk.may_sign(row, now):
                await self._ensure_void(view, now)
            return
        await desk.attempts.tell_ends(view, now.settled_height)
        if row.ever_claimed:
            # The platform took the first claim: neither paid nor given back by ourselves.
            if row.held_reason is None:
                await desk.hold(row, "claimed, voided, and its new claim was refused", None)
            return
        notes = desk.attempts.fee_notes(view)
        await self._store.write(lambda tx: payouts_end.give_up(tx, row.id, notes, desk.depth(row)))
        desk.on_outbox()

    async def _ensure_void(self, view: View, now: Situation) -> None:
        voids = [a for a in view.open if a.purpose == Purpose.VOID]
        if not voids:
            if any(lock.used_txid is None for lock in view.locks):
                await self._desk.again(view, now, Purpose.VOID)
        elif voids[-1].txid is None:
            await self._desk.sign(view, voids[-1])

    async def _advance_claimed(self, view: View, now: Situation) -> None:
        desk, row = self._desk, view.row
        if any(a.included_height is not None and a.ok for a in view.paying):
            await self._store.write(
                lambda tx: move_payout(
                    tx, payouts.get(tx, row.id), Payout.INCLUDED, "in a block"
                )
            )  # fmt: skip
            return
        unsigned = [a for a in view.open if a.txid is None]
        if unsigned and desk.may_sign(row, now):
            await desk.sign(view, unsigned[-1])
            return
        if view.open or row.held_reason is not None:
            return
        await desk.attempts.tell_ends(view, now.settled_height)
        await self._store.write(lambda tx: _another_or_hold(tx, view))

    async def _finish(self, view: View, now: Situation) -> None:
        desk, row = self._desk, view.row
        fee = self._terms.fee.told(payouts_end.included_fee(view))
        body = {**desk.attempts.notice(row, ""), "fee": fee}
        if row.amount is None:
            body["amount"] = await self._amount_moved(view)
        await desk.attempts.tell_ends(view, now.settled_height)
        await self._store.write(lambda tx: payouts_end.finish(tx, row.id, body, desk.depth(row)))
        desk.on_outbox()

    async def _amount_moved(self, view: View) -> str:
        """What a payment of "all, less the fee" brought, as the blocks showed it."""
        row = view.row
        winner = next(a for a in view.paying if a.final and a.ok)
        amount = await self._store.read(
            partial(treasury.moved, chain=row.chain, txid=winner.txid, to=row.to, asset=row.asset)
        )
        return self._terms.assets[row.asset].told(amount)


def _another_or_hold(tx: Tx, view: View) -> None:
    """Claimed, and every attempt is dead or failed: one new attempt, else a person."""
    row = payouts.get(tx, view.row.id)
    failed = sum(1 for a in view.paying if a.final and not a.ok)
    if failed:
        text = f"{row.symbol} {row.trans_id} was included but did not pay"
        raise_alarm(tx, "payment_failed", payouts.subject(row), text, row.chain)
    if failed > 1 and row.kind == Kind.WITHDRAWAL:
        payout_marks.hold(tx, row, "adapter", "it failed on chain twice")
        return
    payouts_end.requeue(tx, row.id, "every attempt is dead: one new attempt")
