"""The local chain is as strict as a node: what it refuses, and with which code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chain_adapter_tron.address import PREFIX, key_of
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet
from chain_adapter_tron.devnet.schema import raw_to_json
from chain_adapter_tron.devnet.state import DAY_MS
from chain_adapter_tron.devnet.transaction import (
    Refused,
    decode_tx,
    read_tx,
)
from plugins.tron.tests.parts import TRX, Wallet, funded, made, post, refused, stranger, wallet

TO = stranger(1)
ROOT = Path(__file__).resolve().parents[3]


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
