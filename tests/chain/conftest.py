"""Ledgers of the reference chain that are gone after each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import pytest

from chain_adapter.sandbox.reference import ReferenceDevnet, ReferenceLedger

_serial = itertools.count()


def open_gate(_: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@pytest.fixture
def make_ledger() -> Iterator[Callable[..., ReferenceLedger]]:
    made: list[ReferenceLedger] = []

    def make(flavour: str = "account", **options: Any) -> ReferenceLedger:
        made.append(ReferenceLedger(f"t{next(_serial)}", flavour, **options))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


@pytest.fixture
def make_devnet(make_ledger: Callable[..., ReferenceLedger]) -> Callable[..., ReferenceDevnet]:
    return lambda *given, **options: ReferenceDevnet(make_ledger(*given, **options))
