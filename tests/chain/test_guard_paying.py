"""The guard: broadcasts, what is refused for good, pure methods."""

from __future__ import annotations

from typing import Any

import coincurve
import pytest

from chain_adapter.chain import (
    Chain,
    Intent,
    InvalidAddress,
    Payment,
    Rejected,
    SignedTx,
    Unavailable,
)
from chain_adapter.sandbox.reference import (
    ReferenceChain,
    ReferencePlugin,
)
from tests.chain.stage import Make, Stage

# --- paying -------------------------------------------------------------------------------------

KEY = coincurve.PrivateKey(b"\x05" * 32)


def signed(stage: Stage, payload: bytes, key: coincurve.PrivateKey = KEY) -> SignedTx:
    wanted = stage.guard.inspect(payload).to_sign
    return stage.guard.assemble(
        payload, [key.sign_recoverable(one.message, hasher=None) for one in wanted]
    )


async def funded(stage: Stage) -> Intent:
    public = KEY.public_key.format()
    mine = stage.guard.address_of(public)
    stage.ledger.pay(mine, 10**9)
    stage.ledger.mine()
    to = stage.ledger.address(stage.ledger.faucet)
    return Intent(mine, public, (Payment(stage.native, to, 10**6),), fee_limit=10**8)


async def test_a_broadcast_goes_to_all_and_one_success_is_enough(make_ledger: Make) -> None:
    stage = Stage(make_ledger(), "abc")
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    stage.ways["a"].down = True
    stage.ways["b"].refuses = "underpriced"
    await stage.run(stage.guard.broadcast(tx))
    await stage.clock.settle()
    assert stage.ledger.pending() == (tx.txid,)
    assert stage.ways["b"].calls["broadcast"] == stage.ways["c"].calls["broadcast"] == 1


async def test_a_slow_endpoint_does_not_hold_up_a_broadcast(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    await stage.run(stage.guard.head())
    stage.ways["b"].latency_s = 4
    begun = stage.clock.monotonic()
    await stage.run(stage.guard.broadcast(tx))
    assert stage.clock.monotonic() == begun
    await stage.clock.advance(10)
    assert stage.ways["b"].calls["broadcast"] == 1
    await stage.run(stage.guard.close())


async def test_rejected_only_if_all_reject(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    tx = signed(stage, await stage.run(stage.guard.build(await funded(stage))))
    stage.ways["a"].refuses = stage.ways["b"].refuses = "nonce too low"
    with pytest.raises(Rejected, match="nonce too low"):
        await stage.run(stage.guard.broadcast(tx))
    assert all(one.up for one in stage.guard.health())
    stage.ways["b"].refuses = None
    stage.ways["b"].loses_answers = True
    with pytest.raises(Unavailable):
        await stage.run(stage.guard.broadcast(tx))
    assert stage.ledger.pending() == (tx.txid,)


async def test_for_good_needs_every_endpoint_that_answers(make_ledger: Make) -> None:
    stage = Stage(make_ledger())
    intent = await funded(stage)
    stage.ledger.revert(intent.payments[0].to)
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert caught.value.for_good
    stage.ledger.revert(intent.payments[0].to, False)
    stage.ways["a"].fails.append(Rejected("reverts", for_good=True))
    await stage.run(stage.guard.reach())  # identity proven, the error is used up
    stage.ways["a"].fails.append(Rejected("reverts", for_good=True))
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert not caught.value.for_good
    stage.ledger.revert(intent.payments[0].to)
    stage.ways["b"].down = True
    with pytest.raises(Rejected) as caught:
        await stage.run(stage.guard.build(intent))
    assert caught.value.for_good


async def test_pure_methods_let_no_foreign_error_through(make_ledger: Make) -> None:
    class Careless(ReferenceChain):
        def parse_address(self, text: str) -> str:
            return {"good": "good"}[text]

        def inspect(self, payload: bytes) -> Any:
            return payload[99]

    class CarelessPlugin(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return Careless(settings.flavour, assets, endpoint, gate)

    stage = Stage(make_ledger(), "a", plugin=CarelessPlugin())
    with pytest.raises(InvalidAddress):
        stage.guard.parse_address("bad")
    with pytest.raises(InvalidAddress):
        stage.guard.address_key("bad")
    with pytest.raises(Rejected):
        stage.guard.inspect(b"")
    with pytest.raises(Rejected):
        stage.guard.assemble(b"", [])
