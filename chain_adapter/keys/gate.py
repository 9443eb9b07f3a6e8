"""The policy at work inside the signer: kill switch, limits, approvals, and the log of decisions.

Runs in the journal's thread, inside the transaction of the signature that it allows: what it books
is undone with it. Without a policy (platform on loopback only) all is allowed but what the rules
deny always, and the daemon's word counts where the journal cannot know.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from chain_adapter.chain import Effect
from chain_adapter.errors import SigningRefused, SigningWaits
from chain_adapter.keys.approvals import Approval, Claim, content_of, pay_claim, read_approval
from chain_adapter.keys.audit import AuditLog
from chain_adapter.keys.exclusion import counts_time, is_over
from chain_adapter.keys.journal import JournalEntry, JournalTx, Purpose, State
from chain_adapter.keys.policy import (
    Policy,
    Scope,
    judge_credit,
    judge_fee,
    judge_payment,
    judge_top_up,
    parse_policy,
)
from chain_adapter.keys.request import TOP_UP, WITHDRAWAL, SignerChain, SignRequest
from chain_adapter.keys.rules import payments_text
from chain_adapter.keys.windows import SpendLedger

_TOLD: Final = 1024


class Credit(msgspec.Struct, frozen=True):
    """A deposit that is about to be notified. `amount` in base units of `decimals`."""

    request_id: str
    symbol: str
    txid: str
    address_to: str
    amount: int
    memo: str = ""


class Gate:
    """Guarantees: with the kill switch on nothing passes; nothing passes beyond the policy.

    Does not guarantee: that the machine's clock is right, by which hours and days are counted.
    """

    def __init__(
        self,
        audit: AuditLog,
        scope: Scope,
        ledger_id: str,
        *,
        now: Callable[[], datetime],
        kill_file: Path | None = None,
    ) -> None:
        self.audit = audit
        self.scope = scope
        self.ledger_id = ledger_id
        self.policy: Policy | None = None
        self.kill_file = kill_file
        self._now = now
        self._spends = SpendLedger()
        self._killed: tuple[int, str] | None = None
        self._told: OrderedDict[str, str] = OrderedDict()

    def now_s(self) -> int:
        return int(self._now().timestamp())

    # --- start

    def load(self, tx: JournalTx, proposed: str | None) -> bool:
        """Take the policy in force, the sums and the kill switch from the journal.

        The first policy ever given is taken as it is; any other is in force only once operators
        have approved it. Returns whether `proposed` is in force. Raises `ConfigError`.
        """
        self._spends.load(tx, self.now_s())
        row = tx.connection.execute(
            "SELECT seq, reason FROM kills WHERE resumed_at IS NULL ORDER BY seq LIMIT 1"
        ).fetchone()
        self._killed = None if row is None else (row[0], row[1])
        row = tx.connection.execute(
            "SELECT text FROM policies ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        if row is not None:
            self.policy = parse_policy(row[0], self.scope)
            if proposed is not None and proposed != row[0]:
                return self.propose(tx, proposed)
            return True
        if proposed is not None:
            self._adopt(tx, parse_policy(proposed, self.scope), "first policy")
        return True

    def _adopt(self, tx: JournalTx, policy: Policy, approved_by: str) -> None:
        before = self.policy
        tx.connection.execute(
            "INSERT INTO policies (text, approved_by, at) VALUES (?, ?, ?)",
            (policy.text, approved_by, tx.now),
        )
        self.policy = policy

        def put_back() -> None:
            self.policy = before

        tx.undo.append(put_back)
        self.event(tx, "policy", policy.digest, {"approved_by": approved_by})

    def policy_claim(self, text: str) -> Claim:
        """What operators sign for a new policy: it follows the one in force, and no other."""
        before = self.policy.digest if self.policy else "none"
        return Claim("policy", f"policy after {before[:16]}", content_of("policy", before, text))

    def propose(self, tx: JournalTx, text: str) -> bool:
        """Put a new policy in force if enough operators of the present one approved it."""
        made = parse_policy(text, self.scope)
        if self.policy is None:
            self._adopt(tx, made, "first policy")
            return True
        if made.digest == self.policy.digest:
            return True
        names = self.approved_by(tx, self.policy_claim(text))
        if len(names) < self.policy.quorums.policy:
            return False
        self._adopt(tx, made, ", ".join(names))
        return True

    # --- kill switch

    @property
    def killed(self) -> str | None:
        """Why nothing is signed; None while signing is allowed. Looks at the file every time."""
        if self._killed is not None:
            return self._killed[1]
        if self.kill_file is not None and self.kill_file.exists():
            return f"the file {self.kill_file.name} is there"
        return None

    def check_killed(self) -> None:
        if (why := self.killed) is not None:
            raise SigningWaits(f"the kill switch is on ({why}): nothing is signed", "switch")

    def kill(self, tx: JournalTx, reason: str) -> None:
        """Stop all signing until `resume`. Again: changes nothing."""
        if self._killed is not None:
            return
        cursor = tx.connection.execute(
            "INSERT INTO kills (reason, killed_at) VALUES (?, ?)", (reason, tx.now)
        )
        self._killed = (int(cursor.lastrowid or 0), reason)

        def put_back() -> None:
            self._killed = None

        tx.undo.append(put_back)
        self.event(tx, "kill", "signer", {"reason": reason})

    def resume_claim(self) -> Claim | None:
        """What operators sign to resume; None when the switch is off."""
        if self._killed is None:
            return None
        seq = str(self._killed[0])
        return Claim("resume", f"kill {seq}", content_of("resume", seq))

    def resume(self, tx: JournalTx, by_whom: str) -> None:
        """Allow signing again. Raises `SigningRefused`."""
        if self.kill_file is not None and self.kill_file.exists():
            raise SigningRefused(f"remove {self.kill_file} first, then resume")
        claim, killed = self.resume_claim(), self._killed
        if claim is None or killed is None:
            return
        if self.policy is not None:
            by_whom = ", ".join(self.demand(tx, claim, self.policy.quorums.resume))
        tx.connection.execute(
            "UPDATE kills SET resumed_by = ?, resumed_at = ? WHERE resumed_at IS NULL",
            (by_whom, tx.now),
        )
        self._killed = None

        def put_back() -> None:
            self._killed = killed

        tx.undo.append(put_back)
        self.event(tx, "resume", "signer", {"by": by_whom})

    # --- approvals

    def approve(self, tx: JournalTx, document: str) -> Approval:
        """Verify and keep an operator's approval. Raises `SigningRefused`."""
        if self.policy is None:
            raise SigningRefused("there is no policy, so there are no operators to approve")
        made = read_approval(document, self.policy.operators, self.ledger_id, self._now())
        claim = made.claim
        cursor = tx.connection.execute(
            "INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?, ?, ?)",
            (claim.act, claim.subject, claim.content, made.operator, document, tx.now),
        )
        if cursor.rowcount:
            self.event(tx, "approval", claim.subject, {"act": claim.act, "by": made.operator})
        return made

    def approved_by(self, tx: JournalTx, claim: Claim) -> list[str]:
        """Operators, still such now, whose approvals of exactly this have not expired."""
        if self.policy is None:
            return []
        names = set()
        for (document,) in tx.connection.execute(
            "SELECT document FROM approvals WHERE act = ? AND subject = ? AND content = ?",
            (claim.act, claim.subject, claim.content),
        ):
            try:
                made = read_approval(document, self.policy.operators, self.ledger_id, self._now())
            except SigningRefused:
                continue  # expired since, or its operator was removed
            names.add(made.operator)
        return sorted(names)

    def demand(self, tx: JournalTx, claim: Claim, needed: int) -> list[str]:
        """The names of at least `needed` operators who approved. Raises `SigningRefused`."""
        names = self.approved_by(tx, claim)
        if len(names) < needed:
            raise SigningWaits(
                f"{claim.subject}: {claim.act} waits for {needed} operators to approve, "
                f"{len(names)} did ({', '.join(names) or 'nobody'})",
                "approval",
            )
        return names

    # --- payments

    def check_payment(
        self,
        tx: JournalTx,
        request: SignRequest,
        effect: Effect,
        attempts: Sequence[JournalEntry],
        chain: SignerChain,
    ) -> str:
        """Allow and book one signature; returns the reason for the log. `SigningRefused`."""
        if self.policy is None:
            return "no policy: within the rules"
        for document in request.approvals:
            self.approve(tx, document)
        subject, now_s = str(request.payout), self.now_s()
        locks = frozenset(effect.locks)
        rivals = [a.max_fee for a in attempts if locks & set(a.locks)]
        more = max(0, effect.max_fee - max(rivals, default=0))
        fees = self._spends.spent("fee", request.chain, now_s)
        judge_fee(self.policy, request.chain, effect.max_fee, more, fees.day)
        reason = "within the policy"
        if request.purpose != Purpose.VOID:
            reason = self._judge(tx, request, attempts, locks, now_s, chain)
        self._spends.add(tx, "fee", request.chain, subject, "", more, now_s)
        return reason

    def _judge(
        self,
        tx: JournalTx,
        request: SignRequest,
        attempts: Sequence[JournalEntry],
        locks: frozenset[str],
        now_s: int,
        chain: SignerChain,
    ) -> str:
        policy, payout = self.policy, request.payout
        assert policy is not None
        reason = "within the policy"
        paying = [a for a in attempts if a.purpose != Purpose.VOID]
        rival = any(a.state == State.OPEN and locks & set(a.locks) for a in paying)
        if rival:
            return "replaces an attempt under the same lock"
        # a death that the signer cannot see by itself: people vouch for it
        if any(not _surely_dead(a, now_s) for a in paying) and policy.quorums.redo:
            claim = pay_claim(
                payout, request.chain, payments_text(request.intent.payments), act="redo"
            )
            reason = "paid again, approved by " + ", ".join(
                self.demand(tx, claim, policy.quorums.redo)
            )
        for payment in request.intent.payments:
            amount = payment.amount or 0
            if payout.kind == TOP_UP:
                spent = self._spends.spent("top-up", request.chain, now_s)
                judge_top_up(policy, request.chain, amount, spent.day)
                self._spends.add(
                    tx, "top-up", request.chain, str(payout), payment.to, amount, now_s
                )
            elif payout.kind == WITHDRAWAL:
                symbol = chain.assets[payment.asset].symbol
                spent = self._spends.spent("pay", symbol, now_s, payment.to)
                needed = judge_payment(policy, symbol, amount, payment.to, spent)
                if needed:
                    claim = pay_claim(payout, request.chain, payments_text(request.intent.payments))
                    reason = "approved by " + ", ".join(self.demand(tx, claim, needed))
                self._spends.add(tx, "pay", symbol, str(payout), payment.to, amount, now_s)
        return reason

    # --- credits

    def check_credit(self, tx: JournalTx, credit: Credit) -> None:
        """Allow and book one credit; the same request id again only with the same content.

        Raises `SigningRefused`: above the limits (an operator may approve), or changed.
        """
        content = content_of(
            "credit",
            credit.symbol,
            credit.txid,
            credit.address_to,
            str(credit.amount),
            credit.memo,
        )
        row = tx.connection.execute(
            "SELECT content FROM credits WHERE request_id = ?", (credit.request_id,)
        ).fetchone()
        if row is not None:
            if row[0] != content:
                raise SigningRefused(
                    f"deposit {credit.request_id} was notified before with another content",
                    for_good=True,
                )
            return
        if self.policy is None:
            return  # nothing to limit, so nothing to book
        now_s = self.now_s()
        why = judge_credit(
            self.policy,
            credit.symbol,
            credit.amount,
            self._spends.spent("credit", credit.symbol, now_s),
        )
        if why is not None:
            claim = Claim("credit", credit.request_id, content)
            names = self.approved_by(tx, claim)
            if len(names) < self.policy.quorums.credit:
                raise SigningWaits(
                    f"deposit {credit.request_id}: {why}; an operator must approve", "approval"
                )
            self.event(tx, "credit", credit.request_id, {"approved_by": names, "above": why})
        tx.connection.execute(
            "INSERT INTO credits VALUES (?, ?, ?)", (credit.request_id, content, tx.now)
        )
        self._spends.add(tx, "credit", credit.symbol, credit.request_id, "", credit.amount, now_s)

    # --- log

    def event(self, tx: JournalTx, what: str, subject: str, detail: Mapping[str, object]) -> None:
        self.audit.append(tx, what, subject, detail)

    def refusal(self, tx: JournalTx, subject: str, detail: Mapping[str, object]) -> None:
        """Log a refusal, once for each subject and reason: a daemon repeats its questions."""
        text = json.dumps(detail, sort_keys=True)
        if self._told.get(subject) == text:
            return
        self._told[subject] = text
        self._told.move_to_end(subject)
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        self.event(tx, "refused", subject, detail)


def _surely_dead(attempt: JournalEntry, now_s: int) -> bool:
    """Expired by a clock that the signer has itself; every other death it must be told."""
    if attempt.state != State.EXPIRED or attempt.expires is None:
        return False
    return counts_time(attempt.expires) and is_over(attempt.expires, now_s)
