"""Processes of the benchmarks, medians and spread, and the one line a result is."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
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
    """One figure: the median of `runs`."""

    id: str
    runs: list[float]
    note: str = ""
    unit: str = "ratio"

    def line(self) -> str:
        """As `make bench` prints it."""
        value = {
            "id": self.id,
            "value": round(statistics.median(self.runs), 4),
            "unit": self.unit,
            "runs": [round(run, 4) for run in self.runs],
        }
        if self.note:
            value["note"] = self.note
        return json.dumps(value)


def ratios(first: Callable[[], float], second: Callable[[], float], times: int = 3) -> list[float]:
    """first / second, pair by pair, the two in turn."""
    return [first() / second() for _ in range(times)]


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
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.contenders", name, url, str(blocks)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def program(*arguments: str) -> Any:
    """Run a command of ours; its JSON."""
    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


class Books:
    """A folder with a configuration for the workload's chain and so many addresses of ours."""

    def __init__(self, folder: Path, addresses: int) -> None:
        self.folder = folder
        self.config = folder / "adapter.toml"
        self._write("http://127.0.0.1:1")
        listed = folder / "addresses.txt"
        listed.write_text("\n".join(watched(SEED, addresses)) + "\n")
        program("addresses", "import", str(listed), "--config", str(self.config),
                "--chain", "bench", "--json")  # fmt: skip
        self._records = 0

    def _write(self, url: str, *, traces: bool = False) -> None:
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
balance_proof = "off"
'''
        )

    def scan(self, url: str, blocks: int, *, traces: bool = False) -> dict[str, Any]:
        """`chain-adapter scan --record`: durable tip and deposits, as the daemon would."""
        self._write(url, traces=traces)
        self._records += 1
        record = self.folder / f"record{self._records}.db"
        found = program(
            "scan", "--config", str(self.config), "--chain", "bench", "--from", "1",
            "--to", str(blocks), "--json", "--record", f"sqlite:///{record}",
        )  # fmt: skip
        for left in self.folder.glob(f"{record.name}*"):
            left.unlink()
        return dict(found)


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
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"


def check(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """A run counts only if the deposit list is exact."""
    if sorted(found) != sorted(expected):
        raise SystemExit(f"the deposit list is wrong: {len(found)} found, {len(expected)} expected")
