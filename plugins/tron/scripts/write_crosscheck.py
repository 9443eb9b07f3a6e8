"""Writes the cross-check table into README.md: one transaction by this plugin, tronpy and TronWeb.

Run it from the repository's root after a change of the codec: ``python -m
plugins.tron.scripts.write_crosscheck``. Needs node and the npm package tronweb.
"""

from __future__ import annotations

import asyncio

from chain_adapter_tron.chain import plugin
from plugins.tron.tests import crosscheck
from plugins.tron.tests.parts import funded, open_gate
from plugins.tron.tests.test_clients import README


async def rows() -> list[str]:
    """The table as it comes out now."""
    devnet = await plugin.devnet("127.0.0.1:0")
    chain = plugin.open(plugin.settings(memo=True), devnet.assets, devnet.url, open_gate)
    try:
        return await crosscheck.table(devnet, chain, await funded(devnet))
    finally:
        await chain.close()
        await devnet.close()


def main() -> None:
    """Replaces the table in README.md."""
    made = asyncio.run(rows())
    lines = README.read_text().splitlines()
    start = lines.index(crosscheck.HEAD)
    end = next(at for at in range(start, len(lines)) if not lines[at].startswith("|"))
    README.write_text("\n".join([*lines[:start], *made, *lines[end:], ""]))


if __name__ == "__main__":
    main()
