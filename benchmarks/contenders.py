"""Things that read the workload, each run as `python -m benchmarks.contenders NAME URL BLOCKS`.

Prints one JSON object: wall and CPU seconds for the range, and how many deposits it found, if it
looks for them. Floors do no more than their name says; peers do what their documentation shows.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import msgspec

from benchmarks.workload import TOKEN, TRANSFER, watched
from chain_adapter_evm.wire import BLOCKS, LOGS, TRACES

BATCH = 16
AT_ONCE = 4
_encode = msgspec.json.encode


def _calls(method: str, params: list[list[Any]]) -> bytes:
    return _encode(
        [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": one}
            for number, one in enumerate(params)
        ]
    )


Post = Callable[[bytes], Awaitable[bytes]]


async def _walk(post: Post, blocks: int, *, decode: bool, traces: bool = False) -> int:
    """Blocks and their logs (and traces), batch by batch, a few batches at once."""
    starts = iter(range(1, blocks + 1, BATCH))

    async def worker() -> None:
        for start in starts:
            heights = range(start, min(start + BATCH, blocks + 1))
            body = await post(_calls("eth_getBlockByNumber", [[hex(h), True] for h in heights]))
            if decode:
                hashes = [one.result.hash for one in BLOCKS.decode(body)]  # type: ignore[union-attr]
            else:
                # Only the hashes are picked out, by text, so that the logs can be asked.
                hashes = [
                    "0x" + part[:64].decode() for part in body.split(b'"difficulty"')[1:]
                    for part in [part.split(b'"hash":"0x', 1)[1]]
                ]  # fmt: skip
            body = await post(_calls("eth_getLogs", [[{"blockHash": one}] for one in hashes]))
            if decode:
                LOGS.decode(body)
            if traces:
                TRACES.decode(await post(_calls("trace_block", [[hex(h)] for h in heights])))

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return 0


async def _aiohttp(url: str, blocks: int, *, decode: bool, traces: bool = False) -> int:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post(body: bytes) -> bytes:
            async with session.post(url, data=body) as answer:
                return await answer.read()

        return await _walk(post, blocks, decode=decode, traces=traces)


async def download(url: str, blocks: int) -> int:
    """Bytes only."""
    return await _aiohttp(url, blocks, decode=False)


async def decode(url: str, blocks: int) -> int:
    """Bytes into the typed records that a scan reads: the floor."""
    return await _aiohttp(url, blocks, decode=True)


async def traced(url: str, blocks: int) -> int:
    """The same with `trace_block` of every block."""
    return await _aiohttp(url, blocks, decode=True, traces=True)


async def bare(url: str, blocks: int) -> int:
    """The same decode over a socket without an HTTP library."""
    host, _, port = url.removeprefix("http://").partition(":")
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(AT_ONCE):
        idle.put_nowait(await asyncio.open_connection(host, int(port), limit=2**26))

    async def post(body: bytes) -> bytes:
        reader, writer = await idle.get()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        answer = await reader.readexactly(size)
        idle.put_nowait((reader, writer))
        return answer

    return await _walk(post, blocks, decode=True)


async def web3_loop(url: str, blocks: int) -> int:
    """The loop that AsyncWeb3's documentation leads to."""
    from web3 import AsyncHTTPProvider, AsyncWeb3

    ours = {address.lower() for address in watched(1, 100)}
    web3 = AsyncWeb3(AsyncHTTPProvider(url))
    found = 0
    for height in range(1, blocks + 1):
        block: Any = await web3.eth.get_block(height, full_transactions=True)
        logs: Any = await web3.eth.get_logs({"blockHash": block["hash"]})
        for transaction in block["transactions"]:
            if transaction["to"] and transaction["to"].lower() in ours and transaction["value"]:
                receipt = await web3.eth.get_transaction_receipt(transaction["hash"])
                found += receipt["status"] == 1
        for log in logs:
            if log["address"].lower() == TOKEN and log["topics"][0].to_0x_hex() == TRANSFER:
                found += "0x" + log["topics"][2].hex()[-40:] in ours
    return found


async def requests_loop(url: str, blocks: int) -> int:
    """The same through `provider.make_request`, without web3's formatters."""
    from web3 import AsyncHTTPProvider

    ours = set(watched(1, 100))
    provider = AsyncHTTPProvider(url)
    found = 0
    for height in range(1, blocks + 1):
        block: Any = (await provider.make_request("eth_getBlockByNumber", [hex(height), True]))[
            "result"
        ]
        logs: Any = (await provider.make_request("eth_getLogs", [{"blockHash": block["hash"]}]))[
            "result"
        ]
        for transaction in block["transactions"]:
            if transaction["to"] in ours and transaction["value"] != "0x0":
                receipt: Any = (
                    await provider.make_request(
                        "eth_getTransactionReceipt",
                        [transaction["hash"]],
                    )
                )["result"]
                found += receipt["status"] == "0x1"
        for log in logs:
            if log["address"] == TOKEN and log["topics"][0] == TRANSFER:
                found += "0x" + log["topics"][2][-40:] in ours
    return found


CONTENDERS: dict[str, Callable[[str, int], Coroutine[Any, Any, int]]] = {
    "download": download,
    "decode": decode,
    "traced": traced,
    "bare": bare,
    "web3": web3_loop,
    "requests": requests_loop,
}


def main(name: str, url: str, blocks: int) -> None:
    """Run one and say what it took."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    found = asyncio.run(CONTENDERS[name](url, blocks))
    now = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "wall": time.perf_counter() - began,
        "cpu": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        "found": found,
        "rss_mb": now.ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the time that an interpreter takes to end is nobody's


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
