"""A daemon inside the benchmark's process: its own workers, loops and books on the real disk.

What may be exchanged is the platform (`Instant`: answers at once, keeps nothing) and the node (the
reference chain in memory). Loops that the figure does not need are left out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chain_adapter import daemon as daemon_module
from chain_adapter.assembly import no_requests
from chain_adapter.chain import Asset, Plugin
from chain_adapter.clock import SystemClock
from chain_adapter.config import load
from chain_adapter.daemon import Daemon
from chain_adapter.keys import init as keys_init
from chain_adapter.keys.keystore import MIN_N, PublicKeys
from chain_adapter.platform_api.answers import ConsumePage, read_consume
from chain_adapter.platform_api.messages import (
    DepositNotice,
    InternalNotice,
    TransId,
    WithdrawalNotice,
)
from chain_adapter.registry import plugins
from chain_adapter.sandbox.identity import open_identity
from chain_adapter.store import ledger, orders
from chain_adapter.store.store import Tx

CHAIN = "bench"
PASSPHRASE = "correct horse battery staple"


class Instant:
    """A platform that says yes at once. `told` is called with every withdrawal notice."""

    def __init__(self, state: Path) -> None:
        self._identity = open_identity(state)
        self.app_id = self._identity.app_id
        self.told: Callable[[WithdrawalNotice], None] = lambda _notice: None

    async def register(self, symbol: str, addresses: Sequence[str], memo: bool) -> None: ...

    async def available(self, symbol: str) -> int:
        return 10**6

    async def notify_deposit(self, notice: DepositNotice) -> None: ...

    async def consume(self, symbol: str) -> ConsumePage:
        return self.page(symbol, [])

    async def notify_withdrawal(self, notice: WithdrawalNotice) -> None:
        self.told(notice)

    async def cancel(self, symbol: str, trans_id: TransId, msg: str) -> None: ...

    async def notify_internal(self, notice: InternalNotice) -> None: ...

    def page(self, symbol: str, rows: Sequence[dict[str, str]]) -> ConsumePage:
        """A signed answer that lists these orders."""
        plaintext = json.dumps(list(rows)).encode()
        return read_consume(symbol, plaintext, self._identity.envelope.seal(plaintext).sign)


class BenchDaemon(Daemon):
    """The daemon without the loops that are not wanted, and with the platform that is given."""

    def __init__(self, config_file: Path, loops: Sequence[str]) -> None:
        super().__init__(load(config_file), SystemClock())
        self._wanted = tuple(loops)

    def _loop(self, name: str, step: Callable[[], Any]) -> Any:
        loop = super()._loop(name, step)
        if not name.startswith(self._wanted):
            self.loops.remove(loop)
        return loop

    def wake(self, name: str) -> None:
        """Every loop whose name begins so looks again at once."""
        for loop in self.loops:
            if loop.name.startswith(name):
                loop.wake()

    @property
    def commits(self) -> int:
        """Durable commits of books and journal so far."""
        return int(self.store.commits + getattr(self.signer, "commits", 0))


def make_keys(folder: Path, plugin: Plugin, asset: Asset) -> None:
    """Keystore, journal and ledger for one chain."""
    pure = plugin.open(plugin.settings(), {asset.name: asset}, None, no_requests)
    keys_init.init(
        folder / "keystore.json",
        PASSPHRASE,
        None,
        [keys_init.ChainKeys(CHAIN, pure.info.scheme, pure.info.coin_type, pure.address_of)],
        n=MIN_N,
    )
    public = PublicKeys.load(folder / "keystore.json")
    url = f"sqlite:///{folder / 'adapter.db'}"
    ledger.create(url, SystemClock(), ledger_id=public.ledger_id).close()
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    (folder / "passphrase").chmod(0o600)


def write_config(
    folder: Path,
    *,
    plugin: str,
    app_id: str,
    node: str,
    asset: str,
    platform_url: str = "http://127.0.0.1:9",
    signer: str = "embedded",
    confirmations: int = 1,
    platform_confirmations: int = 1,
) -> Path:
    """`adapter.toml` beside keys, books and `platform/`. `node`: lines of the plugin's table."""
    path = folder / "adapter.toml"
    path.write_text(
        f"""[database]
url = "sqlite:///adapter.db"
[platform]
url = "{platform_url}"
app_id = "{app_id}"
private_key_file = "platform/party_a_private.pem"
platform_key_file = "platform/platform_public.pem"
platform_confirmations = {platform_confirmations}
poll_interval_s = 0.2
[keys]
keystore = "keystore.json"
passphrase_file = "passphrase"
signer = "{signer}"
[console]
listen = "127.0.0.1:0"
[chains.{CHAIN}]
plugin = "{plugin}"
confirmations = {confirmations}
start_height = 0
poll_interval_s = 0.2
[chains.{CHAIN}.node]
{node}
[chains.{CHAIN}.assets.{asset}]
decimals = 18
collect = false
"""
    )
    return path


@asynccontextmanager
async def running(
    config_file: Path, loops: Sequence[str], platform: Instant | None
) -> AsyncIterator[BenchDaemon]:
    """A started daemon; with `platform`, that instead of HTTP and RSA."""
    made = BenchDaemon(config_file, loops)
    names = vars(daemon_module)
    client = names["PlatformClient"]
    if platform is not None:
        names["PlatformClient"] = lambda *_a, **_n: platform
    try:
        await made.start()
    finally:
        names["PlatformClient"] = client
    try:
        yield made
    finally:
        await made.close()


_serial = itertools.count(1)


def new_orders(symbol: str, recipients: Sequence[str], amount: str) -> list[dict[str, str]]:
    """Rows as the platform lists them."""
    return [
        {
            "trans_id": str(next(_serial)),
            "symbol": symbol,
            "amount": amount,
            "address_to": one,
        }
        for one in recipients
    ]


async def store_orders(
    daemon: BenchDaemon, platform: Instant, rows: Sequence[dict[str, str]]
) -> None:
    """Orders in the books, with the signed page of at most twenty that listed each."""
    asked_at = int(daemon.clock.now().timestamp() * 1_000_000)
    pages = [
        platform.page(rows[at]["symbol"], rows[at : at + 20]) for at in range(0, len(rows), 20)
    ]

    def unit(tx: Tx) -> None:
        for page in pages:
            for order in page.orders:
                sighting = orders.Sighting(
                    order.trans_id.text, order.trans_id.quoted, order.symbol, order.amount,
                    order.address_to, order.memo,
                )  # fmt: skip
                orders.take(
                    tx, CHAIN, order.symbol, sighting, warrant=page.warrant.plaintext,
                    warrant_sign=page.warrant.sign, asked_at=asked_at, hold_new=False,
                )  # fmt: skip

    await daemon.store.write(unit)


async def reached(holds: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Wait for it, looking often."""
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.002)


def plugin_named(name: str) -> Plugin:
    """An installed plugin."""
    return plugins()[name]
