"""M1, M3, I1, I2: what a million addresses weigh, a scan's peak, an import, a start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import PROGRAM, ROOT, SEED, Books, Result, progress, replay, run_json
from benchmarks.workload import watched

IDS = ("M1", "M3", "I1", "I2")
MILLION = 1_000_000

_LOAD = """
import gc, json, sys, time
from chain_adapter.clock import SystemClock
from chain_adapter.store import addresses, ledger

def resident():
    gc.collect()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

store = ledger.open_ledger(sys.argv[1], SystemClock())
store.read_now(lambda tx: addresses.load_filter(tx, "nobody"))
before, began, used = resident(), time.perf_counter(), time.process_time()
loaded = store.read_now(lambda tx: addresses.load_filter(tx, "bench"))
took, cpu = time.perf_counter() - began, time.process_time() - used
store.close()
print(json.dumps({"mb": resident() - before, "s": took, "cpu": cpu, "keys": len(loaded.every)}))
"""


def run(
    folder: Path, wanted: Container[str], *, blocks: int, addresses: int, times: int
) -> Iterator[Result]:
    """The memory figures among `wanted`; I1 and I2 with ten times as many addresses."""
    if not any(one in wanted for one in IDS):
        return
    if "M1" in wanted or "M3" in wanted:
        books = Books(folder / "memory", addresses)
        if "M1" in wanted:
            found = [_load(books) for _ in range(times)]
            runs = [one["mb"] * MILLION / one["keys"] for one in found]
            yield Result("M1", runs, f"{addresses} addresses", "MB a million")
        if "M3" in wanted:
            yield Result("M3", [_peak_of_scan(books, blocks) for _ in range(times)],
                         f"{addresses} addresses, {blocks} blocks", "MB")  # fmt: skip
        shutil.rmtree(folder / "memory")
    if "I1" in wanted or "I2" in wanted:
        yield from _many(folder / "ten", addresses * 10)


def _load(books: Books) -> dict[str, Any]:
    url = f"sqlite:///{books.folder / 'adapter.db'}"
    return dict(run_json([sys.executable, "-c", _LOAD, url]))


def _peak_of_scan(books: Books, blocks: int) -> float:
    with replay(blocks) as url:
        books.write(url)
        record = books.folder / "record.db"
        measured = _measured(
            [
                *PROGRAM, "scan", "--config", str(books.config), "--chain", "bench", "--from", "1",
                "--to", str(blocks), "--json", "--record", f"sqlite:///{record}",
            ]
        )  # fmt: skip
        for left in books.folder.glob(f"{record.name}*"):
            left.unlink()
        return measured["peak_mb"]


def _measured(command: Sequence[str]) -> dict[str, float]:
    """Wall, CPU and peak resident memory of a process and those it waited for."""
    began = time.perf_counter()
    process = subprocess.Popen(
        list(command), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed: {process.returncode}")
    return {
        "s": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def _many(folder: Path, count: int) -> Iterator[Result]:
    """I1: an import of so many; I2: the start with them."""
    folder.mkdir()
    progress(f"writing {count} addresses")
    books = Books.__new__(Books)
    books.folder, books.config = folder, folder / "adapter.toml"
    books.write("http://127.0.0.1:1")
    listed = folder / "addresses.txt"
    with listed.open("w") as file:
        file.writelines(f"{one}\n" for one in watched(SEED, count))
    done = _measured([*PROGRAM, "addresses", "import", str(listed), "--config", str(books.config),
                      "--chain", "bench", "--json"])  # fmt: skip
    detail = {name: round(value, 2) for name, value in done.items()}
    yield Result("I1", [done["s"]], f"import of {count} addresses", "s", detail)
    listed.unlink()
    start = _load(books)
    yield Result("I2", [start["s"]], f"filter of {count} addresses at start", "s",
                 {"cpu": round(start["cpu"], 2), "mb": round(start["mb"], 1)})  # fmt: skip
    shutil.rmtree(folder)
