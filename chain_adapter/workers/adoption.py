"""What the signer's journal knows and the database lacks is adopted before anything is reserved.

An older database, or a crash between the journal's commit and ours, leaves signed attempts that
only the journal names: each becomes an attempt here, its payout SIGNED, its claim said again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row, insert, select, update

from chain_adapter import money
from chain_adapter.core.states import PAYOUT_EDGES, Payout, Purpose
from chain_adapter.errors import StateConflict
from chain_adapter.keys.journal import JournalEntry, SettledMark
from chain_adapter.store import payout_marks, payouts, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import move_payout, record
from chain_adapter.store.payouts_onchain import ATTEMPTS, LINKS, LOCKS, PAYOUTS, replay
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.signing import Attempts, Signer
from chain_adapter.workers.terms import ChainTerms

log = structlog.get_logger(__name__)
ENDED = (Payout.REPORTED, Payout.SETTLED)


class Adoption:
    """Guarantees: once a session, before the first reservation, database and journal agree on
    every signed attempt of the chain.

    Does not guarantee: anything about attempts that neither of the two knows.
    """

    def __init__(self, terms: ChainTerms, store: Store, signer: Signer, attempts: Attempts) -> None:
        self._terms = terms
        self._store = store
        self._signer = signer
        self._attempts = attempts
        self._session: str | None = None

    async def run_once_a_session(self) -> None:
        """Compare, adopt, and hold what the journal lacks."""
        session = self._store.session
        if self._session == session:
            return
        entries = await self._signer.journal(self._terms.chain)
        await self._adopt(entries)
        names = frozenset(entry.txid for entry in entries)
        await self._store.write(lambda tx: self._hold_unknown(tx, names))
        marks = await self._signer.settled()
        await self._store.write(lambda tx: self._adopt_marks(tx, marks))
        self._session = session

    async def examine_foreign(self) -> bool:
        """Transactions that our keys signed and the database does not know: adopt or alarm."""
        foreign = schema.foreign_uses
        rows = await self._store.read(
            lambda tx: tx.all(
                select(foreign).where(
                    foreign.c.chain == self._terms.chain, foreign.c.acknowledged_by.is_(None)
                )
            )
        )
        if not rows:
            return False
        entries = {e.txid: e for e in await self._signer.journal(self._terms.chain)}
        known = [entries[row.txid] for row in rows if row.txid in entries]
        await self._adopt(known)

        def unit(tx: Tx) -> None:
            for row in rows:
                if row.txid in entries:
                    self._adopt_inclusion(tx, row)
                    continue
                raise_alarm(
                    tx, "foreign_use", f"{row.chain}:{row.txid}",
                    f"{row.sender} signed {row.txid} in block {row.height}; no journal knows it",
                    row.chain,
                )  # fmt: skip

        await self._store.write(unit)
        return bool(known)

    async def _adopt(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            adopted = await self._store.write(partial(self._adopt_one, entry=entry))
            if adopted:
                log.warning("adopted", payout=str(entry.payout), txid=entry.txid)

    def _adopt_one(self, tx: Tx, entry: JournalEntry) -> bool:
        known = tx.one(
            select(ATTEMPTS).where(ATTEMPTS.c.chain == entry.chain, ATTEMPTS.c.txid == entry.txid)
        )
        if known is not None:
            if known.raw is None:  # a block showed it before the journal was asked
                values = {"raw": entry.raw, "payload": entry.payload, "purpose": entry.purpose}
                tx.run(update(ATTEMPTS).where(ATTEMPTS.c.id == known.id).values(values))
            return False
        row = payouts.find(tx, entry.payout.kind, entry.payout.symbol, entry.payout.trans_id)
        if row is not None and Payout(row.state) in ENDED:
            return False
        if row is None:
            row = self._new_payout(tx, entry)
        elif row.to is None:
            row = self._as_paid(tx, row, entry)
        attempt = self._attempt(tx, row, entry)
        record(
            tx, row.chain, "adopted", payouts.subject(row), txid=entry.txid, purpose=entry.purpose
        )  # fmt: skip
        if entry.purpose.value != Purpose.PAY.value or entry.settled:
            return True
        state = Payout(row.state)
        if state in (Payout.QUEUED, Payout.RESERVED, Payout.REFUSED):
            move_payout(
                tx, row, Payout.SIGNED, "the signer's journal knows this attempt",
                sender=entry.sender, account=entry.account, idx=entry.index,
            )  # fmt: skip
            row = payouts.get(tx, row.id)
            tx.run(
                update(schema.outbox)
                .where(
                    schema.outbox.c.dedupe_key == f"cancel:{row.id}",
                    schema.outbox.c.state == "open",
                )
                .values(state="withdrawn")
            )
        if Payout(row.state) is Payout.SIGNED:
            body = self._attempts.notice(row, entry.txid)
            payouts.claim_or_pass(tx, row, attempt, entry.txid, body)
        return True

    def _adopt_marks(self, tx: Tx, marks: Sequence[SettledMark]) -> None:
        """What people settled by hand stays settled, whatever an older database says."""
        for mark in marks:
            row = payouts.find(tx, mark.payout.kind, mark.payout.symbol, mark.payout.trans_id)
            if row is None or row.chain != self._terms.chain:
                continue
            if (Payout(row.state), Payout.SETTLED) in PAYOUT_EDGES:
                why = f"the signer's journal has it settled by {mark.by_whom}"
                move_payout(tx, row, Payout.SETTLED, why, ended_at=tx.now_us)

    def _as_paid(self, tx: Tx, row: Row[Any], entry: JournalEntry) -> Row[Any]:
        """An order that was not judged yet, but signed: what it pays stands in the journal."""
        paid = json.loads(entry.payments)
        if not paid:
            return row  # a void; what pays comes beside it
        _asset, to, amount, memo = paid[0]
        payouts.screened(tx, row, to, int(amount), memo or None)
        return payouts.get(tx, row.id)

    def _new_payout(self, tx: Tx, entry: JournalEntry) -> Row[Any]:
        # The journal keeps payments as [asset, to, amount or "all", memo or ""].
        paid = json.loads(entry.payments)
        asset, to, text, memo = paid[0] if paid else (self._terms.fee_asset, entry.sender, "0", "")
        decimals = self._terms.assets[asset].decimals
        amount = None if text == "all" else int(text)
        payout_id = tx.insert(
            insert(PAYOUTS).values(
                kind=entry.payout.kind,
                symbol=entry.payout.symbol,
                trans_id=entry.payout.trans_id,
                trans_id_quoted=not entry.payout.trans_id.isdigit(),
                chain=entry.chain,
                asset=asset,
                address_to=to,
                to=to,
                memo=memo or None,
                memo_told=memo or None,
                amount_told=money.plain(amount or 0, decimals),
                amount=None if amount is None else str(amount),
                sender=entry.sender,
                account=entry.account,
                idx=entry.index,
                state=Payout.QUEUED,
                received_at=tx.now_us,
            )
        )
        record(
            tx, entry.chain, "order", f"payout:{payout_id}", from_journal=True,
            symbol=entry.payout.symbol, trans_id=entry.payout.trans_id,
        )  # fmt: skip
        return payouts.get(tx, payout_id)

    def _attempt(self, tx: Tx, row: Row[Any], entry: JournalEntry) -> Row[Any]:
        """The attempt's row: the unsigned one with the same bytes, or a new one."""
        unsigned = [
            a
            for a in payouts.view(tx, row).attempts
            if a.txid is None and bytes(a.payload or b"") == entry.payload
        ]
        if unsigned:
            tx.run(
                update(ATTEMPTS)
                .where(ATTEMPTS.c.id == unsigned[0].id)
                .values(txid=entry.txid, raw=entry.raw, signed_at=tx.now_us, adopted=True)
            )
            attempt_id = unsigned[0].id
        else:
            attempt_id = tx.insert(
                insert(ATTEMPTS).values(
                    chain=entry.chain,
                    txid=entry.txid,
                    purpose=entry.purpose,
                    sender=entry.sender,
                    payload=entry.payload,
                    raw=entry.raw,
                    locks=json.dumps(list(entry.locks)),
                    max_fee=str(entry.max_fee),
                    expires=entry.expires,
                    build_height=entry.build_height,
                    salt="",
                    built_at=tx.now_us,
                    signed_at=tx.now_us,
                    adopted=True,
                )
            )
            tx.run(insert(LINKS).values(attempt_id=attempt_id, payout_id=row.id))
        for lock in entry.locks:
            if not tx.insert_new(
                LOCKS,
                {
                    "chain": entry.chain,
                    "lock": lock,
                    "payout_id": row.id,
                    "sender": entry.sender,
                },
            ):
                owner = tx.value(
                    select(LOCKS.c.payout_id).where(
                        LOCKS.c.chain == entry.chain, LOCKS.c.lock == lock
                    )
                )
                if owner != row.id:
                    raise StateConflict(
                        f"the journal has lock {lock} for {entry.payout}, the database for "
                        f"payout {owner}: see docs/operations.md, journal and database disagree"
                    )
        found = tx.one(select(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id))
        assert found is not None
        return found

    def _adopt_inclusion(self, tx: Tx, row: Row[Any]) -> None:
        """A block showed it before it was adopted: what the block said is applied now."""
        foreign = schema.foreign_uses
        replay(tx, row)
        tx.run(
            update(foreign)
            .where(foreign.c.chain == row.chain, foreign.c.txid == row.txid)
            .values(acknowledged_by="journal")
        )
        close_alarm(tx, "foreign_use", f"{row.chain}:{row.txid}", row.chain)

    def _hold_unknown(self, tx: Tx, names: frozenset[str]) -> None:
        """A payout is held if the database names an attempt that the journal lacks."""
        for view in payouts.working(tx, self._terms.chain):
            strange = [
                a.txid
                for a in view.attempts
                if a.txid and a.raw is not None and a.txid not in names and not a.dead
            ]
            row = view.row
            if strange and row.held_reason is None and Payout(row.state) is not Payout.QUEUED:
                message = f"the signer's journal lacks {strange[0]}"
                payout_marks.hold(tx, row, "adapter", message)
                raise_alarm(tx, "journal_lacks", payouts.subject(row), message, row.chain)
