"""`chain-adapter scan`: a range of blocks read beside the daemon, and what it found, told.

Configuration -> the books (for what is ours) and a guarded chain -> `workers.scanner` -> report.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from chain_adapter.assembly import guarded_chain, plugin_version
from chain_adapter.clock import SystemClock
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import ChainConfig, Config
from chain_adapter.config.kinds import DATABASE_URL, Place
from chain_adapter.errors import ConfigError, StoreError, Unreachable
from chain_adapter.store import blocks, ledger
from chain_adapter.store.store import Store
from chain_adapter.workers.scanner import Found, Scanner, ScanReport


def main(
    config: Config,
    chain: str,
    from_height: int,
    to_height: int,
    *,
    record: str | None = None,
    as_json: bool = False,
) -> int:
    """Scan, print, and return the exit status. Both heights are included."""
    database_url = config.require_database().connect_url()
    record_url = None
    if record is not None:
        record_url = DATABASE_URL.read(record, Place("--record", Path.cwd()))
    report = asyncio.run(
        run_scan(database_url, config.chain(chain), from_height, to_height, record_url)
    )
    if as_json:
        print_json(report.as_json())
        return 0
    columns = ("height", "asset", "amount", "to", "memo", "txid")
    print(table([_row(one) for one in report.deposits], columns, "no deposits"))
    if report.held:
        print("\nheld:")
        print(table([_row(one) for one in report.held], columns))
    seen = "read" if report.internal_transfers else "NOT read"
    print(
        f"\n{report.blocks} blocks in {report.seconds:.2f} s ({report.cpu_seconds:.2f} s of "
        f"processor time); value moved by contracts was {seen}"
    )
    return 0


async def run_scan(
    database_url: str,
    chain: ChainConfig,
    from_height: int,
    to_height: int,
    record_url: str | None = None,
) -> ScanReport:
    """Read `from_height` to `to_height`, both included, each block once.

    `record_url` names an empty database that gets the books the daemon would have written; it is
    marked, and `run` refuses it. Raises `ConfigError`, `LedgerMismatch` (no books),
    `Unreachable`, `chain.Unavailable`.
    """
    clock = SystemClock()
    books = ledger.open_ledger(database_url, clock)
    record: Store | None = None
    try:
        state = books.read_now(lambda tx: blocks.chain(tx, chain.name))
        identity = None if state is None else state.identity
        guard = guarded_chain(chain, clock, identity=identity, on_identity=None)
        try:
            if record_url is not None:
                record = _create(record_url, clock, chain.name)
            gc.freeze()  # what was loaded so far stays: no need to look at it again and again
            scanner = Scanner(
                chain, guard, books, record=record, plugin_version=plugin_version(chain.plugin)
            )
            return await scanner.run(from_height, to_height)
        finally:
            await guard.close()
    finally:
        books.close()
        if record is not None:
            record.close()


def _create(url: str, clock: SystemClock, chain: str) -> Store:
    try:
        return ledger.create(url, clock, record_of=chain)
    except Unreachable:
        raise
    except StoreError as error:
        raise ConfigError(f"--record: {error}; it must name an empty database") from None


def _row(one: Found) -> dict[str, object]:
    return {
        "height": one.height,
        "asset": one.asset,
        "amount": str(one.amount),
        "to": one.to,
        "memo": one.memo,
        "txid": one.txid,
    }
