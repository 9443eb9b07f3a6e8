"""The same transaction by three programs: this plugin, tronpy, TronWeb. What each says of its txid
and signature becomes a table, which README.md shows and a test holds it to.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tronpy import Tron
from tronpy.keys import PrivateKey as TronpyKey
from tronpy.providers import HTTPProvider

from chain_adapter.chain import Payment
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.codec import Raw, read_payload
from chain_adapter_tron.devnet.devnet import TRC10, TronDevnet
from chain_adapter_tron.protobuf import Message
from plugins.tron.tests.parts import Wallet, signed, stranger

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("tronweb.mjs")
MEMO = "1000017"
KINDS = {"TRX": "TRX", "TRC-10": "TEN", "TRC-20": "USDT"}
HEAD = (
    "| transaction | ours | tronpy: txid | tronpy: signature | TronWeb: bytes and txid "
    "| TronWeb: signature |"
)


async def tronweb(task: str, url: str, key: bytes, **more: Any) -> Any:
    """One task of tests/tronweb.mjs; its answer. Raises `AssertionError` with its words."""
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), str(ROOT), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told = json.dumps({"task": task, "url": url, "key": key.hex(), **more}).encode()
    out, err = await process.communicate(told)
    assert process.returncode == 0, err.decode()[-2_000:]
    return json.loads(out)


@dataclass(frozen=True)
class Ours:
    """A transaction that this plugin built and the payer signed."""

    kind: str
    memo: str | None
    raw: Raw
    raw_data: bytes
    txid: str
    signature: bytes

    @property
    def name(self) -> str:
        return self.kind + (" with a memo" if self.memo else "")


async def ours(devnet: TronDevnet, chain: TronChain, payer: Wallet, to: str) -> list[Ours]:
    """One transaction of each kind, with and without a memo; nothing is sent."""
    made = []
    for kind, asset in KINDS.items():
        for memo in (None, MEMO):
            payload = await chain.build(payer.intent(Payment(asset, to, 1_234, memo)))
            read, tx = read_payload(payload), signed(chain, payer, payload)
            signature = Message(tx.raw).bytes_of(2)
            made.append(Ours(kind, memo, read.raw, read.raw_data, tx.txid, signature))
    return made


def payment(one: Ours, devnet: TronDevnet, to: str) -> dict[str, Any]:
    """The fields of a transaction, for TronWeb to build it from."""
    return {
        "kind": one.kind, "to": to, "amount": 1_234, "token": TRC10, "memo": one.memo,
        "contract": devnet.contracts["TestUSDT"], "feeLimit": one.raw.fee_limit,
        "blockHeader": {
            "ref_block_bytes": one.raw.ref_block_bytes.hex(),
            "ref_block_hash": one.raw.ref_block_hash.hex(),
            "expiration": one.raw.expiration, "timestamp": one.raw.timestamp,
        },
    }  # fmt: skip


def by_tronpy(url: str, payer: Wallet, to: str, contract: str, one: Ours) -> tuple[str, bytes]:
    """Txid and signature of the same transaction built by tronpy (which asks the node)."""
    client = Tron(HTTPProvider(url))
    if one.kind == "TRX":
        builder = client.trx.transfer(payer.address, to, 1_234)
    elif one.kind == "TRC-10":
        builder = client.trx.asset_transfer(payer.address, to, 1_234, int(TRC10))
    else:
        token = client.get_contract(contract)
        builder = token.functions.transfer(to, 1_234).with_owner(payer.address)
        builder = builder.fee_limit(one.raw.fee_limit)
    if one.memo is not None:
        builder = builder.memo(one.memo)
    told = builder._raw_data
    told["timestamp"], told["expiration"] = one.raw.timestamp, one.raw.expiration
    made = builder.build()
    made._raw_data["ref_block_bytes"] = one.raw.ref_block_bytes.hex()
    made._raw_data["ref_block_hash"] = one.raw.ref_block_hash.hex()
    made.txid = client.get_sign_weight(made)["transaction"]["transaction"]["txID"]
    made.sign(TronpyKey(payer.secret))
    return made.txid, bytes.fromhex(made.to_json()["signature"][0])


def _same(theirs: bytes, our: bytes) -> str:
    if theirs == our:
        return "equal"
    counted = theirs[:64] + bytes([theirs[64] - 27])
    return "equal, parity counted from 27" if counted == our else "DIFFERENT"


async def table(devnet: TronDevnet, chain: TronChain, payer: Wallet) -> list[str]:
    """The rows of the table, in Markdown."""
    to = stranger(7)
    made = await ours(devnet, chain, payer, to)
    fields = [payment(one, devnet, to) for one in made]
    web = await tronweb("build", devnet.url, payer.secret, payments=fields)
    rows = [HEAD, "|" + "---|" * 6]
    for one, theirs in zip(made, web, strict=True):
        contract = devnet.contracts["TestUSDT"]
        txid, signature = await asyncio.to_thread(by_tronpy, devnet.url, payer, to, contract, one)
        asked = "equal (it asks the node for it)" if txid == one.txid else "DIFFERENT"
        same = theirs["txID"] == one.txid and theirs["raw_data_hex"] == one.raw_data.hex()
        cells = [
            one.name, "SHA-256 of our own bytes", asked, _same(signature, one.signature),
            "equal" if same else "DIFFERENT",
            _same(bytes.fromhex(theirs["signature"][0]), one.signature),
        ]  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return rows
