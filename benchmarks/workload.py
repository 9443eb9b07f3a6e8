"""Blocks like mainnet's, from a seed: 175 transactions (40 % native, 50 % token transfers, 1 %
failed) and 199 logs each, with a known list of deposits to known addresses.

Every process that needs it makes the same workload again from (seed, blocks, watched).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

TRANSACTIONS = 175
LOGS = 199
TOKEN = "0x" + "7e" * 20
OTHER_TOKENS = tuple("0x" + f"{i:02x}" * 20 for i in range(0x10, 0x40))
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
HEAD_ABOVE = 2000  # so that every block lies deeper than `verify_depth`
GENESIS = "0x" + "11" * 32
BLOOM = "0x" + "ff" * 256
TOKEN_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Expected:
    """One deposit that a right scan reports."""

    asset: str
    txid: str
    to: str
    amount: int
    height: int


@dataclass(slots=True)
class Workload:
    """What the replay server serves, as JSON text, and what a scan must find."""

    seed: int
    count: int
    blocks: list[bytes] = field(default_factory=list)  # [height - 1], with transactions
    headers: list[bytes] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    logs: dict[str, bytes] = field(default_factory=dict)  # by block hash
    receipts: dict[str, bytes] = field(default_factory=dict)  # of every transaction that pays us
    traces: dict[int, bytes] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)


def watched(seed: int, count: int) -> list[str]:
    """Addresses of ours, lower case; the first hundred receive."""
    source = random.Random(f"watched {seed}")
    return ["0x" + source.randbytes(20).hex() for _ in range(count)]


def make(seed: int, count: int, *, traces: bool = False) -> Workload:
    """`count` blocks from height 1 on."""
    source = random.Random(f"blocks {seed}")
    ours = watched(seed, 100)
    work = Workload(seed, count)
    parent = GENESIS
    for height in range(1, count + 1):
        block_hash = "0x" + source.randbytes(32).hex()
        transactions, logs = _transactions(source, work, ours, height, block_hash)
        head = _header(height, block_hash, parent)
        work.headers.append(_text({**head, "transactions": [t["hash"] for t in transactions]}))
        work.blocks.append(_text({**head, "transactions": transactions}))
        work.logs[block_hash] = _text(logs)
        if traces:
            work.traces[height] = _text([_trace(t, height, block_hash) for t in transactions])
        work.hashes.append(block_hash)
        parent = block_hash
    return work


def _transactions(
    source: random.Random, work: Workload, ours: list[str], height: int, block_hash: str
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    transactions: list[dict[str, object]] = []
    logs: list[dict[str, object]] = []
    native_hit = source.randrange(TRANSACTIONS * 4 // 10) if height % 2 else -1
    token_hit = TRANSACTIONS * 4 // 10 + source.randrange(80) if height % 3 == 0 else -1
    for index in range(TRANSACTIONS):
        txid = "0x" + source.randbytes(32).hex()
        is_native = index < TRANSACTIONS * 4 // 10
        is_token = not is_native and index < TRANSACTIONS * 9 // 10
        amount = source.randrange(1, 10**18)
        to = "0x" + source.randbytes(20).hex()
        if index == native_hit:
            to = source.choice(ours)
            work.expected.append(Expected("ETH", txid, to, amount, height))
        data = "0x"
        if is_token:
            recipient, token = to, source.choice(OTHER_TOKENS)
            if index == token_hit:
                recipient, token, amount = source.choice(ours), TOKEN, amount % 10**9 + 1
                work.expected.append(Expected("USDT", txid, recipient, amount, height))
            data = "0xa9059cbb" + recipient[2:].rjust(64, "0") + f"{amount:064x}"
            _log(source, logs, token, recipient, amount, (height, block_hash, txid, index))
            to = token
        elif not is_native:
            data = "0x" + source.randbytes(196).hex()
        transactions.append(_transaction(source, txid, to, amount, data, is_native, index, height,
                                         block_hash))  # fmt: skip
        if index == native_hit:
            work.receipts[txid] = _text(_receipt(txid, block_hash, height, index))
    while len(logs) < LOGS:
        index = TRANSACTIONS - 1
        txid = str(transactions[index]["hash"])
        _log(source, logs, source.choice(OTHER_TOKENS), "0x" + source.randbytes(20).hex(),
             source.randrange(10**18), (height, block_hash, txid, index))  # fmt: skip
    return transactions, logs


def _transaction(
    source: random.Random,
    txid: str,
    to: str,
    amount: int,
    data: str,
    is_native: bool,
    index: int,
    height: int,
    block_hash: str,
) -> dict[str, object]:
    return {
        "blockHash": block_hash,
        "blockNumber": hex(height),
        "from": "0x" + source.randbytes(20).hex(),
        "gas": "0x5208" if is_native else "0x1d4c0",
        "gasPrice": "0x2540be400",
        "maxFeePerGas": "0x4a817c800",
        "maxPriorityFeePerGas": "0x3b9aca00",
        "hash": txid,
        "input": data,
        "nonce": hex(source.randrange(10**4)),
        "to": to,
        "transactionIndex": hex(index),
        "value": hex(amount) if is_native else "0x0",
        "type": "0x2",
        "accessList": [],
        "chainId": "0x1",
        "v": "0x1",
        "r": "0x" + source.randbytes(32).hex(),
        "s": "0x" + source.randbytes(32).hex(),
        "yParity": "0x1",
    }


def _log(
    source: random.Random,
    logs: list[dict[str, object]],
    token: str,
    to: str,
    amount: int,
    where: tuple[int, str, str, int],
) -> None:
    height, block_hash, txid, index = where
    sender = "0x" + source.randbytes(20).hex().rjust(64, "0")
    logs.append(
        {
            "address": token,
            "topics": [TRANSFER, sender, "0x" + to[2:].rjust(64, "0")],
            "data": f"0x{amount:064x}",
            "blockNumber": hex(height),
            "transactionHash": txid,
            "transactionIndex": hex(index),
            "blockHash": block_hash,
            "logIndex": hex(len(logs)),
            "removed": False,
        }
    )


def _receipt(txid: str, block_hash: str, height: int, index: int) -> dict[str, object]:
    return {
        "transactionHash": txid,
        "blockHash": block_hash,
        "blockNumber": hex(height),
        "transactionIndex": hex(index),
        "gasUsed": "0x5208",
        "cumulativeGasUsed": "0x5208",
        "effectiveGasPrice": "0x2540be400",
        "status": "0x1",
        "type": "0x2",
        "logs": [],
        "logsBloom": "0x" + "00" * 256,
    }


def _trace(transaction: dict[str, object], height: int, block_hash: str) -> dict[str, object]:
    return {
        "action": {
            "callType": "call",
            "from": transaction["from"],
            "gas": "0x0",
            "input": transaction["input"],
            "to": transaction["to"],
            "value": transaction["value"],
        },
        "blockHash": block_hash,
        "blockNumber": height,
        "result": {"gasUsed": "0x0", "output": "0x"},
        "subtraces": 0,
        "traceAddress": [],
        "transactionHash": transaction["hash"],
        "transactionPosition": int(str(transaction["transactionIndex"]), 16),
        "type": "call",
    }


def _header(height: int, block_hash: str, parent: str) -> dict[str, object]:
    return {
        "baseFeePerGas": "0x1dcd65000",
        "difficulty": "0x0",
        "extraData": "0x6265617665726275696c642e6f7267",
        "gasLimit": "0x1c9c380",
        "gasUsed": "0xe4e1c0",
        "hash": block_hash,
        "logsBloom": BLOOM,
        "miner": "0x" + "95" * 20,
        "mixHash": "0x" + "a1" * 32,
        "nonce": "0x0000000000000000",
        "number": hex(height),
        "parentHash": parent,
        "receiptsRoot": "0x" + "b2" * 32,
        "sha3Uncles": "0x" + "c3" * 32,
        "size": "0x1a2b3",
        "stateRoot": "0x" + "d4" * 32,
        "timestamp": hex(1_700_000_000 + 12 * height),
        "transactionsRoot": "0x" + "e5" * 32,
        "uncles": [],
        "withdrawals": [
            {"index": hex(i), "validatorIndex": hex(i), "address": "0x" + "f6" * 20,
             "amount": "0x1128b0e"}
            for i in range(16)
        ],
    }  # fmt: skip


def _text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
