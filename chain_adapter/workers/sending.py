"""What is signed and claimed goes out, in lock order a sender, the same bytes on every new head.

The lowest of a line that is not included for too long is replaced under the same locks with a
higher fee; a line stops behind whatever may not be sent yet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row

from chain_adapter.chain import Rejected, SignedTx, Unavailable
from chain_adapter.core.payouts import lock_order
from chain_adapter.core.states import Payout, Purpose
from chain_adapter.store import payouts
from chain_adapter.store.payouts import View
from chain_adapter.workers.desk import Desk, Situation

log = structlog.get_logger(__name__)


class Sending:
    """Guarantees: only stored bytes; nothing before its claim is acknowledged, but voids."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, now: Situation) -> None:
        """Send what may be sent; replace what is stuck."""
        lines: dict[str, list[View]] = {}
        for view in now.views:
            if view.row.sender and view.open and view.row.state != Payout.INCLUDED:
                lines.setdefault(view.row.sender, []).append(view)
        for line in lines.values():
            line.sort(key=_place)
            first = True
            for view in line:
                sendable = _sendable(view)
                ordered = _place(view)[1] >= 0
                if not sendable:
                    if ordered and all(a.included_height is None for a in view.open):
                        break  # nothing of that account behind it is sent
                    continue  # its lock is used: it stands before nobody
                if not await self._send(sendable, now) and ordered:
                    break
                if first or not ordered:
                    await self._replace_if_stuck(view, sendable, now)
                first = False

    async def _send(self, attempts: Sequence[Row[Any]], now: Situation) -> bool:
        """The newest attempt; an older one only where the newest is refused. Whether the nodes
        could be asked: without an answer its line waits, the others go on."""
        desk = self._desk
        head = desk.board.heads.get(desk.terms.chain, now.head_height)
        for attempt in reversed(attempts):
            if attempt.sent_at is not None and (attempt.resent_height or 0) >= head:
                return True
            said: str | None = None
            try:
                await desk.chain.broadcast(SignedTx(attempt.txid, bytes(attempt.raw)))
            except Rejected as error:
                said = error.why
            except Unavailable as error:
                log.warning("not_broadcast", txid=attempt.txid, why=str(error))
                return False
            await desk.store.write(
                partial(payouts.mark_sent, attempt_id=attempt.id, head_height=head, node_said=said)
            )
            if said is None:
                return True
        return True

    async def _replace_if_stuck(
        self, view: View, sendable: Sequence[Row[Any]], now: Situation
    ) -> None:
        desk = self._desk
        if not desk.may_sign(view.row, now) or any(a.txid is None for a in view.open):
            return
        if not view.locks or not any(a.sent_at for a in sendable):
            return
        newest = max(a.signed_at or 0 for a in sendable)
        waited_s = desk.store.clock.now().timestamp() - newest / 1_000_000
        if waited_s >= desk.terms.replace_after_s:
            is_void = any(a.purpose == Purpose.VOID for a in sendable)
            if view.row.held_reason is not None and not is_void:
                return  # a mark stops the signing of what pays, never of what is sent
            await desk.again(view, now, Purpose.VOID if is_void else Purpose.REPLACE)


def _sendable(view: View) -> list[Row[Any]]:
    """Signed, open attempts that may be on the wire: voids, and payments once claimed."""
    is_claimed = Payout(view.row.state) is Payout.CLAIMED
    return [
        a
        for a in view.open
        if a.raw is not None
        and a.included_height is None
        and (a.purpose == Purpose.VOID or is_claimed)
    ]


def _place(view: View) -> tuple[str, int, str]:
    """Where a payout stands in its account's line: its lowest open lock."""
    locks = [lock for a in view.open for lock in json.loads(a.locks)]
    return min((lock_order(lock) for lock in locks), default=("", -1, ""))
