"""How a command answers: one JSON document, or a table for people; the ready line of a server."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

CELL = 68  # characters; longer ones are shortened in the middle, for people only


def print_json(document: Any) -> None:
    """One document on standard output."""
    print(json.dumps(document, ensure_ascii=False, default=str), flush=True)


def ready(**facts: Any) -> None:
    """The line that tells a server's caller that it listens."""
    print_json({"event": "ready", **facts})


def iso(at_us: int | None) -> str | None:
    """Microseconds since the epoch as ISO 8601, UTC; None stays None."""
    if at_us is None:
        return None
    seconds, micro = divmod(int(at_us), 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def harmless(thing: Any) -> str:
    """As text for a terminal. Addresses, memos and messages come from strangers: nothing in them
    may steer it."""
    return "".join(
        c if unicodedata.category(c)[0] != "C" else f"\\x{ord(c):02x}" for c in str(thing)
    )


def _cell(thing: Any) -> str:
    if thing is None:
        return "-"
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    text = harmless(thing)
    return text if len(text) <= CELL else f"{text[: CELL // 2]}…{text[-CELL // 2 + 1 :]}"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str = "none") -> str:
    """Rows as aligned text, `columns` first to last; numbers to the right."""
    if not rows:
        return empty
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    titles = [column.replace("_", " ") for column in columns]
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(columns))]
    right = [
        all(isinstance(row.get(column), int) or row.get(column) is None for row in rows)
        for column in columns
    ]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(titles), line(["-" * width for width in widths]), *map(line, cells)])


def answer(
    as_json: bool, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str = "none"
) -> None:
    """The rows, all their keys as JSON or `columns` as a table."""
    if as_json:
        print_json(rows)
    else:
        print(table(rows, columns, empty))
