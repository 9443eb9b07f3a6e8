"""Every command with its options, its help, one example and the function that does it.

`cli` builds the parser from this table and imports a function only when it is called. A command
without a function is part of the interface, but not built yet: it says so and exits 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chain_adapter.commands.options import (
    ACT,
    ASSET_NAME,
    CHAIN,
    CHAIN_NAME,
    CONFIG,
    FROM,
    ID,
    JSON,
    LIMIT,
    ONE_CHAIN,
    STATE,
    TO,
    Option,
    day,
    option,
    whole,
)


@dataclass(frozen=True, slots=True)
class Command:
    """`words` after the program's name; `run` is "module:function" below `commands`, or None."""

    words: tuple[str, ...]
    help: str
    example: str
    options: tuple[Option, ...]
    run: str | None


GROUPS: Mapping[str, str] = {
    "keys": "the seed and what comes from it",
    "addresses": "addresses of ours",
    "deposits": "what arrived for users",
    "payouts": "what leaves: withdrawals, sweeps, top-ups, cold transfers",
    "outbox": "what the platform is to be told",
    "inbox": "findings that a person must look at",
    "alarms": "what is wrong",
    "events": "every transition, hash-chained",
    "chains": "stop and go on with a chain",
    "assets": "stop and go on with an asset",
    "db": "the database",
    "plugins": "chain plugins",
}

