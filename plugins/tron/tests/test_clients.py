"""Clients that we did not write, against the local chain: tronpy (both of its clients) and TronWeb
build, sign, send and read back; their transactions are ours, byte for byte.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tronpy import AsyncTron, Tron
from tronpy.exceptions import TransactionNotFound, UnknownError, ValidationError
from tronpy.keys import PrivateKey as TronpyKey
from tronpy.providers import AsyncHTTPProvider, HTTPProvider

from chain_adapter.chain import Payment
from chain_adapter_tron.address import key_of
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet
from chain_adapter_tron.devnet.views import tx_json
from plugins.tron.tests import crosscheck
from plugins.tron.tests.crosscheck import KINDS, tronweb
from plugins.tron.tests.parts import (
    TRX,
    Opener,
    Wallet,
    funded,
    pay,
    read,
    sent,
    stranger,
    transfers,
    watching,
)

README = Path(__file__).parents[1] / "README.md"
TO = stranger(7)


@pytest.fixture
def memo_chain(devnet: TronDevnet, opener: Opener) -> TronChain:
    return opener(devnet.url, devnet.assets, memo=True)


async def test_three_programs_make_the_same_transaction(
    devnet: TronDevnet, memo_chain: TronChain
) -> None:
    rows = await crosscheck.table(devnet, memo_chain, await funded(devnet))
    assert not any("DIFFERENT" in row for row in rows)
    shown = [line for line in README.read_text().splitlines() if line.startswith("|")]
    where = shown.index(crosscheck.HEAD)
    assert shown[where : where + len(rows)] == rows, "README.md: run scripts/write_crosscheck.py"


async def _seen(
    devnet: TronDevnet, chain: TronChain, payer: Wallet, txids: list[str], amounts: list[int]
) -> None:
    """What was sent is in a block, and our reader tells it with its memo."""
    start = (await chain.head()).ref
    await devnet.mine()
    blocks = await read(chain, watching(TO, senders=[payer.address]), after=start)
    assert [one.txid for one in sent(blocks)] == txids
    assert all(one.ok for one in sent(blocks))
    assert sorted(t.amount for t in transfers(blocks)) == sorted(amounts)
    assert {t.memo for t in transfers(blocks)} == {crosscheck.MEMO.encode()}


async def test_tronpy_builds_signs_sends_and_reads(
    devnet: TronDevnet, memo_chain: TronChain
) -> None:
    payer = await funded(devnet)
    contract = devnet.contracts["TestUSDT"]

    def work() -> list[str]:
        client = Tron(HTTPProvider(devnet.url))
        key = TronpyKey(payer.secret)
        token = client.get_contract(contract)
        assert token.functions.decimals() == 6
        assert token.functions.balanceOf(payer.address) == 1_000 * TRX
        builders = [
            client.trx.transfer(payer.address, TO, 11),
            client.trx.asset_transfer(payer.address, TO, 12, int(TRC10)),
            token.functions.transfer(TO, 13).with_owner(payer.address).fee_limit(50 * TRX),
        ]
        txids = []
        for builder in builders:
            made = builder.memo(crosscheck.MEMO).build().sign(key)
            txids.append(made.broadcast()["txid"])
            assert made.txid == txids[-1]
        return txids

    txids = await asyncio.to_thread(work)
    await _seen(devnet, memo_chain, payer, txids, [11, 12, 13])

    def look() -> None:
        client = Tron(HTTPProvider(devnet.url))
        assert client.get_latest_block_number() == devnet.ledger.head.number
        assert client.get_latest_solid_block_number() == devnet.ledger.solid_height
        block = client.get_block(devnet.ledger.head.number)
        assert [tx["txID"] for tx in block["transactions"]] == txids
        assert client.get_block(block["blockID"])["blockID"] == block["blockID"]
        for txid in txids:
            assert client.get_transaction(txid)["ret"] == [{"contractRet": "SUCCESS"}]
            info = client.get_transaction_info(txid)
            assert info["blockNumber"] == devnet.ledger.head.number
            with pytest.raises(TransactionNotFound):
                client.get_solid_transaction_info(txid)
        assert client.get_account_balance(TO) * TRX == 11
        assert client.get_account_asset_balance(TO, int(TRC10)) == 12
        assert client.get_account_resource(payer.address)["freeNetLimit"] == 600
        permission = client.get_account_permission(payer.address)
        assert permission["owner"]["keys"][0]["address"] == payer.address
        energy = client.get_estimated_energy(
            payer.address, contract, "transfer(address,uint256)",
            key_of(TO).rjust(32, b"\0").hex() + f"{1:064x}",
        )  # fmt: skip
        assert energy > 0
        key = TronpyKey(payer.secret)
        with pytest.raises(ValidationError):
            client.trx.transfer(payer.address, TO, 10**15).build().sign(key).broadcast()
        late = client.trx.transfer(payer.address, TO, 5).build().sign(key)
        late.broadcast()
        with pytest.raises(UnknownError, match="DUP_TRANSACTION_ERROR"):
            late.broadcast()

    await asyncio.to_thread(look)
    await devnet.mine(devnet.ledger.solid_lag)
    solid = await asyncio.to_thread(
        lambda: Tron(HTTPProvider(devnet.url)).get_solid_transaction_info(txids[0])
    )
    assert solid["id"] == txids[0]


async def test_tronpy_async_builds_signs_sends_and_reads(
    devnet: TronDevnet, memo_chain: TronChain
) -> None:
    payer = await funded(devnet)
    contract = devnet.contracts["TestUSDT"]
    async with AsyncTron(AsyncHTTPProvider(devnet.url)) as client:
        key = TronpyKey(payer.secret)
        token = await client.get_contract(contract)
        assert await token.functions.balanceOf(payer.address) == 1_000 * TRX
        builders = [
            client.trx.transfer(payer.address, TO, 11),
            client.trx.asset_transfer(payer.address, TO, 12, int(TRC10)),
            (await token.functions.transfer(TO, 13)).with_owner(payer.address).fee_limit(50 * TRX),
        ]
        txids = []
        for builder in builders:
            made = (await builder.memo(crosscheck.MEMO).build()).sign(key)
            txids.append((await made.broadcast())["txid"])
        await _seen(devnet, memo_chain, payer, txids, [11, 12, 13])
        assert await client.get_latest_block_number() == devnet.ledger.head.number
        for txid in txids:
            assert (await client.get_transaction(txid))["txID"] == txid
            assert (await client.get_transaction_info(txid))["id"] == txid
        assert await token.functions.balanceOf(TO) == 13
        assert await client.get_account_balance(TO) * TRX == 11


@pytest.mark.parametrize("as_hex", [False, True])
async def test_tronweb_builds_signs_sends_and_reads(
    devnet: TronDevnet, memo_chain: TronChain, as_hex: bool
) -> None:
    payer = await funded(devnet)
    contract = devnet.contracts["TestUSDT"]
    payments = [
        {
            "kind": kind, "to": TO, "amount": 11 + at, "token": TRC10, "contract": contract,
            "memo": crosscheck.MEMO, "feeLimit": 50 * TRX,
        }
        for at, kind in enumerate(KINDS)
    ]  # fmt: skip
    told = await tronweb("send", devnet.url, payer.secret, payments=payments, hex=as_hex)
    assert [one["result"] for one in told] == [True] * 3, told
    txids = [one["txID"] for one in told]
    await _seen(devnet, memo_chain, payer, txids, [11, 12, 13])
    (signed,) = await tronweb("build", devnet.url, payer.secret, payments=payments[:1])
    more = await tronweb(
        "read", devnet.url, payer.secret, txids=txids, to=TO, contract=contract, signed=signed
    )
    assert [one["transaction"]["txID"] for one in more["answers"]] == txids
    assert [one["info"]["id"] for one in more["answers"]] == txids
    assert more["height"] == devnet.ledger.head.number
    assert more["solid"] == devnet.ledger.solid_height
    assert len(more["range"]) == 3
    assert (more["balance"], more["token"], more["decimals"]) == (11, "13", 6)
    assert more["account"]["assetV2"] == [{"key": TRC10, "value": 12}]
    assert more["resources"]["freeNetLimit"] == 600 and more["parameters"] > 10
    assert more["weight"] == 1


async def test_they_read_back_what_this_plugin_sent(
    devnet: TronDevnet, memo_chain: TronChain
) -> None:
    payer = await funded(devnet)
    txids = [
        (await pay(memo_chain, payer, Payment(asset, TO, 21, crosscheck.MEMO))).txid
        for asset in KINDS.values()
    ]
    await devnet.mine()
    found = devnet.ledger.find(txids[0])
    assert found is not None
    tx = tx_json(found[1], None, visible=False)
    more = await tronweb(
        "read", devnet.url, payer.secret, txids=txids, to=TO,
        contract=devnet.contracts["TestUSDT"], signed=tx,
    )  # fmt: skip
    assert [one["transaction"]["txID"] for one in more["answers"]] == txids
    assert (more["balance"], more["token"]) == (21, "21")

    def work() -> list[str]:
        client = Tron(HTTPProvider(devnet.url))
        return [client.get_transaction(txid)["raw_data"]["data"] for txid in txids]

    assert await asyncio.to_thread(work) == [crosscheck.MEMO.encode().hex()] * 3
