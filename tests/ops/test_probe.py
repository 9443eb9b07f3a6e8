"""`probe` against the sandbox in each of its behaviours: it finds out, or says that it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain_adapter import cli
from chain_adapter.clock import SystemClock
from chain_adapter.commands import probing
from chain_adapter.platform_api.envelope import Envelope, load_private_key, load_public_key
from chain_adapter.probe import deposits, questions, withdrawals
from chain_adapter.probe.answers import Answer, Findings, Setting, as_text, as_toml
from chain_adapter.probe.line import Line
from chain_adapter.probe.room import Coin, Room
from chain_adapter.sandbox.behaviour import RULES
from chain_adapter.sandbox.server import Sandbox
from chain_adapter.store import ledger
from tests.stories.conftest import templates

__all__ = ["templates"]

DEPTH = 5
UNSEEN = {
    "new_request_id", "status_zero_later", "smaller_confirm", "withdraw_depth", "shared_txid",
}  # fmt: skip
"""No answer of the platform shows them: `probe` must say "unknown", never guess."""

EXPECTED: dict[tuple[str, str], str] = {
    ("deposit_depth", "at"): str(DEPTH),
    ("deposit_depth", "above"): str(DEPTH + 1),
    ("deposit_depth", "refuse_below"): str(DEPTH),
    ("pool_limit", "at_5000"): "at_5000",
    ("replacement", "ignore"): "accept",  # not to be told apart from outside
}
MEMO_RULES = {"memo_again", "unknown_memo"}
SPECIAL = {"pool_limit", "consume_empty"}
CASES = [(rule.name, value) for rule in RULES for value in rule.values]


class Platform:
    """A sandbox with a way to control it, and a room to ask from."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.http = http
        self.serial = 0
        self.coin = Coin("main", "", 8, False)
        own = load_private_key((sandbox.state / "party_a_private.pem").read_bytes())
        theirs = load_public_key((sandbox.state / "platform_public.pem").read_bytes())
        self.line = Line(http, sandbox.url, sandbox.app_id, Envelope(own, theirs), 20.0)

    async def post(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.sandbox.url}/sandbox/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def room(self, *, memo: bool = False, orders: int = 3, token: bool = True) -> Room:
        """A room about a coin of its own, with orders that wait."""
        self.serial += 1
        main = f"C{self.serial}"
        common = {"decimals": 8, "confirmations": DEPTH}
        await self.post("coins", symbol=main, memo=memo, **common)
        coin = Coin("main", main, 8, memo)
        if token and not memo:
            name = f"T{self.serial}"
            await self.post(
                "coins", symbol=name, main_symbol=main, memo=False, decimals=6,
                confirmations=DEPTH,
            )  # fmt: skip
            coin = replace(coin, token=name, token_decimals=6)
            await self.post("withdrawals", symbol=name, address_to="0x1", amount="1")
        for number in range(orders):
            await self.post("withdrawals", symbol=main, address_to=f"0x{number}", amount="1.5")
        names = iter(range(10**9))
        return Room(self.line, coin, lambda: f"{main}x{next(names)}", deepest=12)

    async def rules(self, **values: str) -> None:
        for rule, value in values.items():
            await self.post("behaviour", rule=rule, value=value)


async def ask(room: Room, *, orders_too: bool = True) -> Findings:
    """What the command asks, but for the pool's limit."""
    await questions.envelope(room)
    await questions.addresses(room)
    paid = room.address()
    await room.register(paid)
    await questions.amounts(room, paid)
    await questions.internal(room)
    await deposits.deposits(room)
    if orders_too:
        await withdrawals.withdrawals(room, room.coin.symbol)
        if room.coin.token is not None:
            await withdrawals.withdrawals(room, room.coin.token, is_token=True)
    return room.findings


@pytest.fixture
async def platform(templates: Path, tmp_path: Path) -> AsyncIterator[Platform]:
    for file in (templates / "platform").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    async with Sandbox(tmp_path) as sandbox, aiohttp.ClientSession() as http:
        yield Platform(sandbox, http)


async def test_every_behaviour_is_found_out_or_said_to_be_unseen(platform: Platform) -> None:
    """One sandbox, each rule at each of its values; a coin of its own for each."""
    wrong: list[str] = []
    for rule, value in CASES:
        if rule in SPECIAL:
            continue
        default = next(one.values[0] for one in RULES if one.name == rule)
        await platform.rules(**{rule: value})
        room = await platform.room(memo=rule in MEMO_RULES, orders=25 if "order" in rule else 3)
        found = (await ask(room)).of(rule)
        await platform.rules(**{rule: default})
        if found is None:
            wrong.append(f"{rule} = {value}: was not asked")
        elif rule in UNSEEN:
            if found.is_known:
                wrong.append(f"{rule} = {value}: guessed {found.answer}")
        elif found.answer != EXPECTED.get((rule, value), value):
            wrong.append(f"{rule} = {value}: said {found.answer} ({found.evidence})")
    assert wrong == []


@pytest.mark.parametrize("value", ["signed", "unsigned"])
async def test_an_empty_list(platform: Platform, value: str) -> None:
    await platform.rules(consume_empty=value)
    room = await platform.room(orders=0, token=False)
    found = await ask(room)
    answer = found.of("consume_empty")
    assert answer is not None
    assert answer.answer == value
    assert bool(answer.risk) == (value == "unsigned")
    withdrawn = found.of("withdrawals")
    assert withdrawn is not None
    assert not withdrawn.is_known


