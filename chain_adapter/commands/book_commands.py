"""The commands about the books as a whole: after a loss, after a change, from another system."""

from __future__ import annotations

from pathlib import Path

from chain_adapter.commands.options import (
    CHAIN,
    CONFIG,
    FROM,
    JSON,
    ONE_CHAIN,
    REASON,
    TO,
    Command,
    option,
    reason,
    whole,
)

BOOKS: tuple[Command, ...] = (
    Command(
        ("recover",),
        "after a lost or an older database: derive, store, read again",
        "recover --config adapter.toml --chain main --from 100 --addresses 50000",
        (
            CONFIG,
            CHAIN,
            FROM,
            option("--addresses", type=whole(1), metavar="K", required=True, help="how many"),
            option("--acknowledge", type=reason, metavar="REASON",
                    help="answer for all transactions of ours that no journal knows"),
            JSON,
        ),
        "recovering:recover",
    ),
    Command(
        ("rescan",),
        "read a range again with today's code and assets",
        "rescan --config adapter.toml --chain main --from 100 --to 200",
        (CONFIG, CHAIN, FROM, TO, option("--asset", metavar="A", help="this asset only"), JSON),
        "recovering:rescan",
    ),
    Command(
        ("deposits", "tell"),
        "tell credited deposits again, at today's depth; the platform credits each once",
        'deposits tell --config adapter.toml --chain main --from 100 --to 200 --reason "depth"',
        (CONFIG, CHAIN, FROM, TO, REASON, JSON),
        "telling:tell",
    ),
    Command(
        ("import", "deposits"),
        "deposits that another system told the platform: never told again",
        "import deposits told.csv --config adapter.toml",
        (
            option("file", type=Path, metavar="FILE",
                    help="CSV or JSON lines: asset, txid, to, memo, request_id"),
            CONFIG,
            ONE_CHAIN,
            JSON,
        ),
        "importing:deposits",
    ),
    Command(
        ("import", "payouts"),
        "withdrawals that another system ended: never paid by us",
        "import payouts paid.csv --config adapter.toml",
        (
            option("file", type=Path, metavar="FILE",
                    help='CSV or JSON lines: symbol, trans_id, txid or "never"'),
            CONFIG,
            JSON,
        ),
        "importing:payouts",
    ),
    Command(
        ("db", "backup"),
        "a copy of the books while they are in use",
        "db backup copy.db --config adapter.toml",
        (option("file", type=Path, metavar="FILE", help="the copy"), CONFIG, JSON),
        "database:backup",
    ),
    Command(
        ("db", "restore"),
        "fill an empty database with a copy; never over a ledger",
        "db restore copy.db --config adapter.toml",
        (option("file", type=Path, metavar="FILE", help="the copy"), CONFIG, JSON),
        "database:restore",
    ),
    Command(
        ("db", "upgrade"),
        "bring the books to this version, after a backup",
        "db upgrade --config adapter.toml",
        (CONFIG, JSON),
        "database:upgrade",
    ),
    Command(
        ("db", "check"),
        "integrity, event chain, ledger",
        "db check --config adapter.toml",
        (CONFIG, JSON),
        "database:check",
    ),
)  # fmt: skip
