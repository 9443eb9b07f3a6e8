"""The guard: all endpoints of a chain behind one `Chain`.

Reads go to the current endpoint, and on to the next when it fails; one `blocks` call stays with its
endpoint and resumes elsewhere after the last block it yielded. Broadcasts go to all. Every endpoint
proves its network first (`endpoint`), every block is checked (`vet`).

*Guarantees*: no answer of another network than the pinned one; blocks without a hole, each on its
parent; only errors of `chain.py`. *Does not guarantee* that endpoints tell the truth: for that
there are `agreed_hash` and a second look (`second`).
"""

from __future__ import annotations

import asyncio
from collections import ChainMap, Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from chain_adapter.chain import (
    Asset,
    Balance,
    Block,
    BlockRef,
    Chain,
    ChainError,
    ChainInfo,
    Effect,
    Head,
    Intent,
    InvalidAddress,
    Plugin,
    Rejected,
    SignedTx,
    Unavailable,
    Watch,
)
from chain_adapter.clock import Clock, SystemClock
from chain_adapter.guard.checkpoints import shown_at
from chain_adapter.guard.endpoint import FOREIGN, Endpoint, Log, Pin, default_log, labels
from chain_adapter.guard.limits import Limits, Observe, unobserved
from chain_adapter.guard.pool import EndpointHealth, Pool, worst
from chain_adapter.guard.sending import Sender
from chain_adapter.guard.vet import Vet

READERS_KEPT = 8192
LOST_TIMEOUT_S = 3.0  # an endpoint that is lost is not waited for as long as others


