"""Kinds of settings: how one TOML value becomes one typed value.

A kind is a name for the reference and a function `(value, place) -> typed value`. `Place` knows the
dotted key and the directory of the file, so every refusal names the full key and what would do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from chain_adapter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: full dotted key, and the directory that relative paths start from."""

    key: str
    directory: Path

    def refuse(self, why: str) -> ConfigError:
        return ConfigError(f"{self.key}: {why}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value. `name` is what the reference prints."""

    name: str
    read: Callable[[Any, Place], Any]


def described(value: object) -> str:
    """A TOML value's type in the words of TOML; never the value, which may be a secret."""
    for kind, word in (
        (bool, "a boolean"),
        (int, "an integer"),
        (Decimal, "a decimal number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a table"),
    ):
        if isinstance(value, kind):
            return word
    return f"a {type(value).__name__}"


def _checkpoints(value: Any, place: Place) -> Mapping[int, str]:
    """A table of heights, which TOML has as texts, and block hashes."""
    table = _table(value, place)
    found: dict[int, str] = {}
    for key, one in table.items():
        if not (key.isascii() and key.isdigit()) or len(key) > 18:
            raise place.refuse('each key is a height in digits, such as "19000000"')
        if not isinstance(one, str) or not one.strip():
            raise place.refuse(f"{key}: must be the hash of that block, in quotes")
        found[int(key)] = one.strip()
    return MappingProxyType(found)


def _text(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise place.refuse(f"must be text in quotes, not {described(value)}")
    if not value.strip():
        raise place.refuse("must not be empty")
    return value


def _boolean(value: Any, place: Place) -> bool:
    if not isinstance(value, bool):
        raise place.refuse(f"must be true or false without quotes, not {described(value)}")
    return value


def _on_off(value: Any, place: Place) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("on", "off"):
        return bool(value == "on")
    raise place.refuse('must be "on" or "off"')


def integer(least: int, most: int = 2**63 - 1) -> Kind:
    """A whole number from `least` to `most`, both included."""

    def read(value: Any, place: Place) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise place.refuse(f"must be a whole number without quotes, not {described(value)}")
        if not least <= value <= most:
            span = f"at least {least}" if most == 2**63 - 1 else f"from {least} to {most}"
            raise place.refuse(f"must be {span}, not {value}")
        return value

    return Kind("integer", read)


def seconds(least: float = 0.0, *, above: bool = True) -> Kind:
    """A number of seconds above (or at) `least`."""

    def read(value: Any, place: Place) -> float:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise place.refuse(f"must be a number of seconds, not {described(value)}")
        given = Decimal(value)
        number = float(given)
        if not (number > least if above else number >= least) or number > 10**9:
            raise place.refuse(f"must be {'above' if above else 'at least'} {least:g} seconds")
        return number

    return Kind("seconds", read)


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _duration(value: Any, place: Place) -> float:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if not found:
            raise place.refuse('must be a number of seconds or text such as "90s", "15m", "24h"')
        value = Decimal(found[1]) * _UNIT_S[found[2]]
    return float(seconds().read(value, place))


def _duration_or_never(value: Any, place: Place) -> float | None:
    return None if value == "never" else _duration(value, place)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def read(value: Any, place: Place) -> str:
        if not isinstance(value, str) or value not in names:
            given = f', not "{value}"' if isinstance(value, str) and len(value) < 40 else ""
            raise place.refuse("must be one of " + ", ".join(f'"{n}"' for n in names) + given)
        return value

    return Kind(" or ".join(f'"{n}"' for n in names), read)


def _path(value: Any, place: Place) -> Path:
    return (place.directory / Path(_text(value, place)).expanduser()).absolute()


def _texts(value: Any, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise place.refuse("must be a list of texts")
    if len(set(value)) != len(value):
        raise place.refuse("names the same value twice")
    return tuple(value)


def _decimal(value: Any, place: Place) -> str:
    """Decimal text, kept as it came: the asset's decimals are known only to the loader."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise place.refuse(f'must be a decimal in quotes such as "0.5", not {described(value)}')
    return str(value)


def _web_url(value: Any, place: Place) -> str:
    text = _text(value, place).strip()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise place.refuse("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise place.refuse("must be a URL that begins with https:// or http://")
    if parts.username or parts.password:
        raise place.refuse("must not hold a user or password: put secrets in files")
    if parts.query or parts.fragment:
        raise place.refuse("must end with the host or a path, without ? or #")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _database_url(value: Any, place: Place) -> str:
    """SQLite paths made absolute; PostgreSQL URLs as they came."""
    text = _text(value, place).strip()
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("sqlite", "postgresql", "postgresql+psycopg", "postgres"):
        raise place.refuse(
            'must begin with "sqlite:///" (then a path) or "postgresql://" (then user@host/name)'
        )
    if scheme != "sqlite":
        return f"postgresql://{rest}"
    if not rest.startswith("/"):
        raise place.refuse(
            'an SQLite URL has three slashes before a relative path, four before "/"'
        )
    file = rest[1:]
    if not file or file.startswith((":memory:", "?")):
        raise place.refuse("must name a file: books in memory would be lost with the process")
    if "?" in file:
        raise place.refuse("takes no ? parameters for SQLite")
    return f"sqlite:///{(place.directory / file).absolute()}"


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on; port 0 lets the system pick one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_listen(value: Any, place: Place) -> Listen:
    """`HOST:PORT`, `[v6]:PORT`. `ConfigError` for anything else."""
    text = _text(value, place).strip()
    host, separator, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise place.refuse('must be HOST:PORT such as "127.0.0.1:9200"')
    return Listen(host, int(port))


def _table(value: Any, place: Place) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise place.refuse(f"must be a table, not {described(value)}")
    return value


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine itself."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


TEXT = Kind("text", _text)
BOOLEAN = Kind("boolean", _boolean)
ON_OFF = Kind('"on" or "off"', _on_off)
DURATION = Kind('duration: seconds, or "90s", "15m", "24h"', _duration)
DURATION_OR_NEVER = Kind('duration: seconds, or "90s", "15m", "24h", "never"', _duration_or_never)
PATH = Kind("path", _path)
TEXTS = Kind("list of texts", _texts)
DECIMAL = Kind("decimal in quotes", _decimal)
WEB_URL = Kind("URL", _web_url)
DATABASE_URL = Kind("URL", _database_url)
LISTEN = Kind("HOST:PORT", read_listen)
TABLE = Kind("table", _table)
CHECKPOINTS = Kind("table of height = hash", _checkpoints)
