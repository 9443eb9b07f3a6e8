"""What a command line is made of: options, commands, groups, and how texts become values."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """One argument as argparse takes it."""

    flags: tuple[str, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """`words` after the program's name; `run` is "module:function" below `commands`, or None."""

    words: tuple[str, ...]
    help: str
    example: str
    options: tuple[Option, ...]
    run: str | None


def option(*flags: str, **named: Any) -> Option:
    return Option(flags, named)


def whole(least: int) -> Callable[[str], int]:
    """A decimal whole number of at least `least`, digits only."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return read


def reason(text: str) -> str:
    """A reason that says something: it is kept with the event for ever."""
    if not text.strip():
        raise argparse.ArgumentTypeError("say why, in words")
    return text.strip()


def day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write YYYY-MM-DD") from None


CONFIG = option("--config", type=Path, metavar="FILE", required=True, help="configuration (TOML)")
JSON = option("--json", action="store_true", help="one JSON document on standard output")
REASON = option("--reason", type=reason, metavar="TEXT", required=True,
                 help="why: kept with the event")  # fmt: skip
CHAIN = option("--chain", metavar="NAME", required=True, help="a [chains.NAME] of the file")
ONE_CHAIN = option("--chain", metavar="NAME", help="of this chain only")
FROM = option("--from", dest="from_height", type=whole(0), metavar="H", required=True,
               help="first height")  # fmt: skip
TO = option("--to", dest="to_height", type=whole(0), metavar="H", required=True,
             help="last height, included")  # fmt: skip
LIMIT = option("--limit", type=whole(1), default=None, metavar="N",
                help="the newest N rows only (default: all)")  # fmt: skip
STATE = option("--state", metavar="STATE", help="in this state only")
ID = option("id", metavar="ID", help="as the list shows it")
CHAIN_NAME = option("name", metavar="NAME", help="the chain")
ASSET_NAME = option("name", metavar="CHAIN/NAME", help="the asset")
ACT = (CONFIG, REASON, JSON)

GROUPS: Mapping[str, str] = {
    "keys": "the seed and what comes from it",
    "policy": "what the signer lets leave, and be credited",
    "treasury": "where collected money should be",
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
    "import": "what another system did before us",
    "plugins": "chain plugins",
}
