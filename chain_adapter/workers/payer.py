"""Turns payouts into transactions: one step reads everything that waits, and does what is due.

QUEUED: screen, funds, build, RESERVED, sign, SIGNED. The courier claims. CLAIMED: broadcast, the
same bytes on every new head; stuck: replaced under the same locks. A refused claim: voided.
Included and final: FINAL with its report. Blocks say what became of a transaction, never a node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row, select

from chain_adapter.chain import (
    Chain,
    FeeAboveLimit,
    InsufficientFunds,
    InvalidAddress,
    Rejected,
    SignedTx,
)
from chain_adapter.core.payouts import Recipients, Refused, lock_order, screen
from chain_adapter.core.states import Kind, Payout, Purpose
from chain_adapter.errors import SigningRefused, StateConflict
from chain_adapter.store import addresses, payout_marks, payouts, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import move_payout
from chain_adapter.store.payouts import View
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.adoption import Adoption
from chain_adapter.workers.signing import Accounts, Attempts, Built, Signer
from chain_adapter.workers.terms import Board, ChainTerms

log = structlog.get_logger(__name__)
BATCH = 64  # first payments built in one step before the others get their turn


@dataclass(slots=True)
class Situation:
    """What one step knows: read once, decided on, acted on."""

    views: list[View]
    paused: frozenset[str]  # assets; "" is the whole chain
    blocked: frozenset[str]  # senders with an unacknowledged foreign use
    settled_height: int
    head_height: int
    taken: dict[str, frozenset[str]] = field(default_factory=dict)

    def is_paused(self, asset: str) -> bool:
        return "" in self.paused or asset in self.paused


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
        self._chain = chain
        self._store = store
        self._board = board
        self._contracts = frozenset(chain.asset_key(name) for name in terms.assets) - {b""}
        self._on_outbox = on_outbox
        self._accounts = accounts
        self._attempts = Attempts(terms, chain, accounts, store, signer)
        self._adoption = Adoption(terms, store, signer, self._attempts, chain)

    async def step(self) -> float:
        """Do what is due; returns the pause until the next look."""
        await self._adoption.run_once_a_session()
        now = await self._store.read(self._read)
        if await self._adoption.examine_foreign():
            now = await self._store.read(self._read)
        if now.settled_height < 0:
            return self._terms.poll_interval_s
        for view in now.views:
            await self._advance(view, now)
        moved = await self._pay_queued(now)
        await self._broadcast(await self._store.read(self._read))
        return 0.0 if moved else self._terms.poll_interval_s

    def _read(self, tx: Tx) -> Situation:
        name = self._terms.chain
        row = tx.one(select(schema.chains).where(schema.chains.c.chain == name))
        pauses = tx.all(select(schema.pauses.c.asset).where(schema.pauses.c.chain == name))
        foreign = schema.foreign_uses
        blocked = tx.all(
            select(foreign.c.sender).where(
                foreign.c.chain == name, foreign.c.acknowledged_by.is_(None)
            )
        )
        return Situation(
            payouts.working(tx, name),
            frozenset(p.asset for p in pauses),
            frozenset(b.sender for b in blocked),
            row.settled_height if row else -1,
            row.head_height if row else 0,
        )

    # --- what is already under way ----------------------------------------------------------------

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
        row = view.row
        if not view.open:
            await self._attempts.tell_ends(view, now.settled_height)
            await self._store.write(
                lambda tx: payouts.requeue(tx, row.id, "nothing that pays was signed")
            )
            return
        if not self._may_sign(view, now):
            return
        unsigned = [a for a in view.open if a.txid is None]
        voids = [a for a in view.open if a.purpose == Purpose.VOID]
        if voids:
            if voids[-1].txid is None:
                await self._sign(view, voids[-1])
            return
        if row.held_reason is not None or row.claim_code is not None or self._is_stale(row):
            # Nothing that pays was signed: free the lock, so that those behind it go on.
            await self._void(view, now)
        elif unsigned:
            await self._sign(view, unsigned[-1])

    async def _advance_signed(self, view: View, now: Situation) -> None:
        row = view.row
        if any(a.final and a.ok for a in view.paying):
            if row.claim_code is not None and row.held_reason is None:
                await self._hold(row, payouts.PAID_NOT_ACCEPTED, "paid_not_accepted")
            return
        if not [a for a in view.open if a.purpose != Purpose.VOID]:
            await self._attempts.tell_ends(view, now.settled_height)
            if row.claim_code is not None:
                notes = self._attempts.fee_notes(view)
                await self._store.write(
                    lambda tx: payouts.give_up(tx, row.id, notes, self._depth(row))
                )
                self._on_outbox()
            elif not view.open:
                await self._store.write(
                    lambda tx: payouts.requeue(tx, row.id, "every attempt is dead")
                )
            return
        if row.claim_code is not None and self._may_sign(view, now):
            await self._ensure_void(view, now)

    async def _advance_claimed(self, view: View, now: Situation) -> None:
        row = view.row
        if any(a.included_height is not None and a.ok for a in view.paying):
            await self._store.write(
                lambda tx: move_payout(tx, payouts.get(tx, row.id), Payout.INCLUDED, "in a block")
            )
            return
        unsigned = [a for a in view.open if a.txid is None]
        if unsigned and self._may_sign(view, now):
            await self._sign(view, unsigned[-1])
            return
        if view.open:
            return
        await self._attempts.tell_ends(view, now.settled_height)
        failed = any(a.final and not a.ok for a in view.paying)

        def unit(tx: Tx) -> None:
            current = payouts.get(tx, row.id)
            if failed:
                raise_alarm(
                    tx, "payment_failed", payouts.subject(row),
                    f"{row.symbol} {row.trans_id} was included but did not pay", row.chain,
                )  # fmt: skip
            if failed and row.tries >= 1:
                if current.held_reason is None:
                    payout_marks.hold(tx, current, "adapter", "it failed on chain twice")
                return
            payouts.requeue(tx, row.id, "every attempt is dead: one new attempt")

        if row.held_reason is None:
            await self._store.write(unit)

    async def _finish(self, view: View, now: Situation) -> None:
        row = view.row
        fee = self._terms.fee.told(payouts.included_fee(view))
        body = {**self._attempts.notice(row, ""), "fee": fee}
        await self._attempts.tell_ends(view, now.settled_height)
        await self._store.write(lambda tx: payouts.finish(tx, row.id, body, self._depth(row)))
        self._on_outbox()

    # --- first payments ---------------------------------------------------------------------------

    async def _pay_queued(self, now: Situation) -> bool:
        """Screen, build, reserve and sign what is queued; whether anything moved."""
        queued = [v for v in now.views if Payout(v.row.state) is Payout.QUEUED]
        queued.sort(key=lambda v: (v.row.kind != Kind.WITHDRAWAL, v.row.id))
        ready: list[tuple[Built, Any]] = []
        moved = False
        for view in queued[:BATCH]:
            refused = await self._screen(view)
            moved = moved or refused
            if refused or not self._may_begin(view, now):
                continue
            current = await self._store.read(partial(payouts.view_of, payout_id=view.row.id))
            if current.row.state != Payout.QUEUED or (
                current.row.amount is None and (current.row.kind == Kind.WITHDRAWAL)
            ):
                continue
            built = await self._build_first(current, now, [b for b, _ in ready])
            if built is None:
                continue
            future = self._store.submit(
                partial(self._attempts.reserve, built=built, build_height=now.settled_height)
            )
            ready.append((built, asyncio.wrap_future(future)))
            self._take(now, built.account.address, built.effect.locks)
        if not ready:
            return moved
        reserved = await asyncio.gather(*(f for _, f in ready), return_exceptions=True)
        signing = []
        for (built, _), attempt in zip(ready, reserved, strict=True):
            if isinstance(attempt, StateConflict):
                log.info("not_reserved", payout=built.view.row.id, why=str(attempt))
            elif isinstance(attempt, BaseException):
                raise attempt
            else:
                signing.append(self._sign_reserved(built.view, attempt))
        await asyncio.gather(*signing)
        self._on_outbox()
        return True

    async def _sign_reserved(self, view: View, attempt: Row[Any]) -> None:
        row = await self._store.read(lambda tx: payouts.get(tx, view.row.id))
        await self._sign(View(row, (*view.attempts, attempt), view.locks), attempt)

    async def _screen(self, view: View) -> bool:
        """Judge an order that was not judged yet; whether it was refused."""
        row = view.row
        if row.claim_code is not None and not row.ever_claimed:
            notes = self._attempts.fee_notes(view)

            def refuse(tx: Tx) -> None:
                payouts.refuse(tx, payouts.get(tx, row.id), row.reason or "refused")
                payouts.put_fee_notes(tx, row, notes, self._depth(row))

            await self._store.write(refuse)
            self._on_outbox()
            return True
        if row.kind != Kind.WITHDRAWAL or row.amount is not None:
            return False
        asset = self._terms.assets[row.asset]
        recipients = await self._recipients(row)
        verdict = screen(
            address_to=row.address_to,
            amount=row.amount_told,
            memo=row.memo_told,
            decimals=asset.decimals,
            memos=self._chain.info.memos,
            parse_address=self._chain.parse_address,
            address_key=self._chain.address_key,
            recipients=recipients,
        )
        if isinstance(verdict, Refused):
            reason = verdict.reason
            await self._store.write(lambda tx: payouts.refuse(tx, payouts.get(tx, row.id), reason))
            log.info("refused", symbol=row.symbol, trans_id=row.trans_id, why=reason)
            self._on_outbox()
            return True
        await self._store.write(
            lambda tx: payouts.screened(tx, row, verdict.to, verdict.amount, verdict.memo)
        )
        return False

    async def _recipients(self, row: Row[Any]) -> Recipients:
        """Who may not be paid, as far as this order is concerned."""
        try:
            key = self._chain.address_key(self._chain.parse_address(row.address_to))
        except InvalidAddress:
            return Recipients(frozenset(), self._contracts)
        known = await self._store.read(lambda tx: addresses.find(tx, self._terms.chain, [key]))
        return Recipients(frozenset({key} if known else ()), self._contracts)

    async def _build_first(
        self, view: View, now: Situation, before: Sequence[Built]
    ) -> Built | None:
        """Build, and see that hot funds cover it beside everything that is under way."""
        row = view.row
        account = self._attempts.account_of(row)
        taken = await self._taken(now, account.address)
        subject = payouts.subject(row)
        try:
            built = await self._attempts.build(view, Purpose.PAY, taken)
            await self._check_funds(built, now, before)
        except InsufficientFunds as error:
            await self._wait(row, f"the hot wallet is short of {error.asset}", "hot_wallet_short")
        except FeeAboveLimit as error:
            log.info("fee_above_cap", payout=row.id, why=str(error))
            await self._wait(row, "the fee is above the cap", "fee_above_cap")
        except Rejected as error:
            if not error.for_good:
                await self._wait(row, f"refused by the chain for now: {error.why}", None)
            elif row.ever_claimed:
                await self._hold(row, f"claimed, but cannot be paid: {error.why}", None)
            else:
                why = error.why
                await self._store.write(lambda tx: payouts.refuse(tx, payouts.get(tx, row.id), why))
                self._on_outbox()
        else:
            if row.reason:
                await self._store.write(
                    lambda tx: [
                        close_alarm(tx, code, subject, row.chain)
                        for code in ("hot_wallet_short", "fee_above_cap")
                    ]
                )
            return built
        return None

    async def _check_funds(self, built: Built, now: Situation, before: Sequence[Built]) -> None:
        """Raise `InsufficientFunds` unless the balance covers this and what is under way."""
        if self._chain.info.family == "coin":
            return  # the coins offered are the funds, and each is reserved by its lock
        sender = built.account.address
        fee_asset = self._terms.fee_asset
        need: dict[str, int] = {fee_asset: built.effect.max_fee}
        for payment in built.intent.payments:
            need[payment.asset] = need.get(payment.asset, 0) + (payment.amount or 0)
        under_way = dict.fromkeys(need, 0)
        for view in now.views:
            if view.row.sender != sender or Payout(view.row.state) not in (
                Payout.RESERVED,
                Payout.SIGNED,
                Payout.CLAIMED,
            ):
                continue
            _add(under_way, view.row.asset, int(view.row.amount or 0))
            _add(under_way, fee_asset, max((int(a.max_fee) for a in view.open), default=0))
        for other in before:
            if other.account.address == sender:
                for payment in other.intent.payments:
                    _add(under_way, payment.asset, payment.amount or 0)
                _add(under_way, fee_asset, other.effect.max_fee)
        for asset, amount in need.items():
            have = (await self._chain.balance(sender, asset)).amount
            if sender == self._accounts.hot(self._terms.chain).address:
                self._board.balances[self._terms.chain, asset] = have
            short_by = amount + under_way[asset] - have
            if short_by > 0:
                raise InsufficientFunds(asset, short_by)

    # --- voids, replacements, sending -------------------------------------------------------------

    async def _ensure_void(self, view: View, now: Situation) -> None:
        voids = [a for a in view.open if a.purpose == Purpose.VOID]
        if not voids:
            if any(lock.used_txid is None for lock in view.locks):
                await self._void(view, now)
        elif voids[-1].txid is None:
            await self._sign(view, voids[-1])

    async def _void(self, view: View, now: Situation) -> None:
        await self._again(view, now, Purpose.VOID)

    async def _again(self, view: View, now: Situation, purpose: Purpose) -> None:
        """Another attempt under the same locks."""
        row = view.row
        sender = row.sender or self._attempts.account_of(row).address
        try:
            built = await self._attempts.build(view, purpose, await self._taken(now, sender))
        except (FeeAboveLimit, InsufficientFunds) as error:
            code = "fee_above_cap" if isinstance(error, FeeAboveLimit) else "hot_wallet_short"
            log.info("not_built", payout=row.id, purpose=purpose, why=str(error))
            await self._wait(row, f"{purpose} waits: {code}", code)
            return
        except Rejected as error:
            log.warning("not_built", payout=row.id, purpose=purpose, why=error.why)
            return
        attempt = await self._store.write(
            lambda tx: self._attempts.reserve(tx, built, now.settled_height)
        )
        await self._sign(View(row, (*view.attempts, attempt), view.locks), attempt)

    async def _broadcast(self, now: Situation) -> None:
        """Send what may be sent, in lock order a sender; replace what is stuck."""
        lines: dict[str, list[View]] = {}
        for view in now.views:
            if view.row.sender and view.attempts and view.row.state != Payout.INCLUDED:
                lines.setdefault(view.row.sender, []).append(view)
        for line in lines.values():
            line.sort(key=_line_key)
            first = True
            for view in line:
                sendable = self._sendable(view)
                if not sendable:
                    if _line_key(view)[1] >= 0 and view.open:
                        break  # nothing of that account behind it is sent
                    continue
                await self._send(sendable, now)
                if first or _line_key(view)[1] < 0:
                    await self._replace_if_stuck(view, sendable, now)
                first = False

    def _sendable(self, view: View) -> list[Row[Any]]:
        """Signed, open attempts that may be on the wire: voids, and payments once claimed."""
        claimed = Payout(view.row.state) is Payout.CLAIMED
        return [
            a
            for a in view.open
            if a.raw is not None
            and a.included_height is None
            and (a.purpose == Purpose.VOID or claimed)
        ]

    async def _send(self, attempts: Sequence[Row[Any]], now: Situation) -> None:
        head = self._board.heads.get(self._terms.chain, now.head_height)
        for attempt in reversed(attempts):
            if attempt.sent_at is not None and (attempt.resent_height or 0) >= head:
                return
            said: str | None = None
            try:
                await self._chain.broadcast(SignedTx(attempt.txid, bytes(attempt.raw)))
            except Rejected as error:
                said = error.why
            await self._store.write(
                partial(payouts.mark_sent, attempt_id=attempt.id, head_height=head, node_said=said)
            )
            if said is None:
                return

    async def _replace_if_stuck(
        self, view: View, sendable: Sequence[Row[Any]], now: Situation
    ) -> None:
        if not self._may_sign(view, now) or any(a.txid is None for a in view.open):
            return
        newest = max(a.signed_at or 0 for a in sendable)
        if not any(a.sent_at for a in sendable):
            return
        waited_s = self._store.clock.now().timestamp() - newest / 1_000_000
        if waited_s < self._terms.replace_after_s or not view.locks:
            return
        is_void = any(a.purpose == Purpose.VOID for a in sendable)
        await self._again(view, now, Purpose.VOID if is_void else Purpose.REPLACE)

    # --- small things -----------------------------------------------------------------------------

    async def _sign(self, view: View, attempt: Row[Any]) -> None:
        row = view.row
        try:
            await self._attempts.sign(row, attempt, view.open)
        except SigningRefused as error:
            log.warning("signing_refused", payout=row.id, why=error.why)
            if row.held_reason is None:
                await self._hold(row, f"the signer refused: {error.why}", "signing_refused")
        else:
            self._on_outbox()

    def _may_sign(self, view: View, now: Situation) -> bool:
        sender = view.row.sender or self._attempts.account_of(view.row).address
        return not now.is_paused(view.row.asset) and sender not in now.blocked

    def _may_begin(self, view: View, now: Situation) -> bool:
        row = view.row
        if not self._may_sign(view, now) or row.held_reason is not None:
            return False
        if row.kind != Kind.WITHDRAWAL or row.ever_claimed:
            return True
        asset = self._terms.assets[row.asset]
        return asset.enabled and not self._is_stale(row)

    def _is_stale(self, row: Row[Any]) -> bool:
        """Whether the newest page shows that the platform no longer asks for it."""
        if row.kind != Kind.WITHDRAWAL or row.ever_claimed:
            return False
        if row.listed_session != self._store.session:
            return True
        page = self._board.pages.get(row.symbol)
        return page is not None and not page.full and (row.listed_at or 0) < page.asked_at

    async def _taken(self, now: Situation, sender: str) -> frozenset[str]:
        if sender not in now.taken:
            now.taken[sender] = await self._store.read(
                lambda tx: payouts.reserved_locks(tx, self._terms.chain, sender)
            )
        return now.taken[sender]

    def _take(self, now: Situation, sender: str, locks: Sequence[str]) -> None:
        now.taken[sender] = now.taken.get(sender, frozenset()) | frozenset(locks)

    def _depth(self, row: Row[Any]) -> int:
        return self._terms.assets[row.asset].depth

    async def _wait(self, row: Row[Any], reason: str, code: str | None) -> None:
        def unit(tx: Tx) -> None:
            payouts.waits(tx, payouts.get(tx, row.id), reason)
            if code is not None:
                raise_alarm(
                    tx, code, payouts.subject(row), f"{row.symbol} {row.trans_id}: {reason}",
                    row.chain,
                )  # fmt: skip

        if row.reason != reason:
            await self._store.write(unit)

    async def _hold(self, row: Row[Any], reason: str, code: str | None) -> None:
        def unit(tx: Tx) -> None:
            payout_marks.hold(tx, payouts.get(tx, row.id), "adapter", reason)
            if code is not None:
                raise_alarm(
                    tx, code, payouts.subject(row), f"{row.symbol} {row.trans_id}: {reason}",
                    row.chain,
                )  # fmt: skip

        await self._store.write(unit)


def _line_key(view: View) -> tuple[str, int, str]:
    """Where a payout stands in its account's line: its lowest lock."""
    locks = [lock for a in view.attempts for lock in json.loads(a.locks)]
    return min((lock_order(lock) for lock in locks), default=("", -1, ""))


def _add(sums: dict[str, int], asset: str, amount: int) -> None:
    if asset in sums:
        sums[asset] += amount
