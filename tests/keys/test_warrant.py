"""The warrant: the platform's own signed order, and everything that only looks like it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.keys.signer import (
    SignRequest,
    Warrant,
)
from chain_adapter.platform_api.envelope import Envelope
from tests.keys.world import (
    World,
    refused,
    replace_key,
    rsa_key,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- the warrant --------------------------------------------------------------------------------


def forge(world: World, request: SignRequest, case: str) -> SignRequest:
    warrant = request.warrant
    assert warrant is not None
    order = json.loads(warrant.plaintext)[0]
    stranger = Envelope(rsa_key("stranger"), rsa_key("adapter").public_key())
    others = [world.order(), world.order()]
    whole = world.warrant(*others, order)
    cut = json.dumps([order]).encode()
    made = {
        "changed": Warrant(warrant.plaintext.replace(b"1.5", b"9.5"), warrant.sign),
        "other key": Warrant(warrant.plaintext, stranger.sign(warrant.plaintext)),
        "our own key": Warrant(warrant.plaintext, world.ours.sign(warrant.plaintext)),
        "no signature": Warrant(warrant.plaintext, ""),
        "cut from a longer list": Warrant(cut, whole.sign),
        "another id": world.warrant({**order, "trans_id": "77"}),
        "another amount": world.warrant({**order, "amount": "1.50000001"}),
        "another address": world.warrant({**order, "address_to": world.stranger(9)}),
        "a memo": world.warrant({**order, "memo": "x"}),
        "another symbol": world.warrant({**order, "symbol": "USDX"}),
        "twice, differing": world.warrant(order, {**order, "amount": "9"}),
        "no list": world.warrant(raw=b'{"code": 0}'),
        "no JSON": world.warrant(raw=b"[" * 100_000),
        "empty": world.warrant(),
        "key told twice": world.warrant(
            raw=b"[" + json.dumps(order).encode()[:-1] + b', "amount": "1.5"}]'
        ),
        "exponent out of range": world.warrant({**order, "amount": "1e99"}),
        "number id in a string's place": world.warrant({**order, "trans_id": [1]}),
        "too large": world.warrant(raw=b" " * (1 << 21)),
    }
    return replace(request, warrant=made[case])


@pytest.mark.parametrize(
    "case",
    [
        "changed", "other key", "our own key", "no signature", "cut from a longer list",
        "another id", "another amount", "another address", "a memo", "another symbol",
        "twice, differing", "no list", "no JSON", "empty", "key told twice",
        "exponent out of range", "number id in a string's place", "too large",
    ],
)  # fmt: skip
async def test_warrants_that_are_none(world: World, case: str) -> None:
    request = world.request()
    async with world.signer() as signer:
        await refused(signer, forge(world, request, case), "warrant")
        await signer.sign(request)


@pytest.mark.parametrize(
    "content",
    [
        {"amount": 1.5},
        {"amount": "1.50"},
        {"amount": "15e-1"},
        {"trans_id": 5},
        {"memo": ""},
        {"memo": None},
        {"fee": 3},
    ],
)
async def test_warrants_in_every_form_the_platform_writes(
    world: World, content: dict[str, Any]
) -> None:
    order = world.order()
    request = world.request(order=order)
    told = {**order, **content}
    payout = replace_key(request.payout, trans_id=str(told["trans_id"]))
    async with world.signer() as signer:
        await signer.sign(
            replace(request, payout=payout, warrant=world.warrant(world.order(), told))
        )


async def test_a_warrant_pays_once(world: World) -> None:
    """Replayed under another lock: the journal knows the payout."""
    order = world.order()
    async with world.signer() as signer:
        await signer.sign(world.request(order=order, sequence=0))
        await refused(signer, world.request(order=order, sequence=1), "both could pay")
