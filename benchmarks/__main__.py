"""`make bench`: every figure, one JSON object a line, and docs/performance.md.

python -m benchmarks                 all of it
python -m benchmarks --quick         small, without the slow peers; what CI holds to a baseline
python -m benchmarks --only S1,N1    some figures
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import memory, notifying, paying, report, scanning
from benchmarks.harness import Result, progress, workplace

QUICK = ("S1", "S1b", "S2", "S3", "S8", "W1", "N1")
EVERY = (*scanning.IDS, "M1", "I1", "I2", *paying.IDS, *notifying.IDS)


def results(folder: Path, wanted: frozenset[str], *, quick: bool, times: int) -> Iterator[Result]:
    """Every wanted figure, as soon as it is there."""
    blocks, addresses = (200, 20_000) if quick else (1000, 1_000_000)
    yield from scanning.run(folder, wanted, blocks=blocks, addresses=addresses, times=times)
    yield from memory.run(folder, wanted, blocks=blocks, addresses=addresses, times=times)
    yield from paying.run(folder, wanted, count=10 if quick else 50, times=times)
    yield from notifying.run(folder, wanted, count=40 if quick else 200, times=times)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, without the slow peers")
    parser.add_argument("--only", default="", help="ids, joined by commas")
    parser.add_argument("--times", type=int, default=0, help="runs a figure (3)")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md anyway")
    given = parser.parse_args()
    every = QUICK if given.quick else EVERY
    wanted = frozenset(given.only.split(",")) if given.only else frozenset(every)
    unknown = sorted(wanted - set(EVERY))
    if unknown:
        parser.error(f"no such id: {', '.join(unknown)}; there are {', '.join(EVERY)}")
    found: list[Result] = []
    begun_load = os.getloadavg()[0]
    with workplace() as folder:
        for one in results(folder, wanted, quick=given.quick, times=given.times or 3):
            print(one.line(), flush=True)
            found.append(one)
    progress(f"load at the start {begun_load:.1f}, at the end {os.getloadavg()[0]:.1f}")
    if given.write or (not given.quick and not given.only):
        report.write(found, sys.argv[1:], begun_load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
