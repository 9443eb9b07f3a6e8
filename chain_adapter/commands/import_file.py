"""Files of another system, CSV or JSON lines, read strictly: the first wrong line is named.

CSV has a header with the names of the columns; JSON lines are objects. Which of the two it is tells
the first character. Every value is a text; a column that is not known is refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chain_adapter.errors import AdapterError, ConfigError

LONGEST = 4096  # bytes of a line


class BadLine(AdapterError):
    """A line of the file cannot be taken. Nothing was stored."""

    exit_status = 2

    def __init__(self, path: Path, number: int, why: str) -> None:
        super().__init__(f"{path}, line {number}: {why}; nothing was stored")


def rows_of(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> text) of every row; optional columns that lack are "".

    Raises `BadLine`; `ConfigError` when the file cannot be read or holds no row.
    """
    text = _read(path)
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise ConfigError(f"{path} is empty")
    read = _objects if first.lstrip().startswith("{") else _table
    for number, row in read(path, lines, (*needed, *optional)):
        lacking = [name for name in needed if not row.get(name)]
        if lacking:
            raise BadLine(path, number, f"{lacking[0]} is missing")
        yield number, {name: row.get(name, "") for name in (*needed, *optional)}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        number = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadLine(path, number, "is not UTF-8 text") from None


def _table(
    path: Path, lines: Sequence[str], known: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line.encode()) > LONGEST:
            raise BadLine(path, number, "is too long")
        try:
            # Line by line: a quote that is left open must not swallow the rows behind it.
            [cells] = csv.reader(io.StringIO(line), strict=True)
        except (csv.Error, ValueError) as error:
            raise BadLine(path, number, f"is no CSV: {error}") from None
        cells = [cell.strip() for cell in cells]
        if header is None:
            header = cells
            _check_names(path, number, header, known)
            if len(set(header)) != len(header):
                raise BadLine(path, number, "a column stands there twice")
            continue
        if len(cells) != len(header):
            raise BadLine(path, number, f"has {len(cells)} columns, the header {len(header)}")
        yield number, dict(zip(header, cells, strict=True))


def _objects(
    path: Path, lines: Sequence[str], known: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line.encode()) > LONGEST:
            raise BadLine(path, number, "is too long")
        try:
            found: Any = json.loads(line, object_pairs_hook=_pairs, parse_float=str, parse_int=str)
        except (ValueError, RecursionError) as error:
            raise BadLine(path, number, f"is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise BadLine(path, number, "is no JSON object")
        _check_names(path, number, list(found), known)
        row: dict[str, str] = {}
        for name, value in found.items():
            if value is not None and not isinstance(value, str):
                raise BadLine(path, number, f"{name} must be a text")
            row[name] = value or ""
        yield number, row


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _check_names(path: Path, number: int, names: Sequence[str], known: Sequence[str]) -> None:
    strange = [name for name in names if name not in known]
    if strange:
        raise BadLine(
            path, number, f"{strange[0]!r} is no column here; known are {', '.join(known)}"
        )
