"""Copies events into sealed segments, and holds segments against each other.

`seal_events.py --config FILE --scope main --to 50000 DIR` writes DIR/main-1-50000.jsonl: a first
line that names the hash before its first event, the events, a last line with the hash of its last
one. The next segment opens with that hash. `seal_events.py --verify FILE…` needs no database. The
rows in the database stay: `db check` follows every deposit and payout from its first event.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from chain_adapter.clock import SystemClock
from chain_adapter.config import load
from chain_adapter.errors import AdapterError, ConfigError
from chain_adapter.store import ledger, schema
from chain_adapter.store.events import GENESIS, digest
from chain_adapter.store.store import Tx

FORMAT = "chain-adapter events 1"
FIELDS = ("seq", "at", "what", "subject", "detail", "hash")
T = schema.events


def segment(tx: Tx, scope: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Header, events, footer. Raises `ConfigError` for a range that the books do not have."""
    newest = tx.value(select(func.max(T.c.seq)).where(T.c.scope == scope)) or 0
    if not 1 <= first <= last <= newest:
        raise ConfigError(f"scope {scope!r} has events 1 to {newest}, not {first} to {last}")
    opening = tx.value(select(T.c.hash).where(T.c.scope == scope, T.c.seq == first - 1))
    ledger_id = ledger.get(tx, "ledger_id")
    yield {
        "format": FORMAT, "ledger": ledger_id, "scope": scope, "first": first, "last": last,
        "opens": opening or GENESIS,
    }  # fmt: skip
    rows = tx.connection.execution_options(yield_per=5_000).execute(
        select(T).where(T.c.scope == scope, T.c.seq >= first, T.c.seq <= last).order_by(T.c.seq)
    )
    closing = ""
    for row in rows:
        closing = row.hash
        yield {name: getattr(row, name) for name in FIELDS}
    yield {"sealed": closing}


def seal(config: Path, scope: str, first: int, last: int, folder: Path) -> Path:
    """Write one segment; its file. An existing file is never overwritten."""
    database = load(config).require_database()
    store = ledger.open_ledger(database.connect_url(), SystemClock())
    target = folder / f"{scope}-{first}-{last}.jsonl"

    def unit(tx: Tx) -> None:
        with target.open("x", encoding="utf-8") as file:
            for line in segment(tx, scope, first, last):
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

    try:
        folder.mkdir(parents=True, exist_ok=True)
        store.read_now(unit)
    except FileExistsError:
        raise ConfigError(f"{target} exists: a sealed segment is never written twice") from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        store.close()
    return target


def read(path: Path) -> tuple[dict[str, Any], str]:
    """Header and last hash of a segment that is whole. Raises `ConfigError` for any other."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        header, *events, footer = lines
        if header["format"] != FORMAT:
            raise ConfigError(f"{path}: of another format")
        previous, seq = header["opens"], header["first"] - 1
        for one in events:
            seq += 1
            expected = digest(
                previous, header["scope"], seq, one["at"], one["what"], one["subject"],
                one["detail"],
            )  # fmt: skip
            if (one["seq"], one["hash"]) != (seq, expected):
                raise ConfigError(f"{path}: event {seq} is not what was sealed")
            previous = expected
        if seq != header["last"] or footer != {"sealed": previous}:
            raise ConfigError(f"{path}: its end is missing or changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no segment ({type(error).__name__})") from None
    return header, previous


def verify(files: Sequence[Path]) -> str:
    """Hold segments of one scope against each other; what they cover. `ConfigError`."""
    found = sorted((read(path) for path in files), key=lambda one: one[0]["first"])
    for (one, closing), (other, _) in pairwise(found):
        if (one["scope"], one["ledger"]) != (other["scope"], other["ledger"]):
            raise ConfigError("segments of different scopes or ledgers: verify them apart")
        if (other["first"], other["opens"]) != (one["last"] + 1, closing):
            raise ConfigError(f"{other['first']} does not open with the hash of {one['last']}")
    first, last = found[0][0], found[-1]
    return f"{first['scope']} {first['first']} to {last[0]['last']}: whole, last hash {last[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--scope", metavar="NAME", help='a chain, or "ledger"')
    parser.add_argument("--from", dest="first", type=int, default=1, metavar="N")
    parser.add_argument("--to", dest="last", type=int, metavar="N")
    parser.add_argument("--verify", action="store_true", help="hold these segments together")
    parser.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE")
    args = parser.parse_args()
    try:
        if args.verify:
            print(verify(args.paths))
        elif args.config is None or args.scope is None or args.last is None:
            parser.error("--config, --scope and --to are needed, or --verify")
        else:
            print(seal(args.config, args.scope, args.first, args.last, args.paths[0]))
    except AdapterError as error:
        print(f"seal_events: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
