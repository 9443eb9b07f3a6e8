"""Finds chain plugins and types their settings.

An installed distribution names its plugin under the entry point group ``chain_adapter.chains``.
`installed` lists all, `plugins` those that fit this version, `plugin` gives one by name or says why
not. `settings_of` turns a `[chains.X.node]` table into the plugin's own typed record.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chain_adapter.chain import API, Plugin
from chain_adapter.errors import ConfigError

GROUP = "chain_adapter.chains"
ENDPOINTS = "endpoints"

# What a distribution that is broken or half installed raises while it is imported.
_BROKEN = (ImportError, AttributeError, SyntaxError, TypeError, ValueError, LookupError, OSError)


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point: its plugin, or the problem that keeps it from being used."""

    name: str
    distribution: str
    version: str
    plugin: Plugin | None
    problem: str | None


def installed() -> list[Installed]:
    """Every plugin that a distribution on this machine names, usable or not, by name."""
    found = [_load(point) for point in entry_points(group=GROUP)]
    seen: dict[str, Installed] = {}
    for one in sorted(found, key=lambda one: (one.name, one.distribution)):
        other = seen.setdefault(one.name, one)
        # An editable install beside a regular one lists the same entry point twice.
        if other.distribution != one.distribution:
            both = f"{other.distribution} and {one.distribution} both name a plugin {one.name!r}"
            seen[one.name] = dataclasses.replace(
                other, plugin=None, problem=f"{both}: uninstall one of them"
            )
    return list(seen.values())


def plugins() -> dict[str, Plugin]:
    """The usable plugins by name."""
    return {one.name: one.plugin for one in installed() if one.plugin is not None}


def plugin(name: str, where: str = "plugin") -> Plugin:
    """The plugin called `name`. `ConfigError` names the nearest one, or what is wrong with it."""
    found = {one.name: one for one in installed()}
    one = found.get(name)
    if one is None:
        raise ConfigError(f"{where}: no plugin {name!r} is installed{_instead(name, found)}")
    if one.plugin is None:
        raise ConfigError(f"{where}: plugin {name!r} ({one.distribution}): {one.problem}")
    return one.plugin


def endpoints_of(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The `endpoints` of a `[chains.X.node]` table: the one key of it that the core reads."""
    value = table.get(ENDPOINTS)
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f'{where}.{ENDPOINTS}: give a list of one or more, endpoints = ["…"]')
    for one in value:
        if not isinstance(one, str) or not one:
            raise ConfigError(f"{where}.{ENDPOINTS}: each endpoint is a text")
    if len(set(value)) != len(value):
        raise ConfigError(f"{where}.{ENDPOINTS}: the same endpoint stands there twice")
    return tuple(value)


def settings_of(plugin: Plugin, table: Mapping[str, Any], where: str) -> Any:
    """`table` as the plugin's settings record.

    `where` is the table's name in the configuration, for errors. Raises `ConfigError` for a key
    that the plugin does not have (naming the nearest), a missing one, or a wrong type. `endpoints`
    reaches the record only if it has that field. A record's class attribute `OBSOLETE` maps keys of
    older versions to what to write instead.
    """
    given = dict(table)
    known = {field.name for field in dataclasses.fields(plugin.settings)}
    if ENDPOINTS not in known:
        given.pop(ENDPOINTS, None)
    return _record(plugin.settings, given, where)


def _load(point: EntryPoint) -> Installed:
    distribution = point.dist.name if point.dist is not None else "?"
    version = point.dist.version if point.dist is not None else "?"

    def result(plugin: Plugin | None, problem: str | None) -> Installed:
        return Installed(point.name, distribution, version, plugin, problem)

    try:
        loaded = point.load()
        if isinstance(loaded, type):
            loaded = loaded()
    except _BROKEN as error:
        return result(None, f"cannot be imported: {type(error).__name__}: {error}")
    problem = _problem(point.name, loaded)
    return result(loaded if problem is None else None, problem)


def _problem(name: str, loaded: Any) -> str | None:
    if not isinstance(loaded, Plugin):
        return "is no Plugin: it lacks name, api, settings or open"
    if loaded.api != API:
        side = "chain-adapter" if loaded.api > API else "the plugin"
        return f"was written for interface {loaded.api}, this is {API}: upgrade {side}"
    if loaded.name != name:
        return f"calls itself {loaded.name!r}, its entry point says {name!r}"
    if not dataclasses.is_dataclass(loaded.settings):
        return "its settings are no dataclass"
    return None


def _instead(name: str, known: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is {', '.join(sorted(known)) or 'none'}"


def _record(kind: type[Any], given: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    obsolete: Mapping[str, str] = getattr(kind, "OBSOLETE", {})
    for key in given:
        if key in obsolete:
            raise ConfigError(f"{where}.{key} is obsolete: {obsolete[key]}")
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}{_instead(key, fields)}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            values[name] = _typed(hints[name], given[name], f"{where}.{name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: {name} is missing")
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` (of TOML) as `hint`, or `ConfigError`. An int stands for a float, nothing else."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(inner, value, where)
    if origin is typing.Literal:
        if value in inner and type(value) in {type(one) for one in inner}:
            return value
        raise ConfigError(f"{where}: one of {', '.join(map(repr, inner))}, not {value!r}")
    if origin in (tuple, list, Sequence) or origin is types.GenericAlias:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{where}: give a list")
        made = [_typed(inner[0], one, f"{where}[{i}]") for i, one in enumerate(value)]
        return made if origin is list else tuple(made)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: give a table")
        return {str(key): _typed(inner[1], one, f"{where}.{key}") for key, one in value.items()}
    return _plain(hint, value, where)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    wrong: ConfigError | None = None
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
            continue
        try:
            return _typed(kind, value, where)
        except ConfigError as error:
            wrong = wrong or error
    raise wrong or ConfigError(f"{where}: unexpected {type(value).__name__}")


def _plain(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: give a table")
        return _record(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            choices = ", ".join(repr(one.value) for one in hint)
            raise ConfigError(f"{where}: one of {choices}, not {value!r}") from None
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    name = getattr(hint, "__name__", str(hint))
    raise ConfigError(f"{where}: expected {name}, got {type(value).__name__}")
