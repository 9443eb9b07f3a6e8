"""Alone on the books: for commands that need the daemon stopped (`recover`, `db upgrade`).

SQLite: the lock beside the file, which a daemon holds for as long as it lives. PostgreSQL: the
lease row; a lease that is not renewed any more is outwaited, one that is renewed means a daemon
runs, and the command refuses.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import select

from chain_adapter.errors import AlreadyRunning, LeaseLost
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Lease, Store, Tx

LOOK_EVERY_S = 0.5


@contextmanager
def alone(store: Store, purpose: str, *, any_version: bool = False) -> Iterator[Lease]:
    """Hold lock and lease while the block runs; writes of `store` prove the lease.

    `purpose` ("recover", "upgrade") names the holder for whoever is refused meanwhile. Raises
    `AlreadyRunning` beside a daemon or another such command, `SchemaMismatch`.
    """
    lock = ledger.InstanceLock(store.url)
    lock.take()
    try:
        # Never the daemon's own instance name: that would take a living daemon's lease over.
        holder = f"{purpose} on {socket.gethostname()} ({os.getpid()})"
        lease = _outwait(store, holder, any_version=any_version)
        try:
            yield lease
        finally:
            if store.lease is not None:
                with suppress(LeaseLost):
                    ledger.end_lease(store)
    finally:
        lock.release()


def _outwait(store: Store, holder: str, *, any_version: bool) -> Lease:
    """The lease, at the latest when that of a daemon which was killed has run out."""
    found = _lease(store)
    end = time.monotonic() + ledger.LEASE_S + 2
    while True:
        try:
            return ledger.take_lease(store, holder, any_version=any_version)
        except AlreadyRunning:
            if _lease(store) != found or time.monotonic() > end:
                raise  # it is renewed: somebody lives
        time.sleep(LOOK_EVERY_S)


def _lease(store: Store) -> tuple[str, int, int] | None:
    leases = schema.leases

    def unit(tx: Tx) -> tuple[str, int, int] | None:
        row = tx.one(select(leases).where(leases.c.name == ledger.LEASE_NAME))
        return None if row is None else (row.holder, row.fence, row.expires_at)

    return store.read_now(unit)


def is_taken(store: Store) -> bool:
    """Whether a daemon, or a command that is alone, worked on these books within a lease's time.

    The lease alone is asked: trying the lock could turn a daemon away that is just starting.
    """
    row = _lease(store)
    return row is not None and row[2] > store.read_now(ledger.database_now)
