"""Every rule: what the platform does at each of its values."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chain_adapter.sandbox.behaviour import RULES
from tests.sandbox.conftest import Operator, PartyA

Look = Callable[[PartyA, Operator], Awaitable[Any]]


async def held(party: PartyA, control: Operator) -> str:
    await party.register("VLX", "a", "b")
    return str((await control.user())["address"])


async def claimed(party: PartyA, control: Operator) -> int:
    trans_id = int(await control.order())
    assert (await party.notify(trans_id)).code == 0
    return trans_id


async def code_form(party: PartyA, control: Operator) -> Any:
    return (await party.available("VLX")).raw["code"], (await party.available("X")).raw["code"]


async def answer_base64(party: PartyA, control: Operator) -> Any:
    texts = ""
    for _ in range(8):
        answer = await party.available("VLX")
        assert answer.signed
        texts += answer.raw["data"] + answer.raw["sign"]
    return bool(set(texts) & set("-_")), bool(set(texts) & set("+/")), "=" in texts


async def error_status(party: PartyA, control: Operator) -> Any:
    return (await party.available("X")).status, (await party.available("VLX")).status


async def sent_at(party: PartyA, control: Operator) -> Any:

    codes = []
    for at in (int(time.time()), int(time.time() * 1000), 1_500_000_000):
        body = party.request(b'{"symbol":"VLX"}', time=at)
        answer = await party.post("address/available", json.dumps(body).encode())
        codes.append(answer.code)
    return codes


async def broken_envelope(party: PartyA, control: Operator) -> Any:

    body = party.request(b'{"symbol":"VLX"}', sign="")
    return (await party.post("address/available", json.dumps(body).encode())).code


async def plain_success(party: PartyA, control: Operator) -> Any:
    answer = await party.register("VLX", "a")
    return answer.code, answer.payload, answer.signed


async def exponent(party: PartyA, control: Operator) -> Any:
    return (await party.deposit("r1", await held(party, control), amount=1e-7)).code


async def amount_text(party: PartyA, control: Operator) -> Any:
    return (await party.deposit("r1", await held(party, control), amount="1")).code


async def zero_amount(party: PartyA, control: Operator) -> Any:
    return (await party.deposit("r1", await held(party, control), amount=0)).code


async def extra_decimals(party: PartyA, control: Operator) -> Any:
    address = await held(party, control)
    code = (await party.deposit("r1", address, amount=1.123456789)).code
    return code, [row["amount"] for row in await control.get("deposits")]


async def pool_limit(party: PartyA, control: Operator) -> Any:
    for page in range(49):
        await party.register("VLX", *(f"a{page}-{i}" for i in range(100)))
    await party.register("VLX", *(f"b{i}" for i in range(50)))
    codes = [(await party.register("VLX", *(f"{x}{i}" for i in range(100)))).code for x in "cd"]
    return codes


async def known_address(party: PartyA, control: Operator) -> Any:
    await party.register("VLX", "a")
    return (await party.register("VLX", "a", "b")).code


async def memo_again(party: PartyA, control: Operator) -> Any:
    await party.register("SRM", "m", memo=True)
    return [(await party.register("SRM", a, memo=True)).code for a in ("m", "n")]


async def memo_flag(party: PartyA, control: Operator) -> Any:
    return (await party.register("VLX", "a", memo=True)).code


async def bad_address(party: PartyA, control: Operator) -> Any:
    code = (await party.register("VLX", "a", "x" * 256, "b")).code
    return code, (await party.available("VLX")).payload["count"]


async def token_available(party: PartyA, control: Operator) -> Any:
    await party.register("VLX", "a")
    return (await party.available("TOK")).payload["count"]


async def deposit_depth(party: PartyA, control: Operator) -> Any:
    address = await held(party, control)
    told = []
    for confirm in (2, 3, 4):
        code = (await party.deposit("r1", address, confirm=confirm)).code
        rows = await control.get("deposits")
        told.append((code, rows[0]["credited"] if rows else None))
    return told


async def deposit_echo(party: PartyA, control: Operator) -> Any:
    answer = await party.deposit("r1", await held(party, control))
    assert answer.signed
    return answer.payload


async def changed_deposit(party: PartyA, control: Operator) -> Any:
    address = await held(party, control)
    await party.deposit("r1", address)
    codes = [
        (await party.deposit("r1", address, **changed)).code
        for changed in ({"amount": 2}, {"txid": "T2"})
    ]
    return codes, (await control.deposit("r1"))["amount"]


async def new_request_id(party: PartyA, control: Operator) -> Any:
    address = await held(party, control)
    codes = [(await party.deposit(name, address)).code for name in ("r1", "r2")]
    rows = await control.get("deposits")
    return codes, [(row["credited"], row["duplicate"]) for row in rows]


async def status_zero_later(party: PartyA, control: Operator) -> Any:
    address = await held(party, control)
    await party.deposit("r1", address, confirm=5)
    code = (await party.deposit("r1", address, confirm=5, status=0)).code
    await party.deposit("r1", address, confirm=5, status=0)
    (user,) = [user for user in await control.get("users") if user["balances"]]
    return code, (await control.deposit("r1"))["credited"], user["balances"]["VLX"]


async def unheld_address(party: PartyA, control: Operator) -> Any:
    await party.register("VLX", "a")
    return (await party.deposit("r1", "a")).code


async def unknown_memo(party: PartyA, control: Operator) -> Any:
    await party.register("SRM", "m", memo=True)
    code = (await party.deposit("r1", "m", symbol="SRM", memo="9")).code
    return code, [row["credited"] for row in await control.get("deposits")]


async def consume_order(party: PartyA, control: Operator) -> Any:
    ids = [int(await control.order()) for _ in range(22)]
    page = (await party.consume()).payload
    return [order["trans_id"] - ids[0] for order in page]


async def consume_empty(party: PartyA, control: Operator) -> Any:
    answer = await party.consume()
    return answer.code, answer.payload, answer.signed


async def first_order(party: PartyA, control: Operator) -> Any:
    await control.order("1.50")
    (order,) = (await party.consume()).payload
    return order


async def trans_id_form(party: PartyA, control: Operator) -> Any:
    return (await first_order(party, control))["trans_id"]


async def consume_amount(party: PartyA, control: Operator) -> Any:
    order = await first_order(party, control)
    return order["amount"], order["fee"]


async def consume_fee(party: PartyA, control: Operator) -> Any:
    return "fee" in await first_order(party, control)


async def consume_memo(party: PartyA, control: Operator) -> Any:
    return (await first_order(party, control)).get("memo", "absent")


async def withdraw_depth(party: PartyA, control: Operator) -> Any:
    trans_id = await claimed(party, control)
    states = []
    for confirm in (3, 4):
        await party.notify(trans_id, confirm=confirm)
        states.append((await control.withdrawal(str(trans_id)))["state"])
    return states


async def late_claim(party: PartyA, control: Operator) -> Any:
    return (await party.notify(int(await control.order()), confirm=1)).code


async def claim_again(party: PartyA, control: Operator) -> Any:
    return (await party.notify(await claimed(party, control))).code


async def smaller_confirm(party: PartyA, control: Operator) -> Any:
    trans_id = await claimed(party, control)
    await party.notify(trans_id, confirm=2)
    code = (await party.notify(trans_id, confirm=1)).code
    return code, (await control.withdrawal(str(trans_id)))["confirm"]


async def replacement(party: PartyA, control: Operator) -> Any:
    trans_id = await claimed(party, control)
    code = (await party.notify(trans_id, txid="P2")).code
    return code, (await control.withdrawal(str(trans_id)))["txid"]


async def notify_address(party: PartyA, control: Operator) -> Any:
    return (await party.notify(int(await control.order()), address_to="elsewhere")).code


async def shared_txid(party: PartyA, control: Operator) -> Any:
    await claimed(party, control)
    elsewhere = int(await control.order(address_to="elsewhere"))
    codes = [(await party.notify(elsewhere, address_to="elsewhere")).code]
    return [*codes, (await party.notify(int(await control.order()))).code]


async def after_completion(party: PartyA, control: Operator) -> Any:
    trans_id = await claimed(party, control)
    await party.notify(trans_id, confirm=3)
    return (await party.notify(trans_id, confirm=4)).code


async def after_cancel(party: PartyA, control: Operator) -> Any:
    trans_id = int(await control.order())
    await party.cancel(trans_id)
    code = (await party.notify(trans_id)).code
    return code, (await control.withdrawal(str(trans_id)))["state"]


async def token_fee(party: PartyA, control: Operator) -> Any:
    return (await party.internal("I1", symbol="TOK", fee=0.001)).code


async def cancel_again(party: PartyA, control: Operator) -> Any:
    trans_id = int(await control.order())
    return [(await party.cancel(trans_id)).code for _ in range(2)]


async def cancel_paying(party: PartyA, control: Operator) -> Any:
    trans_id = await claimed(party, control)
    code = (await party.cancel(trans_id)).code
    return code, (await control.withdrawal(str(trans_id)))["state"]


async def cancel_unknown(party: PartyA, control: Operator) -> Any:
    return (await party.cancel(7)).code


async def internal_notify(party: PartyA, control: Operator) -> Any:
    return (await party.internal("I1")).code, len(await control.get("internal"))


async def internal_again(party: PartyA, control: Operator) -> Any:
    await party.internal("I1")
    code = (await party.internal("I1", confirm=5)).code
    return code, (await control.get("internal"))[0]["confirm"]


EXPECTED: dict[str, tuple[Look, dict[str, Any]]] = {
    "code_form": (code_form, {"number": (0, 100009), "string": ("0", "100009")}),
    "answer_base64": (
        answer_base64, {"url": (True, False, False), "standard": (False, True, True)},
    ),
    "error_status": (error_status, {"200": (200, 200), "400": (400, 200)}),
    "time": (sent_at, {"unchecked": [0, 0, 0], "fresh": [0, 0, 100002]}),
    "broken_envelope": (broken_envelope, {"100008": 100008, "100002": 100002}),
    "plain_success": (plain_success, {"unsigned": (0, None, False), "signed": (0, {}, True)}),
    "exponent": (exponent, {"exact": 0, "refuse": 100001}),
    "amount_text": (amount_text, {"accept": 0, "refuse": 100001}),
    "zero_amount": (zero_amount, {"refuse": 100001, "accept": 0}),
    "extra_decimals": (
        extra_decimals, {"refuse": (100001, []), "truncate": (0, ["1.12345678"])},
    ),
    "pool_limit": (pool_limit, {"at_5000": [100002, 100002], "above_5000": [0, 100002]}),
    "known_address": (known_address, {"accept": 0, "refuse": 100002}),
    "memo_again": (memo_again, {"refuse": [1000014, 1000014], "accept_same": [0, 1000014]}),
    "memo_flag": (memo_flag, {"ignore": 0, "match": 100002}),
    "bad_address": (bad_address, {"none": (1000016, 0), "others": (1000016, 2)}),
    "token_available": (token_available, {"main": 1, "zero": 0}),
    "deposit_depth": (
        deposit_depth,
        {
            "at": [(0, "0"), (0, "1"), (0, "1")],
            "above": [(0, "0"), (0, "0"), (0, "1")],
            "refuse_below": [(1000011, None), (0, "1"), (0, "1")],
        },
    ),
    "deposit_echo": (
        deposit_echo, {"nested": {"data": {"request_id": "r1"}}, "bare": {"request_id": "r1"}},
    ),
    "changed_deposit": (
        changed_deposit, {"refuse": ([1000011, 1000012], "1"), "ignore": ([0, 0], "1")},
    ),
    "new_request_id": (
        new_request_id,
        {
            "credit": ([0, 0], [("1", False), ("1", True)]),
            "ignore": ([0, 0], [("1", False), ("0", True)]),
        },
    ),
    "status_zero_later": (status_zero_later, {"ignore": (0, "1", "1"), "reverse": (0, "0", "0")}),
    "unheld_address": (unheld_address, {"give": 0, "refuse": 1000017}),
    "unknown_memo": (unknown_memo, {"refuse": (1000017, []), "keep": (0, ["0"])}),
    "consume_order": (
        consume_order, {"oldest": list(range(20)), "latest": list(range(21, 1, -1))},
    ),
    "consume_empty": (consume_empty, {"signed": (0, [], True), "unsigned": (0, None, False)}),
    "trans_id_form": (trans_id_form, {"number": 50001, "string": "50001"}),
    "consume_amount": (consume_amount, {"number": (1.5, 0), "string": ("1.50", "0")}),
    "consume_fee": (consume_fee, {"present": True, "absent": False}),
    "consume_memo": (consume_memo, {"empty": "", "absent": "absent", "null": None}),
    "withdraw_depth": (
        withdraw_depth, {"at": ["complete", "complete"], "above": ["paying", "complete"]},
    ),
    "late_claim": (late_claim, {"accept": 0, "refuse": 1000018}),
    "claim_again": (claim_again, {"accept": 0, "refuse": 1000018}),
    "smaller_confirm": (smaller_confirm, {"ignore": (0, 2), "take": (0, 1)}),
    "replacement": (
        replacement, {"accept": (0, "P2"), "refuse": (1000018, "P1"), "ignore": (0, "P1")},
    ),
    "notify_address": (notify_address, {"unchecked": 0, "checked": 1000018}),
    "shared_txid": (shared_txid, {"accept": [0, 0], "refuse": [0, 1000018]}),
    "after_completion": (after_completion, {"accept": 0, "refuse": 1000018}),
    "after_cancel": (
        after_cancel, {"refuse": (1000018, "cancelled"), "accept": (0, "cancelled")},
    ),
    "token_fee": (token_fee, {"main": 0, "own": 100001}),
    "cancel_again": (cancel_again, {"accept": [0, 0], "refuse": [0, 1000018]}),
    "cancel_paying": (cancel_paying, {"refuse": (1000018, "paying"), "accept": (0, "cancelled")}),
    "cancel_unknown": (cancel_unknown, {"1000018": 1000018, "100002": 100002}),
    "internal_notify": (internal_notify, {"on": (0, 1), "off": (100002, 0)}),
    "internal_again": (internal_again, {"update": (0, 5), "refuse": (1000018, 1)}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "value"), [(rule.name, value) for rule in RULES for value in rule.values]
)
async def test_a_rule_at_a_value(party: PartyA, control: Operator, rule: str, value: str) -> None:
    look, expected = EXPECTED[rule]
    await control.rule(rule, value)
    seen = await look(party, control)
    assert seen == expected[value]


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
async def test_the_first_value_is_what_it_does_by_itself(
    party: PartyA, control: Operator, rule: str
) -> None:
    look, expected = EXPECTED[rule]
    default = next(r.values[0] for r in RULES if r.name == rule)
    assert await look(party, control) == expected[default]


async def test_rules_are_listed_with_their_values(control: Operator) -> None:
    rows = await control.get("behaviour")
    assert [row["rule"] for row in rows] == [rule.name for rule in RULES]
    for row in rows:
        assert row["value"] == row["default"] == row["values"][0]
        assert len(row["values"]) > 1 and row["meaning"]
    await control.rule("consume_order", "latest")
    rows = await control.get("behaviour")
    assert {r["value"] for r in rows if r["rule"] == "consume_order"} == {"latest"}
