"""The soak, for as long as a test may take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("soak.py")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_soak_ends_with_nothing_doubled_and_nothing_lost() -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--minutes", "0.3", "--kill-every", "4"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    last = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 0, f"{last}\n{run.stderr[-2000:]}"
    assert last["ok"]
    assert last["kills"] >= 1
    assert last["credited"] == last["deposits"] > 0
    assert last["paid"] == last["asked"] > 0
