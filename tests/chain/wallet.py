"""One key over a reference ledger, through the plugin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import coincurve

from chain_adapter.chain import (
    Block,
    BlockRef,
    Chain,
    Coin,
    Intent,
    Payment,
    SignedTx,
    Watch,
)
from chain_adapter.registry import settings_of
from chain_adapter.sandbox.reference import ReferenceDevnet, ReferenceLedger, ReferencePlugin

Make = Callable[..., ReferenceLedger]
EVERYTHING: Any = type("Everything", (), {"__contains__": lambda self, _: True})()
ALL = Watch(to=EVERYTHING, senders=EVERYTHING)
KEY = coincurve.PrivateKey(b"\x05" * 32)
PUBLIC = KEY.public_key.format()
FLAVOURS = ["account", "coin", "memo"]


class Wallet:
    """One key over a ledger, through the plugin."""

    def __init__(self, ledger: ReferenceLedger) -> None:
        plugin = ReferencePlugin(ledger.flavour)
        devnet = ReferenceDevnet(ledger)
        settings = settings_of(plugin, devnet.node, "node")
        self.ledger = ledger
        self.chain: Chain = plugin.open(
            settings, devnet.assets, ledger.url(), lambda _: nullcontext()
        )
        self.native, *tokens = devnet.assets
        self.token = tokens[0] if tokens else ""
        self.address = self.chain.address_of(PUBLIC)
        self.to = ledger.address(ledger.faucet)

    async def read(self, after: int = 0, watch: Watch = ALL) -> list[Block]:
        items = self.chain.blocks(BlockRef(after, ""), self.ledger.height, watch)
        return [block async for block in items]

    async def fund(self, amount: int = 10**8) -> None:
        self.ledger.pay(self.address, amount)
        self.ledger.mine()

    async def coins(self) -> tuple[Coin, ...]:
        mine = self.chain.address_key(self.address)
        state = self.ledger.state.coins.items()
        return tuple(Coin(k, self.address, PUBLIC, c.amount) for k, c in state if c.to == mine)

    async def build(self, amount: int | None = 10**6, **options: Any) -> bytes:
        payments = (Payment(self.native, self.to, amount),) if amount != 0 else ()
        options.setdefault("fee_limit", 10**7)
        options.setdefault("coins", await self.coins())
        return await self.chain.build(Intent(self.address, PUBLIC, payments, **options))

    def sign(self, payload: bytes) -> SignedTx:
        wanted = self.chain.inspect(payload).to_sign
        signatures = [KEY.sign_recoverable(one.message, hasher=None) for one in wanted]
        return self.chain.assemble(payload, signatures)

    async def send(self, payload: bytes) -> SignedTx:
        tx = self.sign(payload)
        await self.chain.broadcast(tx)
        return tx

    def height_of(self, tx: SignedTx) -> int | None:
        block = self.ledger.located(tx.txid)
        return None if block is None else block.height