class Guard:
    """A `Chain` over all endpoints of one chain.

    `identity` is the pinned one; with None the first answer is pinned, after `on_identity` (which
    may be a coroutine function) has recorded it. Endpoints are named by `labels`, which hold no
    secret. Errors of `chain.py` only, but for programming errors of the caller.
    """

    def __init__(
        self,
        plugin: Plugin,
        settings: Any,
        assets: Mapping[str, Asset],
        endpoints: Sequence[str],
        *,
        name: str = "",
        identity: str | None = None,
        on_identity: Callable[[str], Awaitable[None] | None] | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        observe: Observe = unobserved,
        log: Log | None = None,
        checkpoints: Mapping[int, str] | None = None,
    ) -> None:
        if not endpoints:
            raise ValueError("a guard needs an endpoint")
        self._clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._pin = Pin(identity, on_identity)
        self._foreign = FOREIGN + tuple(getattr(plugin, "foreign_errors", ()))
        self._log: Log = log or default_log(name or plugin.name)
        self._endpoints = tuple(
            Endpoint(
                url,
                label,
                lambda gate, url=url: plugin.open(settings, assets, url, gate),  # type: ignore[misc]
                pin=self._pin,
                clock=self._clock,
                limits=self._limits,
                observe=observe,
                foreign=self._foreign,
                log=self._log,
                checkpoints=checkpoints or {},
            )
            for url, label in zip(endpoints, labels(endpoints), strict=True)
        )
        self._pure: Chain = self._endpoints[0].chain
        self.info: ChainInfo = self._pure.info
        self._vet = Vet(self.info, assets, checkpoints or {})
        self._pool = Pool(self._endpoints, self._clock, self._limits)
        self._sender = Sender(self._endpoints, self._limits)
        self._readers: OrderedDict[str, str] = OrderedDict()

    # --- endpoints ------------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Labels, in configured order."""
        return tuple(one.label for one in self._endpoints)

    def health(self) -> tuple[EndpointHealth, ...]:
        return self._pool.health()

    async def reach(self) -> dict[str, ChainError | None]:
        """Ask every endpoint who it is: what is wrong with each, None where nothing is."""
        return await self._pool.reach()

    # --- reading --------------------------------------------------------------------------------

    async def identity(self) -> str:
        """The pinned identity, once at least one endpoint has shown it."""
        _, shown = await self._pool.any("identity", lambda chain: chain.identity())
        await self._pin.hold(shown, "endpoint")
        return shown

    async def head(self, after: Head | None = None) -> Head:
        """The head of the current endpoint; of the best one when that lags or stands still."""
        return await self._pool.head(after)

    async def blocks(
        self,
        after: BlockRef,
        last: int,
        watch: Watch,
        method: str | None = None,
        *,
        avoid: str | None = None,
    ) -> AsyncIterator[Block]:
        """Checked blocks in order. `avoid` is the label of an endpoint not to read from, though it
        is used where no other is configured. `reader_of` tells who read a block."""
        method = method or self.info.methods[0].name
        if all(method != one.name for one in self.info.methods):
            raise ValueError(f"no method {method!r}")
        at, clock = after, None
        made: dict[str, int] = {}  # coins of ours in blocks already yielded
        turn, trouble, queue = 0, list[Unavailable](), self._pool.order(avoid)
        while at.height < last:
            if not queue:
                turn += 1
                if turn >= self._limits.attempts:
                    raise worst(trouble)
                await self._pool.pause(turn)
                queue, trouble = self._pool.order(avoid), []
            endpoint, moved = queue.pop(0), False
            try:
                items = self._read(endpoint, at, last, _also(watch, made), method, clock)
                async with aclosing(items):
                    async for block in items:
                        at, clock, moved = block.ref, block.clock, True
                        for one in block.transfers:
                            if one.lock is not None:
                                made[one.lock] = one.amount
                        yield block
                return
            except Unavailable as error:
                if moved:  # it got on: rounds are counted anew, and this one comes last
                    turn, trouble = 0, []
                    queue = [one for one in self._pool.order(avoid) if one is not endpoint]
                trouble.append(error)

    async def _read(
        self,
        endpoint: Endpoint,
        at: BlockRef,
        last: int,
        watch: Watch,
        method: str,
        clock: int | None,
    ) -> Any:
        """One `blocks` call at one endpoint, each block checked."""
        start = at
        items = endpoint.stream(
            "blocks",
            lambda chain: chain.blocks(start, last, watch, method),
            self._limits.item_timeout_s,
        )
        try:
            async with aclosing(items) as inner:  # type: ignore[type-var]
                async for block in inner:
                    try:
                        self._vet.block(block, at, last, method, clock)
                    except (Unavailable, *self._foreign) as error:
                        broken = Unavailable(f"{endpoint.label}: broken answer: {error}")
                        raise endpoint.trouble(broken) from None
                    at, clock = block.ref, block.clock
                    self._remember(at.hash, endpoint.label)
                    yield block
        except Unavailable:
            if endpoint.head is not None and endpoint.head.ref.height > at.height:
                # It lacks what its own head promises: for a while it comes after the others.
                now = self._clock.monotonic()
                endpoint.distrusted_until = now + self._limits.distrust_s
            raise

    def second(
        self, after: BlockRef, last: int, watch: Watch, first: BlockRef | None = None
    ) -> AsyncIterator[Block]:
        """Blocks read again: by another method if there is one, and at another endpoint than the
        one that read `first`, if another is configured."""
        usual = self.info.methods[0].name
        others = [one.name for one in self.info.methods if one.name != usual]
        avoid = None if first is None else self.reader_of(first)
        return self.blocks(after, last, watch, (others or [usual])[0], avoid=avoid)

    def reader_of(self, ref: BlockRef) -> str | None:
        """The label of the endpoint that read this block last; None when it is long ago."""
        return self._readers.get(ref.hash)

    def _remember(self, hashed: str, label: str) -> None:
        self._readers[hashed] = label
        self._readers.move_to_end(hashed)
        if len(self._readers) > READERS_KEPT:
            self._readers.popitem(last=False)

    async def agreed_hash(self, height: int) -> dict[str, str | None]:
        """What every endpoint holds for the hash at `height`; None from one that did not tell.

        One that is contradicted by more than half comes last for a while.
        """

        async def ask(endpoint: Endpoint) -> str | None:
            limit_s = self._limits.item_timeout_s
            whole_s = 2 * limit_s if endpoint.lost_at is None else LOST_TIMEOUT_S
            try:
                async with self._clock.timeout(whole_s):
                    ref = await endpoint.ask("hash", lambda chain: shown_at(chain, height), limit_s)
            except (ChainError, TimeoutError):
                return None
            return None if ref is None else ref.hash

        found = await asyncio.gather(*map(ask, self._endpoints))
        self._distrust(found)
        return dict(zip(self.endpoints, found, strict=True))

    def _distrust(self, shown: Sequence[str | None]) -> None:
        """Endpoints that more than half contradict come last for a while."""
        votes = Counter(one for one in shown if one is not None)
        most, count = votes.most_common(1)[0] if votes else ("", 0)
        if len(votes) == 1 or 2 * count <= len(shown):
            return
        until = self._clock.monotonic() + self._limits.distrust_s
        for endpoint, one in zip(self._endpoints, shown, strict=True):
            if one is not None and one != most:
                endpoint.distrusted_until = until

    async def balance(self, address: str, asset: str) -> Balance:
        return (await self._pool.any("balance", lambda chain: chain.balance(address, asset)))[1]

    async def locate(self, txid: str) -> BlockRef | None:
        return (await self._pool.any("locate", lambda chain: chain.locate(txid)))[1]

    # --- paying ---------------------------------------------------------------------------------

    async def build(self, intent: Intent) -> bytes:
        """The payload. `Rejected.for_good`, which sends an order back, must be said by every
        endpoint that can be asked: one alone might lie or lag."""
        try:
            return (await self._pool.any("build", lambda chain: chain.build(intent)))[1]
        except Rejected as error:
            if not error.for_good or len(self._endpoints) == 1:
                raise
            said = await asyncio.gather(*(self._says(one, intent) for one in self._endpoints))
            if all(one is not False for one in said):
                raise
            raise Rejected(f"{error.why} (endpoints disagree)") from None

    async def _says(self, endpoint: Endpoint, intent: Intent) -> bool | None:
        """Whether this endpoint, too, refuses for good; None if it does not answer."""
        try:
            await endpoint.ask(
                "build", lambda chain: chain.build(intent), self._limits.request_timeout_s
            )
        except Rejected as error:
            return error.for_good
        except Unavailable:
            return None
        except ChainError:
            return False
        return False

    async def broadcast(self, tx: SignedTx) -> None:
        """Send to all. One success is enough, and the rest is sent in the background; `Rejected`
        only if all reject; otherwise the outcome is unknown: `Unavailable`."""
        await self._sender.send(tx)

    async def close(self) -> None:
        """Give back all connections; what is being sent gets as long as a request."""
        await self._sender.finish()
        for endpoint in self._endpoints:
            endpoint.closed = True
            await endpoint.chain.close()

    # --- pure -----------------------------------------------------------------------------------

    def parse_address(self, text: str) -> str:
        try:
            return self._pure.parse_address(text)
        except self._foreign as error:
            raise InvalidAddress(f"{text[:80]!r}: {type(error).__name__}") from None

    def address_key(self, address: str) -> bytes:
        try:
            return self._pure.address_key(address)
        except self._foreign as error:
            raise InvalidAddress(f"{address[:80]!r}: {type(error).__name__}") from None

    def asset_key(self, asset: str) -> bytes:
        return self._pure.asset_key(asset)

    def address_of(self, public_key: bytes) -> str:
        return self._pure.address_of(public_key)

    def inspect(self, payload: bytes) -> Effect:
        try:
            return self._pure.inspect(payload)
        except self._foreign as error:
            raise Rejected(f"the payload cannot be told: {type(error).__name__}") from None

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        try:
            return self._pure.assemble(payload, signatures)
        except self._foreign as error:
            raise Rejected(f"the payload cannot be assembled: {type(error).__name__}") from None


def _also(watch: Watch, made: Mapping[str, int]) -> Watch:
    """`watch` with the coins that an earlier part of the same read has shown: the plugin adds those
    of its own call only."""
    if not made:
        return watch
    return Watch(watch.to, watch.senders, ChainMap(dict(made), dict(watch.coins)))
