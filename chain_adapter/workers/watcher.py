"""Turns blocks into deposits, and says what became of our own transactions.

head -> blocks in order, each on our tip; else the tip is popped and looked at again -> one commit
a batch with all it implies -> what has become final is compared between endpoints and read again
by another method -> one commit that settles it and confirms its deposits. Others are woken after
every commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from chain_adapter.chain import Block, BlockRef, Head, NotOnChain, Unavailable, Watch
from chain_adapter.config.records import ChainConfig
from chain_adapter.core import scan
from chain_adapter.core.deposits import Terms
from chain_adapter.errors import ConfigError
from chain_adapter.store import blocks, transfers
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers import reading
from chain_adapter.workers.reading import Ours, Reader
from chain_adapter.workers.settler import Settler

log = structlog.get_logger(__name__)

WINDOW = 8192  # most blocks between two questions for the head, while catching up
SETTLED_MOST = 64  # commits of settling in one step: the head is asked for again meanwhile


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the watcher stands, for status and health."""

    tip_height: int | None
    head_height: int | None
    final_height: int | None
    settled_height: int
    is_following: bool


class Watcher:
    """Guarantees: every height from the start on is read, in order, or the tip stays; a block and
    all it implies are one commit; nothing is confirmed that was not final, looked at twice and the
    same on every endpoint that answers; what is popped is undone.

    `on_tip` is told the newest height that was read, which confirmations count from; `on_block`
    that something changed.

    Does not guarantee: that the node tells the truth where only one endpoint is configured; how
    soon a block is read.
    """

    def __init__(
        self,
        config: ChainConfig,
        chain: Reader,
        store: Store,
        *,
        secret: bytes,
        depths: Mapping[str, int] | None = None,
        on_block: Callable[[], None] = lambda: None,
        on_tip: Callable[[int], None] = lambda _height: None,
        plugin_version: str = "",
    ) -> None:
        reading.check_memo(config, chain.info)
        self._config = config
        self._name = config.name
        self._chain = chain
        self._store = store
        self._secret = secret
        self._depths = depths
        self._on_block = on_block
        self._on_tip = on_tip
        self._plugin_version = plugin_version
        self._keeps_coins = reading.keeps_coins(chain.info)
        self._terms: Terms | None = None
        self._ours: Ours | None = None
        self._finality = scan.Finality.DEFAULT
        self._start_height = 0
        self._head: Head | None = None
        self._tip: BlockRef | None = None
        self._coins: dict[str, int] = {}
        self._settled_height = -1
        self._settler = Settler(config, chain, store)
        self._popped = 0  # by the reorganisation that goes on
        self._more_addresses = False

    # --- what others see --------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """Live numbers; nothing depends on them."""
        head = None if self._head is None else self._head.ref.height
        tip = None if self._tip is None else self._tip.height
        behind = head is None or not scan.is_following(-1 if tip is None else tip, head)
        return Progress(
            tip,
            head,
            None if self._head is None else self._final(self._head),
            self._settled_height,
            not behind,
        )

    @property
    def terms(self) -> Terms | None:
        """How deposits are judged; None before the first answer of the node."""
        return self._terms

    def note_addresses(self) -> None:
        """Addresses were added: the next block is read with them at once."""
        self._more_addresses = True

    # --- the step ---------------------------------------------------------------------------------

    async def step(self) -> float:
        """Read what is new, settle what is final; seconds until the next step."""
        if self._terms is None:
            await self.begin()
        is_behind = self._head is not None and self._height < self._head.ref.height
        head = await self._chain.head(None if is_behind else self._head)
        self._head = head
        await self._read(head)
        await self._settle(head)
        return 0.0 if self._height < head.ref.height else self._config.poll_interval_s

    @property
    def _height(self) -> int:
        """Everything up to here was read."""
        return self._start_height - 1 if self._tip is None else self._tip.height

    async def begin(self) -> None:
        """Pin the network, fix start and finality, load the addresses.

        Raises `ConfigError` when ledger and configuration disagree, `Unavailable`.
        """
        identity = await self._chain.identity()
        head = await self._chain.head()
        self._head = head

        def unit(tx: Tx) -> blocks.Chain:
            blocks.pin_identity(tx, self._name, identity)
            state = blocks.chain(tx, self._name)
            if state is None or state.start_height is None:
                start = self._config.start_height
                source = scan.source_of(self._config.confirmations, head)
                blocks.begin(tx, self._name, source, head.ref.height if start is None else start)
            else:
                self._hold_to(tx, state, head)
            begun = blocks.chain(tx, self._name)
            assert begun is not None
            return begun

        state = await self._store.write(unit)
        self._finality = scan.Finality(state.finality or "")
        self._start_height = state.start_height or 0
        self._settled_height = state.settled_height
        await self._reload()
        self._ours = await reading.load(self._store, self._name, self._chain)
        self._terms = reading.deposit_terms(
            self._config, self._chain, identity=identity, secret=self._secret, depths=self._depths
        )
        log.info(
            "watching", chain=self._name, identity=identity, tip=self._height,
            head=head.ref.height, finality=str(self._finality), addresses=self._ours.counter,
        )  # fmt: skip

    def _hold_to(self, tx: Tx, state: blocks.Chain, head: Head) -> None:
        """A later start: what was fixed at the first one holds."""
        wanted, begun = self._config.start_height, state.start_height or 0
        if wanted is not None and wanted < begun:
            raise ConfigError(
                f"chains.{self._name}.start_height: this ledger began at {begun}; heights from "
                f"{wanted} on would stay unread. Set it back, and `rescan` them"
            )
        recorded = scan.Finality(state.finality or "")
        source = scan.source_of(self._config.confirmations, head)
        by_operator = scan.Finality.OPERATOR
        if source is not recorded and by_operator in (source, recorded):
            log.warning("finality_changed", chain=self._name, was=str(recorded), now=str(source))
            blocks.change_finality(tx, self._name, recorded, source)
        elif recorded is scan.Finality.CHAIN and head.final_height is None:
            raise Unavailable(self._no_finality())

    def _no_finality(self) -> str:
        return (
            f"chain {self._name}: no endpoint tells a final height, which makes blocks final here. "
            "Use a node that does, or set `confirmations`"
        )

    async def _reload(self) -> None:
        """Tip and coins as the books have them."""

        def unit(tx: Tx) -> tuple[blocks.Chain | None, dict[str, int]]:
            coins = transfers.coins(tx, self._name) if self._keeps_coins else {}
            return blocks.chain(tx, self._name), coins

        state, self._coins = await self._store.read(unit)
        self._tip = None if state is None else state.tip
        if self._tip is not None:
            self._on_tip(self._tip.height)
        self._settled_height = -1 if state is None else state.settled_height

    # --- reading ----------------------------------------------------------------------------------

    async def _read(self, head: Head) -> None:
        """Up to the head, or a window of it; pops our tip for as long as it is off the chain."""
        while not await self._read_on(head):
            pass

    async def _read_on(self, head: Head) -> bool:
        """Read behind our tip; False when that has changed, or the filter, and it must go on."""
        if self._more_addresses:
            await self._refresh()
        try:
            if head.ref.height > self._height:
                await self._follow(head)
            elif not await self._is_ours(head.ref):
                raise NotOnChain(f"head {head.ref.height} is {head.ref.hash}")
        except NotOnChain as error:
            await self._pop(error)
            return False
        except blocks.FilterOutdated:
            await self._refresh()
            return False
        except blocks.NotOurTip:
            await self._reload()
            raise
        return True

    async def _is_ours(self, ref: BlockRef) -> bool:
        """Whether our chain has this block; a height whose row is gone proves nothing."""
        row = await self._store.read(lambda tx: blocks.at(tx, self._name, ref.height))
        return row is None or row.hash == ref.hash

    async def _follow(self, head: Head) -> None:
        """Read and commit blocks behind our tip."""
        after = self._tip or BlockRef(self._height, "")
        last = min(head.ref.height, after.height + WINDOW)
        how = self._reading(head, after.height + 1)
        items = self._chain.blocks(after, last, self._watch(self._coins))
        await reading.in_batches(items, partial(self._commit, how), scan.BATCH)

    async def _commit(self, how: blocks.Reading, batch: Sequence[Block]) -> None:
        done = await self._store.write(lambda tx: blocks.commit(tx, how, batch))
        self._tip = done.tip
        self._on_tip(done.tip.height)
        self._popped = 0
        if self._keeps_coins:
            self._coins.update(done.coins_made)
            for lock in done.coins_spent:
                self._coins.pop(lock, None)
        if done.deposits:
            height = done.tip.height
            log.info("deposits_seen", chain=self._name, up_to_height=height, count=done.deposits)
        self._on_block()

    def _reading(self, head: Head, next_height: int) -> blocks.Reading:
        assert self._terms is not None
        assert self._ours is not None
        followed_from = next_height
        if not scan.is_following(next_height - 1, head.ref.height):
            # What was final when it was first read is old enough to have been read whole.
            final = self._final(head)
            followed_from = head.ref.height + 1 if final is None else final + 1
        return blocks.Reading(
            terms=self._terms,
            key_of=self._chain.address_key,
            counter=self._ours.counter,
            head_height=head.ref.height,
            reorg_limit=self._chain.info.reorg_limit,
            plugin_version=self._plugin_version,
            followed_from=followed_from,
            keeps_coins=self._keeps_coins,
            reader_of=self._chain.reader_of,
        )

    def _watch(self, coins: Mapping[str, int]) -> Watch:
        assert self._ours is not None
        return self._ours.watch(dict(coins))

    async def _refresh(self) -> None:
        assert self._ours is not None
        self._more_addresses = False
        await reading.refresh(self._store, self._name, self._chain, self._ours)

    async def _pop(self, why: NotOnChain) -> None:
        """Our tip is off the chain: undo it, and let the caller look at the one below."""
        tip = self._tip
        if tip is None:
            raise why
        limit, depth = self._chain.info.reorg_limit, self._popped
        try:
            await self._store.write(lambda tx: blocks.pop(tx, self._name, tip, depth, limit))
        except blocks.NoDeeper as error:
            what = str(error)
            await self._store.write(
                lambda tx: blocks.stop_for_reorg(tx, self._name, what, depth + 1)
            )
            raise
        self._popped += 1
        log.warning("popped", chain=self._name, height=tip.height, hash=tip.hash, why=str(why))
        await self._reload()
        self._on_block()

    # --- settling ---------------------------------------------------------------------------------

    def _final(self, head: Head) -> int | None:
        return scan.final_height(self._finality, self._config.confirmations, self._chain.info, head)

    async def _settle(self, head: Head) -> None:
        """Settle what this head makes final."""
        assert self._ours is not None
        tip = self._tip
        if tip is None:
            return
        # Depth counts from what was read: a node may lie about its head.
        final = self._final(Head(tip, head.final_height))
        if final is None:
            raise Unavailable(self._no_finality())
        for _ in range(SETTLED_MOST):
            how = self._reading(head, self._height + 1)
            try:
                more = await self._settler.step(how, self._ours, min(final, tip.height), tip)
            except blocks.FilterOutdated:
                await self._refresh()
                continue
            if self._settler.settled_height != self._settled_height or self._settler.confirmed:
                self._settled_height = max(self._settled_height, self._settler.settled_height)
                self._on_block()
            if not more:
                return
