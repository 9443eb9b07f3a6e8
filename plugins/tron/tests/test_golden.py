"""Real transactions and blocks: facts of public sources, recorded in our own form.

A whole block proves itself (its id is the hash of its header, which holds the root of its
transactions); a transaction proves its txid. What they mean is expected by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.chain import Asset, Unavailable, Watch
from chain_adapter_tron.address import key_of, spell
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.codec import read_raw, txid_of
from chain_adapter_tron.devnet.schema import raw_to_json
from chain_adapter_tron.devnet.transaction import read_tx, signer_of
from chain_adapter_tron.draft import moves_of, open_block, take_infos
from chain_adapter_tron.reading import Ours, Reader
from chain_adapter_tron.roots import contradiction, header_id, leaf
from chain_adapter_tron.settings import Settings
from chain_adapter_tron.wire import (
    CallValue,
    Contract,
    FullBlock,
    Header,
    HeaderRaw,
    Info,
    Internal,
    Log,
    Parameter,
    RawData,
    Receipt,
    Ret,
    Tx,
    Value,
)

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
WHOLE = [name for name in GOLDEN if name.startswith("block_")]
READ = [name for name, one in GOLDEN.items() if "expect" in one]
EVERY = [(name, tx["txid"]) for name, one in GOLDEN.items() for tx in one["transactions"]]


def tx_of(told: dict[str, Any]) -> Tx:
    data = bytes.fromhex(told["raw_data"])
    told_json = raw_to_json(data, visible=False)["contract"][0]
    value = told_json["parameter"]["value"]
    return Tx(
        txID=told["txid"],
        raw_data=RawData(
            [
                Contract(
                    told_json["type"],
                    Parameter(Value(value["owner_address"], value.get("to_address", ""))),
                )
            ]
        ),
        raw_data_hex=told["raw_data"],
        ret=[Ret(contractRet=told["result"])],
        signature=told["signatures"],
    )


def header_of(told: dict[str, Any]) -> HeaderRaw:
    return HeaderRaw(
        number=told["number"],
        parentHash=told["parent"],
        timestamp=told["time_ms"],
        txTrieRoot=told["root"],
        witness_address=told["witness"],
        version=told["version"],
    )


def block_of(one: dict[str, Any]) -> FullBlock:
    told = one.get("header") or {
        "number": one["number"],
        "id": f"{one['number']:016x}" + "00" * 24,
        "parent": f"{one['number'] - 1:016x}" + "00" * 24,
        "time_ms": one["time_ms"],
        "root": "",
        "witness": "",
        "version": 0,
    }
    return FullBlock(told["id"], Header(header_of(told)), [tx_of(tx) for tx in one["transactions"]])


def info_of(told: dict[str, Any], number: int) -> Info:
    return Info(
        id=told["txid"],
        fee=told.get("fee", 0),
        blockNumber=number,
        receipt=Receipt(told.get("result", "")),
        log=[Log(*log) for log in told.get("logs", [])],
        internal_transactions=[
            Internal(caller, to, [CallValue(amount)], note)
            for caller, to, amount, note in told.get("internal", [])
        ],
    )


@pytest.mark.parametrize(("name", "txid"), EVERY)
def test_the_txid_is_the_hash_of_the_bytes(name: str, txid: str) -> None:
    told = next(tx for tx in GOLDEN[name]["transactions"] if tx["txid"] == txid)
    data = bytes.fromhex(told["raw_data"])
    assert txid_of(data) == txid
    raw = read_raw(data)
    assert raw.encode() == data, "our encoding is the chain's"
    if "signatures" in told:
        assert raw.action is not None
        signer = signer_of(bytes.fromhex(txid), bytes.fromhex(told["signatures"][0]))
        assert signer == raw.action.owner
        assert read_tx(data, []).owner == raw.action.owner


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_block_fits_its_id(name: str) -> None:
    block = block_of(GOLDEN[name])
    assert contradiction(block) is None


@pytest.mark.parametrize("name", [name for name in WHOLE if GOLDEN[name]["transactions"]])
def test_a_block_that_was_altered_does_not(name: str) -> None:
    for what in ("left out", "result", "signature", "time"):
        block = block_of(GOLDEN[name])
        if what == "left out":
            block.transactions = block.transactions[1:]
        elif what == "result":
            block.transactions[-1].ret[0].contractRet = "REVERT"
        elif what == "signature":
            block.transactions[0].signature = ["00" * 65]
        else:
            block.block_header.raw_data.timestamp += 1000
        assert contradiction(block) is not None, what
    block = block_of(GOLDEN[name])
    block.transactions[0].ret[0].contractRet = "A_NEW_RESULT"
    assert "cannot be held" in (contradiction(block) or "")


def test_a_header_alone_fits_its_id() -> None:
    told = GOLDEN["trc10_84940008"]["header"]
    assert header_id(header_of(told)) == told["id"]


def test_a_leaf_is_the_transaction_with_its_result() -> None:
    one = GOLDEN["usdt_78861100"]
    from chain_adapter_tron.address import sha256

    assert leaf(tx_of(one["transactions"][0])) == sha256(bytes.fromhex(one["whole"]))


@pytest.mark.parametrize("name", READ)
def test_what_it_means(name: str) -> None:
    one = GOLDEN[name]
    assets = {"TRX": Asset("TRX", None, 6)}
    assets |= {n: Asset(n, contract, decimals) for n, (contract, decimals) in one["assets"].items()}
    watch = Watch(
        frozenset(key_of(address) for address in one["ours"]),
        frozenset(spell(key_of(address)) for address in one["senders"]),
    )
    configured, settings = Assets(assets), Settings()
    draft = open_block("golden", one["number"], block_of(one))
    take_infos("golden", draft, [info_of(told, one["number"]) for told in one["results"]])
    reader = Reader("golden", Ours(watch), configured, settings, "window")
    block = reader.read(draft, moves_of("golden", draft, configured), {})

    def canonical(address: str) -> str:
        return spell(key_of(address))

    found = [[t.txid, t.place, t.asset, t.to, t.amount, t.sender] for t in block.transfers]
    want = [[*row[:3], canonical(row[3]), row[4], canonical(row[5])] for row in one["expect"]]
    assert sorted(found) == sorted(want)
    told = [[s.txid, s.ok, s.fee, [[p.asset, p.to, p.amount] for p in s.moved]] for s in block.sent]
    assert told == [
        [*row[:3], [[asset, canonical(to), amount] for asset, to, amount in row[3]]]
        for row in one["sent"]
    ]
    assert block.time == one["time_ms"] // 1000 and block.clock == one["time_ms"]


def test_results_must_be_whole() -> None:
    one = GOLDEN["trc10_84940008"]
    draft = open_block("golden", one["number"], block_of(one))
    results = [info_of(told, one["number"]) for told in one["results"]]
    for wrong in ([], results[:1], [*results, results[0]], [results[0], results[0]]):
        with pytest.raises(Unavailable, match="results"):
            take_infos("golden", draft, wrong)
    with pytest.raises(Unavailable, match="say block"):
        take_infos("golden", draft, [info_of(told, 7) for told in one["results"]])
