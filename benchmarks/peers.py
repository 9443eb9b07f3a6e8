"""Other programs that read the same blocks, where they can be had.

AsyncWeb3 is installed anyway; viem stands in node_modules; ethereum-etl and cryo come from PyPI
into an environment of their own under build/, made at the first full run. What a peer finds is
not ours to check: they are given the easier task of reading and decoding only.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, contender, progress

ENVIRONMENT = ROOT / "build" / "bench-peers"
PACKAGES = {"ethereum-etl": ("ethereum-etl",), "cryo": ("cryo", "polars", "pyarrow")}
Take = Callable[[str, int], dict[str, Any]]


def taker(name: str) -> Take | None:
    """How to run a peer over blocks 1 to N of a URL; None where it cannot be had."""
    if name in ("web3", "requests"):
        return lambda url, blocks: contender(name, url, blocks)
    if name == "viem":
        return _viem if shutil.which("node") and (ROOT / "node_modules" / "viem").is_dir() else None
    python = _environment(name)
    if python is None:
        return None
    return {"ethereum-etl": _ethereum_etl, "cryo": _cryo}[name](python)


def _viem(url: str, blocks: int) -> dict[str, Any]:
    script = ROOT / "benchmarks" / "viem_loop.mjs"
    done = subprocess.run(
        ["node", str(script), url, str(blocks)], cwd=ROOT, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def _environment(name: str) -> Path | None:
    """The Python of an environment that has the peer; None where it cannot be installed."""
    place = ENVIRONMENT / name
    python = place / "bin" / "python"
    if (place / "ready").exists():
        return python
    progress(f"installing {name} under {place.relative_to(ROOT)}")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--prefer-binary", *PACKAGES[name]],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            progress(f"{name}: {done.stderr.strip()[-300:]}")
            return None
    (place / "ready").touch()
    return python


def _timed(commands: Sequence[Sequence[str]], folder: str) -> dict[str, Any]:
    """Wall and CPU seconds of commands run one after another."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{command[:6]} failed: {done.stderr[-800:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu}


def _less_start(commands: Callable[[int], Sequence[Sequence[str]]], blocks: int) -> dict[str, Any]:
    """What the blocks cost, without what the program's own start costs."""
    with tempfile.TemporaryDirectory() as folder:
        start = _timed(commands(1), folder)
    with tempfile.TemporaryDirectory() as folder:
        whole = _timed(commands(1 + blocks), folder)
    return {name: max(whole[name] - start[name], 1e-6) for name in whole}


def _ethereum_etl(python: Path) -> Take:
    tool = str(python.parent / "ethereumetl")

    def commands(url: str, last: int) -> list[list[str]]:
        common = ["-s", "1", "-e", str(last), "-p", url, "-w", "1"]
        return [
            [tool, "export_blocks_and_transactions", *common,
             "--blocks-output", "b.csv", "--transactions-output", "t.csv"],
            [tool, "export_token_transfers", *common, "--output", "l.csv"],
        ]  # fmt: skip

    return lambda url, blocks: _less_start(lambda last: commands(url, last), blocks - 1)


def _cryo(python: Path) -> Take:
    tool = str(python.parent / "cryo")
    code = (
        "import sys, cryo; url, last = sys.argv[1:]; "
        "[cryo.collect(kind, blocks=['1:' + str(int(last) + 1)], rpc=url, hex=True, "
        "no_verbose=True) for kind in ('transactions', 'logs')]"
    )

    def commands(url: str, last: int) -> list[list[str]]:
        if Path(tool).exists():
            return [
                [tool, "transactions", "logs", "-b", f"1:{last + 1}", "--rpc", url, "--hex",
                 "-o", "out", "--no-report"]
            ]  # fmt: skip
        return [[str(python), "-c", code, url, str(last)]]

    return lambda url, blocks: _less_start(lambda last: commands(url, last), blocks - 1)
