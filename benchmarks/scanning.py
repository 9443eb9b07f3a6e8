"""S1 to S9: the whole scan against floors and peers, CPU seconds, interleaved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.harness import (
    SEED,
    Books,
    Paired,
    Result,
    check,
    contender,
    paired,
    progress,
    replay,
)
from benchmarks.workload import Workload, make

PEER_BLOCKS = 60  # the slow peers read fewer blocks; figures are per block
IDS = ("S1", "S1b", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "M3")
PEERS = {"S2": "web3", "S3": "requests", "S4": "viem", "S5": "ethereum-etl", "S6": "cryo"}


@dataclass(slots=True)
class Stand:
    """The workload, the books, and how a scan of them is measured."""

    work: Workload
    books: Books
    blocks: int
    times: int

    def cpu(self, url: str, books: Books | None = None, **how: Any) -> float:
        """CPU seconds of a scan whose deposit list is exact."""
        found = (books or self.books).scan(url, self.blocks, **how)
        check(
            [
                (one["asset"], one["txid"], one["to"].lower(), int(one["amount"]), one["height"])
                for one in found["deposits"]
            ],
            [(one.asset, one.txid, one.to, one.amount, one.height) for one in self.work.expected],
        )
        return float(found["cpu_seconds"])

    def floor(self, name: str, url: str) -> float:
        """CPU seconds of a contender over as many blocks."""
        return float(contender(name, url, self.blocks)["cpu"])

    def against(self, url: str, floor: str, **how: Any) -> Paired:
        """A scan against a floor."""
        return paired(
            lambda: self.cpu(url, **how), lambda: self.floor(floor, url), self.times
        )  # fmt: skip

    def told(self, pair: Paired) -> dict[str, Any]:
        """Milliseconds of CPU a block, of both sides."""
        return {
            "ms_a_block": [
                [round(run / self.blocks * 1000, 3) for run in side]
                for side in (pair.first, pair.second)
            ]
        }


def run(
    folder: Path, wanted: Container[str], *, blocks: int, addresses: int, times: int
) -> Iterator[Result]:
    """The scan figures among `wanted`."""
    if not any(one in wanted for one in IDS):
        return
    work = make(SEED, blocks)
    books = Books(folder / "many", addresses)
    stand = Stand(work, books, blocks, times)
    progress(f"{blocks} blocks, {addresses} addresses, {len(work.expected)} deposits to find")
    with replay(blocks) as url:
        stand.cpu(url)  # warm
        yield from _floors(stand, url, wanted)
        if "S8" in wanted:
            few = Books(folder / "few", 1000)
            pair = paired(lambda: stand.cpu(url), lambda: stand.cpu(url, few), times)
            yield Result("S8", pair.ratios, f"{addresses} addresses against 1000",
                         detail=stand.told(pair))  # fmt: skip
        yield from _peers(stand, url, wanted)
    if "S7" in wanted:
        yield _distant(stand)
    if "S9" in wanted:
        yield from _traced(stand)
    shutil.rmtree(folder / "many")


def _floors(stand: Stand, url: str, wanted: Container[str]) -> Iterator[Result]:
    if "S1" in wanted:
        pair = stand.against(url, "decode")
        yield Result("S1", pair.ratios, detail={**stand.told(pair), "best": round(pair.best, 4)})
    if "S1b" in wanted:
        pair = stand.against(url, "bare")
        yield Result("S1b", pair.ratios, detail=stand.told(pair))


def _peers(stand: Stand, url: str, wanted: Container[str]) -> Iterator[Result]:
    blocks = min(PEER_BLOCKS, stand.blocks)
    per_block = stand.blocks / blocks
    for name, peer in PEERS.items():
        if name not in wanted:
            continue
        take = peers.taker(peer)
        if take is None:
            progress(f"{name}: {peer} cannot be installed here: left out")
            continue

        def one(take: Callable[[str, int], dict[str, Any]] = take) -> float:
            return float(take(url, blocks)["cpu"]) * per_block

        one()  # warm: what is compiled and cached is not the peer's cost
        pair = paired(one, lambda: stand.cpu(url), stand.times)
        yield Result(name, pair.ratios, f"{peer} / scan", detail=stand.told(pair))


def _distant(stand: Stand) -> Result:
    """S7: blocks a second at a round trip of 50 ms against none."""
    found: dict[float, list[float]] = {0: [], 50: []}
    with replay(stand.blocks, delay_ms=50) as slow, replay(stand.blocks) as fast:
        for _ in range(stand.times):
            for delay, url in ((50, slow), (0, fast)):
                found[delay].append(float(stand.books.scan(url, stand.blocks)["seconds"]))
    pair = Paired(found[0], found[50])
    wall = [[round(one, 3) for one in side] for side in (pair.first, pair.second)]
    return Result("S7", pair.ratios, "throughput at 50 ms / at 0", detail={"wall_s": wall})


def _traced(stand: Stand) -> Iterator[Result]:
    """S9, and what traces add to S1."""
    with replay(stand.blocks, traces=True) as url:
        pair = stand.against(url, "traced", traces=True)
        yield Result("S9", pair.ratios, detail=stand.told(pair))
