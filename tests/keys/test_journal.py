"""The journal's rules: never two attempts of which both could land and both would pay."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chain_adapter.chain import Intent, Payment
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.signer import Death, PayoutKey, Purpose, SignRequest, State
from chain_adapter.sandbox.reference import Flavour
from tests.keys.world import CHAIN, START, World, refused


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def again(world: World, request: SignRequest, *, sequence: int, price: int = 2) -> SignRequest:
    payload = world.payload(request.intent.payments, sequence=sequence, price=price)
    return replace(request, payload=payload)


# --- locks --------------------------------------------------------------------------------------


async def test_a_lock_belongs_to_one_payout(world: World) -> None:
    async with world.signer() as signer:
        signed = await signer.sign(world.request(sequence=0))
        await refused(signer, world.request(sequence=0), "was signed for")
        # used by its own payout it is used for ever, dead or final
        await signer.close(CHAIN, signed.txid, Death(State.FINAL, 10))
        await refused(signer, world.request(sequence=0), "was signed for")
        await signer.sign(world.request(sequence=1))
    async with world.signer() as signer:
        await refused(signer, world.request(sequence=1), "was signed for")


async def test_replacement_shares_the_lock(world: World) -> None:
    first = world.request(sequence=3)
    async with world.signer() as signer:
        await signer.sign(first)
        higher = replace(again(world, first, sequence=3), purpose=Purpose.REPLACE, warrant=None)
        await signer.sign(higher)
        beside = replace(again(world, first, sequence=4), purpose=Purpose.REPLACE)
        await refused(signer, beside, "both could pay")
        others = (Payment("REF", world.stranger(8), 150_000_000),)
        changed = replace(
            higher,
            intent=replace(higher.intent, payments=others),
            payload=world.payload(others, sequence=3, price=3),
        )
        await refused(signer, changed, "another content")
        assert len(await signer.journal(CHAIN)) == 2


async def test_a_payout_is_paid_once(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        signed = await signer.sign(request)
        await signer.close(CHAIN, signed.txid, Death(State.FINAL, 10))
        await refused(signer, again(world, request, sequence=1), "is paid")
        await refused(signer, again(world, request, sequence=0), "is paid")
        assert await signer.sign(request) == signed  # the same bytes may be asked for always
        # a reorganisation deeper than final: taken back, and replaced under the same lock only
        await signer.close(CHAIN, signed.txid, Death(State.OPEN, 11))
        await refused(signer, again(world, request, sequence=1), "both could pay")
        await signer.sign(again(world, request, sequence=0))


# --- voids --------------------------------------------------------------------------------------


async def test_void_burns_the_lock_and_nothing_else(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        paying = await signer.sign(request)
        await refused(signer, world.void(request, sequence=1), "burns no lock")
        void = await signer.sign(world.void(request, sequence=0))
        # while the void is not final the payment may win
        await refused(signer, again(world, request, sequence=1), "both could pay")
        await signer.close(CHAIN, paying.txid, Death(State.USED, 9, by_txid=void.txid))
        await refused(signer, again(world, request, sequence=1), "both could pay")
        await signer.close(CHAIN, void.txid, Death(State.FINAL, 9))
        await signer.sign(again(world, request, sequence=1))


async def test_void_of_what_was_never_signed(world: World) -> None:
    """A reserved nonce, or one that a lost journal knew: a void pays nobody, so it may go."""
    other = world.request(sequence=5)
    async with world.signer() as signer:
        await signer.sign(world.void(world.request(), sequence=4))
        await signer.sign(other)
        await refused(signer, world.void(world.request(), sequence=5), "was signed for")


async def test_void_that_pays_is_none(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        await signer.sign(request)
        paying = replace(again(world, request, sequence=0), purpose=Purpose.VOID)
        await refused(signer, paying, "pays nobody")
        hidden = replace(paying, intent=replace(paying.intent, payments=()))
        await refused(signer, hidden, "the intent does not")


async def test_settled_signs_only_voids(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        signed = await signer.sign(request)
        with pytest.raises(SigningRefused, match="may still land"):
            await signer.settle(request.payout, "sha256:ab", "ann, bob")
        await signer.close(CHAIN, signed.txid, Death(State.FAILED, 9))
        with pytest.raises(SigningRefused, match="evidence"):
            await signer.settle(request.payout, "", "ann, bob")
        await signer.settle(request.payout, "sha256:ab", "ann, bob")
        await signer.settle(request.payout, "sha256:ab", "ann, bob")
    async with world.signer() as signer:
        (mark,) = await signer.settled()
        assert (mark.payout, mark.evidence) == (request.payout, "sha256:ab")
        assert (await signer.journal(CHAIN))[0].settled
        await refused(signer, again(world, request, sequence=1), "settled by hand")
        await signer.sign(world.void(request, sequence=1))


# --- what became of an attempt ------------------------------------------------------------------


async def test_death_by_a_used_lock(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        first = await signer.sign(request)
        second = await signer.sign(again(world, request, sequence=0))
        elsewhere = await signer.sign(world.request(sequence=1))
        for by in (None, first.txid, elsewhere.txid):
            with pytest.raises(SigningRefused, match=r"not named|shares no lock"):
                await signer.close(CHAIN, first.txid, Death(State.USED, 5, by_txid=by))
        with pytest.raises(SigningRefused, match="operators must approve"):
            await signer.close(CHAIN, first.txid, Death(State.USED, 5, by_txid="ff" * 32))
        with pytest.raises(SigningRefused, match="was not signed here"):
            await signer.close(CHAIN, "ee" * 32, Death(State.FAILED, 5))
        await signer.close(CHAIN, first.txid, Death(State.USED, 5, by_txid=second.txid))
        await signer.close(CHAIN, first.txid, Death(State.USED, 5, by_txid=second.txid))
        with pytest.raises(SigningRefused, match="take that back"):
            await signer.close(CHAIN, first.txid, Death(State.FAILED, 5))


async def test_foreign_use_is_taken_where_no_policy_is(tmp_path: Path) -> None:
    world = World(tmp_path, trusting=True)
    request = world.request(sequence=0)
    async with world.signer() as signer:
        signed = await signer.sign(request)
        await signer.close(CHAIN, signed.txid, Death(State.USED, 5, by_txid="ff" * 32))
        await signer.sign(again(world, request, sequence=1))


async def test_death_by_expiry_needs_both_clocks(world: World) -> None:
    """A chain that counts milliseconds: the block's clock and our own must be past it."""
    expires = int(START.timestamp() * 1000) + 60_000
    order = world.order()
    first = world.request(order=order, sequence=None, expires=expires)
    second = world.request(order=order, sequence=None, expires=expires + 60_000, salt=b"2")
    async with world.signer() as signer:
        signed = await signer.sign(first)
        await refused(signer, second, "both could pay")
        for clock in (None, expires - 1, expires):
            with pytest.raises(SigningRefused, match="the clock of the block"):
                await signer.close(CHAIN, signed.txid, Death(State.EXPIRED, 9, clock=clock))
        with pytest.raises(SigningRefused, match="this machine's clock"):
            await signer.close(CHAIN, signed.txid, Death(State.EXPIRED, 9, clock=expires + 1))
        world.now = START + timedelta(seconds=61)
        await signer.close(CHAIN, signed.txid, Death(State.EXPIRED, 9, clock=expires + 1))
        await signer.sign(second)


