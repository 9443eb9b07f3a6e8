"""JSON without loss: a number keeps the digits it was written with, both ways.

`loads` turns bytes into values in which every number is a `Num`; `dumps` writes a `Num` as it is.
`Fields` reads one object: a missing or mistyped field is a `Malformed`, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


class Malformed(Exception):
    """A body that is no JSON object of the expected fields; the text names the field."""


class Num(str):
    """A JSON number as its literal: `1.10` stays `1.10`."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    raise Malformed(f"{name} is no JSON number")


def loads(raw: bytes) -> object:
    """JSON of `raw` (UTF-8). Raises `Malformed`."""
    try:
        return json.loads(
            raw.decode("utf-8"), parse_float=Num, parse_int=Num, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise Malformed("not JSON in UTF-8") from None


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON; a `Num` goes out as its literal, text is not escaped beyond need."""
    return _text(value).encode()


def _text(value: object) -> str:
    if isinstance(value, Num):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(str(k))}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def is_number(text: str) -> bool:
    """Whether `text` can stand in JSON as a number."""
    return _NUMBER.fullmatch(text) is not None


class Fields:
    """The fields of one JSON object, read by type. Every method raises `Malformed`."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise Malformed("not a JSON object")
        self._fields: dict[str, object] = value

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def only(self, *names: str) -> None:
        """Refuse every field that is not one of `names`."""
        for name in self._fields:
            if name not in names:
                raise Malformed(f"unknown field {name!r}; known are {', '.join(names)}")

    def _get(self, name: str) -> object:
        if name not in self._fields:
            raise Malformed(f"field {name!r} is missing")
        return self._fields[name]

    def raw(self, name: str) -> object:
        """Whatever stands there; the reader judges it."""
        return self._get(name)

    def text(self, name: str, *, empty: bool = False, longest: int = 100_000) -> str:
        """A string; not empty unless `empty`."""
        value = self._get(name)
        if not isinstance(value, str) or isinstance(value, Num):
            raise Malformed(f"field {name!r} is not a string")
        if not value and not empty:
            raise Malformed(f"field {name!r} is empty")
        if len(value) > longest:
            raise Malformed(f"field {name!r} is longer than {longest} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed(f"field {name!r} is not Unicode text") from None
        return value

    def optional_text(self, name: str) -> str:
        """A string; `""` when absent or null."""
        if self._fields.get(name) is None:
            return ""
        return self.text(name, empty=True)

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise Malformed(f"field {name!r} is not true or false")
        return value

    def whole(self, name: str, *, most: int = 10**18 - 1) -> int:
        """A whole number from 0 to `most`, written without fraction or exponent."""
        value = self._get(name)
        if not isinstance(value, Num) or not _WHOLE.fullmatch(value) or int(value) > most:
            raise Malformed(f"field {name!r} is not a whole number from 0 to {most}")
        return int(value)

    def number(self, name: str) -> str:
        """The literal of a number, or of a string; whether it is an amount is for the reader."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > 400:
            raise Malformed(f"field {name!r} is not a number")
        return value

    def identifier(self, name: str) -> str:
        """The text of an id that may come as a number in plain digits or as a string."""
        value = self._get(name)
        if isinstance(value, Num):
            if not _WHOLE.fullmatch(value):
                raise Malformed(f"field {name!r} is not a number in plain digits")
            return str(value)
        return self.text(name, longest=255)
