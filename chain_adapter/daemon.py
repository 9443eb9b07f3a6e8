"""The daemon: composition root. Reads like a recipe.

configuration -> keys, ledger, lease -> signer -> platform -> per chain: guard, watcher, payer,
registrar, one consumer an asset -> courier -> console -> "ready". SIGTERM ends every loop after
its step and drains what is in flight; SIGKILL loses nothing, for all that matters is in the books.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import structlog
from sqlalchemy import func, select

from chain_adapter import oversight
from chain_adapter.assembly import (
    ConfiguredAccounts,
    backup_folder,
    guarded_chain,
    key_fingerprints,
    own_key_self_test,
    plugin_version,
    pure_chain,
)
from chain_adapter.clock import Clock, SystemClock
from chain_adapter.config import ChainConfig, Config
from chain_adapter.config.records import FirstOrders, Profile
from chain_adapter.core.states import Role
from chain_adapter.errors import KeyFileError, SigningRefused, StoreError
from chain_adapter.guard import Guard, labels
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.signer import Signer, verify_proof
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.profile import refuse_in_production
from chain_adapter.platform_api.transport import open_session
from chain_adapter.signing import hold_signer
from chain_adapter.store import addresses, ledger, migrations, names, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.telemetry import METRICS
from chain_adapter.telemetry.feeds import NodeFeed, counted, metered
from chain_adapter.workers.consumer import Consumer
from chain_adapter.workers.courier import Courier
from chain_adapter.workers.loop import Loop
from chain_adapter.workers.payer import Payer
from chain_adapter.workers.registrar import Registrar
from chain_adapter.workers.sweeper import Sweeper
from chain_adapter.workers.terms import AssetTerms, Board, chain_terms
from chain_adapter.workers.watcher import Watcher

log = structlog.get_logger(__name__)
LEASE_EVERY_S = 4.0
DRAIN_S = 1.5


class Daemon:
    """Everything that runs for one configuration, on one database.

    Guarantees: one daemon a database; a clean stop within seconds.
    Does not guarantee: anything beyond what its workers do.
    """

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.board = Board()
        self.loops: list[Loop] = []
        self.guards: dict[str, Guard] = {}
        self.watchers: dict[str, Watcher] = {}
        self.registrars: dict[str, Registrar] = {}
        self.sweepers: dict[str, Sweeper] = {}
        self.store: Store
        self.signer: Signer
        self.accounts: ConfiguredAccounts
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._courier: Courier
        self._symbols: dict[str, tuple[AssetTerms, bool]] = {}

    # --- start ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and start the loops. Raises `AdapterError`s that say what to mend."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        config = self.config
        platform = config.require_platform()
        keys = config.require_keys()
        if config.profile is Profile.PRODUCTION:
            refuse_in_production(platform.url, platform.app_id, *key_fingerprints(platform))
        await asyncio.to_thread(own_key_self_test, platform)
        if not keys.keystore.exists():
            raise KeyFileError(
                f"there is no keystore {keys.keystore}: `chain-adapter keys init` makes it; if "
                "there was one, find out where it went (an unmounted volume?)"
            )
        public = PublicKeys.load(keys.keystore)
        await self._open_ledger(public)
        self.accounts = ConfiguredAccounts(public)
        for name, chain in config.require_chains().items():
            self.accounts.add(name, pure_chain(chain))
        held = await hold_signer(config)
        self._stack.push_async_callback(held.end)
        self.signer = held.signer
        session = await self._stack.enter_async_context(
            open_session(platform.tls_pins, ca_file=str(platform.ca_file or "") or None)
        )
        client = metered(
            PlatformClient(
                session,
                platform.url,
                platform.app_id,
                held.sealer,
                lambda: self.clock.now().timestamp(),
                platform.timeout_s,
            ),
            METRICS,
        )
        self._courier = Courier(
            client,
            self.store,
            self.board,
            self._symbols.__getitem__,
            self._wake_payers,
            internal_notify=platform.internal_notify,
        )
        courier_loop = self._loop("courier", self._courier.step)
        self._courier.on_lane_done = courier_loop.wake
        for name, chain in config.require_chains().items():
            await self._start_chain(name, chain, client, courier_loop, public)
        self._loop("lease", self._renew)
        for name, step in oversight.steps(self, self._prove, self._stack):
            self._loop(name, step)
        for loop in self.loops:
            self._tasks.append(asyncio.create_task(loop.run(), name=loop.name))

    async def _open_ledger(self, public: PublicKeys) -> None:
        url = self.config.require_database().connect_url()
        lock = ledger.InstanceLock(url)
        folder = backup_folder(self.config)
        await asyncio.to_thread(migrations.bring_up, url, self.clock, folder)
        self.store = ledger.open_ledger(url, self.clock)
        self._stack.callback(self.store.close)
        ledger.check_run(self.store, public.ledger_id)
        await self.store.read(partial(names.check_chains, configured=self.config.chains))
        lock.take()
        self._stack.callback(lock.release)
        ledger.take_lease(self.store, self.config.instance or socket.gethostname())
        self._stack.callback(self._end_lease)

    def _end_lease(self) -> None:
        if self.store.lease is not None:
            with suppress(StoreError):  # a lease that cannot be given back runs out
                ledger.end_lease(self.store)

    async def _start_chain(
        self,
        name: str,
        chain: ChainConfig,
        client: PlatformClient,
        courier_loop: Loop,
        public: PublicKeys,
    ) -> None:
        pinned = await self.store.read(partial(_identity, chain=name))
        guard = guarded_chain(
            chain,
            self.clock,
            identity=pinned,
            on_identity=partial(self._pin, name),
            observe=NodeFeed(METRICS, name, labels(chain.endpoints)),
        )
        self.guards[name] = guard
        self._stack.push_async_callback(guard.close)
        facts = {
            one.name: names.AssetFacts(one.symbol, one.decimals, guard.asset_key(one.name).hex())
            for one in chain.assets.values()
        }
        await self.store.write(partial(names.hold_assets, chain=name, assets=facts))
        await self._own_addresses(name, guard)
        if pinned is not None:
            await self.signer.pin(name, pinned)
        tip = await self.store.read(partial(_tip_height, chain=name))
        if tip is not None:
            self.board.heads[name] = tip
        info = guard.info
        terms = chain_terms(
            self.config, chain, fee_asset=info.fee_asset, default_depth=info.confirmations
        )
        for asset in terms.assets.values():
            self._symbols[asset.symbol] = (asset, chain.memo)
        payer = Payer(
            terms, guard, self.accounts, self.store, self.signer, self.board, courier_loop.wake
        )
        await payer.adopt()
        payer_loop = self._loop(f"payer {name}", payer.step)

        def on_block() -> None:
            payer_loop.wake()
            courier_loop.wake()

        def on_tip(height: int) -> None:
            METRICS.blocks.labels(name).inc(max(height - self.board.heads.get(name, height), 0))
            self.board.heads[name] = height

        watcher = Watcher(
            chain,
            guard,
            self.store,
            secret=public.request_id_secret,
            depths={asset.asset: asset.depth for asset in terms.assets.values()},
            on_block=on_block,
            on_tip=on_tip,
            plugin_version=plugin_version(chain.plugin),
        )
        self.watchers[name] = watcher
        self._loop(f"watcher {name}", watcher.step)
        registrar = Registrar(
            name,
            terms.assets[info.native],
            guard,
            self.accounts,
            self._prove,
            client,
            self.store,
            memo=chain.memo,
            low=chain.pool.low,
            high=chain.pool.high,
            poll_interval_s=max(self.config.require_platform().poll_interval_s, 1.0),
            on_addresses=watcher.note_addresses,
        )
        self.registrars[name] = registrar
        self._loop(f"registrar {name}", registrar.step)
        sweeper = Sweeper(terms, guard, self.accounts, self.store)
        self.sweepers[name] = sweeper
        self._loop(f"sweeper {name}", sweeper.step)
        for asset in terms.assets.values():
            consumer = Consumer(
                name,
                asset,
                client,
                self.store,
                self.board,
                poll_interval_s=self.config.require_platform().poll_interval_s,
                hold_first_page=self.config.first_orders is FirstOrders.HOLD,
                on_orders=payer_loop.wake,
            )
            self._loop(f"consumer {asset.symbol}", consumer.step)

    async def _pin(self, name: str, identity: str) -> None:
        """The first answer of a chain's endpoint: recorded here and by the signer, for ever."""
        await self.store.read(partial(names.check_identity, name=name, identity=identity))
        await self.signer.pin(name, identity)

        def unit(tx: Tx) -> None:
            tx.insert_new(schema.chains, {"chain": name})
            tx.run(
                schema.chains.update()
                .where(schema.chains.c.chain == name, schema.chains.c.identity.is_(None))
                .values(identity=identity)
            )

        await self.store.write(unit)

    async def _own_addresses(self, name: str, guard: Guard) -> None:
        own = [
            addresses.NewAddress(
                guard.address_key(one.address), one.address, role, one.account, one.index
            )
            for role, one in (
                (Role.HOT, self.accounts.hot(name)),
                (Role.GAS, self.accounts.gas(name)),
            )
        ]
        await self.store.write(lambda tx: addresses.add_many(tx, name, own))

    async def _prove(self, chain: str, account: int, index: int, challenge: bytes) -> None:
        """Raise `SigningRefused` unless the signer has the key of the address we derive."""
        ours = self.accounts.at(chain, account, index)
        proof = await self.signer.prove(chain, account, index, challenge)
        scheme = self.guards[chain].info.scheme
        if not verify_proof(scheme, ours.public_key, chain, ours.address, challenge, proof):
            raise SigningRefused(
                f"{chain}: the signer cannot sign for {ours.address}: keys and address differ",
                for_good=True,
            )

    # --- run --------------------------------------------------------------------------------------

    def _loop(self, name: str, step: Callable[[], Any]) -> Loop:
        loop = Loop(name, counted(name, step, METRICS), self.clock, self._trouble)
        self.loops.append(loop)
        return loop

    def _wake_payers(self) -> None:
        for loop in self.loops:
            if loop.name.startswith("payer "):
                loop.wake()

    async def _trouble(self, name: str, message: str, failing: bool) -> None:
        code = oversight.trouble_code(message) if failing else ""

        def unit(tx: Tx) -> None:
            for other in oversight.TROUBLES - {code}:
                close_alarm(tx, other, name)
            if failing:
                raise_alarm(tx, code, name, message)

        await self.store.write(unit)

    async def _renew(self) -> float:
        await ledger.renew_lease(self.store)
        return LEASE_EVERY_S

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises `LeaseLost` when another daemon took over."""
        stopper = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait(
                {stopper, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if task is not stopper:
                    task.result()
        finally:
            stopper.cancel()
            await self.close()

    async def close(self) -> None:
        """End every loop after its step, drain the courier, give everything back."""
        for loop in self.loops:
            loop.stop()
        if self._tasks:
            # A loop may be waiting for a node's next block. Cutting it short is what a crash
            # does too, and every step is made for that.
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()
            await self._courier.drain()
        await self._stack.aclose()


def _tip_height(tx: Tx, chain: str) -> int | None:
    value = tx.value(select(func.max(schema.blocks.c.height)).where(schema.blocks.c.chain == chain))
    return None if value is None else int(value)


def _identity(tx: Tx, chain: str) -> str | None:
    value = tx.value(select(schema.chains.c.identity).where(schema.chains.c.chain == chain))
    return None if value is None else str(value)


async def serve(config: Config) -> int:
    """`chain-adapter run`: start, print the ready line, run until SIGTERM or SIGINT."""
    from chain_adapter.console.server import Console

    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    daemon = Daemon(config)
    await daemon.start()
    console = Console(config.console, daemon)
    try:
        url = await console.start()
        print(json.dumps({"event": "ready", "url": url}), flush=True)
        await daemon.run(stop)
    finally:
        await console.close()
        await daemon.close()
    log.info("stopped")
    return 0


def main(config: Config) -> int:
    """Run the daemon to its end; the exit status."""
    if sys.platform != "linux":
        log.warning("platform", name=sys.platform, note="tested on Linux only")
    return asyncio.run(serve(config))
