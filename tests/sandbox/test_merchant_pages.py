"""The sandbox's pages in a real browser, with a local chain, a party A and a merchant.

`PICTURES=docs/pictures` keeps what the browser saw.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright, expect

from chain_adapter import registry
from chain_adapter.chain import Devnet
from chain_adapter.sandbox.merchant import Merchant
from chain_adapter.sandbox.reference import ReferenceDevnet, ReferencePlugin
from chain_adapter.sandbox.server import Sandbox
from chain_adapter.testing.clock import VirtualClock
from tests.sandbox.conftest import Operator, Platform, make_party
from tests.sandbox.merchant_ends import Shop

CHROMIUM = "/usr/bin/chromium"
LIMIT_MS = 20_000


def pictures(tmp_path: Path) -> Path:
    directory = Path(os.environ.get("PICTURES") or tmp_path / "pictures")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    if not Path(CHROMIUM).exists():
        why = f"no {CHROMIUM}: apt-get install chromium"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = await browser.new_page(viewport={"width": 1280, "height": 860})
        opened.set_default_timeout(LIMIT_MS)
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("console", lambda said: _note(problems, said))
        yield opened
        await browser.close()
        assert problems == []


def _note(problems: list[str], said: Any) -> None:
    if said.type == "error" and "409" not in said.text and "ERR_CONNECTION" not in said.text:
        problems.append(said.text)


@pytest.fixture
async def devnet() -> AsyncIterator[ReferenceDevnet]:
    made = await ReferencePlugin(clock=VirtualClock()).devnet()
    yield made
    await made.close()


def ready_line(devnet: Devnet) -> dict[str, object]:
    """What `chain-adapter devnet` prints, and the plugin's name."""
    return {
        "event": "ready",
        "plugin": "reference",
        "url": devnet.url,
        "private_key": devnet.private_key,
        "address": devnet.address,
        "assets": {
            name: {"contract": one.contract, "decimals": one.decimals}
            for name, one in devnet.assets.items()
        },
        "node": dict(devnet.node),
    }


async def test_a_coin_all_the_way_round(
    page: Page, state: Path, devnet: ReferenceDevnet, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    album = pictures(tmp_path)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(state))
        control = Operator(sandbox.url, session)
        party = make_party(sandbox.url, state, session)
        await control.coin("REF", decimals=devnet.assets["REF"].decimals)
        await control.coin("USDX", main_symbol="REF", decimals=6)
        addresses = [devnet.ledger.address(bytes([7 + n]) * 20) for n in range(4)]
        await party.register("REF", *addresses)
        told = await control.post("devnets", ready_line(devnet))
        assert told == {"symbols": ["REF", "USDX"]}
        merchant = await stack.enter_async_context(Merchant(sandbox.url, tmp_path / "shop"))
        await control.post("merchant", {"speed": 20})
        await control.post("merchant/coins", {"symbol": "REF", "withdraw_fee": "0.1"})
        shop = Shop(Platform(sandbox, party, control), merchant, session)

        await page.goto(sandbox.url)
        await expect(page.locator("#live")).to_have_text("live")
        await page.get_by_role("button", name="New user").click()
        user = page.locator("article.user").first
        await expect(user.locator("code.address")).to_have_text(addresses[0])
        qr = user.locator("img")
        await expect(qr).to_have_attribute("alt", f"QR code of {addresses[0]}")
        assert await qr.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50

        # A coin is sent from the page, and followed without a reload.
        await user.get_by_label("amount").fill("2.5")
        await user.get_by_role("button", name="Send me a coin").click()
        await expect(page.locator("#said")).to_contain_text("sent: ")
        txid = (await page.locator("#said").inner_text()).removeprefix("sent: ")
        life = page.locator("#deposits article").first
        await expect(life.locator(".state")).to_have_text("sent")
        await devnet.mine(5)
        assert devnet.ledger.located(txid) is not None
        await party.deposit("d-1", addresses[0], txid=txid, amount="2.5", symbol="REF", confirm=1)
        await expect(life.locator("li.daemon").last).to_contain_text("notified")
        await party.deposit("d-1", addresses[0], txid=txid, amount="2.5", symbol="REF", confirm=6)
        await expect(life.locator(".state")).to_have_text("credited")
        await expect(life.locator("li.merchant").last).to_contain_text("acknowledged (try 1)")
        await expect(user).to_contain_text("2.5 REF")

        # The merchant's user withdraws.
        mine = await shop.post("users", name="ann", symbol="REF")
        await shop.deposit(mine["address"], "4", "d-2", symbol="REF")
        await shop.settled()
        order = {"user": "ann", "symbol": "REF", "amount": "1.5", "address": addresses[3]}
        await shop.post("withdrawals", request_id="w-1", **order)
        paid = page.locator("#withdrawals article[data-name='w-1']")
        await expect(paid.locator("li.merchant").last).to_contain_text("approved (try 1)")
        (handed,) = (await party.consume("REF")).payload
        assert str(handed["amount"]) == "1.4"
        payment = {"address_to": addresses[3], "amount": "1.4", "txid": "P1", "symbol": "REF"}
        await party.notify(handed["trans_id"], **payment)
        await party.notify(handed["trans_id"], confirm=6, fee="0.01", **payment)
        await expect(paid.locator(".state")).to_have_text("complete")
        await expect(paid.locator("li.merchant").last).to_contain_text("acknowledged (try 1)")
        who = [await paid.locator(f"li.{one}:not(.head)").count() for one in
               ("chain", "daemon", "platform", "merchant")]  # fmt: skip
        assert who == [1, 2, 2, 3]

        # One ordered by hand on the page, and sent back by the chain.
        form = page.locator("#new-withdrawal")
        await form.get_by_label("Amount").fill("1")
        await form.get_by_label("To").fill("no such address")
        await form.get_by_role("button", name="Withdraw").click()
        await expect(page.locator("#said")).to_contain_text("ordered: trans_id ")
        trans_id = (await page.locator("#said").inner_text()).split()[-1]
        await party.cancel(int(trans_id), "REF")
        dead = page.locator(f"#withdrawals article[data-name='{trans_id}'] .state")
        await expect(dead).to_have_text("cancelled")
        await page.screenshot(path=album / "sandbox.png")
        await paid.screenshot(path=album / "sandbox-withdrawal.png")

        # The pool is empty: said, not hidden.
        for _ in range(3):
            await page.get_by_role("button", name="New user").click()
        await expect(page.locator("#said")).to_have_text(re.compile("pool is empty"))
        assert await page.locator("#said").get_attribute("class") == "bad"
    await expect(page.locator("#live")).to_have_text("not connected")


