"""The books as commands use them: opened by configuration, read in one go, changed in one go.

A command opens the ledger, runs one unit in a short transaction of its own beside a running
daemon, and closes it. Only `keys init` and `addresses import` make a ledger that is not there.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, select
from sqlalchemy.exc import SQLAlchemyError

from chain_adapter.clock import SystemClock
from chain_adapter.config import Config
from chain_adapter.errors import UnknownRow, Unreachable
from chain_adapter.store import ledger
from chain_adapter.store.store import Store, Tx


@contextmanager
def opened(config: Config) -> Iterator[Store]:
    """The ledger of the configuration, closed at the end.

    Raises `LedgerMismatch` (there is none), `SchemaMismatch`, `Unreachable`.
    """
    store = ledger.open_ledger(config.require_database().connect_url(), SystemClock())
    try:
        yield store
    except SQLAlchemyError as error:
        raise Unreachable(f"the database does not answer: {type(error).__name__}") from error
    finally:
        store.close()


def operator() -> str:
    """Who gives this command: the login name, and behind sudo the name before it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    return f"{before} as {name}" if before and before != name else name


@dataclass(frozen=True, slots=True)
class Keyed:
    """How rows of a table are named on the command line: by id, or by another column."""

    table: Table
    word: str
    others: tuple[str, ...] = ()

    def row(self, tx: Tx, text: str) -> Row[Any]:
        """The one row that `text` names. Raises `UnknownRow`, also when there are several.

        A whole number is the id that the lists show; only if there is no such row, it may be
        what the platform calls it.
        """
        columns = self.table.c
        if text.isascii() and text.isdigit() and int(text) < 2**63:
            found = tx.one(select(self.table).where(columns.id == int(text)))
            if found is not None:
                return found
        for other in self.others:
            rows = tx.all(select(self.table).where(columns[other] == text).limit(3))
            if len(rows) == 1:
                return rows[0]
            if rows:
                ids = ", ".join(str(row.id) for row in rows)
                raise UnknownRow(f"{text} names several: say which by its id ({ids} …)")
        raise UnknownRow(f"there is no {self.word} {text!r}")
