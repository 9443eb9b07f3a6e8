"""S1 to S9: the whole scan against floors and peers, CPU seconds, interleaved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import (
    SEED,
    Books,
    Result,
    check,
    contender,
    progress,
    ratios,
    replay,
)
from benchmarks.workload import make

PEER_BLOCKS = 60  # the slow peers read fewer blocks; figures are per block


def run(folder: Path, *, blocks: int, addresses: int, quick: bool) -> Iterator[Result]:
    """Every scan figure; `quick` leaves the slow peers out."""
    work = make(SEED, blocks)
    wanted = [(one.asset, one.txid, one.to, one.amount, one.height) for one in work.expected]
    books = Books(folder / "many", addresses) if _made(folder / "many") else None
    assert books is not None
    progress(f"{blocks} blocks, {addresses} addresses, {len(wanted)} deposits to find")

    def scan_cpu(url: str, these: Books = books) -> float:
        found = these.scan(url, blocks)
        check(
            [
                (one["asset"], one["txid"], one["to"].lower(), int(one["amount"]), one["height"])
                for one in found["deposits"]
            ],
            wanted,
        )
        return float(found["cpu_seconds"])

    with replay(blocks) as url:
        scan_cpu(url)  # warm
        times = 3
        yield Result("S1", ratios(lambda: scan_cpu(url), lambda: _cpu("decode", url, blocks),
                                  times))  # fmt: skip
        progress("S1 done")
        yield Result("S1b", ratios(lambda: scan_cpu(url), lambda: _cpu("bare", url, blocks), times))
        few = Books(folder / "few", 1000) if _made(folder / "few") else books
        yield Result("S8", ratios(lambda: scan_cpu(url), lambda: scan_cpu(url, few), times))
        progress("S8 done")
        if not quick:
            per_block = blocks / PEER_BLOCKS
            for name, peer in (("S2", "web3"), ("S3", "requests")):
                yield Result(
                    name,
                    ratios(
                        lambda peer=peer: _cpu(peer, url, PEER_BLOCKS) * per_block,
                        lambda: scan_cpu(url),
                        times,
                    ),
                )
                progress(f"{name} done")
    if quick:
        return
    with replay(blocks, delay_ms=50) as slow, replay(blocks) as fast:
        yield Result(
            "S7",
            ratios(
                lambda: 1 / float(books.scan(slow, blocks)["seconds"]),
                lambda: 1 / float(books.scan(fast, blocks)["seconds"]),
            ),
        )


def _made(folder: Path) -> bool:
    folder.mkdir()
    return True


def _cpu(name: str, url: str, blocks: int) -> float:
    return float(contender(name, url, blocks)["cpu"])
