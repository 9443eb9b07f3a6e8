"""After a lost or an older database: what the chain knows of us is brought into the books.

addresses derived ahead of the last one in use -> stored -> unsettled blocks undone -> heights that
were read before held against the books (`rescan`) -> read on to the head as the watcher does, with
the same request ids -> transactions of ours that no journal knows counted -> the gate lifted.
Alone on the books; may be run again at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy import func, select, update

from chain_adapter.chain import Chain
from chain_adapter.config.records import ChainConfig
from chain_adapter.core.deposits import Terms
from chain_adapter.core.states import Role
from chain_adapter.errors import ConfigError
from chain_adapter.keys.derivation import Account as AccountNumber
from chain_adapter.store import addresses, blocks, recover_gate, schema
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import record
from chain_adapter.store.recover_gate import Ahead
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.reading import Reader
from chain_adapter.workers.rescan import Rescan
from chain_adapter.workers.signing import Account
from chain_adapter.workers.watcher import Watcher

log = structlog.get_logger(__name__)
DERIVED_AT_ONCE = 2_000
STANDSTILLS = 3  # steps without news before what is not settled is left to the daemon


class Accounts(Protocol):
    """Public halves of our keys."""

    def hot(self, chain: str) -> Account: ...

    def gas(self, chain: str) -> Account: ...

    def at(self, chain: str, account: int, index: int) -> Account: ...


@dataclass(slots=True)
class Recovered:
    """What a recovery did. `unknown`: transactions of ours in blocks that no journal knows;
    `pending`: how many more of ours, unknown as well, wait in a node's pool."""

    chain: str
    from_height: int = 0
    to_height: int = 0
    derived: int = 0
    addresses: int = 0
    highest_used: int | None = None
    new_deposits: int = 0
    deposits: dict[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    pending: int = 0

    @property
    def is_short(self) -> bool:
        """Whether more addresses may be in use than were derived: the last ones are."""
        return self.highest_used is not None and self.highest_used + 1 >= self.addresses

    @property
    def is_done(self) -> bool:
        """Whether the chain may be signed for again."""
        return not self.pending


@dataclass(frozen=True, slots=True)
class Progress:
    """Told while it goes on: `part` is deriving, rescan or reading."""

    part: str
    at: int
    end: int


class Recovery:
    """Guarantees: the same deposits get the same request ids; the gate is lifted only when every
    height was read and no pool holds an unknown transaction of ours.

    Does not guarantee: that addresses beyond those derived are found, nor that a node tells all
    that its pool holds.
    """

    def __init__(
        self,
        config: ChainConfig,
        chain: Chain,
        reader: Reader,
        store: Store,
        accounts: Accounts,
        *,
        secret: bytes,
        depths: Mapping[str, int],
        journal: Mapping[str, str],
        pending: Callable[[str], Awaitable[int]],
        plugin_version: str = "",
        on_progress: Callable[[Progress], None] = lambda _one: None,
    ) -> None:
        """`journal`: txid -> sender of every attempt that the signer's journal knows. `pending`
        tells how many transactions of an address wait in the nodes' pools."""
        self._config = config
        self._name = config.name
        self._chain = chain
        self._reader = reader
        self._store = store
        self._accounts = accounts
        self._secret = secret
        self._depths = depths
        self._journal = journal
        self._pending = pending
        self._plugin_version = plugin_version
        self._on_progress = on_progress

    async def run(self, from_height: int, count: int, who: str) -> Recovered:
        """Derive `count` addresses ahead and read from `from_height` on.

        Raises `ConfigError` (a height above the head, another network), `Unavailable`.
        """
        done = Recovered(self._name, from_height)
        head = await self._reader.head()
        if from_height > head.ref.height:
            raise ConfigError(
                f"chain {self._name} ends at block {head.ref.height}: there is no {from_height} yet"
            )
        before = sum((await self._store.read(self._deposits)).values())
        await self._derive(count, done)
        state = await self._store.read(lambda tx: blocks.chain(tx, self._name))
        config = self._config
        if state is None or state.start_height is None:
            configured = config.start_height
            start = from_height if configured is None else min(configured, from_height)
            done.from_height = start
            config = replace(config, start_height=start)
        else:
            config = replace(config, start_height=None)
            await self._undo_unsettled()
            await self._reread(from_height)
        watcher = self._watcher(config)
        await watcher.begin()
        await self._follow(watcher, done)
        assert watcher.terms is not None
        await self._finish(watcher.terms, before, done, who)
        return done

    # --- addresses --------------------------------------------------------------------------------

    async def _derive(self, count: int, done: Recovered) -> None:
        """Store our own addresses and `count` deposit addresses behind the last one in use."""
        name, account = self._name, int(AccountNumber.DEPOSIT)
        own = [
            self._new(role, one)
            for role, one in (
                (Role.HOT, self._accounts.hot(name)),
                (Role.GAS, self._accounts.gas(name)),
            )
        ]
        await self._store.write(lambda tx: addresses.add_many(tx, name, own))
        first = await self._store.read(
            partial(recover_gate.first_unused, chain=name, account=account)
        )
        end = first + count
        if self._config.memo:  # one shared address; the memos tell users apart
            first, end = 0, 1
        for start in range(first, end, DERIVED_AT_ONCE):
            stop = min(start + DERIVED_AT_ONCE, end)
            rows = await asyncio.to_thread(self._derived, account, start, stop)
            done.derived += await self._store.write(
                partial(addresses.add_many, chain=name, rows=rows)
            )
            self._on_progress(Progress("deriving", stop - first, end - first))

        def unit(tx: Tx) -> int:
            recover_gate.note_ahead(tx, name, Ahead(first, end))
            return addresses.next_index(tx, name, account)

        done.addresses = await self._store.write(unit)

    def _derived(self, account: int, start: int, stop: int) -> list[addresses.NewAddress]:
        return [
            self._new(Role.DEPOSIT, self._accounts.at(self._name, account, index))
            for index in range(start, stop)
        ]

    def _new(self, role: Role, one: Account) -> addresses.NewAddress:
        key = self._chain.address_key(one.address)
        return addresses.NewAddress(key, one.address, role, one.account, one.index)

    # --- blocks -----------------------------------------------------------------------------------

    async def _undo_unsettled(self) -> None:
        """Blocks above the settled height were read with fewer addresses: read them again whole."""
        undone = True
        while undone:
            undone = await self._store.write(self._undo_one)

    def _undo_one(self, tx: Tx) -> bool:
        state = blocks.chain(tx, self._name)
        if state is None or state.tip is None or state.tip.height <= state.settled_height:
            return False
        # No reorganisation: it must not count as a deep one.
        blocks.pop(tx, self._name, state.tip, 0, reorg_limit=state.tip.height + 1)
        return True

    async def _reread(self, from_height: int) -> None:
        """What was settled before is held against the books."""
        state = await self._store.read(lambda tx: blocks.chain(tx, self._name))
        if state is None or state.tip is None or from_height > state.settled_height:
            return
        last = state.settled_height
        rescan = Rescan(
            self._config, self._reader, self._store,
            secret=self._secret, depths=self._depths, plugin_version=self._plugin_version,
            on_progress=lambda at: self._on_progress(
                Progress("rescan", at - from_height + 1, last - from_height + 1)
            ),
        )  # fmt: skip
        await rescan.run(from_height, last)

    def _watcher(self, config: ChainConfig) -> Watcher:
        return Watcher(
            config, self._reader, self._store,
            secret=self._secret, depths=self._depths, plugin_version=self._plugin_version,
        )  # fmt: skip

    async def _follow(self, watcher: Watcher, done: Recovered) -> None:
        """Up to the head, and settled as far as it makes blocks final."""
        still = 0
        while still < STANDSTILLS:
            before = watcher.progress
            await watcher.step()
            now = watcher.progress
            tip, head = now.tip_height or 0, now.head_height or 0
            self._on_progress(Progress("reading", tip, head))
            if tip >= head and now.settled_height >= min(now.final_height or 0, tip):
                break
            moved = (tip, now.settled_height) != (before.tip_height, before.settled_height)
            still = 0 if moved else still + 1
        done.to_height = watcher.progress.tip_height or 0

    # --- the end ----------------------------------------------------------------------------------

    async def _finish(self, terms: Terms, before: int, done: Recovered, who: str) -> None:
        spenders = (self._accounts.hot(self._name).address, self._accounts.gas(self._name).address)
        waiting = {one: await self._pending(one) for one in spenders}
        done.pending = await self._store.read(partial(self._unknown_pending, waiting=waiting))

        def unit(tx: Tx) -> None:
            if not self._config.memo:
                done.highest_used = recover_gate.highest_used(
                    tx, self._name, int(AccountNumber.DEPOSIT)
                )
            done.unknown = self._unknown(tx)
            if done.is_done:
                recover_gate.lift(tx, terms)
            else:
                recover_gate.shut(tx, [self._name], recover_gate.PENDING)
            done.deposits = self._deposits(tx)
            done.new_deposits = sum(done.deposits.values()) - before
            record(
                tx, self._name, "recovered", self._name,
                who=who, from_height=done.from_height, to_height=done.to_height,
                derived=done.derived, new_deposits=done.new_deposits, pending=done.pending,
                unknown=len(done.unknown),
            )  # fmt: skip

        await self._store.write(unit)

    def _deposits(self, tx: Tx) -> dict[str, int]:
        table = schema.deposits
        rows = tx.all(
            select(table.c.state, func.count())
            .where(table.c.chain == self._name)
            .group_by(table.c.state)
        )
        return {str(row[0]): int(row[1]) for row in rows}

    def _unknown(self, tx: Tx) -> tuple[str, ...]:
        table = schema.foreign_uses
        rows = tx.all(
            select(table.c.txid).where(
                table.c.chain == self._name, table.c.acknowledged_by.is_(None)
            )
        )
        return tuple(row.txid for row in rows if row.txid not in self._journal)

    def _unknown_pending(self, tx: Tx, waiting: Mapping[str, int]) -> int:
        """How many more wait in the pools than the journal knows and no block shows."""
        table, attempts = schema.foreign_uses, schema.attempts
        shown = {
            row.txid
            for source in (
                select(table.c.txid).where(table.c.chain == self._name),
                select(attempts.c.txid).where(
                    attempts.c.chain == self._name, attempts.c.included_height.is_not(None)
                ),
            )
            for row in tx.all(source)
        }
        unknown = 0
        for address, count in waiting.items():
            known = sum(
                1
                for txid, sender in self._journal.items()
                if sender == address and txid not in shown
            )
            unknown += max(count - known, 0)
        return unknown


def acknowledge(tx: Tx, chain: str, txids: tuple[str, ...], who: str, reason: str) -> int:
    """A person answers for what an old journal knew and no journal knows now; how many."""
    table, touched = schema.foreign_uses, 0
    for txid in txids:
        touched += tx.run(
            update(table)
            .where(table.c.chain == chain, table.c.txid == txid, table.c.acknowledged_by.is_(None))
            .values(acknowledged_by=who)
        )
        close_alarm(tx, "foreign_use", f"{chain}:{txid}", chain)
    record(tx, chain, "unknown use acknowledged", chain, who=who, reason=reason, count=touched)
    return touched
