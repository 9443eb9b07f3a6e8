"""QUEUED to SIGNED: screen, funds, build, reserve, sign; what waits together goes in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row

from chain_adapter.chain import (
    FeeAboveLimit,
    InsufficientFunds,
    InvalidAddress,
    Rejected,
    Unavailable,
)
from chain_adapter.core.payouts import Recipients, Refused, screen
from chain_adapter.core.states import Kind, Payout, Purpose
from chain_adapter.core.treasury import worth_collecting
from chain_adapter.errors import StateConflict
from chain_adapter.store import addresses, payout_marks, payouts, payouts_end, treasury
from chain_adapter.store.payouts import View
from chain_adapter.store.store import Tx
from chain_adapter.workers.desk import Desk, Situation, end_waits
from chain_adapter.workers.signing import Built

log = structlog.get_logger(__name__)
MOST_TOP_UPS = 3  # a sweep: fees may rise between top-up and sweep, but not for ever
MOST_TRIES = 2  # of a payout of our own that fails on chain
BATCH = 64  # built in one step before the others get their turn
UNANSWERED_MOST = 2  # builds without an answer in one step: then the node is the trouble
ASK_AGAIN_S = 3.0  # between two questions about what the signer keeps waiting
UNDER_WAY = (Payout.RESERVED, Payout.SIGNED, Payout.CLAIMED)


class FirstPayments:
    """Guarantees: everything that can fail, the signer's policy too, is tried before a lock is
    taken; funds cover what is under way beside what is begun. Does not guarantee an order between
    payouts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        names = desk.terms.assets
        self._contracts = frozenset(desk.chain.asset_key(name) for name in names) - {b""}
        self._tried: dict[int, int] = {}  # payout -> turn in which it was last built in vain
        self._turn = 0
        self._refused_at: dict[int, float] = {}  # payout -> when the signer last let it wait

    async def run(self, now: Situation) -> bool:
        """Begin what can be begun; whether anything moved."""
        begun: list[Built] = []
        moved = False
        unanswered = 0
        for listed in self._in_turn(now)[:BATCH]:
            view = await self._screen(listed)
            if view is None:
                moved = True
                continue
            if not self._may_begin(view, now):
                continue
            try:
                built = await self._build(view, now, begun)
            except Unavailable as error:
                log.warning("not_built", payout=view.row.id, why=str(error))
                built = None
                unanswered += 1
            if built is None:
                self._tried[view.row.id] = self._turn
                if unanswered >= UNANSWERED_MOST:
                    break
                continue
            self._tried.pop(view.row.id, None)
            begun.append(built)
            self._desk.take(now, built.account.address, built.effect.locks)
        allowed, put_back = await self._allowed(begun, now)
        if not allowed:
            return moved or put_back
        reserve = self._desk.attempts.reserve
        units = [partial(reserve, built=one, build_height=now.settled_height) for one in allowed]
        reserved = await asyncio.gather(
            *(asyncio.wrap_future(self._desk.store.submit(unit)) for unit in units),
            return_exceptions=True,
        )
        signing = []
        for built, attempt in zip(allowed, reserved, strict=True):
            if isinstance(attempt, StateConflict):
                log.info("not_reserved", payout=built.view.row.id, why=str(attempt))
            elif isinstance(attempt, BaseException):
                raise attempt
            else:
                signing.append(self._sign(built.view, attempt))
        await asyncio.gather(*signing)
        return True

    async def _allowed(self, begun: Sequence[Built], now: Situation) -> tuple[list[Built], bool]:
        """What the signer would sign. What it would not waits, or is held, with no lock taken;
        what was built behind it for the same sender counted on its lock: whether there was such,
        which is to be built anew."""
        if not begun:
            return [], False
        desk = self._desk
        verdicts = await desk.attempts.judge(begun, now.settled_height)
        allowed: list[Built] = []
        gaps: set[str] = set()
        put_back = False
        for built, refusal in zip(begun, verdicts, strict=True):
            row = built.view.row
            if refusal is not None:
                gaps.add(built.account.address)
                self._refused_at[row.id] = desk.store.clock.monotonic()
                await desk.not_signed(row, refusal)
            elif built.account.address in gaps:
                put_back = True
            else:
                allowed.append(built)
                self._refused_at.pop(row.id, None)
                if row.reason:
                    await desk.store.write(partial(end_waits, row=row))
        return allowed, put_back

    def _asks_too_soon(self, row: Row[Any]) -> bool:
        at = self._refused_at.get(row.id)
        return at is not None and self._desk.store.clock.monotonic() - at < ASK_AGAIN_S

    def _in_turn(self, now: Situation) -> list[View]:
        """What can be judged or begun now, withdrawals first; what was tried in vain comes after
        what was not, so that a batch of unpayable ones never stands before the rest. What the
        signer keeps waiting comes last of all: nothing is built behind it."""
        queued = [
            view
            for view in now.views
            if Payout(view.row.state) is Payout.QUEUED
            and (self._is_to_judge(view.row) or self._may_begin(view, now))
            and not self._asks_too_soon(view.row)
        ]
        self._turn += 1
        waiting = {view.row.id for view in queued}
        self._tried = {key: turn for key, turn in self._tried.items() if key in waiting}
        known = {view.row.id for view in now.views}
        self._refused_at = {key: at for key, at in self._refused_at.items() if key in known}
        queued.sort(
            key=lambda v: (
                v.row.id in self._refused_at, v.row.kind != Kind.WITHDRAWAL,
                self._tried.get(v.row.id, 0), v.row.id,
            )
        )  # fmt: skip
        return queued

    @staticmethod
    def _is_to_judge(row: Row[Any]) -> bool:
        """Not screened yet, or refused already: neither needs funds, fees or a listing."""
        refused = row.claim_code is not None and not row.ever_claimed
        return refused or (row.kind == Kind.WITHDRAWAL and row.amount is None)

    async def _sign(self, view: View, attempt: Row[Any]) -> None:
        row = await self._desk.store.read(partial(payouts.get, payout_id=view.row.id))
        await self._desk.sign(View(row, (*view.attempts, attempt), view.locks), attempt)

    def _may_begin(self, view: View, now: Situation) -> bool:
        row = view.row
        if not self._desk.may_sign(row, now) or row.held_reason is not None:
            return False
        if row.kind != Kind.WITHDRAWAL or row.ever_claimed:
            return True
        return self._desk.terms.assets[row.asset].enabled and not self._desk.is_stale(row)

    # --- judging ----------------------------------------------------------------------------------

    async def _screen(self, view: View) -> View | None:
        """Judge an order that was not judged yet; None when it was refused."""
        desk, row = self._desk, view.row
        if row.claim_code is not None and not row.ever_claimed:
            await self._refuse_with_fees(view, row.reason or "refused")
            return None
        if row.kind != Kind.WITHDRAWAL:
            if row.tries >= MOST_TRIES:
                await self._refuse_with_fees(view, "failed on chain")
                return None
            return view
        if row.amount is not None:
            return view
        verdict = screen(
            address_to=row.address_to,
            amount=row.amount_told,
            memo=row.memo_told,
            decimals=desk.terms.assets[row.asset].decimals,
            memos=desk.chain.info.memos or desk.chain.info.pays_memos,
            parse_address=desk.chain.parse_address,
            address_key=desk.chain.address_key,
            recipients=await self._recipients(row),
        )
        if isinstance(verdict, Refused):
            await self._refuse(row, verdict.reason)
            return None

        def keep(tx: Tx) -> View:
            payouts.screened(tx, row, verdict.to, verdict.amount, verdict.memo)
            return payouts.view_of(tx, row.id)

        return await desk.store.write(keep)

    async def _refuse_with_fees(self, view: View, reason: str) -> None:
        """Refuse what burnt fees already: they are told as internal ones."""
        desk, row = self._desk, view.row
        notes = desk.attempts.fee_notes(view)

        def unit(tx: Tx) -> None:
            payouts.refuse(tx, payouts.get(tx, row.id), reason)
            payouts_end.put_fee_notes(tx, row, notes, desk.depth(row))

        await desk.store.write(unit)
        desk.on_outbox()

    async def _refuse(self, row: Row[Any], reason: str) -> None:
        await self._desk.store.write(lambda tx: payouts.refuse(tx, payouts.get(tx, row.id), reason))
        log.info("refused", symbol=row.symbol, trans_id=row.trans_id, why=reason)
        self._desk.on_outbox()

    async def _recipients(self, row: Row[Any]) -> Recipients:
        """Who may not be paid, as far as this order is concerned."""
        chain = self._desk.chain
        try:
            key = chain.address_key(chain.parse_address(row.address_to))
        except InvalidAddress:
            return Recipients(frozenset(), self._contracts)
        known = await self._desk.store.read(
            partial(addresses.find, chain=self._desk.terms.chain, keys=[key])
        )
        return Recipients(frozenset({key} if known else ()), self._contracts)

    # --- building ---------------------------------------------------------------------------------

    async def _build(self, view: View, now: Situation, before: Sequence[Built]) -> Built | None:
        """Build, and see that funds cover it beside everything that is under way."""
        desk, row = self._desk, view.row
        taken = await desk.taken(now, desk.sender_of(row))
        try:
            built = await desk.attempts.build(view, Purpose.PAY, taken)
            if row.kind == Kind.SWEEP and (why := await self._not_worth(built, now)):
                await self._refuse(row, why)
                return None
            await self._check_funds(built, now, before)
        except InsufficientFunds as error:
            await self._short(row, error)
        except FeeAboveLimit as error:
            log.info("fee_above_cap", payout=row.id, why=str(error))
            await desk.wait(row, "the fee is above the cap", "fee_above_cap")
        except Rejected as error:
            if not error.for_good:
                log.info("not_built", payout=row.id, why=error.why)
                await desk.wait(row, "the chain refuses it for now", None)
            elif row.ever_claimed:
                await desk.hold(row, f"claimed, but cannot be paid: {error.why}", None)
            else:
                await self._refuse(row, error.why)
        else:
            return built
        return None

    async def _not_worth(self, built: Built, now: Situation) -> str | None:
        """Fees may have risen, or coins moved, since the sweep was planned; it is planned anew."""
        row, terms = built.view.row, self._desk.terms
        asset = terms.assets[row.asset]
        if self._desk.chain.info.family == "coin" and asset.is_native:
            balance = sum(coin.amount for coin in built.intent.coins)
        else:
            balance = await self._desk.balance(now, built.account.address, row.asset)
        return worth_collecting(terms.collecting(asset), balance, built.effect.max_fee)

    async def _short(self, row: Row[Any], error: InsufficientFunds) -> None:
        """Not enough: wait with an alarm; a token sweep gets its one gas top-up instead."""
        desk = self._desk
        if row.kind == Kind.TOP_UP:
            await desk.wait(row, f"the gas address is short of {error.asset}", "gas_short")
        elif row.kind != Kind.SWEEP:
            await desk.wait(row, f"the hot wallet is short of {error.asset}", "hot_wallet_short")
        elif error.asset == desk.terms.fee_asset != row.asset:
            await desk.store.write(partial(self._top_up, sweep=row, short_by=error.short_by))
        else:
            await self._refuse(row, f"there is less {error.asset} than was to be collected")

    def _top_up(self, tx: Tx, sweep: Row[Any], short_by: int) -> None:
        """Queue the top-up of a sweep, exact to its need, one at a time and not for ever."""
        made = treasury.top_ups_of(tx, sweep)
        if any(treasury.is_under_way(one) for one in made):
            return
        if len(made) >= MOST_TOP_UPS:
            current = payouts.get(tx, sweep.id)
            payouts.refuse(tx, current, f"still short of gas after {len(made)} top-ups")
            return
        fee = self._desk.terms.fee
        gas = self._desk.accounts.gas(sweep.chain)
        treasury.add(
            tx, kind=Kind.TOP_UP, stem=treasury.top_up_stem(sweep), chain=sweep.chain,
            asset=fee.asset, symbol=fee.symbol, decimals=fee.decimals, sender=gas.address,
            account=gas.account, idx=gas.index, to=sweep.sender, amount=short_by,
        )  # fmt: skip
        payout_marks.waits(tx, payouts.get(tx, sweep.id), "its gas top-up is under way")

    async def _check_funds(self, built: Built, now: Situation, before: Sequence[Built]) -> None:
        """Raise `InsufficientFunds` unless the balance covers this and what is under way."""
        desk = self._desk
        if desk.chain.info.family == "coin":
            return  # the coins offered are the funds, and each is reserved by its lock
        sender, fee_asset = built.account.address, desk.terms.fee_asset
        need: dict[str, int] = {fee_asset: built.effect.max_fee}
        for payment in built.intent.payments:
            need[payment.asset] = need.get(payment.asset, 0) + (payment.amount or 0)
        for view in now.views:
            if view.row.sender == sender and Payout(view.row.state) in UNDER_WAY:
                _add(need, view.row.asset, int(view.row.amount or 0))
                _add(need, fee_asset, max((int(a.max_fee) for a in view.open), default=0))
        for other in before:
            if other.account.address == sender:
                for payment in other.intent.payments:
                    _add(need, payment.asset, payment.amount or 0)
                _add(need, fee_asset, other.effect.max_fee)
        for asset, amount in need.items():
            have = await desk.balance(now, sender, asset)
            if amount > have:
                raise InsufficientFunds(asset, amount - have)


def _add(sums: dict[str, int], asset: str, amount: int) -> None:
    if asset in sums:
        sums[asset] += amount
