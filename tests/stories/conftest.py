"""Worlds for stories: `world` makes one on SQLite, `either` once on each kind of database."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from chain_adapter.sandbox.reference import ReferencePlugin, ReferenceSettings
from tests.stories.harness import World
from tests.stories.parts import make_keystore, make_platform_keys, quick_folder

MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture(scope="session")
def templates() -> Iterator[Path]:
    """Keys that take a second to make: one set for all stories of a session."""
    with quick_folder() as folder:
        for name, make in (("keys", make_keystore), ("platform", make_platform_keys)):
            (folder / name).mkdir()
            make(folder / name)
        yield folder


@dataclass(frozen=True, slots=True)
class Settings(ReferenceSettings):
    """The reference chain's settings with the key that memo chains are told by."""

    memo: bool = field(default=False, metadata={"doc": "one shared address, memos tell users"})


@pytest.fixture(autouse=True)
def memo_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReferencePlugin, "settings", Settings)


@pytest.fixture(autouse=True, scope="session")
def no_log() -> Iterator[None]:
    """Stories make thousands of lines that nobody reads."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory."""
    with quick_folder() as path:
        yield path


@pytest.fixture
async def worlds(templates: Path) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Makes worlds on a given database; all are closed at the test's end."""
    async with AsyncExitStack() as stack:

        async def make(url: str, *, fund: bool = True, start: bool = True, **options: Any) -> World:
            folder = stack.enter_context(quick_folder())
            made = World(folder, url.replace("FOLDER", str(folder)), templates, **options)
            stack.push_async_callback(made.close)
            return await made.open(fund=fund) if start else made

        yield make


@pytest.fixture
def world(worlds: MakeWorld) -> MakeWorld:
    """`await world(...)`: a world on a SQLite file."""

    async def make(**options: Any) -> World:
        return await worlds("sqlite:///FOLDER/adapter.db", **options)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def story_url(request: pytest.FixtureRequest) -> str:
    """Where the books stand; of a file, `FOLDER` is the world's own."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return "sqlite:///FOLDER/adapter.db"


@pytest.fixture
def either(story_url: str, worlds: MakeWorld) -> MakeWorld:
    """`await either(...)`: a world on SQLite, and in another test on PostgreSQL."""

    async def make(**options: Any) -> World:
        return await worlds(story_url, **options)

    return make
