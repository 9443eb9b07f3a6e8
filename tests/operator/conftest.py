"""Worlds of the stories with the command line beside them: what operators do, as they do it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

from chain_adapter import cli
from chain_adapter.clock import SystemClock
from chain_adapter.store.store import Store, sqlite_path
from tests.stories.conftest import (  # noqa: F401 - fixtures
    MakeWorld,
    either,
    story_url,
    templates,
    world,
    worlds,
)


@dataclass(slots=True)
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


_speaking = threading.Lock()


def run(config: Path, *words: str) -> Answer:
    """A command in this process, on a configuration."""
    out, err = io.StringIO(), io.StringIO()
    with _speaking, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.execute([*words, "--config", str(config)])
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


async def command(config: Path, *words: str) -> Answer:
    """As `run`, beside a running loop."""
    return await asyncio.to_thread(run, config, *words)


async def done(config: Path, *words: str) -> Any:
    """The JSON answer of a command that must succeed."""
    answer = await command(config, *words, "--json")
    assert answer.status == 0, answer.err or answer.out
    return answer.document


async def sound(config: Path) -> None:
    """`db check` finds nothing."""
    answer = await command(config, "db", "check", "--json")
    assert answer.status == 0, answer.out


def lose(url: str) -> None:
    """The database is gone: every table, or the file with all beside it."""
    path = sqlite_path(url)
    if path is not None:
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        return
    store = Store(url, SystemClock())
    with store.engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            connection.execute(text(f'DROP TABLE "{name}" CASCADE'))
    store.close()
