"""The rules of the reference chain: what a transaction does to balances, sequences and coins.

`State.apply` includes one transaction at a height and returns what it did, or says why it cannot be
included now. Every change is journalled, so a block is undone in reverse: a reorganisation of any
depth costs what its blocks cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chain_adapter.chain import Rejected
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_tx import NATIVE, Body, Flavour

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Move:
    """One movement of value. `amount` is what the chain shows, `credited` what really arrived."""

    place: str
    asset: bytes
    sender: bytes | None
    to: bytes
    amount: int
    credited: int
    memo: bytes | None = None
    lock: str | None = None
    matures: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An included transaction and all that it did."""

    txid: str
    senders: tuple[bytes, ...]
    locks: tuple[str, ...]
    ok: bool
    moves: tuple[Move, ...]
    fee: int
    tx: Tx


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output."""

    to: bytes
    amount: int
    matures: int | None = None


@dataclass(slots=True)
class Tx:
    """A transaction on its way. One that is `forged` was put there by the ledger's master: it is
    taken as signed; `places` then names its places, and its value comes from nowhere if it has
    neither sender nor inputs."""

    txid: str
    body: Body
    raw: bytes | None = None
    forged: bool = False
    places: tuple[str, ...] = ()
    fails: bool = False
    matures: int | None = None
    owners: tuple[bytes, ...] = field(default=())  # address keys that sign


def balance_lock(flavour: Flavour, key: bytes, sequence: int) -> str:
    return f"{tx.spell(flavour, key)}/{sequence}"


class State:
    """Balances, sequences, coins and included txids of one branch."""

    def __init__(self, flavour: Flavour, *, reserve: int) -> None:
        self.flavour = flavour
        self.reserve = reserve
        self.fee_floor = 0
        self.skim: dict[bytes, int] = {}  # asset -> hundredths of a per cent kept back
        self.reverting: set[bytes] = set()
        self.balances: dict[tuple[bytes, bytes], int] = {}
        self.sequences: dict[bytes, int] = {}
        self.coins: dict[str, Coin] = {}
        self.included: dict[str, int] = {}  # txid -> height
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []

    def balance(self, asset: bytes, key: bytes) -> int:
        if self.flavour is Flavour.COIN:
            return sum(coin.amount for coin in self.coins.values() if coin.to == key)
        return self.balances.get((asset, key), 0)

    def take_journal(self) -> list[tuple[dict[Any, Any], Any, Any]]:
        """What changed since the last call: the undo record of a block."""
        journal, self._journal = self._journal, []
        return journal

    def undo(self, journal: list[tuple[dict[Any, Any], Any, Any]]) -> None:
        for table, key, old in reversed(journal):
            if old is _MISSING:
                table.pop(key, None)
            else:
                table[key] = old

    def apply(self, one: Tx, height: int, clock: int) -> Done:
        """Include `one`. Raises `Rejected` when it cannot be included now; then nothing changed."""
        if one.txid in self.included:
            raise Rejected("already included")
        if one.body.expires is not None and clock > one.body.expires:
            raise Rejected("expired")
        done = self._spend(one, height) if one.body.inputs else self._move(one)
        self._set(self.included, one.txid, height)
        return done

    # --- coins ----------------------------------------------------------------------------------

    def coins_of(self, body: Body) -> list[Coin]:
        """The coins behind the inputs; `Rejected` if one is not there."""
        found = []
        for lock in body.inputs:
            coin = self.coins.get(lock)
            if coin is None:
                raise Rejected(f"input {lock} is missing or spent")
            found.append(coin)
        return found

    def _spend(self, one: Tx, height: int) -> Done:
        body = one.body
        coins = self.coins_of(body)
        if any(coin.matures is not None and coin.matures > height for coin in coins):
            raise Rejected("an input is not mature")
        total = sum(coin.amount for coin in coins)
        fee = total - sum(output.amount for output in body.outputs)
        if fee < 0:
            raise Rejected("outputs exceed inputs")
        if fee < self.fee_floor * tx.weight(body) and not one.forged:
            raise Rejected("fee below the floor")
        for lock in body.inputs:
            self._drop(self.coins, lock)
        senders = tuple(dict.fromkeys(coin.to for coin in coins))
        moves = self._outputs(one, senders[0])
        return Done(one.txid, senders, body.inputs, True, moves, fee, one)

    def _outputs(self, one: Tx, sender: bytes | None) -> tuple[Move, ...]:
        made = []
        names = one.places or tx.places(self.flavour, one.body.outputs)
        for place, output in zip(names, one.body.outputs, strict=True):
            lock = f"{one.txid}:{place.partition('/')[2]}"
            self._set(self.coins, lock, Coin(output.to, output.amount, one.matures))
            made.append(
                Move(
                    place,
                    NATIVE,
                    sender,
                    output.to,
                    output.amount,
                    output.amount,
                    None,
                    lock,
                    one.matures,
                )
            )
        return tuple(made)

    # --- balances -------------------------------------------------------------------------------

    def fee_of(self, body: Body) -> int:
        """What inclusion charges now: the floor on account chains, the whole fee on memo chains."""
        price = body.price if self.flavour is Flavour.MEMO else self.fee_floor
        return price * tx.weight(body)

    def _move(self, one: Tx) -> Done:
        body = one.body
        if not one.owners:  # from outside: the value comes from nowhere
            if self.flavour is Flavour.COIN:
                return Done(one.txid, (), (), True, self._outputs(one, None), 0, one)
            return Done(one.txid, (), (), True, self._credit(one, None), 0, one)
        sender = one.owners[0]
        fee = 0 if one.forged else self._charge(body, sender)
        locks: tuple[str, ...] = ()
        if body.sequence is not None:
            due = self.sequences.get(sender, 0)
            if body.sequence != due:
                raise Rejected(f"sequence {body.sequence}, the account is at {due}")
            locks = (balance_lock(self.flavour, sender, body.sequence),)
        ok = not one.fails and self._can(body, sender, fee)
        if body.sequence is not None:
            self._set(self.sequences, sender, body.sequence + 1)
        self._add(NATIVE, sender, -fee)
        moves = self._credit(one, sender) if ok else ()
        return Done(one.txid, (sender,), locks, ok, moves, fee, one)

    def _charge(self, body: Body, sender: bytes) -> int:
        if body.price < self.fee_floor:
            raise Rejected("fee below the floor")
        most = body.price * tx.weight(body)
        value = sum(output.amount for output in body.outputs if output.asset == NATIVE)
        kept = self.reserve if self.flavour is Flavour.MEMO else 0
        if self.balance(NATIVE, sender) < most + value + kept:
            raise Rejected("balance does not cover value, highest fee and reserve")
        return self.fee_of(body)

    def _can(self, body: Body, sender: bytes, fee: int) -> bool:
        """Whether it succeeds on chain: a failure still costs the fee and the lock."""
        if self.refused(body) is not None:
            return False
        need: dict[bytes, int] = {NATIVE: fee}
        for output in body.outputs:
            need[output.asset] = need.get(output.asset, 0) + output.amount
        return all(self.balance(asset, sender) >= amount for asset, amount in need.items())

    def refused(self, body: Body) -> str | None:
        """Why a recipient does not take it, or None: the dry run. `for good` unless it says not."""
        for output in body.outputs:
            if output.to in self.reverting:
                return "the recipient reverts"
            new = self.balance(NATIVE, output.to)
            if output.asset == NATIVE and self.reserve and new + output.amount < self.reserve:
                return "below the reserve of a new account"
        return None

    def _credit(self, one: Tx, sender: bytes | None) -> tuple[Move, ...]:
        made = []
        names = one.places or tx.places(self.flavour, one.body.outputs)
        for place, output in zip(names, one.body.outputs, strict=True):
            kept = output.amount * self.skim.get(output.asset, 0) // 10_000
            if sender is not None:
                self._add(output.asset, sender, -output.amount)
            self._add(output.asset, output.to, output.amount - kept)
            made.append(
                Move(
                    place,
                    output.asset,
                    sender,
                    output.to,
                    output.amount,
                    output.amount - kept,
                    output.memo,
                )
            )
        return tuple(made)

    # --- journal --------------------------------------------------------------------------------

    def _add(self, asset: bytes, key: bytes, amount: int) -> None:
        self._set(self.balances, (asset, key), self.balances.get((asset, key), 0) + amount)

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Any) -> None:
        self._journal.append((table, key, table.pop(key)))


def outputs(rows: Sequence[tuple[bytes, bytes, int, bytes | None]]) -> tuple[tx.Output, ...]:
    return tuple(tx.Output(*row) for row in rows)
