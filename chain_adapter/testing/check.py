"""What a check is, and the runner for those who have no pytest at hand.

A check is one async function over a `Bench`; its docstring says what the plugin must do, `law` the
rule it serves. `run_checks` runs all on one devnet, `run_live_checks` those that only read.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chain_adapter.chain import Asset, ChainError, Devnet, Plugin
from chain_adapter.testing.bench import Bench, Skip

CheckFunction = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing every plugin must do. `live`: it only reads, so any node will do."""

    name: str
    text: str  # the docstring
    law: str  # the rule it shows
    live: bool
    run: CheckFunction


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended. `detail` says why, unless it passed."""

    check: str
    law: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    seconds: float


CHECKS: list[Check] = []


def check(law: str, *, live: bool = False) -> Callable[[CheckFunction], CheckFunction]:
    """Add a function to `CHECKS` under its own name."""

    def add(function: CheckFunction) -> CheckFunction:
        name = getattr(function, "__name__", "?")
        CHECKS.append(Check(name, inspect.getdoc(function) or "", law, live, function))
        return function

    return add


async def run_checks(
    devnet: Devnet,
    plugin: Plugin,
    *,
    only: Sequence[str] = (),
    heard: Callable[[Result], None] | None = None,
    **bench: Any,
) -> list[Result]:
    """All checks (or `only` those named) on one devnet, which stays open. `heard` gets each result
    as it comes; further options are those of `Bench`."""
    await devnet.automine(None)
    made = Bench(plugin, devnet.node, devnet.assets, devnet, **bench)
    return await _run([one for one in CHECKS if not only or one.name in only], made, heard)


async def run_live_checks(
    plugin: Plugin,
    node: Mapping[str, Any],
    assets: Mapping[str, Asset],
    *,
    heard: Callable[[Result], None] | None = None,
    **bench: Any,
) -> list[Result]:
    """The checks that only read, against the first endpoint of a `[chains.X.node]` table."""
    made = Bench(plugin, node, assets, None, **bench)
    return await _run([one for one in CHECKS if one.live], made, heard)


async def _run(
    checks: Sequence[Check], bench: Bench, heard: Callable[[Result], None] | None
) -> list[Result]:
    results = []
    try:
        for one in checks:
            results.append(await _one(one, bench))
            if heard is not None:
                heard(results[-1])
    finally:
        await bench.close()
    return results


async def _one(one: Check, bench: Bench) -> Result:
    begun = time.monotonic()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    detail = ""
    try:
        await one.run(bench)
    except Skip as why:
        outcome, detail = "skipped", str(why)
    except AssertionError as error:
        outcome, detail = "failed", str(error)
    except (
        ChainError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        OSError,
        RuntimeError,
    ) as error:
        outcome, detail = "failed", f"{type(error).__name__}: {error}"
    return Result(one.name, one.law, outcome, detail, time.monotonic() - begun)
