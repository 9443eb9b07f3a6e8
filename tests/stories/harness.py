"""A whole daemon on a reference chain and the platform's own rules, moved step by step.

`World` assembles the real daemon (workers, store, signer, guard) with two parts exchanged: loops
are stepped by hand in a fixed order, and the platform is asked without HTTP. `tick` is one round of
all workers and one block; `until` goes on until a condition holds; `check` compares what the chain
shows with what the platform believes.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from sqlalchemy import select

from chain_adapter import daemon as daemon_module
from chain_adapter import money
from chain_adapter.config import load
from chain_adapter.core.states import Payout
from chain_adapter.daemon import Daemon
from chain_adapter.sandbox.reference import (
    NATIVE_NAMES,
    TOKEN_NAME,
    ReferenceLedger,
)
from chain_adapter.sandbox.reference_ledger import DECIMALS, TOKEN_DECIMALS
from chain_adapter.sandbox.reference_tx import Flavour, key_of
from chain_adapter.store import ledger, outbox, payout_marks, payouts, schema
from chain_adapter.store.store import Store, Tx
from tests.stories.books import shown
from tests.stories.parts import CHAIN, Condition, Crasher, JumpClock, write_config
from tests.stories.platform import Platform
from tests.stories.steps import Step

_serial = itertools.count()
PLATFORM_DEPTH = 4
FUNDS = {Flavour.ACCOUNT: 1000, Flavour.MEMO: 1000, Flavour.COIN: 10}


class SteppedDaemon(Daemon):
    """The daemon with its loops stepped by hand, and points to crash at."""

    def __init__(self, world: World) -> None:
        super().__init__(load(world.config_file), world.clock)
        self._world = world

    def _loop(self, name: str, step: Callable[[], Any]) -> Any:
        made = Step(name, step)
        self.loops.append(made)  # type: ignore[arg-type]
        return made

    async def _open_ledger(self, public: Any) -> None:
        await super()._open_ledger(public)
        _crash_points(self.store, self._world.crasher)


def _crash_points(store: Store, crasher: Crasher) -> None:
    write, submit = store.write, store.submit

    async def watched(unit: Any) -> Any:
        crasher.point("before commit")
        result = await write(unit)
        crasher.point("after commit")
        return result

    store.write = watched  # type: ignore[method-assign]
    store.submit = submit  # type: ignore[method-assign]


class World:
    """One story's chain, platform and daemon, in `folder`, with the books at `url`."""

    def __init__(
        self,
        folder: Path,
        url: str,
        templates: Path,
        *,
        flavour: str = "account",
        expiring: bool = False,
        ledger_options: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.folder = folder
        self.url = url
        self.flavour = Flavour(flavour)
        self.random = random.Random(7)
        self.clock = JumpClock()
        self.crasher = Crasher()
        options = {"block_time_s": 1, "expiry_s": 12, **(ledger_options or {})}
        self.ledger = ReferenceLedger(
            f"story-{next(_serial)}", self.flavour, expiring=expiring, **options
        )
        self.native = NATIVE_NAMES[self.flavour]
        self.token = TOKEN_NAME
        self.assets = {self.native: DECIMALS[self.flavour]}
        if self.flavour is not Flavour.COIN:
            self.assets[TOKEN_NAME] = TOKEN_DECIMALS
        for file in (templates / "keys").iterdir():
            shutil.copy(file, folder / file.name)
        self.platform = Platform(folder / "platform", templates / "platform")
        self.platform.point = self.crasher.await_point
        self.config_file = write_config(folder, url, self.ledger, self.platform.app_id, **config)
        self.daemon: SteppedDaemon
        self.funded: Counter[str] = Counter()
        self.recipients: dict[str, str] = {}  # trans_id -> address
        self.errors: list[tuple[str, Exception]] = []
        self.known_trouble: tuple[type[Exception], ...] = ()
        self.crash_in = ("payer", "courier")
        self.ticks = 0

    # --- life -------------------------------------------------------------------------------------

    async def open(self, *, fund: bool = True) -> World:
        """Keys, ledger, coins, daemon; and funds on the hot address, final."""
        await self.make_ledger()
        for name, decimals in self.assets.items():
            await self.platform.add_coin(
                name, self.native, memo=self.flavour is Flavour.MEMO, decimals=decimals,
                confirmations=PLATFORM_DEPTH,
            )  # fmt: skip
        await self.start()
        if fund:
            await self.fund()
            await self.tick(5)
        return self

    async def make_ledger(self) -> None:
        from chain_adapter.keys.keystore import PublicKeys

        public = PublicKeys.load(self.folder / "keystore.json")
        ledger.create(self.url, self.clock, ledger_id=public.ledger_id).close()

    async def start(self) -> None:
        """The daemon on the books as they are. Raises what its start raises."""
        made = SteppedDaemon(self)
        guarded, client = daemon_module.guarded_chain, daemon_module.PlatformClient
        hold = daemon_module.hold_signer

        def patched(*arguments: Any, **named: Any) -> Any:
            guard = guarded(*arguments, **named)
            self._guard_points(guard)
            return guard

        async def held(config: Any) -> Any:
            found = await hold(config)
            self._sign_points(found.signer)
            return found

        daemon_module.guarded_chain = patched
        daemon_module.hold_signer = held
        daemon_module.PlatformClient = lambda *_a, **_n: self.platform  # type: ignore[assignment,misc]
        try:
            await made.start()
        finally:
            daemon_module.hold_signer = hold
            daemon_module.guarded_chain, daemon_module.PlatformClient = guarded, client  # type: ignore[misc]
        self.daemon = made

    def _sign_points(self, signer: Any) -> None:
        sign, point = signer.sign, self.crasher.point

        async def watched(request: Any) -> Any:
            point("before sign")
            signed = await sign(request)
            point("after sign")
            return signed

        signer.sign = watched

    def _guard_points(self, guard: Any) -> None:
        head, broadcast, point = guard.head, guard.broadcast, self.crasher.point

        async def impatient(_after: Any = None) -> Any:
            return await head(None)

        async def watched(tx: Any) -> None:
            point("before broadcast")
            await broadcast(tx)
            point("after broadcast")

        guard.head, guard.broadcast = impatient, watched

    async def stop(self) -> None:
        """An end; of a crash too, for nothing more is written by then."""
        courier = self.daemon._courier
        for task in courier._running.values():
            task.cancel()
        await asyncio.gather(*courier._running.values(), return_exceptions=True)
        courier._running.clear()
        await self.daemon.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """Idempotent."""
        if self.ledger.closed:
            return
        if hasattr(self, "daemon"):
            await self.stop()
        self.platform.close()
        self.ledger.close()

    # --- time -------------------------------------------------------------------------------------

    def loop(self, name: str) -> Step:
        """The stepped loop whose name begins so."""
        return next(one for one in self.daemon.loops if one.name.startswith(name))  # type: ignore[return-value]

    async def tick(self, count: int = 1, *, mine: bool = True, s: float = 1.0) -> None:
        """`count` rounds of every worker, each with a block unless told otherwise."""
        for _ in range(count):
            self.clock.advance(s)
            if mine:
                self.ledger.mine()
            self.ticks += 1
            names = ["watcher", "consumer", "sweeper", "payer", "courier"]
            if self.ticks % 4 == 1:
                names.insert(1, "registrar")
            for name in names:
                for one in self.daemon.loops:
                    if one.name.startswith(name):
                        await self.step(one)  # type: ignore[arg-type]

    async def step(self, one: Step | str) -> None:
        """One step of one worker; of the courier, until it has nothing more to say."""
        loop = self.loop(one) if isinstance(one, str) else one
        if loop.off:
            return
        before = len(loop.errors)
        self.crasher.armed = loop.name.partition(" ")[0] in self.crash_in
        if loop.name == "courier":
            await self._deliver(loop)
        else:
            await loop.once()
        for error in loop.errors[before:]:
            if not isinstance(error, self.known_trouble):
                self.errors.append((loop.name, error))

    async def _deliver(self, loop: Step) -> None:
        courier = self.daemon._courier
        for _ in range(200):
            await loop.once()
            if courier._running:
                await asyncio.wait(courier._running.values())
            heads = dict(self.daemon.board.heads)

            def waiting(tx: Tx, heads: dict[str, int] = heads) -> int:
                return sum(len(outbox.due(tx, lane, heads)) for lane in outbox.lanes(tx))

            if not self.read(waiting):
                await loop.once()  # picks up what the last tasks ended with
                return
        raise AssertionError("the courier goes round in circles")

    async def until(
        self, holds: Condition, *, ticks: int = 120, mine: bool = True, s: float = 1.0
    ) -> int:
        """Tick until it holds; how many ticks it took."""
        for count in range(ticks):
            found = holds()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return count
            await self.tick(mine=mine, s=s)
        found = holds()
        if inspect.isawaitable(found):
            found = await found
        assert found, f"not so after {ticks} ticks\n{self.shown()}"
        return ticks

    # --- money ------------------------------------------------------------------------------------

    def units(self, symbol: str, text: str) -> int:
        return money.parse(text, self.assets[symbol])

    @property
    def hot(self) -> str:
        return self.daemon.accounts.hot(CHAIN).address

    async def fund(self, amount: int | None = None, symbols: tuple[str, ...] | None = None) -> None:
        """Coins from outside to the hot address, in the next block."""
        for symbol in symbols or tuple(self.assets):
            units = (FUNDS[self.flavour] if amount is None else amount) * 10 ** self.assets[symbol]
            parts = 10 if self.flavour is Flavour.COIN else 1
            self.ledger.give([(self.hot, units // parts)] * parts, token=symbol == self.token)
            self.funded[symbol] += units
        self.ledger.mine()

    def stranger(self) -> str:
        """A fresh address that nobody of ours has a key of."""
        key = PrivateKey(self.random.randbytes(32)).public_key.format()
        return self.ledger.address(key_of(self.flavour, key))

    async def order(
        self, amount: str = "1", symbol: str | None = None, to: str | None = None, memo: str = ""
    ) -> str:
        """A user's withdrawal; its trans_id."""
        to = self.stranger() if to is None else to
        trans_id = await self.platform.order(symbol or self.native, amount, to, memo)
        self.recipients[trans_id] = to
        return trans_id

    async def deposit(
        self, amount: str = "1", symbol: str | None = None, address: str | None = None,
        memo: str | None = None,
    ) -> tuple[str, str]:  # fmt: skip
        """A user deposits; (txid, address). Pending until the next block."""
        symbol = symbol or self.native
        if address is None:
            address, memo = await self.platform.user(symbol)
        txid = self.ledger.pay(
            address, self.units(symbol, amount), token=symbol == self.token,
            memo=None if memo is None else memo.encode(),
        )  # fmt: skip
        return txid, address

    # --- the books --------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return self.daemon.store

    def read(self, unit: Callable[[Tx], Any]) -> Any:
        return self.store.read_now(unit)

    def write(self, unit: Callable[[Tx], Any]) -> Any:
        return self.store.write_now(unit)

    def payout(self, trans_id: str) -> Any:
        """Its row, or None."""
        table = schema.payouts
        return self.read(lambda tx: tx.one(select(table).where(table.c.trans_id == trans_id)))

    def state(self, trans_id: str) -> str | None:
        row = self.payout(trans_id)
        return None if row is None else row.state

    def view(self, trans_id: str) -> payouts.View:
        return self.read(lambda tx: payouts.view_of(tx, self.payout(trans_id).id))

    def deposits(self) -> list[Any]:
        return list(self.read(lambda tx: tx.all(select(schema.deposits))))

    def alarms(self) -> set[str]:
        """Codes of open alarms."""
        table = schema.alarms
        rows = self.read(lambda tx: tx.all(select(table).where(table.c.closed_at.is_(None))))
        return {row.code for row in rows}

    def is_paused(self) -> bool:
        return bool(self.read(lambda tx: tx.all(select(schema.pauses))))

    def hold(self, trans_id: str, reason: str = "wait") -> None:
        row = self.payout(trans_id)
        self.write(lambda tx: payout_marks.hold(tx, row, "alice", reason))

    def release(self, trans_id: str) -> None:
        row = self.payout(trans_id)
        self.write(lambda tx: payout_marks.release(tx, row, "alice", "go on"))

    def refuse(self, trans_id: str) -> str:
        row = self.payout(trans_id)
        return str(
            self.write(lambda tx: payout_marks.operator_refuse(tx, row, "alice", "not this one"))
        )

    def ended(self, *trans_ids: str, state: str = Payout.REPORTED) -> Callable[[], bool]:
        return lambda: all(self.state(one) == state for one in trans_ids)

    def shown(self) -> str:
        """Everything that helps to see why a story hangs."""
        return shown(self.store.read_now, self.alarms(), self.errors)
