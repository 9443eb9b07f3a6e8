"""Parts of a story: a clock that jumps, keys made once, a configuration, points to crash at."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chain_adapter.keys import init as keys_init
from chain_adapter.keys.keystore import MIN_N
from chain_adapter.sandbox.identity import open_identity
from chain_adapter.sandbox.reference import NATIVE_NAMES, TOKEN_NAME, ReferencePlugin
from chain_adapter.sandbox.reference_ledger import DECIMALS, TOKEN_DECIMALS, ReferenceLedger
from chain_adapter.sandbox.reference_tx import Flavour

PASSPHRASE = "correct horse battery staple"
CHAIN = "ref"


class JumpClock:
    """Sleeping takes no time but moves the clock; `advance` moves it by hand."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, s: float) -> None:
        self._elapsed_s += max(s, 0.0)
        await asyncio.sleep(0)

    def timeout(self, s: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(min(s, 5.0))

    def advance(self, s: float) -> None:
        self._elapsed_s += s


class SimulatedCrash(BaseException):
    """The process ends here: no handler of the program may see it as an error to live on with."""


class Crasher:
    """Counts the points at which a process could die; dies at the chosen one."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.passed: list[str] = []
        self.armed = True  # the harness arms it while a watched worker steps

    def point(self, name: str) -> None:
        if not self.armed:
            return
        self.passed.append(name)
        if len(self.passed) == self.at:
            raise SimulatedCrash(f"{self.at}: {name}")

    async def await_point(self, name: str) -> None:
        self.point(name)


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: tests sync to the disk thousands of times."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="story-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_platform_keys(folder: Path) -> None:
    """The sandbox's app_id and both key pairs."""
    open_identity(folder)


def make_keystore(folder: Path) -> None:
    """Keystore, public keys and an empty journal; one seed for all stories."""
    pure = ReferencePlugin().open(
        ReferencePlugin.settings(),
        {"REF": _asset("REF")},
        None,
        _no_gate,
    )
    keys_init.init(
        folder / "keystore.json",
        PASSPHRASE,
        None,
        [keys_init.ChainKeys(CHAIN, pure.info.scheme, pure.info.coin_type, pure.address_of)],
        n=MIN_N,
    )


def _asset(name: str) -> Any:
    from chain_adapter.chain import Asset

    return Asset(name, None, 18)


def _no_gate(_method: str) -> AbstractAsyncContextManager[None]:
    raise AssertionError("opened without an endpoint")


def write_config(
    folder: Path,
    url: str,
    ledger: ReferenceLedger,
    app_id: str,
    *,
    platform_url: str = "http://127.0.0.1:9",
    endpoints: tuple[str, ...] = ("",),
    platform: str = "",
    chain: str = "",
    native: str = "",
    token: str = "",
    top: str = "",
) -> Path:
    """`adapter.toml`; the texts are further lines of their tables."""
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    (folder / "passphrase").chmod(0o600)
    flavour = ledger.flavour
    name = NATIVE_NAMES[flavour]
    urls = ", ".join(f'"{ledger.url(one)}"' for one in endpoints)
    memo = "memo = true" if flavour is Flavour.MEMO else ""
    lines = f"""
        {top}
        [database]
        url = "{url}"
        [platform]
        url = "{platform_url}"
        app_id = "{app_id}"
        private_key_file = "platform/party_a_private.pem"
        platform_key_file = "platform/platform_public.pem"
        platform_confirmations = 4
        poll_interval_s = 0.2
        {platform}
        [keys]
        keystore = "keystore.json"
        passphrase_file = "passphrase"
        signer = "embedded"
        [console]
        listen = "127.0.0.1:0"
        [chains.{CHAIN}]
        plugin = "reference"
        confirmations = 3
        start_height = 0
        poll_interval_s = 0.2
        {memo}
        {chain}
        [chains.{CHAIN}.pool]
        low = 6
        high = 8
        [chains.{CHAIN}.node]
        endpoints = [{urls}]
        flavour = "{flavour}"
        [chains.{CHAIN}.assets.{name}]
        decimals = {DECIMALS[flavour]}
        collect = false
        {native}
    """
    if flavour is not Flavour.COIN:
        lines += f"""
        [chains.{CHAIN}.assets.{TOKEN_NAME}]
        contract = "{ledger.token.hex()}"
        decimals = {TOKEN_DECIMALS}
        collect = false
        {token}
        """
    path = folder / "adapter.toml"
    path.write_text("\n".join(line.strip() for line in lines.splitlines()) + "\n")
    return path


Condition = Callable[[], Any]
