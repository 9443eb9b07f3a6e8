"""The signer's own ledger of what left in the last hour and day, kept in the journal's file.

Rows of `spends` are the truth; the sums in memory are made from them at the start and follow every
commit. A unit that is undone puts its sums back (`JournalTx.undo`).
"""

from __future__ import annotations

from collections import defaultdict, deque

from chain_adapter.keys.journal import JournalTx
from chain_adapter.keys.policy import DAY_S, HOUR_S, Spent


class Window:
    """Running sums of one kind and scope."""

    def __init__(self) -> None:
        self._day: deque[tuple[int, str, int]] = deque()
        self._hour: deque[tuple[int, int]] = deque()
        self._day_total = 0
        self._hour_total = 0
        self._by_destination: dict[str, int] = defaultdict(int)

    def add(self, at_s: int, to: str, amount: int) -> None:
        self._day.append((at_s, to, amount))
        self._hour.append((at_s, amount))
        self._day_total += amount
        self._hour_total += amount
        self._by_destination[to] += amount

    def take_back(self) -> None:
        """Undo the newest `add`."""
        _, to, amount = self._day.pop()
        self._forget(to, amount)
        if self._hour:
            self._hour.pop()
            self._hour_total -= amount

    def spent(self, now_s: int, to: str) -> Spent:
        """Sums as of now. A clock that was set back frees nothing."""
        while self._day and self._day[0][0] <= now_s - DAY_S:
            _, old, amount = self._day.popleft()
            self._forget(old, amount)
        while self._hour and self._hour[0][0] <= now_s - HOUR_S:
            self._hour_total -= self._hour.popleft()[1]
        return Spent(self._hour_total, self._day_total, self._by_destination.get(to, 0))

    def _forget(self, to: str, amount: int) -> None:
        self._day_total -= amount
        self._by_destination[to] -= amount
        if not self._by_destination[to]:
            del self._by_destination[to]


class SpendLedger:
    """What was spent, by (kind, scope): kinds pay, fee, top-up, credit."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], Window] = defaultdict(Window)

    def load(self, tx: JournalTx, now_s: int) -> None:
        """Read the last day's rows; call once, before anything else."""
        rows = tx.connection.execute(
            'SELECT kind, scope, at_s, "to", amount FROM spends WHERE at_s > ? ORDER BY id',
            (now_s - DAY_S,),
        )
        for kind, scope, at_s, to, amount in rows:
            self._windows[kind, scope].add(at_s, to, int(amount))

    def spent(self, kind: str, scope: str, now_s: int, to: str = "") -> Spent:
        return self._windows[kind, scope].spent(now_s, to)

    def add(
        self, tx: JournalTx, kind: str, scope: str, subject: str, to: str, amount: int, now_s: int
    ) -> None:
        """Book a spend in the transaction of what it allows."""
        tx.connection.execute(
            'INSERT INTO spends (kind, scope, subject, "to", amount, at_s)'
            " VALUES (?, ?, ?, ?, ?, ?)",
            (kind, scope, subject, to, str(amount), now_s),
        )
        window = self._windows[kind, scope]
        window.add(now_s, to, amount)
        tx.undo.append(window.take_back)
