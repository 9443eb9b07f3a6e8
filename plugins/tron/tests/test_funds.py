"""Funds: what a payment lacks, all there is; and how a payment dies or fails."""

from __future__ import annotations

import pytest

from chain_adapter.chain import (
    Payment,
    Rejected,
)
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import read_payload
from chain_adapter_tron.devnet.devnet import TronDevnet
from plugins.tron.tests.parts import (
    TRX,
    Opener,
    funded,
    pay,
    read,
    sent,
    short_of,
    signed,
    stranger,
    tokens,
    transfers,
    wallet,
    watching,
)

OURS = stranger(1)
CALL = "wallet/triggerconstantcontract"
PARAMETERS = "wallet/getchainparameters"


# --- funds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
async def test_a_shortage_is_met_by_one_payment(
    devnet: TronDevnet, chain: TronChain, asset: str
) -> None:
    """An address that never was: what it is short of is enough, once paid in."""
    payer = wallet(9)
    if asset != "TRX":
        await devnet.pay(asset, payer.address, 50)
        await devnet.mine()
        if asset == "USDT":
            assert await chain.locate("00" * 32) is None
    intent = payer.intent(Payment(asset, OURS, 50))
    short = await short_of(chain, intent)
    assert short is not None and short.asset == "TRX" and short.short_by > 0
    await devnet.pay("TRX", payer.address, short.short_by)
    await devnet.mine()
    tx = signed(chain, payer, await chain.build(intent))
    await chain.broadcast(tx)
    await devnet.mine()
    assert await chain.locate(tx.txid) is not None
    assert (await chain.balance(OURS, asset)).amount == 50


@pytest.mark.parametrize("asset", ["USDT", "TEN"])
async def test_too_few_tokens(devnet: TronDevnet, chain: TronChain, asset: str) -> None:
    payer = await funded(devnet)
    short = await short_of(chain, payer.intent(Payment(asset, OURS, 1_000 * TRX + 3)))
    assert short is not None and (short.asset, short.short_by) == (asset, 3)


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
async def test_all_there_is(devnet: TronDevnet, chain: TronChain, asset: str) -> None:
    payer = await funded(devnet)
    have = (await chain.balance(payer.address, asset)).amount
    payload = await chain.build(payer.intent(Payment(asset, OURS, None)))
    effect = chain.inspect(payload)
    amount = effect.payments[0].amount
    assert amount == have - (1_100_000 if asset == "TRX" else 0), "a new account is burned for"
    await chain.broadcast(signed(chain, payer, payload))
    await devnet.mine()
    assert (await chain.balance(OURS, asset)).amount == amount


async def test_all_there_is_of_trx_where_bandwidth_is_free(
    devnet: TronDevnet, chain: TronChain
) -> None:
    """Next to nothing stays; and where it is no longer free, just what will be burned."""
    payer = await funded(devnet)
    await pay(chain, payer, Payment("TRX", devnet.address, None))
    await devnet.mine()
    assert (await chain.balance(payer.address, "TRX")).amount == 1
    for number in range(2):
        await devnet.pay("TRX", payer.address, 5 * TRX)
        await devnet.mine()
        await pay(chain, payer, Payment("TRX", devnet.address, None), salt=bytes([number]))
        await devnet.mine()
        assert (await chain.balance(payer.address, "TRX")).amount == 1 - number


async def test_all_of_nothing_is_a_shortage(devnet: TronDevnet, chain: TronChain) -> None:
    for asset in ("TRX", "USDT", "TEN"):
        short = await short_of(chain, wallet(9).intent(Payment(asset, OURS, None)))
        assert short is not None and short.short_by > 0


# --- death ----------------------------------------------------------------------------------------


async def test_a_payment_dies_by_expiry_alone(devnet: TronDevnet, chain: TronChain) -> None:
    """Accepted and lost by every node; the same bytes change nothing. Once a block's clock is above
    `expires` no later block takes it, and a new attempt pays once."""
    payer = await funded(devnet)
    start = (await chain.head()).ref
    devnet.lose()
    payload = await chain.build(payer.intent(Payment("TRX", OURS, 5), salt=b"1"))
    tx, expires = signed(chain, payer, payload), chain.inspect(payload).expires
    assert expires is not None
    await chain.broadcast(tx)
    while devnet.ledger.head.timestamp_ms <= expires:
        await chain.broadcast(tx)
        await devnet.mine()
    devnet.ledger.lost.clear()
    with pytest.raises(Rejected, match="EXPIRATION"):
        await chain.broadcast(tx)
    second = await pay(chain, payer, Payment("TRX", OURS, 5), salt=b"2")
    await devnet.mine()
    blocks = await read(chain, watching(OURS, senders=[payer.address]), after=start)
    assert [one.txid for one in sent(blocks)] == [second.txid]
    assert [one.amount for one in transfers(blocks)] == [5]


async def test_the_last_block_that_takes_it(devnet: TronDevnet, chain: TronChain) -> None:
    """Its parent's time is still below the expiration; the next block's parent is beyond it."""
    payer = await funded(devnet)
    payload = await chain.build(payer.intent(Payment("TRX", OURS, 5)))
    expires = chain.inspect(payload).expires or 0
    tx = signed(chain, payer, payload)
    while devnet.ledger.head.timestamp_ms + devnet.ledger.slot_ms < expires:
        await devnet.mine()
    await chain.broadcast(tx)
    await devnet.mine()
    found = devnet.ledger.find(tx.txid)
    assert found is not None and found[0].timestamp_ms >= expires, "and it was included"


async def test_a_fork_takes_a_payment_back_and_the_same_bytes_return_it(
    devnet: TronDevnet, chain: TronChain
) -> None:
    payer = await funded(devnet)
    tx = await pay(chain, payer, Payment("USDT", OURS, 5))
    await devnet.mine()
    await devnet.reorg(1)
    assert await chain.locate(tx.txid) is None
    await chain.broadcast(tx)
    await devnet.mine()
    assert await chain.locate(tx.txid) is not None
    assert (await chain.balance(OURS, "USDT")).amount == 5


async def test_a_payment_that_runs_out_of_energy_is_told(
    devnet: TronDevnet, opener: Opener
) -> None:
    """Another contract at the token's place would cost more: included, failed, and paid nobody."""
    chain = opener(devnet.url, tokens(devnet))
    payer = await funded(devnet)
    start = (await chain.head()).ref
    payload = await chain.build(payer.intent(Payment("USDT", OURS, 5)))
    raw = read_payload(payload).raw
    from dataclasses import replace

    from chain_adapter_tron.codec import write_payload

    poor = write_payload(payer.public_key, False, replace(raw, fee_limit=100_000))
    await chain.broadcast(signed(chain, payer, poor))
    await devnet.mine()
    watch = watching(OURS, senders=[payer.address])
    blocks = await read(chain, watch, after=start)
    (told,) = sent(blocks)
    assert (told.ok, told.moved) == (False, ()) and told.fee > 0
    assert transfers(blocks) == []
