"""What may never be true of rows beside each other (docs/laws.md), asked as queries.

Constraints hold most of it while rows are written; this tells whether it holds for what stands
there, whoever wrote it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, literal, or_, select

from chain_adapter.core.alarms import CODES
from chain_adapter.core.states import Deposit, Kind, Payout, Purpose, Role
from chain_adapter.store import schema
from chain_adapter.store.imports import IMPORTED
from chain_adapter.store.integrity import PAGE, Check, Finding
from chain_adapter.store.store import Tx

DEPOSITS, PAYOUTS, OUTBOX = schema.deposits, schema.payouts, schema.outbox
ATTEMPTS, LINKS, LOCKS = schema.attempts, schema.attempt_payouts, schema.locks
TRANSFERS = schema.transfers

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_CLAIMED = (Payout.CLAIMED, Payout.INCLUDED, Payout.FINAL, Payout.REPORTED)
_PAID = (Payout.INCLUDED, Payout.FINAL, Payout.REPORTED)


# --- deposits -------------------------------------------------------------------------------------


def credits(tx: Tx) -> Finding:
    """A deposit is told once it is final, and only then; it is credited once acknowledged."""
    found = Finding("credits")
    found.looked_at = int(tx.value(select(func.count()).select_from(DEPOSITS)) or 0)
    item = OUTBOX.c.dedupe_key == literal("deposit:").concat(DEPOSITS.c.request_id)
    done = and_(item, OUTBOX.c.acknowledged_at.is_not(None))
    met = DEPOSITS.c.height >= 0  # an imported one that no block of ours has shown yet has none
    rules: list[tuple[str, ColumnElement[bool]]] = [
        (
            "is CONFIRMED, and nothing tells the platform",
            and_(
                DEPOSITS.c.state == Deposit.CONFIRMED,
                ~exists().where(item, OUTBOX.c.state.in_(("open", "parked", "acknowledged"))),
            ),
        ),
        (
            "is CREDITED, and no answer acknowledged it",
            and_(DEPOSITS.c.state == Deposit.CREDITED, met, ~exists().where(done)),
        ),
        (
            "is told, although it waits or is ignored",
            and_(
                DEPOSITS.c.state.in_((Deposit.SEEN, Deposit.HELD, Deposit.IGNORED)),
                or_(DEPOSITS.c.reason.is_(None), DEPOSITS.c.reason.not_like(f"{IMPORTED}%")),
                exists().where(item, OUTBOX.c.state == "open"),
            ),
        ),
        (
            "was told before its height was settled",
            and_(
                DEPOSITS.c.state.in_((Deposit.CONFIRMED, Deposit.CREDITED)),
                exists().where(
                    schema.chains.c.chain == DEPOSITS.c.chain,
                    schema.chains.c.settled_height < DEPOSITS.c.height,
                    or_(DEPOSITS.c.reason.is_(None), DEPOSITS.c.reason.not_like(f"{IMPORTED}%")),
                ),
            ),
        ),
    ]
    for text, rule in rules:
        for row in tx.all(select(DEPOSITS).where(rule).limit(PAGE)):
            found.wrong(f"deposit {row.id} ({row.symbol} {row.txid}) {text}")
    return found


def sums(tx: Tx) -> Finding:
    """A deposit is the sum of its transfers; more than that stands in the inbox."""
    found = Finding("sums")
    moved: defaultdict[tuple[str, ...], int] = defaultdict(int)
    name = ("chain", "asset", "txid", "to", "memo_key")
    stream = tx.connection.execution_options(yield_per=PAGE)
    for row in stream.execute(select(*(TRANSFERS.c[one] for one in name), TRANSFERS.c.amount)):
        moved[row[0], row[1], row[2], row[3], row[4]] += _units(found, "transfer", row.amount)
    inbox = {tuple(row) for row in tx.all(select(*(schema.inbox.c[one] for one in name)))}
    gone = (Deposit.ORPHANED, Deposit.REVERSED)
    columns = [DEPOSITS.c.id, DEPOSITS.c.amount, *(DEPOSITS.c[one] for one in name)]
    for row in stream.execute(
        select(*columns).where(DEPOSITS.c.state.not_in(gone), DEPOSITS.c.height >= 0)
    ):
        found.looked_at += 1
        key = (row.chain, row.asset, row.txid, row.to, row.memo_key)
        amount, there = _units(found, f"deposit {row.id}", row.amount), moved[key]
        if there < amount or (there > amount and key not in inbox):
            found.wrong(f"deposit {row.id} is {amount} base units, its transfers are {there}")
    return found


# --- payouts --------------------------------------------------------------------------------------


def _attempt_of(*rules: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        exists()
        .where(LINKS.c.payout_id == PAYOUTS.c.id, LINKS.c.attempt_id == ATTEMPTS.c.id, *rules)
        .correlate(PAYOUTS)
    )


def payments(tx: Tx) -> Finding:
    """Nobody is paid twice, nor paid and sent back, nor paid before the platform was asked."""
    found = Finding("payments")
    found.looked_at = int(tx.value(select(func.count()).select_from(PAYOUTS)) or 0)
    pays = ATTEMPTS.c.purpose != Purpose.VOID
    paid = and_(pays, ATTEMPTS.c.ok.is_(True), ATTEMPTS.c.included_height.is_not(None))
    twice = (
        select(LINKS.c.payout_id)
        .join(ATTEMPTS, ATTEMPTS.c.id == LINKS.c.attempt_id)
        .where(paid)
        .group_by(LINKS.c.payout_id)
        .having(func.count() > 1)
    )
    signed = and_(pays, ATTEMPTS.c.txid.is_not(None))
    failed = and_(ATTEMPTS.c.final, ATTEMPTS.c.ok.is_(False))
    alive = and_(signed, ATTEMPTS.c.dead.is_(None), ~failed)
    withdrawal = PAYOUTS.c.kind == Kind.WITHDRAWAL
    back = (Payout.REFUSED, Payout.CANCELLED)
    rules: list[tuple[str, ColumnElement[bool]]] = [
        ("was paid twice", PAYOUTS.c.id.in_(twice)),
        ("goes back, and was paid", and_(PAYOUTS.c.state.in_(back), _attempt_of(paid))),
        ("goes back, and can still be paid", and_(PAYOUTS.c.state.in_(back), _attempt_of(alive))),
        (
            "goes back, although it was claimed",
            and_(withdrawal, PAYOUTS.c.state == Payout.CANCELLED, PAYOUTS.c.ever_claimed),
        ),
        (
            "is past its claim, and no answer acknowledged one",
            and_(
                withdrawal,
                PAYOUTS.c.state.in_(_CLAIMED),
                ~exists()
                .where(
                    OUTBOX.c.subject == literal("payout:").concat(PAYOUTS.c.id),
                    OUTBOX.c.dedupe_key.like("claim:%"),
                    OUTBOX.c.state.in_(("acknowledged", "open")),
                    OUTBOX.c.acknowledged_at.is_not(None),
                )
                .correlate(PAYOUTS),
            ),
        ),
        (
            "was sent before the platform acknowledged its claim",
            and_(
                withdrawal,
                PAYOUTS.c.ever_claimed.is_(False),
                _attempt_of(pays, ATTEMPTS.c.sent_at.is_not(None)),
            ),
        ),
        (
            "is signed, and no signed bytes are there",
            and_(PAYOUTS.c.state.in_((Payout.SIGNED, *_CLAIMED)), ~_attempt_of(signed)),
        ),
        (
            "counts as paid, and no block shows it",
            and_(PAYOUTS.c.state.in_(_PAID), ~_attempt_of(paid)),
        ),
        (
            "is REPORTED, and no answer acknowledged it",
            and_(withdrawal, PAYOUTS.c.state == Payout.REPORTED, ~_told("paid:")),
        ),
        (
            "is CANCELLED, and no answer acknowledged it",
            and_(withdrawal, PAYOUTS.c.state == Payout.CANCELLED, ~_told("cancel:")),
        ),
    ]
    for text, rule in rules:
        for row in tx.all(select(PAYOUTS).where(rule).limit(PAGE)):
            found.wrong(f"payout {row.id} ({row.symbol} {row.trans_id}) {text}")
    return found


def _told(prefix: str) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            OUTBOX.c.dedupe_key == literal(prefix).concat(PAYOUTS.c.id),
            OUTBOX.c.acknowledged_at.is_not(None),
        )
        .correlate(PAYOUTS)
    )


def exclusion(tx: Tx) -> Finding:
    """A lock belongs to one payout, and every signed attempt that may live holds its own."""
    found = Finding("locks")
    owners = {
        (row.chain, row.lock): row.payout_id
        for row in tx.connection.execution_options(yield_per=PAGE).execute(
            select(LOCKS.c.chain, LOCKS.c.lock, LOCKS.c.payout_id)
        )
    }
    stream = tx.connection.execution_options(yield_per=PAGE).execute(
        select(ATTEMPTS, LINKS.c.payout_id)
        .join(LINKS, LINKS.c.attempt_id == ATTEMPTS.c.id)
        .order_by(ATTEMPTS.c.id)
    )
    for row in stream:
        found.looked_at += 1
        if row.txid is not None and row.raw is None and not row.adopted:
            found.wrong(f"attempt {row.id} has a txid, but no signed bytes")
        if (row.dead or "").startswith("expired"):
            continue  # its locks are free again
        for lock in json.loads(row.locks):
            owner = owners.get((row.chain, lock))
            if owner is None:
                found.wrong(f"attempt {row.id} of payout {row.payout_id}: nobody holds {lock}")
            elif owner != row.payout_id:
                found.wrong(
                    f"attempt {row.id} of payout {row.payout_id}: {lock} belongs to payout {owner}"
                )
    return found


# --- the rest -------------------------------------------------------------------------------------


def messages(tx: Tx) -> Finding:
    """Every message is about something, and can be read."""
    found = Finding("messages")
    known = {f"deposit:{row.id}" for row in tx.all(select(DEPOSITS.c.id))}
    known |= {f"payout:{row.id}" for row in tx.all(select(PAYOUTS.c.id))}
    for row in tx.connection.execution_options(yield_per=PAGE).execute(
        select(OUTBOX.c.id, OUTBOX.c.subject, OUTBOX.c.body)
    ):
        found.looked_at += 1
        kind = row.subject.partition(":")[0]
        if kind in ("deposit", "payout") and row.subject not in known:
            found.wrong(f"message {row.id} is about {row.subject}, which is not there")
        try:
            json.loads(row.body)
        except ValueError:
            found.wrong(f"message {row.id} cannot be read")
    return found


def addresses(tx: Tx) -> Finding:
    """The counter that filters are made from knows every address; paths have no holes."""
    found, table = Finding("addresses"), schema.addresses
    for chain in tx.all(select(schema.chains)):
        row = tx.one(
            select(func.count(), func.max(table.c.seq)).where(table.c.chain == chain.chain)
        )
        count, newest = (0, 0) if row is None else (int(row[0]), int(row[1] or 0))
        found.looked_at += count
        if newest > chain.address_count:
            found.wrong(
                f"{chain.chain}: address {newest} was added, the counter is {chain.address_count}"
            )
        paths = tx.one(
            select(func.count(), func.count(table.c.idx.distinct()), func.max(table.c.idx)).where(
                table.c.chain == chain.chain, table.c.role == Role.DEPOSIT,
                table.c.account.is_not(None),
            )
        )  # fmt: skip
        if paths is not None and paths[0] and not paths[0] == paths[1] == paths[2] + 1:
            found.wrong(
                f"{chain.chain}: {paths[0]} deposit addresses, the highest index is {paths[2]}: "
                "`recover` derives what is missing"
            )
    return found


_AMOUNTS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (DEPOSITS, "deposit", ("amount", "told", "remainder")),
    (PAYOUTS, "payout", ("amount", "fee")),
    (ATTEMPTS, "attempt", ("max_fee", "fee")),
)


def amounts(tx: Tx) -> Finding:
    """Amounts are digits of base units, nothing else."""
    found = Finding("amounts")
    for table, word, columns in _AMOUNTS:
        for row in tx.connection.execution_options(yield_per=PAGE).execute(
            select(table.c.id, *(table.c[one] for one in columns))
        ):
            found.looked_at += 1
            _digits(found, word, row, columns)
    return found


def _digits(found: Finding, word: str, row: Row[Any], columns: tuple[str, ...]) -> None:
    for name in columns:
        one = row._mapping[name]
        if one is not None and not _DIGITS.fullmatch(one):
            found.wrong(f"{word} {row.id}: {name} is {one!r}")


def _units(found: Finding, what: str, text: str) -> int:
    if _DIGITS.fullmatch(text):
        return int(text)
    found.wrong(f"{what}: its amount is {text!r}")
    return 0


def alarms(tx: Tx) -> Finding:
    """One open alarm a code and subject, of a code that is known."""
    found, table = Finding("alarms"), schema.alarms
    seen: set[tuple[str, str]] = set()
    for row in tx.all(select(table).where(table.c.closed_at.is_(None))):
        found.looked_at += 1
        if row.code not in CODES:
            found.wrong(f"alarm {row.id}: nobody knows its code {row.code}")
        if (row.code, row.subject) in seen:
            found.wrong(f"alarm {row.code} of {row.subject} is open twice")
        seen.add((row.code, row.subject))
    return found


LAWS: tuple[Check, ...] = (
    credits, sums, payments, exclusion, messages, addresses, amounts, alarms,
)  # fmt: skip
