"""Reading the fields of a callback: the editions differ in types, so ids may be text or number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from chain_adapter.callbacks.events import CallbackRefused
from chain_adapter.platform_api.exact_json import BadMessage, Number, dumps, loads
from chain_adapter.platform_api.fields import Row

_MAX_ID = 256
_ZERO = re.compile(r"[0.]*", re.ASCII)


class CallbackRow(Row):
    """One object of a callback. Every method raises `BadMessage` naming the field."""

    @property
    def fields(self) -> Mapping[str, Any]:
        return self._value

    def word(self, key: str, *, empty: bool = False) -> str:
        """An identifier or short text that comes as a string or as a number."""
        value = self._value.get(key)
        if isinstance(value, Number):
            return str(value)
        text = self.text(key)
        if len(text) > _MAX_ID or (not text and not empty):
            raise BadMessage(f"{key} is empty or too long")
        return text

    def optional_word(self, key: str) -> str | None:
        return None if self._value.get(key) is None else self.word(key, empty=True) or None

    def demand(self, names: Iterable[str]) -> None:
        """Every field of the documents is there, though perhaps null.

        Nothing seals the blocks of a message together: one that has lost a block has lost the
        name of a field, which is how it shows.
        """
        for name in names:
            if name not in self._value:
                raise BadMessage(f"{name} is missing")

    def positive(self, key: str) -> str:
        """A decimal amount above zero, plain."""
        amount = trimmed(self.amount(key))
        if _ZERO.fullmatch(amount):
            raise BadMessage(f"{key} is zero")
        return amount

    def optional_amount(self, key: str) -> str | None:
        value = self._value.get(key)
        return None if value is None or value == "" else trimmed(self.amount(key))

    def optional_whole(self, key: str) -> int | None:
        value = self._value.get(key)
        return None if value is None or value == "" else self.whole(key)


def trimmed(amount: str) -> str:
    """The one spelling of a plain amount: no trailing zeros behind the point."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def row_of(plaintext: bytes) -> CallbackRow:
    """The object of an opened message. Raises `CallbackRefused`."""
    try:
        return CallbackRow(loads(plaintext))
    except BadMessage as error:
        raise CallbackRefused(f"the message was opened, but: {error}") from None


def facts(**parts: str | None) -> str:
    """What may not change under one key, as one text for comparing and for a person."""
    return dumps({name: value for name, value in parts.items() if value is not None}).decode()
