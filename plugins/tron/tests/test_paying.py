"""Paying: what is built, what it may cost, what is refused, and how a payment dies."""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import (
    FeeAboveLimit,
    InsufficientFunds,
    Payment,
    Rejected,
    Unavailable,
)
from chain_adapter_tron.address import NOBODY, key_of, spell
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import MOST, bandwidth_of, read_payload
from chain_adapter_tron.devnet.devnet import TronDevnet, call_data
from plugins.tron.tests.parts import (
    TRX,
    Opener,
    Relay,
    funded,
    pay,
    read,
    sent,
    signed,
    stranger,
    transfers,
    wallet,
    watching,
)

OURS = stranger(1)
CALL = "wallet/triggerconstantcontract"
PARAMETERS = "wallet/getchainparameters"


# --- what is built --------------------------------------------------------------------------------


async def test_the_reference_block_is_solidified(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    payload = await chain.build(payer.intent(Payment("TRX", OURS, 5)))
    solid = devnet.ledger.blocks[devnet.ledger.solid_height]
    raw = read_payload(payload).raw
    assert (raw.ref_block_bytes, raw.ref_block_hash) == (solid.id[6:8], solid.id[8:16])
    await devnet.reorg(devnet.ledger.solid_lag - 2)  # funded still; all but the solidified is new
    assert devnet.ledger.block(solid.number) == solid


async def test_it_outlives_the_claim(devnet: TronDevnet, opener: Opener) -> None:
    payer = await funded(devnet)
    now = devnet.ledger.head.timestamp_ms
    for lasts_s in (5, 600, 86_400):
        chain = opener(devnet.url, devnet.assets, expiration_s=lasts_s)
        for salt in (b"a", b"b", b"c"):
            intent = payer.intent(Payment("TRX", OURS, 5), salt=salt)
            payload = await chain.build(intent)
            lasts = (chain.inspect(payload).expires or 0) - now
            assert lasts_s * 800 <= lasts <= lasts_s * 1000
            await chain.broadcast(signed(chain, payer, payload))


async def test_equal_payments_have_different_txids(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    txids = set()
    for number in range(30):
        intent = payer.intent(Payment("TRX", OURS, 5), salt=number.to_bytes(16, "big"))
        txids.add(signed(chain, payer, await chain.build(intent)).txid)
    assert len(txids) == 30
    again = payer.intent(Payment("TRX", OURS, 5), salt=bytes(16))
    assert await chain.build(again) == await chain.build(again), "the same salt, the same bytes"


async def test_there_is_nothing_to_replace(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    first = await chain.build(payer.intent(Payment("TRX", OURS, 5)))
    for payments in ((Payment("TRX", OURS, 5),), ()):
        with pytest.raises(Rejected, match="expires") as told:
            await chain.build(payer.intent(*payments, replaces=(first,)))
        assert not told.value.for_good


@pytest.mark.parametrize(
    ("payment", "for_good"),
    [
        (Payment("TRX", spell(NOBODY), 5), True),
        (Payment("TRX", OURS, 0), True),
        (Payment("TRX", OURS, -1), True),
        (Payment("TRX", OURS, MOST + 1), True),
        (Payment("USDT", OURS, 1 << 256), True),
        (Payment("TRX", OURS[:-3], 5), True),
        (Payment("TRX", wallet(1).address, 5), True),
        (Payment("OTHER", OURS, 5), False),
    ],
)
async def test_what_can_never_be_paid(
    devnet: TronDevnet, chain: TronChain, payment: Payment, for_good: bool
) -> None:
    payer = await funded(devnet)
    with pytest.raises(Rejected) as told:
        await chain.build(payer.intent(payment))
    assert told.value.for_good == for_good


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
async def test_a_payment_carries_its_memo_where_deposits_have_none(
    devnet: TronDevnet, chain: TronChain, asset: str
) -> None:
    payer, payment = await funded(devnet), Payment(asset, OURS, 5, "1007")
    start = (await chain.head()).ref
    tx = await pay(chain, payer, payment)
    await devnet.mine()
    watch = watching(OURS, senders=[payer.address])
    blocks = await read(chain, watch, after=start)
    assert [(one.txid, one.moved) for one in sent(blocks)] == [(tx.txid, (payment,))]
    assert [one.memo for one in transfers(blocks)] == [None]


async def test_a_contract_takes_tokens_and_no_trx(devnet: TronDevnet, chain: TronChain) -> None:
    payer, contract = await funded(devnet), devnet.contracts["Forwarder"]
    for asset in ("TRX", "TEN"):
        with pytest.raises(Rejected, match="contract") as told:
            await chain.build(payer.intent(Payment(asset, contract, 5)))
        assert told.value.for_good
    await pay(chain, payer, Payment("USDT", contract, 5))


async def test_several_payments_or_anothers_key(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    one = Payment("TRX", OURS, 5)
    with pytest.raises(Rejected, match="one payment"):
        await chain.build(payer.intent(one, one))
    from dataclasses import replace

    with pytest.raises(Rejected, match="public key"):
        await chain.build(replace(payer.intent(one), public_key=wallet(3).public_key))


# --- the dry run ----------------------------------------------------------------------------------


async def test_a_recipient_that_is_blocked_is_refused_for_good(
    devnet: TronDevnet, chain: TronChain
) -> None:
    payer, token = await funded(devnet), devnet.contracts["TestUSDT"]
    devnet.call(token, call_data("block_(address,bool)", key_of(OURS), 1))
    await devnet.mine()
    with pytest.raises(Rejected, match="reverts") as told:
        await chain.build(payer.intent(Payment("USDT", OURS, 5)))
    assert told.value.for_good
    poor = payer.intent(Payment("USDT", OURS, 10**18))
    with pytest.raises(InsufficientFunds):  # without the funds a revert proves nothing
        await chain.build(poor)


async def test_a_token_that_says_false_and_moves_is_paid(
    devnet: TronDevnet, chain: TronChain
) -> None:
    """The token of the local chain returns false from a transfer that works, as USDT does."""
    payer = await funded(devnet)
    await pay(chain, payer, Payment("USDT", OURS, 5))
    await devnet.mine()
    assert (await chain.balance(OURS, "USDT")).amount == 5


async def test_a_token_that_moves_something_else_is_refused(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    payer = await funded(devnet)

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for log in answer.get("logs", []):
            log["data"] = f"{4:064x}"
        return answer

    relay.bend[CALL] = bend
    with pytest.raises(Rejected, match="does not move") as told:
        await chain.build(payer.intent(Payment("USDT", OURS, 5)))
    assert not told.value.for_good


@pytest.mark.parametrize(
    ("answer", "error", "for_good"),
    [
        ({}, Unavailable, False),
        ({"result": {"code": "OTHER_ERROR", "message": b"busy".hex()}}, Rejected, False),
        (
            {"result": {"result": True, "message": b"CPU timeout".hex()},
             "transaction": {"ret": [{"ret": "FAILED"}]}},
            Rejected, False,
        ),
        (
            {"result": {"result": True, "message": b"REVERT opcode executed".hex()},
             "transaction": {"ret": [{"ret": "FAILED"}]}},
            Rejected, True,
        ),
        ({"result": {"result": True}, "energy_used": 0}, Unavailable, False),
    ],
)  # fmt: skip
async def test_what_a_dry_run_may_say(
    devnet: TronDevnet, relay: Relay, opener: Opener, answer: Any, error: Any, for_good: bool
) -> None:
    chain = opener(relay.url, devnet.assets)
    payer = await funded(devnet)
    await chain.build(payer.intent(Payment("USDT", OURS, 5)))
    relay.bend["wallet/estimateenergy"] = lambda _body, _told: {}
    relay.bend[CALL] = lambda body, told: (
        answer if body["function_selector"].startswith("transfer") else told
    )
    with pytest.raises(error) as told:
        await chain.build(payer.intent(Payment("USDT", OURS, 5)))
    assert getattr(told.value, "for_good", False) == for_good


async def test_a_node_without_estimates_or_logs(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    payer = await funded(devnet)

    def bend(_: dict[str, Any], answer: Any) -> Any:
        answer.pop("logs", None)
        return answer

    relay.bend[CALL] = bend
    off = "class org.tron.core.exception.ContractValidateException : this node does not support it"
    relay.bend["wallet/estimateenergy"] = lambda _body, _told: {"Error": off}
    await pay(chain, payer, Payment("USDT", OURS, 5))
    await pay(chain, payer, Payment("USDT", OURS, 5), salt=b"2")
    assert relay.count("wallet/estimateenergy") == 1, "asked once, then no more"
    await devnet.mine()
    assert (await chain.balance(OURS, "USDT")).amount == 10


# --- what it may cost -----------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("free", [True, False])
async def test_the_fee_is_within_the_bound(
    devnet: TronDevnet, opener: Opener, asset: str, known: bool, free: bool
) -> None:
    """To an address that has an account and to one that has none, with free bandwidth and without:
    the blocks tell a fee that `max_fee` allowed."""
    chain = opener(devnet.url, devnet.assets, memo=True)
    payer, to = await funded(devnet), stranger(5)
    if known:
        await devnet.pay("TRX", to, 1)
        await devnet.pay("USDT", to, 1)
    await devnet.mine()
    if not free:  # use up what a day gives
        for number in range(3):  # the first one makes an account, which is never free
            await pay(chain, payer, Payment("TRX", OURS, 1), salt=bytes([number]))
            await devnet.mine()
    start = (await chain.head()).ref
    payload = await chain.build(payer.intent(Payment(asset, to, 5)))
    effect = chain.inspect(payload)
    await chain.broadcast(signed(chain, payer, payload))
    await devnet.mine()
    (told,) = sent(await read(chain, watching(senders=[payer.address]), after=start))
    assert told.ok and told.fee <= effect.max_fee
    size = bandwidth_of(read_payload(payload).raw_data) * 1_000
    energy = devnet.ledger.head.txs[0][1].energy_fee
    if asset == "USDT":
        assert told.fee == energy + (0 if free else size)
    elif known:
        assert told.fee == (0 if free else size)
    else:
        assert told.fee == 1_100_000


async def test_a_fee_limit_allows_for_a_recipient_without_the_token(
    devnet: TronDevnet, chain: TronChain
) -> None:
    """It had some when we built and has none when the block is made: dearer, and still paid."""
    payer, to = await funded(devnet), wallet(5)
    await devnet.pay("USDT", to.address, 7)
    await devnet.pay("TRX", to.address, 500 * TRX)
    await devnet.mine()
    tx = signed(chain, payer, await chain.build(payer.intent(Payment("USDT", to.address, 5))))
    await pay(chain, to, Payment("USDT", OURS, None))
    await devnet.mine()
    assert (await chain.balance(to.address, "USDT")).amount == 0
    start = (await chain.head()).ref
    await chain.broadcast(tx)
    await devnet.mine()
    (told,) = sent(await read(chain, watching(senders=[payer.address]), after=start))
    assert told.ok and told.moved == (Payment("USDT", to.address, 5),)


async def test_staked_energy_and_bandwidth_burn_nothing(
    devnet: TronDevnet, chain: TronChain
) -> None:
    payer = wallet(6)
    await devnet.pay("TRX", payer.address, 1_200 * TRX)
    await devnet.pay("USDT", payer.address, 100)
    await devnet.mine()
    for resource, amount in ((1, 1_000 * TRX), (0, 199 * TRX)):
        fields = {"frozen_balance": amount, "resource": resource}
        devnet.send(54, fields, private_key=payer.secret)
        await devnet.mine()
    start, have = (await chain.head()).ref, (await chain.balance(payer.address, "TRX")).amount
    assert have <= TRX, "nearly all is staked, and it can pay all the same"
    await pay(chain, payer, Payment("USDT", OURS, 5))
    await devnet.mine()
    (told,) = sent(await read(chain, watching(senders=[payer.address]), after=start))
    assert (told.ok, told.fee) == (True, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("getTransactionFee", 1_001),
        ("getMemoFee", 1_000_001),
        ("getCreateNewAccountFeeInSystemContract", 1_000_001),
        ("getEnergyFee", 1_000_000),
    ],
)
async def test_a_chain_that_asks_more_than_the_settings_allow(
    devnet: TronDevnet, relay: Relay, opener: Opener, key: str, value: int
) -> None:
    """What `inspect` promises the signer is a bound by settings: beyond it nothing is built."""
    payer = await funded(devnet)
    chain = opener(relay.url, devnet.assets, memo=True)

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for row in answer["chainParameter"]:
            if row["key"] == key:
                row["value"] = value
        return answer

    relay.bend[PARAMETERS] = bend
    asset = "USDT" if key == "getEnergyFee" else "TRX"
    with pytest.raises(FeeAboveLimit):
        await chain.build(payer.intent(Payment(asset, OURS, 5, "1")))


async def test_the_fee_limit_of_the_intent(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    for asset in ("TRX", "USDT", "TEN"):
        payment = Payment(asset, OURS, 5)
        bound = chain.inspect(await chain.build(payer.intent(payment))).max_fee
        await chain.build(payer.intent(payment, limit=bound))
        with pytest.raises(FeeAboveLimit):
            await chain.build(payer.intent(payment, limit=bound - 1))
