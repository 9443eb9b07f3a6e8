"""Commands that stay: the daemon, the sandbox, a devnet, the demo; and `scan`.

Each hands over to the part that does it. Servers print one ready line and end on SIGTERM with 0.
"""

from __future__ import annotations

import asyncio
import signal
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chain_adapter import registry, telemetry
from chain_adapter.chain import DevnetPlugin
from chain_adapter.commands.output import ready
from chain_adapter.config import load
from chain_adapter.config.kinds import Place, read_listen
from chain_adapter.errors import ConfigError

BLOCK_TIME_S = 1.0


def run(args: Namespace) -> int:
    from chain_adapter import daemon

    config = load(args.config)
    telemetry.configure(config.log.level, config.log.format)
    return daemon.main(config)


def scan(args: Namespace) -> int:
    import chain_adapter.scan as scanner

    config = load(args.config)
    if args.to_height < args.from_height:
        raise ConfigError("--to: is below --from")
    telemetry.configure(config.log.level, config.log.format)
    return scanner.main(
        config, args.chain, args.from_height, args.to_height,
        record=args.record, as_json=args.json,
    )  # fmt: skip


def demo(args: Namespace) -> int:
    if args.endpoint is not None or args.funded_key_file is not None:
        return _own_node(args)
    if args.merchant:
        from chain_adapter.demo import merchant

        return merchant.main(args.chain, args.deposits, args.withdrawals, as_json=args.json)
    from chain_adapter.demo import run as playing

    return playing.main(args.chain, args.deposits, args.withdrawals, as_json=args.json)


def _own_node(args: Namespace) -> int:
    """The demo on the visitor's own node."""
    from chain_adapter.demo import own_node

    if args.endpoint is None or args.funded_key_file is None:
        raise ConfigError("--endpoint and --funded-key-file belong together")
    if args.merchant or args.naive:
        raise ConfigError("--merchant and --naive are shown on local parts only")
    return own_node.main(
        args.chain, args.endpoint, args.funded_key_file, args.deposits, args.withdrawals,
        yes=args.yes, as_json=args.json,
    )  # fmt: skip


def sandbox(args: Namespace) -> int:
    from chain_adapter.sandbox import server

    telemetry.configure()
    return server.main(args.listen, args.state)


def devnet(args: Namespace) -> int:
    listen = str(read_listen(args.listen, Place("--listen", Path())))
    plugin = registry.plugin(args.name, "devnet")
    if not isinstance(plugin, DevnetPlugin):
        raise ConfigError(f"plugin {args.name!r} has no local chain")
    telemetry.configure()
    return asyncio.run(_devnet(plugin, listen))


async def _devnet(plugin: DevnetPlugin, listen: str) -> int:
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    chain = await plugin.devnet(listen)
    try:
        await chain.automine(BLOCK_TIME_S)
        ready(
            url=chain.url,
            private_key=chain.private_key,
            address=chain.address,
            assets={name: _asset(one) for name, one in chain.assets.items()},
            node=dict(chain.node),
        )
        await stop.wait()
    finally:
        await chain.close()
    return 0


def _asset(asset: Any) -> dict[str, Any]:
    return {key: one for key, one in asdict(asset).items() if key in ("contract", "decimals")}
