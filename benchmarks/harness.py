"""Processes of the benchmarks, medians and spread, and the one line a result is."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workload import TOKEN, TOKEN_DECIMALS, watched

ROOT = Path(__file__).resolve().parent.parent
SEED = 1
PROGRAM = [sys.executable, "-m", "chain_adapter.cli"]


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: the median of `runs`. `detail` holds the absolute numbers behind it."""

    id: str
    runs: Sequence[float]
    note: str = ""
    unit: str = "ratio"
    detail: dict[str, Any] | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    def line(self) -> str:
        """As `make bench` prints it."""
        value: dict[str, Any] = {
            "id": self.id,
            "value": round(self.value, 4),
            "unit": self.unit,
            "runs": [round(run, 4) for run in self.runs],
        }
        if self.note:
            value["note"] = self.note
        if self.detail:
            value["detail"] = self.detail
        return json.dumps(value)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two measurements taken in turn, so that what disturbs one disturbs the other."""

    first: list[float]
    second: list[float]

    @property
    def ratios(self) -> list[float]:
        return [one / two for one, two in zip(self.first, self.second, strict=True)]

    @property
    def best(self) -> float:
        """The least of each, divided: a neighbour's noise only ever adds."""
        return min(self.first) / min(self.second)


def paired(first: Callable[[], float], second: Callable[[], float], times: int = 3) -> Paired:
    """Measure in turn: first, second, first, second …"""
    pair = Paired([], [])
    for _ in range(times):
        pair.first.append(first())
        pair.second.append(second())
    return pair


class Failed(SystemExit):
    """A part of the benchmark did not run; its words are shown."""

    def __init__(self, command: Sequence[str], error: str) -> None:
        super().__init__(f"{' '.join(command[:6])} failed:\n{error[-2000:]}")


def run_json(command: Sequence[str], **environment: str) -> Any:
    """Run a process to its end; the JSON it printed last."""
    done = subprocess.run(
        list(command), cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        raise Failed(command, done.stderr or done.stdout)
    text = done.stdout.strip()
    return json.loads(text if text.startswith("{\n") else text.splitlines()[-1])


@contextmanager
def replay(blocks: int, *, delay_ms: float = 0, traces: bool = False) -> Iterator[str]:
    """A replay server in a process of its own; its URL."""
    command = [
        sys.executable, "-m", "benchmarks.replay", "--seed", str(SEED), "--blocks", str(blocks),
        "--delay-ms", str(delay_ms), *(["--traces"] if traces else []),
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield str(json.loads(server.stdout.readline())["url"])
    finally:
        server.kill()
        server.wait()


def contender(name: str, url: str, blocks: int) -> dict[str, Any]:
    """Run one contender to its end; what it printed."""
    command = [sys.executable, "-m", "benchmarks.contenders", name, url, str(blocks)]
    return dict(run_json(command))


def program(*arguments: str) -> Any:
    """Run a command of ours; its JSON."""
    return run_json([*PROGRAM, *arguments])


class Books:
    """A folder with a configuration for the workload's chain and so many addresses of ours."""

    def __init__(self, folder: Path, addresses: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "adapter.toml"
        self.write("http://127.0.0.1:1")
        listed = folder / "addresses.txt"
        with listed.open("w") as file:
            file.writelines(f"{one}\n" for one in watched(SEED, addresses))
        began = time.perf_counter()
        program("addresses", "import", str(listed), "--config", str(self.config),
                "--chain", "bench", "--json")  # fmt: skip
        self.import_s = time.perf_counter() - began
        listed.unlink()

    def write(self, url: str, *, traces: bool = False, **token: str) -> None:
        """The configuration. `token`: further keys of the token's table."""
        more = "\n".join(f'{key} = "{value}"' for key, value in token.items())
        self.config.write_text(
            f'''[database]
url = "sqlite:///adapter.db"
[chains.bench]
plugin = "evm"
confirmations = 12
[chains.bench.node]
endpoints = ["{url}"]
traces = "{"required" if traces else "off"}"
[chains.bench.assets.ETH]
decimals = 18
[chains.bench.assets.USDT]
contract = "{TOKEN}"
decimals = {TOKEN_DECIMALS}
{more or 'balance_proof = "off"'}
'''
        )

    def scan(
        self, url: str, blocks: int, *, traces: bool = False, record: bool = True
    ) -> dict[str, Any]:
        """`chain-adapter scan --record`: durable tip and deposits, as the daemon would."""
        self.write(url, traces=traces)
        file = self.folder / "record.db"
        found = program(
            "scan", "--config", str(self.config), "--chain", "bench", "--from", "1",
            "--to", str(blocks), "--json",
            *(["--record", f"sqlite:///{file}"] if record else []),
        )  # fmt: skip
        for left in self.folder.glob(f"{file.name}*"):
            left.unlink()
        return dict(found)


def commits_per_s(folder: Path, seconds: float = 1.0) -> float:
    """Durable commits of one row, one after another, that this disk makes in a second."""
    path = folder / "floor.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("COMMIT")
        count += 1
    rate = count / (time.perf_counter() - began)
    connection.close()
    for left in folder.glob("floor.db*"):
        left.unlink()
    return rate


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder on the disk that the benchmarks run on, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chain-adapter-bench-") as name:
        yield Path(name)


def progress(text: str) -> None:
    """On standard error."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """What a reader must know of the machine."""
    model = "unknown processor"
    with Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} cores of {model}, Python {sys.version.split()[0]}"


def check(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """A run counts only if the deposit list is exact."""
    if sorted(found) != sorted(expected):
        raise SystemExit(f"the deposit list is wrong: {len(found)} found, {len(expected)} expected")
