"""Random schedules of blocks, reorganisations, missed readings and crashes, held against the truth.

Whatever happens in between: in the end the deposits that were told are exactly those that stand in
final blocks of the chain, each once, with the right amount.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest

from chain_adapter.chain import ChainError
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StateConflict
from chain_adapter.sandbox.reference_ledger import Mode
from chain_adapter.sandbox.reference_tx import Flavour
from chain_adapter.store import rulings, schema
from tests.workers.watching import Room

CONFIRMATIONS = 4


class Crash(RuntimeError):
    """The process died here."""


class Killer:
    """Stands before `Store.write`: now and then nothing happens, or all of it, and then we die."""

    def __init__(self, room: Room, chance: random.Random, rate: float) -> None:
        self._write = room.store.write
        self._chance = chance
        self.rate = rate
        self.crashes = 0

    async def __call__(self, unit: Any) -> Any:
        fate = self._chance.random()
        if fate < self.rate / 2:
            self.crashes += 1
            raise Crash("before the commit")
        result = await self._write(unit)
        if fate < self.rate:
            self.crashes += 1
            raise Crash("after the commit")
        return result


class Model:
    def __init__(self, url: str, seed: int, flavour: Flavour, deepest: int) -> None:
        self.chance = random.Random(seed)
        self.room = Room(url, flavour=flavour, confirmations=CONFIRMATIONS)
        self.flavour = flavour
        self.deepest = deepest
        # A reading that misses something is found out while following the head; what is read long
        # after it became final is read once. So a run has either faults or long gaps.
        self.has_faults = flavour is Flavour.ACCOUNT and seed % 2 == 0
        self.killer = Killer(self.room, self.chance, 0.08)
        self.room.store.write = self.killer  # type: ignore[method-assign]
        self.numbers = list(range(3))
        for number in self.numbers:
            self.room.add(number)
        self.serial = 0
        self.reorged = False

    def act(self) -> None:
        ledger, chance = self.room.ledger, self.chance
        what = chance.choices(
            ["pay", "many", "mine", "reorg", "address", "hide"], [5, 2, 6, 2, 1, 1]
        )[0]
        if what == "pay":
            memo = chance.choice([b"7", b"8", None]) if self.flavour is Flavour.MEMO else None
            to = self.room.address(chance.choice([*self.numbers, 99]))
            token = self.flavour is not Flavour.COIN and chance.random() < 0.4
            ledger.give([(to, self._amount())], token=token, memo=memo)
        elif what == "many":
            chosen = [chance.choice(self.numbers) for _ in range(3)]
            # Value moved by contracts is seen by one method only: nobody could tell its absence.
            places = ["value", "log/1", "log/2"] if self.has_faults else []
            ledger.give([(self.room.address(one), self._amount()) for one in chosen], places=places)
        elif what == "mine":
            ledger.mine(chance.choice([1, 1, 1, 2, 1 if self.has_faults else 40]))
        elif what == "reorg":
            depth = chance.randint(1, max(1, min(self.deepest, ledger.height)))
            if depth > ledger.height:
                return
            modes: list[Mode] = ["drop", "return", "reinclude"]
            mode = chance.choice(modes)
            ledger.reorg(depth, mode, length=depth + chance.choice([0, 1, 3]))
        elif what == "address":
            self.numbers.append(len(self.numbers))
            self.room.add(self.numbers[-1])
        elif what == "hide" and self.has_faults and ledger.pending():
            hidden = (chance.choice(ledger.pending()), "scan")
            ledger.endpoint("").hidden.add(hidden)

    def _amount(self) -> int:
        self.serial += 1
        return 1000 + self.serial

    async def step(self) -> None:
        try:
            await self.room.watcher.step()
        except Crash:
            self.room.restart()
        except (ChainError, StateConflict):
            pass

    async def quiet(self) -> None:
        """No more trouble; until everything that is final is settled."""
        self.killer.rate = 0.0
        self.room.restart()
        for _ in range(6):
            self.room.ledger.mine(CONFIRMATIONS)
            await self.room.watcher.step()
        assert self.room.chain().settled_height == self.room.ledger.height - CONFIRMATIONS + 1
        terms = self.room.watcher.terms
        assert terms is not None
        if self.room.rows(schema.pauses):
            self.room.store.write_now(lambda tx: rulings.resume(tx, terms, None, "a", "b"))

    def truth(self) -> dict[tuple[str, str, str, str], int]:
        """(asset, txid, to, memo) -> amount, from the chain itself."""
        ours = {self.room.address(number) for number in self.numbers}
        sums: dict[tuple[str, str, str, str], int] = defaultdict(int)
        ledger = self.room.ledger
        for height in range(ledger.height - CONFIRMATIONS + 2):
            for done in ledger.block(height).txs:
                for move in done.moves:
                    to = self._spell(move.to)
                    if to not in ours:
                        continue
                    asset = "USDX" if move.asset == ledger.token else self.room.native
                    memo = "" if move.memo is None else move.memo.decode()
                    sums[asset, done.txid, to, memo] += move.amount
        return dict(sums)

    def _spell(self, key: bytes) -> str:
        return self.room.ledger.address(key)

    def booked(self) -> dict[tuple[str, str, str, str], int]:
        states = {Deposit.CONFIRMED}
        if self.flavour is Flavour.MEMO:
            states.add(Deposit.HELD)  # no memo
        return {
            (row.asset, row.txid, row.to, row.memo_key): int(row.amount)
            for row in self.room.deposits()
            if row.state in states
        }


async def run(model: Model, rounds: int) -> None:
    try:
        for _ in range(rounds):
            model.act()
            if model.chance.random() < 0.7:
                await model.step()
        await model.quiet()
        assert model.booked() == model.truth()
        assert model.room.holes() == []
        told = [row for row in model.room.outbox() if row.state == "open"]
        confirmed = [row for row in model.room.deposits() if row.state == Deposit.CONFIRMED]
        assert sorted(row.dedupe_key for row in told) == sorted(
            f"deposit:{row.request_id}" for row in confirmed
        )
        assert all(row.reason != "second look" for row in model.room.deposits())
        if model.deepest < CONFIRMATIONS:
            assert not any(row.state == Deposit.REVERSED for row in model.room.deposits())
            assert "deep_reorg" not in model.room.alarms()
            assert len(model.room.outbox()) == len(confirmed)
    finally:
        model.room.close()


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("seed", range(4))
async def test_shallow(sqlite_url: str, seed: int, flavour: Flavour) -> None:
    await run(Model(sqlite_url, seed, flavour, CONFIRMATIONS - 1), 120)


@pytest.mark.parametrize("seed", range(100, 104))
async def test_deep(sqlite_url: str, seed: int) -> None:
    await run(Model(sqlite_url, seed, Flavour.ACCOUNT, CONFIRMATIONS + 6), 120)


@pytest.mark.parametrize("seed", range(200, 202))
async def test_on_postgresql(postgres_url: str, seed: int) -> None:
    await run(Model(postgres_url, seed, Flavour.ACCOUNT, CONFIRMATIONS - 1), 80)
