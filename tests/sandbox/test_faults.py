"""Every kind of fault, on every call: what the caller sees, and whether the call took effect."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from chain_adapter.sandbox.faults import KINDS, WITH_EFFECT, WITHOUT_EFFECT
from tests.sandbox.conftest import Answer, Operator, PartyA, Platform

PATHS = (
    "address/register",
    "address/available",
    "deposit/notify",
    "withdraw/consume",
    "withdraw/notify",
    "withdraw/cancel",
    "internal/notify",
)
EMPTY = ("address/register", "withdraw/notify", "withdraw/cancel", "internal/notify")


@dataclass
class Seen:
    """What came over the wire: an answer, or the transport's error."""

    status: int = 0
    body: bytes = b""
    content_type: str = ""
    error: Exception | None = None


@dataclass
class Case:
    """Calls one path, each time with a new subject, and tells whether it took effect."""

    party: PartyA
    control: Operator
    path: str
    number: int = 0

    async def prepare(self) -> None:
        await self.party.register("VLX", "held")
        await self.control.user()
        if self.path.startswith("withdraw/"):
            for _ in range(3):
                await self.control.order()

    def fields(self) -> dict[str, object]:
        self.number += 1
        trans_id = 50000 + self.number
        money = {"amount": 1, "confirm": 0, "balance": 0, "symbol": "VLX"}
        if self.path == "address/register":
            return {"symbol": "VLX", "addresses": f"new{self.number}", "memo": False}
        if self.path == "deposit/notify":
            to = {"request_id": f"r{self.number}", "address_to": "held", "status": 1}
            return money | to | {"txid": f"T{self.number}"}
        if self.path == "withdraw/notify":
            return money | {"trans_id": trans_id, "address_to": "to", "txid": "P", "fee": 0}
        if self.path == "withdraw/cancel":
            return {"symbol": "VLX", "trans_id": trans_id, "msg": ""}
        if self.path == "internal/notify":
            return money | {"address_to": "x", "txid": f"I{self.number}", "fee": 1}
        return {"symbol": "VLX"}

    async def effects(self) -> int:
        rows: list[Any] = []
        if self.path == "address/register":
            rows = [r for r in await self.control.get("addresses?symbol=VLX") if not r["user"]]
        elif self.path == "deposit/notify":
            rows = await self.control.get("deposits")
        elif self.path == "withdraw/notify":
            rows = [r for r in await self.control.get("withdrawals") if r["txid"]]
        elif self.path == "withdraw/cancel":
            rows = [r for r in await self.control.get("withdrawals") if r["state"] == "cancelled"]
        elif self.path == "internal/notify":
            rows = await self.control.get("internal")
        return len(rows)

    async def raw(self) -> Seen:
        body = json.dumps(self.party.request(json.dumps(self.fields()).encode())).encode()
        url = f"{self.party.url}/api/v1/{self.path}"
        seen = Seen()
        try:
            async with aiohttp.ClientSession() as session:  # no retry on a kept connection
                async with session.post(url, data=body) as response:
                    seen.status = response.status
                    seen.content_type = response.content_type
                    seen.body = await response.read()
        except aiohttp.ClientError as error:
            seen.error = error
        return seen

    async def good(self) -> Answer:
        seen = await self.raw()
        answer = self.party.read(seen.body)
        assert answer.code == 0
        return answer


@pytest.fixture(params=PATHS)
async def case(request: pytest.FixtureRequest, platform: Platform) -> Case:
    made = Case(platform.party, platform.control, request.param)
    await made.prepare()
    return made


def expected_effects(case: Case, number: int) -> int:
    return 0 if case.path in ("address/available", "withdraw/consume") else number


async def strike(case: Case, kind: str, **more: object) -> Seen:
    """One faulty call after a good one; proves that the next is good again."""
    await case.good()
    before = await case.effects()
    await case.control.fault(case.path, kind, **more)
    seen = await case.raw()
    effect = more.get("effect", kind in WITH_EFFECT)
    assert await case.effects() == before + expected_effects(case, int(bool(effect)))
    await case.good()
    return seen


@pytest.mark.parametrize("effect", [None, False, True])
@pytest.mark.parametrize("kind", ["refuse", "reset_before", "reset_after"])
async def test_connections_that_end(case: Case, kind: str, effect: bool | None) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, kind, **more)
    assert isinstance(seen.error, aiohttp.ClientConnectionError | aiohttp.ClientOSError)
    assert seen.status == 0


@pytest.mark.parametrize("effect", [None, True])
async def test_status_500(case: Case, effect: bool | None) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, "status_500", **more)
    assert seen.status == 500 and not seen.body.startswith(b"{")


@pytest.mark.parametrize("effect", [None, True])
async def test_html(case: Case, effect: bool | None) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, "html", **more)
    assert (seen.status, seen.content_type) == (200, "text/html")
    assert b"<html>" in seen.body


@pytest.mark.parametrize("more", [{}, {"code": 1000018}, {"code": 100002, "effect": True}])
async def test_error_code(case: Case, more: dict[str, object]) -> None:
    seen = await strike(case, "error_code", **more)
    answer = case.party.read(seen.body)
    assert (answer.code, seen.status) == (more.get("code", 100002), 200)
    assert (answer.raw["data"], answer.raw["sign"]) == ("", "")


async def test_replay_is_an_earlier_answer_byte_for_byte(case: Case) -> None:
    first = await case.good()
    await case.control.fault(case.path, "replay")
    before = await case.effects()
    assert (await case.raw()).body == first.body
    assert await case.effects() == before


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_to_replay_is_an_error(platform: Platform, path: str) -> None:
    case = Case(platform.party, platform.control, path)
    await case.control.fault(path, "replay")
    assert case.party.read((await case.raw()).body).code == 100002
    assert await case.effects() == 0


