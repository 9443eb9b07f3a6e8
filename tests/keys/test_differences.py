"""Bytes that are not the intent, intents that are not the kind: each difference is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain_adapter.chain import Effect, Payment
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.rules import check_effect, check_network
from chain_adapter.keys.signer import (
    Purpose,
    SignRequest,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference import Flavour
from tests.keys.world import (
    CHAIN,
    STRANGER,
    World,
    refused,
    replace_key,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- intent and bytes that differ ---------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[World, SignRequest], SignRequest], str]] = {
    "recipient in the bytes": (
        lambda w, r: replace(
            r, payload=w.payload((replace(r.intent.payments[0], to=w.stranger(9)),))
        ),
        "payload does not",
    ),
    "amount in the bytes": (
        lambda w, r: replace(
            r,
            payload=w.payload((*r.intent.payments, Payment("REF", w.stranger(3), 1))),
        ),
        "the intent does not",
    ),
    "asset in the bytes": (
        lambda w, r: replace(r, payload=w.payload((replace(r.intent.payments[0], asset="USDX"),))),
        "payload does not",
    ),
    "paid twice": (
        lambda w, r: replace(r, payload=w.payload(r.intent.payments * 2)),
        "the intent does not",
    ),
    "nothing paid": (lambda w, r: replace(r, payload=w.payload(())), "payload does not"),
    "fee above the intent's": (
        lambda w, r: replace(r, payload=w.payload(r.intent.payments, price=400)),
        "may cost 1200",
    ),
    "another network": (
        lambda w, r: replace(r, payload=w.payload(r.intent.payments, binds="reference:test")),
        "is pinned to",
    ),
    "no network": (
        lambda w, r: replace(r, payload=w.payload(r.intent.payments, binds="")),
        "commits to no network",
    ),
    "another sender's key": (
        lambda w, r: replace(r, payload=w.payload(r.intent.payments, index=1)),
        "spends from",
    ),
    "a stranger's intent": (
        lambda w, r: replace(r, intent=replace(r.intent, sender=w.stranger(4))),
        "sender is",
    ),
    "a stranger's key in the intent": (
        lambda w, r: replace(r, intent=replace(r.intent, public_key=STRANGER)),
        "another public key",
    ),
    "another account": (lambda w, r: replace(r, account=1), "sender is"),
    "another index": (lambda w, r: replace(r, index=1), "sender is"),
    "an index that cannot be": (lambda w, r: replace(r, index=2**31), "there is no key"),
    "another chain": (lambda w, r: replace(r, chain="eth"), "knows no chain"),
    "garbage": (lambda w, r: replace(r, payload=b"\x00garbage"), "cannot be named"),
    "too large": (lambda w, r: replace(r, payload=b"[" * (1 << 21)), "larger than"),
    "another symbol": (
        lambda w, r: replace(r, payout=replace_key(r.payout, symbol="USDX")),
        "does not pay REF",
    ),
    "another trans_id": (
        lambda w, r: replace(r, payout=replace_key(r.payout, trans_id="1")),
        "does not list",
    ),
    "another kind": (
        lambda w, r: replace(r, payout=replace_key(r.payout, kind="refund")),
        "no payout of kind",
    ),
    "called a sweep": (
        lambda w, r: replace(r, payout=replace_key(r.payout, kind="sweep")),
        "moves nothing|not paid from",
    ),
    "called cold": (
        lambda w, r: replace(r, payout=replace_key(r.payout, kind="cold")),
        "not the configured cold",
    ),
    "called a void": (lambda w, r: replace(r, purpose=Purpose.VOID), "pays nobody"),
    "called a replacement": (
        lambda w, r: replace(r, purpose=Purpose.REPLACE, warrant=None),
        "no warrant",
    ),
    "no warrant": (lambda w, r: replace(r, warrant=None), "no warrant"),
    "not the canonical spelling": (
        lambda w, r: replace(
            r,
            intent=replace(
                r.intent,
                payments=(replace(r.intent.payments[0], to=r.intent.payments[0].to.upper()),),
            ),
        ),
        "payload does not",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_differences_are_refused(world: World, name: str) -> None:
    change, why = CHANGES[name]
    request = world.request()
    async with world.signer() as signer:
        await refused(signer, change(world, request), why)
        await signer.sign(request)  # it was that difference, and nothing else


def test_sequence_and_expiry_one_must_be(world: World) -> None:
    request = world.request()
    honest = world.chain.inspect(request.payload)
    effect = Effect(
        honest.binds, honest.senders, honest.payments, honest.max_fee, (), None, honest.to_sign
    )
    with pytest.raises(SigningRefused, match="neither a lock nor an expiry"):
        check_effect(request, effect, world.signer_chain())
    check_effect(request, replace(effect, expires=5), world.signer_chain())


@pytest.mark.parametrize(
    ("binds", "identity", "right"),
    [
        ("eip155:1/", "eip155:1/0xd4", True),
        ("eip155:1", "eip155:1/0xd4", True),
        ("eip155:1", "eip155:10/0xd4", False),
        ("eip155:1", "eip155:11155111/0xd4", False),
        ("eip155:10", "eip155:1/0xd4", False),
        ("x:0xd4e56789", "x:0xd4e56789" + "ab" * 28, True),
        ("x:0xd4e5678", "x:0xd4e56789" + "ab" * 28, False),
        ("x:0xd4e56789", "x:0xd4e567890", False),
        ("x:mai", "x:main", False),
        ("x:main", "x:main/1", True),
        ("x:", "x:main", True),
        ("", "eip155:1/0xd4", False),
        ("eip155:1/0xd4", "eip155:1/0xd4", True),
        ("eip155:1/0xd45", "eip155:1/0xd4", False),
        ("a", None, False),
    ],
)
def test_binds_is_a_whole_prefix(
    world: World, binds: str, identity: str | None, right: bool
) -> None:
    effect = replace(world.chain.inspect(world.request().payload), binds=binds)
    if right:
        check_network(effect, identity, CHAIN)
    else:
        with pytest.raises(SigningRefused):
            check_network(effect, identity, CHAIN)


async def test_fee_cap_is_the_signers_own(tmp_path: Path) -> None:
    world = World(tmp_path, fee_cap=5)
    async with world.signer() as signer:
        await refused(signer, world.request(price=2), "fee cap is 5")
        await signer.sign(world.request(price=1))


@pytest.mark.parametrize("whose", ["hot", "gas", "nobody", "token"])
async def test_always_denied_recipients(world: World, whose: str) -> None:
    denied = {
        "hot": world.address(0),
        "gas": world.address(2),
        "nobody": tx.spell(Flavour.ACCOUNT, bytes(20)),
        "token": tx.spell(Flavour.ACCOUNT, bytes(range(1, 21))),
    }
    order = world.order(address_to=denied[whose])
    async with world.signer() as signer:
        await refused(signer, world.request(order=order), "own|nobody|token|payload does not")


# --- generated differences ----------------------------------------------------------------------

amounts = st.integers(1, 2**70)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    intended=st.lists(st.tuples(st.sampled_from(["REF", "USDX"]), st.integers(0, 2), amounts)),
    paid=st.lists(st.tuples(st.sampled_from(["REF", "USDX"]), st.integers(0, 2), amounts)),
    same=st.booleans(),
    change=st.integers(0, 50),
    shuffle=st.randoms(use_true_random=False),
)
def test_intent_and_effect_agree_as_multisets(
    tmp_path_factory: pytest.TempPathFactory,
    intended: list[tuple[str, int, int]],
    paid: list[tuple[str, int, int]],
    same: bool,
    change: int,
    shuffle: Any,
) -> None:
    world = _shared(tmp_path_factory)
    if same:
        paid = list(intended)
        shuffle.shuffle(paid)
    request = world.request("sweep", payments=())
    net = tuple(Payment(asset, world.stranger(to), n) for asset, to, n in intended)
    out = tuple(Payment(asset, world.stranger(to), n) for asset, to, n in paid)
    back = (Payment("REF", request.intent.sender, change),) if change else ()
    effect = replace(world.chain.inspect(request.payload), payments=(*out, *back))
    request = replace(request, intent=replace(request.intent, payments=net))
    if sorted(intended) == sorted(paid):
        assert check_effect(request, effect, world.signer_chain()) == out
    else:
        with pytest.raises(SigningRefused):
            check_effect(request, effect, world.signer_chain())


_worlds: list[World] = []


def _shared(factory: pytest.TempPathFactory) -> World:
    if not _worlds:
        _worlds.append(World(factory.mktemp("shared")))
    return _worlds[0]
