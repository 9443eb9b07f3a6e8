"""Writes docs/configuration.md and config/example.toml from the records.

`python -m chain_adapter.config.reference` rewrites both in the current directory; a test holds
them to what this page would write, so that no default can change without its documents.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chain_adapter.config.assets import AssetConfig
from chain_adapter.config.records import ChainConfig, Config, PoolConfig
from chain_adapter.config.sections import (
    AlarmsConfig,
    ConsoleConfig,
    DatabaseConfig,
    KeysConfig,
    LogConfig,
    PlatformConfig,
)
from chain_adapter.config.settings import Setting, settings_of

DOCUMENT = Path("docs/configuration.md")
EXAMPLE = Path("config/example.toml")

TABLES: tuple[tuple[str, str, type[Any], str], ...] = (
    ("", "", Config, "Keys that stand before the first section."),
    ("[database]", "[database]", DatabaseConfig, "Needed by every command that reads the books."),
    (
        "[platform]",
        "[platform]",
        PlatformConfig,
        "The platform. `scan` and `addresses import` go without it.",
    ),
    ("[keys]", "[keys]", KeysConfig, "The seed. `scan` and `addresses import` go without it."),
    ("[console]", "[console]", ConsoleConfig, "Health, metrics, the operator's page."),
    ("[log]", "[log]", LogConfig, "Logs go to standard error."),
    (
        "[alarms]",
        "[alarms]",
        AlarmsConfig,
        "Who hears of alarms; without it only the console, the metrics and `alarms list` tell.",
    ),
    (
        "[chains.NAME]",
        "[chains.main]",
        ChainConfig,
        "One such section a chain; the name is yours, and stays: the books speak of it.",
    ),
    (
        "[chains.NAME.pool]",
        "[chains.main.pool]",
        PoolConfig,
        "Unused deposit addresses at the platform.",
    ),
    (
        "[chains.NAME.assets.SYMBOL]",
        "[chains.main.assets.ETH]",
        AssetConfig,
        "One such section an asset, the main coin among them.",
    ),
)

_INTRO = """# Configuration

One TOML file, given to every command as `--config FILE`. Written from the code by
`python -m chain_adapter.config.reference`; `config/example.toml` shows the same with every default.

- Unknown keys are refused, naming the nearest right one.
- Relative paths, the SQLite URL's too, are relative to the configuration file; four slashes make
  the URL absolute: `sqlite:////var/lib/chain-adapter/adapter.db`.
- Amounts are decimals in quotes (`"0.5"`) and must fit the asset's decimals exactly.
- Keys that end in `_s` are numbers of seconds. Other durations are seconds or text: `"90s"`,
  `"15m"`, `"24h"`.
- Secrets stand in files of their own, never in this one.
- What stands under an asset wins over its chain, the chain over `[platform]` and the top.
"""

_NODE = """## [chains.NAME.node]

The plugin's own settings; `endpoints`, a list of one or more, is the one key that is the same for
all: nodes of one network. With two or more, their blocks are compared before a deposit is credited.
The other keys are in the plugin's documentation; `chain-adapter check` names a wrong one.
"""


def document() -> str:
    """The whole of docs/configuration.md."""
    parts = [_INTRO]
    for title, _, record, meaning in TABLES:
        rows = [f"## {title or 'Top of the file'}", "", meaning, ""]
        rows += ["| key | kind | default | meaning |", "|---|---|---|---|"]
        rows += [
            f"| `{one.key}` | {one.kind.name.replace('|', '/')} | "
            f"{'needed' if one.needed else _shown(one)} | {one.doc} |"
            for _, one in settings_of(record).values()
        ]
        parts.append("\n".join(rows) + "\n")
        if record is PoolConfig:
            parts.append(_NODE)
    return "\n".join(parts)


def _shown(one: Setting) -> str:
    if not one.shown:
        return "none"
    literal = one.shown.startswith(('"', "[")) or one.shown[0].isdigit() or one.shown in _WORDS
    simple = literal and ";" not in one.shown and "," not in one.shown
    return f"`{one.shown}`" if simple else one.shown


_WORDS = ("true", "false")


def example() -> str:
    """The whole of config/example.toml: what is needed is set, every default is a comment."""
    return "\n".join(_example_lines()).rstrip() + "\n"


def _example_lines() -> Iterator[str]:
    yield "# Every setting of chain-adapter. What is set here is needed; what is a comment shows"
    yield "# the default, or an example where there is none. docs/configuration.md says the same."
    yield ""
    for _, title, record, meaning in TABLES:
        if title:
            yield from ("", title)
        yield from _comment(meaning)
        yield ""
        for _, one in settings_of(record).values():
            yield from _comment(one.doc)
            if one.needed:
                number = "18" if title.endswith("ETH]") and one.key == "decimals" else one.example
                yield f"{one.key} = {number}"
            elif one.key == "platform_confirmations" and record is PlatformConfig:
                yield f"# default: {one.shown}"
                yield f"{one.key} = {one.example}"
            else:
                if one.shown != one.example:
                    yield f"# default: {one.shown or 'none'}; for example"
                yield f"# {one.key} = {one.example}"
            yield ""
        if record is PoolConfig:
            yield from ("", "[chains.main.node]")
            yield from _comment("The plugin's own settings; the core reads `endpoints` alone.")
            yield 'endpoints = ["http://127.0.0.1:8545"]'
            yield ""
    yield from ("", "[chains.main.assets.USDT]")
    yield from _comment("A token: an asset with a contract.")
    yield 'contract = "0x0000000000000000000000000000000000000001"'
    yield "decimals = 6"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")


def write(root: Path) -> None:
    """Write both files below `root`."""
    (root / DOCUMENT).write_text(document(), encoding="utf-8")
    (root / EXAMPLE).write_text(example(), encoding="utf-8")


if __name__ == "__main__":
    write(Path())
