"""`addresses import` and `addresses list`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from sqlalchemy import Row, select

from chain_adapter.assembly import pure_chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands.address_file import Staged, take_over
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import Config, load
from chain_adapter.core.states import Role
from chain_adapter.errors import ConfigError
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Store, Tx


def import_file(args: Namespace) -> int:
    """Atomic and idempotent; makes the ledger, still without keys, if there is none."""
    config = load(args.config)
    url = config.require_database().connect_url()
    chain = pure_chain(config.chain(args.chain))
    with Staged(args.file, chain) as staged:
        store = _opened_or_made(url)
        try:
            done = take_over(store, args.chain, staged, operator(), args.file.name)
        finally:
            store.close()
    if args.json:
        print_json({"imported": done.imported, "known": done.known})
    else:
        print(f"{done.imported} addresses imported, {done.known} known before")
    return 0


def _opened_or_made(url: str) -> Store:
    clock = SystemClock()
    probe = Store(url, clock)
    try:
        there = ledger.exists(probe)
    finally:
        probe.close()
    return ledger.open_ledger(url, clock) if there else ledger.create(url, clock)


COLUMNS = ("chain", "address", "role", "registered", "memo")


def _flat(row: Row[Any]) -> dict[str, Any]:
    return {
        "chain": row.chain,
        "address": row.address,
        "role": row.role,
        "registered": row.registered_at is not None or bool(row.elsewhere),
        "memo": row.memo or "",
    }


def show(args: Namespace) -> int:
    """There may be millions: rows are written as they are read."""
    config: Config = load(args.config)
    addresses = schema.addresses
    query = select(addresses).order_by(addresses.c.chain, addresses.c.seq)
    if args.chain is not None:
        query = query.where(addresses.c.chain == args.chain)
    if args.role is not None:
        if args.role not in list(Role):
            raise ConfigError(f"--role: {args.role!r} is none of {', '.join(Role)}")
        query = query.where(addresses.c.role == args.role)

    def unit(tx: Tx) -> None:
        found = tx.connection.execution_options(yield_per=5000).execute(query)
        if not args.json:
            print(table([_flat(row) for row in found], COLUMNS, "no addresses"))
            return
        separator = "["
        for row in found:
            sys.stdout.write(separator + json.dumps(_flat(row), ensure_ascii=False))
            separator = ",\n"
        sys.stdout.write("[]\n" if separator == "[" else "]\n")

    with opened(config) as store:
        store.read_now(unit)
    return 0
