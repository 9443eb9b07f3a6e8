"""Merchant and platform as processes of their own, one of them killed at the worst moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.sandbox.conftest import Operator, make_party
from tests.sandbox.merchant_ends import FAST, until

Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a module and waits for its ready line; whatever still runs is killed at the end."""
    with ExitStack() as stack:

        def run(module: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            assert process.stdout is not None
            stack.callback(process.stdout.close)
            ready = json.loads(process.stdout.readline())
            assert ready["event"] == "ready"
            return process, ready["url"]

        yield run


async def test_both_are_killed_and_the_books_agree(
    start: Start, state: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    def platform() -> tuple[subprocess.Popen[str], str]:
        return start("chain_adapter.sandbox", "--listen", "127.0.0.1:0", "--state", str(state))

    def merchant(url: str) -> tuple[subprocess.Popen[str], str]:
        directory = str(tmp_path / "shop")
        arguments = ("--listen", "127.0.0.1:0", "--platform", url, "--state", directory)
        return start("chain_adapter.sandbox.merchant", *arguments)

    async def ask(url: str, fields: object = None) -> dict[str, object]:
        method = "GET" if fields is None else "POST"
        async with session.request(method, url, json=fields) as answer:
            assert answer.status == 200, await answer.text()
            told: dict[str, object] = await answer.json()
            return told

    bank, bank_url = platform()
    control = Operator(bank_url, session)
    await control.coin("VLX")
    party = make_party(bank_url, state, session)
    await party.register("VLX", "A1", "A2")
    shop, shop_url = merchant(bank_url)
    user = await ask(f"{shop_url}/users", {"name": "one", "symbol": "VLX"})
    address = str(user["address"])
    shop.kill()  # before the deposit, and without a word
    shop.wait(10)
    await control.post("merchant", {"speed": FAST})
    await party.deposit("r1", address, amount="2.5")
    await party.deposit("r2", address, amount="1")
    bank.kill()
    bank.wait(10)
    bank, bank_url = platform()
    control = Operator(bank_url, session)
    shop, shop_url = merchant(bank_url)

    async def booked() -> bool:
        books = await ask(f"{shop_url}/books")
        return books["balances"] == {user["uid"]: {"VLX": "3.5"}}

    await until(booked, "both deposits in the merchant's books")
    await ask(f"{shop_url}/sync", {})
    books = await ask(f"{shop_url}/books")
    assert isinstance(books["deposits"], list) and len(books["deposits"]) == 2
    for process in (shop, bank):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_without_a_platform_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chain_adapter.sandbox.merchant",
         "--platform", "http://127.0.0.1:9", "--state", str(tmp_path / "shop")],
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("merchant: http://127.0.0.1:9")
