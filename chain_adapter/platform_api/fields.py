"""How one field of a message is read: every refusal names the field and never shows a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chain_adapter.platform_api.exact_json import Ambiguous, BadMessage, Number

MAX_TEXT = 4096
_MAX_TRANS_ID = 128
_MAX_DIGITS = 120  # on either side of the point; more is no amount of anything
_PLAIN = re.compile(r"(0|[1-9][0-9]{0,119})(\.[0-9]{1,120})?", re.ASCII)
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransId:
    """The platform's name of a withdrawal. `text` is the key; `quoted` tells how it came.

    A number must be in plain digits. It goes back in the form in which it came.
    """

    text: str
    quoted: bool

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= _MAX_TRANS_ID or not self.text.isprintable():
            raise BadMessage("trans_id is empty, too long, or holds characters that do not print")
        if not self.quoted and not Number(self.text).is_digits:
            raise BadMessage(f"trans_id {self.text[:40]} is a number, but not in plain digits")

    @classmethod
    def of(cls, value: Any) -> TransId:
        """From a parsed JSON value. Raises `BadMessage` for another JSON type."""
        if not isinstance(value, str):
            raise BadMessage("trans_id is neither a number nor a string")
        return cls(str(value), quoted=not isinstance(value, Number))

    @property
    def json_value(self) -> str:
        """What `dumps` writes in the form in which it came."""
        return self.text if self.quoted else Number(self.text)


class Row:
    """Typed reading of one parsed object; every refusal names its field."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, Ambiguous):
            raise BadMessage("a key stands twice in the object")
        if not isinstance(value, dict):
            raise BadMessage("the message is no JSON object")
        self._value: Mapping[str, Any] = value

    def text(self, key: str, limit: int = MAX_TEXT) -> str:
        value = self._value.get(key)
        if not isinstance(value, str) or isinstance(value, Number):
            raise BadMessage(f"{key} is missing or is no string")
        # a NUL or half a surrogate pair could be neither stored nor sent back
        if len(value) > limit or "\x00" in value or not _encodes(value):
            raise BadMessage(f"{key} is too long or holds characters that are no text")
        return value

    def name(self, key: str) -> str:
        value = self.text(key)
        if not value:
            raise BadMessage(f"{key} is empty")
        return value

    def optional(self, key: str) -> str | None:
        return (self.text(key) or None) if self._value.get(key) is not None else None

    def amount(self, key: str) -> str:
        return _plain(self.number(key), key)

    def number(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str):
            raise BadMessage(f"{key} is missing or is neither a number nor a string")
        if len(value) > 2 * _MAX_DIGITS:
            raise BadMessage(f"{key} is too long to be an amount")
        return str(Number(value))

    def whole(self, key: str) -> int:
        value = self._value.get(key)
        if not isinstance(value, str) or not _WHOLE.fullmatch(value):
            raise BadMessage(f"{key} is missing or is no whole number")
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._value.get(key)
        if not isinstance(value, bool):
            raise BadMessage(f"{key} is missing or is neither true nor false")
        return value

    def trans_id(self) -> TransId:
        return TransId.of(self._value.get("trans_id"))


def is_plain(amount: str) -> bool:
    """Whether the text is an amount in plain notation: digits, a point, digits."""
    return _PLAIN.fullmatch(amount) is not None


def _plain(text: str, key: str) -> str:
    """Plain notation of an exact number that may carry an exponent."""
    if _PLAIN.fullmatch(text):
        return text
    number = Decimal(text)
    _, digits, exponent = number.as_tuple()
    if number.is_signed() or not isinstance(exponent, int):
        raise BadMessage(f"{key} is negative")
    if abs(exponent) > _MAX_DIGITS or len(digits) > 2 * _MAX_DIGITS:
        raise BadMessage(f"{key} is no amount")
    return format(number, "f")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
