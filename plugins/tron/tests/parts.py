"""Parts for the plugin's tests: a relay that lies, a wallet that signs, short ways to read.

The relay is a real HTTP server before the local chain: a test bends single answers or replaces a
whole response, and the plugin under test sees nothing but bytes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from coincurve import PrivateKey

from chain_adapter.chain import (
    Asset,
    Block,
    BlockRef,
    InsufficientFunds,
    Intent,
    Payment,
    Sent,
    SignedTx,
    Transfer,
    Watch,
)
from chain_adapter_tron.address import PREFIX, keccak, key_of, of_public_key, spell
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.devnet.devnet import TronDevnet
from chain_adapter_tron.devnet.transaction import Refused, Tx, raw_data_of, sign_transaction

INFOS = "wallet/gettransactioninfobyblocknum"
WINDOW = "wallet/getblockbylimitnext"
START = BlockRef(0, "")
TRX = 1_000_000

Bend = Callable[[dict[str, Any], Any], Any]
"""Takes the request and the node's answer, gives the answer that is told."""


@asynccontextmanager
async def open_gate(method: str) -> AsyncIterator[None]:
    """A gate that lets everything through."""
    yield


def each_tx(change: Any) -> Bend:
    """Alter every transaction of a window of blocks."""

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for block in answer.get("block", []):
            for tx in block.get("transactions", []):
                change(tx)
        return answer

    return bend


def each_info(change: Any) -> Bend:
    """Alter every result of a block."""

    def bend(_: dict[str, Any], answer: Any) -> Any:
        for info in answer:
            change(info)
        return answer

    return bend


@dataclass
class Relay:
    """Between plugin and node: `bend` alters answers by path, `replace` whole responses."""

    url: str = ""
    bend: dict[str, Bend] = field(default_factory=dict)
    replace: dict[str, web.Response] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)

    def count(self, path: str) -> int:
        """How often a path was asked."""
        return sum(asked == path for asked, _ in self.asked)


@asynccontextmanager
async def relay_to(upstream: str | None) -> AsyncIterator[Relay]:
    """A relay before a node, or, with None, one that answers by `Relay.answers` alone."""
    relay = Relay()
    async with aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.Response:
            path = request.path.strip("/")
            text = await request.text()
            body = json.loads(text) if text.strip() else {}
            relay.asked.append((path, body))
            relay.headers.append(request.headers)
            if path in relay.replace:
                stored = relay.replace[path]
                return web.Response(
                    body=stored.body, status=stored.status, content_type=stored.content_type
                )
            if upstream is None:
                if path not in relay.answers:
                    return web.Response(status=404)
                answer = relay.answers[path](body)
            else:
                async with session.post(f"{upstream}/{path}", json=body) as response:
                    answer = await response.json()
            if path in relay.bend:
                answer = relay.bend[path](body, copy.deepcopy(answer))
            return web.json_response(answer)

        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{interface}/{name}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        relay.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield relay
        finally:
            await runner.cleanup()


Opener = Callable[..., TronChain]


def stranger(number: int) -> str:
    """A made-up address, canonical."""
    return spell(keccak(f"stranger {number}".encode())[12:])


def hex41(address: str) -> str:
    """An address as the node tells it."""
    return "41" + key_of(address).hex()


def watching(*addresses: str, senders: Iterable[str] = ()) -> Watch:
    return Watch(frozenset(key_of(address) for address in addresses), frozenset(senders))


async def read(
    chain: TronChain,
    watch: Watch,
    *,
    after: BlockRef = START,
    last: int | None = None,
    method: str | None = None,
) -> list[Block]:
    """All blocks up to `last`, or to the head."""
    end = (await chain.head()).ref.height if last is None else last
    return [block async for block in chain.blocks(after, end, watch, method)]


def transfers(blocks: list[Block]) -> list[Transfer]:
    return [one for block in blocks for one in block.transfers]


def shown(blocks: list[Block]) -> list[tuple[str, str, int]]:
    """(asset, place, amount) of every transfer, in a fixed order."""
    return sorted((t.asset, t.place, t.amount) for t in transfers(blocks))


def sent(blocks: list[Block]) -> list[Sent]:
    return [one for block in blocks for one in block.sent]


@dataclass(frozen=True)
class Wallet:
    """A key that signs as the signer would."""

    secret: bytes
    public_key: bytes
    address: str

    def sign(self, message: bytes) -> bytes:
        return PrivateKey(self.secret).sign_recoverable(message, hasher=None)

    def intent(self, *payments: Payment, limit: int = 200 * TRX, **more: Any) -> Intent:
        return Intent(self.address, self.public_key, payments, limit, **more)


def wallet_of(secret: bytes) -> Wallet:
    public = PrivateKey(secret).public_key.format()
    return Wallet(secret, public, spell(of_public_key(public)))


def wallet(number: int) -> Wallet:
    return wallet_of(keccak(f"wallet {number}".encode()))


async def funded(devnet: TronDevnet, number: int = 1, amount: int = 1_000 * TRX) -> Wallet:
    """A wallet with TRX and with a thousand of every token."""
    made = wallet(number)
    await devnet.pay("TRX", made.address, amount)
    await devnet.pay("USDT", made.address, 1_000 * TRX)
    await devnet.pay("TEN", made.address, 1_000 * TRX)
    await devnet.mine()
    return made


def signed(chain: TronChain, payer: Wallet, payload: bytes) -> SignedTx:
    signatures = [payer.sign(one.message) for one in chain.inspect(payload).to_sign]
    return chain.assemble(payload, signatures)


async def pay(chain: TronChain, payer: Wallet, *payments: Payment, **more: Any) -> SignedTx:
    """Build, sign, send."""
    tx = signed(chain, payer, await chain.build(payer.intent(*payments, **more)))
    await chain.broadcast(tx)
    return tx


async def short_of(chain: TronChain, intent: Intent) -> InsufficientFunds | None:
    try:
        await chain.build(intent)
    except InsufficientFunds as error:
        return error
    return None


def tokens(devnet: TronDevnet, **contracts: str) -> dict[str, Asset]:
    """The local chain's assets, and contracts of it by name."""
    more = {name: Asset(name, devnet.contracts[one], 6) for name, one in contracts.items()}
    return {**devnet.assets, **more}


async def post(devnet: TronDevnet, path: str, body: Mapping[str, Any] | None = None) -> Any:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{devnet.url}/{path}", json=body or {}) as answer:
            return await answer.json()


def made(devnet: TronDevnet, payer: Wallet, keys: list[bytes] | None = None, **more: Any) -> Tx:
    """A payment of 5 sun, with whatever is wrong about it."""
    head = devnet.ledger.head
    fields = {
        "owner_address": PREFIX + key_of(payer.address),
        "to_address": PREFIX + key_of(stranger(1)),
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
