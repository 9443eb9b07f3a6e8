"""The console over real HTTP: health is progress, what is shown is escaped, nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import aiohttp
import pytest

from chain_adapter.clock import SystemClock
from chain_adapter.config import Config, ConsoleConfig, load
from chain_adapter.config.kinds import Listen
from chain_adapter.console.health import Progress
from chain_adapter.console.server import HEADERS, Console, DaemonStatus, Site
from chain_adapter.console.status import Alarm, ChainStatus, Status
from chain_adapter.errors import ConfigError, StoreError
from chain_adapter.store import ledger
from chain_adapter.store.store import Store
from chain_adapter.telemetry import Metrics
from tests.shell.conftest import Shell

CONFIG = ConsoleConfig(listen=Listen("127.0.0.1", 0), unsent_limit_s=300)
GOOD = ChainStatus(tip=100, head=100, lag_s=0.0, pool=7, block_time_s=10.0)
HOSTILE = "<script>alert('x')</script>"


@dataclass
class Fixed:
    """A status source that says what it was given, and a clock moved by hand."""

    now_s: float = 0.0
    chains: dict[str, ChainStatus] = field(default_factory=lambda: {"main": GOOD})
    alarms: tuple[Alarm, ...] = ()
    broken: bool = False

    async def status(self) -> Status:
        if self.broken:
            raise StoreError("disk I/O error")
        return Status(chains=dict(self.chains), alarms=self.alarms)


@asynccontextmanager
async def served(source: Fixed, config: ConsoleConfig = CONFIG) -> AsyncIterator[str]:
    site = Site(config, source, metrics=Metrics(), now_s=lambda: source.now_s)
    try:
        yield await site.start()
    finally:
        await site.close()


async def get(url: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    async with aiohttp.ClientSession() as http, http.request(method, url) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


async def ready(url: str) -> tuple[int, list[str]]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/health/ready") as answer:
        document = await answer.json()
        assert document["ready"] == (answer.status == 200)
        return answer.status, document["reasons"]


async def test_live_and_ready() -> None:
    async with served(Fixed()) as url:
        assert (await get(f"{url}/health/live"))[:2] == (200, '{"live": true}')
        assert await ready(url) == (200, [])


async def test_a_tip_that_stands_still_below_the_head() -> None:
    source = Fixed(chains={"main": replace(GOOD, tip=90)})
    async with served(source) as url:
        assert (await ready(url))[0] == 200
        source.now_s = 199
        assert (await ready(url))[0] == 200
        source.now_s = 201
        status, reasons = await ready(url)
        assert status == 503
        assert reasons == ["main: stands at 90 for 201 s, the head is 100"]
        source.chains["main"] = replace(GOOD, tip=91)
        assert (await ready(url))[0] == 200


async def test_a_node_that_stands_still() -> None:
    source = Fixed()
    async with served(source) as url:
        await ready(url)
        source.now_s = 899
        assert (await ready(url))[0] == 200
        source.now_s = 901
        assert (await ready(url))[1] == ["main: no new block for 901 s"]


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        (ChainStatus(), "main: no block was read yet"),
        (replace(GOOD, oldest_unsent_s=301.0), "main: a message waits unsent for 301 s"),
        (replace(GOOD, stuck_windows=("USDX",)), "main: a full page of USDX withdrawals"),
    ],
)
async def test_reasons_not_to_be_ready(chain: ChainStatus, says: str) -> None:
    async with served(Fixed(chains={"main": chain, "other": GOOD})) as url:
        status, reasons = await ready(url)
        assert status == 503
        assert len(reasons) == 1
        assert reasons[0].startswith(says)


async def test_limits_scale_with_the_block_time() -> None:
    slow = replace(GOOD, tip=90, block_time_s=600.0)
    progress = Progress(300)
    status = Status(chains={"main": slow})
    assert progress.reasons(status, 0) == []
    assert progress.reasons(status, 11_999) == []
    assert progress.reasons(status, 12_001)


async def test_books_that_cannot_be_read() -> None:
    async with served(Fixed(broken=True)) as url:
        status, reasons = await ready(url)
        assert (status, "disk I/O error" in reasons[0]) == (503, True)
        assert (await get(url))[0] == 503
        assert (await get(f"{url}/health/live"))[0] == 200


async def test_metrics() -> None:
    alarm = Alarm(id=1, code="deep_reorg", severity="critical", subject="main", message="m",
                  acknowledged=False, count=1)  # fmt: skip
    async with served(Fixed(alarms=(alarm,))) as url:
        status, text, headers = await get(f"{url}/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = text.splitlines()
        assert 'chain_adapter_tip_height{chain="main"} 100.0' in lines
        assert 'chain_adapter_pool{chain="main"} 7.0' in lines
        assert "chain_adapter_ready 1.0" in lines
        assert 'chain_adapter_alarms{code="deep_reorg",severity="critical"} 1.0' in lines


async def test_a_closed_alarm_leaves_the_metrics() -> None:
    alarm = Alarm(id=1, code="deep_reorg", severity="critical", subject="main", message="m",
                  acknowledged=False, count=1)  # fmt: skip
    source = Fixed(alarms=(alarm,))
    async with served(source) as url:
        line = 'chain_adapter_alarms{code="deep_reorg",severity="critical"} '
        assert f"{line}1.0" in (await get(f"{url}/metrics"))[1]
        source.alarms = ()
        assert f"{line}0.0" in (await get(f"{url}/metrics"))[1]


async def test_the_page_says_what_status_says_and_escapes_it() -> None:
    chain = replace(GOOD, last_error=HOSTILE, paused=HOSTILE, queued=41)
    alarm = Alarm(id=1, code=HOSTILE, severity="warning", subject=HOSTILE, message=HOSTILE,
                  acknowledged=False, count=1)  # fmt: skip
    async with served(Fixed(chains={HOSTILE: chain}, alarms=(alarm,))) as url:
        status, text, headers = await get(url)
        assert status == 200
        assert headers["Content-Type"].startswith("text/html")
        assert "<script" not in text
        assert text.count("&lt;script&gt;") >= 5
        assert ">41<" in text
        assert (await get(f"{url}/style.css"))[0] == 200


PATHS = ["/", "/health/live", "/health/ready", "/metrics", "/status.json", "/style.css", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_security_headers(path: str) -> None:
    async with served(Fixed()) as url:
        status, _, headers = await get(url + path)
        assert status == (404 if path == "/nothing" else 200)
        assert HEADERS.items() <= headers.items()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(method: str) -> None:
    async with served(Fixed()) as url:
        status, _, headers = await get(f"{url}/", method)
        assert status == 405
        assert HEADERS.items() <= headers.items()


async def test_status_document() -> None:
    async with served(Fixed()) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/status.json") as answer:
            document = await answer.json()
    assert document["ready"] is True
    assert document["chains"]["main"]["tip"] == 100


async def test_a_port_that_is_taken() -> None:
    async with served(Fixed()) as url:
        taken = replace(CONFIG, listen=Listen("127.0.0.1", int(url.rpartition(":")[2])))
        with pytest.raises(ConfigError, match=r"console\.listen: cannot listen on 127"):
            async with served(Fixed(), taken):
                pass


# --- the daemon's ---------------------------------------------------------------------------------


@dataclass
class Running:
    """What the console needs of a daemon, over a real ledger."""

    config: Config
    store: Store
    loops: list[SimpleNamespace]
    registrars: dict[str, SimpleNamespace]
    guards: dict[str, SimpleNamespace]


async def test_the_daemons_status_adds_what_only_it_knows(books: Shell) -> None:
    books.order("1")
    store = ledger.open_ledger(books.url, SystemClock())
    running = Running(
        load(books.config),
        store,
        [SimpleNamespace(name="watcher main", last_error="no answer from http://u:hunter2@node")],
        {"main": SimpleNamespace(pool=42)},
        {"main": SimpleNamespace(info=SimpleNamespace(block_time_s=600.0))},
    )
    try:
        chain = (await DaemonStatus(running).status()).chains["main"]
        assert (chain.pool, chain.queued, chain.block_time_s) == (42, 1, 600.0)
        assert str(chain.last_error).startswith("watcher main: no answer")
        assert "hunter2" not in str(chain.last_error)
        console = Console(running.config.console, running)
        url = await console.start()
        try:
            assert (await ready(url)) == (503, ["main: no block was read yet"])
            assert '"pool": 42' in (await get(f"{url}/status.json"))[1]
        finally:
            await console.close()
    finally:
        store.close()
