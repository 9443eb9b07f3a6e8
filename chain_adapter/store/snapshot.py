"""The books as of one moment, for whoever reads them as a whole beside a running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from chain_adapter.errors import StoreError
from chain_adapter.store.store import Store, Tx


@contextmanager
def snapshot(store: Store) -> Iterator[Tx]:
    """A reading transaction that sees one state of the books from its first question to its last.

    Raises `StoreError`.
    """
    try:
        with store.engine.connect() as connection:
            if store.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            try:
                yield Tx(connection, int(store.clock.now().timestamp() * 1_000_000), store.session)
            finally:
                connection.rollback()
    except DBAPIError as error:
        why = str(error.orig or error).strip().splitlines()[0][:300]
        raise StoreError(f"database: {why}") from error
