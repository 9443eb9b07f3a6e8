"""A new plugin's skeleton: a distribution of the shape every plugin has.

It installs, is found, and passes the contract for the parts that are written (constants, names,
trouble with endpoints); every other method says that it is not written yet. The texts stand in
``chain_adapter/plugin_template``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from chain_adapter.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]{1,30}", re.ASCII)
_SUFFIX = ".tmpl"


def new_plugin(name: str, into: Path) -> list[Path]:
    """Write the skeleton of a plugin called `name` into the folder `into`; returns its files.

    Raises `ConfigError` for a name that is no module name, or a folder that is not empty: nothing
    is overwritten.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"plugin name {name!r}: 2 to 31 of a-z and 0-9, a letter first")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ConfigError(f"{into} is not an empty folder: nothing is overwritten")
    words = {"name": name, "kind": name.capitalize()}
    written = []
    for place, text in _templates(files("chain_adapter") / "plugin_template", Path()):
        path = into / str(place).replace("NAME", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(path)
    return sorted(written)


def _templates(folder: Traversable, at: Path) -> Iterator[tuple[Path, str]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _templates(one, at / one.name)
        elif one.name.endswith(_SUFFIX):
            yield at / one.name.removesuffix(_SUFFIX), one.read_text(encoding="utf-8")
