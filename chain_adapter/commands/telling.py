"""`deposits tell`: credited deposits told again, at the depth that is configured today.

For a `platform_confirmations` that was too low: the platform took the message and credited nothing,
for it was below its own depth. It knows each deposit by its request_id and credits it once.
"""

from __future__ import annotations

from argparse import Namespace

from sqlalchemy import or_, select

from chain_adapter.assembly import pure_chain
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import print_json
from chain_adapter.commands.recovering import depths_of
from chain_adapter.config import load
from chain_adapter.core.states import Deposit
from chain_adapter.errors import ConfigError
from chain_adapter.store import outbox, schema
from chain_adapter.store.events import record
from chain_adapter.store.imports import IMPORTED
from chain_adapter.store.store import Tx

D = schema.deposits


def tell(args: Namespace) -> int:
    """Beside a daemon, which does the telling; imported deposits are never told by us."""
    config = load(args.config)
    chain = config.chain(args.chain)
    if args.to_height < args.from_height:
        raise ConfigError("--to: is below --from")
    depths = depths_of(config, chain, pure_chain(chain).info.confirmations)
    who = operator()

    def unit(tx: Tx) -> int:
        rows = tx.all(
            select(D.c.request_id, D.c.asset, D.c.height)
            .where(
                D.c.chain == chain.name,
                D.c.state == Deposit.CREDITED,
                D.c.asset.in_(list(depths)),
                D.c.height >= args.from_height,
                D.c.height <= args.to_height,
                or_(D.c.reason.is_(None), D.c.reason.not_like(f"{IMPORTED}%")),
            )
            .order_by(D.c.id)
        )
        told = 0
        for row in rows:
            key = f"deposit:{row.request_id}"
            if outbox.state_of(tx, key) == "acknowledged":
                told += outbox.reopen(tx, key, height=row.height, depth=depths[row.asset])
        record(
            tx, chain.name, "deposits told again", chain.name,
            who=who, reason=args.reason, count=told,
            from_height=args.from_height, to_height=args.to_height,
        )  # fmt: skip
        return told

    with opened(config) as store:
        count = store.write_now(unit)
    if args.json:
        print_json({"chain": chain.name, "told_again": count})
    else:
        print(f"{count} deposits of {chain.name} are told again")
    return 0
