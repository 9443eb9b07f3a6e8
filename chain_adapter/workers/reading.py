"""What reading blocks needs beside the node: terms of crediting, filters, and who signs.

Shared by the watcher and the one-shot scan, so that both judge by the same values.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from chain_adapter.chain import Block, BlockRef, ChainError, ChainInfo, Family, Head, Proof, Watch
from chain_adapter.config.records import ChainConfig
from chain_adapter.core.deposits import AssetTerms, Terms
from chain_adapter.core.filter import AddressFilter
from chain_adapter.errors import ConfigError
from chain_adapter.store import addresses
from chain_adapter.store.store import Store, Tx

SPELLED_MOST = 5_000
"""Up to so many signing addresses are handed to the plugin as plain text."""


GROUP_S, GROUP_MOST = 0.5, 1024
"""While catching up, blocks of so many seconds make one commit, and at most about so many."""


class Reader(Protocol):
    """What reading needs of a chain; the guard is one."""

    info: ChainInfo

    async def identity(self) -> str: ...

    async def head(self, after: Head | None = None) -> Head: ...

    def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]: ...

    def second(
        self, after: BlockRef, last: int, watch: Watch, first: BlockRef | None = None
    ) -> AsyncIterator[Block]: ...

    async def agreed_hash(self, height: int) -> Mapping[str, str | None]: ...

    def reader_of(self, ref: BlockRef) -> str | None: ...

    def address_key(self, address: str) -> bytes: ...

    def asset_key(self, asset: str) -> bytes: ...


class Senders:
    """A `Container[str]` of the many addresses that sign, over their filter of keys.

    It may say yes wrongly, never no; the books match exactly. `hits` answers for many address
    keys at once, as that of the filter does, so that a plugin need not spell strangers.
    """

    __slots__ = ("_keys", "_reader")

    def __init__(self, keys: AddressFilter, reader: Reader) -> None:
        self._keys = keys
        self._reader = reader

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self._reader.address_key(address) in self._keys

    def hits(self, keys: Sequence[bytes]) -> list[int]:
        """Indexes of the address keys that may sign for us."""
        return self._keys.hits(keys)


@dataclass(slots=True)
class Ours:
    """What is ours on a chain, as a plugin is told, and the counter it was made from."""

    loaded: addresses.Loaded
    senders: Container[str]

    @property
    def counter(self) -> int:
        return self.loaded.counter

    def watch(self, coins: Mapping[str, int]) -> Watch:
        return Watch(self.loaded.every, self.senders, coins)


async def load(store: Store, chain: str, reader: Reader) -> Ours:
    """Read all addresses of a chain once."""

    def unit(tx: Tx) -> Ours:
        loaded = addresses.load_filter(tx, chain)
        return Ours(loaded, _senders(tx, chain, loaded, reader))

    return await store.read(unit)


async def refresh(store: Store, chain: str, reader: Reader, ours: Ours) -> None:
    """Bring it up to date with addresses that were added since."""

    def unit(tx: Tx) -> None:
        addresses.refresh(tx, chain, ours.loaded)
        ours.senders = _senders(tx, chain, ours.loaded, reader)

    await store.read(unit)


def _senders(tx: Tx, chain: str, loaded: addresses.Loaded, reader: Reader) -> Container[str]:
    if len(loaded.signing) > SPELLED_MOST:
        return Senders(loaded.signing, reader)
    return frozenset(addresses.own_senders(tx, chain, SPELLED_MOST + 1))


async def in_batches(
    items: AsyncIterator[Block], write: Callable[[list[Block]], Awaitable[None]], least: int
) -> None:
    """Hand blocks on in batches; the next one is read while the last is written.

    A batch holds at least so many blocks, and what comes within `GROUP_S` of the last one, for a
    commit costs the same for few as for many. What was read before the chain raised an error is
    written all the same, then it is raised.
    """
    batch: list[Block] = []
    writing: asyncio.Task[None] | None = None
    trouble: ChainError | None = None
    clock = asyncio.get_running_loop().time
    handed_at = clock()
    try:
        async with aclosing(items) as found:  # type: ignore[type-var]
            async for block in found:
                batch.append(block)
                count = len(batch)
                if count % least or (count < GROUP_MOST and clock() - handed_at < GROUP_S):
                    continue
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(write(batch))
                batch, handed_at = [], clock()
    except ChainError as error:
        trouble = error
    except BaseException:
        if writing is not None:
            await asyncio.gather(writing, return_exceptions=True)
        raise
    if writing is not None:
        await writing
    if batch:
        await write(batch)
    if trouble is not None:
        raise trouble


def deposit_terms(
    config: ChainConfig,
    chain: Reader,
    *,
    identity: str,
    secret: bytes,
    depths: Mapping[str, int] | None = None,
) -> Terms:
    """How deposits of a chain are judged and named. `depths`: the platform's confirmations by
    asset, 1 where nobody is told."""
    return Terms(
        chain=config.name,
        identity=identity,
        secret=secret,
        assets={
            one.name: AssetTerms(
                name=one.name,
                symbol=one.symbol,
                key=chain.asset_key(one.name),
                decimals=one.decimals,
                platform_decimals=one.platform_decimals,
                depth=(depths or {}).get(one.name, 1),
                min_deposit=one.min_deposit,
                # There is no event that a balance of the main coin could contradict.
                proof=Proof.OFF if one.is_native else one.balance_proof,
                enabled=one.enabled,
            )
            for one in config.assets.values()
        },
        memo_coin=config.memo,
        memo_max=config.memo_max,
    )


def check_memo(config: ChainConfig, info: ChainInfo) -> None:
    """A memo chain must be able to carry memos. Raises `ConfigError`."""
    if config.memo and not info.memos:
        raise ConfigError(f"chains.{config.name}.memo: payments on this chain carry no memo")


def keeps_coins(info: ChainInfo) -> bool:
    """Whether unspent outputs have to be known."""
    return info.family is Family.COIN
