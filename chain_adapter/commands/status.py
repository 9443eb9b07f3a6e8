"""`status`: per chain tip, head, lag, pool, queues, held, last error; from the books alone."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from chain_adapter.commands.books import opened
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import load
from chain_adapter.console.status import read_status

COLUMNS = ("chain", "tip", "head", "lag_s", "pool", "queued", "held", "unsent", "paused",
           "last_error")  # fmt: skip


def status(args: Namespace) -> int:
    config = load(args.config)
    with opened(config) as store:
        found = store.read_now(lambda tx: read_status(tx, config))
    if args.json:
        print_json(found.document())
        return 0
    rows = [{"chain": name, **asdict(one)} for name, one in found.chains.items()]
    print(table(rows, COLUMNS, "no chains"))
    if found.alarms:
        alarms = [asdict(one) for one in found.alarms]
        print("\nopen alarms")
        print(table(alarms, ("id", "severity", "code", "subject", "count", "message")))
    return 0
