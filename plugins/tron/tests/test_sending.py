"""What a node may say to a broadcast, and whose clock counts."""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import (
    Payment,
    Rejected,
    Unavailable,
)
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.devnet.devnet import TronDevnet
from plugins.tron.tests.parts import (
    Opener,
    Relay,
    funded,
    pay,
    signed,
    stranger,
)

OURS = stranger(1)
NOW, SOLID = "wallet/getnowblock", "walletsolidity/getnowblock"
WINDOW, INFOS = "wallet/getblockbylimitnext", "wallet/gettransactioninfobyblocknum"
NUM = "wallet/getblockbynum"
SEND = "wallet/broadcasthex"


# --- sending --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("SIGERROR", Rejected), ("TAPOS_ERROR", Rejected),
        ("TRANSACTION_EXPIRATION_ERROR", Rejected), ("CONTRACT_VALIDATE_ERROR", Rejected),
        ("CONTRACT_EXE_ERROR", Rejected), ("BANDWITH_ERROR", Rejected),
        ("TOO_BIG_TRANSACTION_ERROR", Rejected),
        ("SERVER_BUSY", Unavailable), ("NO_CONNECTION", Unavailable),
        ("NOT_ENOUGH_EFFECTIVE_CONNECTION", Unavailable), ("BLOCK_UNSOLIDIFIED", Unavailable),
        ("OTHER_ERROR", Unavailable), ("A_CODE_OF_NEXT_YEAR", Unavailable), ("", Unavailable),
        ("DUP_TRANSACTION_ERROR", None),
    ],
)  # fmt: skip
async def test_codes_of_a_broadcast(
    devnet: TronDevnet, chain: TronChain, code: str, error: type[Exception] | None
) -> None:
    payer = await funded(devnet)
    tx = signed(chain, payer, await chain.build(payer.intent(Payment("TRX", OURS, 5))))
    answer = {"code": code, "message": b"as it is".hex()} if code else {}
    devnet.fault(SEND, answer)
    if error is None:
        await chain.broadcast(tx)
    else:
        with pytest.raises(error) as told:
            await chain.broadcast(tx)
        assert not isinstance(told.value, Rejected) or not told.value.for_good
        assert not code or "as it is" in str(told.value)
    await chain.broadcast(tx)  # the same bytes again: nothing was decided
    await devnet.mine()
    assert await chain.locate(tx.txid) is not None


async def test_an_answer_that_was_lost(devnet: TronDevnet, chain: TronChain) -> None:
    """The node took it and the answer never came: the same bytes again are success, once paid."""
    payer = await funded(devnet)
    tx = signed(chain, payer, await chain.build(payer.intent(Payment("TRX", OURS, 5))))
    devnet.fault(SEND, "<html>gateway</html>", status=502, effect=True)
    with pytest.raises(Unavailable):
        await chain.broadcast(tx)
    await chain.broadcast(tx)
    await devnet.mine()
    await chain.broadcast(tx)
    assert (await chain.balance(OURS, "TRX")).amount == 5


async def test_a_node_that_calls_it_by_another_name(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    tx = signed(chain, payer, await chain.build(payer.intent(Payment("TRX", OURS, 5))))
    devnet.fault(SEND, {"result": True, "txid": "ab" * 32})
    with pytest.raises(Unavailable, match="called it"):
        await chain.broadcast(tx)


async def test_a_clock_that_is_ten_minutes_wrong(
    devnet: TronDevnet, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expirations are the chain's time: this machine's clock has no part in them."""
    import time as clock

    chain = opener(devnet.url, devnet.assets)
    payer = await funded(devnet)
    real = clock.time
    for skew_s in (-600.0, 600.0):
        monkeypatch.setattr(clock, "time", lambda skew_s=skew_s: real() + skew_s)
        tx = await pay(chain, payer, Payment("TRX", OURS, 5), salt=str(skew_s).encode())
        await devnet.mine()
        assert await chain.locate(tx.txid) is not None


async def test_a_node_whose_head_is_ten_minutes_old(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """What it lets us build has expired already: it is refused, never included, and told so."""
    chain = opener(relay.url, devnet.assets, expiration_s=60)
    payer = await funded(devnet)

    def old(_: dict[str, Any], answer: Any) -> Any:
        answer["block_header"]["raw_data"]["timestamp"] -= 600_000
        return answer

    relay.bend[NOW] = old
    payload = await chain.build(payer.intent(Payment("TRX", OURS, 5)))
    expires = chain.inspect(payload).expires
    assert expires is not None and expires < devnet.ledger.head.timestamp_ms
    with pytest.raises(Rejected, match="TRANSACTION_EXPIRATION_ERROR"):
        await chain.broadcast(signed(chain, payer, payload))
