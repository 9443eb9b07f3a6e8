"""`chain-adapter demo`: play the scenario, compare, print; exit 0 only if all agree to the unit."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chain_adapter.demo import report
from chain_adapter.demo.scenario import Scenario
from chain_adapter.demo.truth import Verdict, compare

DEPOSITS = 24
WITHDRAWALS = 12


async def play(chain: str, deposits: int, withdrawals: int, *, as_json: bool) -> int:
    """One round; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="chain-adapter-demo-"))
    scenario = Scenario(chain, folder)
    started = time.monotonic()
    verdict: Verdict | None = None
    try:
        await scenario.open(pool=deposits + 8)
        await scenario.deposits(max(deposits - 1, 0))
        await scenario.withdrawals(withdrawals)
        await scenario.settle(limit_s=120 + deposits + withdrawals)
        await scenario.collect(limit_s=180 + deposits)
        verdict = await compare(scenario)
    finally:
        await scenario.stack.aclose()
        if verdict is not None and verdict.ok:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs and state are kept in {folder}", file=sys.stderr)
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps(report.as_json(verdict, seconds)))
    else:
        print(report.as_text(scenario, verdict, seconds))
    return 0 if verdict.ok else 1


def main(chain: str, deposits: int | None, withdrawals: int | None, *, as_json: bool) -> int:
    """The command; None takes the usual number."""
    return asyncio.run(
        play(
            chain,
            DEPOSITS if deposits is None else deposits,
            WITHDRAWALS if withdrawals is None else withdrawals,
            as_json=as_json,
        )
    )
