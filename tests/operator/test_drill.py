"""`make drill`, as an operator runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_drill_loses_nothing_and_doubles_nothing() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/drill.py", "--deposits", "2", "--withdrawals", "1", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    assert made.returncode == 0, f"{made.stdout}\n{made.stderr}"
    report = json.loads(made.stdout)
    assert report["ok"]
    assert report["problems"] == []
    assert (report["deposits"]["doubled"], report["deposits"]["missing"]) == (0, 0)
    assert report["withdrawals"]["doubled"] == 0
    assert set(report["difference_base_units"].values()) == {0}


def test_make_knows_it() -> None:
    assert "scripts/drill.py" in (ROOT / "Makefile").read_text()