async def test_latency(case: Case) -> None:
    started = time.monotonic()
    seen = await strike(case, "latency", seconds=0.4)
    assert time.monotonic() - started >= 0.4
    assert case.party.read(seen.body).code == 0


@pytest.mark.parametrize("effect", [None, False])
async def test_truncate(case: Case, effect: bool | None) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, "truncate", **more)
    assert seen.status == 200
    assert isinstance(seen.error, aiohttp.ClientPayloadError)


async def test_truncate_sends_half_under_the_full_length(platform: Platform) -> None:
    party = platform.party
    await platform.control.fault("withdraw/consume", "truncate")
    body = json.dumps(party.request(b'{"symbol":"VLX"}')).encode()
    received = b""
    async with aiohttp.ClientSession() as session:
        url = f"{party.url}/api/v1/withdraw/consume"
        async with session.post(url, data=body) as response:
            announced = int(response.headers["Content-Length"])
            with pytest.raises(aiohttp.ClientPayloadError):
                async for chunk in response.content.iter_any():
                    received += chunk
    assert announced // 2 == len(received) > 100


@pytest.mark.parametrize("effect", [None, False])
async def test_bad_json(case: Case, effect: bool | None) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, "bad_json", **more)
    assert (seen.status, seen.content_type) == (200, "application/json")
    with pytest.raises(ValueError):
        json.loads(seen.body)


@pytest.mark.parametrize("kind", ["bad_signature", "other_key"])
@pytest.mark.parametrize("effect", [None, False])
async def test_signatures_that_are_not_the_platforms(
    case: Case, kind: str, effect: bool | None
) -> None:
    more = {} if effect is None else {"effect": effect}
    seen = await strike(case, kind, **more)
    answer = case.party.read(seen.body)
    assert answer.code == 0 and answer.raw["sign"] and not answer.signed
    assert (answer.payload is None) == (case.path in EMPTY)


async def test_wrong_request_id_is_signed(case: Case) -> None:
    seen = await strike(case, "wrong_request_id")
    answer = case.party.read(seen.body)
    assert answer.code == 0 and answer.signed
    assert answer.payload["data"]["request_id"] not in (f"r{i}" for i in range(9))


async def test_stale_list_is_an_earlier_one_freshly_signed(platform: Platform) -> None:
    party, control = platform.party, platform.control
    await party.consume()
    first, second = await control.order(), await control.order()
    earlier = await party.consume()
    await party.notify(int(first))
    await control.fault("withdraw/consume", "stale_list", times=2)
    for _ in range(2):
        stale = await party.consume()
        assert stale.signed and stale.plaintext == earlier.plaintext
        assert stale.body != earlier.body
    now = (await party.consume()).payload
    assert [order["trans_id"] for order in now] == [int(second)]


async def test_stale_list_keeps_to_its_symbol(platform: Platform) -> None:
    party, control = platform.party, platform.control
    await control.order(symbol="TOK")
    await party.consume("TOK")
    await control.fault("withdraw/consume", "stale_list")
    assert (await party.consume("VLX")).payload == []


async def test_stale_list_on_the_other_calls_is_a_true_or_an_older_answer(case: Case) -> None:
    seen = await strike(case, "stale_list")
    answer = case.party.read(seen.body)
    assert answer.code == 0 and answer.signed == (case.path not in EMPTY)


async def test_every_kind_is_tried_above() -> None:
    tried = {
        "refuse", "reset_before", "reset_after", "status_500", "html", "error_code", "replay",
        "latency", "truncate", "bad_json", "bad_signature", "other_key", "wrong_request_id",
        "stale_list",
    }  # fmt: skip
    assert tried == set(KINDS) == set(WITH_EFFECT) | set(WITHOUT_EFFECT)


async def test_faults_queue_up_and_are_used_up(platform: Platform) -> None:
    party, control = platform.party, platform.control
    await control.fault("address/available", "error_code", times=2, code=100008)
    await control.fault("address/available", "error_code", code=100003)
    await control.fault("withdraw/consume", "html")
    codes = [(await party.available("VLX")).code for _ in range(4)]
    assert codes == [100008, 100008, 100003, 0]
    (left,) = await control.get("faults")
    assert (left["path"], left["kind"], left["times"]) == ("withdraw/consume", "html", 1)


async def test_a_refused_call_stays_refused_under_a_fault(platform: Platform) -> None:
    await platform.control.fault("deposit/notify", "wrong_request_id")
    assert (await platform.party.deposit("r1", "nobody")).code == 1000017


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "deposit/unknown"},
        {"path": "/api/v1/deposit/notify"},
        {"path": ""},
        {"path": 1},
        {"kind": "explode"},
        {"kind": None},
        {"times": 0},
        {"times": -1},
        {"times": "1"},
        {"times": 1.5},
        {"seconds": -1},
        {"seconds": "2"},
        {"seconds": 1e9},
        {"code": 0},
        {"code": "100002"},
        {"effect": 1},
        {"effect": "true"},
        {"kind": "latency", "effect": False},
        {"color": "red"},
    ],
)
async def test_a_wrong_fault_is_400(control: Operator, wrong: dict[str, object]) -> None:
    fields = {"path": "deposit/notify", "kind": "html", "times": 1} | wrong
    answer = await control.post("faults", fields, expect=400)
    assert answer["error"]
    assert await control.get("faults") == []


async def test_faults_can_be_cleared(platform: Platform, session: aiohttp.ClientSession) -> None:
    await platform.control.fault("address/available", "html", times=9)
    async with session.delete(f"{platform.sandbox.url}/sandbox/faults") as response:
        assert response.status == 200
    assert (await platform.party.available("VLX")).code == 0
