"""docs/performance.md: what was measured, beside what is asked for."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.harness import ROOT, Result, machine

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: written by the benchmark -->", "<!-- end of what was measured -->"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is, and what is asked of it."""

    what: str
    bound: float | None
    at_most: bool = True

    def met(self, value: float) -> bool | None:
        if self.bound is None:
            return None
        return value <= self.bound if self.at_most else value >= self.bound

    @property
    def text(self) -> str:
        if self.bound is None:
            return "–"
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


GOALS = {
    "S1": Goal("whole scan / download and typed decode", 1.1),
    "S1b": Goal("whole scan / a bare-socket client with the same decode", 1.5),
    "S2": Goal("AsyncWeb3 loop / scan", 80, at_most=False),
    "S3": Goal("`provider.make_request` loop / scan", 3.5, at_most=False),
    "S4": Goal("viem loop / scan", 30, at_most=False),
    "S5": Goal("ethereum-etl / scan", 80, at_most=False),
    "S6": Goal("cryo / scan", 5, at_most=False),
    "S7": Goal("throughput at 50 ms round trip / at 0", 0.85, at_most=False),
    "S8": Goal("scan with 1M addresses / with 1k", 1.15),
    "S9": Goal("scan with `trace_block` / download and decode of the same", 1.2),
    "M1": Goal("resident memory a million addresses, MB", 12),
    "M3": Goal("peak memory of a full-speed scan with 1M addresses, MB", 120),
    "I1": Goal("import of 10M addresses, s", 60),
    "I2": Goal("filter of 10M addresses at start, s", 5),
    "W1": Goal("withdrawals one by one / durable commits (0.85 over the commits of one)", None),
    "W2": Goal("withdrawals of a backlog / durable commits", 2.5, at_most=False),
    "W3": Goal("withdrawals against the sandbox / RSA of their calls", 0.7, at_most=False),
    "W4": Goal("withdrawals on anvil / the loop one writes with web3.py", 25, at_most=False),
    "W5": Goal("`eth_account.sign_transaction` / ours, identical bytes", 15, at_most=False),
    "N1": Goal("notifications a core / RSA operations alone", 0.85, at_most=False),
    "L1": Goal("head seen → notification sent, p95, ms", 12),
}


def table(found: Sequence[Result]) -> str:
    """One row a figure."""
    lines = ["| id | what | goal | median | spread | |", "|---|---|---|---|---|---|"]
    for one in found:
        goal = GOALS.get(one.id, Goal(one.note, None))
        met = goal.met(one.value)
        sign = {True: "met", False: "**not met**", None: ""}[met]
        spread = f"{min(one.runs):.3g} … {max(one.runs):.3g}"
        lines.append(
            f"| {one.id} | {goal.what} | {goal.text} | {one.value:.3g} | {spread} | {sign} |"
        )
    return "\n".join(lines)


def details(found: Sequence[Result]) -> str:
    """The absolute numbers behind the ratios."""
    lines = []
    for one in found:
        if one.detail or one.note:
            told = "; ".join(f"{key} {value}" for key, value in (one.detail or {}).items())
            lines.append(f"- **{one.id}** {one.note}{': ' if one.note and told else ''}{told}")
    return "\n".join(lines)


def write(found: Sequence[Result], arguments: Sequence[str], load: float) -> None:
    """Put the measured part into the page; what people wrote around it stays."""
    version = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    ).stdout.strip()  # fmt: skip
    runs = statistics.median([len(one.runs) for one in found]) if found else 0
    part = f"""{BEGIN}

Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at {version or "no commit"} on {machine()}; load
{load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; medians of {runs:g} runs.
Command: `python -m benchmarks {" ".join(arguments)}`.

{table(found)}

{details(found)}

{END}"""
    page = PAGE.read_text() if PAGE.exists() else f"# Speed\n\n{BEGIN}\n{END}\n"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: part, page))
