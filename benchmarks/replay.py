"""A node that only remembers: serves a workload over JSON-RPC as fast as one process can.

Answers are stored as text and joined; `--delay-ms` waits before each answer, as a round trip does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import msgspec

from benchmarks.workload import GENESIS, HEAD_ABOVE, Workload, make


class _Call(msgspec.Struct):
    id: int | str | None
    method: str
    params: list[Any] = []


_ONE = msgspec.json.Decoder(_Call)
_MANY = msgspec.json.Decoder(list[_Call])


class Answers:
    """What the node says to one call, as JSON text."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._head = work.count + HEAD_ABOVE
        fixed = {
            "eth_chainId": '"0x1"',
            "net_version": '"1"',
            "eth_syncing": "false",
            "eth_getCode": '"0x6080"',
            "eth_call": f'"0x{6:064x}"',
            "web3_clientVersion": '"replay/1"',
            "eth_blockNumber": json.dumps(hex(self._head)),
        }
        self._fixed = {name: text.encode() for name, text in fixed.items()}

    def of(self, call: _Call) -> bytes:
        result = self._result(call)
        number = msgspec.json.encode(call.id)
        if result is None:
            return b'{"jsonrpc":"2.0","id":' + number + b',"error":{"code":-32601,' \
                b'"message":"the method does not exist"}}'  # fmt: skip
        return b'{"jsonrpc":"2.0","id":' + number + b',"result":' + result + b"}"

    def _result(self, call: _Call) -> bytes | None:
        method, work = call.method, self._work
        if method == "eth_getBlockByNumber":
            return self._block(call.params[0], bool(call.params[1]))
        if method == "eth_getLogs":
            return self._logs(call.params[0])
        if method == "eth_getTransactionReceipt":
            return work.receipts.get(call.params[0], b"null")
        if method == "trace_block":
            return work.traces.get(int(call.params[0], 16)) if work.traces else None
        return self._fixed.get(method)

    def _logs(self, query: dict[str, Any]) -> bytes:
        if "blockHash" in query:
            return self._work.logs.get(query["blockHash"], b"[]")
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        parts = [
            self._work.logs[self._work.hashes[height - 1]][1:-1]
            for height in range(max(first, 1), min(last, self._work.count) + 1)
        ]
        return b"[" + b",".join(parts) + b"]"

    def _block(self, name: str, full: bool) -> bytes:
        height = self._head if not name.startswith("0x") else int(name, 16)
        if 1 <= height <= self._work.count:
            return (self._work.blocks if full else self._work.headers)[height - 1]
        if height > self._head:
            return b"null"
        block_hash = GENESIS if height == 0 else f"0x{height:064x}"
        return json.dumps(
            {
                "number": hex(height), "hash": block_hash, "parentHash": f"0x{height - 1:064x}",
                "timestamp": hex(1_700_000_000 + 12 * height), "transactions": [],
                "logsBloom": "0x" + "00" * 256, "baseFeePerGas": "0x1",
            }
        ).encode()  # fmt: skip


class Connection(asyncio.Protocol):
    """One kept-alive connection: requests in, answers out, in order."""

    def __init__(self, answers: Answers, delay_s: float) -> None:
        self._answers = answers
        self._delay_s = delay_s
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            mark = head.find(b"content-length:")
            length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            answer = self._answer(body)
            if self._delay_s:
                asyncio.get_running_loop().call_later(self._delay_s, self._write, answer)
            else:
                self._write(answer)

    def _answer(self, body: bytes) -> bytes:
        if body.lstrip().startswith(b"["):
            return b"[" + b",".join(self._answers.of(call) for call in _MANY.decode(body)) + b"]"
        return self._answers.of(_ONE.decode(body))

    def _write(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                + str(len(body)).encode()
                + b"\r\n\r\n"
            )
            self._transport.write(body)


async def serve(work: Workload, delay_s: float) -> None:
    """Until killed; prints where it listens."""
    answers = Answers(work)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers, delay_s), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=300)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--traces", action="store_true")
    given = parser.parse_args()
    asyncio.run(serve(make(given.seed, given.blocks, traces=given.traces), given.delay_ms / 1000))
