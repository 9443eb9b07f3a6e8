"""What the payer's parts share: the situation of one step, and the small things all of them do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Row, select

from chain_adapter.chain import Chain, ChainError, FeeAboveLimit, InsufficientFunds, Rejected
from chain_adapter.core.states import Kind, Purpose
from chain_adapter.errors import SigningRefused, SigningWaits
from chain_adapter.store import payout_marks, payouts, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.payouts import View
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.signing import Accounts, Attempts, Signer
from chain_adapter.workers.terms import Board, ChainTerms

log = structlog.get_logger(__name__)
WAITS = {"switch": "signing_stopped", "approval": "approval_needed", "policy": "policy_limit"}
"""What the signer waits for -> the alarm that says so."""
SIGNER = "signer"  # subject of the alarm about the kill switch: one for all payouts


@dataclass(slots=True)
class Situation:
    """What one step knows: read once, decided on, acted on."""

    views: list[View]
    paused: frozenset[str]  # assets; "" is the whole chain
    blocked: frozenset[str]  # senders with an unacknowledged foreign use
    settled_height: int
    head_height: int
    taken: dict[str, frozenset[str]] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)

    def is_paused(self, asset: str) -> bool:
        return "" in self.paused or asset in self.paused


class Desk:
    """Terms, chain, books and signer of one chain's payouts."""

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
        self.terms = terms
        self.chain = chain
        self.accounts = accounts
        self.store = store
        self.board = board
        self.on_outbox = on_outbox
        self.attempts = Attempts(terms, chain, accounts, store, signer)
        self._balances_at = -1

    def read(self, tx: Tx) -> Situation:
        """Everything that waits on this chain, in one transaction."""
        name = self.terms.chain
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

    async def refresh_balances(self, now: Situation) -> None:
        """Hot balances once a head, for notifications; the last known one does until then."""
        head = self.board.heads.get(self.terms.chain, now.head_height)
        if head == self._balances_at:
            return
        hot = self.accounts.hot(self.terms.chain).address
        try:
            for asset in self.terms.assets:
                balance = await self.chain.balance(hot, asset)
                self.board.balances[self.terms.chain, asset] = balance.amount
        except ChainError as error:
            log.debug("no_balance", chain=self.terms.chain, error=str(error))
            return
        self._balances_at = head

    async def balance(self, now: Situation, address: str, asset: str) -> int:
        """Base units at an address, asked once a step."""
        if (address, asset) not in now.balances:
            now.balances[address, asset] = (await self.chain.balance(address, asset)).amount
        return now.balances[address, asset]

    def sender_of(self, row: Row[Any]) -> str:
        """The address that pays."""
        return row.sender or self.attempts.account_of(row).address

    def may_sign(self, row: Row[Any], now: Situation) -> bool:
        """Neither paused nor blocked by a foreign use of the key."""
        return not now.is_paused(row.asset) and self.sender_of(row) not in now.blocked

    def is_stale(self, row: Row[Any]) -> bool:
        """Whether the newest page shows that the platform no longer asks for it."""
        if row.kind != Kind.WITHDRAWAL or row.ever_claimed:
            return False
        if row.listed_session != self.store.session:
            return True
        page = self.board.pages.get(row.symbol)
        return page is not None and not page.full and (row.listed_at or 0) < page.asked_at

    def depth(self, row: Row[Any]) -> int:
        """The platform's confirmations for the payout's asset."""
        return self.terms.assets[row.asset].depth

    async def taken(self, now: Situation, sender: str) -> frozenset[str]:
        """Locks of an account that payouts hold."""
        if sender not in now.taken:
            now.taken[sender] = await self.store.read(
                lambda tx: payouts.reserved_locks(tx, self.terms.chain, sender, now.settled_height)
            )
        return now.taken[sender]

    def take(self, now: Situation, sender: str, locks: Sequence[str]) -> None:
        """Count locks as held before their commit."""
        now.taken[sender] = now.taken.get(sender, frozenset()) | frozenset(locks)

    async def sign(self, view: View, attempt: Row[Any]) -> None:
        """Sign a reserved attempt; a refusal holds the payout, unless it only has to wait."""
        row = view.row
        try:
            await self.attempts.sign(row, attempt, view.open)
        except SigningRefused as error:
            await self.not_signed(row, error)
        else:
            if row.reason is not None:
                await self.store.write(lambda tx: end_waits(tx, row))
            self.on_outbox()

    async def sign_or_void(self, view: View, now: Situation, attempt: Row[Any]) -> None:
        """Sign what was reserved for a first payment. What the policy forbids by now, after it
        was judged, gives its lock up at once, so that nothing behind it waits for people."""
        row = view.row
        try:
            await self.attempts.sign(row, attempt, view.open)
        except SigningWaits as error:
            await self.not_signed(row, error)
            if error.waits_for != "switch":
                await self.again(view, now, Purpose.VOID)
        except SigningRefused as error:
            await self.not_signed(row, error)
        else:
            self.on_outbox()

    async def not_signed(self, row: Row[Any], error: SigningRefused) -> None:
        """The signer's no: what waits for people or time waits, anything else is held."""
        if isinstance(error, SigningWaits):
            why = error.why.partition(", this makes")[0]  # a sum that moves with the window
            await self.wait(row, f"waits for {error.waits_for}: {why}", WAITS[error.waits_for])
            return
        log.warning("signing_refused", payout=row.id, why=error.why)
        if row.held_reason is None:
            await self.hold(row, f"the signer refused: {error.why}", "signing_refused")

    async def again(self, view: View, now: Situation, purpose: Purpose) -> None:
        """Another attempt under the same locks: a void or a replacement."""
        row = view.row
        if not view.locks:
            return  # nothing to share: only time ends what was signed
        try:
            taken = await self.taken(now, self.sender_of(row))
            built = await self.attempts.build(view, purpose, taken)
        except (FeeAboveLimit, InsufficientFunds) as error:
            code = "fee_above_cap" if isinstance(error, FeeAboveLimit) else "hot_wallet_short"
            log.info("not_built", payout=row.id, purpose=purpose, why=str(error))
            await self.wait(row, f"{purpose} waits: {code}", code)
            return
        except Rejected as error:
            log.warning("not_built", payout=row.id, purpose=purpose, why=error.why)
            return
        attempt = await self.store.write(
            lambda tx: self.attempts.reserve(tx, built, now.settled_height)
        )
        await self.sign(View(row, (*view.attempts, attempt), view.locks), attempt)

    async def wait(self, row: Row[Any], reason: str, code: str | None) -> None:
        """Remember why nothing happens yet, with an alarm where somebody can help."""
        if row.reason == reason:
            return

        def unit(tx: Tx) -> None:
            payout_marks.waits(tx, payouts.get(tx, row.id), reason)
            self._alarm(tx, row, reason, code)

        await self.store.write(unit)

    async def hold(self, row: Row[Any], reason: str, code: str | None) -> None:
        """Mark it as waiting for a person."""

        def unit(tx: Tx) -> None:
            current = payouts.get(tx, row.id)
            if current.held_reason is None:
                payout_marks.hold(tx, current, "adapter", reason)
            self._alarm(tx, row, reason, code)

        await self.store.write(unit)

    @staticmethod
    def _alarm(tx: Tx, row: Row[Any], reason: str, code: str | None) -> None:
        if code is not None:
            text = f"{row.symbol} {row.trans_id}: {reason}"
            if code == WAITS["switch"]:
                raise_alarm(tx, code, SIGNER, reason)
            else:
                raise_alarm(tx, code, payouts.subject(row), text, row.chain)


def end_waits(tx: Tx, row: Row[Any]) -> None:
    """Nothing keeps it back any more."""
    if row.reason is not None and (row.reason.startswith("waits for ") or " waits: " in row.reason):
        payout_marks.waits_no_more(tx, row)
    for code in payouts.WAITING:
        close_alarm(tx, code, payouts.subject(row), row.chain)
    close_alarm(tx, WAITS["switch"], SIGNER)
