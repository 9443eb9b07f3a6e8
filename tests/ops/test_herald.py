"""Alarms reach the webhook: once, together, again after trouble; and silence is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chain_adapter.config import AlarmsConfig
from chain_adapter.core.alarms import CODES
from chain_adapter.errors import ConfigError, KeyFileError, Unreachable
from chain_adapter.store import alarm_causes, ledger, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store
from chain_adapter.workers.herald import Heartbeat, Herald, Line, url_of
from chain_adapter.workers.loop import Loop
from tests.stories.harness import World
from tests.stories.parts import JumpClock

MakeWorld = Callable[..., Awaitable[World]]


class Listener:
    """A webhook that keeps what it was told; `answers` are statuses to give first."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.beats = 0
        self.answers: list[int] = []
        self.hangs = False
        self.url = ""
        self._released = asyncio.Event()

    async def hear(self, request: web.Request) -> web.Response:
        if self.hangs:
            await self._released.wait()
        status = self.answers.pop(0) if self.answers else 200
        if request.method == "GET":
            self.beats += status == 200
        elif status == 200:
            self.told.append(await request.json())
        headers = {"Location": "/elsewhere"} if status // 100 == 3 else {}
        return web.Response(status=status, headers=headers)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.hear)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}/hook/s3cr3t"
    yield made
    made.release()
    await runner.cleanup()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = ledger.create(database_url, JumpClock(), ledger_id="one")
    yield made
    made.close()


def clock(store: Store) -> JumpClock:
    assert isinstance(store.clock, JumpClock)
    return store.clock


@pytest.fixture
async def line(listener: Listener) -> AsyncIterator[Line]:
    made = Line("webhook", listener.url, 5.0)
    yield made
    await made.close()


def herald(store: Store, line: Line, **options: Any) -> Herald:
    return Herald(store, AlarmsConfig(**options), line, "here")


def raise_(store: Store, code: str, subject: str, message: str = "it is so") -> None:
    store.write_now(lambda tx: raise_alarm(tx, code, subject, message))


async def test_an_alarm_is_told_once_and_its_end(
    store: Store, line: Line, listener: Listener
) -> None:
    one = herald(store, line)
    assert await one.step() == 1.0
    assert listener.told == []
    raise_(store, "deep_reorg", "main", "block 7 was popped")
    assert await one.step() == 10.0, "what comes within ten seconds goes together"
    [message] = listener.told
    assert message["source"] == "chain-adapter"
    assert message["instance"] == "here"
    assert message["open"] == {"critical": 1, "warning": 0}
    assert message["opened"]["count"] == 1
    [alarm] = message["opened"]["alarms"]
    assert (alarm["code"], alarm["severity"], alarm["subject"]) == (
        "deep_reorg",
        "critical",
        "main",
    )
    assert alarm["message"] == "block 7 was popped"
    assert alarm["todo"] == CODES["deep_reorg"].todo
    assert alarm["runbook"] == "docs/operations.md#deep_reorg"
    assert message["text"].startswith(
        "chain-adapter here: 1 opened (deep_reorg 1): deep_reorg main"
    )
    raise_(store, "deep_reorg", "main", "again")
    await one.step()
    assert len(listener.told) == 1
    store.write_now(lambda tx: close_alarm(tx, "deep_reorg", "main"))
    await one.step()
    assert listener.told[1]["opened"]["count"] == 0
    assert listener.told[1]["closed"]["codes"] == {"deep_reorg": 1}
    assert listener.told[1]["closed"]["alarms"][0]["closed_at"] is not None
    await one.step()
    assert len(listener.told) == 2


async def test_what_opened_and_closed_between_two_looks_is_told(
    store: Store, line: Line, listener: Listener
) -> None:
    one = herald(store, line)
    await one.step()
    raise_(store, "gas_short", "payout:1")
    store.write_now(lambda tx: close_alarm(tx, "gas_short", "payout:1"))
    await one.step()
    assert listener.told[0]["closed"]["codes"] == {"gas_short": 1}
    await one.step()
    assert len(listener.told) == 1


