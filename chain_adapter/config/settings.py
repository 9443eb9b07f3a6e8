"""What a key of the file is: kind, documentation and default, put beside a record's field.

The loader reads tables by these, the reference and the example file are written from them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from chain_adapter.config.kinds import Kind

_UNSET: Any = dataclasses.MISSING


@dataclass(frozen=True, slots=True)
class Setting:
    """What the loader and the reference know of one key."""

    key: str
    kind: Kind
    doc: str
    needed: bool
    shown: str  # the default as the reference prints it; "" when there is none
    example: str  # a TOML value for the example file


def setting(
    kind: Kind,
    doc: str,
    *,
    default: Any = _UNSET,
    needed: bool = False,
    shown: str = "",
    example: str = "",
    key: str = "",
    quiet: bool = False,
) -> Any:
    """A dataclass field that is a key of the file.

    `shown` is the default as people read it, `example` a TOML value where that is none itself.
    `quiet` keeps the value out of the repr.
    """
    return field(
        default=default,
        repr=not quiet,
        metadata={"setting": (kind, doc, needed, shown, example or shown, key)},
    )


def settings_of(record: type[Any]) -> dict[str, tuple[str, Setting]]:
    """Keys of a record's table: TOML key -> (field name, setting)."""
    found: dict[str, tuple[str, Setting]] = {}
    for one in dataclasses.fields(record):
        if "setting" in one.metadata:
            kind, doc, needed, shown, example, key = one.metadata["setting"]
            name = key or one.name
            found[name] = (one.name, Setting(name, kind, doc, needed, shown, example))
    return found