COMMANDS: tuple[Command, ...] = (
    Command(("run",), "the daemon", "run --config adapter.toml", (CONFIG,), "serve:run"),
    Command(
        ("check",),
        "validate the configuration; reach node, platform, signer, database",
        "check --config adapter.toml",
        (CONFIG, JSON),
        "check:check",
    ),
    Command(
        ("demo",),
        "the whole loop on local parts, ending with a table that compares chain, platform, books",
        "demo --deposits 20 --withdrawals 10",
        (
            option("--chain", metavar="NAME", default="evm", help="plugin to show (default evm)"),
            option("--deposits", type=whole(0), metavar="N", help="how many"),
            option("--withdrawals", type=whole(0), metavar="N", help="how many"),
            option("--merchant", action="store_true", help="with a merchant's shop beside it"),
            option("--naive", action="store_true", help="with a naive adapter beside ours"),
            JSON,
        ),
        "serve:demo",
    ),
    Command(
        ("sandbox",),
        "the platform on this machine",
        "sandbox --listen 127.0.0.1:9100 --state state/sandbox",
        (
            option("--listen", metavar="HOST:PORT", required=True, help="port 0 picks one"),
            option("--state", type=Path, metavar="DIR", required=True, help="kept there"),
        ),
        "serve:sandbox",
    ),
    Command(
        ("devnet",),
        "a local chain of a plugin that has one",
        "devnet evm --listen 127.0.0.1:8545",
        (
            option("name", metavar="NAME", help="the plugin"),
            option("--listen", metavar="HOST:PORT", required=True, help="port 0 picks one"),
        ),
        "serve:devnet",
    ),
    Command(
        ("keys", "init"),
        "make the keystore and the ledger; print the hot address of every chain",
        "keys init --config adapter.toml",
        (
            CONFIG,
            option("--yes", action="store_true", help="ask nothing, do not show the mnemonic"),
            option("--mnemonic-file", type=Path, metavar="F", help="from the mnemonic in F"),
            JSON,
        ),
        "keys:init",
    ),
    Command(
        ("scan",),
        "read a range of blocks and report the deposits in it; changes nothing",
        "scan --config adapter.toml --chain main --from 100 --to 200",
        (
            CONFIG,
            CHAIN,
            FROM,
            TO,
            JSON,
            option("--record", metavar="URL", help="write the books to this empty database too"),
        ),
        "serve:scan",
    ),
    Command(
        ("addresses", "import"),
        "watch deposit addresses of another system, one a line",
        "addresses import addresses.txt --config adapter.toml --chain main",
        (option("file", type=Path, metavar="FILE", help="one a line"), CONFIG, CHAIN, JSON),
        "addresses:import_file",
    ),
    Command(
        ("addresses", "list"),
        "every address of ours",
        "addresses list --config adapter.toml",
        (
            CONFIG,
            JSON,
            ONE_CHAIN,
            option("--role", metavar="ROLE", help="deposit, hot, gas, cold or watched"),
        ),
        "addresses:show",
    ),
    Command(
        ("deposits", "list"),
        "deposits, oldest first",
        "deposits list --config adapter.toml --state HELD",
        (CONFIG, JSON, ONE_CHAIN, STATE, LIMIT),
        "lists:deposits",
    ),
    Command(
        ("deposits", "release"),
        "answer the rule that holds a deposit: it goes on",
        'deposits release 7 --config adapter.toml --reason "sender proved it"',
        (ID, *ACT),
        "operate:deposit_release",
    ),
    Command(
        ("deposits", "ignore"),
        "never credit a held deposit",
        'deposits ignore 7 --config adapter.toml --reason "own money"',
        (ID, *ACT),
        "operate:deposit_ignore",
    ),
    Command(
        ("payouts", "list"),
        "payouts, oldest first",
        "payouts list --config adapter.toml --held",
        (
            CONFIG,
            JSON,
            ONE_CHAIN,
            STATE,
            option("--held", action="store_true", help="held ones only"),
            LIMIT,
        ),
        "lists:payouts",
    ),
    Command(
        ("payouts", "show"),
        "one payout with its attempts, locks and messages",
        "payouts show 12 --config adapter.toml",
        (ID, CONFIG, JSON),
        "lists:payout",
    ),
    Command(
        ("payouts", "hold"),
        "stop signing, claiming and cancelling it; tracking and reporting go on",
        'payouts hold 12 --config adapter.toml --reason "user asked"',
        (ID, *ACT),
        "operate:payout_hold",
    ),
    Command(
        ("payouts", "release"),
        "end a hold; --first opens the first page of a new ledger",
        'payouts release 12 --config adapter.toml --reason "checked"',
        (
            option("id", metavar="ID", nargs="?", help="as the list shows it"),
            option("--first", action="store_true", help="the held first page"),
            *ACT,
        ),
        "operate:payout_release",
    ),
    Command(
        ("payouts", "refuse"),
        "do not pay it: it goes back to its user, or its refused claim is voided",
        'payouts refuse 12 --config adapter.toml --reason "fraud"',
        (ID, *ACT),
        "operate:payout_refuse",
    ),
    Command(
        ("payouts", "approve"),
        "an operator's signed approval",
        'payouts approve 12 --config adapter.toml --reason "seen"',
        (ID, *ACT),
        None,
    ),
    Command(
        ("payouts", "settle"),
        "end it by hand with the platform: two people, evidence",
        'payouts settle 12 --config adapter.toml --evidence mail.txt --reason "paid by hand"',
        (
            ID,
            option("--evidence", type=Path, metavar="FILE", help="kept with the payout"),
            *ACT,
        ),
        None,
    ),
    Command(
        ("outbox", "list"),
        "messages to the platform",
        "outbox list --config adapter.toml --state parked",
        (CONFIG, JSON, ONE_CHAIN, STATE, LIMIT),
        "lists:outbox",
    ),
    Command(
        ("outbox", "retry"),
        "send a parked message again at once",
        'outbox retry 31 --config adapter.toml --reason "platform mended"',
        (
            option("id", metavar="ID", nargs="?", help="as the list shows it"),
            option("--all", action="store_true", help="every parked one"),
            *ACT,
        ),
        "operate:outbox_retry",
    ),
    Command(
        ("inbox", "list"),
        "findings that wait for a person",
        "inbox list --config adapter.toml",
        (CONFIG, JSON, ONE_CHAIN, STATE, LIMIT),
        "lists:inbox",
    ),
    Command(
        ("inbox", "dismiss"),
        "nothing is to be done about it",
        'inbox dismiss 3 --config adapter.toml --reason "our own test"',
        (ID, *ACT),
        "operate:inbox_dismiss",
    ),
    Command(
        ("alarms", "list"),
        "open alarms",
        "alarms list --config adapter.toml",
        (CONFIG, JSON, option("--all", action="store_true", help="closed ones too"), LIMIT),
        "lists:alarms",
    ),
    Command(
        ("alarms", "ack"),
        "somebody has seen to it",
        'alarms ack 5 --config adapter.toml --reason "new node ordered"',
        (ID, *ACT),
        "operate:alarm_ack",
    ),
    Command(
        ("events", "list"),
        "every transition, oldest first",
        "events list --config adapter.toml --subject payout:12",
        (
            CONFIG,
            JSON,
            option("--scope", metavar="NAME", help='a chain, or "ledger"'),
            option("--subject", metavar="TEXT", help="deposit:7, payout:12 …"),
            LIMIT,
        ),
        "lists:events",
    ),
    Command(
        ("chains", "pause"),
        "read and track it, credit and sign nothing",
        'chains pause main --config adapter.toml --reason "hard fork"',
        (CHAIN_NAME, *ACT),
        "operate:chain_pause",
    ),
    Command(
        ("chains", "resume"),
        "end a pause",
        'chains resume main --config adapter.toml --reason "over"',
        (CHAIN_NAME, *ACT),
        "operate:chain_resume",
    ),
    Command(
        ("assets", "pause"),
        "read and track it, credit and sign nothing",
        'assets pause main/USDT --config adapter.toml --reason "token frozen"',
        (ASSET_NAME, *ACT),
        "operate:asset_pause",
    ),
    Command(
        ("assets", "resume"),
        "end a pause",
        'assets resume main/USDT --config adapter.toml --reason "over"',
        (ASSET_NAME, *ACT),
        "operate:asset_resume",
    ),
    Command(
        ("recover",),
        "after a lost or an older database: derive, store, read again",
        "recover --config adapter.toml --chain main --from 100 --addresses 50000",
        (
            CONFIG,
            CHAIN,
            FROM,
            option("--addresses", type=whole(1), metavar="K", required=True, help="how many"),
            JSON,
        ),
        None,
    ),
    Command(
        ("rescan",),
        "read a range again with today's code and assets",
        "rescan --config adapter.toml --chain main --from 100 --to 200",
        (CONFIG, CHAIN, FROM, TO, option("--asset", metavar="A", help="this asset only"), JSON),
        None,
    ),
    Command(
        ("db", "backup"),
        "a copy of the books while they are in use",
        "db backup copy.db --config adapter.toml",
        (option("file", type=Path, metavar="FILE", help="the copy"), CONFIG, JSON),
        None,
    ),
    Command(
        ("db", "upgrade"),
        "bring the books to this version, after a backup",
        "db upgrade --config adapter.toml",
        (CONFIG, JSON),
        None,
    ),
    Command(
        ("db", "check"),
        "integrity, event chain, ledger",
        "db check --config adapter.toml",
        (CONFIG, JSON),
        None,
    ),
    Command(
        ("why",),
        "one timeline of a transaction, a withdrawal or an address; what holds it; what is next",
        "why 0x5c50… --config adapter.toml",
        (option("subject", metavar="TXID|TRANS_ID|ADDRESS", help="what to explain"), CONFIG, JSON),
        "why:why",
    ),
    Command(
        ("status",),
        "per chain: tip, head, lag, pool, queues, held, last error",
        "status --config adapter.toml",
        (CONFIG, JSON),
        "status:status",
    ),
    Command(
        ("reconcile",),
        "the day's books against chain and platform",
        "reconcile --config adapter.toml --day 2026-01-31",
        (
            CONFIG,
            option("--day", type=day, metavar="YYYY-MM-DD", required=True, help="in UTC"),
            JSON,
        ),
        None,
    ),
    Command(
        ("probe",),
        "ask a platform's test environment how it decides what its documents leave open",
        "probe --config adapter.toml",
        (CONFIG, JSON),
        None,
    ),
    Command(
        ("plugins", "list"),
        "what is installed",
        "plugins list",
        (JSON,),
        "plugins:show",
    ),
    Command(
        ("plugins", "check"),
        "conformance of a plugin against a live node",
        "plugins check evm --config adapter.toml",
        (
            option("name", metavar="NAME", help="the plugin"),
            option("--config", type=Path, metavar="FILE",
                    help="whose chains of this plugin are tried; none: the plugin's own devnet"),
            JSON,
        ),
        "plugins:check",
    ),
    Command(
        ("plugins", "new"),
        "a new plugin's skeleton",
        "plugins new mychain --into plugins/mychain",
        (
            option("name", metavar="NAME", help="lower-case letters and digits"),
            option("--into", type=Path, metavar="DIR", help="default: plugins/NAME"),
        ),
        "plugins:new",
    ),
)  # fmt: skip
