"""A TRON network of one's own, in this process and over HTTP.

`TronDevnet.start` makes the chain, deploys the contracts of contracts/ by transactions, mines until
there are solidified blocks, and serves it. Nothing is mined but by `mine` and `automine`. Its keys
are published, so it listens where it is told to and nowhere else. Commands for other processes
stand under /devnet (loopback only): mine, reorg, automine, fault, lose.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from coincurve import PrivateKey

from chain_adapter.chain import Asset, Rejected, Unavailable
from chain_adapter_tron.address import PREFIX, keccak, key_of, of_public_key, sha256, spell
from chain_adapter_tron.codec import transfer_call
from chain_adapter_tron.devnet.artifacts import BYTECODE
from chain_adapter_tron.devnet.http import Api, Fault, handle
from chain_adapter_tron.devnet.ledger import SLOT_MS, SOLID_LAG, Genesis, Ledger
from chain_adapter_tron.devnet.state import TRX
from chain_adapter_tron.devnet.transaction import Refused, raw_data_of, sign_transaction
from chain_adapter_tron.devnet.views import TOKEN_ABI

PRIVATE_KEY = sha256(b"chain-adapter: the funded key of every local TRON chain").hex()
"""Funded on every local chain, worthless on any other."""
EXPIRATION_S = 20
_SUPPLY = 10**9 * TRX
_TOKEN_SUPPLY = 10**9 * 10**6
_FEE_LIMIT = 1_000 * TRX
_FIRST_BLOCKS = 2
_WORD = 32
TRC10 = "1000001"


class TronDevnet:
    """A running local chain. Implements `chain_adapter.chain.Devnet`, and more ways to pay.

    `contracts` holds the addresses of everything in contracts/Devnet.sol that was deployed;
    `demo_unit` what the demo is to count as one coin: fees are coarse here, and an ordinary amount
    is one that is worth them.
    """

    demo_unit: Mapping[str, int] = {"TRX": 2_000 * TRX}

    def __init__(self, ledger: Ledger, private_key: bytes) -> None:
        self.ledger = ledger
        self.private_key = private_key.hex()
        self.contracts: dict[str, str] = {}
        self.url = ""
        self.node: Mapping[str, Any] = {}
        self.assets: Mapping[str, Asset] = {}
        self._key = private_key
        self._owner = of_public_key(PrivateKey(private_key).public_key.format())
        self.address = spell(self._owner)
        self.api = Api(ledger, self._owner)
        self._counter = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._miner: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, listen: str, *, solid_lag: int = SOLID_LAG, memo: bool = False
    ) -> TronDevnet:
        """Serve a new chain at "host:port" (port 0 picks one). Raises `Unavailable`."""
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise Unavailable(f"{listen!r} is not host:port")
        key = bytes.fromhex(PRIVATE_KEY)
        owner = of_public_key(PrivateKey(key).public_key.format())
        before_ms = (solid_lag + _FIRST_BLOCKS + 3) * SLOT_MS
        now_ms = time.time_ns() // 1_000_000
        genesis = Genesis(
            owner, _SUPPLY, {TRC10: 10**15, "1000002": 10**15},
            now_ms - now_ms % SLOT_MS - before_ms,
        )  # fmt: skip
        chain = cls(Ledger(genesis, solid_lag), key)
        chain._deploy()
        await chain._serve(host, int(port), memo)
        return chain

    async def close(self) -> None:
        """Stop the chain; everything on it is gone."""
        await self.automine(None)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # --- time -----------------------------------------------------------------------------------

    async def mine(self, blocks: int = 1) -> None:
        """Make blocks; the first includes what is pending."""
        for _ in range(blocks):
            self.ledger.mine()

    async def reorg(self, depth: int) -> None:
        """Replace the newest `depth` blocks by as many empty ones; their transactions vanish."""
        self.ledger.reorg(depth)

    async def automine(self, every_s: float | None) -> None:
        """Make a block every so many seconds, which is then the chain's slot; None: only by
        `mine`, in slots of three seconds."""
        miner, self._miner = self._miner, None
        if miner is not None:
            miner.cancel()
            await asyncio.gather(miner, return_exceptions=True)
        self.ledger.slot_ms = SLOT_MS if every_s is None else max(int(every_s * 1000), 1)
        if every_s is not None:
            self._miner = asyncio.create_task(self._keep_mining(every_s))

    async def _keep_mining(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.ledger.mine()

    # --- money ----------------------------------------------------------------------------------

    async def pay(self, asset: str, to: str, amount: int, memo: str | None = None) -> str:
        """Send from the funded key; returns the txid. It waits for a block."""
        configured = self._asset(asset)
        data = b"" if memo is None else memo.encode()
        if configured.contract is None:
            fields = {"to_address": PREFIX + key_of(to), "amount": amount}
            return self.send(1, fields, data=data)
        if configured.contract.isdigit():
            number = configured.contract.encode()
            fields = {"to_address": PREFIX + key_of(to), "amount": amount, "asset_name": number}
            return self.send(2, fields, data=data)
        call = transfer_call(key_of(to), amount)
        return self.call(configured.contract, call, memo=data)

    async def split(self, asset: str, payments: Sequence[tuple[str, int]]) -> str:
        """Pay several recipients, or one several times, in one transaction by a contract.

        Contracts of this chain hold no TRC-10 token: of one, a transaction each. The last txid.
        """
        configured = self._asset(asset)
        recipients = [key_of(to) for to, _ in payments]
        amounts = [amount for _, amount in payments]
        splitter = self.contracts["Splitter"]
        if configured.contract is None:
            data = call_data("split(address[],uint256[])", recipients, amounts)
            return self.call(splitter, data, value=sum(amounts))
        if configured.contract.isdigit():
            return [await self.pay(asset, to, amount) for to, amount in payments][-1]
        token = key_of(configured.contract)
        name = "splitToken(address,address[],uint256[])"
        return self.call(splitter, call_data(name, token, recipients, amounts))

    async def forward(self, to: str, amount: int) -> str:
        """Pay TRX through a contract: an internal transfer."""
        return await self.through("forward(address)", to, amount)

    async def failing(self, to: str, amount: int) -> str:
        """A transaction that passes TRX on to `to` and then fails as a whole."""
        return await self.through("forwardAndRevert(address)", to, amount)

    async def through(self, function: str, to: str, amount: int) -> str:
        """Call a function of the Forwarder contract that takes a recipient, with value."""
        data = call_data(function, key_of(to))
        return self.call(self.contracts["Forwarder"], data, value=amount)

    def call(
        self,
        contract: str,
        data: bytes,
        *,
        value: int = 0,
        memo: bytes = b"",
        fee_limit: int = _FEE_LIMIT,
    ) -> str:
        """Call any contract by the funded key; returns the txid."""
        fields = {
            "contract_address": PREFIX + key_of(contract),
            "data": data,
            "call_value": value,
        }
        return self.send(31, fields, data=memo, fee_limit=fee_limit)

    def send(
        self,
        kind: int,
        fields: Mapping[str, Any],
        *,
        data: bytes = b"",
        fee_limit: int = 0,
        private_key: bytes | None = None,
    ) -> str:
        """Any transaction that the chain knows, of the funded key or another; returns the txid."""
        key = private_key or self._key
        owner = of_public_key(PrivateKey(key).public_key.format())
        head = self.ledger.head
        raw = raw_data_of(
            kind, {"owner_address": PREFIX + owner, **fields}, head.id,
            head.timestamp_ms + 3_600_000, head.timestamp_ms + next(self._counter),
            data=data, fee_limit=fee_limit,
        )  # fmt: skip
        tx = sign_transaction(raw, key)
        try:
            self.ledger.submit(tx)
        except Refused as error:
            raise Rejected(f"{error.code}: {error}") from None
        return tx.txid

    # --- trouble --------------------------------------------------------------------------------

    def fault(
        self, path: str, answer: Any, times: int = 1, *, status: int = 200, effect: bool = False
    ) -> None:
        """Answer the next calls of a path ("wallet/broadcasthex") with `answer`: JSON, or a text
        that is no JSON. With `effect` the call is carried out all the same."""
        self.api.faults.setdefault(path, []).append(Fault(answer, times, status, effect))

    def lose(self, transactions: int = 1) -> None:
        """Accept the next transactions and never include them, however often they are sent."""
        self.ledger.lose_next = transactions

    # --- start ----------------------------------------------------------------------------------

    def _asset(self, name: str) -> Asset:
        if name not in self.assets:
            raise Rejected(f"no asset {name} on this chain")
        return self.assets[name]

    def _deploy(self) -> None:
        made = {}
        for name, code in BYTECODE.items():
            contract = {
                "origin_address": PREFIX + self._owner,
                "bytecode": bytes.fromhex(code),
                "consume_user_resource_percent": 100,
                "name": name.encode(),
            }
            made[name] = self.send(30, {"new_contract": contract}, fee_limit=_FEE_LIMIT)
        self.ledger.mine(in_past=True)
        for name, txid in made.items():
            found = self.ledger.find(txid)
            assert found is not None and found[2].result == "SUCCESS", (name, found)
            self.contracts[name] = spell(found[2].contract)
        token = self.contracts["TestUSDT"]
        for name in ("TestUSDT", "FeeToken", "BadToken"):
            self.api.abis[key_of(self.contracts[name])] = TOKEN_ABI
        splitter = key_of(self.contracts["Splitter"])
        self.call(token, call_data("mint(address,uint256)", self._owner, _TOKEN_SUPPLY))
        self.call(token, call_data("approve(address,uint256)", splitter, 2**256 - 1))
        for _ in range(self.ledger.solid_lag + _FIRST_BLOCKS):
            self.ledger.mine(in_past=True)
        self.assets = {
            "TRX": Asset("TRX", None, 6),
            "USDT": Asset("USDT", token, 6),
            "TEN": Asset("TEN", TRC10, 6),
        }

    async def _serve(self, host: str, port: int, memo: bool) -> None:
        app = web.Application(client_max_size=1 << 24)
        if _is_loopback(host):
            app.router.add_post("/devnet/{command}", self._command)

        async def answer(request: web.Request) -> web.Response:
            return await handle(self.api, request)

        app.router.add_route("*", "/{interface}/{name}", answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise Unavailable(f"cannot listen at {host}:{port}: {error.strerror}") from None
        chosen = self._runner.addresses[0][1]
        self.url = f"http://{host}:{chosen}"
        self.node = {
            "endpoints": [self.url],
            "genesis": self.ledger.blocks[0].id.hex(),
            "block_time_s": 1.0,
            "head_poll_s": 0.1,
            "expiration_s": EXPIRATION_S,
            **({"memo": True} if memo else {}),
        }

    async def _command(self, request: web.Request) -> web.Response:
        """A command of another process: {"blocks": n}, {"depth": n}, {"every_s": s|null} …"""
        text = await request.text()
        body: dict[str, Any] = await request.json() if text.strip() else {}
        command = request.match_info["command"]
        try:
            if command == "mine":
                await self.mine(int(body.get("blocks", 1)))
            elif command == "reorg":
                await self.reorg(int(body["depth"]))
            elif command == "automine":
                await self.automine(body.get("every_s"))
            elif command == "lose":
                self.lose(int(body.get("transactions", 1)))
            elif command == "fault":
                self.fault(
                    str(body["path"]), body.get("answer", {}), int(body.get("times", 1)),
                    status=int(body.get("status", 200)), effect=bool(body.get("effect", False)),
                )  # fmt: skip
            else:
                return web.json_response({"error": f"no command {command!r}"}, status=404)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"height": self.ledger.head.number})


Argument = bytes | int | Sequence[bytes] | Sequence[int]


def call_data(function: str, *arguments: Argument) -> bytes:
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
