"""The journal's rules against a model of a chain: random requests, inclusions and deaths."""

from __future__ import annotations

import sqlite3

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chain_adapter.chain import Effect, Intent
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.exclusion import check_death, check_exclusion
from chain_adapter.keys.journal import SCHEMA, JournalTx, NewAttempt
from chain_adapter.keys.signer import Death, PayoutKey, Purpose, SignRequest, State

# --- a model ------------------------------------------------------------------------------------


class ExclusionMachine(RuleBasedStateMachine):
    """Random requests and deaths. The chain includes any set of signed attempts in which no lock
    is used twice and none that is truly dead: no payout may ever be paid twice by one.

    The daemon is honest here about deaths (a lock was used, an expiry is over); what it asks for
    is random.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.signed: dict[str, tuple[PayoutKey, Purpose, frozenset[str], int | None]] = {}
        self.included: list[str] = []
        self.clock = 0

    def tx(self) -> JournalTx:
        return JournalTx(self.connection, "now")

    @rule(
        payout=st.integers(0, 3),
        purpose=st.sampled_from(Purpose),
        locks=st.frozensets(st.integers(0, 4), max_size=3),
        expires_in=st.none() | st.integers(0, 3),
    )
    def ask(
        self, payout: int, purpose: Purpose, locks: frozenset[int], expires_in: int | None
    ) -> None:
        if not locks and expires_in is None:
            return
        key = PayoutKey("withdrawal", "REF", str(payout))
        names = tuple(f"l{n}" for n in sorted(locks))
        expires = None if expires_in is None else self.clock + expires_in
        effect = Effect("x", ("a",), (), 0, names, expires, ())
        intent = Intent("a", b"", (), 0)
        request = SignRequest("c", key, purpose, 0, 0, intent, b"", 0)
        try:
            check_exclusion(self.tx(), request, effect)
        except SigningRefused:
            return
        txid = f"t{len(self.signed)}"
        self.tx().record(
            NewAttempt("c", txid, key, purpose, 0, 0, "a", b"[]", txid.encode(), b"raw", 0, names,
                       expires, 0)
        )  # fmt: skip
        self.signed[txid] = (key, purpose, frozenset(names), expires)

    def could_land(self, txid: str) -> bool:
        _, _, locks, expires = self.signed[txid]
        used = {lock for other in self.included for lock in self.signed[other][2]}
        return (
            txid not in self.included
            and not locks & used
            and (expires is None or expires >= self.clock)
        )

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def include(self, data: st.DataObject) -> None:
        ready = [t for t in self.signed if self.could_land(t)]
        if ready:
            self.included.append(data.draw(st.sampled_from(ready)))

    @rule()
    def tick(self) -> None:
        self.clock += 1

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        txid = data.draw(st.sampled_from(sorted(self.signed)))
        _, _, locks, expires = self.signed[txid]
        by = next((o for o in self.included if o != txid and self.signed[o][2] & locks), None)
        if txid in self.included:
            death = Death(State.FINAL, 1)
        elif by is not None:
            death = Death(State.USED, 1, by_txid=by)
        elif expires is not None and expires < self.clock:
            death = Death(State.EXPIRED, 1, clock=self.clock)
        else:
            return
        entry = self.tx().attempt("c", txid)
        assert entry is not None
        try:
            check_death(self.tx(), entry, death, now_s=0.0, trusting=False)
        except SigningRefused:
            return
        self.tx().end(entry, death)

    @invariant()
    def no_payout_is_paid_twice(self) -> None:
        paid = [self.signed[t][0] for t in self.included if self.signed[t][1] != Purpose.VOID]
        assert len(paid) == len(set(paid)), self.signed

    def teardown(self) -> None:
        self.connection.close()


TestExclusion = ExclusionMachine.TestCase
TestExclusion.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
