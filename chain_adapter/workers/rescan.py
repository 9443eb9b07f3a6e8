"""Reads a settled range once more with today's code, addresses and assets, and books what it lacks.

blocks in order -> held against the books in short transactions -> where something was missed the
block is read by another method too, and both readings are booked together. May run beside the
daemon, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import structlog

from chain_adapter.chain import Block, BlockRef, NotOnChain, Unavailable
from chain_adapter.config.records import ChainConfig
from chain_adapter.core.deposits import Key
from chain_adapter.core.scan import BATCH
from chain_adapter.errors import ConfigError, StateConflict
from chain_adapter.store import blocks, rescanning, transfers
from chain_adapter.store.rescanning import Found
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers import reading
from chain_adapter.workers.reading import Ours, Reader

log = structlog.get_logger(__name__)
CHUNK = 4096  # blocks between two looks at the addresses and the coins
TRIES = 5  # at one chunk, while the books change under it


@dataclass(slots=True)
class Rescanned:
    """What was read, and what was found. `last_height` is below the one that was asked for where
    the rest is not settled yet; None: nothing of the range is."""

    from_height: int
    last_height: int | None = None
    blocks: int = 0
    found: Found = field(default_factory=Found)

    @property
    def deposits(self) -> tuple[Key, ...]:
        return self.found.deposits

    @property
    def inbox(self) -> tuple[Key, ...]:
        return self.found.inbox


class Rescan:
    """Guarantees: a block's findings and its coverage are one commit; nothing that was told is
    told again; nothing new is confirmed without a second reading. Does not guarantee: that what
    two methods miss is found.
    """

    def __init__(
        self,
        config: ChainConfig,
        chain: Reader,
        store: Store,
        *,
        secret: bytes,
        depths: Mapping[str, int],
        plugin_version: str = "",
        asset: str | None = None,
        confirm: bool = True,
        on_progress: Callable[[int], None] = lambda _height: None,
    ) -> None:
        """`confirm`: whether what is found is told at once, or only booked for the daemon."""
        reading.check_memo(config, chain.info)
        self._confirm = confirm
        self._config = config
        self._name = config.name
        self._chain = chain
        self._store = store
        self._secret = secret
        self._depths = depths
        self._plugin_version = plugin_version
        self._wanted = frozenset(config.assets if asset is None else [config.asset(asset).name])
        self._on_progress = on_progress
        self._keeps_coins = reading.keeps_coins(chain.info)
        self._kinds = {one.name: one.kinds for one in chain.info.methods}
        self._ours: Ours | None = None

    async def run(self, from_height: int, to_height: int) -> Rescanned:
        """Read both ends and all between, as far as it is settled. Raises `Unavailable`,
        `ConfigError` for a range that is none or a chain that has not begun."""
        if not 0 <= from_height <= to_height:
            raise ConfigError(f"no range of heights: {from_height} to {to_height}")
        name = self._name
        state = await self._store.read(lambda tx: blocks.chain(tx, name))
        if state is None or state.tip is None or state.identity is None:
            raise ConfigError(f"chain {name} was never read: `run` begins it, or `recover`")
        identity = await self._chain.identity()
        if identity != state.identity:
            raise ConfigError(
                f"chain {name}: the ledger is pinned to {state.identity}, the endpoints serve "
                f"{identity}"
            )
        done = Rescanned(from_height)
        span = await self._store.read(
            lambda tx: rescanning.settled_range(tx, name, from_height, to_height)
        )
        if span is None:
            return done
        self._ours = await reading.load(self._store, name, self._chain)
        at, last = from_height - 1, span[1]
        while at < last:
            until = min(at + CHUNK, last)
            await self._chunk(at, until, identity, done)
            at = until
            done.last_height = at
            self._on_progress(at)
        return done

    async def _chunk(self, at: int, until: int, identity: str, done: Rescanned) -> None:
        assert self._ours is not None
        for _ in range(TRIES):
            after = await self._store.read(partial(self._ref, height=at))
            coins = await self._store.read(partial(self._coins, height=at))
            how = self._how(identity, until)
            items = self._chain.blocks(after, until, self._ours.watch(coins))
            found: list[Found] = []
            try:
                await reading.in_batches(items, partial(self._book, how, coins, found), BATCH)
            except blocks.FilterOutdated:
                await reading.refresh(self._store, self._name, self._chain, self._ours)
                continue
            except (NotOnChain, blocks.NotOurTip) as error:
                raise StateConflict(
                    f"chain {self._name} changes between {at + 1} and {until} ({error}): run the "
                    "rescan again when it is quiet"
                ) from error
            finally:
                # A batch that was booked stays booked, whatever became of those behind it.
                for one in found:
                    done.found += one
            done.blocks += until - at
            return
        raise Unavailable(f"chain {self._name}: addresses are added faster than blocks are read")

    def _ref(self, tx: Tx, height: int) -> BlockRef:
        row = blocks.at(tx, self._name, height)
        return BlockRef(height, "" if row is None else row.hash)

    def _coins(self, tx: Tx, height: int) -> dict[str, int]:
        return transfers.coins(tx, self._name, height) if self._keeps_coins else {}

    def _how(self, identity: str, head_height: int) -> blocks.Reading:
        assert self._ours is not None
        return blocks.Reading(
            terms=reading.deposit_terms(
                self._config, self._chain,
                identity=identity, secret=self._secret, depths=self._depths,
            ),
            key_of=self._chain.address_key,
            counter=self._ours.counter,
            head_height=head_height,
            reorg_limit=self._chain.info.reorg_limit,
            plugin_version=self._plugin_version,
            followed_from=head_height + 1,
            keeps_coins=self._keeps_coins,
            reader_of=self._chain.reader_of,
        )  # fmt: skip

    async def _book(
        self,
        how: blocks.Reading,
        coins: dict[str, int],
        found: list[Found],
        batch: Sequence[Block],
    ) -> None:
        looked: dict[int, Block] = {}
        one = await self._tried(how, coins, batch, looked)
        while one is None:
            one = await self._tried(how, coins, batch, looked)
        found.append(one)
        if self._keeps_coins:
            coins.update(_made(batch, how))
        if one.deposits or one.inbox:
            log.info(
                "rescan_found", chain=self._name, up_to_height=batch[-1].ref.height,
                deposits=len(one.deposits), inbox=len(one.inbox),
            )  # fmt: skip

    async def _tried(
        self,
        how: blocks.Reading,
        coins: Mapping[str, int],
        batch: Sequence[Block],
        looked: dict[int, Block],
    ) -> Found | None:
        """What a batch brought; None after its second readings were fetched: try once more."""

        def unit(tx: Tx) -> Found:
            found = rescanning.hold_against(tx, how, batch, looked, self._kinds, self._wanted)
            if found.deposits and self._confirm:
                rescanning.confirm(tx, how)
            return found

        try:
            return await self._store.write(unit)
        except rescanning.SecondLookNeeded as needed:
            for block in batch:
                if block.ref.height in needed.heights:
                    looked[block.ref.height] = await self._again(block, coins)
            return None

    async def _again(self, block: Block, coins: Mapping[str, int]) -> Block:
        """The block by another method, and from another endpoint where there is one."""
        assert self._ours is not None
        height = block.ref.height
        after = BlockRef(height - 1, block.parent_hash)
        items = self._chain.second(after, height, self._ours.watch(coins), block.ref)
        async with aclosing(items) as blocks_again:  # type: ignore[type-var]
            async for again in blocks_again:
                return again
        raise Unavailable(f"chain {self._name}: block {height} could not be read a second time")


def _made(batch: Sequence[Block], how: blocks.Reading) -> dict[str, int]:
    return {
        one.lock: one.amount
        for block in batch
        for one in block.transfers
        if one.lock is not None and one.asset in how.terms.assets
    }
