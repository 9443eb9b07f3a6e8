"""The reference chain: a plugin called ``reference`` whose node is in memory.

Settings choose the flavour (`account` with nonces, `coin` with outputs, `memo` with one address and
sequences; `account` and `memo` also without locks, `expiring`). An endpoint ``memory://NAME`` is
the `ReferenceLedger` called NAME in this process. It serves the conformance suite, the simulator
and whoever wants to see what a plugin has to do (docs/writing-a-plugin.md).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chain_adapter.chain import API, Asset, Chain, Gate
from chain_adapter.clock import Clock
from chain_adapter.sandbox.reference_chain import ReferenceChain
from chain_adapter.sandbox.reference_faults import ReferenceEndpoint
from chain_adapter.sandbox.reference_ledger import (
    DECIMALS,
    TOKEN_DECIMALS,
    Mode,
    ReferenceLedger,
    ledger_at,
)
from chain_adapter.sandbox.reference_tx import Flavour

__all__ = [
    "Flavour",
    "ReferenceChain",
    "ReferenceDevnet",
    "ReferenceEndpoint",
    "ReferenceLedger",
    "ReferencePlugin",
    "ReferenceSettings",
    "ledger_at",
    "plugin",
]

NATIVE_NAMES = {Flavour.ACCOUNT: "REF", Flavour.COIN: "REC", Flavour.MEMO: "REM"}
TOKEN_NAME = "USDX"
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class ReferenceSettings:
    """Keys of `[chains.X.node]`."""

    flavour: Flavour = field(
        default=Flavour.ACCOUNT, metadata={"doc": "account, coin or memo: as the ledger is"}
    )
    confirmations: int = field(default=6, metadata={"doc": "default depth of a final block"})
    endpoints: tuple[str, ...] = field(default=(), metadata={"doc": "memory://LEDGER[/ENDPOINT]"})


class ReferencePlugin:
    """`Plugin` and `DevnetPlugin`. `flavour` and `expiring` are those of the devnets it starts."""

    name = "reference"
    api = API
    settings = ReferenceSettings

    def __init__(
        self, flavour: Flavour | str = Flavour.ACCOUNT, *, expiring: bool = False, **ledger: Any
    ) -> None:
        self._flavour = Flavour(flavour)
        self._ledger = {"expiring": expiring, **ledger}

    def open(
        self, settings: Any, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> Chain:
        return ReferenceChain(settings.flavour, assets, endpoint, gate, settings.confirmations)

    async def devnet(self, listen: str = "") -> ReferenceDevnet:
        """A new ledger; it lives in this process, so `listen` is not needed."""
        await asyncio.sleep(0)
        name = f"devnet-{next(_serial)}"
        return ReferenceDevnet(ReferenceLedger(name, self._flavour, **self._ledger))


class ReferenceDevnet:
    """`Devnet` over a `ReferenceLedger`; `ledger` has the commands that a devnet lacks."""

    def __init__(self, ledger: ReferenceLedger, *, confirmations: int = 6) -> None:
        self.ledger = ledger
        self.url = ledger.url()
        self.node: Mapping[str, Any] = {
            "endpoints": [self.url],
            "flavour": str(ledger.flavour),
            "confirmations": confirmations,
        }
        native = NATIVE_NAMES[ledger.flavour]
        self.assets: Mapping[str, Asset] = {native: Asset(native, None, DECIMALS[ledger.flavour])}
        if ledger.flavour is not Flavour.COIN:
            token = Asset(TOKEN_NAME, ledger.token.hex(), TOKEN_DECIMALS)
            self.assets = {**self.assets, TOKEN_NAME: token}
        self.private_key = ledger.faucet_key.hex()
        self.address = ledger.address(ledger.faucet)
        self._miner: asyncio.Task[None] | None = None

    async def mine(self, blocks: int = 1) -> None:
        self.ledger.mine(blocks)
        await asyncio.sleep(0)

    async def reorg(self, depth: int, mode: Mode = "drop") -> None:
        self.ledger.reorg(depth, mode)
        await asyncio.sleep(0)

    async def pay(self, asset: str, to: str, amount: int, memo: str | None = None) -> str:
        token = self.assets[asset].contract is not None
        data = None if memo is None else memo.encode()
        txid = self.ledger.pay(to, amount, token=token, memo=data)
        await asyncio.sleep(0)
        return txid

    async def automine(self, every_s: float | None) -> None:
        if self._miner is not None:
            self._miner.cancel()
            await asyncio.gather(self._miner, return_exceptions=True)
            self._miner = None
        if every_s is not None:
            self._miner = asyncio.create_task(_mine_for_ever(self.ledger, every_s))

    async def fail(self, txid: str) -> None:
        """A pending transaction will be included and fail."""
        self.ledger.fail(txid)
        await asyncio.sleep(0)

    async def revert(self, address: str) -> None:
        """Payments to `address` fail from now on."""
        self.ledger.revert(address)
        await asyncio.sleep(0)

    async def close(self) -> None:
        await self.automine(None)
        self.ledger.close()


async def _mine_for_ever(ledger: ReferenceLedger, every_s: float) -> None:
    clock: Clock = ledger.clock
    while True:
        await clock.sleep(every_s)
        ledger.mine()


plugin = ReferencePlugin()
