"""N1: what a notification costs us beside its RSA, the sandbox being another process."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import insert

from benchmarks import stage
from benchmarks.harness import Result
from chain_adapter.assembly import no_requests
from chain_adapter.chain import Asset
from chain_adapter.core.states import Deposit
from chain_adapter.demo.parts import Control, Process
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.envelope import Envelope, LocalSealer, load_private_key
from chain_adapter.platform_api.envelope import load_public_key as load_public
from chain_adapter.platform_api.transport import open_session
from chain_adapter.sandbox.reference import NATIVE_NAMES, ReferenceLedger
from chain_adapter.sandbox.reference_tx import Flavour
from chain_adapter.store import outbox, schema
from chain_adapter.store.store import Tx

IDS = ("N1",)
SYMBOL = NATIVE_NAMES[Flavour.ACCOUNT]


def run(folder: Path, wanted: Container[str], *, count: int, times: int) -> Iterator[Result]:
    """The figure, if it is wanted."""
    if "N1" in wanted:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        yield asyncio.run(_run(folder / "notifying", count, times))


async def _run(folder: Path, count: int, times: int) -> Result:
    folder.mkdir()
    chain = ReferenceLedger("bench-notify", Flavour.ACCOUNT, block_time_s=1)
    state = folder / "platform"
    sandbox = Process(
        "sandbox", ["sandbox", "--listen", "127.0.0.1:0", "--state", str(state)], folder / "log"
    )
    await sandbox.start()
    control = Control(sandbox.url)
    try:
        await control.post("coins", symbol=SYMBOL, memo=False, decimals=18, confirmations=1)
        stage.make_keys(folder, stage.plugin_named("reference"), Asset(SYMBOL, None, 18))
        config = stage.write_config(
            folder, plugin="reference", app_id=(state / "app_id").read_text().strip(),
            asset=SYMBOL, platform_url=sandbox.url,
            node=f'endpoints = ["{chain.url()}"]\nflavour = "account"',
        )  # fmt: skip
        async with stage.running(config, ("watcher", "courier"), None) as daemon:
            chain.mine(3)
            watcher = daemon.watchers[stage.CHAIN]
            await stage.reached(lambda: watcher.progress.settled_height >= chain.height)
            made = Notices(daemon, await _address(folder, sandbox.url))
            envelope = _envelope(state)
            await made.send(5)
            pairs = []
            for _ in range(times):
                ours, per_s = await made.send(count)
                pairs.append((_rsa(envelope, count), ours, per_s))
    finally:
        await control.close()
        await sandbox.stop()
        chain.close()
    detail = {
        "rsa_ms": [round(rsa * 1000, 3) for rsa, _, _ in pairs],
        "ours_ms": [round(ours * 1000, 3) for _, ours, _ in pairs],
        "per_s": [round(rate, 1) for _, _, rate in pairs],
    }
    note = "CPU of seal and open alone / our whole CPU, a notification"
    return Result("N1", [rsa / ours for rsa, ours, _ in pairs], note, detail=detail)


async def _address(folder: Path, url: str) -> str:
    """An address that the platform knows."""
    state = folder / "platform"
    async with open_session((), ca_file=None) as session:
        client = PlatformClient(
            session, url, (state / "app_id").read_text().strip(), LocalSealer(_envelope(state)),
            time.time, 30,
        )  # fmt: skip
        plugin = stage.plugin_named("reference")
        pure = plugin.open(plugin.settings(), {SYMBOL: Asset(SYMBOL, None, 18)}, None, no_requests)
        address = pure.address_of(bytes.fromhex("02" + "79be667ef9dcbbac55a06295ce870b07"
                                                "029bfcdb2dce28d959f2815b16f81798"))  # fmt: skip
        await client.register(SYMBOL, [address], False)
    control = Control(url)
    try:
        user: Any = await control.post("users", symbol=SYMBOL)
    finally:
        await control.close()
    return str(user["address"])


def _envelope(state: Path) -> Envelope:
    return Envelope(
        load_private_key((state / "party_a_private.pem").read_bytes()),
        load_public((state / "platform_public.pem").read_bytes()),
    )


def _rsa(envelope: Envelope, count: int) -> float:
    """CPU seconds of the RSA of one notification: seal the message, open the echo.

    What is opened has to come from the platform, so its cost is measured as that of the same
    operations on what we can make: our own private key decrypts and signs, its public verifies.
    """
    body = b"x" * 420  # two blocks, as a notification is
    own = Envelope(envelope._own, envelope._own.public_key())
    echo = own.seal(b'{"request_id":"' + b"a" * 32 + b'"}')
    began = time.process_time()
    for _ in range(count):
        envelope.seal(body)
        own.open(echo.data, echo.sign)
    return (time.process_time() - began) / count


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Notices:
    """Confirmed deposits with their outbox items, and the time until all were credited."""

    def __init__(self, daemon: stage.BenchDaemon, address: str) -> None:
        self._daemon = daemon
        self._address = address
        self._made = 0

    async def send(self, count: int) -> tuple[float, float]:
        """(CPU seconds a notification, notifications a second)."""
        first = self._made
        self._made += count
        await self._daemon.store.write(lambda tx: self._put(tx, first, count))
        used, began = _cpu(), time.perf_counter()
        self._daemon.wake("courier")
        async with asyncio.timeout(300):
            while await self._daemon.store.read(outbox.lanes):
                await asyncio.sleep(0.1)
        return (_cpu() - used) / count, count / (time.perf_counter() - began)

    def _put(self, tx: Tx, first: int, count: int) -> None:
        for number in range(first, first + count):
            request_id, txid = f"{number:032x}", f"{number:064x}"
            row_id = tx.insert(
                insert(schema.deposits).values(
                    request_id=request_id, chain=stage.CHAIN, asset=SYMBOL, symbol=SYMBOL,
                    txid=txid, to=self._address, memo_key="", amount="1" + "0" * 16,
                    told="1" + "0" * 16, remainder="0", height=1, block_hash="x",
                    state=Deposit.CONFIRMED, seen_at=tx.now_us, confirmed_at=tx.now_us,
                )
            )  # fmt: skip
            outbox.put(
                tx, dedupe_key=f"deposit:{request_id}", call="deposit/notify", symbol=SYMBOL,
                chain=stage.CHAIN, subject=f"deposit:{row_id}", grows=True, height=1, depth=1,
                body={"request_id": request_id, "address_to": self._address, "txid": txid,
                      "amount": "0.01"},
            )  # fmt: skip
