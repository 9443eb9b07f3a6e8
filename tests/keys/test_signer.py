"""What is signed, and all that is not: intent, effect, warrant, kind, network, keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.chain import Intent, Payment
from chain_adapter.errors import KeyFileError, SigningRefused
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.signer import (
    KeyPath,
    LocalSigner,
    PayoutKey,
    Purpose,
    SignRequest,
    verify_proof,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference import Flavour
from tests.keys.world import (
    BINDS,
    CHAIN,
    IDENTITY,
    PASSPHRASE,
    START,
    World,
    refused,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- what is signed -----------------------------------------------------------------------------


async def test_withdrawal_is_signed_and_journaled_first(world: World) -> None:
    request = world.request()
    async with world.signer() as signer:
        signed = await signer.sign(request)
        (entry,) = await signer.journal(CHAIN)
        assert (entry.txid, entry.raw) == (signed.txid, signed.raw)
        assert entry.payout == request.payout
        assert entry.locks == (f"{world.address(0)}/0",)
        assert entry.build_height == 100
        assert entry.signed_at.startswith("2026-03-01T12:00:00")
        assert await signer.sign(request) == signed
        assert len(await signer.journal(CHAIN)) == 1
        assert await signer.journal(CHAIN, after=entry.seq) == []
        assert await signer.journal("other") == []
    made: tx.Signed = tx.decode(signed.raw, tx.Signed)
    digest = tx.digests(made.body, ())[0]
    assert tx.signed_by(made.signatures[0][:65], digest) == world.public_key(0)


async def test_same_bytes_after_restart(world: World) -> None:
    request = world.request()
    async with world.signer() as signer:
        signed = await signer.sign(request)
    async with world.signer() as signer:
        assert await signer.sign(request) == signed


async def test_token_withdrawal(world: World) -> None:
    order = world.order(symbol="USDX", amount="12.345678")
    async with world.signer() as signer:
        await signer.sign(world.request(order=order))


async def test_memo_goes_byte_for_byte(tmp_path: Path) -> None:
    world = World(tmp_path, flavour=Flavour.MEMO)
    order = world.order(memo="Order 77 ")
    good = world.request(order=order)
    async with world.signer() as signer:
        other = (replace(good.intent.payments[0], memo="Order 77"),)
        intent = replace(good.intent, payments=other)
        await refused(signer, replace(good, intent=intent), "does not|payload pays")
        changed = replace(good, intent=intent, payload=world.payload(other))
        await refused(signer, changed, "memo is not the warrant's")
        await signer.sign(good)


async def test_sweep_top_up_and_cold(tmp_path: Path) -> None:
    world = World(tmp_path, cold={"REF": "set below"})
    world.cold = {"REF": world.stranger(9)}
    sweep = world.request(
        "sweep", payments=(Payment("USDX", world.address(0), 10),), index=4, trans_id="sweep:a:1"
    )
    top_up = world.request(
        "top-up",
        payments=(Payment("REF", world.address(1, 4), 10),),
        destination=KeyPath(1, 4),
        trans_id="top-up:a:1",
    )
    cold = world.request(
        "cold", payments=(Payment("REF", world.stranger(9), 10),), trans_id="cold:1"
    )
    async with world.signer() as signer:
        for request in (sweep, top_up, cold):
            await signer.sign(request)
        await refused(signer, replace(top_up, destination=None, payload=b"x"), "cannot be named")
        elsewhere = (Payment("USDX", world.stranger(), 10),)
        await refused(
            signer,
            world.request("sweep", payments=elsewhere, index=5, trans_id="sweep:b:1"),
            "which is not",
        )
        await refused(
            signer,
            world.request("cold", payments=(Payment("USDX", world.stranger(9), 1),), sequence=1),
            "not the configured cold address",
        )
        tokens = (Payment("USDX", world.address(1, 4), 10),)
        await refused(
            signer,
            world.request("top-up", payments=tokens, destination=KeyPath(1, 4), sequence=1),
            "fee asset only",
        )
        await refused(
            signer,
            world.request("top-up", payments=top_up.intent.payments, sequence=1),
            "must name the address",
        )
        hot_again = world.request(
            "sweep", payments=(Payment("REF", world.address(0), 1),), account=0, sequence=1
        )
        await refused(signer, hot_again, "payload does not")


async def test_all_less_the_fee_only_to_ourselves(world: World) -> None:
    sweep = world.request("sweep", payments=(Payment("REF", world.address(0), 500),), index=4)
    everything = (Payment("REF", world.address(0), None),)
    order = world.order()
    paying = world.request(order=order, sequence=5)
    to_other = (Payment("REF", order["address_to"], None),)
    async with world.signer() as signer:
        await signer.sign(replace(sweep, intent=replace(sweep.intent, payments=everything)))
        await refused(
            signer,
            replace(paying, intent=replace(paying.intent, payments=to_other)),
            "names its amount",
        )


async def test_coin_chain_change_and_many_keys(tmp_path: Path) -> None:
    world = World(tmp_path, flavour=Flavour.COIN)
    order = world.order(amount="0.00001")
    payment = Payment("REF", order["address_to"], 1000)
    async with world.signer() as signer:
        signed = await signer.sign(_coin_request(world, order, payment))
        (entry,) = await signer.journal(CHAIN)
        assert entry.locks == ("aa:0", "bb:1")
        assert entry.max_fee == 300
        assert signed.txid == entry.txid


def _coin_request(world: World, order: dict[str, Any], payment: Payment) -> SignRequest:
    change = Payment("REF", world.address(0), 700)
    payload = world.coin_payload({"aa:0": (0, 0, 1500), "bb:1": (0, 3, 500)}, (payment, change))
    return SignRequest(
        chain=CHAIN,
        payout=PayoutKey("withdrawal", "REF", order["trans_id"]),
        purpose=Purpose.PAY,
        account=0,
        index=0,
        intent=Intent(world.address(0), world.public_key(0), (payment,), 1000),
        payload=payload,
        build_height=7,
        warrant=world.warrant(order),
        also=(KeyPath(0, 3),),
    )


async def test_coin_chain_key_that_was_not_named(tmp_path: Path) -> None:
    world = World(tmp_path, flavour=Flavour.COIN)
    order = world.order(amount="0.00001")
    request = _coin_request(world, order, Payment("REF", order["address_to"], 1000))
    async with world.signer() as signer:
        await refused(signer, replace(request, also=()), "spends from")
        await refused(signer, replace(request, also=(KeyPath(1, 3),)), "of one account")
        await refused(signer, replace(request, also=(KeyPath(0, 4),)), "spends from")


# --- the pin ------------------------------------------------------------------------------------


async def test_nothing_before_the_pin_and_never_another(tmp_path: Path) -> None:
    world = World(tmp_path, pin=False)
    request = world.request()
    async with world.signer() as signer:
        await refused(signer, request, "not pinned")
        with pytest.raises(SigningRefused, match="empty"):
            await signer.pin(CHAIN, "")
        await signer.pin(CHAIN, IDENTITY)
        await signer.pin(CHAIN, IDENTITY)
        with pytest.raises(SigningRefused, match="is pinned to"):
            await signer.pin(CHAIN, "reference:test/0x1")
    async with world.signer() as signer:
        with pytest.raises(SigningRefused, match="is pinned to"):
            await signer.pin(CHAIN, "reference:test/0x1")
        await signer.sign(request)


# --- the rest -----------------------------------------------------------------------------------


async def test_prove_shows_the_key_and_nothing_else(world: World) -> None:
    challenge = b"c" * 32
    async with world.signer() as signer:
        proof = await signer.prove(CHAIN, 1, 7, challenge)
        with pytest.raises(SigningRefused, match="challenge"):
            await signer.prove(CHAIN, 1, 7, b"short")
    key, address = world.public_key(1, 7), world.address(1, 7)
    assert verify_proof("secp256k1", key, CHAIN, address, challenge, proof)
    assert not verify_proof("secp256k1", key, CHAIN, address, b"d" * 32, proof)
    assert not verify_proof("secp256k1", key, "other", address, challenge, proof)
    assert not verify_proof("secp256k1", world.public_key(1, 8), CHAIN, address, challenge, proof)


async def test_many_at_once_share_commits(world: World) -> None:
    requests = [world.request(sequence=n) for n in range(100)]
    async with world.signer() as signer:
        before = signer.commits
        signed = await asyncio.gather(*(signer.sign(r) for r in requests))
        assert len({s.txid for s in signed}) == 100
        assert signer.commits - before < 50


async def test_same_lock_asked_for_at_once_is_granted_once(world: World) -> None:
    requests = [world.request(sequence=0) for _ in range(20)]
    async with world.signer() as signer:
        answers = await asyncio.gather(*(signer.sign(r) for r in requests), return_exceptions=True)
    assert sum(not isinstance(a, BaseException) for a in answers) == 1
    assert sum(isinstance(a, SigningRefused) for a in answers) == 19


def test_open_stretches_the_passphrase(world: World) -> None:
    with pytest.raises(KeyFileError, match="does not fit"):
        LocalSigner.open(world.path, "no", {}, world.ours.verify, wait_s=0)
    signer = LocalSigner.open(
        world.path, PASSPHRASE, {CHAIN: world.signer_chain()}, world.ours.verify, wait_s=0
    )
    asyncio.run(signer.aclose())
    assert PASSPHRASE not in repr(signer)


def test_world_is_what_it_says(world: World) -> None:
    assert IDENTITY.startswith(BINDS)
    assert START.tzinfo is not None
    assert PublicKeys.load(world.path).ledger_id
