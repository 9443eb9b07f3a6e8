"""The bench on which a plugin is checked: one devnet (or live node), keys, funds, patience.

An `Actor` is a fresh key with an address. The bench funds it through the devnet, builds, signs and
sends for it through the plugin, and reads blocks back. Every wait is for a condition, with a limit;
what a check needs and this chain lacks raises `Skip`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import coincurve

from chain_adapter.chain import (
    Asset,
    Block,
    BlockRef,
    Chain,
    ChainError,
    Coin,
    Devnet,
    Effect,
    Family,
    Head,
    InsufficientFunds,
    Intent,
    Payment,
    Plugin,
    Sent,
    SignedTx,
    Transfer,
    Unavailable,
    Watch,
)
from chain_adapter.clock import Clock, SystemClock
from chain_adapter.registry import endpoints_of, settings_of

T = TypeVar("T")
Signer = Callable[[bytes, bytes], bytes]  # private key, message -> signature


class Skip(Exception):
    """This chain lacks what the check is about."""


class Failed(AssertionError):
    """The plugin does not do what the interface says."""


def ensure(holds: object, text: str) -> None:
    """`Failed` with `text` unless `holds`."""
    if not holds:
        raise Failed(text)


def _recoverable(private_key: bytes, message: bytes) -> bytes:
    return coincurve.PrivateKey(private_key).sign_recoverable(message, hasher=None)


SIGNERS: Mapping[str, Signer] = {"secp256k1": _recoverable}


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


EVERYTHING: Container[Any] = _Everything()


@dataclass(slots=True)
class Actor:
    """A key of its own, its address, and the block after which its money can have come."""

    private_key: bytes
    public_key: bytes
    address: str
    key: bytes
    born: BlockRef
    spent: set[str] = field(default_factory=set)  # locks handed to builds that stay open


class Bench:
    """One chain under test. `devnet` None: a live node, and only reading is checked."""

    def __init__(
        self,
        plugin: Plugin,
        node: Mapping[str, Any],
        assets: Mapping[str, Asset],
        devnet: Devnet | None = None,
        *,
        seed: int = 0,
        patience_s: float = 20.0,
        clock: Clock | None = None,
        signers: Mapping[str, Signer] = SIGNERS,
    ) -> None:
        self.plugin = plugin
        self.assets = dict(assets)
        self.endpoint = endpoints_of(node, "node")[0]
        self.settings = settings_of(plugin, node, "node")
        self.rng = random.Random(seed)
        self.requests = 0
        self._devnet = devnet
        self._clock = clock or SystemClock()
        self._patience_s = patience_s
        self._signers = signers
        self._opened: list[Chain] = []
        self.pure = self.open(None)
        self.chain = self.open(self.endpoint)
        self.info = self.chain.info
        self.native = self.info.native
        self._keys: dict[bytes, bytes] = {}

    # --- opening --------------------------------------------------------------------------------

    def open(self, endpoint: str | None, assets: Mapping[str, Asset] | None = None) -> Chain:
        """One more Chain of the plugin; the bench closes it."""
        given = self.assets if assets is None else assets
        made = self.plugin.open(self.settings, given, endpoint, self._gate)
        self._opened.append(made)
        return made

    def _gate(self, method: str) -> AbstractAsyncContextManager[None]:
        return self._passage()

    @asynccontextmanager
    async def _passage(self) -> Any:
        self.requests += 1
        yield

    async def close(self) -> None:
        for chain in self._opened:
            await chain.close()

    @property
    def devnet(self) -> Devnet:
        if self._devnet is None:
            raise Skip("needs a devnet")
        return self._devnet

    @property
    def tokens(self) -> list[str]:
        return [name for name, asset in self.assets.items() if asset.contract is not None]

    def need(self, holds: object, why: str) -> None:
        if not holds:
            raise Skip(why)

    async def need_locks(self, actor: Actor) -> None:
        """Skip on chains whose transactions only expire."""
        made = await self.build(actor, [self.payment(self.actor().address)])
        self.need(self.chain.inspect(made).locks, "transactions of this chain have no locks")

    # --- waiting and reading --------------------------------------------------------------------

    async def until(self, what: str, probe: Callable[[], Awaitable[T | None]]) -> T:
        """The first result of `probe` that is not None; `Unavailable` counts as none."""
        end = self._clock.monotonic() + self._patience_s
        last: ChainError | None = None
        while True:
            try:
                found = await probe()
            except Unavailable as error:
                found, last = None, error
            if found is not None:
                return found
            if self._clock.monotonic() > end:
                raise Failed(f"waited {self._patience_s:g} s for {what}: {last or 'it is not so'}")
            await self._clock.sleep(0.02)

    async def tip(self) -> BlockRef:
        async def probe() -> Head:
            return await self.chain.head()

        return (await self.until("a head", probe)).ref

    async def mine(self, blocks: int = 1) -> BlockRef:
        """Make blocks and wait until the plugin shows them."""
        before = await self.tip()
        await self.devnet.mine(blocks)

        async def probe() -> BlockRef | None:
            ref = (await self.chain.head()).ref
            return ref if ref.height >= before.height + blocks else None

        return await self.until(f"{blocks} new blocks", probe)

    async def reorg(self, depth: int) -> BlockRef:
        """Replace the newest blocks and wait until the plugin shows it."""
        before = await self.tip()
        await self.devnet.reorg(depth)

        async def probe() -> BlockRef | None:
            head = await self.chain.head()
            if head.ref.height > before.height:
                return head.ref
            return head.ref if head.ref.hash != before.hash else None

        return await self.until("a reorganisation", probe)

    async def read(
        self,
        after: BlockRef,
        last: int | None = None,
        watch: Watch | None = None,
        method: str | None = None,
        chain: Chain | None = None,
    ) -> list[Block]:
        """Blocks up to `last` (default: the head), with patience for a node that is late."""
        end = (await self.tip()).height if last is None else last
        seen = watch or Watch(to=EVERYTHING)

        async def probe() -> list[Block]:
            items = (chain or self.chain).blocks(after, end, seen, method)
            return [block async for block in items]

        return await self.until(f"blocks up to {end}", probe)

    async def outcome(self, work: Awaitable[object]) -> ChainError | None:
        """The error of `chain.py` that `work` raises, or None; others fail the check."""
        try:
            await work
        except ChainError as error:
            return error
        except (ValueError, LookupError, TypeError, OSError, ArithmeticError) as error:
            _leaked(error)
        return None

    # --- actors ---------------------------------------------------------------------------------

    def actor(self, born: BlockRef | None = None) -> Actor:
        """A fresh key. `born` defaults to the beginning of this bench's devnet."""
        private = self.rng.randbytes(32)
        public = coincurve.PrivateKey(private).public_key.format()
        self._keys[public] = private
        address = self.pure.address_of(public)
        key = self.pure.address_key(address)
        return Actor(private, public, address, key, born or BlockRef(0, ""))

    def unit(self, asset: str) -> int:
        """One whole unit, in base units."""
        return int(10 ** self.assets[asset].decimals)

    def some(self, asset: str | None = None, nth: int = 1) -> int:
        """An odd amount, so that two that should differ do."""
        return max(self.unit(asset or self.native) // 10, 1) * nth + 7 * nth

    def payment(self, to: str, asset: str | None = None, nth: int = 1) -> Payment:
        name = asset or self.native
        return Payment(name, to, self.some(name, nth))

    async def funded(self, *more: str, parts: int = 1) -> Actor:
        """An actor with five whole units of the main coin (in so many payments) and of `more`."""
        actor = self.actor(await self.tip())
        for asset in (self.native, *more):
            for _ in range(parts):
                amount = 5 * self.unit(asset) // parts
                await self.devnet.pay(asset, actor.address, amount)
        await self.mine()
        return actor

    async def coins(self, actor: Actor) -> tuple[Coin, ...]:
        """The mature unspent outputs of `actor` (none on chains without coins)."""
        if self.info.family is not Family.COIN:
            return ()
        end = (await self.tip()).height
        watch = Watch(frozenset({actor.key}), frozenset({actor.address}))
        found: dict[str, Transfer] = {}
        for block in await self.read(replace(actor.born, hash=""), end, watch):
            for one in block.transfers:
                if one.lock is not None and (one.matures or 0) <= end + 1:
                    found[one.lock] = one
            for sent in block.sent:
                for lock in sent.locks:
                    found.pop(lock, None)
        return tuple(
            Coin(lock, actor.address, actor.public_key, one.amount) for lock, one in found.items()
        )

    # --- paying ---------------------------------------------------------------------------------

    def fee_limit(self) -> int:
        return int(getattr(self.devnet, "fee_limit", 100 * self.unit(self.native)))

    async def intent(self, actor: Actor, payments: Iterable[Payment], **options: Any) -> Intent:
        if "coins" not in options:
            options["coins"] = await self.coins(actor)
        options.setdefault("fee_limit", self.fee_limit())
        options.setdefault("salt", self.rng.randbytes(8))
        return Intent(actor.address, actor.public_key, tuple(payments), **options)

    async def build(self, actor: Actor, payments: Iterable[Payment], **options: Any) -> bytes:
        """A payload; what the actor is short of is paid in once an asset."""
        wanted = tuple(payments)
        topped: set[str] = set()
        while True:
            try:
                return await self.chain.build(await self.intent(actor, wanted, **options))
            except InsufficientFunds as short:
                if short.asset in topped:
                    raise Failed(
                        f"short_by did not tell all that lacks: {short} after it was paid in"
                    ) from None
                topped.add(short.asset)
                await self.devnet.pay(short.asset, actor.address, short.short_by)
                await self.mine()

    def sign(self, effect: Effect) -> list[bytes]:
        signer = self._signers.get(self.info.scheme)
        if signer is None:
            raise Skip(f"no signer for the scheme {self.info.scheme!r}")
        return [signer(self._keys[one.public_key], one.message) for one in effect.to_sign]

    def signed(self, payload: bytes) -> SignedTx:
        return self.chain.assemble(payload, self.sign(self.chain.inspect(payload)))

    async def send(self, payload: bytes) -> SignedTx:
        tx = self.signed(payload)
        await self.chain.broadcast(tx)
        return tx

    async def find(
        self, tx: SignedTx, after: BlockRef, watch: Watch | None = None
    ) -> tuple[list[Transfer], list[Sent]]:
        """What the blocks after `after` show of one transaction."""
        blocks = await self.read(after, None, watch)
        return (
            [one for block in blocks for one in block.transfers if one.txid == tx.txid],
            [one for block in blocks for one in block.sent if one.txid == tx.txid],
        )

    def watch(self, actor: Actor, to: Sequence[Actor] = (), coins: Sequence[Coin] = ()) -> Watch:
        """`actor` sends, `to` (and actor) receive."""
        keys = frozenset({actor.key, *(one.key for one in to)})
        return Watch(keys, frozenset({actor.address}), {coin.lock: coin.amount for coin in coins})


def _leaked(error: Exception) -> NoReturn:
    raise Failed(f"let a {type(error).__name__} through: {error}") from error


def others(effect: Effect, sender: str) -> tuple[Payment, ...]:
    """What an effect pays to others than its sender: change and self-payments left out."""
    return tuple(one for one in effect.payments if one.to != sender)
