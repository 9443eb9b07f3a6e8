"""The local chain is as strict as a node: what it refuses, what it tells, how it forks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from coincurve import PrivateKey

from chain_adapter.chain import Rejected, Unavailable
from chain_adapter_tron.address import PREFIX, key_of, sha256
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.artifacts import BYTECODE
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet
from chain_adapter_tron.devnet.schema import json_to_raw, raw_to_json
from chain_adapter_tron.devnet.state import DAY_MS
from chain_adapter_tron.devnet.transaction import (
    Refused,
    Tx,
    decode_tx,
    raw_data_of,
    read_tx,
    sign_transaction,
)
from chain_adapter_tron.roots import merkle_root
from plugins.tron.scripts import write_artifacts
from plugins.tron.tests.parts import TRX, Wallet, funded, stranger, wallet

TO = stranger(1)
ROOT = Path(__file__).resolve().parents[3]


async def post(devnet: TronDevnet, path: str, body: Mapping[str, Any] | None = None) -> Any:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{devnet.url}/{path}", json=body or {}) as answer:
            return await answer.json()


def made(devnet: TronDevnet, payer: Wallet, keys: list[bytes] | None = None, **more: Any) -> Tx:
    """A payment of 5 sun, with whatever is wrong about it."""
    head = devnet.ledger.head
    fields = {
        "owner_address": PREFIX + key_of(payer.address),
        "to_address": PREFIX + key_of(TO),
        "amount": 5,
        **more.pop("fields", {}),
    }
    told = {
        "ref_block": head.id, "expiration": head.timestamp_ms + 60_000,
        "timestamp": head.timestamp_ms, **more,
    }  # fmt: skip
    raw = raw_data_of(told.pop("kind", 1), fields, **told)
    return sign_transaction(raw, *([payer.secret] if keys is None else keys))


def refused(devnet: TronDevnet, tx: Tx) -> str:
    with pytest.raises(Refused) as told:
        devnet.ledger.submit(tx)
    return told.value.code


# --- what it refuses ------------------------------------------------------------------------------


async def test_signatures_are_recovered(devnet: TronDevnet) -> None:
    payer, other = await funded(devnet), wallet(2)
    good = made(devnet, payer)
    cut = read_tx(good.raw_data, [good.signatures[0][:-1]])
    odd = read_tx(good.raw_data, [good.signatures[0][:64] + b"\x09"])
    for tx in (made(devnet, payer, []), made(devnet, payer, [other.secret]), cut, odd,
               made(devnet, payer, [payer.secret, payer.secret]),
               made(devnet, payer, permission_id=1)):  # fmt: skip
        assert refused(devnet, tx) == "SIGERROR"
    counted = good.signatures[0][:64] + bytes([good.signatures[0][64] + 27])
    devnet.ledger.submit(read_tx(good.raw_data, [counted]))


async def test_reference_block_and_expiration(devnet: TronDevnet) -> None:
    payer = await funded(devnet)
    head = devnet.ledger.head
    now = head.timestamp_ms
    assert refused(devnet, made(devnet, payer, ref_block=head.id[:8] + bytes(24))) == "TAPOS_ERROR"
    beyond = (head.number + 5).to_bytes(8, "big") + head.id[8:]
    assert refused(devnet, made(devnet, payer, ref_block=beyond)) == "TAPOS_ERROR"
    for expiration in (now, now - 1, 0, now + DAY_MS + 1):
        tx = made(devnet, payer, expiration=expiration)
        assert refused(devnet, tx) == "TRANSACTION_EXPIRATION_ERROR"
    for expiration in (now + 1, now + DAY_MS):
        devnet.ledger.submit(made(devnet, payer, expiration=expiration))
    old = devnet.ledger.blocks[3]
    devnet.ledger.submit(made(devnet, payer, ref_block=old.id))


async def test_a_fork_breaks_what_refers_to_it(devnet: TronDevnet) -> None:
    payer = await funded(devnet)
    await devnet.mine(3)
    tx = made(devnet, payer)
    await devnet.reorg(1)
    assert refused(devnet, tx) == "TAPOS_ERROR"


async def test_duplicates(devnet: TronDevnet) -> None:
    payer = await funded(devnet)
    tx = made(devnet, payer)
    devnet.ledger.submit(tx)
    assert refused(devnet, tx) == "DUP_TRANSACTION_ERROR"
    await devnet.mine()
    assert refused(devnet, tx) == "DUP_TRANSACTION_ERROR"
    await devnet.reorg(1)
    if devnet.ledger.find(tx.txid) is None:
        again = made(devnet, payer)
        devnet.ledger.submit(again)


@pytest.mark.parametrize(
    "more",
    [
        {"fields": {"amount": 0}},
        {"fields": {"amount": -1}},
        {"fields": {"amount": 2_000 * TRX}},
        {"fields": {"to_address": b"\x41" + key_of(wallet(1).address)}},
        {"kind": 2, "fields": {"asset_name": b"1000001", "amount": 2_000 * TRX}},
        {"kind": 2, "fields": {"asset_name": b"USDT"}},
        {"kind": 31, "fields": {"contract_address": PREFIX + key_of(TO), "data": b""}},
        {"kind": 46, "fields": {"actives": []}, "poor": True},
        {"kind": 54, "fields": {"frozen_balance": 5}},
        {"kind": 57, "fields": {"balance": 5, "receiver_address": PREFIX + key_of(TO)}},
    ],
)
async def test_contracts_are_validated(devnet: TronDevnet, more: dict[str, Any]) -> None:
    payer = await funded(devnet, amount=90 * TRX if more.get("poor") else 1_000 * TRX)
    more = {name: value for name, value in more.items() if name != "poor"}
    assert refused(devnet, made(devnet, payer, **more)) == "CONTRACT_VALIDATE_ERROR"


async def test_what_the_pool_holds_is_not_spent_twice(devnet: TronDevnet) -> None:
    payer = await funded(devnet, amount=10 * TRX)
    devnet.ledger.submit(made(devnet, payer, fields={"amount": 6 * TRX}))
    second = made(devnet, payer, fields={"amount": 6 * TRX})
    assert refused(devnet, second) == "DUP_TRANSACTION_ERROR"
    third = made(devnet, payer, fields={"amount": 6 * TRX}, timestamp=1)
    assert refused(devnet, third) == "CONTRACT_VALIDATE_ERROR"


async def test_no_trx_and_no_trc10_to_a_contract(devnet: TronDevnet) -> None:
    payer = await funded(devnet)
    contract = PREFIX + key_of(devnet.contracts["Forwarder"])
    for kind in (1, 2):
        fields = {"to_address": contract, "asset_name": TRC10.encode()}
        tx = made(devnet, payer, kind=kind, fields=fields)
        assert refused(devnet, tx) == "CONTRACT_VALIDATE_ERROR"


async def test_who_cannot_pay_bandwidth_is_refused(devnet: TronDevnet) -> None:
    payer = await funded(devnet, amount=TRX + 100_004)
    assert refused(devnet, made(devnet, payer)) == "BANDWITH_ERROR", "0.1 TRX for a new account"
    known = {"to_address": PREFIX + key_of(devnet.address)}
    for number in range(4):
        tx = made(devnet, payer, fields=known, timestamp=number + 1)
        if number < 2:  # free bandwidth carries two a day
            devnet.ledger.submit(tx)
            await devnet.mine()
            found = devnet.ledger.find(tx.txid)
            assert found is not None and found[2].fee == 0
        elif number == 2:
            devnet.ledger.submit(tx)
            dear = made(devnet, payer, fields={**known, "amount": TRX}, timestamp=9)
            assert refused(devnet, dear) == "BANDWITH_ERROR"


async def test_what_became_invalid_in_the_pool_is_dropped(devnet: TronDevnet) -> None:
    """Two that the balance allows one by one: the block takes the first, and nobody is told."""
    payer, token = await funded(devnet, amount=40 * TRX), devnet.contracts["TestUSDT"]
    call = {
        "contract_address": PREFIX + key_of(token),
        "data": transfer_call(key_of(TO), 5),
    }
    first = made(devnet, payer, kind=31, fields=call, fee_limit=39 * TRX)
    known = {"to_address": PREFIX + key_of(devnet.address), "amount": 39 * TRX}
    second = made(devnet, payer, fields=known)
    devnet.ledger.submit(first)
    devnet.ledger.submit(second)
    await devnet.mine()
    assert [devnet.ledger.find(tx.txid) is not None for tx in (first, second)] == [True, False]
    assert not devnet.ledger.pool


async def test_broken_bytes(devnet: TronDevnet) -> None:
    for data in (b"", b"\xff", b"\x0a\x02\xff\xff"):
        with pytest.raises(Refused):
            decode_tx(data)
    answer = await post(devnet, "wallet/broadcasthex", {"transaction": "zz"})
    assert "Error" in answer
    answer = await post(devnet, "wallet/broadcasttransaction", {"raw_data": {}, "signature": []})
    assert answer["code"] == "OTHER_ERROR"
    good = made(devnet, await funded(devnet))
    told = {
        "raw_data": raw_to_json(good.raw_data, visible=False),
        "signature": [good.signatures[0].hex()],
        "txID": "00" * 32,
    }
    assert (await post(devnet, "wallet/broadcasttransaction", told))["code"] == "OTHER_ERROR"
    told["txID"] = good.txid
    assert (await post(devnet, "wallet/broadcasttransaction", told))["result"] is True


async def test_permissions_of_two_keys(devnet: TronDevnet) -> None:
    payer, second, third = await funded(devnet), wallet(2), wallet(3)

    def permission(kind: int, threshold: int, *keys: Wallet, operations: bytes = b"") -> Any:
        return {
            "type": kind, "permission_name": b"p", "threshold": threshold,
            "operations": operations,
            "keys": [{"address": PREFIX + key_of(one.address), "weight": 1} for one in keys],
        }  # fmt: skip

    only_transfers = bytes([0b10]) + bytes(31)
    fields = {
        "owner": permission(0, 2, payer, second),
        "actives": [permission(2, 1, third, operations=only_transfers)],
    }
    devnet.send(46, fields, private_key=payer.secret)
    await devnet.mine()
    assert refused(devnet, made(devnet, payer)) == "SIGERROR"
    both = made(devnet, payer, [payer.secret, second.secret])
    devnet.ledger.submit(both)
    active = made(devnet, payer, [third.secret], permission_id=2, timestamp=3)
    devnet.ledger.submit(active)
    token = PREFIX + key_of(devnet.contracts["TestUSDT"])
    call = made(
        devnet, payer, [third.secret], permission_id=2, kind=31, fee_limit=TRX,
        fields={"contract_address": token, "data": transfer_call(key_of(TO), 1)},
    )  # fmt: skip
    assert refused(devnet, call) == "SIGERROR", "an operation that it does not allow"
    await devnet.mine()
    found = devnet.ledger.find(both.txid)
    assert found is not None and found[2].fee >= TRX, "a second signature costs 1 TRX"
    weight = await post(
        devnet, "wallet/getsignweight",
        {"raw_data": raw_to_json(active.raw_data, visible=False),
         "signature": [active.signatures[0].hex()]},
    )  # fmt: skip
    assert (weight["current_weight"], weight["permission"]["threshold"]) == (1, 1)


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
