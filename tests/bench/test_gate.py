"""The quick part of the benchmark: no CPU ratio may get worse by a quarter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import Paired, Result
from benchmarks.report import GOALS, table
from benchmarks.workload import LOGS, TRANSACTIONS, make

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_ratio_got_worse_by_a_quarter() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gate"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"].keys() == told["baseline"].keys()
    assert not told["worse"], told
    assert done.returncode == 0


def test_the_workload_is_the_same_from_the_same_seed() -> None:
    one, other = make(3, 6, traces=True), make(3, 6, traces=True)
    assert one == other
    assert make(4, 6).blocks != one.blocks


def test_blocks_are_what_the_page_says() -> None:
    work = make(1, 12)
    for height, raw in enumerate(work.blocks, 1):
        block = json.loads(raw)
        txs = block["transactions"]
        assert len(txs) == TRANSACTIONS
        assert len(json.loads(work.logs[block["hash"]])) == LOGS
        assert sum(tx["value"] != "0x0" for tx in txs) == TRANSACTIONS * 4 // 10
        assert int(block["number"], 16) == height
    assert {one.asset for one in work.expected} == {"ETH", "USDT"}


def test_a_ratio_is_told_with_its_runs() -> None:
    pair = Paired([2.0, 3.0, 8.0], [1.0, 2.0, 2.0])
    told = json.loads(Result("S1", pair.ratios).line())
    assert told == {"id": "S1", "value": 2.0, "unit": "ratio", "runs": [2.0, 1.5, 4.0]}
    assert pair.best == 2.0


def test_the_page_says_what_is_met_and_what_is_not() -> None:
    met, unmet = Result("S7", [0.9]), Result("S1", [1.5, 1.2, 1.3])
    text = table([met, unmet])
    assert "| 0.9 | 0.9 … 0.9 | met |" in text
    assert "| 1.3 | 1.2 … 1.5 | **not met** |" in text
    assert all(goal.what for goal in GOALS.values())
