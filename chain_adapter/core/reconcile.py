"""Chain, books and platform against each other, as functions of values.

Each side is a list of `Entry`; `compare` names every disagreement with a reason out of `REASONS`.
Nothing is mended here: a difference is told, and a person decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

REASONS: Mapping[str, str] = {
    "deposit_not_in_books": "the chain shows a deposit that the books lack: `rescan`",
    "deposit_not_on_chain": "the books hold a deposit that the chain does not show",
    "deposit_amount_differs": "chain and books disagree about a deposit's amount",
    "deposit_waits": "a deposit is held or not confirmed yet: `deposits list`",
    "deposit_not_told": "a deposit is confirmed, and the platform has not acknowledged it",
    "deposit_not_on_platform": "the platform's records lack a deposit that it acknowledged",
    "deposit_unknown_to_us": "the platform has a deposit that the books lack",
    "deposit_platform_amount_differs": "platform and books disagree about a deposit's amount",
    "deposit_platform_status_differs": "the platform does not show a credited deposit as credited",
    "payment_not_in_books": "the chain shows a transaction of ours that the books lack",
    "payment_not_on_chain": "the books hold a transaction that the chain does not show",
    "payment_outcome_differs": "chain and books disagree whether a transaction succeeded",
    "fee_differs": "chain and books disagree about a fee",
    "fee_not_told": "a fee of ours was neither a withdrawal's nor told as internal",
    "withdrawal_not_accepted": "a withdrawal is paid, and the platform has not accepted that",
    "withdrawal_not_on_platform": "the platform's records lack a withdrawal that it acknowledged",
    "withdrawal_unknown_to_us": "the platform has a paid withdrawal that the books lack",
    "withdrawal_platform_amount_differs": "platform and books disagree about an amount paid",
    "withdrawal_platform_fee_differs": "platform and books disagree about a withdrawal's fee",
    "withdrawal_platform_status_differs": "the platform does not show a paid withdrawal as paid",
    "twice_on_platform": "the platform has the same thing twice",
    "balance_differs": "an address holds another balance than its movements explain",
    "inbox_open": "an inflow that no deposit explains waits for a person: `inbox list`",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement as one side tells it. `amount` and `fee` in base units."""

    key: tuple[str, ...]
    amount: int
    status: str = ""
    fee: int | None = None
    subject: str = ""  # what `why` takes


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement. `ours` is what the books say, `theirs` the other side."""

    reason: str
    subject: str
    ours: str
    theirs: str
    side: str  # chain, platform, books

    def row(self) -> dict[str, Any]:
        """As JSON and CSV have it."""
        return {
            "reason": self.reason,
            "subject": self.subject,
            "ours": self.ours,
            "theirs": self.theirs,
            "side": self.side,
            "meaning": REASONS[self.reason],
        }


def deposits_with_chain(books: Iterable[Entry], chain: Iterable[Entry]) -> list[Difference]:
    """Deposits of the same blocks. Books' `status` is the deposit's state."""
    ours = {one.key: one for one in books}
    theirs = {one.key: one for one in chain}
    found = []
    for key, one in theirs.items():
        mine = ours.get(key)
        if mine is None:
            found.append(_diff("deposit_not_in_books", one.subject, "", str(one.amount), "chain"))
        elif mine.amount != one.amount:
            found.append(
                _diff("deposit_amount_differs", one.subject, str(mine.amount), str(one.amount),
                      "chain")
            )  # fmt: skip
    for key, one in ours.items():
        if key not in theirs:
            found.append(_diff("deposit_not_on_chain", one.subject, str(one.amount), "", "chain"))
        if one.status in ("HELD", "SEEN"):
            found.append(_diff("deposit_waits", one.subject, one.status, "CREDITED", "books"))
        elif one.status == "CONFIRMED":
            found.append(_diff("deposit_not_told", one.subject, one.status, "CREDITED", "books"))
    return found


def payments_with_chain(books: Iterable[Entry], chain: Iterable[Entry]) -> list[Difference]:
    """Transactions that our addresses signed, by txid; `status` is "ok" or "failed"."""
    ours = {one.key: one for one in books}
    theirs = {one.key: one for one in chain}
    found = []
    for key, one in theirs.items():
        mine = ours.get(key)
        if mine is None:
            found.append(_diff("payment_not_in_books", one.subject, "", one.status, "chain"))
            continue
        if mine.status != one.status:
            found.append(
                _diff("payment_outcome_differs", one.subject, mine.status, one.status, "chain")
            )
        if mine.fee != one.fee:
            found.append(_diff("fee_differs", one.subject, str(mine.fee), str(one.fee), "chain"))
    for key, one in ours.items():
        if key not in theirs:
            found.append(_diff("payment_not_on_chain", one.subject, one.status, "", "chain"))
    return found


def with_platform(
    kind: str, books: Iterable[Entry], platform: Iterable[Entry], *, complete: bool
) -> tuple[list[Difference], int]:
    """Acknowledged deposits or paid withdrawals against the platform's records.

    `complete=False`: the records are one merchant's, so what they lack is only "not visible";
    the second value counts it.
    """
    ours = {one.key: one for one in books}
    rows = list(platform)
    times = Counter(one.key for one in rows)
    found, invisible = [], 0
    for key, count in times.items():
        if count > 1:
            subject = next(one.subject for one in rows if one.key == key)
            found.append(_diff("twice_on_platform", subject, "1", str(count), "platform"))
    theirs = {one.key: one for one in rows}
    for key, one in theirs.items():
        mine = ours.get(key)
        if mine is None:
            found.append(_diff(f"{kind}_unknown_to_us", one.subject, "", str(one.amount),
                               "platform"))  # fmt: skip
            continue
        if mine.amount != one.amount:
            found.append(
                _diff(f"{kind}_platform_amount_differs", one.subject, str(mine.amount),
                      str(one.amount), "platform")
            )  # fmt: skip
        if one.status and one.status != "success":
            found.append(
                _diff(f"{kind}_platform_status_differs", one.subject, mine.status, one.status,
                      "platform")
            )  # fmt: skip
        if one.fee is not None and mine.fee is not None and one.fee != mine.fee:
            found.append(
                _diff("withdrawal_platform_fee_differs", one.subject, str(mine.fee),
                      str(one.fee), "platform")
            )  # fmt: skip
    for key, one in ours.items():
        if key in theirs:
            continue
        if complete:
            found.append(
                _diff(f"{kind}_not_on_platform", one.subject, str(one.amount), "", "platform")
            )
        else:
            invisible += 1
    return found, invisible


def balance(subject: str, explained: int, held: int) -> list[Difference]:
    """What an address should hold against what it does."""
    if explained == held:
        return []
    return [_diff("balance_differs", subject, str(explained), str(held), "chain")]


def _diff(reason: str, subject: str, ours: str, theirs: str, side: str) -> Difference:
    return Difference(reason, subject, ours, theirs, side)