async def test_what_others_write_is_only_text(page: Page, platform: Platform) -> None:
    """Names and addresses come from strangers: they are shown, never run."""
    evil = "<img src=x onerror=alert(1)>"
    await platform.control.order(address_to=evil)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.goto(platform.sandbox.url)
    await expect(page.locator("#withdrawals .to")).to_have_text(f"to {evil}")
    assert await page.locator("#withdrawals img").count() == 0
    assert dialogs == []


# --- without a browser --------------------------------------------------------------------------


async def test_pages_are_served_with_a_policy(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    kinds = {"/": "text/html", "/pages/page.js": "text/javascript", "/pages/page.css": "text/css",
             "/pages/qr/A1": "image/svg+xml"}  # fmt: skip
    for path, kind in kinds.items():
        async with session.get(platform.sandbox.url + path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    for path in ("/pages/server.py", "/pages/..%2Fserver.py", "/pages/qr/" + "x" * 600):
        async with session.get(platform.sandbox.url + path) as answer:
            assert answer.status == 404


async def test_feed_tells_of_changes(platform: Platform, session: aiohttp.ClientSession) -> None:
    async with session.get(platform.sandbox.url + "/sandbox/feed") as feed:
        assert feed.content_type == "text/event-stream"
        assert await feed.content.readline() == b"event: changed\n"
        await platform.control.coin("NEW")
        lines = [await feed.content.readline() for _ in range(3)]
        assert b"event: changed\n" in lines


async def test_timeline_of_a_deposit(platform: Platform) -> None:
    await platform.party.register("VLX", "A1")
    await platform.party.deposit("r1", "A1", confirm=1)
    await platform.party.deposit("r1", "A1", confirm=5)
    lives = await platform.control.get("timeline")
    assert lives["withdrawals"] == []
    (life,) = lives["deposits"]
    assert (life["name"], life["state"], life["amount"]) == ("r1", "credited", "1")
    said = [(step["who"], step["what"]) for step in life["steps"]]
    assert said == [("daemon", "notified"), ("daemon", "told again"), ("platform", "credited")]


async def test_local_chains_are_checked(
    control: Operator, devnet: ReferenceDevnet, state: Path, session: aiohttp.ClientSession
) -> None:
    line = ready_line(devnet)
    for changed in (
        {"plugin": "none"}, {"private_key": "zz"}, {"assets": {}}, {"assets": []},
        {"assets": {"REF": {}}}, {"node": {}}, {"node": {"endpoints": [], "x": 1}},
    ):  # fmt: skip
        await control.post("devnets", line | changed, expect=400)
    assert await control.get("devnets") == {"symbols": []}
    await control.post("devnets", line)
    await control.post("devnets", line)
    to = devnet.ledger.address(b"\x09" * 20)
    fields = {"symbol": "REF", "address": to, "amount": "1"}
    sent = {(await control.post("send", fields))["txid"] for _ in range(3)}
    assert len(sent) == 3  # three before a block: each has a lock of its own
    await devnet.mine(1)
    for wrong in ({"symbol": "NO"}, {"amount": "x"}, {"amount": "-1"}, {"address": "nowhere"},
                  {"amount": "0.0000000000000000000000001"}, {"amount": "9" * 60}):  # fmt: skip
        await control.post("send", fields | wrong, expect=409)
    assert "private_key" not in str(await control.get("devnets"))


async def test_local_chains_are_known_after_a_restart(
    state: Path, devnet: ReferenceDevnet, session: aiohttp.ClientSession
) -> None:
    async with Sandbox(state) as sandbox:
        await Operator(sandbox.url, session).post("devnets", ready_line(devnet))
    async with Sandbox(state) as sandbox:
        assert (await Operator(sandbox.url, session).get("devnets"))["symbols"] == ["REF", "USDX"]


async def test_a_coin_on_another_chain_under_another_name(
    control: Operator, devnet: ReferenceDevnet
) -> None:
    """A plugin that was not written here: the EVM's, with its own node."""
    chain = await registry.plugin("evm").devnet("127.0.0.1:0")  # type: ignore[attr-defined]
    try:
        line = ready_line(chain) | {"plugin": "evm"}
        line["assets"]["ETH"] |= {"symbol": "ETHER"}  # type: ignore[index]
        await control.post("devnets", ready_line(devnet))
        told = await control.post("devnets", line)
        assert {"ETHER", "REF"} <= set(told["symbols"])
        to = "0x" + "12" * 20
        fields = {"symbol": "ETHER", "address": to, "amount": "1.5"}
        for _ in range(2):
            await control.post("send", fields)
        await chain.mine(1)
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": [to, "latest"]}
        async with control.session.post(chain.url, json=body) as answer:
            assert int((await answer.json())["result"], 16) == 3 * 10**18
    finally:
        await chain.close()