async def test_expiry_in_heights_and_none(world: World) -> None:
    order = world.order()
    request = world.request(order=order, sequence=None, expires=500)
    nonce = world.request(sequence=3)
    async with world.signer() as signer:
        signed = await signer.sign(request)
        await signer.close(CHAIN, signed.txid, Death(State.EXPIRED, 501, clock=501))
        by_nonce = await signer.sign(nonce)
        with pytest.raises(SigningRefused, match="never expires"):
            await signer.close(CHAIN, by_nonce.txid, Death(State.EXPIRED, 501, clock=10**15))


async def test_two_equal_payouts_without_locks_need_different_bytes(world: World) -> None:
    """Without a nonce the same content is the same transaction: it would pay only once."""
    one, other = world.order(), world.order()
    async with world.signer() as signer:
        await signer.sign(world.request(order=one, sequence=None, expires=500))
        await refused(
            signer, world.request(order=other, sequence=None, expires=500), "signed before"
        )


async def test_void_without_locks_is_none(world: World) -> None:
    request = world.request(sequence=None, expires=500)
    void = replace(
        request,
        purpose=Purpose.VOID,
        warrant=None,
        intent=replace(request.intent, payments=()),
        payload=world.payload((), sequence=None, expires=600),
    )
    async with world.signer() as signer:
        await signer.sign(request)
        await refused(signer, void, "must burn a lock")


async def test_a_dead_parent_orphans_its_coins(tmp_path: Path) -> None:
    world = World(tmp_path, flavour=Flavour.COIN)

    def spend(coins: dict[str, tuple[int, int, int]], fee: int) -> SignRequest:
        order = world.order(amount="0.00001")
        rest = sum(c[2] for c in coins.values()) - 1000 - fee
        payments = (Payment("REF", order["address_to"], 1000),)
        change = (Payment("REF", world.address(0), rest),) if rest else ()
        return SignRequest(
            CHAIN, PayoutKey("withdrawal", "REF", order["trans_id"]), Purpose.PAY, 0, 0,
            Intent(world.address(0), world.public_key(0), payments, 1000),
            world.coin_payload(coins, (*payments, *change)), 7, world.warrant(order),
        )  # fmt: skip

    async with world.signer() as signer:
        parent_request = spend({"aa:0": (0, 0, 5000)}, 100)
        parent = await signer.sign(parent_request)
        child = await signer.sign(spend({f"{parent.txid}:1": (0, 0, 3900)}, 100))
        death = Death(State.ORPHANED, 9, by_txid=parent.txid)
        with pytest.raises(SigningRefused, match="not journaled as dead"):
            await signer.close(CHAIN, child.txid, death)
        void = replace(
            parent_request,
            purpose=Purpose.VOID,
            warrant=None,
            intent=replace(parent_request.intent, payments=()),
            payload=world.coin_payload(
                {"aa:0": (0, 0, 5000)}, (Payment("REF", world.address(0), 4500),)
            ),
        )
        burned = await signer.sign(void)
        await signer.close(CHAIN, parent.txid, Death(State.USED, 9, by_txid=burned.txid))
        other = await signer.sign(spend({"bb:0": (0, 0, 1100)}, 100))
        with pytest.raises(SigningRefused, match="spends no coin"):
            await signer.close(CHAIN, other.txid, death)
        await signer.close(CHAIN, child.txid, death)
