"""A nonce that nobody holds, below open ones of its account, keeps those from landing: it is used.

The front of a line waits for long -> what lock would a new payment get? -> lower than one that is
held: a payment of one base unit between addresses of ours is queued, and takes it like any other.
"""

from __future__ import annotations

import secrets
from functools import partial

import structlog

from chain_adapter.chain import ChainError, Intent, Payment
from chain_adapter.core.payouts import lock_order
from chain_adapter.core.states import Kind, Payout
from chain_adapter.store import treasury
from chain_adapter.workers.desk import Desk, Situation
from chain_adapter.workers.signing import Account

log = structlog.get_logger(__name__)


class Gaps:
    """Guarantees: a gap below an open lock of the hot or the gas account is filled once it has
    kept a line waiting for half the time to a replacement. Does not guarantee who fills it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._looked_at: dict[str, int] = {}  # sender -> head of the last question

    async def fill(self, now: Situation) -> None:
        """Look at each line that waits, once a head."""
        chain = self._desk.terms.chain
        hot, gas = self._desk.accounts.hot(chain), self._desk.accounts.gas(chain)
        for sender, to, kind in ((hot, gas, Kind.TOP_UP), (gas, hot, Kind.SWEEP)):
            if self._waits(sender.address, now) and not self._has_asked(sender.address, now):
                await self._fill(sender, to, kind, now)

    def _waits(self, sender: str, now: Situation) -> bool:
        """Whether something of this line was sent long ago and is in no block."""
        limit_us = self._desk.store.clock.now().timestamp() * 1_000_000
        limit_us -= self._desk.terms.replace_after_s / 2 * 1_000_000
        return sender not in now.blocked and any(
            view.row.sender == sender
            and Payout(view.row.state) is not Payout.INCLUDED
            and any(a.sent_at and a.sent_at < limit_us and not a.included_height for a in view.open)
            for view in now.views
        )

    def _has_asked(self, sender: str, now: Situation) -> bool:
        head = self._desk.board.heads.get(self._desk.terms.chain, now.head_height)
        before = self._looked_at.get(sender)
        self._looked_at[sender] = head
        return before == head

    async def _fill(self, sender: Account, to: Account, kind: Kind, now: Situation) -> None:
        desk = self._desk
        if now.is_paused(desk.terms.fee_asset):
            return
        taken = await desk.taken(now, sender.address)
        held = [lock_order(lock)[1] for lock in taken]
        if max(held, default=-1) < 0:
            return  # its locks are no numbers
        intent = Intent(
            sender=sender.address,
            public_key=sender.public_key,
            payments=(Payment(desk.terms.fee_asset, to.address, 1),),
            fee_limit=desk.terms.fee_cap,
            reserved=taken,
            salt=secrets.token_bytes(16),
        )
        try:
            locks = desk.chain.inspect(await desk.chain.build(intent)).locks
        except ChainError as error:
            log.debug("gap_unknown", sender=sender.address, why=str(error))
            return
        if not locks or not 0 <= lock_order(locks[0])[1] < max(held):
            return
        log.warning("gap", sender=sender.address, lock=locks[0])
        fee = desk.terms.fee
        await desk.store.write(
            partial(
                treasury.add, kind=kind, stem=f"gap:{locks[0]}", chain=desk.terms.chain,
                asset=fee.asset, symbol=fee.symbol, decimals=fee.decimals, sender=sender.address,
                account=sender.account, idx=sender.index, to=to.address, amount=1,
            )
        )  # fmt: skip
