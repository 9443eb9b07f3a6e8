"""The funded key of a reference ledger: signs payments like anybody else, for tests and devnets."""

from __future__ import annotations

import itertools

import coincurve

from chain_adapter.chain import Rejected
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_mempool import Mempool
from chain_adapter.sandbox.reference_state import State
from chain_adapter.sandbox.reference_tx import NATIVE, Body, Flavour, Output, Signed


class Faucet:
    """Builds and signs payments from one private key over a `State`."""

    def __init__(self, private_key: bytes, state: State) -> None:
        self._private_key = private_key
        self._public = coincurve.PrivateKey(private_key).public_key.format()
        self._state = state
        self._serial = itertools.count()
        self.key = tx.key_of(state.flavour, self._public)

    def payment(self, paid: Output, pool: Mempool, expires: int | None) -> bytes:
        """The signed bytes of one payment, beside what is pending already."""
        flavour = self._state.flavour
        price = 2 * self._state.fee_floor
        if flavour is Flavour.COIN:
            inputs, amounts, change = self._coins(paid.amount, pool)
            rest = (Output(NATIVE, self.key, change, None),) if change else ()
            made = (paid, *rest)
            body = Body(flavour, pool.binds, b"", None, inputs, 0, made, None, b"")
        else:
            sequence = self._sequence(pool) if expires is None else None
            salt = b"" if expires is None else next(self._serial).to_bytes(8)
            body = Body(
                flavour, pool.binds, self._public, sequence, (), price, (paid,), expires, salt
            )
            amounts = ()
        data = tx.encode(body)
        digests = tx.digests(data, [(self._public, amount) for amount in amounts])
        shown = self._public if flavour is Flavour.COIN else b""
        signatures = tuple(tx.sign(self._private_key, one) + shown for one in digests)
        return tx.encode(Signed(data, signatures))

    def _sequence(self, pool: Mempool) -> int:
        sequence = self._state.sequences.get(self.key, 0)
        while f"{tx.spell(self._state.flavour, self.key)}/{sequence}" in pool.by_lock:
            sequence += 1
        return sequence

    def _coins(self, amount: int, pool: Mempool) -> tuple[tuple[str, ...], tuple[int, ...], int]:
        """Locks and amounts of free coins that cover `amount` and a fee, and what comes back."""
        locks: list[str] = []
        total = need = 0
        for lock, coin in self._state.coins.items():
            if coin.to != self.key or lock in pool.by_lock:
                continue
            locks.append(lock)
            total += coin.amount
            need = amount + 2 * self._state.fee_floor * (2 * len(locks) + 2)
            if total >= need:
                amounts = tuple(self._state.coins[one].amount for one in locks)
                return tuple(locks), amounts, total - need
        raise Rejected("the faucet has no free coins left: mine a block first")
