"""A local chain: anvil as a child process, with a token and contracts that move value.

`AnvilDevnet.start` finds the anvil binary, starts it, deploys the contracts of `contracts/` in one
block and is ready in well under a second. Nothing is mined but by `mine` and `automine`. It serves
demo and tests; its keys are published, so it listens where it is told to and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from chain_adapter.chain import Asset, Rejected, Unavailable
from chain_adapter_evm.artifacts import BYTECODE
from chain_adapter_evm.build import transfer_data
from chain_adapter_evm.codec import created_address, keccak, parse_address, spell

CHAIN_ID = 31337
ENVIRONMENT = "CHAIN_ADAPTER_ANVIL"
PRIVATE_KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first of anvil's published keys: funded on every local chain, worthless on any other."""

_ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
_TOKEN_SUPPLY = 10**9 * 10**6
_START_LIMIT_S = 20.0
_GAS = 300_000
_GAS_EACH = 60_000
_WORD = 32


def find_anvil() -> str:
    """Path of the anvil binary. Raises `Unavailable` with what to do when there is none.

    Looked for in $CHAIN_ADAPTER_ANVIL, in `node_modules` beside or above the working directory and
    this package (npm package @foundry-rs/anvil), then on the PATH.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not os.access(named, os.X_OK):
            raise Unavailable(f"{ENVIRONMENT} names {named}, which cannot be executed")
        return named
    for folder in _upwards():
        for found in sorted(folder.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")):
            if os.access(found, os.X_OK):
                return str(found)
    on_path = shutil.which("anvil")
    if on_path:
        return on_path
    raise Unavailable(
        "no anvil found: install the npm package @foundry-rs/anvil, or let "
        f"{ENVIRONMENT} name the binary"
    )


def _upwards() -> Iterator[Path]:
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        yield start
        yield from start.parents


class AnvilDevnet:
    """A running local chain. Implements `chain_adapter.chain.Devnet`, and more ways to pay.

    `contracts` holds the addresses of everything in contracts/Devnet.sol that was deployed.
    """

    def __init__(self, url: str, process: asyncio.subprocess.Process, chain_id: int) -> None:
        self.url = url
        self.private_key = PRIVATE_KEY
        self.address = _ADDRESS
        self.contracts: dict[str, str] = {}
        self.assets: Mapping[str, Asset] = {}
        self.node: Mapping[str, Any] = {}
        self._chain_id = chain_id
        self._process = process
        self._session: aiohttp.ClientSession | None = None
        self._miner: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, listen: str, chain_id: int = CHAIN_ID) -> AnvilDevnet:
        """Start anvil at "host:port" (port 0 picks one). Raises `Unavailable`."""
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise Unavailable(f"{listen!r} is not host:port")
        chosen = _free_port(host, int(port))
        command = [
            find_anvil(), "--host", host, "--port", str(chosen), "--chain-id", str(chain_id),
            "--no-mining", "--silent", "--order", "fifo",
        ]  # fmt: skip
        guard = shutil.which("setpriv")  # so that anvil dies with us, however we die
        if guard:
            command = [guard, "--pdeathsig", "KILL", "--", *command]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        chain = cls(f"http://{host}:{chosen}", process, chain_id)
        try:
            await chain._wait_ready()
            await chain._deploy()
        except BaseException:
            await chain.close()
            raise
        return chain

    async def close(self) -> None:
        """Stop the chain; everything on it is gone."""
        await self.automine(None)
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    # --- time -----------------------------------------------------------------------------------

    async def mine(self, blocks: int = 1) -> None:
        """Make blocks; the first includes what is pending."""
        await self.rpc("anvil_mine", hex(blocks))

    async def reorg(self, depth: int) -> None:
        """Replace the newest `depth` blocks by as many empty ones; their transactions vanish."""
        await self.rpc("anvil_reorg", depth, [])

    async def automine(self, every_s: float | None) -> None:
        """Make a block every so many seconds; None: only by `mine`."""
        miner, self._miner = self._miner, None
        if miner is not None:
            miner.cancel()
            await asyncio.gather(miner, return_exceptions=True)
        if every_s is not None:
            self._miner = asyncio.create_task(self._keep_mining(every_s))

    async def _keep_mining(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.mine()

    # --- money ----------------------------------------------------------------------------------

    async def pay(self, asset: str, to: str, amount: int, memo: str | None = None) -> str:
        """Send from the funded key; returns the txid. It waits for a block."""
        if memo is not None:
            raise Rejected("this chain has no memos", for_good=True)
        if asset == "ETH":
            return await self.send(to, amount)
        return await self.send(self._token(asset), 0, transfer_data(_key(to), amount))

    async def split(self, asset: str, payments: Sequence[tuple[str, int]]) -> str:
        """Pay several recipients, or one several times, in one transaction by a contract."""
        recipients = [_key(to) for to, _ in payments]
        amounts = [amount for _, amount in payments]
        gas = _GAS + _GAS_EACH * len(payments)
        if asset == "ETH":
            data = _call("split(address[],uint256[])", recipients, amounts)
            return await self.send(self.contracts["Splitter"], sum(amounts), data, gas)
        token = _key(self._token(asset))
        data = _call("splitToken(address,address[],uint256[])", token, recipients, amounts)
        return await self.send(self.contracts["Splitter"], 0, data, gas)

    async def forward(self, to: str, amount: int) -> str:
        """Pay the main coin through a contract: an internal transfer."""
        return await self.through("forward(address)", to, amount)

    async def failing(self, to: str, amount: int) -> str:
        """A transaction that passes the main coin on to `to` and then fails as a whole."""
        return await self.through("forwardAndRevert(address)", to, amount)

    async def fail(self, txid: str) -> None:
        """Make a pending payment fail when it is mined: its recipient refuses from now on."""
        tx = await self.rpc("eth_getTransactionByHash", txid)
        await self.revert(tx["to"])

    async def revert(self, address: str) -> None:
        """Let an address refuse whatever it is sent, from now on."""
        code = await self.rpc("eth_getCode", self.contracts["Refuser"], "latest")
        await self.rpc("anvil_setCode", address, code)

    async def through(self, function: str, to: str, amount: int) -> str:
        """Call a function of the Forwarder contract that takes a recipient, with value."""
        return await self.send(self.contracts["Forwarder"], amount, _call(function, _key(to)))

    async def send(self, to: str | None, value: int = 0, data: bytes = b"", gas: int = _GAS) -> str:
        """Any transaction of the funded key; `to` None creates a contract. Returns the txid."""
        call = {
            "from": self.address,
            "value": hex(value),
            "data": "0x" + data.hex(),
            "gas": hex(gas),
        }
        if to is not None:
            call["to"] = to
        return str(await self.rpc("eth_sendTransaction", call))

    async def rpc(self, method: str, *params: Any) -> Any:
        """Any JSON-RPC call. Raises `Unavailable` with the node's text."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self._session.post(self.url, json=body) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"anvil: {method}: {type(error).__name__}: {error}") from None
        if "error" in answer:
            raise Unavailable(f"anvil: {method}: {answer['error'].get('message')}")
        return answer["result"]

    # --- start ----------------------------------------------------------------------------------

    async def _wait_ready(self) -> None:
        waited = 0.0
        while waited < _START_LIMIT_S:
            if self._process.returncode is not None:
                assert self._process.stderr is not None
                said = (await self._process.stderr.read()).decode(errors="replace")
                raise Unavailable(f"anvil stopped at once ({self.url}): {said.strip()[-400:]}")
            try:
                if int(await self.rpc("eth_chainId"), 16) == self._chain_id:
                    return
                raise Unavailable(f"another chain answers at {self.url}")
            except Unavailable as error:
                if "ClientConnector" not in str(error):
                    raise
            await asyncio.sleep(0.01)
            waited += 0.01
        raise Unavailable(f"anvil does not answer at {self.url}")

    async def _deploy(self) -> None:
        owner = _key(self.address)
        names = [name for name in BYTECODE if name != "Bomb"]
        for nonce, name in enumerate(names):
            await self.send(None, 0, bytes.fromhex(BYTECODE[name]), 3_000_000)
            self.contracts[name] = spell(created_address(owner, nonce))
        token, splitter = self.contracts["TestUSDT"], _key(self.contracts["Splitter"])
        await self.send(token, 0, _call("mint(address,uint256)", owner, _TOKEN_SUPPLY))
        await self.send(token, 0, _call("approve(address,uint256)", splitter, 2**256 - 1))
        await self.mine()
        genesis = await self.rpc("eth_getBlockByNumber", "0x0", False)
        self.assets = {
            "ETH": Asset("ETH", None, 18),
            "USDT": Asset("USDT", token, 6),
        }
        self.node = {
            "endpoints": [self.url],
            "chain_id": self._chain_id,
            "genesis": genesis["hash"],
            "traces": "auto",
            "block_time_s": 1.0,
        }

    def _token(self, asset: str) -> str:
        contract = self.assets[asset].contract if asset in self.assets else None
        if contract is None:
            raise Rejected(f"no asset {asset} on this chain")
        return contract


def _free_port(host: str, wanted: int) -> int:
    """`wanted` if nobody listens there, else another node would be taken for ours; 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise Unavailable(f"cannot listen at {host}:{wanted}: {error.strerror}") from None
        return int(probe.getsockname()[1])


def _key(address: str) -> bytes:
    return bytes.fromhex(parse_address(address)[2:])


Argument = bytes | int | Sequence[bytes] | Sequence[int]


def _call(function: str, *arguments: Argument) -> bytes:
    """Calldata: addresses as 20 bytes, numbers, and lists of these."""
    head: list[bytes] = []
    tail = b""
    for argument in arguments:
        if isinstance(argument, bytes | int):
            head.append(_word(argument))
        else:
            head.append(_word(_WORD * len(arguments) + len(tail)))
            tail += _word(len(argument)) + b"".join([_word(one) for one in argument])
    return keccak(function.encode())[:4] + b"".join(head) + tail


def _word(value: bytes | int) -> bytes:
    return value.rjust(_WORD, b"\0") if isinstance(value, bytes) else value.to_bytes(_WORD, "big")
