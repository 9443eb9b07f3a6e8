"""`reconcile`: a day's books against chain and platform; exit 1 on a difference.

The platform's records come from a CSV export (`--platform FILE`); its columns are kind (deposit or
withdrawal), symbol, txid, address_to, memo, trans_id, amount, fee, status; amounts are decimals.
"""

from __future__ import annotations

import asyncio
import csv
import datetime
import html
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from chain_adapter import money
from chain_adapter.assembly import guarded_chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import AssetConfig, Config, load
from chain_adapter.core.reconcile import Entry
from chain_adapter.errors import AmountError, ConfigError
from chain_adapter.store import daybooks
from chain_adapter.store.store import Store
from chain_adapter.workers.reconciler import DayReport, PlatformRecords, Reconciler

COLUMNS = ("kind", "symbol", "txid", "address_to", "memo", "amount", "fee", "status")
SHOWN = ("reason", "subject", "ours", "theirs", "side", "meaning")


def run(args: Namespace) -> int:
    """Compare, print, write reports where asked."""
    config = load(args.config)
    last = args.to_day or args.day
    if last < args.day:
        raise ConfigError("--to-day: is before --day")
    platform = None if args.platform is None else read_export(args.platform, config)
    with opened(config) as store:
        reports = asyncio.run(_reports(config, store, args.day, last, platform))
    rows = [
        {"day": report.day, "chain": report.chain, **difference.row()}
        for report in reports
        for difference in report.differences
    ]
    if args.report is not None:
        _write(args.report, reports, rows)
    if args.json:
        print_json(
            {
                "day": args.day.isoformat(),
                "chains": [report.document() for report in reports],
                "differences": rows,
                "clean": not rows,
            }
        )
    else:
        for report in reports:
            whole = "" if report.is_whole else "; the day is not over, or not all final"
            print(
                f"{report.day} {report.chain}: blocks {report.first_height} to "
                f"{report.last_height}, {_counted(report)}; platform: {report.platform}{whole}"
            )
        print(table(rows, SHOWN, "no differences"))
    return 1 if rows else 0


async def _reports(
    config: Config,
    store: Store,
    first: datetime.date,
    last: datetime.date,
    platform: PlatformRecords | None,
) -> list[DayReport]:
    found = []
    internal = config.platform is None or config.platform.internal_notify
    for chain in config.require_chains().values():
        pinned = await store.read(partial(daybooks.identity, chain=chain.name))
        guard = guarded_chain(chain, SystemClock(), identity=pinned, on_identity=None)
        try:
            reconciler = Reconciler(chain, guard, guard, store, internal_notify=internal)
            day = first
            while day <= last:
                found.append(await reconciler.run(day, platform if first == last else None))
                day += datetime.timedelta(days=1)
        finally:
            await guard.close()
    return found


def read_export(path: Path, config: Config) -> PlatformRecords:
    """The platform's CSV export. Raises `ConfigError` with the number of a bad line."""
    symbols = config.symbols()
    deposits: list[Entry] = []
    withdrawals: list[Entry] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [one for one in COLUMNS if one not in (rows.fieldnames or ())]
            if missing:
                raise ConfigError(f"{path}: columns are missing: {', '.join(missing)}")
            for row in rows:
                where = f"{path} line {rows.line_num}"
                if row["symbol"] not in symbols:
                    raise ConfigError(f"{where}: symbol {row['symbol']!r} is not configured")
                chain, asset = symbols[row["symbol"]]
                entry = _entry(row, asset, chain.native, where)
                (deposits if row["kind"] == "deposit" else withdrawals).append(entry)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return PlatformRecords(tuple(deposits), tuple(withdrawals), True, f"export {path.name}")


def _entry(row: dict[str, Any], asset: AssetConfig, native: AssetConfig, where: str) -> Entry:
    try:
        amount = money.parse(row["amount"], asset.platform_decimals)
        fee = money.parse(row["fee"], native.platform_decimals) if row["fee"] else None
    except AmountError as error:
        raise ConfigError(f"{where}: {error}") from None
    key: tuple[str, ...]
    if row["kind"] == "deposit":
        key = (row["symbol"], row["txid"], row["address_to"], row["memo"] or "")
        return Entry(key, amount, row["status"], None, row["txid"])
    if row["kind"] == "withdrawal":
        key = (row["symbol"], row["txid"], row.get("trans_id") or "")
        return Entry(key, amount, row["status"], fee, row.get("trans_id") or row["txid"])
    raise ConfigError(f"{where}: kind {row['kind']!r} is neither deposit nor withdrawal")


def _counted(report: DayReport) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.counts.items())


def _write(folder: Path, reports: list[DayReport], rows: list[dict[str, Any]]) -> None:
    """An HTML and a CSV report."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"reconciliation-{reports[0].day}" if reports else "reconciliation"
    columns = ("day", "chain", *SHOWN)
    with (folder / f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    head = "".join(f"<th>{html.escape(one)}</th>" for one in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row[one]))}</td>" for one in columns) + "</tr>"
        for row in rows
    )
    days = "".join(
        f"<li>{html.escape(r.day)} {html.escape(r.chain)}: blocks {r.first_height} to "
        f"{r.last_height}, {html.escape(_counted(r))}; {len(r.differences)} differences</li>"
        for r in reports
    )
    (folder / f"{stem}.html").write_text(
        "<!doctype html><meta charset=utf-8><title>Reconciliation</title>"
        f"<h1>Reconciliation</h1><p>A movement belongs to the day of its block.</p><ul>{days}</ul>"
        f"<table border=1><tr>{head}</tr>{body}</table>",
        encoding="utf-8",
    )
