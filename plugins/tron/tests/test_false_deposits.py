"""False deposits beside true ones, on the local chain and by a node that is bent: rows D-28 to D-34
of the corpus.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import Asset, Payment
from chain_adapter_tron.address import PREFIX, key_of
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet, call_data
from plugins.tron.tests.parts import (
    INFOS,
    TRX,
    WINDOW,
    Opener,
    Relay,
    each_info,
    each_tx,
    funded,
    read,
    sent,
    shown,
    stranger,
    transfers,
    wallet,
    watching,
)

OURS = stranger(1)
METHODS = ("window", "solid")


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
