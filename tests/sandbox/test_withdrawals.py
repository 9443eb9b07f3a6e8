"""withdraw/consume, withdraw/notify, withdraw/cancel, sentence by sentence."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Operator, PartyA


async def test_nothing_to_hand_out_is_a_signed_empty_list(party: PartyA) -> None:
    answer = await party.consume()
    assert answer.code == 0 and answer.signed and answer.plaintext == b"[]"


async def test_an_order_carries_its_content_to_the_digit(party: PartyA, control: Operator) -> None:
    first = await control.order("123456789012345678901234.123456789012345678")
    second = await control.order("0.10", memo="m", address_to="not an address", symbol="TOK")
    answer = await party.consume()
    assert answer.plaintext.decode() == (
        f'[{{"trans_id":{first},"symbol":"VLX",'
        '"amount":123456789012345678901234.123456789012345678,"fee":0,"address_to":"to",'
        '"memo":""}]'
    )
    (order,) = (await party.consume("TOK")).payload
    assert order["trans_id"] == int(second) and order["memo"] == "m"
    assert order["address_to"] == "not an address"
    assert '"amount":0.10,' in (await party.consume("TOK")).plaintext.decode()


async def test_twenty_at_most_oldest_first_again_and_again(
    party: PartyA, control: Operator
) -> None:
    ids = [int(await control.order()) for _ in range(23)]
    for _ in range(2):
        orders = (await party.consume()).payload
        assert [order["trans_id"] for order in orders] == ids[:20]
    await party.notify(ids[0])
    await party.cancel(ids[1])
    orders = (await party.consume()).payload
    assert [order["trans_id"] for order in orders] == ids[2:22]


async def test_from_claim_to_completion(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    assert (await control.withdrawal(trans_id))["state"] == "pending"
    answer = await party.notify(int(trans_id))
    assert (answer.code, answer.raw["data"], answer.raw["sign"]) == (0, "", "")
    row = await control.withdrawal(trans_id)
    assert (row["state"], row["txid"], row["confirm"]) == ("paying", "P1", 0)
    assert row["claimed_at"] >= row["created_at"] and row["completed_at"] is None
    assert (await party.consume()).payload == []
    for confirm in (1, 2):
        assert (await party.notify(int(trans_id), confirm=confirm, fee=0.1)).code == 0
    assert (await control.withdrawal(trans_id))["state"] == "paying"
    assert (await party.notify(int(trans_id), confirm=3, fee=0.25)).code == 0
    row = await control.withdrawal(trans_id)
    assert (row["state"], row["confirm"], row["fee"]) == ("complete", 3, "0.25")
    assert row["completed_at"] >= row["claimed_at"]
    assert [(h["txid"], h["confirm"], h["fee"]) for h in row["history"]] == [
        ("P1", 0, "0"),
        ("P1", 1, "0.1"),
        ("P1", 2, "0.1"),
        ("P1", 3, "0.25"),
    ]
    assert all(h["at"] > 1.7e9 for h in row["history"])


async def test_trans_id_is_taken_as_number_and_as_string(party: PartyA, control: Operator) -> None:
    for form in (int, str):
        trans_id = await control.order()
        assert (await party.notify(form(trans_id))).code == 0
        assert (await control.withdrawal(trans_id))["state"] == "paying"


@pytest.mark.parametrize("first", [1, 3])
async def test_a_first_call_above_0_is_the_claim_too(
    party: PartyA, control: Operator, first: int
) -> None:
    trans_id = await control.order()
    assert (await party.notify(int(trans_id), confirm=first)).code == 0
    row = await control.withdrawal(trans_id)
    assert row["state"] == ("complete" if first == 3 else "paying")
    assert row["claimed_at"] is not None


async def test_repeats_are_success(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    for confirm in (0, 0, 2, 2, 3, 3):
        assert (await party.notify(int(trans_id), confirm=confirm)).code == 0


async def test_a_smaller_confirm_changes_nothing(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    await party.notify(int(trans_id), confirm=2, fee=0.5)
    before = await control.withdrawal(trans_id)
    assert (await party.notify(int(trans_id), confirm=1, fee=0.1)).code == 0
    assert await control.withdrawal(trans_id) == before


async def test_another_txid_while_paying_replaces_the_first(
    party: PartyA, control: Operator
) -> None:
    trans_id = await control.order()
    await party.notify(int(trans_id), txid="P1")
    assert (await party.notify(int(trans_id), txid="P2")).code == 0
    row = await control.withdrawal(trans_id)
    assert (row["state"], row["txid"]) == ("paying", "P2")
    assert [h["txid"] for h in row["history"]] == ["P1", "P2"]


WRONG = [{"symbol": "TOK"}, {"amount": 2}, {"amount": "1.00000001"}]


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_symbol_or_amount_is_1000018(
    party: PartyA, control: Operator, wrong: dict[str, object]
) -> None:
    trans_id = await control.order()
    before = await control.withdrawal(trans_id)
    assert (await party.notify(int(trans_id), **wrong)).code == 1000018
    assert await control.withdrawal(trans_id) == before
    await party.notify(int(trans_id))
    paying = await control.withdrawal(trans_id)
    await party.notify(int(trans_id), confirm=3, **wrong)
    assert await control.withdrawal(trans_id) == paying


@pytest.mark.parametrize("trans_id", [1, 999999, "x", "050001", "-1", "٥", 10**17, "1" * 200])
async def test_an_unknown_trans_id_is_1000018(
    party: PartyA, control: Operator, trans_id: object
) -> None:
    await control.order()
    assert (await party.notify(trans_id)).code == 1000018
    assert (await party.cancel(trans_id)).code == 1000018


async def test_after_completion_nothing_changes(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    await party.notify(int(trans_id), confirm=3)
    before = await control.withdrawal(trans_id)
    for changed in ({"confirm": 9}, {"txid": "P2", "confirm": 9}, {"confirm": 0, "fee": 1}):
        assert (await party.notify(int(trans_id), **changed)).code == 0
    assert await control.withdrawal(trans_id) == before
    assert (await party.cancel(int(trans_id))).code == 1000018
    assert await control.withdrawal(trans_id) == before


async def test_after_a_cancel_notify_is_1000018(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    assert (await party.cancel(int(trans_id))).code == 0
    before = await control.withdrawal(trans_id)
    assert before["state"] == "cancelled"
    for confirm in (0, 3):
        assert (await party.notify(int(trans_id), confirm=confirm)).code == 1000018
    assert await control.withdrawal(trans_id) == before


async def test_cancel(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    answer = await party.cancel(trans_id)
    assert (answer.code, answer.raw["data"]) == (0, "")
    assert (await party.cancel(int(trans_id))).code == 0
    paying = await control.order()
    await party.notify(int(paying))
    assert (await party.cancel(int(paying))).code == 1000018
    assert (await control.withdrawal(paying))["state"] == "paying"
    other = await control.order()
    assert (await party.cancel(int(other), symbol="TOK")).code == 1000018
    assert (await control.withdrawal(other))["state"] == "pending"


async def test_a_token_withdrawals_fee_is_in_the_main_coin(
    party: PartyA, control: Operator
) -> None:
    trans_id = await control.order("0.01", symbol="TOK")
    ask = {"symbol": "TOK", "amount": 0.01}
    assert (await party.notify(int(trans_id), fee="1e-9", **ask)).code == 100001
    assert (await party.notify(int(trans_id), fee="0.00000001", **ask)).code == 0
    assert (await control.withdrawal(trans_id))["fee"] == "0.00000001"


async def test_an_amount_of_zero_is_refused(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    assert (await party.notify(int(trans_id), amount=0)).code == 100001


async def test_a_users_cancel_before_the_claim(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    await control.post(f"withdrawals/{trans_id}", {"state": "cancelled"})
    await control.post(f"withdrawals/{trans_id}", {"state": "cancelled"})
    assert (await party.consume()).payload == []
    assert (await party.notify(int(trans_id))).code == 1000018
    assert (await party.cancel(int(trans_id))).code == 0


async def test_a_users_cancel_after_the_claim_is_too_late(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    await party.notify(int(trans_id))
    change = {"state": "cancelled", "amount": "5"}
    await control.post(f"withdrawals/{trans_id}", change, expect=409)
    row = await control.withdrawal(trans_id)
    assert (row["state"], row["amount"]) == ("paying", "1")


async def test_content_changes_under_our_feet(party: PartyA, control: Operator) -> None:
    trans_id = await control.order()
    change = {"address_to": "elsewhere", "amount": "2.50"}
    await control.post(f"withdrawals/{trans_id}", change)
    answer = await party.consume()
    assert '"amount":2.50,' in answer.plaintext.decode()
    assert answer.payload[0]["address_to"] == "elsewhere"
    assert (await party.notify(int(trans_id))).code == 1000018
    assert (await party.notify(int(trans_id), amount=2.5)).code == 0
