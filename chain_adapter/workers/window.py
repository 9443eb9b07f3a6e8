"""The platform shows twenty withdrawals at a time: what cannot be begun must not hide the rest.

page -> which of it waits (for funds, approval, a person) -> an alarm from ten on -> a full page of
which nothing was begun for `window_s` has its oldest sent back, one at a time until it moves; and
whatever waited longer than `hold_limit` goes back too (docs/laws.md 2.12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from chain_adapter.platform_api.messages import PAGE_SIZE, ConsumePage
from chain_adapter.store import orders, payouts
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Tx
from chain_adapter.workers.terms import AssetTerms

ALARM_FROM = PAGE_SIZE // 2
OVERDUE_MOST = 20  # sent back for their age in one step
PAGE_FULL = "the page of waiting withdrawals was full"
PERSON, UNTRIED = "a person", "their first try"


class Window:
    """The page of one symbol, as one question after another has shown it.

    Guarantees: nothing goes back that was begun or that a person holds; no twenty orders stop the
    others, in whichever order the platform hands them out, unless the operator says `never`.
    Does not guarantee: that what goes back could not have been paid a minute later.
    """

    def __init__(self, chain: str, terms: AssetTerms) -> None:
        self._chain = chain
        self._terms = terms
        self._still_since: int | None = None  # since this question no full page has moved
        self._free_since: dict[str, int] = {}  # trans_id -> when it was first seen unheld
        self._sent_back = 0  # since it moved last
        self._names: frozenset[str] = frozenset()  # of the last full page

    def look(self, tx: Tx, page: ConsumePage, asked_at: int) -> bool:
        """Judge an answer that is booked already; whether something was sent back."""
        names = frozenset(order.trans_id.text for order in page.orders)
        full = len(page.orders) + len(page.bad_rows) >= PAGE_SIZE
        overdue = self._send_back_overdue(tx)
        waiting = orders.waiting_among(tx, self._terms.symbol, names)
        self._alarm(tx, waiting, len(page.bad_rows))
        free = [row for row in waiting if row.held_reason is None]
        since = self._free_since
        self._free_since = {row.trans_id: since.get(row.trans_id, asked_at) for row in free}
        moved = not full or orders.begun_among(tx, self._terms.symbol, self._names, PAGE_FULL)
        self._names = names if full else frozenset()
        if moved or self._still_since is None:
            self._still_since, self._sent_back = (asked_at if full else None), 0
            return overdue
        before = asked_at - int(self._patience_s(waiting) * 1_000_000)
        # What a person has just released gets its time too.
        due = [row for row in free if self._free_since[row.trans_id] <= before]
        if self._still_since > before or self._terms.hold_limit_s is None or not due:
            return overdue
        payouts.refuse(tx, due[0], PAGE_FULL)
        self._still_since = asked_at
        self._sent_back += 1
        return True

    def _patience_s(self, waiting: Sequence[Row[Any]]) -> float:
        """After one went back, a page of which all were tried in vain is waited for less: others
        of the kind must not come faster than they go."""
        again = self._sent_back and all(_why(row) != UNTRIED for row in waiting)
        return self._terms.window_s / (4 if again else 1)

    def _send_back_overdue(self, tx: Tx) -> bool:
        limit_s = self._terms.hold_limit_s
        if limit_s is None:
            return False
        before = tx.now_us - int(limit_s * 1_000_000)
        rows = orders.overdue(tx, self._terms.symbol, older_than=before, most=OVERDUE_MOST)
        for row in rows:
            payouts.refuse(tx, row, "not payable in time")
        return bool(rows)

    def _alarm(self, tx: Tx, waiting: Sequence[Row[Any]], unreadable: int) -> None:
        """From ten on: those that were tried in vain, or have waited as long as a page may."""
        symbol, subject = self._terms.symbol, f"consume:{self._terms.symbol}"
        old = tx.now_us - int(self._terms.window_s * 1_000_000)
        stuck = [row for row in waiting if _why(row) != UNTRIED or row.received_at <= old]
        count = len(stuck) + unreadable
        if count < ALARM_FROM:
            close_alarm(tx, "window_full", subject, self._chain)
            return
        causes = Counter(map(_why, stuck))
        causes["a form that can be read"] = unreadable
        told = ", ".join(f"{number} for {why}" for why, number in causes.most_common() if number)
        end = ""
        if self._terms.hold_limit_s is None:
            end = '; hold_limit is "never", so none goes back and all others wait behind them'
        elif all(row.held_reason is not None for row in waiting):
            end = "; those that are held go back only when a person refuses them"
        raise_alarm(
            tx, "window_full", subject,
            f"{count} of the {PAGE_SIZE} withdrawals of {symbol} that the platform shows wait: "
            f"{told}{end}", self._chain,
        )  # fmt: skip


def _why(row: Row[Any]) -> str:
    """What an order waits for, without amounts: like causes are counted together."""
    if row.held_reason is not None:
        return PERSON
    return str(row.reason).partition(":")[0] if row.reason else UNTRIED
