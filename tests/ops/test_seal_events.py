"""Events in sealed segments: the last hash of one opens the next, and a change is found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.stories.harness import World

MakeWorld = Callable[..., Awaitable[World]]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "seal_events.py"


def run(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).strip()


async def test_segments_fit_each_other_and_a_change_is_found(
    world: MakeWorld, tmp_path: Path
) -> None:
    w = await world()
    order = await w.order("1")
    await w.until(w.ended(order))
    common = ("--config", w.config_file, "--scope", "ref")
    status, one = run(*common, "--to", 5, tmp_path)
    assert status == 0, one
    status, other = run(*common, "--from", 6, "--to", 12, tmp_path)
    assert status == 0, other
    status, said = run("--verify", other, one)
    assert (status, said.partition(": ")[0]) == (0, "ref 1 to 12")
    status, said = run(*common, "--to", 5, tmp_path)
    assert (status, "never written twice" in said) == (2, True)
    status, said = run(*common, "--to", 10**6, tmp_path)
    assert (status, "has events 1 to" in said) == (2, True)
    lines = Path(other).read_text().splitlines()
    changed = json.loads(lines[3])
    changed["subject"] = "payout:999"
    for text in ("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]), "\n".join(lines[:-1])):
        broken = tmp_path / "broken.jsonl"
        broken.write_text(text + "\n")
        assert run("--verify", one, broken)[0] == 2
    third = run(*common, "--from", 13, "--to", 14, tmp_path)[1]
    status, said = run("--verify", one, third)
    assert (status, "does not open with" in said) == (2, True)
