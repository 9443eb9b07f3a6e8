"""A watcher over a reference chain through the real guard, on a real database, step by step."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from chain_adapter.chain import Asset, Block, BlockRef, Head, Watch
from chain_adapter.clock import SystemClock
from chain_adapter.config.records import AssetConfig, ChainConfig
from chain_adapter.core.states import Role
from chain_adapter.guard import Guard, Limits
from chain_adapter.sandbox.reference import (
    NATIVE_NAMES,
    TOKEN_NAME,
    ReferenceLedger,
    ReferencePlugin,
    ReferenceSettings,
)
from chain_adapter.sandbox.reference_ledger import DECIMALS, TOKEN_DECIMALS
from chain_adapter.sandbox.reference_tx import Flavour, key_of
from chain_adapter.store import addresses, blocks, deposits, ledger, schema
from chain_adapter.workers.watcher import Watcher

CHAIN = "ref"
SECRET = b"s" * 32
_serial = itertools.count()


class Impatient:
    """The guard, but its head never waits for news: the tests make the news themselves."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.info = guard.info
        self.told_head: Head | None = None

    async def identity(self) -> str:
        return await self.guard.identity()

    async def head(self, after: Head | None = None) -> Head:
        return self.told_head or await self.guard.head(None)

    def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        return self.guard.blocks(after, last, watch, method)

    def second(
        self, after: BlockRef, last: int, watch: Watch, first: BlockRef | None = None
    ) -> AsyncIterator[Block]:
        return self.guard.second(after, last, watch, first)

    async def agreed_hash(self, height: int) -> Mapping[str, str | None]:
        return await self.guard.agreed_hash(height)

    def reader_of(self, ref: BlockRef) -> str | None:
        return self.guard.reader_of(ref)

    def address_key(self, address: str) -> bytes:
        return self.guard.address_key(address)

    def asset_key(self, asset: str) -> bytes:
        return self.guard.asset_key(asset)


class Room:
    """One chain, one ledger, one watcher; `restart` makes another watcher on the same books."""

    def __init__(
        self,
        url: str,
        *,
        flavour: Flavour = Flavour.ACCOUNT,
        confirmations: int | None = 3,
        endpoints: tuple[str, ...] = ("",),
        asset: Mapping[str, Any] | None = None,
        chain: Mapping[str, Any] | None = None,
        ledger_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.flavour = flavour
        self.ledger = ReferenceLedger(
            f"watch-{next(_serial)}", flavour, **dict(ledger_options or {})
        )
        native = NATIVE_NAMES[flavour]
        self.native = native
        assets = {native: AssetConfig(name=native, symbol=native, decimals=DECIMALS[flavour],
                                      platform_decimals=DECIMALS[flavour])}  # fmt: skip
        if flavour is not Flavour.COIN:
            assets[TOKEN_NAME] = AssetConfig(
                name=TOKEN_NAME, symbol="USDX", contract=self.ledger.token.hex(),
                decimals=TOKEN_DECIMALS, platform_decimals=TOKEN_DECIMALS,
            )  # fmt: skip
        assets = {name: replace(one, **dict(asset or {})) for name, one in assets.items()}
        self.config = ChainConfig(
            name=CHAIN, plugin="reference", confirmations=confirmations, start_height=0,
            assets=assets, memo=flavour is Flavour.MEMO, **dict(chain or {}),
        )  # fmt: skip
        self.urls = [self.ledger.url(name) for name in endpoints]
        self.store = ledger.create(url, SystemClock())
        self.reader = self._reader()
        self.woken = 0
        self.tips: list[int] = []
        self.watcher = self._watcher()

    def _reader(self) -> Impatient:
        settings = ReferenceSettings(flavour=self.flavour, endpoints=tuple(self.urls))
        plugin_assets: dict[str, Asset] = self.config.plugin_assets()
        return Impatient(
            Guard(
                ReferencePlugin(self.flavour), settings, plugin_assets, self.urls,
                limits=Limits(attempts=1, backoff_s=0.001),
            )
        )  # fmt: skip

    def _watcher(self) -> Watcher:
        return Watcher(
            self.config, self.reader, self.store, secret=SECRET,
            depths=dict.fromkeys(self.config.assets, 5), plugin_version="1",
            on_block=self._wake, on_tip=self.tips.append,
        )  # fmt: skip

    def _wake(self) -> None:
        self.woken += 1

    def restart(self, **chain: Any) -> None:
        self.config = replace(self.config, **chain)
        self.reader = self._reader()
        self.watcher = self._watcher()

    def close(self) -> None:
        self.store.close()
        self.ledger.close()

    # --- what is ours -----------------------------------------------------------------------------

    def address(self, number: int, role: Role = Role.DEPOSIT) -> str:
        """An address by number; the same number is the same address."""
        return self.ledger.address(key_of(self.flavour, number.to_bytes(32, "big")))

    def add(self, number: int, role: Role = Role.DEPOSIT, *, account: int | None = 1) -> str:
        text = self.address(number)
        key = self.reader.address_key(text)
        self.store.write_now(
            lambda tx: addresses.add(tx, CHAIN, key, text, role, account=account, idx=number)
        )
        return text

    # --- questions --------------------------------------------------------------------------------

    def deposits(self) -> list[Any]:
        return list(self.store.read_now(deposits.listed))

    def states(self) -> list[str]:
        return [row.state for row in self.deposits()]

    def outbox(self) -> list[Any]:
        return self.rows(schema.outbox)

    def rows(self, table: Any) -> list[Any]:
        return list(self.store.read_now(lambda tx: tx.all(select(table))))

    def alarms(self) -> set[str]:
        return {row.code for row in self.rows(schema.alarms) if row.closed_at is None}

    def chain(self) -> blocks.Chain:
        found = self.store.read_now(lambda tx: blocks.chain(tx, CHAIN))
        assert found is not None
        return found

    def holes(self) -> list[tuple[int, int]]:
        return self.store.read_now(lambda tx: blocks.holes(tx, CHAIN))

    async def mine(self, count: int = 1) -> None:
        self.ledger.mine(count)
        await self.watcher.step()


MakeRoom = Callable[..., Room]
"""What the fixture `room` gives."""
