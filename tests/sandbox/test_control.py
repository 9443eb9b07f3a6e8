"""The control API: strict about what it is asked, silent where it must not be reached."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from chain_adapter.errors import ConfigError
from chain_adapter.sandbox.server import Sandbox, is_loopback, parse_listen
from tests.sandbox.conftest import Operator, PartyA, Platform

COIN = {"symbol": "NEW", "memo": False, "decimals": 8, "confirmations": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": ""},
        {"symbol": 1},
        {"symbol": "a b"},
        {"symbol": "a,b"},
        {"symbol": "x" * 65},
        {"memo": "no"},
        {"memo": None},
        {"decimals": -1},
        {"decimals": 78},
        {"decimals": "8"},
        {"decimals": 8.0},
        {"decimals": True},
        {"confirmations": -1},
        {"confirmations": None},
        {"main_symbol": 5},
        {"extra": 1},
    ],
)
async def test_a_wrong_coin_is_400(control: Operator, wrong: dict[str, object]) -> None:
    answer = await control.post("coins", COIN | wrong, expect=400)
    assert next(iter(wrong)) in answer["error"]


@pytest.mark.parametrize("name", COIN)
async def test_a_coin_needs_its_fields(control: Operator, name: str) -> None:
    fields = {key: value for key, value in COIN.items() if key != name}
    assert name in (await control.post("coins", fields, expect=400))["error"]


async def test_main_coins(control: Operator) -> None:
    await control.post("coins", COIN | {"main_symbol": "NOPE"}, expect=404)
    await control.post("coins", COIN | {"main_symbol": "TOK"}, expect=409)
    await control.post("coins", COIN | {"symbol": "VLX", "main_symbol": "SRM"}, expect=409)
    await control.post("coins", COIN | {"main_symbol": "NEW"})
    rows = {row["symbol"]: row for row in await control.get("coins")}
    assert rows["NEW"]["main_symbol"] == "NEW" and rows["TOK"]["main_symbol"] == "VLX"


async def test_again_updates(party: PartyA, control: Operator) -> None:
    await party.register("VLX", "a")
    await control.coin("VLX", confirmations=1)
    await control.coin("TOK", decimals=4)  # still a token of VLX
    await party.deposit("r1", "a", confirm=1)
    assert (await control.deposit("r1"))["credited"] == "1"
    assert (await party.register("TOK", "b")).code == 1000015


async def test_users(party: PartyA, control: Operator) -> None:
    assert (await control.post("users", {"symbol": "NOPE"}, expect=404))["error"]
    assert (await control.post("users", {}, expect=400))["error"]
    assert (await control.post("users", {"symbol": "VLX"}, expect=409))["error"]
    await party.register("VLX", "a", "b")
    one, two = await control.user(), await control.user()
    assert (one["address"], two["address"]) == ("a", "b")
    assert one["user"] != two["user"]
    await control.post("users", {"symbol": "VLX"}, expect=409)
    rows = await control.get("addresses?symbol=VLX")
    assert [(row["address"], row["user"]) for row in rows] == [
        ("a", one["user"]),
        ("b", two["user"]),
    ]


async def test_addresses_of_what(control: Operator) -> None:
    await control.get("addresses")
    assert control.status == 400
    await control.get("addresses?symbol=NOPE")
    assert control.status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "0"},
        {"amount": "0.000"},
        {"amount": "-1"},
        {"amount": "abc"},
        {"amount": ""},
        {"amount": "1,5"},
        {"amount": "NaN"},
        {"amount": " 1"},
        {"amount": None},
        {"amount": True},
        {"amount": []},
        {"address_to": 5},
        {"address_to": None},
        {"memo": 5},
        {"symbol": None},
        {"fee": "1"},
    ],
)
async def test_a_wrong_order_is_400(control: Operator, wrong: dict[str, object]) -> None:
    fields = {"symbol": "VLX", "address_to": "to", "amount": "1"} | wrong
    answer = await control.post("withdrawals", fields, expect=400)
    assert next(iter(wrong)) in answer["error"]
    assert await control.get("withdrawals") == []


async def test_an_order_of_an_unknown_coin_is_404(control: Operator) -> None:
    order = {"symbol": "NOPE", "address_to": "to", "amount": "1"}
    await control.post("withdrawals", order, expect=404)


@pytest.mark.parametrize(
    "amount", ["1.10", "0.000000000000000001", "1e-7", "1" * 60 + ".5", "1E+3"]
)
async def test_an_amount_is_kept_as_given(party: PartyA, control: Operator, amount: str) -> None:
    trans_id = await control.order(amount)
    assert (await control.withdrawal(trans_id))["amount"] == amount
    assert f'"amount":{amount},'.encode() in (await party.consume()).plaintext


async def test_an_amount_may_be_a_number(party: PartyA, control: Operator) -> None:
    body = b'{"symbol":"VLX","address_to":"to","amount":12.3400}'
    trans_id = (await control.post("withdrawals", body))["trans_id"]
    assert (await control.withdrawal(trans_id))["amount"] == "12.3400"


async def test_an_order_says_what_was_asked(control: Operator) -> None:
    trans_id = await control.order(memo="7")
    row = await control.withdrawal(trans_id)
    expected = {
        "trans_id": trans_id, "symbol": "VLX", "amount": "1", "address_to": "to", "memo": "7",
        "state": "pending", "txid": None, "fee": "0", "confirm": 0, "history": [],
        "claimed_at": None, "completed_at": None,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert isinstance(row["created_at"], float)
    assert await control.get(f"withdrawals/{trans_id}") == row


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"state": "complete"},
        {"state": "paying"},
        {"state": 1},
        {"amount": "x"},
        {"amount": "0"},
        {"address_to": 1},
        {"fee": "1"},
    ],
)
async def test_a_wrong_change_is_400(control: Operator, wrong: dict[str, object]) -> None:
    trans_id = await control.order()
    before = await control.withdrawal(trans_id)
    assert (await control.post(f"withdrawals/{trans_id}", wrong, expect=400))["error"]
    assert await control.withdrawal(trans_id) == before


async def test_a_change_of_nothing_is_404(control: Operator) -> None:
    for trans_id in ("1", "x", "99999999999999999999"):
        await control.post(f"withdrawals/{trans_id}", {"amount": "1"}, expect=404)
        await control.get(f"withdrawals/{trans_id}")
        assert control.status == 404


@pytest.mark.parametrize("path", ["coins", "users", "withdrawals", "faults", "behaviour"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b"null"])
async def test_what_is_no_json_object_is_400(control: Operator, path: str, body: bytes) -> None:
    assert (await control.post(path, body, expect=400))["error"]


async def test_unknown_calls_are_404_with_json(control: Operator) -> None:
    assert (await control.get("nothing"))["error"] and control.status == 404
    assert (await control.post("deposits", {}, expect=404))["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"rule": "nope", "value": "x"},
        {"rule": "consume_order", "value": "random"},
        {"rule": "consume_order"},
        {"rule": "consume_order", "value": 1},
        {"rule": "consume_order", "value": "latest", "x": 1},
    ],
)
async def test_a_wrong_rule_is_400(control: Operator, body: dict[str, object]) -> None:
    before = await control.get("behaviour")
    assert (await control.post("behaviour", body, expect=400))["error"]
    assert await control.get("behaviour") == before


async def test_off_loopback_there_is_no_control(
    state: Path, session: aiohttp.ClientSession
) -> None:
    async with Sandbox(state, "0.0.0.0:0") as sandbox:
        url = sandbox.url.replace("0.0.0.0", "127.0.0.1")
        for method in ("GET", "POST", "DELETE"):
            for path in ("coins", "deposits", "faults", "behaviour", "withdrawals/1"):
                async with session.request(method, f"{url}/sandbox/{path}", json={}) as response:
                    assert response.status == 404
        async with session.post(f"{url}/api/v1/address/available", data=b"x") as response:
            assert response.status == 200


def test_listen_addresses() -> None:
    assert parse_listen("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_listen("[::1]:80") == ("::1", 80)
    for wrong in ("", "x", ":80", "127.0.0.1", "127.0.0.1:", "h:x", "h:70000", "h:-1"):
        with pytest.raises(ConfigError):
            parse_listen(wrong)
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "1.127.0.0"):
        assert not is_loopback(host)


async def test_a_taken_port_is_a_clear_error(platform: Platform, tmp_path: Path) -> None:
    port = platform.sandbox.url.rpartition(":")[2]
    with pytest.raises(ConfigError, match=port):
        await Sandbox(tmp_path / "other", f"127.0.0.1:{port}").start()
