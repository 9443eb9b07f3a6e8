"""The ledger behind the reference chain: blocks, mempool, and commands of its master.

Deterministic: the same seed and commands give the same hashes. `mine` includes what is pending,
`reorg` takes blocks back, `endpoint` hands out ways to misbehave (`reference_faults`). All of it is
synchronous and in memory: thousands of blocks a second, any number of endpoints on one ledger.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chain_adapter.chain import Rejected, Unavailable
from chain_adapter.clock import Clock, SystemClock
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_faucet import Faucet
from chain_adapter.sandbox.reference_faults import ReferenceEndpoint
from chain_adapter.sandbox.reference_mempool import Mempool
from chain_adapter.sandbox.reference_state import Done, State, Tx
from chain_adapter.sandbox.reference_tx import NATIVE, Body, Flavour, Output, Signed

DECIMALS = {Flavour.ACCOUNT: 18, Flavour.COIN: 8, Flavour.MEMO: 6}
TOKEN_DECIMALS = 6
START_TIME = 1_767_225_600  # 2026-01-01T00:00:00Z
FAUCET_COINS = 200
Mode = Literal["drop", "return", "reinclude", "conflict"]

_LEDGERS: dict[str, ReferenceLedger] = {}


@dataclass(frozen=True, slots=True)
class LedgerBlock:
    """A block of the best branch. `undo` restores the state before it."""

    height: int
    hash: str
    parent_hash: str
    time: int
    clock: int
    txs: tuple[Done, ...]
    undo: list[Any]


def ledger_at(name: str) -> ReferenceLedger:
    """The ledger called `name` in this process. `Unavailable` when there is none."""
    ledger = _LEDGERS.get(name)
    if ledger is None:
        raise Unavailable(f"no reference ledger {name!r} in this process")
    return ledger


class ReferenceLedger:
    """One network in memory.

    `expiring`: transactions have no sequence but an expiry by the clock of blocks (milliseconds;
    the parent's time decides). `fee_floor` is base units a unit of weight. `reserve` is what must
    stay on a memo account. `maturity` is how long a coinbase waits. `final_lag`: the chain tells
    a final height so far behind its head. `real_time`: block times follow the clock.
    """

    def __init__(
        self,
        name: str,
        flavour: Flavour | str = Flavour.ACCOUNT,
        *,
        seed: int = 0,
        expiring: bool = False,
        clock: Clock | None = None,
        real_time: bool = False,
        block_time_s: int = 10,
        expiry_s: int = 60,
        fee_floor: int = 1000,
        reserve: int = 0,
        maturity: int = 10,
        final_lag: int | None = None,
    ) -> None:
        if "/" in name or name in _LEDGERS:
            raise ValueError(f"ledger name {name!r} is taken or holds a slash")
        self.name = name
        self.flavour = Flavour(flavour)
        if expiring and self.flavour is Flavour.COIN:
            raise ValueError("a coin chain has coins for locks: it does not expire")
        self.expiring = expiring
        self.clock: Clock = clock or SystemClock()
        self.closed = False
        self.maturity = maturity
        self.final_lag = final_lag
        self.expiry_s = expiry_s
        self.block_time_s = block_time_s
        self.token = tx.sha256(f"token/{name}/{seed}".encode())[:20]
        self.faucet_key = tx.sha256(f"faucet/{name}/{seed}".encode())
        self._real_time = real_time
        self._state = State(self.flavour, reserve=reserve)
        self._blocks: list[LedgerBlock] = []
        self._pool = Mempool(self._state, expiring=expiring)
        self._faucet = Faucet(self.faucet_key, self._state)
        self.faucet = self._faucet.key
        self._endpoints: dict[str, ReferenceEndpoint] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._fork = 0
        self._serial = itertools.count()
        self._forge(f"{seed}", self._genesis())
        self._state.fee_floor = fee_floor
        _LEDGERS[name] = self
        self.identity = f"reference:{self.flavour}/{name}/{self._blocks[0].hash[:16]}"
        # Coin transactions commit to no network, as on the real ones of that family.
        self.binds = "reference:coin/" if self.flavour is Flavour.COIN else self.identity
        self._pool.binds = self.binds

    # --- what endpoints read --------------------------------------------------------------------

    @property
    def height(self) -> int:
        return len(self._blocks) - 1

    @property
    def state(self) -> State:
        """The state at the head: read it, change it only through commands."""
        return self._state

    def block(self, height: int) -> LedgerBlock:
        """A block of the best branch. `Unavailable` beyond the head or below zero."""
        if not 0 <= height < len(self._blocks):
            raise Unavailable(f"no block {height}: the head is {self.height}")
        return self._blocks[height]

    def address(self, key: bytes) -> str:
        return tx.spell(self.flavour, key)

    def located(self, txid: str) -> LedgerBlock | None:
        height = self._state.included.get(txid)
        return None if height is None else self._blocks[height]

    def pending(self) -> tuple[str, ...]:
        """Txids in the mempool, oldest first."""
        return tuple(self._pool.pending)

    def next_clock(self) -> int:
        """The clock of the next block, as far as it is known."""
        return self._blocks[-1].time * 1000 if self.expiring else self.height + 1

    async def changed(self) -> None:
        """Wait for the next command that moves the head."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    # --- the mempool ----------------------------------------------------------------------------

    def submit(self, raw: bytes) -> str:
        """Take a signed transaction into the mempool; returns its txid. `Rejected`."""
        return self._pool.submit(raw, self.next_clock())

    def drop(self, txid: str) -> None:
        """Forget a pending transaction, as nodes do without a word."""
        self._pool.drop(txid)

    def stick(self, txid: str) -> None:
        """Keep a transaction pending for ever: miners ignore it."""
        self._pool.stuck.add(txid)

    def fail(self, txid: str) -> None:
        """A pending transaction will be included and fail: the fee and the lock are gone."""
        if self.flavour is Flavour.COIN:
            raise ValueError("a coin chain includes no failed transaction")
        self._pool.pending[txid].fails = True

    def malleate(self, txid: str) -> str:
        """Replace a pending transaction by its twin, with another txid and a valid signature."""
        one = self._pool.pending[txid]
        if self.flavour is not Flavour.ACCOUNT or self.expiring or one.raw is None:
            raise ValueError("only signed account transactions with a sequence are malleable")
        signed: Signed = tx.decode(one.raw, Signed)
        raw = tx.encode(Signed(signed.body, tuple(map(tx.twin, signed.signatures))))
        self.drop(txid)
        return self.submit(raw)

    def pay(self, to: str, amount: int, *, token: bool = False, memo: bytes | None = None) -> str:
        """A signed payment from the faucet, pending; returns its txid."""
        key = tx.unspell(self.flavour, to)
        paid = Output(self.token if token else NATIVE, key, amount, memo)
        expires = self.next_clock() + 1000 * self.expiry_s if self.expiring else None
        return self.submit(self._faucet.payment(paid, self._pool, expires))

    def give(
        self,
        payments: Iterable[tuple[str, int]],
        *,
        token: bool | bytes = False,
        memo: bytes | None = None,
        places: Sequence[str] = (),
    ) -> str:
        """Value from outside, without sender or fee, included by the next block; returns the txid.

        Many deposits in one transaction; `places` names their places (``call/0.1`` is value moved
        by a contract); `token` may be the key of a token that nobody listed.
        """
        asset = token if isinstance(token, bytes) else self.token if token else NATIVE
        made = tuple(
            Output(asset, tx.unspell(self.flavour, to), amount, memo) for to, amount in payments
        )
        return self._forged(Body(self.flavour, "", b"", None, (), 0, made, None, b""), places)

    def use_lock(self, lock: str, payments: Iterable[tuple[str, int]] = ()) -> str:
        """Somebody else uses this lock (a stolen key, a double spend): the next block includes a
        transaction that no one here signed, in place of any pending one. Returns its txid."""
        made = tuple(Output(NATIVE, tx.unspell(self.flavour, to), n, None) for to, n in payments)
        self.drop(self._pool.by_lock.get(lock, ""))
        if self.flavour is Flavour.COIN:
            body = Body(self.flavour, "", b"", None, (lock,), 0, made, None, b"")
            return self._forged(body, ())
        owner, _, sequence = lock.rpartition("/")
        body = Body(self.flavour, "", b"", int(sequence), (), 0, made, None, b"")
        return self._forged(body, (), (tx.unspell(self.flavour, owner),))

    def _forged(self, body: Body, places: Sequence[str], owners: tuple[bytes, ...] = ()) -> str:
        txid = tx.sha256(f"{self.name}/forged/{next(self._serial)}".encode()).hex()
        self._pool.add(Tx(txid, body, forged=True, places=tuple(places), owners=owners))
        return txid

    # --- commands: the rules --------------------------------------------------------------------

    def set_fee_floor(self, price: int) -> None:
        """What a unit of weight costs from now on: pending transactions below it get stuck."""
        self._state.fee_floor = price

    def revert(self, address: str, reverts: bool = True) -> None:
        """Payments to `address` fail: in the dry run, and on chain if sent nevertheless."""
        key = tx.unspell(self.flavour, address)
        (self._state.reverting.add if reverts else self._state.reverting.discard)(key)

    def skim(self, hundredths_of_percent: int) -> None:
        """The token keeps back a part of each transfer, but shows the whole amount."""
        self._state.skim[self.token] = hundredths_of_percent

    # --- commands: blocks -----------------------------------------------------------------------

    def mine(self, blocks: int = 1, *, coinbase: tuple[str, int] | None = None) -> None:
        """Make blocks. The first includes all that is pending and can be included; each pays
        `coinbase` (address, amount), mature after `maturity` blocks."""
        for _ in range(blocks):
            self._seal(self._pool.ready(), coinbase)
        self._announce()

    def expire(self, beyond: int | None = None) -> int:
        """Mine empty blocks until the clock is above `beyond` (default: until all that is pending
        has expired); returns how many."""
        if not self.expiring or self._real_time:
            raise ValueError("transactions of this ledger do not expire by making blocks")
        begun = self.height
        pending = self._pool.pending.values()
        last = (
            max((one.body.expires or 0 for one in pending), default=0) if beyond is None else beyond
        )
        while self._blocks[-1].clock <= last:
            self._seal([], None)
        self._announce()
        return self.height - begun

    def reorg(self, depth: int, mode: Mode = "drop", *, length: int | None = None) -> None:
        """Replace the newest `depth` blocks by `length` (default `depth`) others.

        Their transactions vanish (`drop`), go back to the mempool (`return`), stand in the first
        new block (`reinclude`), or have lost their locks to others (`conflict`).
        """
        length = depth if length is None else length
        if not 0 < depth <= self.height or length < 0:
            raise ValueError(f"cannot replace {depth} of {self.height} blocks")
        popped: list[Tx] = []
        for block in [self._blocks.pop() for _ in range(depth)]:
            self._state.undo(block.undo)
            popped[:0] = [done.tx for done in block.txs]
        self._fork += 1
        first: list[Tx] = []
        if mode == "return":
            for one in popped:
                self._pool.add(one)
        elif mode == "reinclude":
            first = popped
        elif mode == "conflict":
            for lock in [
                lock for one in popped if not one.forged for lock in tx.locks_of(one.body)
            ]:
                first.append(self._pool.pending.pop(self.use_lock(lock)))
        for i in range(length):
            self._seal(first if i == 0 else [], None)
        self._announce()

    def close(self) -> None:
        """Take the ledger off the air: its endpoints refuse connections, its name is free."""
        self.closed = True
        _LEDGERS.pop(self.name, None)
        self._announce()

    def endpoint(self, name: str = "") -> ReferenceEndpoint:
        """The way ``memory://LEDGER/name`` (``memory://LEDGER`` is the one called "")."""
        return self._endpoints.setdefault(name, ReferenceEndpoint(name or "main", self))

    def url(self, endpoint: str = "") -> str:
        self.endpoint(endpoint)
        return f"memory://{self.name}/{endpoint}" if endpoint else f"memory://{self.name}"

    # --- making blocks --------------------------------------------------------------------------

    def _genesis(self) -> list[Tx]:
        fortune = 10**9 * 10 ** DECIMALS[self.flavour]
        if self.flavour is Flavour.COIN:
            made = [(NATIVE, self.faucet, fortune // FAUCET_COINS, None)] * FAUCET_COINS
        else:
            made = [
                (NATIVE, self.faucet, fortune, None),
                (self.token, self.faucet, 10**9 * 10**TOKEN_DECIMALS, None),
            ]
        outputs = tuple(Output(*row) for row in made)
        body = Body(self.flavour, "", b"", None, (), 0, outputs, None, b"")
        return [Tx(tx.sha256(b"genesis" + self.faucet).hex(), body, forged=True)]

    def _seal(self, candidates: list[Tx], coinbase: tuple[str, int] | None) -> None:
        self._forge("", candidates, coinbase)

    def _forge(
        self, salt: str, candidates: list[Tx], coinbase: tuple[str, int] | None = None
    ) -> None:
        parent = self._blocks[-1] if self._blocks else None
        height = 0 if parent is None else parent.height + 1
        time = START_TIME if parent is None else parent.time + self.block_time_s
        if self._real_time:
            time = max(int(self.clock.now().timestamp()), parent.time if parent else 0)
        # Where transactions expire, the parent's time decides: known before the block is made.
        clock = height if not self.expiring else (parent.time if parent else time) * 1000
        if coinbase is not None:
            candidates = [self._coinbase(coinbase, height), *candidates]
        done = self._include(candidates, height, clock)
        parent_hash = "" if parent is None else parent.hash
        what = f"{self.name}{salt}{parent_hash}/{height}/{time}/{self._fork}"
        hashed = tx.sha256((what + "/".join(one.txid for one in done)).encode()).hex()
        undo = self._state.take_journal()
        self._blocks.append(
            LedgerBlock(height, hashed, parent_hash, time, clock, tuple(done), undo)
        )

    def _coinbase(self, coinbase: tuple[str, int], height: int) -> Tx:
        if self.flavour is not Flavour.COIN:
            raise ValueError("only a coin chain has a coinbase")
        to, amount = coinbase
        made = (Output(NATIVE, tx.unspell(self.flavour, to), amount, None),)
        txid = tx.sha256(f"{self.name}/coinbase/{self._fork}/{height}".encode()).hex()
        body = Body(self.flavour, "", b"", None, (), 0, made, None, b"")
        return Tx(txid, body, forged=True, matures=height + self.maturity)

    def _include(self, candidates: list[Tx], height: int, clock: int) -> list[Done]:
        """Apply what can be applied, in order, again until nothing more fits (a later sequence or
        a spent change may have come first)."""
        done: list[Done] = []
        waiting = candidates
        while waiting:
            left = []
            for one in waiting:
                try:
                    done.append(self._state.apply(one, height, clock))
                except Rejected:
                    left.append(one)
            if len(left) == len(waiting):
                break
            waiting = left
        for included in done:
            self.drop(included.txid)
        return done

    def _announce(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.get_loop().call_soon_threadsafe(_finish, waiter)
        self._waiters.clear()


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
