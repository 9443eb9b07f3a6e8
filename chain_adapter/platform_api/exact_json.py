"""JSON in which a number keeps every digit, both ways, and no float ever exists.

`loads` gives numbers as `Number`, the very text that stood in the document.
`dumps` writes a `Number` as it stands, an int and a `Decimal` in plain notation, and no float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from chain_adapter.errors import AdapterError

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_MAX_DEPTH = 32


class BadMessage(AdapterError):
    """Bytes that are no message of this protocol, or a value that may not be sent in one."""


class Number(str):
    """A JSON number as the text that stood in the document. Not equal in type to a string."""

    __slots__ = ()

    def __new__(cls, text: str) -> Number:
        if not _NUMBER.fullmatch(text):
            raise BadMessage(f"{text[:40]!r} is no JSON number")
        return super().__new__(cls, text)

    @property
    def is_digits(self) -> bool:
        """Whether it is a whole number from 0 up, written in plain digits."""
        return self.isascii() and self.isdigit()


class Ambiguous(dict[str, Any]):
    """An object in which a key stood twice: two readers could see two different things."""


def loads(raw: bytes) -> Any:
    """Parse; numbers become `Number`. Raises `BadMessage`.

    NaN and Infinity are refused. An object with a repeated key becomes an `Ambiguous`, for the
    caller to refuse as narrowly as it can.
    """
    try:
        return json.loads(
            raw.decode("utf-8-sig"),
            parse_int=_number,
            parse_float=_number,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        raise BadMessage("this is no JSON text in UTF-8") from None


def dumps(value: Any) -> bytes:
    """Compact ASCII JSON, keys in their order. Raises `BadMessage` for a float and the like."""
    return _text(value, 0).encode("ascii")


def excerpt(value: Any, limit: int = 2000) -> str:
    """A parsed value as text for a person, cut at `limit` characters."""
    try:
        text = _text(value, 0)
    except BadMessage:
        text = "(nested too deeply to show)"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text(value: Any, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise BadMessage("nested too deeply")
    match value:
        case Number():
            return str(value)
        case str():
            return json.dumps(value)
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int():
            return str(value)
        case Decimal() if value.is_finite():
            return format(value, "f")
        case Mapping():
            parts = (f"{json.dumps(key)}:{_text(item, depth + 1)}" for key, item in value.items())
            return "{" + ",".join(parts) + "}"
        case Sequence() if not isinstance(value, bytes | bytearray):
            return "[" + ",".join(_text(item, depth + 1) for item in value) + "]"
        case _:
            raise BadMessage(f"{type(value).__name__} has no exact form in JSON")


def _number(text: str) -> Number:
    return str.__new__(Number, text)  # the parser has just matched it


def _constant(text: str) -> NoReturn:
    raise ValueError(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Ambiguous(made)
