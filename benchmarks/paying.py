"""W1, W2: withdrawals from stored order to signed and claimed, against durable commits.

The payer with the reference chain in memory, the signer embedded, the platform in this process:
what is left is decisions, the journal's and the books' commits.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from coincurve import PrivateKey

from benchmarks import stage
from benchmarks.harness import Result, commits_per_s
from chain_adapter.chain import Asset
from chain_adapter.platform_api.messages import WithdrawalNotice
from chain_adapter.sandbox.reference import NATIVE_NAMES, ReferenceLedger
from chain_adapter.sandbox.reference_tx import Flavour, key_of

IDS = ("W1", "W2")
SYMBOL = NATIVE_NAMES[Flavour.ACCOUNT]


@dataclass(frozen=True, slots=True)
class Took:
    """One series of withdrawals."""

    rate: float
    commits: float  # a withdrawal
    cpu_ms: float  # a withdrawal


def run(folder: Path, wanted: Container[str], *, count: int, times: int) -> Iterator[Result]:
    """The figures among `wanted`."""
    if not any(one in wanted for one in IDS):
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield from asyncio.run(_run(folder / "paying", wanted, count, times))


async def _run(folder: Path, wanted: Container[str], count: int, times: int) -> list[Result]:
    folder.mkdir()
    chain = ReferenceLedger("bench", Flavour.ACCOUNT, block_time_s=1)
    platform = stage.Instant(folder / "platform")
    stage.make_keys(folder, stage.plugin_named("reference"), Asset(SYMBOL, None, 18))
    config = stage.write_config(
        folder, plugin="reference", app_id=platform.app_id, asset=SYMBOL,
        node=f'endpoints = ["{chain.url()}"]\nflavour = "account"',
    )  # fmt: skip
    series: dict[str, list[tuple[Took, float]]] = {"W1": [], "W2": []}
    async with stage.running(config, ("watcher", "payer", "courier"), platform) as daemon:
        chain.give([(daemon.accounts.hot(stage.CHAIN).address, 10**30)])
        chain.mine(5)
        watcher = daemon.watchers[stage.CHAIN]
        await stage.reached(lambda: watcher.progress.settled_height >= chain.height)
        bench = Bench(daemon, platform, chain)
        await bench.take(3, one_by_one=True)  # warm
        for _ in range(times):
            for name, size, lonely in (("W1", count, True), ("W2", count * 4, False)):
                if name not in wanted:
                    continue
                before = commits_per_s(folder, 0.5)
                took = await bench.take(size, one_by_one=lonely)
                series[name].append((took, (before + commits_per_s(folder, 0.5)) / 2))
    chain.close()
    return [_result(name, runs) for name, runs in series.items() if runs]


def _result(name: str, runs: list[tuple[Took, float]]) -> Result:
    commits = sum(took.commits for took, _ in runs) / len(runs)
    rates = [took.rate / floor for took, floor in runs]
    note = f"withdrawals/s over durable commits/s; {commits:.2f} commits a withdrawal"
    detail = {
        "commits_a_withdrawal": round(commits, 2),
        "rate": [round(took.rate, 1) for took, _ in runs],
        "durable_commits": [round(floor, 1) for _, floor in runs],
        "cpu_ms_a_withdrawal": [round(took.cpu_ms, 2) for took, _ in runs],
        "of_what_its_commits_allow": round(commits * sum(rates) / len(rates), 3),
    }
    return Result(name, rates, note, detail=detail)


class Bench:
    """Stores orders and waits until the platform has heard of each."""

    def __init__(
        self, daemon: stage.BenchDaemon, platform: stage.Instant, chain: ReferenceLedger
    ) -> None:
        self._daemon = daemon
        self._platform = platform
        self._chain = chain
        self._random = random.Random(5)
        self._claimed = 0
        self._news = asyncio.Event()
        platform.told = self._told
        courier = daemon._courier
        changed = courier._on_change

        def on_change() -> None:
            changed()
            self._news.set()

        courier._on_change = on_change

    def _told(self, notice: WithdrawalNotice) -> None:
        if notice.confirm == 0:
            self._claimed += 1

    def _recipients(self, count: int) -> list[str]:
        return [
            self._chain.address(
                key_of(
                    Flavour.ACCOUNT,
                    PrivateKey(self._random.randbytes(32)).public_key.format(),
                )
            )
            for _ in range(count)
        ]

    async def take(self, count: int, *, one_by_one: bool) -> Took:
        """`count` withdrawals; time runs from stored orders to the last committed claim."""
        rows = stage.new_orders(SYMBOL, self._recipients(count), "0.001")
        groups = [[row] for row in rows] if one_by_one else [rows]
        wall = cpu = 0.0
        commits = 0
        for group in groups:
            await self._quiet()
            await stage.store_orders(self._daemon, self._platform, group)
            wanted = self._claimed + len(group)
            before, began, used = self._daemon.commits, time.perf_counter(), time.process_time()
            self._daemon.wake("payer")
            async with asyncio.timeout(120):
                while self._claimed < wanted:
                    self._news.clear()
                    await self._news.wait()
            wall += time.perf_counter() - began
            cpu += time.process_time() - used
            await self._quiet()
            commits += self._daemon.commits - before
        self._chain.mine(2)
        watcher = self._daemon.watchers[stage.CHAIN]
        await stage.reached(lambda: watcher.progress.settled_height >= self._chain.height)
        await self._quiet()
        return Took(count / wall, commits / count, cpu / count * 1000)

    async def _quiet(self) -> None:
        """Until nothing was committed for a moment."""
        last = -1
        while last != self._daemon.commits:
            last = self._daemon.commits
            await asyncio.sleep(0.06)
