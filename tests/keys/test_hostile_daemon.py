"""A daemon that was broken into: it may send the signer anything, through the real socket.

10,000 requests, each made of genuine and forged pieces, with lies about deaths, stolen and stale
warrants, old approvals, other people's payloads. The oracle knows only what the platform ordered,
what the operators approved and what the policy says; it reads the signed bytes themselves.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chain_adapter.errors import AdapterError
from chain_adapter.keys.approvals import Claim
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.remote import RemoteSigner
from tests.keys.hostile import REQUESTS, SEED, Hostile
from tests.keys.operators import POLICY, Operators
from tests.keys.test_process import served
from tests.keys.world import CHAIN, World


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: durability is tried elsewhere, and costs minutes."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_requests(quick_folder: Path) -> None:
    tmp_path = quick_folder
    (tmp_path / "operators").mkdir()
    operators = Operators(tmp_path / "operators")
    world = World(
        tmp_path,
        policy=POLICY.format(operators=operators.lines("ann", "bob")),
        cold={"REF": ""},
    )
    world.cold = {"REF": world.stranger(200)}
    operators.ledger_id = PublicKeys.load(world.path).ledger_id
    async with world.signer() as signer, served(signer, tmp_path / "s.sock") as path:
        hostile = Hostile(world, RemoteSigner.at(path), operators, random.Random(SEED))
        refusals: dict[str, int] = defaultdict(int)
        for _ in range(20):
            hostile.requests.append(hostile.honest())
        while hostile.asked < REQUESTS:
            hostile.asked += 1
            dice = hostile.dice
            if dice.random() < 0.2:
                world.now += timedelta(seconds=dice.choice([1, 30, 600, 5000]))
            try:
                roll = dice.random()
                if roll < 0.004:
                    await hostile.operator_approves()
                elif roll < 0.08:
                    await hostile.seal()
                elif roll < 0.16:
                    await hostile.lie()
                elif roll < 0.162:
                    await hostile.remote.kill("drill")
                    hostile.killed = True
                elif hostile.killed and roll < 0.3:
                    status = await hostile.remote.status()
                    assert status.resume is not None
                    document = operators.sign(
                        "ann", Claim(*status.resume), expires=world.now + timedelta(hours=1)
                    )
                    await hostile.remote.approve(document)
                    await hostile.remote.resume("ann")
                    hostile.killed = False
                else:
                    request = hostile.twisted(
                        hostile.honest() if dice.random() < 0.7 else dice.choice(hostile.requests)
                    )
                    hostile.requests.append(request)
                    signed = await hostile.remote.sign(request)
                    hostile.judge(request, signed)
            except AdapterError as refusal:
                refusals[str(refusal)[:24]] += 1
        entries = await hostile.remote.journal(CHAIN)
        await hostile.remote.aclose()
    # every signature was seen by the oracle, and the attack was one: much was refused, for many
    # reasons, and honest requests did get through
    assert {e.txid for e in entries} == set(hostile.signed)
    assert len(hostile.signed) > 150
    assert sum(refusals.values()) > 5000
    assert len(refusals) > 40
    assert hostile.credits


async def test_the_oracle_bites(tmp_path: Path) -> None:
    """Without a policy and its limits the same attack gets more than the oracle allows."""
    (tmp_path / "operators").mkdir()
    operators = Operators(tmp_path / "operators")
    world = World(tmp_path)
    async with world.signer() as signer, served(signer, tmp_path / "s.sock") as path:
        hostile = Hostile(world, RemoteSigner.at(path), operators, random.Random(SEED))
        large = world.order(amount="11")
        hostile.orders[large["trans_id"]] = large
        request = world.request(order=large)
        signed = await hostile.remote.sign(request)
        with pytest.raises(AssertionError):
            hostile.judge(request, signed)
        await hostile.remote.aclose()