async def test_a_refusal_is_tried_again_and_nothing_is_lost(
    store: Store, line: Line, listener: Listener
) -> None:
    one = herald(store, line)
    raise_(store, "deep_reorg", "main")
    for status in (500, 404, 302, 429):
        listener.answers = [status]
        with pytest.raises(Unreachable, match=rf"webhook 127\.0\.0\.1: HTTP {status}") as caught:
            await one.step()
        assert "s3cr3t" not in str(caught.value)
    raise_(store, "gas_short", "payout:1")
    await one.step()
    assert listener.told[0]["opened"]["codes"] == {"deep_reorg": 1, "gas_short": 1}


async def test_a_restart_tells_nothing_twice_and_forgets_nothing(
    store: Store, line: Line, listener: Listener
) -> None:
    raise_(store, "deep_reorg", "main")
    await herald(store, line).step()
    raise_(store, "gas_short", "payout:1")
    store.write_now(lambda tx: close_alarm(tx, "deep_reorg", "main"))
    await herald(store, line).step()
    assert [m["opened"]["codes"] for m in listener.told] == [{"deep_reorg": 1}, {"gas_short": 1}]
    assert listener.told[1]["closed"]["codes"] == {"deep_reorg": 1}


async def test_critical_ones_that_nobody_sees_to_are_told_again(
    store: Store, line: Line, listener: Listener
) -> None:
    one = herald(store, line, remind_s=3600.0)
    raise_(store, "deep_reorg", "main")
    raise_(store, "gas_short", "payout:1")
    await one.step()
    clock(store).advance(3599)
    await one.step()
    assert len(listener.told) == 1
    clock(store).advance(2)
    await one.step()
    assert listener.told[1]["reminders"]["codes"] == {"deep_reorg": 1}
    await one.step()
    assert len(listener.told) == 2
    table = schema.alarms
    store.write_now(
        lambda tx: tx.run(table.update().values(acknowledged_at=tx.now_us, acknowledged_by="ann"))
    )
    clock(store).advance(7200)
    await one.step()
    assert len(listener.told) == 2


async def test_a_storm_of_one_code_is_few_messages(
    store: Store, line: Line, listener: Listener
) -> None:
    one = herald(store, line)

    def storm(tx: Any) -> None:
        for number in range(500):
            raise_alarm(tx, "payout_held", "payout:1", f"for the {number}th time")
        common = {"code": "outbox_parked", "severity": "warning", "message": "parked"}
        times = {"opened_at": tx.now_us, "last_at": tx.now_us}
        rows = [{**common, **times, "subject": f"outbox:{number}"} for number in range(10_000)]
        tx.run(schema.alarms.insert(), rows)

    store.write_now(storm)
    await one.step()
    await one.step()
    [message] = listener.told
    assert message["opened"]["codes"] == {"payout_held": 1, "outbox_parked": 10_000}
    assert len(message["opened"]["alarms"]) == 20
    assert len(json.dumps(message)) < 40_000
    rows = store.read_now(lambda tx: tx.all(schema.alarms.select()))
    assert [row._mapping["count"] for row in rows if row.code == "payout_held"] == [500]
    store.write_now(lambda tx: tx.run(schema.alarms.update().values(closed_at=tx.now_us)))
    await one.step()
    assert listener.told[1]["closed"]["count"] == 10_001


async def test_a_hanging_webhook_holds_up_nothing(store: Store, listener: Listener) -> None:
    """The loop beside it goes round, the store writes, and a stop does not wait."""
    listener.hangs = True
    line = Line("webhook", listener.url, 60.0)
    raise_(store, "deep_reorg", "main")
    turns = asyncio.Event()
    count = 0

    async def other() -> float:
        nonlocal count
        await store.write(lambda tx: raise_alarm(tx, "gas_short", "payout:1", "again"))
        count += 1
        if count == 50:
            turns.set()
        return 0.0

    loops = [
        Loop("herald", herald(store, line).step, store.clock),
        Loop("other", other, store.clock),
    ]
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    async with asyncio.timeout(30):
        await turns.wait()
    assert listener.told == []
    for loop in loops:
        loop.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await line.close()


