"""What CI holds: CPU seconds as ratios, against `baseline.json`; never wall time.

python -m benchmarks.gate            measure, compare, exit 1 if one got worse by a quarter
python -m benchmarks.gate --accept   measure and make it the baseline

The least of several runs counts: what a busy machine adds to CPU seconds is never negative.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import notifying, paying
from benchmarks.harness import SEED, Books, contender, replay, workplace
from benchmarks.scanning import Stand
from benchmarks.workload import make

BASELINE = Path(__file__).with_name("baseline.json")
WORSE = 1.25
BLOCKS, ADDRESSES, TIMES = 300, 5_000, 4


def calibration() -> float:
    """CPU seconds of a fixed piece of Python: what the CPU of a withdrawal is divided by."""

    def once() -> float:
        began = time.process_time()
        found = {str(number): number for number in range(60_000)}
        sorted(json.loads(json.dumps(found)))
        return time.process_time() - began

    return min(once() for _ in range(5))


def scan(folder: Path) -> float:
    """S1: a recorded scan over download and typed decode."""
    stand = Stand(make(SEED, BLOCKS), Books(folder / "scan", ADDRESSES), BLOCKS, 1)
    ours, floor = [], []
    with replay(BLOCKS) as url:
        for _ in range(TIMES):
            ours.append(stand.cpu(url))
            floor.append(float(contender("decode", url, BLOCKS)["cpu"]))
    return min(ours) / min(floor)


def withdrawal(folder: Path) -> float:
    """CPU of a withdrawal from stored order to claim, in calibrations."""
    (result,) = paying.run(folder, {"W1"}, count=12, times=2)
    assert result.detail is not None
    return float(min(result.detail["cpu_ms_a_withdrawal"])) / 1000 / calibration()


def notification(folder: Path) -> float:
    """Our CPU of a notification over that of its RSA."""
    (result,) = notifying.run(folder, {"N1"}, count=40, times=2)
    return 1 / max(result.runs)


MEASURES: dict[str, Callable[[Path], float]] = {
    "scan": scan,
    "withdrawal": withdrawal,
    "notification": notification,
}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--accept", action="store_true")
    accept = parser.parse_args().accept
    before = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found = {}
    worse = []
    with workplace() as folder:
        for name, measure in MEASURES.items():
            found[name] = round(measure(folder), 4)
            if not accept and found[name] > before[name] * WORSE:
                worse.append(name)
    print(json.dumps({"found": found, "baseline": before, "worse": worse}))
    if accept:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
