"""Fixtures of the watcher's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.watching import MakeRoom, Room


@pytest.fixture
def room(database_url: str) -> Iterator[MakeRoom]:
    made: list[Room] = []

    def make(**options: Any) -> Room:
        made.append(Room(database_url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
