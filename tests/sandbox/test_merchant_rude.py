"""A merchant that fails, hangs, or answers nonsense; and a platform that is restarted meanwhile."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import Operator, Platform, make_party
from tests.sandbox.merchant_ends import FAST, merchant_end, until


class Rude:
    """Answers what it is told to, in turn; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append({key: str(value) for key, value in (await request.post()).items()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.Response(status=answer, text="SUCCESS")
        if answer is None:
            transport = request.transport
            assert transport is not None
            transport.abort()
            return web.Response()
        return web.Response(body=answer, content_type="text/html")


@pytest.fixture
async def rude() -> AsyncIterator[Callable[..., Awaitable[tuple[Rude, str]]]]:
    async with AsyncExitStack() as stack:

        async def opened(*answers: Any) -> tuple[Rude, str]:
            made = Rude(*answers)
            app = web.Application()
            app.router.add_post("/", made.handle)
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return made, f"http://127.0.0.1:{runner.addresses[0][1]}/"

        yield opened


async def one_deposit(platform: Platform, **settings: object) -> list[dict[str, Any]]:
    """Tell one deposit; the callback's tries once it is over."""
    await platform.control.post("merchant", {"speed": FAST} | settings)
    await platform.party.register("VLX", "A1")
    await platform.party.deposit("r1", "A1")

    async def over() -> bool:
        found = await platform.control.get("merchant/callbacks")
        return bool(found) and found[0]["state"] != "waiting"

    await until(over, "the callback to be over")
    (found,) = await platform.control.get("merchant/callbacks")
    return list(found["tries"])


async def test_four_failures_and_the_fifth_succeeds(platform: Platform, rude: Any) -> None:
    answers = (b"FAILURE", b"<html>SUCCESS</html>", 500, None, b"SUCCESS")
    shop, url = await rude(*answers)
    tries = await one_deposit(platform, notify_url=url)
    assert [one["ok"] for one in tries] == [False] * 4 + [True]
    assert [one["answer"][:8] for one in tries[:3]] == ["HTTP 200", "HTTP 200", "HTTP 500"]
    opened = [json.loads(merchant_end(platform.sandbox).open(one["data"])) for one in shop.bodies]
    assert len({one["id"] for one in opened}) == 1
    assert {one["app_id"] for one in shop.bodies} == {platform.sandbox.app_id}


async def test_the_fifth_failure_ends_it(platform: Platform, rude: Any) -> None:
    shop, url = await rude(b"FAILURE")
    tries = await one_deposit(platform, notify_url=url)
    assert len(tries) == 5 == len(shop.bodies)
    (found,) = await platform.control.get("merchant/callbacks")
    assert (found["state"], found["next_at"]) == ("given_up", None)


async def test_a_merchant_that_never_answers(platform: Platform, rude: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        tries = await one_deposit(platform, notify_url=url, timeout_s=0.05)
    assert len(tries) == 5
    assert all("Timeout" in one["answer"] for one in tries)


async def test_encrypted_answers_are_understood(platform: Platform, rude: Any) -> None:
    word = merchant_end(platform.sandbox).word("SUCCESS", encrypted=True)
    _, url = await rude(word.encode())
    assert [one["ok"] for one in await one_deposit(platform, notify_url=url)] == [True]


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        pytest.param((b"FAILURE",), 1, id="no check_sum"),
        pytest.param((b"<html>",), 1, id="HTML"),
        pytest.param((b'{"data":"AAAA"}',), 1, id="does not open"),
        pytest.param((401,), 1, id="unauthorised"),
        pytest.param((None, 500, b"FAILURE"), 3, id="silence is asked again"),
        pytest.param((None,), 5, id="silence for good"),
    ],
)
async def test_whatever_is_not_the_check_sum_refuses(
    platform: Platform, rude: Any, answers: tuple[Any, ...], tries: int
) -> None:
    _, url = await rude(*answers)
    await platform.control.post("merchant", {"speed": FAST, "confirm_url": url})
    await platform.party.register("VLX", "A1")
    user = await platform.control.user()
    await platform.party.deposit("r1", user["address"], amount="5")
    end = merchant_end(platform.sandbox)
    fields = {"request_id": "w", "from_uid": user["user"], "symbol": "VLX", "amount": "2",
              "to_address": "to"}  # fmt: skip
    url = f"{platform.sandbox.url}/api/v2/billing/withdraw"
    async with platform.party.session.post(url, data=end.request(fields, 1)) as answer:
        assert end.response(await answer.read()).code == "0"

    async def rejected() -> bool:
        (row,) = await platform.control.get("merchant/withdrawals")
        return bool(row["status"] == 2)

    await until(rejected, "the refusal")
    (found,) = await platform.control.get("merchant/callbacks")
    assert len(found["tries"]) == tries
    assert (await platform.party.consume()).payload == []


async def test_callbacks_survive_a_restart_of_the_platform(
    state: Path, session: aiohttp.ClientSession, rude: Any
) -> None:
    shop, url = await rude(b"SUCCESS")
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        await control.coin("VLX")
        await control.post("merchant", {"notify_url": url, "speed": 0.0001})
        party = make_party(sandbox.url, state, session)
        await party.register("VLX", "A1")
        await party.deposit("r1", "A1")

        async def queued() -> bool:
            return bool(await control.get("merchant/callbacks"))

        await until(queued, "the callback to be queued")
    assert shop.bodies == []
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        (found,) = await control.get("merchant/callbacks")
        assert (found["state"], found["tries"]) == ("waiting", [])
        await control.post("merchant", {"speed": FAST})  # what waits is hurried too

        async def delivered() -> bool:
            (found,) = await control.get("merchant/callbacks")
            return bool(found["state"] == "done")

        await until(delivered, "the delivery")
    assert len(shop.bodies) == 1
