"""address/register and address/available, sentence by sentence."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Operator, PartyA


async def count(party: PartyA, symbol: str = "VLX") -> int:
    answer = await party.available(symbol)
    assert answer.signed and answer.payload["symbol"] == symbol
    return int(answer.payload["count"])


async def test_registered_addresses_are_counted_until_a_user_has_them(
    party: PartyA, control: Operator
) -> None:
    answer = await party.register("VLX", "a", "b", "c")
    assert (answer.code, answer.raw["data"], answer.raw["sign"]) == (0, "", "")
    assert await count(party) == 3
    assert (await control.user())["address"] == "a"
    assert await count(party) == 2


async def test_known_addresses_are_success_and_stored_once(
    party: PartyA, control: Operator
) -> None:
    await party.register("VLX", "a", "b")
    assert (await party.register("VLX", "b", "c", "c")).code == 0
    rows = await control.get("addresses?symbol=VLX")
    assert [row["address"] for row in rows] == ["a", "b", "c"]


async def test_a_hundred_is_the_most_of_a_call(party: PartyA) -> None:
    many = [f"a{i}" for i in range(101)]
    assert (await party.register("VLX", *many)).code == 1000010
    assert await count(party) == 0
    assert (await party.register("VLX", *many[:100])).code == 0
    assert await count(party) == 100


async def test_the_pool_ends_at_5000_unused(party: PartyA, control: Operator) -> None:
    for page in range(49):
        code = (await party.register("VLX", *(f"a{page}-{i}" for i in range(100)))).code
        assert code == 0
    assert (await party.register("VLX", *(f"b{i}" for i in range(99)))).code == 0
    assert (await party.register("VLX", "c1", "c2")).code == 100002
    assert await count(party) == 4999
    assert (await party.register("VLX", "c1")).code == 0
    assert await count(party) == 5000
    assert (await party.register("VLX", "c2")).code == 100002
    assert (await party.register("VLX", "c1")).code == 100002  # at 5,000 every call is
    await control.user()
    assert (await party.register("VLX", "c1")).code == 0
    assert (await party.register("VLX", "c2")).code == 0
    assert await count(party) == 5000


async def test_a_memo_coin_registers_one_address_once(party: PartyA, control: Operator) -> None:
    assert (await party.register("SRM", "m", "n", memo=True)).code == 1000014
    assert (await party.register("SRM", "m", memo=False)).code == 0  # the flag changes nothing
    assert (await party.register("SRM", "m", memo=True)).code == 1000014
    assert (await party.register("SRM", "n", memo=True)).code == 1000014
    rows = await control.get("addresses?symbol=SRM")
    assert rows == [{"address": "m", "user": None, "memo": ""}]


async def test_users_of_a_memo_coin_share_the_address(party: PartyA, control: Operator) -> None:
    await control.post("users", {"symbol": "SRM"}, expect=409)
    await party.register("SRM", "m", memo=True)
    one, two = await control.user("SRM"), await control.user("SRM")
    assert one["address"] == two["address"] == "m"
    assert one["memo"] and two["memo"] and one["memo"] != two["memo"]
    rows = await control.get("addresses?symbol=SRM")
    assert [(row["user"], row["memo"]) for row in rows] == [
        (one["user"], one["memo"]),
        (two["user"], two["memo"]),
    ]


async def test_the_flag_does_not_make_a_memo_coin(party: PartyA) -> None:
    assert (await party.register("VLX", "a", "b", memo=True)).code == 0
    assert await count(party) == 2


async def test_tokens_share_the_addresses_of_their_main_coin(
    party: PartyA, control: Operator
) -> None:
    assert (await party.register("TOK", "a")).code == 1000015
    await party.register("VLX", "a", "b")
    assert await count(party, "TOK") == 2
    assert (await control.user("TOK"))["address"] == "a"
    assert await count(party, "TOK") == await count(party) == 1
    assert await control.get("addresses?symbol=TOK") == await control.get("addresses?symbol=VLX")


async def test_two_main_coins_may_have_the_same_address(party: PartyA, control: Operator) -> None:
    await control.coin("OTH")
    assert (await party.register("VLX", "a")).code == 0
    assert (await party.register("OTH", "a")).code == 0
    assert await count(party) == await count(party, "OTH") == 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [("x" * 256, 1000016), ("", 100001), (" y", 100001), ("y\n", 100001), ("a b", 100001)],
)
async def test_a_call_with_one_bad_address_stores_none(party: PartyA, bad: str, code: int) -> None:
    assert (await party.register("VLX", "a", bad, "b")).code == code
    assert await count(party) == 0


async def test_255_characters_are_an_address(party: PartyA) -> None:
    assert (await party.register("VLX", "x" * 255)).code == 0
    assert await count(party) == 1