@pytest.mark.parametrize(("value", "limit"), [("at_5000", "at_5000"), ("above_5000", "above_5000")])
async def test_the_limit_of_the_pool(platform: Platform, value: str, limit: str) -> None:
    await platform.rules(pool_limit=value)
    room = await platform.room(orders=0, token=False)
    await room.register(*(room.address() for _ in range(37)))
    await questions.register_limit(room)
    found = room.findings.of("pool_limit")
    assert found is not None
    assert found.answer == limit


async def test_the_settings_that_follow(platform: Platform) -> None:
    await platform.rules(
        deposit_depth="above", internal_notify="off", replacement="refuse", cancel_paying="accept",
    )  # fmt: skip
    findings = await ask(await platform.room())
    found = {(one.table, one.key): one.value for one in findings.settings()}
    assert found == {
        ("chains.main", "platform_confirmations"): str(DEPTH + 1),
        ("platform", "internal_notify"): '"off"',
        ("chains.main", "replace_after_s"): "3600",
    }
    text = as_toml(findings.settings())
    assert f"[chains.main]\nplatform_confirmations = {DEPTH + 1}  # " in text
    shown = as_text(findings)
    assert "RISK: it refunds what may be paid already" in shown
    assert "Not shown by the platform" in shown
    assert json.loads(json.dumps(findings.document()))["unknown"]


async def test_nothing_real_is_credited_beyond_a_thousandth(platform: Platform) -> None:
    await ask(await platform.room())
    async with platform.http.get(f"{platform.sandbox.url}/sandbox/deposits") as answer:
        rows = await answer.json()
    assert sorted(row["credited"] for row in rows)[-1] == "0.001"
    assert sum(row["credited"] != "0" for row in rows) == 1
    assert not any(row["duplicate"] for row in rows)


def test_an_answer_that_is_no_answer() -> None:
    findings = Findings()
    findings.add(
        Answer("a", "?", "unknown", "x"),
        Answer("b", "?", "yes", "y", settings=(Setting("platform", "k", "1", "w"),) * 2),
    )
    assert len(findings.settings()) == 1
    assert findings.of("c") is None


# --- the command ----------------------------------------------------------------------------------

CONFIG = """
{top}
[database]
url = "sqlite:///books.db"
[platform]
url = "{url}"
app_id = "{app_id}"
private_key_file = "{state}/party_a_private.pem"
platform_key_file = "{state}/platform_public.pem"
platform_confirmations = 4
[chains.main]
plugin = "reference"
confirmations = 3
[chains.main.node]
endpoints = ["memory://nowhere"]
[chains.main.assets.REF]
decimals = 9
"""


def configured(folder: Path, platform: Platform | None, top: str = "") -> Path:
    url = "http://127.0.0.1:9" if platform is None else platform.sandbox.url
    app_id = "abc" if platform is None else platform.sandbox.app_id
    state = "." if platform is None else str(platform.sandbox.state)
    path = folder / "adapter.toml"
    path.write_text(CONFIG.format(top=top, url=url, app_id=app_id, state=state))
    return path


async def test_the_command(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    await platform.post("coins", symbol="REF", memo=False, decimals=9, confirmations=DEPTH)
    for _ in range(3):
        await platform.post("withdrawals", symbol="REF", address_to="0x1", amount="1")
    path, out = configured(tmp_path, platform), tmp_path / "answers.toml"
    words = ["probe", "--config", str(path), "--yes", "--json", "--write", str(out)]
    assert await asyncio.to_thread(cli.execute, words) == 0
    document = json.loads(capsys.readouterr().out)
    answers = {one["rule"]: one["answer"] for one in document["answers"]}
    assert answers["deposit_depth"] == str(DEPTH)
    assert answers["claim_again"] == "accept"
    assert document["settings"][0]["key"] == "platform_confirmations"
    assert "platform_confirmations = 5" in out.read_text()
    assert "# deposit_depth: 5" in out.read_text()


def test_it_asks_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path, None)
    assert cli.execute(["probe", "--config", str(path)]) == 2
    assert "--yes" in capsys.readouterr().err

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return "something else\n"

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert cli.execute(["probe", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "Type the app_id" in said
    assert "nothing was asked" in said


@pytest.mark.parametrize("profile", ["production"])
def test_production_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    path = configured(tmp_path, None, f'profile = "{profile}"')
    path.write_text(path.read_text().replace("http://127.0.0.1:9", "https://127.0.0.1:9"))
    assert cli.execute(["probe", "--config", str(path), "--yes"]) == 2
    assert "test environment" in capsys.readouterr().err


def test_books_with_a_history_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured(tmp_path, None)
    ledger.create(f"sqlite:///{tmp_path}/books.db", SystemClock(), ledger_id="x").close()
    monkeypatch.setattr(probing, "_history", lambda _tx: 1)
    assert cli.execute(["probe", "--config", str(path), "--yes"]) == 2
    assert "these books hold" in capsys.readouterr().err
    monkeypatch.setattr(probing, "_history", lambda _tx: 0)
    lock = ledger.InstanceLock(f"sqlite:///{tmp_path}/books.db")
    lock.take()
    assert cli.execute(["probe", "--config", str(path), "--yes"]) == 2
    lock.release()
