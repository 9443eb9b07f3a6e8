"""The attacker of test_hostile_daemon.py, and the oracle that reads what he got."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from chain_adapter import money
from chain_adapter.chain import Payment, SignedTx
from chain_adapter.keys.approvals import pay_claim
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.keys.rules import payments_text
from chain_adapter.keys.signer import (
    Death,
    KeyPath,
    PayoutKey,
    Purpose,
    SignRequest,
    State,
    Warrant,
)
from chain_adapter.platform_api.envelope import Envelope
from chain_adapter.platform_api.messages import DepositNotice
from chain_adapter.sandbox import reference_tx as tx
from tests.keys.operators import Operators
from tests.keys.world import BINDS, CHAIN, IDENTITY, World, rsa_key

REQUESTS = 10_000
SEED = 20260301
COIN = 10**8
PER_TRANSACTION, PER_HOUR, PER_DAY = 10 * COIN, 20 * COIN, 30 * COIN
APPROVE_ABOVE, APPROVE_TWICE_ABOVE = 3 * COIN, 5 * COIN
FEE_PER_TRANSACTION, FEE_PER_DAY = 1000, 2000
CREDIT_PER_DEPOSIT, CREDIT_PER_HOUR = 100 * COIN, 150 * COIN


@dataclass
class Hostile:
    """What the attacker has collected, and what the oracle remembers."""

    world: World
    remote: RemoteSigner
    operators: Operators
    dice: random.Random
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    warrants: list[Warrant] = field(default_factory=list)
    requests: list[SignRequest] = field(default_factory=list)
    approved: dict[tuple[str, bytes], set[str]] = field(default_factory=lambda: defaultdict(set))
    signed: dict[str, tuple[datetime, SignRequest, SignedTx]] = field(default_factory=dict)
    killed: bool = False
    credits: dict[str, tuple[datetime, int, bytes]] = field(default_factory=dict)
    asked: int = 0
    documents: list[str] = field(default_factory=list)

    # --- genuine pieces

    def new_order(self) -> dict[str, Any]:
        dice = self.dice
        symbol = dice.choice(["REF", "REF", "REF", "USDX"])
        amount = dice.choice(["0.5", "1", "2", "2.99999999", "3", "3.5", "4.9", "6", "11"])
        order = self.world.order(
            symbol=symbol,
            amount=amount if symbol == "REF" else "1.5",
            address_to=self.world.stranger(dice.randrange(6)),
        )
        self.orders[order["trans_id"]] = order
        page = [order, *dice.sample(list(self.orders.values()), min(2, len(self.orders)))]
        self.warrants.append(self.world.warrant(*{o["trans_id"]: o for o in page}.values()))
        return order

    def honest(self) -> SignRequest:
        dice, world = self.dice, self.world
        kind = dice.choice(["withdrawal"] * 6 + ["sweep", "top-up", "cold"])
        sequence = dice.randrange(400)
        price = dice.choice([1, 1, 1, 2, 5, 50])
        if kind == "withdrawal":
            order = dice.choice(list(self.orders.values())) if dice.random() < 0.3 else None
            order = order or self.new_order()
            return world.request(order=order, sequence=sequence, price=price)
        index = dice.randrange(5)
        if kind == "sweep":
            payments = (Payment("USDX", world.address(0), dice.randrange(1, 10**9)),)
            return world.request(kind, payments=payments, index=index, sequence=sequence)
        if kind == "top-up":
            payments = (Payment("REF", world.address(1, index), dice.randrange(1, 10**7)),)
            return world.request(
                kind, payments=payments, destination=KeyPath(1, index), sequence=sequence
            )
        return world.request(
            kind,
            payments=(Payment("REF", world.stranger(200), dice.randrange(1, 10**9)),),
            sequence=sequence,
        )

    # --- mutations

    def twisted(self, request: SignRequest) -> SignRequest:
        for _ in range(self.dice.choice([0, 1, 1, 1, 2, 3])):
            request = self.dice.choice(self.TWISTS)(self, request)
        return request

    def _payments(self, request: SignRequest) -> tuple[Payment, ...]:
        dice, world = self.dice, self.world
        payments = list(request.intent.payments) or [Payment("REF", world.stranger(1), 5)]
        at = dice.randrange(len(payments))
        old = payments[at]
        payments[at] = dice.choice(
            [
                replace(old, to=world.stranger(dice.randrange(250))),
                replace(old, to=world.address(dice.randrange(3), dice.randrange(3))),
                replace(old, amount=(old.amount or 1) + dice.choice([1, -1, 10**9])),
                replace(old, amount=0),
                replace(old, asset="USDX" if old.asset == "REF" else "REF"),
            ]
        )
        if dice.random() < 0.2:
            payments.append(Payment("REF", world.stranger(dice.randrange(250)), COIN))
        return tuple(p for p in payments if (p.amount or 0) >= 0)

    def twist_bytes(self, r: SignRequest) -> SignRequest:
        return replace(r, payload=self._payload(r, self._payments(r)))

    def twist_both(self, r: SignRequest) -> SignRequest:
        payments = self._payments(r)
        return replace(
            r, intent=replace(r.intent, payments=payments), payload=self._payload(r, payments)
        )

    def twist_intent(self, r: SignRequest) -> SignRequest:
        return replace(r, intent=replace(r.intent, payments=self._payments(r)))

    def _payload(self, r: SignRequest, payments: tuple[Payment, ...]) -> bytes:
        dice = self.dice
        timed = dice.random() < 0.05
        return self.world.payload(
            payments,
            account=r.account if dice.random() < 0.9 else dice.randrange(3),
            index=r.index if r.index < 100 else 0,
            sequence=None if timed else dice.randrange(400),
            expires=dice.choice([500, int(self.world.now.timestamp() * 1000) + 60_000])
            if timed
            else None,
            price=dice.choice([1, 1, 2, 40, 400, 10**6]),
            binds=dice.choice([BINDS, BINDS, BINDS, "", "reference:test", "reference:mai"]),
        )

    def twist_other_payload(self, r: SignRequest) -> SignRequest:
        return replace(r, payload=self.dice.choice(self.requests).payload)

    def twist_other_warrant(self, r: SignRequest) -> SignRequest:
        return replace(r, warrant=self.dice.choice([*self.warrants, None]))

    def twist_forged_warrant(self, r: SignRequest) -> SignRequest:
        order = {**self.world.order(trans_id=r.payout.trans_id)}
        if r.intent.payments:
            first = r.intent.payments[0]
            order |= {"address_to": first.to, "amount": money.plain(first.amount or 0, 8)}
        plain = self.world.warrant(order)
        thief = Envelope(rsa_key("stranger"), rsa_key("adapter").public_key())
        return replace(
            r,
            warrant=self.dice.choice(
                [
                    Warrant(plain.plaintext, thief.sign(plain.plaintext)),
                    Warrant(plain.plaintext, self.dice.choice(self.warrants).sign),
                    Warrant(plain.plaintext, self.world.ours.sign(plain.plaintext)),
                    Warrant(plain.plaintext, ""),
                ]
            ),
        )

    def twist_payout(self, r: SignRequest) -> SignRequest:
        dice = self.dice
        known = dice.choice(self.requests).payout
        return replace(
            r,
            payout=PayoutKey(
                dice.choice(["withdrawal", "sweep", "top-up", "cold", "gift", r.payout.kind]),
                dice.choice(["REF", "USDX", known.symbol]),
                dice.choice([known.trans_id, r.payout.trans_id, "x"]),
            ),
        )

    def twist_purpose(self, r: SignRequest) -> SignRequest:
        return replace(r, purpose=self.dice.choice(list(Purpose)))

    def twist_void(self, r: SignRequest) -> SignRequest:
        return self.world.void(r, sequence=self.dice.randrange(400))

    def twist_keys(self, r: SignRequest) -> SignRequest:
        account, index = self.dice.randrange(-1, 4), self.dice.choice([0, 1, 2, 2**31, -1])
        return replace(r, account=account, index=index)

    def twist_sender(self, r: SignRequest) -> SignRequest:
        account = self.dice.randrange(3)
        return replace(
            r,
            intent=replace(
                r.intent,
                sender=self.world.address(account),
                public_key=self.world.public_key(self.dice.randrange(3)),
            ),
        )

    def twist_fee(self, r: SignRequest) -> SignRequest:
        limit = self.dice.choice([0, -1, 10**30])
        payments = r.intent.payments
        return replace(
            r,
            intent=replace(r.intent, fee_limit=limit),
            payload=self.world.payload(
                payments, account=max(0, r.account), sequence=self.dice.randrange(400),
                price=self.dice.choice([300, 350, 10**5]),
            ),
        )  # fmt: skip

    def twist_destination(self, r: SignRequest) -> SignRequest:
        return replace(r, destination=KeyPath(self.dice.randrange(4), self.dice.randrange(9)))

    def twist_also(self, r: SignRequest) -> SignRequest:
        return replace(r, also=(KeyPath(self.dice.randrange(3), self.dice.randrange(4)),))

    def twist_noise(self, r: SignRequest) -> SignRequest:
        raw = bytearray(r.payload or b"x")
        raw[self.dice.randrange(len(raw))] ^= 1 << self.dice.randrange(8)
        return replace(r, payload=bytes(raw))

    def twist_approvals(self, r: SignRequest) -> SignRequest:
        return replace(r, approvals=(self.dice.choice([*self.documents, "", "forged"]),))

    TWISTS = (
        twist_bytes, twist_both, twist_both, twist_intent, twist_other_payload,
        twist_other_warrant, twist_forged_warrant, twist_payout, twist_purpose, twist_void,
        twist_keys, twist_sender, twist_fee, twist_destination, twist_also, twist_noise,
        twist_approvals,
    )  # fmt: skip

    # --- other calls

    async def lie(self) -> None:
        """Whatever else the daemon may say."""
        dice, world, remote = self.dice, self.world, self.remote
        txids = [*self.signed, "ab" * 32]
        death = Death(
            dice.choice(list(State)),
            dice.randrange(10**6),
            dice.choice([*txids, None]),
            dice.choice([None, 10**18, 501]),
        )
        choice = dice.randrange(7)
        if choice <= 3:
            await remote.close(CHAIN, dice.choice(txids), death)
        elif choice == 4:
            await remote.pin(CHAIN, dice.choice(["reference:test", IDENTITY, ""]))
        elif choice == 5:
            await remote.settle(dice.choice(self.requests).payout, "sha256:x", "me")
        else:
            changed = (world.policy or "").replace('"10"', '"1000000"')
            assert await remote.propose_policy(changed) is not None
            await remote.resume("me")

    async def seal(self) -> None:
        dice = self.dice
        amount = dice.choice(["1", "20", "99", "100.5", "5000"])
        notice = DepositNotice(
            request_id=f"r{dice.randrange(60)}",
            symbol=dice.choice(["REF", "REF", "USDX", "XYZ"]),
            txid=f"t{dice.randrange(3)}",
            address_to="a",
            amount=amount,
            confirm=dice.randrange(9),
            balance="0",
        )
        plain = notice.to_json()
        if dice.random() < 0.3:
            plain = plain[:-1] + dice.choice([b',"x":1}', b" }", b"", b',"amount":1}'])
        await self.remote.seal(plain)
        # sealed: then it is a notice as we write it, within the limits, never with other content
        found = DepositNotice.from_json(plain)
        assert found.to_json() == plain
        assert found.symbol == "REF"
        units = money.parse(found.amount, 8)
        content = f"{found.txid} {units}".encode()
        if found.request_id in self.credits:
            assert self.credits[found.request_id][2] == content
            return
        now = self.world.now
        assert units <= CREDIT_PER_DEPOSIT
        hour = [c[1] for c in self.credits.values() if now - c[0] < timedelta(hours=1)]
        assert sum(hour) + units <= CREDIT_PER_HOUR
        self.credits[found.request_id] = (now, units, content)

    async def operator_approves(self) -> None:
        """The operators are honest: they approve some genuine orders, exactly as ordered."""
        order = self.dice.choice(list(self.orders.values()))
        if order["symbol"] != "REF":
            return
        payments = (Payment("REF", order["address_to"], money.parse(order["amount"], 8)),)
        text = payments_text(payments)
        key = PayoutKey("withdrawal", "REF", order["trans_id"])
        who = self.dice.choice(["ann", "bob"])
        document = self.operators.sign(
            who, pay_claim(key, CHAIN, text), expires=self.world.now + timedelta(days=9)
        )
        self.documents.append(document)
        self.approved[order["trans_id"], text].add(who)

    # --- the oracle

    def judge(self, request: SignRequest, signed: SignedTx) -> None:
        """Read the signed bytes and hold them against what was ordered, allowed, approved."""
        assert not self.killed
        if signed.txid in self.signed:
            assert self.signed[signed.txid][2] == signed
            return
        now, world = self.world.now, self.world
        whole: tx.Signed = tx.decode(signed.raw, tx.Signed)
        body: tx.Body = tx.decode(whole.body, tx.Body)
        assert body.binds == BINDS
        own = {world.public_key(a, i): (a, i) for a in range(3) for i in range(9)}
        account, _ = own[body.sender]
        kind = request.payout.kind
        paid = [
            (o.asset, tx.spell(body.flavour, o.to), o.amount)
            for o in body.outputs
            if tx.spell(body.flavour, o.to) != world.chain.address_of(body.sender)
        ]
        fee = body.price * tx.weight(body)
        assert fee <= FEE_PER_TRANSACTION
        assert fee <= request.intent.fee_limit
        locks = set(tx.locks_of(body))
        assert locks or body.expires is not None
        for _, other, made in self.signed.values():
            theirs: tx.Body = tx.decode(tx.decode(made.raw, tx.Signed).body, tx.Body)
            if locks & set(tx.locks_of(theirs)):
                assert other.payout == request.payout, "one lock for two payouts"
        if request.purpose == Purpose.VOID:
            assert paid == []
        elif kind == "withdrawal":
            self._judge_withdrawal(request, account, paid, locks)
        elif kind == "sweep":
            hot = request.destination or KeyPath(0, 0)
            assert hot.account == 0
            assert {to for _, to, _ in paid} == {world.address(0, hot.index)}
        elif kind == "top-up":
            assert all(asset == b"" for asset, _, _ in paid)
            deposits = {world.address(a, i) for a in (1, 2) for i in range(9)}
            assert {to for _, to, _ in paid} <= deposits
        else:
            assert kind == "cold"
            assert paid == [(b"", world.stranger(200), paid[0][2])]
        self.signed[signed.txid] = (now, request, signed)
        self._judge_sums()

    def _judge_withdrawal(
        self,
        request: SignRequest,
        account: int,
        paid: list[tuple[bytes, str, int]],
        locks: set[str],
    ) -> None:
        order = self.orders[request.payout.trans_id]
        assert account == 0
        assert request.payout.symbol == order["symbol"] == "REF"  # no other asset has limits
        amount = money.parse(order["amount"], 8)
        assert paid == [(b"", order["address_to"], amount)]
        assert amount <= PER_TRANSACTION
        needed = 2 if amount > APPROVE_TWICE_ABOVE else int(amount > APPROVE_ABOVE)
        text = payments_text((Payment("REF", order["address_to"], amount),))
        assert len(self.approved[order["trans_id"], text]) >= needed
        # the daemon lies about deaths, and nobody vouched: no second payment could ever land
        for _, other, made in self.signed.values():
            if other.payout == request.payout and other.purpose != Purpose.VOID:
                theirs: tx.Body = tx.decode(tx.decode(made.raw, tx.Signed).body, tx.Body)
                over = theirs.expires is not None and theirs.expires >= 10**12
                over = over and theirs.expires < self.world.now.timestamp() * 1000
                assert locks & set(tx.locks_of(theirs)) or over, "could pay twice"

    def _judge_sums(self) -> None:
        now = self.world.now
        for span, limit in ((timedelta(hours=1), PER_HOUR), (timedelta(days=1), PER_DAY)):
            payouts = {
                request.payout: money.parse(self.orders[request.payout.trans_id]["amount"], 8)
                for at, request, _ in self.signed.values()
                if request.payout.kind == "withdrawal"
                and request.purpose != Purpose.VOID
                and now - at < span
                and self._first(request) > now - span
            }
            assert sum(payouts.values()) <= limit

    def _first(self, request: SignRequest) -> datetime:
        return min(
            at
            for at, r, _ in self.signed.values()
            if r.payout == request.payout and r.purpose != Purpose.VOID
        )
