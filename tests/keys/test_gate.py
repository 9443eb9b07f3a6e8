"""The policy at work: limits by the signer's own ledger, approvals, the kill switch, credits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chain_adapter.chain import Payment
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.approvals import Claim, approval_text, content_of
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.signer import (
    Death,
    KeyPath,
    PayoutKey,
    Purpose,
    SignRequest,
    State,
)
from tests.keys.operators import POLICY, Operators, claim_of, notice
from tests.keys.test_ssh_signature import ssh_sign
from tests.keys.world import CHAIN, START, World, refused


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    return Operators(tmp_path_factory.mktemp("operators"))


@pytest.fixture
def world(tmp_path: Path, operators: Operators) -> World:
    made = World(tmp_path, policy=POLICY.format(operators=operators.lines("ann", "bob")))
    operators.ledger_id = PublicKeys.load(made.path).ledger_id
    return made


# --- limits -------------------------------------------------------------------------------------


async def test_limits_by_the_signers_own_ledger(world: World) -> None:
    async with world.signer() as signer:
        for n in range(6):
            await signer.sign(world.request(order=world.order(amount="3"), sequence=n))
    async with world.signer() as signer:  # sums are read again
        more = world.request(order=world.order(amount="3"), sequence=6)
        await refused(signer, more, "per_hour")
        await signer.sign(world.request(order=world.order(amount="2"), sequence=6))
        world.now = START + timedelta(hours=1, seconds=1)
        await signer.sign(replace(more, payload=world.payload(more.intent.payments, sequence=7)))
        for n in (8, 9):
            await signer.sign(world.request(order=world.order(amount="3"), sequence=n))
        await refused(signer, world.request(order=world.order(amount="3"), sequence=10), "per_day")
        world.now = START + timedelta(days=1, hours=2)
        await signer.sign(world.request(order=world.order(amount="3"), sequence=10))


async def test_limits_hold_for_many_at_once(world: World) -> None:
    requests = [world.request(order=world.order(amount="3"), sequence=n) for n in range(20)]
    async with world.signer() as signer:
        answers = await asyncio.gather(*map(signer.sign, requests), return_exceptions=True)
    assert sum(not isinstance(a, BaseException) for a in answers) == 6


async def test_replacements_count_once(world: World) -> None:
    request = world.request(order=world.order(amount="3"), sequence=0)
    async with world.signer() as signer:
        await signer.sign(request)
        for price in range(2, 10):
            await signer.sign(
                replace(
                    request,
                    purpose=Purpose.REPLACE,
                    payload=world.payload(request.intent.payments, sequence=0, price=price),
                )
            )
        for n in range(1, 6):
            await signer.sign(world.request(order=world.order(amount="3"), sequence=n))


async def test_what_is_refused_later_is_not_counted(world: World) -> None:
    """A refusal after the sums were booked takes them back."""
    async with world.signer() as signer:
        for _ in range(30):
            bad = world.request(order=world.order(amount="3"), price=400)
            await refused(signer, bad, "may cost")
            costly = world.request(order=world.order(amount="3"), price=300)
            costly = replace(costly, intent=replace(costly.intent, fee_limit=10**6))
            await refused(
                signer,
                replace(costly, payload=world.payload(costly.intent.payments, price=350)),
                "fee_per_transaction",
            )
        for n in range(6):
            await signer.sign(world.request(order=world.order(amount="3"), sequence=n))


async def test_fee_budget_of_the_day(world: World) -> None:
    async with world.signer() as signer:
        await signer.sign(world.request(order=world.order(amount="1"), sequence=0, price=300))
        await signer.sign(world.request(order=world.order(amount="1"), sequence=1, price=300))
        third = world.request(order=world.order(amount="1"), sequence=2, price=300)
        await refused(signer, third, "fee_per_day")
        await refused(signer, world.void(third, sequence=2, price=300), "fee_per_day")
        world.now = START + timedelta(days=1, seconds=1)
        await signer.sign(third)


async def test_top_ups_within_the_gas_cap(world: World) -> None:
    def top_up(n: int, amount: int) -> SignRequest:
        payments = (Payment("REF", world.address(1, n), amount),)
        return world.request("top-up", payments=payments, destination=KeyPath(1, n), sequence=n)

    async with world.signer() as signer:
        await refused(signer, top_up(0, 10**8 + 1), "top_up_per_transaction")
        await signer.sign(top_up(0, 10**8))
        await signer.sign(top_up(1, 10**8))
        await refused(signer, top_up(2, 1), "top_up_per_day")


async def test_assets_without_a_table_are_denied(world: World) -> None:
    async with world.signer() as signer:
        request = world.request(order=world.order(symbol="USDX", amount="1"))
        await refused(signer, request, "USDX is not allowed")


# --- approvals ----------------------------------------------------------------------------------


async def test_one_and_two_approvals(world: World, operators: Operators) -> None:
    small = world.request(order=world.order(amount="4"), sequence=0)
    large = world.request(order=world.order(amount="8"), sequence=1)
    async with world.signer() as signer:
        await refused(signer, small, "waits for 1 operators")
        assert await signer.controls.approve(operators.sign("ann", claim_of(small))) == "ann"
        await signer.sign(small)
        await signer.controls.approve(operators.sign("ann", claim_of(large)))
        await signer.controls.approve(operators.sign("ann", claim_of(large)))  # the same person
        await refused(signer, large, "waits for 2 operators to approve, 1 did")
    async with world.signer() as signer:  # approvals are kept
        await signer.sign(replace(large, approvals=(operators.sign("bob", claim_of(large)),)))
        (found,) = [
            e for e in await signer.controls.events() if e.what == "signed" and "1001" in e.subject
        ]
        assert "approved by ann, bob" in found.detail


async def test_approvals_that_do_not_count(world: World, operators: Operators) -> None:
    request = world.request(order=world.order(amount="4"))
    claim = claim_of(request)
    other = world.request(order=world.order(amount="4.5"))
    async with world.signer() as signer:
        for document, why in (
            (operators.sign("eve", claim), "no operator's"),
            (operators.sign("ann", claim, expires=START - timedelta(seconds=1)), "expired"),
            (operators.sign("ann", claim).replace("act: pay", "act: redo"), "does not hold"),
            (operators.sign("ann", replace(claim, act="steal")), "no act"),
            (operators.sign("ann", claim) + "x" * 40_000, "too large"),
            (approval_text(claim, operators.ledger_id, START), "no SSH signature"),
            ("", "no SSH signature"),
        ):
            with pytest.raises(SigningRefused, match=why):
                await signer.controls.approve(document)
        text = approval_text(claim, "ab" * 16, START)
        foreign = text + ssh_sign(operators.keys["ann"], text.encode())
        with pytest.raises(SigningRefused, match="another ledger"):
            await signer.controls.approve(foreign)
        # valid, but for another payout, content or act
        for wrong in (
            claim_of(other),
            replace(claim, content="00" * 32),
            replace(claim, act="redo"),
        ):
            await signer.controls.approve(operators.sign("ann", wrong))
        await refused(signer, request, "waits for 1")
        # it expires between being given and being used
        await signer.controls.approve(
            operators.sign("ann", claim, expires=START + timedelta(minutes=5))
        )
        world.now = START + timedelta(minutes=6)
        await refused(signer, request, "waits for 1")


async def test_a_removed_operator_approves_nothing(world: World, operators: Operators) -> None:
    request = world.request(order=world.order(amount="4"))
    async with world.signer() as signer:
        await signer.controls.approve(operators.sign("bob", claim_of(request)))
        changed = POLICY.format(operators=operators.lines("ann", "eve"))
        claim = Claim(*(await signer.controls.propose_policy(changed) or ()))
        for who in ("ann", "bob"):
            await signer.controls.approve(operators.sign(who, claim))
        assert await signer.controls.propose_policy(changed) is None
        await refused(signer, request, "waits for 1")
        await signer.controls.approve(operators.sign("eve", claim_of(request)))
        await signer.sign(request)


# --- a new policy -------------------------------------------------------------------------------


async def test_a_changed_file_is_not_in_force(world: World, operators: Operators) -> None:
    async with world.signer():
        assert world.in_force
    old = world.policy
    world.policy = (old or "").replace('per_transaction = "10"', 'per_transaction = "10000"')
    async with world.signer() as signer:
        assert not world.in_force
        assert (await signer.controls.status()).policy_text == old
        claim = Claim(*(await signer.controls.propose_policy(world.policy) or ()))
        await signer.controls.approve(operators.sign("ann", claim))
        assert await signer.controls.propose_policy(world.policy) is not None
        await signer.controls.approve(operators.sign("bob", claim))
    async with world.signer() as signer:
        assert world.in_force
        # back to the old one: the approvals of before do not fit again
        assert await signer.controls.propose_policy(old or "") is not None
    world.policy = None
    async with world.signer() as signer:  # a lost file does not lift the policy
        await refused(signer, world.request(order=world.order(amount="4")), "waits for 1")


# --- kill switch --------------------------------------------------------------------------------


async def test_kill_stops_every_signature(world: World, operators: Operators) -> None:
    request = world.request(order=world.order(amount="1"))
    async with world.signer() as signer:
        await signer.sign(request)
        await signer.controls.kill("drill")
        for asked in (request, world.request(sequence=1), world.void(request, sequence=0)):
            await refused(signer, asked, "kill switch is on .drill")
        with pytest.raises(SigningRefused, match="kill switch"):
            await signer.prove(CHAIN, 1, 0, b"c" * 32)
        # scanning and reporting go on
        assert len(await signer.journal(CHAIN)) == 1
        await signer.controls.seal(notice().to_json())
        await signer.close(CHAIN, (await signer.journal(CHAIN))[0].txid, Death(State.FINAL, 5))
    async with world.signer() as signer:
        await refused(signer, world.request(sequence=1), "kill switch")
        with pytest.raises(SigningRefused, match="waits for 1"):
            await signer.controls.resume("me")
        status = await signer.controls.status()
        assert status.killed == "drill"
        assert status.resume is not None
        document = operators.sign("bob", Claim(*status.resume))
        await signer.controls.approve(document)
        await signer.controls.resume("me")
        await signer.sign(world.request(order=world.order(amount="1"), sequence=1))
        # the next kill needs an approval of its own
        await signer.controls.kill("again")
        await signer.controls.approve(document)
        with pytest.raises(SigningRefused, match="waits for 1"):
            await signer.controls.resume("me")


async def test_kill_file(tmp_path: Path) -> None:
    world = World(tmp_path, kill_file=tmp_path / "kill")
    async with world.signer() as signer:
        await signer.sign(world.request(sequence=0))
        (tmp_path / "kill").touch()
        await refused(signer, world.request(sequence=1), "kill switch")
        with pytest.raises(SigningRefused, match="remove"):
            await signer.controls.resume("ann")
        (tmp_path / "kill").unlink()
        await signer.sign(world.request(sequence=1))


async def test_resume_without_a_policy(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.signer() as signer:
        await signer.controls.kill("x")
        await refused(signer, world.request(), "kill")
        await signer.controls.resume("ann")
        await signer.sign(world.request())


# --- paying again, evidence, settling -----------------------------------------------------------


async def test_paying_again_after_a_death_needs_people(world: World, operators: Operators) -> None:
    request = world.request(order=world.order(amount="1"), sequence=0)
    again = replace(request, payload=world.payload(request.intent.payments, sequence=1))
    async with world.signer() as signer:
        signed = await signer.sign(request)
        void = await signer.sign(world.void(request, sequence=0))
        # a daemon that lies: the payment is dead, it says, and the void is final
        await signer.close(CHAIN, signed.txid, Death(State.USED, 9, by_txid=void.txid))
        await signer.close(CHAIN, void.txid, Death(State.FINAL, 9))
        await refused(signer, again, "redo waits for 1")
        await signer.controls.approve(operators.sign("ann", claim_of(request, "redo")))
        await signer.sign(again)


async def test_expiry_by_the_signers_own_clock_needs_nobody(world: World) -> None:
    expires = int(START.timestamp() * 1000) + 60_000
    request = world.request(order=world.order(amount="1"), sequence=None, expires=expires)
    again = replace(
        request,
        payload=world.payload(request.intent.payments, sequence=None, expires=expires + 90_000),
    )
    async with world.signer() as signer:
        signed = await signer.sign(request)
        world.now = START + timedelta(seconds=61)
        await signer.close(CHAIN, signed.txid, Death(State.EXPIRED, 9, clock=expires + 1))
        await signer.sign(again)


async def test_foreign_use_needs_evidence(world: World, operators: Operators) -> None:
    request = world.request(order=world.order(amount="1"), sequence=0)
    foreign = "ff" * 32
    async with world.signer(trusting=True) as signer:  # a policy is in force: no trust
        signed = await signer.sign(request)
        death = Death(State.USED, 9, by_txid=foreign)
        with pytest.raises(SigningRefused, match="operators must approve"):
            await signer.close(CHAIN, signed.txid, death)
        claim = Claim("evidence", signed.txid, content_of("evidence", CHAIN, signed.txid, foreign))
        for who in ("ann", "bob"):
            await signer.controls.approve(operators.sign(who, claim))
        await signer.close(CHAIN, signed.txid, death)


async def test_settle_needs_two(world: World, operators: Operators) -> None:
    payout = PayoutKey("withdrawal", "REF", "9")
    claim = Claim("settle", str(payout), content_of("settle", str(payout), "sha256:e"))
    async with world.signer() as signer:
        await signer.controls.approve(operators.sign("ann", claim))
        with pytest.raises(SigningRefused, match="waits for 2"):
            await signer.settle(payout, "sha256:e", "ann")
        await signer.controls.approve(operators.sign("bob", claim))
        with pytest.raises(SigningRefused, match="waits for 2"):
            await signer.settle(payout, "sha256:other", "ann")
        await signer.settle(payout, "sha256:e", "ann")
        (mark,) = await signer.settled()
        assert mark.by_whom == "ann, bob"
