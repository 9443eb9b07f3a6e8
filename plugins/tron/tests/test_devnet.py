"""The local chain: what it tells, how it keeps time, how it forks."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import aiohttp
import pytest
from coincurve import PrivateKey

from chain_adapter.chain import Rejected, Unavailable
from chain_adapter_tron.address import PREFIX, key_of, sha256
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.artifacts import BYTECODE
from chain_adapter_tron.devnet.devnet import TronDevnet
from chain_adapter_tron.devnet.schema import json_to_raw
from chain_adapter_tron.devnet.state import DAY_MS
from chain_adapter_tron.roots import merkle_root
from plugins.tron.scripts import write_artifacts
from plugins.tron.tests.parts import TRX, funded, made, post, stranger

TO = stranger(1)
ROOT = Path(__file__).resolve().parents[3]


# --- what it tells --------------------------------------------------------------------------------


async def test_a_block_is_named_by_height_and_hash(devnet: TronDevnet) -> None:
    await devnet.pay("TRX", TO, 5)
    await devnet.pay("USDT", TO, 5)
    await devnet.pay("TEN", TO, 5)
    await devnet.mine()
    told = await post(devnet, "wallet/getnowblock")
    number = told["block_header"]["raw_data"]["number"]
    assert told["blockID"][:16] == f"{number:016x}"
    block = devnet.ledger.head
    leaves = [sha256(tx.encode(outcome.result)) for tx, outcome in block.txs]
    root = told["block_header"]["raw_data"]["txTrieRoot"]
    assert merkle_root(leaves).hex() == root and len(leaves) == 3
    assert [tx["txID"] for tx in told["transactions"]] == [tx.txid for tx, _ in block.txs]
    for tx in told["transactions"]:
        assert sha256(bytes.fromhex(tx["raw_data_hex"])).hex() == tx["txID"]
        assert json_to_raw(tx["raw_data"], visible=False).hex() == tx["raw_data_hex"]
    shown = await post(devnet, "wallet/getblockbynum", {"num": number, "visible": True})
    for tx in shown["transactions"]:
        assert json_to_raw(tx["raw_data"], visible=True).hex() == tx["raw_data_hex"]


async def test_what_is_not_there_is_an_empty_answer(devnet: TronDevnet) -> None:
    for path, body in {
        "wallet/getblockbynum": {"num": 10**9},
        "wallet/getblockbyid": {"value": "00" * 32},
        "wallet/getblockbylimitnext": {"startNum": 10**9, "endNum": 10**9 + 5},
        "wallet/gettransactionbyid": {"value": "00" * 32},
        "wallet/gettransactioninfobyid": {"value": "00" * 32},
        "wallet/getaccount": {"address": "41" + key_of(stranger(99)).hex()},
        "wallet/getaccountresource": {"address": "41" + key_of(stranger(99)).hex()},
        "wallet/getcontract": {"value": "41" + key_of(stranger(99)).hex()},
        "walletsolidity/getblockbynum": {"num": devnet.ledger.head.number},
    }.items():
        assert await post(devnet, path, body) == {}, path
    assert await post(devnet, "wallet/gettransactioninfobyblocknum", {"num": 10**9}) == []
    await devnet.mine()
    assert "transactions" not in await post(devnet, "wallet/getnowblock")
    head = {"num": devnet.ledger.head.number}
    assert await post(devnet, "wallet/gettransactioninfobyblocknum", head) == []


async def test_logs_are_told_without_41_and_0x(devnet: TronDevnet) -> None:
    txid = await devnet.pay("USDT", TO, 5)
    await devnet.mine()
    info = await post(devnet, "wallet/gettransactioninfobyid", {"value": txid})
    (log,) = info["log"]
    assert log["address"] == key_of(devnet.contracts["TestUSDT"]).hex()
    assert [len(topic) for topic in log["topics"]] == [64, 64, 64]
    assert info["contractResult"] == ["00" * 32], "the token says false and has moved, as USDT"
    assert info["receipt"]["result"] == "SUCCESS"


async def test_get_and_post_are_the_same(devnet: TronDevnet) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{devnet.url}/wallet/getnowblock") as answer:
            by_get = await answer.json()
        async with session.get(f"{devnet.url}/wallet/getblockbynum?num=3&visible=true") as answer:
            third = await answer.json()
        async with session.post(f"{devnet.url}/wallet/nosuchcall") as answer:
            assert answer.status == 404
    assert by_get == await post(devnet, "wallet/getnowblock")
    assert third["block_header"]["raw_data"]["witness_address"].startswith("T")


async def test_transactions_made_by_the_node(devnet: TronDevnet) -> None:
    """`createtransaction` and `triggersmartcontract`: signed by us and sent, they pay."""
    payer = await funded(devnet)
    owner, to = "41" + key_of(payer.address).hex(), "41" + key_of(TO).hex()
    token = "41" + key_of(devnet.contracts["TestUSDT"]).hex()
    trx = await post(
        devnet, "wallet/createtransaction",
        {"owner_address": owner, "to_address": to, "amount": 7},
    )  # fmt: skip
    call = await post(
        devnet, "wallet/triggersmartcontract",
        {"owner_address": owner, "contract_address": token, "fee_limit": 50 * TRX,
         "function_selector": "transfer(address,uint256)",
         "parameter": transfer_call(key_of(TO), 8)[4:].hex()},
    )  # fmt: skip
    for one in (trx, call["transaction"]):
        digest = bytes.fromhex(one["txID"])
        one["signature"] = [PrivateKey(payer.secret).sign_recoverable(digest, hasher=None).hex()]
        assert (await post(devnet, "wallet/broadcasttransaction", one))["result"] is True
    await devnet.mine()
    account = await post(devnet, "wallet/getaccount", {"address": to})
    assert account["balance"] == 7
    too_much = {"owner_address": owner, "to_address": to, "amount": 10**15}
    assert "not sufficient" in (await post(devnet, "wallet/createtransaction", too_much))["Error"]


async def test_free_bandwidth_comes_back_in_a_day(devnet: TronDevnet) -> None:
    payer = await funded(devnet)
    tx = made(devnet, payer, fields={"to_address": PREFIX + key_of(devnet.address)})
    devnet.ledger.submit(tx)
    await devnet.mine()
    owner = {"address": "41" + key_of(payer.address).hex()}
    used = (await post(devnet, "wallet/getaccountresource", owner))["freeNetUsed"]
    assert used == tx.size == len(tx.encode(None)) + 64
    devnet.ledger.slot_ms = DAY_MS // 2
    await devnet.mine()
    half = (await post(devnet, "wallet/getaccountresource", owner))["freeNetUsed"]
    assert half == pytest.approx(used / 2, abs=1)
    await devnet.mine()
    assert "freeNetUsed" not in await post(devnet, "wallet/getaccountresource", owner)


# --- time and forks -------------------------------------------------------------------------------


async def test_slots_of_three_seconds_near_the_walls_time(devnet: TronDevnet) -> None:
    times = [block.timestamp_ms for block in devnet.ledger.blocks[1:]]
    assert {after - before for before, after in itertools.pairwise(times)} == {3_000}
    assert all(one % 3_000 == 0 for one in times)
    await devnet.mine()
    assert abs(devnet.ledger.head.timestamp_ms / 1000 - time.time()) < 10


async def test_a_fork_is_another_chain_from_there_on(devnet: TronDevnet) -> None:
    """Balances, tokens and accounts go back with the blocks, also below the solidified one."""
    await devnet.pay("TRX", TO, 5)
    await devnet.mine()
    for asset in devnet.assets:
        await devnet.pay(asset, TO, 7)
    await devnet.mine(2)
    token = {"address": "41" + key_of(TO).hex()}
    assert (await post(devnet, "wallet/getaccount", token))["balance"] == 12
    before = [block.id for block in devnet.ledger.blocks]
    await devnet.reorg(2)
    after = [block.id for block in devnet.ledger.blocks]
    assert after[:-2] == before[:-2] and len(after) == len(before)
    assert not set(after[-2:]) & set(before[-2:])
    account = await post(devnet, "wallet/getaccount", token)
    assert account["balance"] == 5 and "assetV2" not in account
    assert devnet.ledger.state_at_solid() is not None
    await devnet.reorg(devnet.ledger.solid_lag + 3)
    assert await post(devnet, "wallet/getaccount", token) == {}
    solid = await post(devnet, "walletsolidity/getnowblock")
    assert solid["block_header"]["raw_data"]["number"] == devnet.ledger.solid_height
    assert devnet.ledger.state_at_solid().balance(key_of(TO)) == 0
    with pytest.raises(ValueError):
        await devnet.reorg(10**6)


async def test_the_solidified_state_is_older(devnet: TronDevnet) -> None:
    await devnet.pay("USDT", TO, 5)
    await devnet.mine()
    body = {
        "owner_address": "41" + key_of(TO).hex(),
        "contract_address": "41" + key_of(devnet.contracts["TestUSDT"]).hex(),
        "function_selector": "balanceOf(address)",
        "parameter": key_of(TO).rjust(32, b"\0").hex(),
    }

    async def balance(interface: str) -> int:
        answer = await post(devnet, f"{interface}/triggerconstantcontract", body)
        return int(answer["constant_result"][0], 16)

    assert (await balance("wallet"), await balance("walletsolidity")) == (5, 0)
    await devnet.mine(devnet.ledger.solid_lag)
    assert await balance("walletsolidity") == 5


async def test_commands_of_another_process(devnet: TronDevnet) -> None:
    height = devnet.ledger.head.number
    assert await post(devnet, "devnet/mine", {"blocks": 3}) == {"height": height + 3}
    assert await post(devnet, "devnet/reorg", {"depth": 1}) == {"height": height + 3}
    await post(devnet, "devnet/fault", {"path": "wallet/getnowblock", "answer": {}, "times": 2})
    assert [await post(devnet, "wallet/getnowblock") for _ in range(2)] == [{}, {}]
    assert "blockID" in await post(devnet, "wallet/getnowblock")
    await post(devnet, "devnet/lose", {"transactions": 1})
    txid = await devnet.pay("TRX", TO, 5)
    await devnet.mine()
    assert devnet.ledger.find(txid) is None
    assert "error" in await post(devnet, "devnet/nosuch")
    assert "error" in await post(devnet, "devnet/reorg")


async def test_what_cannot_be_started_or_paid(devnet: TronDevnet) -> None:
    for listen in ("nowhere", "127.0.0.1:x", devnet.url.removeprefix("http://")):
        with pytest.raises(Unavailable):
            await TronDevnet.start(listen)
    with pytest.raises(Rejected):
        await devnet.pay("OTHER", TO, 5)
    with pytest.raises(Rejected, match="CONTRACT_VALIDATE_ERROR"):
        await devnet.pay("TRX", TO, 0)


def test_bytecode_is_that_of_the_source() -> None:
    """The committed bytecode is what the compiler in package.json makes of the source."""
    made = write_artifacts.compiled(str(ROOT))
    assert made == BYTECODE
    text = Path(write_artifacts.TARGET).read_text()
    assert text == write_artifacts.written(made)


def test_schema_has_a_number_for_every_name() -> None:
    told = {"contract": [{"type": "Nothing", "parameter": {"value": {}}}]}
    with pytest.raises(ValueError, match="contract type"):
        json_to_raw(told, visible=False)
