"""False deposits and true ones, on the local chain and by a node that is bent: rows D-28 to D-34 of
the corpus, internal transfers, memos, and what we sent ourselves.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import Asset, Payment, Proof, Unavailable
from chain_adapter_tron.address import PREFIX, key_of
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet, call_data
from plugins.tron.tests.parts import (
    TRX,
    Bend,
    Opener,
    Relay,
    funded,
    hex41,
    pay,
    read,
    sent,
    shown,
    stranger,
    tokens,
    transfers,
    wallet,
    watching,
)

INFOS = "wallet/gettransactioninfobyblocknum"
WINDOW = "wallet/getblockbylimitnext"
OURS = stranger(1)
METHODS = ("window", "solid")


def each_tx(change: Any) -> Bend:
    """Alter every transaction of a window of blocks."""

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for block in answer.get("block", []):
            for tx in block.get("transactions", []):
                change(tx)
        return answer

    return bend


def each_info(change: Any) -> Bend:
    """Alter every result of a block."""

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for info in answer:
            change(info)
        return answer

    return bend


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


# --- D-28: a result that is not SUCCESS -----------------------------------------------------------


async def test_d28_what_failed_is_no_deposit(devnet: TronDevnet, chain: TronChain) -> None:
    payer = await funded(devnet)
    start = (await chain.head()).ref
    ok = await devnet.forward(OURS, 1)
    await devnet.failing(OURS, 2)
    await devnet.through("forwardAndExhaust(address)", OURS, 3)
    await devnet.through("tryForward(address)", OURS, 4)
    poor = {
        "contract_address": PREFIX + key_of(devnet.contracts["TestUSDT"]),
        "data": transfer_call(key_of(OURS), 5),
    }
    devnet.send(31, poor, fee_limit=20_000, private_key=payer.secret)
    await devnet.mine()
    blocks = await read(chain, watching(OURS, senders=[devnet.address, payer.address]), after=start)
    assert [(t.txid, t.amount) for t in transfers(blocks)] == [(ok, 1)]
    results = {one.txid: one for one in sent(blocks)}
    failed = [one for one in results.values() if not one.ok]
    assert len(failed) == 3 and all(one.moved == () and one.fee > 0 for one in failed)


@pytest.mark.parametrize("asset", ["TRX", "USDT", "TEN", "forward"])
@pytest.mark.parametrize(
    "result", ["OUT_OF_ENERGY", "REVERT", "OUT_OF_TIME", "TRANSFER_FAILED", "", "success", None]
)
async def test_d28_the_block_says_it_failed(
    devnet: TronDevnet, relay: Relay, opener: Opener, asset: str, result: str | None
) -> None:
    """The receipt says SUCCESS and still has its log: the block decides."""
    chain = opener(relay.url, devnet.assets)
    if asset == "forward":
        await devnet.forward(OURS, 9)
    else:
        await devnet.pay(asset, OURS, 9)
    await devnet.mine()
    assert len(transfers(await read(chain, watching(OURS)))) == 1
    ret = [] if result is None else [{"contractRet": result}]
    relay.bend[WINDOW] = each_tx(lambda tx: tx.update(ret=ret))
    assert shown(await read(chain, watching(OURS))) == []


@pytest.mark.parametrize("result", ["OUT_OF_ENERGY", "REVERT", "DEFAULT", None])
async def test_d28_the_receipt_says_it_failed(
    devnet: TronDevnet, relay: Relay, opener: Opener, result: str | None
) -> None:
    """`OUT_OF_ENERGY` that still has a log and an internal transaction like those of a success."""
    chain = opener(relay.url, devnet.assets)
    await devnet.pay("USDT", OURS, 9)
    await devnet.forward(OURS, 9)
    await devnet.mine()

    def change(info: dict[str, Any]) -> None:
        info["receipt"].pop("result", None)
        if result is not None:
            info["receipt"]["result"] = result

    relay.bend[INFOS] = each_info(change)
    assert shown(await read(chain, watching(OURS))) == []
    relay.bend[INFOS] = each_info(lambda info: info.update(result="FAILED"))
    assert shown(await read(chain, watching(OURS))) == []


# --- D-29: not solidified -------------------------------------------------------------------------


async def test_d29_final_is_what_is_solidified(devnet: TronDevnet, chain: TronChain) -> None:
    assert chain.info.irreversible, "credit demands the chain's own finality"
    await devnet.pay("TRX", OURS, 5)
    await devnet.mine()
    head = await chain.head()
    assert head.final_height == head.ref.height - devnet.ledger.solid_lag
    before = head.ref
    await devnet.reorg(1)
    assert shown(await read(chain, watching(OURS))) == [], "a fork took it back"
    await devnet.mine(devnet.ledger.solid_lag + 1)
    assert ((await chain.head()).final_height or 0) >= before.height


async def test_the_solid_method_reads_the_solidified_interface(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    head = await chain.head()
    assert head.final_height is not None
    blocks = await read(chain, watching(OURS), last=head.final_height + 1, method="solid")
    assert len(blocks) == head.final_height + 1
    assert relay.count("walletsolidity/getblockbynum") == head.final_height
    assert relay.count("wallet/getblockbynum") <= 2, "block 0, and the one that is not solidified"


# --- D-30, D-31: look-alikes ----------------------------------------------------------------------


async def test_d30_a_trc10_token_is_its_number(devnet: TronDevnet, chain: TronChain) -> None:
    """A TRC-10 token that is named USDT, and one that is configured."""
    start = (await chain.head()).ref
    for number in (b"1000002", TRC10.encode()):
        fields = {"to_address": PREFIX + key_of(OURS), "amount": 9, "asset_name": number}
        devnet.send(2, fields)
    await devnet.mine()
    assert shown(await read(chain, watching(OURS), after=start)) == [("TEN", "token10", 9)]


async def test_d30_numbers_are_compared_as_text(devnet: TronDevnet, opener: Opener) -> None:
    chain = opener(devnet.url, {**devnet.assets, "TEN": Asset("TEN", "1000003", 6)})
    await devnet.pay("TEN", OURS, 9)
    await devnet.mine()
    assert shown(await read(chain, watching(OURS))) == []


async def test_d31_only_configured_contracts_are_believed(
    devnet: TronDevnet, chain: TronChain
) -> None:
    start = (await chain.head()).ref
    say = call_data("say(address,address,uint256)", key_of(stranger(3)), key_of(OURS), 10**12)
    devnet.call(devnet.contracts["Liar"], say)
    devnet.call(devnet.contracts["FeeToken"], transfer_call(key_of(OURS), 500))
    devnet.call(devnet.contracts["BadToken"], transfer_call(key_of(OURS), 500))
    await devnet.pay("USDT", OURS, 4)
    await devnet.mine()
    assert shown(await read(chain, watching(OURS), after=start)) == [("USDT", "log/0", 4)]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another event", lambda log: log["topics"].__setitem__(0, "8c" + log["topics"][0][2:])),
        ("no indexed recipient", lambda log: log["topics"].pop()),
        ("a fourth topic", lambda log: log["topics"].append("00" * 32)),
        ("not an address", lambda log: log["topics"].__setitem__(2, "01" + log["topics"][2][2:])),
        ("more data", lambda log: log.update(data=log["data"] + "00" * 32)),
        ("no data", lambda log: log.pop("data")),
        ("another contract", lambda log: log.update(address="11" * 20)),
        ("zero", lambda log: log.update(data="00" * 32)),
        ("to oneself", lambda log: log["topics"].__setitem__(1, log["topics"][2])),
        ("a mint", lambda log: log["topics"].__setitem__(1, "00" * 32)),
    ],
)
async def test_d31_a_log_that_is_no_transfer(
    devnet: TronDevnet, relay: Relay, opener: Opener, what: str, change: Any
) -> None:
    chain = opener(relay.url, {k: v for k, v in devnet.assets.items()})
    await devnet.pay("USDT", OURS, 4)
    await devnet.mine()
    head = (await chain.head()).ref.height
    relay.bend[INFOS] = each_info(lambda info: [change(log) for log in info.get("log", [])])
    blocks = await read(chain, watching(OURS), last=head)
    assert shown(blocks) == [], what


async def test_logs_that_are_spelled_otherwise_count(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """With 41 before the contract, or before an address in a topic, as some nodes and old
    contracts have it."""
    chain = opener(relay.url, devnet.assets)
    await devnet.pay("USDT", OURS, 4)
    await devnet.mine()

    def change(info: dict[str, Any]) -> None:
        for log in info.get("log", []):
            log["address"] = "41" + log["address"].upper()
            log["topics"] = [
                log["topics"][0],
                *("0" * 22 + "41" + t[24:] for t in log["topics"][1:]),
            ]

    relay.bend[INFOS] = each_info(change)
    assert shown(await read(chain, watching(OURS))) == [("USDT", "log/0", 4)]


async def test_mints_count_only_where_they_are_allowed(devnet: TronDevnet, opener: Opener) -> None:
    token = devnet.contracts["TestUSDT"]
    devnet.call(token, call_data("mint(address,uint256)", key_of(OURS), 77))
    await devnet.mine()
    plain, allowed = (
        opener(devnet.url, devnet.assets),
        opener(devnet.url, devnet.assets, mints=True),
    )
    assert shown(await read(plain, watching(OURS))) == []
    assert shown(await read(allowed, watching(OURS))) == [("USDT", "log/0", 77)]


# --- D-33: permissions ----------------------------------------------------------------------------


async def test_d33_a_change_of_permissions_is_told(devnet: TronDevnet, chain: TronChain) -> None:
    """It is a transaction of ours that nobody here made: `sent` tells it, with its fee, and the
    core stops the account."""
    ours, thief = await funded(devnet), wallet(2)
    start = (await chain.head()).ref
    taken = {
        "owner": {
            "type": 0, "permission_name": b"owner", "threshold": 1,
            "keys": [{"address": PREFIX + key_of(thief.address), "weight": 1}],
            "operations": b"",
        },
        "actives": [],
    }  # fmt: skip
    txid = devnet.send(46, taken, private_key=ours.secret)
    await devnet.mine()
    (told,) = sent(await read(chain, watching(OURS, senders=[ours.address]), after=start))
    assert (told.txid, told.sender, told.ok, told.moved) == (txid, ours.address, True, ())
    assert told.fee >= 100 * TRX

    start = (await chain.head()).ref
    fields = {"to_address": PREFIX + key_of(stranger(4)), "amount": 5}
    head = devnet.ledger.head
    from chain_adapter_tron.devnet.transaction import raw_data_of, sign_transaction

    raw = raw_data_of(
        1, {"owner_address": PREFIX + key_of(ours.address), **fields}, head.id,
        head.timestamp_ms + 60_000, head.timestamp_ms,
    )  # fmt: skip
    devnet.ledger.submit(sign_transaction(raw, thief.secret))
    await devnet.mine()
    (told,) = sent(await read(chain, watching(OURS, senders=[ours.address]), after=start))
    assert told.sender == ours.address, "signed by another key, and from our account all the same"
    assert told.moved == (Payment("TRX", stranger(4), 5),)


# --- D-34: what carries an amount and is no payment -----------------------------------------------


async def test_d34_freezing_voting_and_delegating_bring_nothing(
    devnet: TronDevnet, chain: TronChain
) -> None:
    start = (await chain.head()).ref
    devnet.send(54, {"frozen_balance": 50 * TRX, "resource": 1})
    await devnet.mine()
    receiver = PREFIX + key_of(OURS)
    devnet.send(57, {"resource": 1, "balance": 9 * TRX, "receiver_address": receiver})
    devnet.send(4, {"votes": [{"vote_address": receiver, "vote_count": 9}]})
    await devnet.mine()
    watch = watching(OURS, senders=[devnet.address])
    blocks = await read(chain, watch, after=start)
    assert shown(blocks) == []
    assert [one.moved for one in sent(blocks)] == [(), (), ()]
    assert all(one.ok for one in sent(blocks))


@pytest.mark.parametrize(
    ("note", "counts"),
    [
        (b"call", True), (b"create", True), (b"suicide", True),
        (b"delegateResourceOfEnergy", False), (b"unDelegateResourceOfBandwidth", False),
        (b"freezeBalanceV2ForEnergy", False), (b"freezeForEnergy", False),
        (b"voteWitness", False), (b"withdrawReward", False), (b"something new", False),
    ],
)  # fmt: skip
async def test_d34_internal_transactions_that_move_no_value(
    devnet: TronDevnet, relay: Relay, opener: Opener, note: bytes, counts: bool
) -> None:
    chain = opener(relay.url, devnet.assets)
    await devnet.forward(OURS, 9)
    await devnet.mine()

    def change(info: dict[str, Any]) -> None:
        for call in info.get("internal_transactions", []):
            call["note"] = note.hex()

    relay.bend[INFOS] = each_info(change)
    want = [("TRX", "call/0", 9)] if counts else []
    assert shown(await read(chain, watching(OURS))) == want


async def test_internal_transactions_with_tokens(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """TRX and TRC-10 in one internal transaction; one whose token is not ours; a rejected one."""
    chain = opener(relay.url, devnet.assets)
    await devnet.forward(OURS, 9)
    await devnet.mine()

    def change(info: dict[str, Any]) -> None:
        calls = info.get("internal_transactions", [])
        if calls:
            both = [{"callValue": 3}, {"callValue": 4, "tokenId": TRC10}]
            other = [{"callValue": 5, "tokenId": "1000002"}]
            rest = {**calls[0], "note": "63616c6c"}
            info["internal_transactions"] = [
                {**rest, "callValueInfo": both},
                {**rest, "callValueInfo": other},
                {**rest, "callValueInfo": both, "rejected": True},
                {**rest, "callValueInfo": [{}]},
            ]

    relay.bend[INFOS] = each_info(change)
    assert shown(await read(chain, watching(OURS))) == [
        ("TEN", "call/0.1", 4),
        ("TRX", "call/0", 3),
    ]


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
