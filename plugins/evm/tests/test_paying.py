"""Intents into transactions that a real node includes, and everything that must stop one before."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from chain_adapter.chain import (
    Asset,
    BlockRef,
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    InvalidAddress,
    Payment,
    Rejected,
    SignedTx,
    Unavailable,
    Watch,
)
from chain_adapter_evm import codec
from chain_adapter_evm.chain import EvmChain
from chain_adapter_evm.devnet import PRIVATE_KEY, AnvilDevnet, _call
from chain_adapter_evm.fees import raised
from plugins.evm.tests.parts import (
    Opener,
    Relay,
    Wallet,
    key_of,
    read,
    stranger,
    wallet_of,
    watching,
)

HOT = wallet_of(bytes.fromhex(PRIVATE_KEY))
US = stranger(1)
ENOUGH = 10**17


def pay(asset: str, to: str, amount: int | None, *, wallet: Wallet = HOT, **more: Any) -> Intent:
    more.setdefault("fee_limit", ENOUGH)
    memo = more.pop("memo", None)
    payments = (Payment(asset, to, amount, memo),)
    return Intent(wallet.address, wallet.public_key, payments, **more)


def sign(chain: EvmChain, payload: bytes, wallet: Wallet = HOT) -> SignedTx:
    (wanted,) = chain.inspect(payload).to_sign
    assert wanted.public_key == wallet.public_key
    return chain.assemble(payload, [wallet.sign(wanted.message)])


async def funded(devnet: AnvilDevnet, secret: bytes, eth: int = 0, usdt: int = 0) -> Wallet:
    wallet = wallet_of(secret)
    if eth:
        await devnet.pay("ETH", wallet.address, eth)
    if usdt:
        await devnet.pay("USDT", wallet.address, usdt)
    await devnet.mine()
    return wallet


@pytest.mark.parametrize("fees", ["auto", "legacy"])
@pytest.mark.parametrize("asset", ["ETH", "USDT"])
async def test_a_payment_is_built_signed_sent_and_read_back(
    devnet: AnvilDevnet, opener: Opener, asset: str, fees: str
) -> None:
    chain = opener(devnet.url, devnet.assets, fees=fees)
    head = (await chain.head()).ref
    payload = await chain.build(pay(asset, US, 1234))
    effect = chain.inspect(payload)
    assert effect.payments == (Payment(asset, US, 1234),)
    assert effect.senders == (HOT.address,)
    assert effect.expires is None
    assert (await chain.identity()).startswith(effect.binds)
    assert not "eip155:313370/".startswith(effect.binds)
    assert effect.max_fee <= ENOUGH
    tx = sign(chain, payload)
    assert tx == sign(chain, payload)
    await chain.broadcast(tx)
    await chain.broadcast(tx)
    await devnet.mine()
    await chain.broadcast(tx)  # included already: the node says so in other words
    watch = watching(US, senders=frozenset({HOT.address}))
    (block,) = await read(chain, watch, after=head)
    (sent,), (arrived,) = block.sent, block.transfers
    assert (sent.txid, sent.locks, sent.ok) == (tx.txid, effect.locks, True)
    assert sent.moved == effect.payments
    assert 0 < sent.fee <= effect.max_fee
    assert (arrived.txid, arrived.asset, arrived.amount) == (tx.txid, asset, 1234)
    assert await chain.locate(tx.txid) == block.ref


async def test_nonces_step_over_reserved_ones(devnet: AnvilDevnet, chain: EvmChain) -> None:
    count = int(await devnet.rpc("eth_getTransactionCount", HOT.address, "latest"), 16)
    reserved: set[str] = set()
    for expected in (count, count + 1, count + 2):
        payload = await chain.build(pay("ETH", US, 1, reserved=frozenset(reserved)))
        (lock,) = chain.inspect(payload).locks
        assert lock == f"{HOT.address}/{expected}"
        reserved.add(lock)
    reserved.discard(f"{HOT.address}/{count + 1}")
    payload = await chain.build(pay("ETH", US, 1, reserved=frozenset(reserved)))
    assert chain.inspect(payload).locks == (f"{HOT.address}/{count + 1}",)


async def test_a_replacement_takes_the_place(devnet: AnvilDevnet, chain: EvmChain) -> None:
    """Same nonce, both fees an eighth above; the node takes it, and includes only it."""
    first = await chain.build(pay("ETH", US, 5))
    await chain.broadcast(sign(chain, first))
    second = await chain.build(pay("ETH", US, 5, replaces=(first,)))
    await chain.broadcast(sign(chain, second))
    third = await chain.build(pay("ETH", US, 5, replaces=(first, second)))
    await chain.broadcast(sign(chain, third))
    assert chain.inspect(first).locks == chain.inspect(third).locks
    txs = [codec.read_payload(payload).tx for payload in (first, second, third)]
    for older, newer in itertools.pairwise(txs):
        assert newer.max_fee * 8 > older.max_fee * 9
        assert (newer.tip or 0) * 8 > (older.tip or 0) * 9
    await devnet.mine()
    watch = watching(US, senders=frozenset({HOT.address}))
    (block,) = await read(chain, watch, after=BlockRef(1, ""))
    assert [sent.txid for sent in block.sent] == [sign(chain, third).txid]
    with pytest.raises(Rejected, match="is used") as used:
        await chain.build(pay("ETH", US, 5, replaces=(first,)))
    assert not used.value.for_good


async def test_a_void_burns_the_nonce(devnet: AnvilDevnet, chain: EvmChain) -> None:
    paying = await chain.build(pay("USDT", US, 5))
    await chain.broadcast(sign(chain, paying))
    void = await chain.build(Intent(HOT.address, HOT.public_key, (), ENOUGH, replaces=(paying,)))
    effect = chain.inspect(void)
    assert effect.payments == ()
    assert effect.locks == chain.inspect(paying).locks
    await chain.broadcast(sign(chain, void))
    await devnet.mine()
    watch = watching(US, HOT.address, senders=frozenset({HOT.address}))
    (block,) = await read(chain, watch, after=BlockRef(1, ""))
    assert block.transfers == ()
    assert [(sent.txid, sent.moved) for sent in block.sent] == [(sign(chain, void).txid, ())]


async def test_a_void_of_several_takes_the_lowest(devnet: AnvilDevnet, chain: EvmChain) -> None:
    count = int(await devnet.rpc("eth_getTransactionCount", HOT.address, "latest"), 16)
    other = pay("ETH", US, 1, reserved=frozenset({f"{HOT.address}/{count}"}))
    attempts = (await chain.build(other), await chain.build(pay("ETH", US, 1)))
    void = Intent(HOT.address, HOT.public_key, (), ENOUGH, replaces=attempts)
    assert chain.inspect(await chain.build(void)).locks == (f"{HOT.address}/{count}",)
    with pytest.raises(Rejected, match="share no nonce"):
        await chain.build(pay("ETH", US, 1, replaces=attempts))


async def test_the_fee_limit_holds(devnet: AnvilDevnet, chain: EvmChain) -> None:
    payload = await chain.build(pay("ETH", US, 5))
    most = chain.inspect(payload).max_fee
    with pytest.raises(FeeAboveLimit):
        await chain.build(pay("ETH", US, 5, fee_limit=21_000))
    tight = await chain.build(pay("ETH", US, 5, fee_limit=most - 1))
    assert chain.inspect(tight).max_fee < most
    with pytest.raises(FeeAboveLimit):
        await chain.build(pay("ETH", US, 5, fee_limit=most, replaces=(payload,)))


async def test_everything_less_the_fee(devnet: AnvilDevnet, chain: EvmChain) -> None:
    wallet = await funded(devnet, b"\x01" * 32, eth=10**18, usdt=77)
    token = await chain.build(pay("USDT", HOT.address, None, wallet=wallet))
    assert chain.inspect(token).payments == (Payment("USDT", HOT.address, 77),)
    await chain.broadcast(sign(chain, token, wallet))
    await devnet.mine()
    payload = await chain.build(pay("ETH", HOT.address, None, wallet=wallet))
    effect = chain.inspect(payload)
    balance = (await chain.balance(wallet.address, "ETH")).amount
    (payment,) = effect.payments
    assert payment.amount is not None
    assert payment.amount + effect.max_fee == balance
    await chain.broadcast(sign(chain, payload, wallet))
    await devnet.mine()
    assert (await chain.balance(wallet.address, "ETH")).amount < effect.max_fee
    with pytest.raises(InsufficientFunds) as short:
        await chain.build(pay("USDT", HOT.address, None, wallet=wallet))
    assert short.value.asset == "USDT"


async def test_a_token_sweep_learns_its_one_top_up(devnet: AnvilDevnet, chain: EvmChain) -> None:
    wallet = await funded(devnet, b"\x02" * 32, usdt=77)
    with pytest.raises(InsufficientFunds) as short:
        await chain.build(pay("USDT", HOT.address, None, wallet=wallet))
    assert short.value.asset == "ETH"
    await devnet.pay("ETH", wallet.address, short.value.short_by)
    await devnet.mine()
    payload = await chain.build(pay("USDT", HOT.address, None, wallet=wallet))
    await chain.broadcast(sign(chain, payload, wallet))
    await devnet.mine()
    assert (await chain.balance(wallet.address, "USDT")).amount == 0


async def test_funds_that_are_short(devnet: AnvilDevnet, chain: EvmChain) -> None:
    wallet = await funded(devnet, b"\x03" * 32, eth=10**16, usdt=50)
    with pytest.raises(InsufficientFunds) as short:
        await chain.build(pay("USDT", US, 80, wallet=wallet))
    assert (short.value.asset, short.value.short_by) == ("USDT", 30)
    for amount in (10**16, 10**16 - 1, 10**20):
        with pytest.raises(InsufficientFunds) as short:
            await chain.build(pay("ETH", US, amount, wallet=wallet))
        assert short.value.asset == "ETH"
        assert short.value.short_by > amount - 10**16
    empty = wallet_of(b"\x04" * 32)
    for asset, amount in [("ETH", 1), ("ETH", None), ("USDT", 1), ("USDT", None)]:
        with pytest.raises(InsufficientFunds):
            await chain.build(pay(asset, US, amount, wallet=empty))


async def test_what_can_never_succeed(devnet: AnvilDevnet, opener: Opener) -> None:
    bad = devnet.contracts["BadToken"]
    chain = opener(devnet.url, {**devnet.assets, "BAD": Asset("BAD", bad, 6)})
    blocked = stranger(5)
    data = _call("block_(address,bool)", key_of(blocked), 1)
    await devnet.send(devnet.contracts["TestUSDT"], 0, data)
    await devnet.mine()
    for intent, why in [
        (pay("ETH", devnet.contracts["Refuser"], 5), "reverts"),
        (pay("USDT", blocked, 5), "reverts"),
        (pay("BAD", US, 5), "returns false"),
        (pay("ETH", US, 5, memo="7"), "no memos"),
        (pay("ETH", US, 5, memo=""), "no memos"),
        (pay("ETH", "0x" + "0" * 40, 5), "zero address"),
        (pay("ETH", US, 0), "pays nobody"),
        (pay("USDT", US, -5), "pays nobody"),
        (pay("USDT", US, 2**256), "2\\^256"),
    ]:
        with pytest.raises(Rejected, match=why) as refused:
            await chain.build(intent)
        assert refused.value.for_good, why
    with pytest.raises(InvalidAddress):
        await chain.build(pay("ETH", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", 5))
    payload = await chain.build(pay("ETH", devnet.contracts["Forwarder"], 5))
    assert codec.read_payload(payload).tx.gas > 21_000
    await chain.broadcast(sign(chain, payload))
    await devnet.mine()
    assert (await chain.balance(devnet.contracts["Forwarder"], "ETH")).amount == 5


async def test_what_may_succeed_another_time(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    await chain.build(pay("ETH", US, 5))
    two = (Payment("ETH", US, 1), Payment("ETH", US, 2))
    for intent, why in [
        (Intent(HOT.address, HOT.public_key, two, ENOUGH), "one payment"),
        (Intent(HOT.address, HOT.public_key, (), ENOUGH), "without payments"),
        (pay("DOGE", US, 5), "DOGE"),
        (pay("ETH", US, 5, wallet=Wallet(HOT.private, HOT.public_key, US)), "public key"),
    ]:
        with pytest.raises(Rejected, match=why) as refused:
            await chain.build(intent)
        assert not refused.value.for_good
    for code, message in [
        (-32000, "header not found"),
        (-32005, "rate limit"),
        (-32000, "insufficient funds for transfer"),
        (-32603, "out of gas"),
    ]:
        relay.error("eth_estimateGas", code, message)
        for asset in ("ETH", "USDT"):
            with pytest.raises(Unavailable, match=message):
                await chain.build(pay(asset, US, 5))
    relay.error("eth_estimateGas", 3, "execution reverted: no")
    with pytest.raises(InsufficientFunds):  # funds come first: the revert may be their want
        await chain.build(pay("USDT", US, 10**30))
    relay.refuse.clear()
    relay.bend["eth_estimateGas"] = lambda params, answer: {"result": hex(2_000_000)}
    with pytest.raises(Rejected, match="gas_cap") as refused:
        await chain.build(pay("ETH", US, 5))
    assert not refused.value.for_good


async def test_a_void_needs_no_dry_run(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    chain = opener(relay.url, devnet.assets)
    paying = await chain.build(pay("ETH", US, 5))
    relay.error("eth_estimateGas", -32000, "out of order")
    void = Intent(HOT.address, HOT.public_key, (), ENOUGH, replaces=(paying,))
    assert chain.inspect(await chain.build(void)).payments == ()


async def test_a_chain_without_base_fee(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    def without(params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        answer["result"].pop("baseFeePerGas", None)
        return answer

    relay.bend["eth_getBlockByNumber"] = without
    relay.error("eth_maxPriorityFeePerGas", -32601, "Method not found")
    chain = opener(relay.url, devnet.assets)
    payload = await chain.build(pay("ETH", US, 5))
    assert codec.read_payload(payload).tx.tip is None
    again = await chain.build(pay("ETH", US, 5, replaces=(payload,)))
    assert codec.read_payload(again).tx.max_fee >= raised(codec.read_payload(payload).tx.max_fee)
    await chain.broadcast(sign(chain, again))
    await devnet.mine()
    assert (await chain.balance(US, "ETH")).amount == 5


async def test_l1_fees_are_bound(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    """A rollup takes more than gas: the bound is in `max_fee`, the real one in `Sent.fee`."""
    bound = 10**15
    plain = opener(devnet.url, devnet.assets)
    chain = opener(relay.url, devnet.assets, l1_fee_bound=bound)
    less = plain.inspect(await plain.build(pay("ETH", US, 5))).max_fee
    payload = await chain.build(pay("ETH", US, 5))
    assert chain.inspect(payload).max_fee == less + bound
    wallet = await funded(devnet, b"\x06" * 32, eth=10**17)
    effect = chain.inspect(await chain.build(pay("ETH", US, None, wallet=wallet)))
    assert effect.payments[0].amount == 10**17 - effect.max_fee

    def with_l1(params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        answer["result"]["l1Fee"] = hex(777)
        return answer

    relay.bend["eth_getTransactionReceipt"] = with_l1
    txid = await devnet.pay("ETH", US, 5)
    await devnet.mine()
    receipt = await devnet.rpc("eth_getTransactionReceipt", txid)
    watch = Watch(frozenset(), frozenset({HOT.address}))
    (sent,) = (await read(chain, watch))[-1].sent
    gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert sent.fee == gas + 777


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("already known", None),
        ("ALREADY_EXISTS: already known", None),
        ("transaction already imported", None),
        ("nonce too low", Rejected),
        ("replacement transaction underpriced", Rejected),
        ("insufficient funds for gas * price + value", Rejected),
        ("max fee per gas less than block base fee", Rejected),
        ("internal error", Unavailable),
        ("rate limited", Unavailable),
    ],
)
async def test_what_a_node_says_to_a_transaction(
    devnet: AnvilDevnet, relay: Relay, opener: Opener, message: str, outcome: type[Exception] | None
) -> None:
    chain = opener(relay.url, devnet.assets)
    tx = sign(chain, await chain.build(pay("ETH", US, 5)))
    relay.error("eth_sendRawTransaction", -32000, message)
    if outcome is None:
        await chain.broadcast(tx)
    else:
        with pytest.raises(outcome, match=re.escape(message)):
            await chain.broadcast(tx)


async def test_another_hash_is_no_success(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    tx = sign(chain, await chain.build(pay("ETH", US, 5)))
    relay.bend["eth_sendRawTransaction"] = lambda params, answer: {"result": "0x" + "ab" * 32}
    with pytest.raises(Unavailable, match="called it"):
        await chain.broadcast(tx)