async def test_a_webhook_that_does_not_answer_in_time(store: Store, listener: Listener) -> None:
    listener.hangs = True
    line = Line("webhook", listener.url, 0.05)
    raise_(store, "deep_reorg", "main")
    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        await herald(store, line).step()
    await line.close()


async def test_the_heartbeat_stops_when_the_daemon_is_not_ready(
    line: Line, listener: Listener
) -> None:
    reasons: list[str] = []

    async def asked() -> list[str]:
        return reasons

    one = Heartbeat(AlarmsConfig(heartbeat_s=60.0), line, asked)
    assert await one.step() == 60.0
    assert listener.beats == 1
    reasons.append("main: no new block for 900 s")
    assert await one.step() == 5.0
    assert listener.beats == 1
    reasons.clear()
    await one.step()
    assert listener.beats == 2
    listener.answers = [503]
    with pytest.raises(Unreachable):
        await one.step()


def test_the_url_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("https://hooks.example/services/T0/B0/x?y=1\nsecond line\n")
    both = AlarmsConfig(webhook="http://plain.example", webhook_file=file)
    assert url_of(both, "webhook") == "https://hooks.example/services/T0/B0/x?y=1"
    assert url_of(AlarmsConfig(webhook="http://plain.example"), "webhook") == "http://plain.example"
    assert url_of(AlarmsConfig(), "heartbeat") is None
    file.write_text("hooks.example\n")
    with pytest.raises(ConfigError, match=r"no http\(s\) URL"):
        url_of(both, "webhook")
    with pytest.raises(KeyFileError, match="cannot be read"):
        url_of(AlarmsConfig(heartbeat_file=tmp_path / "none"), "heartbeat")


async def test_a_daemon_tells_its_alarms_and_counts_what_it_does(
    world: MakeWorld, listener: Listener
) -> None:
    w = await world(top=f'[alarms]\nwebhook = "{listener.url}"\nheartbeat = "{listener.url}"')
    names = {loop.name for loop in w.daemon.loops}
    assert {"meter", "causes", "herald", "heartbeat"} <= names
    await w.order("100000")
    await w.until(lambda: "hot_wallet_short" in w.alarms())
    await w.step("herald")
    assert "hot_wallet_short" in listener.told[0]["opened"]["codes"]
    await w.step("heartbeat")
    assert listener.beats == 1


# --- causes that nobody passes by -----------------------------------------------------------------


async def test_alarms_are_closed_when_their_cause_is_gone(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    await w.until(lambda: w.state(order) == "QUEUED" or w.state(order) is not None)
    number = w.payout(order).id
    subject = f"payout:{number}"
    w.hold(order)

    def alarms(tx: Any) -> None:
        for code in ("order_changed", "gas_short", "payment_failed", "signing_refused"):
            raise_alarm(tx, code, subject, "so")
        raise_alarm(tx, "outbox_parked", "outbox:99999", "an item that is gone")
        raise_alarm(tx, "malleated", subject, "a finding")
        raise_alarm(tx, "hot_below_floor", "ref/REF", "a state of something else")

    w.write(alarms)
    w.write(alarm_causes.close_gone)
    still = {"order_changed", "payment_failed", "signing_refused", "malleated", "hot_below_floor"}
    assert still <= w.alarms()
    assert "outbox_parked" not in w.alarms()
    w.release(order)
    w.write(alarm_causes.close_gone)
    assert not {"order_changed", "signing_refused"} & w.alarms()
    await w.until(w.ended(order))
    w.write(alarm_causes.close_gone)
    assert {"malleated", "hot_below_floor"} == w.alarms()
    table = schema.alarms
    w.write(lambda tx: tx.run(table.update().values(acknowledged_at=tx.now_us)))
    w.write(alarm_causes.close_gone)
    assert w.alarms() == {"hot_below_floor"}
