"""Every way to be paid, balances, memos, what we sent ourselves, and nodes whose JSON does not fit
its bytes.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import Asset, Payment, Proof, Unavailable
from chain_adapter_tron.address import key_of
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.devnet import TronDevnet, call_data
from plugins.tron.tests.parts import (
    TRX,
    WINDOW,
    Opener,
    Relay,
    each_tx,
    funded,
    hex41,
    pay,
    read,
    sent,
    shown,
    stranger,
    tokens,
    transfers,
    watching,
)

OURS = stranger(1)
METHODS = ("window", "solid")


# --- what is credited -----------------------------------------------------------------------------


async def test_every_way_to_be_paid(devnet: TronDevnet, chain: TronChain) -> None:
    start = (await chain.head()).ref
    await devnet.pay("TRX", OURS, 5)
    await devnet.pay("USDT", OURS, 6)
    await devnet.pay("TEN", OURS, 7)
    await devnet.forward(OURS, 8)
    await devnet.split("TRX", [(OURS, 1), (stranger(2), 5), (OURS, 2)])
    await devnet.split("USDT", [(stranger(2), 5), (OURS, 3), (OURS, 4)])
    await devnet.mine()
    for method in METHODS:
        blocks = await read(chain, watching(OURS), after=start, method=method)
        assert shown(blocks) == [
            ("TEN", "token10", 7),
            ("TRX", "call/0", 1), ("TRX", "call/0", 8), ("TRX", "call/2", 2), ("TRX", "value", 5),
            ("USDT", "log/0", 6), ("USDT", "log/1", 3), ("USDT", "log/2", 4),
        ]  # fmt: skip
        assert all(block.internal for block in blocks)
    balances = [(await chain.balance(OURS, name)).amount for name in ("TRX", "USDT", "TEN")]
    assert balances == [16, 13, 7]


async def test_internal_transfers_can_be_left_out(devnet: TronDevnet, opener: Opener) -> None:
    chain = opener(devnet.url, devnet.assets, internal=False)
    await devnet.forward(OURS, 8)
    await devnet.mine()
    blocks = await read(chain, watching(OURS))
    assert shown(blocks) == [] and not any(block.internal for block in blocks)
    assert all("call" not in method.kinds for method in chain.info.methods)


# --- balances (D-12) ------------------------------------------------------------------------------


async def test_d12_a_deposit_at_the_tip_is_proven_by_balances(
    devnet: TronDevnet, opener: Opener
) -> None:
    chain = opener(devnet.url, tokens(devnet, FEE="FeeToken"))
    await devnet.pay("USDT", OURS, 40)
    await devnet.mine(3)
    fee = transfer_call(key_of(OURS), 1_000)
    devnet.call(devnet.contracts["FeeToken"], fee)
    await devnet.pay("USDT", OURS, 4)
    await devnet.mine()
    blocks = await read(chain, watching(OURS))
    assert [(t.asset, t.amount, t.proof) for t in transfers(blocks)] == [
        ("USDT", 40, True), ("FEE", 1_000, False), ("USDT", 4, True),
    ]  # fmt: skip
    await devnet.mine(devnet.ledger.solid_lag)
    late = await read(opener(devnet.url, tokens(devnet, FEE="FeeToken")), watching(OURS))
    assert {t.proof for t in transfers(late)} == {None}, "the node no longer has the state"


async def test_d12_a_balance_that_moved_without_a_log(devnet: TronDevnet, opener: Opener) -> None:
    chain = opener(devnet.url, devnet.assets)
    await devnet.pay("USDT", OURS, 40)
    devnet.call(
        devnet.contracts["TestUSDT"], call_data("rebase(address,uint256)", key_of(OURS), 39)
    )
    await devnet.mine()
    (one,) = transfers(await read(chain, watching(OURS)))
    assert one.proof is False
    off = {**devnet.assets, "USDT": Asset("USDT", devnet.contracts["TestUSDT"], 6, Proof.OFF)}
    (one,) = transfers(await read(opener(devnet.url, off), watching(OURS)))
    assert one.proof is None


async def test_d12_a_node_without_constant_calls_proves_nothing(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    await devnet.pay("USDT", OURS, 40)
    await devnet.mine()
    relay.bend["walletsolidity/triggerconstantcontract"] = lambda _body, _answer: {
        "Error": "this node does not support constant"
    }
    (one,) = transfers(await read(chain, watching(OURS)))
    assert one.proof is None


# --- memos ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
@pytest.mark.parametrize(
    "memo",
    ["1007", "0007", " 7", "7 ", "x" * 64, "x" * 300, "\u0661", "e\u0301", "\u200b7", "\x007"],
)
async def test_memos_come_byte_for_byte(
    devnet: TronDevnet, opener: Opener, asset: str, memo: str
) -> None:
    with_memo, without = (
        opener(devnet.url, devnet.assets, memo=True),
        opener(devnet.url, devnet.assets),
    )
    await devnet.pay(asset, OURS, 9, memo)
    await devnet.mine()
    (one,) = transfers(await read(with_memo, watching(OURS)))
    assert one.memo == memo.encode()
    (one,) = transfers(await read(without, watching(OURS)))
    assert one.memo is None


async def test_two_memos_that_look_alike_stay_two(devnet: TronDevnet, opener: Opener) -> None:
    chain = opener(devnet.url, devnet.assets, memo=True)
    memos = [None, "é", "e\u0301", "A", "\u0410", "a", "A\n"]
    for nth, memo in enumerate(memos, 1):
        await devnet.pay("TRX", OURS, nth, memo)
    await devnet.mine()
    got = {t.amount: t.memo for t in transfers(await read(chain, watching(OURS)))}
    assert [got[nth] for nth in range(1, len(memos) + 1)] == [
        None if memo is None else memo.encode() for memo in memos
    ]
    assert len(set(got.values())) == len(memos)


async def test_a_memo_is_taken_from_the_bytes(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """What the node shows as `data` is not looked at: the bytes that the txid is made of are."""
    chain = opener(relay.url, devnet.assets, memo=True)
    await devnet.pay("TRX", OURS, 9, "1007")
    await devnet.mine()
    relay.bend[WINDOW] = each_tx(lambda tx: tx["raw_data"].update(data=b"9999".hex()))
    (one,) = transfers(await read(chain, watching(OURS)))
    assert one.memo == b"1007"


# --- what we sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN"])
@pytest.mark.parametrize("memo", [None, "1007"])
async def test_our_payments_are_told_with_what_they_cost(
    devnet: TronDevnet, opener: Opener, asset: str, memo: str | None
) -> None:
    chain = opener(devnet.url, devnet.assets, memo=True)
    payer, to = await funded(devnet), stranger(7)
    start = (await chain.head()).ref
    before = (await chain.balance(payer.address, "TRX")).amount
    payment = Payment(asset, to, 1_234, memo)
    tx = await pay(chain, payer, payment)
    await devnet.mine()
    for method in METHODS:
        watch = watching(OURS, senders=[payer.address])
        (told,) = sent(await read(chain, watch, after=start, method=method))
        assert (told.txid, told.ok, told.locks, told.moved) == (tx.txid, True, (), (payment,))
    after = (await chain.balance(payer.address, "TRX")).amount
    spent = 1_234 if asset == "TRX" else 0
    assert before - after == told.fee + spent
    assert told.fee > TRX, "a new account, or energy"


async def test_a_transaction_of_a_type_unknown_here_is_told(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    ours = await funded(devnet)
    chain = opener(relay.url, devnet.assets)
    start = (await chain.head()).ref
    txid = devnet.send(54, {"frozen_balance": TRX, "resource": 0}, private_key=ours.secret)
    await devnet.mine()

    def rename(tx: dict[str, Any]) -> None:
        contract = tx["raw_data"]["contract"][0]
        contract["type"] = "ContractOfNextYear"
        contract["parameter"]["value"]["novelty"] = [{"x": 1}]

    relay.bend[WINDOW] = each_tx(rename)
    (told,) = sent(await read(chain, watching(OURS, senders=[ours.address]), after=start))
    assert (told.txid, told.ok, told.moved) == (txid, True, ())


# --- a node that contradicts itself ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("txid", lambda tx, value: tx.update(txID="00" * 32)),
        ("bytes", lambda tx, value: tx.update(raw_data_hex=tx["raw_data_hex"][:-2] + "01")),
        ("no bytes", lambda tx, value: tx.pop("raw_data_hex")),
        ("no hex", lambda tx, value: tx.update(raw_data_hex="zz")),
        ("recipient", lambda tx, value: value.update(to_address=hex41(stranger(5)))),
        ("without 41", lambda tx, value: value.update(to_address="00" + value["to_address"][2:])),
        ("no address", lambda tx, value: value.update(to_address=value["to_address"][2:])),
        ("type", lambda tx, value: None),
    ],
)
async def test_json_that_does_not_fit_the_bytes_is_not_believed(
    devnet: TronDevnet, relay: Relay, opener: Opener, what: str, change: Any
) -> None:
    """A payment to a stranger that the node shows as one to us, and the other way round."""
    chain = opener(relay.url, devnet.assets)
    await devnet.pay("USDT" if what == "type" else "TRX", OURS, 9)
    await devnet.mine()

    def bend(tx: dict[str, Any]) -> None:
        contract = tx["raw_data"]["contract"][0]
        value = contract["parameter"]["value"]
        if what == "type" and contract["type"] == "TriggerSmartContract":
            contract["type"] = "TransferContract"
            value["to_address"] = hex41(stranger(5))
        elif "to_address" in value and what != "type":
            change(tx, value)

    relay.bend[WINDOW] = each_tx(bend)
    with pytest.raises(Unavailable):
        await read(chain, watching(OURS, stranger(5)))
