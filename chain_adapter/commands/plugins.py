"""`plugins list`, `plugins check`, `plugins new`."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain_adapter import registry
from chain_adapter.assembly import plugin_of
from chain_adapter.chain import Asset, DevnetPlugin, Plugin
from chain_adapter.commands.output import answer, print_json, table
from chain_adapter.config import load
from chain_adapter.errors import ConfigError

if TYPE_CHECKING:
    from chain_adapter.testing import Result

COLUMNS = ("name", "distribution", "version", "usable", "devnet", "problem")


def show(args: Namespace) -> int:
    rows = [
        {
            "name": one.name,
            "distribution": one.distribution,
            "version": one.version,
            "usable": one.problem is None,
            "devnet": isinstance(one.plugin, DevnetPlugin),
            "problem": one.problem,
        }
        for one in registry.installed()
    ]
    answer(args.json, rows, COLUMNS, "no plugins are installed")
    return 0


def check(args: Namespace) -> int:
    """Against the nodes of the configuration whatever only reads; without one, everything on the
    plugin's own devnet."""
    plugin = registry.plugin(args.name, "plugins check")
    results: dict[str, list[Result]] = {}
    if args.config is None:
        results["devnet"] = asyncio.run(_on_devnet(plugin))
    else:
        chains = [one for one in load(args.config).chains.values() if one.plugin == args.name]
        if not chains:
            raise ConfigError(f"{args.config}: no chain uses plugin {args.name!r}")
        for chain in chains:
            plugin_of(chain)
            results[chain.name] = asyncio.run(
                _on_node(plugin, dict(chain.node), chain.plugin_assets())
            )
    rows = [{"on": where, **asdict(one)} for where, some in results.items() for one in some]
    failed = [row for row in rows if row["outcome"] == "failed"]
    if args.json:
        print_json({"ok": not failed, "results": rows})
    else:
        print(table(rows, ("on", "check", "outcome", "detail")))
        passed = sum(row["outcome"] == "passed" for row in rows)
        print(
            f"\n{passed} passed, {len(failed)} failed, {len(rows) - passed - len(failed)} skipped"
        )
    return 1 if failed else 0


async def _on_devnet(plugin: Plugin) -> list[Result]:
    from chain_adapter.testing import run_checks

    if not isinstance(plugin, DevnetPlugin):
        raise ConfigError(f"plugin {plugin.name!r} has no devnet: give --config with a node")
    devnet = await plugin.devnet("127.0.0.1:0")
    try:
        return await run_checks(devnet, plugin)
    finally:
        await devnet.close()


async def _on_node(
    plugin: Plugin, node: Mapping[str, Any], assets: Mapping[str, Asset]
) -> list[Result]:
    from chain_adapter.testing import run_live_checks

    return await run_live_checks(plugin, node, assets)


def new(args: Namespace) -> int:
    from chain_adapter.testing import new_plugin

    into: Path = args.into if args.into is not None else Path("plugins") / args.name
    new_plugin(args.name, into)
    print(f"{into}: now `pip install -e {into}`, then make its tests pass: pytest {into}")
    return 0
