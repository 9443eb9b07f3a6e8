"""deposit/notify and internal/notify, sentence by sentence."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.conftest import Operator, PartyA


@pytest.fixture
async def address(party: PartyA, control: Operator) -> str:
    """An address that a user holds."""
    await party.register("VLX", "a", "b", "c")
    return str((await control.user())["address"])


async def balances(control: Operator) -> list[dict[str, str]]:
    return [user["balances"] for user in await control.get("users") if user["balances"]]


async def test_the_echo_is_signed_and_nested(party: PartyA, address: str) -> None:
    answer = await party.deposit("r1", address)
    assert answer.code == 0 and answer.signed
    assert answer.payload == {"data": {"request_id": "r1"}}


async def test_credited_once_when_the_depth_is_reached(
    party: PartyA, control: Operator, address: str
) -> None:
    for confirm in (0, 1, 2):
        assert (await party.deposit("r1", address, amount=2, confirm=confirm)).code == 0
    assert (await control.deposit("r1"))["credited"] == "0"
    for confirm in (3, 3, 4, 9):
        assert (await party.deposit("r1", address, amount=2, confirm=confirm)).code == 0
    row = await control.deposit("r1")
    assert (row["credited"], row["confirm"], row["duplicate"]) == ("2", 9, False)
    assert await balances(control) == [{"VLX": "2"}]
    assert (await party.deposit("r1", address, amount=2, confirm=1)).code == 0
    assert (await control.deposit("r1"))["confirm"] == 9


async def test_the_row_says_what_was_told(party: PartyA, control: Operator, address: str) -> None:
    await party.deposit("r1", address, address_from="f", amount=0.5, confirm=1)
    row = await control.deposit("r1")
    assert isinstance(row["notified_at"], float) and row["notified_at"] > 1.7e9
    expected = {
        "request_id": "r1", "symbol": "VLX", "txid": "T1", "address_from": "f",
        "address_to": address, "memo": "", "amount": "0.5", "confirm": 1, "status": 1,
        "credited": "0", "duplicate": False,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"address_to": "b"}, 1000011),
        ({"address_to": "never registered"}, 1000011),
        ({"amount": 2}, 1000011),
        ({"symbol": "TOK"}, 1000011),
        ({"memo": "x"}, 1000011),
        ({"txid": "T2"}, 1000012),
        ({"txid": "T2", "amount": 2}, 1000012),
        ({"amount": "1.00"}, 0),
        ({"amount": "10e-1"}, 0),
        ({"memo": ""}, 0),
        ({"memo": None}, 0),
        ({"address_from": "z"}, 0),
        ({"balance": 99}, 0),
    ],
)
async def test_a_request_id_keeps_its_first_content(
    party: PartyA, control: Operator, address: str, changed: dict[str, object], code: int
) -> None:
    assert (await party.deposit("r1", address, confirm=1)).code == 0
    before = await control.deposit("r1")
    answer = await party.deposit("r1", **({"address_to": address, "confirm": 1} | changed))
    assert answer.code == code
    after = await control.deposit("r1")
    if code:
        assert after == before
    names = ("txid", "address_to", "amount", "symbol", "memo")
    assert [after[name] for name in names] == [before[name] for name in names]
    assert len(await control.get("deposits")) == 1


async def test_a_new_request_id_is_credited_again(
    party: PartyA, control: Operator, address: str
) -> None:
    await party.deposit("r1", address)
    await party.deposit("r2", address)
    rows = await control.get("deposits")
    assert [(r["request_id"], r["credited"], r["duplicate"]) for r in rows] == [
        ("r1", "1", False),
        ("r2", "1", True),
    ]
    assert await balances(control) == [{"VLX": "2"}]


@pytest.mark.parametrize("other", [{"txid": "T2"}, {"address_to": "b"}, {"symbol": "TOK"}])
async def test_another_movement_is_no_duplicate(
    party: PartyA, control: Operator, address: str, other: dict[str, object]
) -> None:
    await party.deposit("r1", address)
    assert (await party.deposit("r2", **({"address_to": address} | other))).code == 0
    assert not (await control.deposit("r2"))["duplicate"]


async def test_status_0_never_credits(party: PartyA, control: Operator, address: str) -> None:
    assert (await party.deposit("r1", address, status=0, confirm=9)).code == 0
    assert (await control.deposit("r1"))["credited"] == "0"
    assert (await party.deposit("r1", address, status=1, confirm=9)).code == 0
    before = await control.deposit("r1")
    assert before["credited"] == "1"
    assert (await party.deposit("r1", address, status=0, confirm=9)).code == 0
    after = await control.deposit("r1")
    assert (after["credited"], after["status"]) == ("1", 1)
    assert await balances(control) == [{"VLX": "1"}]


async def test_an_unheld_address_is_given_to_a_new_user(party: PartyA, control: Operator) -> None:
    await party.register("VLX", "a")
    await party.deposit("r1", "a", amount=7)
    (row,) = await control.get("addresses?symbol=VLX")
    assert row["user"] is not None
    assert (await party.available("VLX")).payload["count"] == 0
    assert await balances(control) == [{"VLX": "7"}]


async def test_an_address_never_registered_is_1000017(party: PartyA, control: Operator) -> None:
    for status in (0, 1):
        assert (await party.deposit("r1", "nobody", status=status)).code == 1000017
    assert await control.get("deposits") == []


async def test_memos(party: PartyA, control: Operator) -> None:
    await party.register("SRM", "m", memo=True)
    user = await control.user("SRM")
    ask = {"symbol": "SRM", "amount": 3}
    for memo in (..., "", None, "000", user["memo"] + " ", user["memo"] + "0"):
        assert (await party.deposit("r1", "m", memo=memo, **ask)).code == 1000017
    assert (await party.deposit("r1", "m", memo=user["memo"], **ask)).code == 0
    row = await control.deposit("r1")
    assert (row["credited"], row["memo"]) == ("3", user["memo"])
    assert (await party.deposit("r2", "x", memo=user["memo"], **ask)).code == 1000017


async def test_a_token_deposit_goes_to_the_main_coins_address(
    party: PartyA, control: Operator, address: str
) -> None:
    assert (await party.deposit("r1", address, symbol="TOK", amount=0.01)).code == 0
    assert await balances(control) == [{"TOK": "0.01"}]


def deposit_text(amount: str) -> str:
    return (
        '{"request_id":"r1","address_to":"a","txid":"T","confirm":3,"symbol":"VLX",'
        f'"balance":0,"status":1,"amount":{amount}}}'
    )


@pytest.mark.parametrize(
    ("literal", "stored"),
    [
        ("1", "1"),
        ("1.5", "1.5"),
        ("0.00000001", "0.00000001"),
        ("1e-8", "0.00000001"),
        ("1E2", "100"),
        ("12.5e1", "125"),
        ("100000000000000000000.00000001", "100000000000000000000.00000001"),
        ("9007199254740993", "9007199254740993"),
        ("1.10000000000", "1.1"),
        ('"0.1"', "0.1"),
        ("0", None),
        ("0.0", None),
        ("0e5", None),
        ("-1", None),
        ("-0", None),
        ("0.000000001", None),
        ("1e-9", None),
        ("1.123456789", None),
        ("1e400", None),
        ("1e99999999999", None),
        ("NaN", None),
        ("Infinity", None),
        ("-Infinity", None),
        ('"NaN"', None),
        ("01", None),
        ("1.", None),
        (".5", None),
        ("true", None),
        ("null", None),
        ('"1e-9"', None),
    ],
)
async def test_amounts_are_exact_or_refused(
    party: PartyA, control: Operator, literal: str, stored: str | None
) -> None:
    await party.register("VLX", "a")
    answer = await party.call("deposit/notify", deposit_text(literal))
    if stored is None:
        assert answer.code == 100001
        assert await control.get("deposits") == []
    else:
        assert answer.code == 0
        row = await control.deposit("r1")
        assert (row["amount"], row["credited"]) == (stored, stored)


async def test_a_balance_may_be_zero_and_finer_than_the_coin(
    party: PartyA, control: Operator, address: str
) -> None:
    whole = "115792089237316195423570985008687907853269984665640564039457.584007913129639935"
    text = json.dumps(
        {
            "request_id": "r1", "address_to": address, "txid": "T", "amount": 1, "confirm": 1,
            "symbol": "VLX", "balance": whole, "status": 1,
        }
    )  # fmt: skip
    assert (await party.call("deposit/notify", text)).code == 0


# --- internal/notify ------------------------------------------------------------------------------


async def test_internal_is_kept_by_symbol_and_txid(party: PartyA, control: Operator) -> None:
    answer = await party.internal("I1", amount=5, address_from="d", fee=0.5, balance=1.5)
    assert (answer.code, answer.raw["data"]) == (0, "")
    assert (await party.internal("I1", amount=6, fee=0.25, confirm=8)).code == 0
    assert (await party.internal("I1", symbol="TOK")).code == 0
    rows = await control.get("internal")
    assert [(r["symbol"], r["txid"]) for r in rows] == [("VLX", "I1"), ("TOK", "I1")]
    expected = {
        "symbol": "VLX", "txid": "I1", "address_from": "d", "address_to": "hot", "amount": "5",
        "fee": "0.25", "confirm": 8, "balance": "1.5",
    }  # fmt: skip
    assert {name: rows[0][name] for name in expected} == expected
    assert rows[0]["at"] > 1.7e9


async def test_internal_amount_and_fee_may_be_zero(party: PartyA) -> None:
    assert (await party.internal("I1", amount=0, fee=0)).code == 0
    assert (await party.internal("I2", amount=-1)).code == 100001
    assert (await party.internal("I3", amount=0.000000001)).code == 100001


async def test_a_tokens_fee_has_the_decimals_of_the_main_coin(
    party: PartyA, control: Operator
) -> None:
    assert (await party.internal("I1", symbol="TOK", amount=0.01, fee=0.00000001)).code == 0
    assert (await party.internal("I2", symbol="TOK", amount=0.001, fee=0)).code == 100001
    assert (await party.internal("I3", symbol="TOK", amount=0.01, fee="1e-9")).code == 100001
    (row,) = await control.get("internal")
    assert row["fee"] == "0.00000001"
