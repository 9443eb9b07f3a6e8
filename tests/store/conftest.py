"""`books`: an empty ledger, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.books import Books


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    made = Books(database_url)
    yield made
    made.close()
