"""Questions about withdrawals, asked with orders that test users have made: they are used up.

Three orders answer what is about one; more than twenty that wait tell the order of consume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain_adapter.platform_api.exact_json import Number
from chain_adapter.platform_api.messages import PAGE_SIZE
from chain_adapter.probe.answers import Setting
from chain_adapter.probe.line import Said
from chain_adapter.probe.room import Room

Order = Mapping[str, Any]
SYSTEM_ERROR, JSON_ERROR = 100002, 100001
NEEDED = 3


async def withdrawals(room: Room, symbol: str, *, is_token: bool = False) -> None:
    """All that can be asked with the orders that wait."""
    said, orders = await _page(room, symbol)
    if not is_token:
        _empty(room, said, orders)
        await _unknown(room, symbol)
    if not orders:
        room.tell(
            "withdrawals", f"What about withdrawals of {symbol}?", None,
            f"none waits: have a test user ask for {NEEDED}, or 25 for the order of consume",
        )  # fmt: skip
        return
    _forms(room, orders)
    orders = await _which_twenty(room, symbol, orders)
    asked = [_claims, _cancels, _late]
    if is_token:
        asked = [_token_fee]
    for ask, order in zip(asked, orders, strict=False):
        await ask(room, order)
    if len(orders) < len(asked):
        room.tell(
            "withdrawals", f"What about withdrawals of {symbol}?", None,
            f"{len(orders)} waited; {NEEDED} answer everything about one",
        )  # fmt: skip
    room.tell(
        "smaller_confirm", "Is a smaller `confirm` than before taken?", None,
        "not to be seen; ours never falls",
    )  # fmt: skip
    room.tell(
        "shared_txid", "May one transaction pay two withdrawals to one address?", None,
        "never done by us",
    )  # fmt: skip
    room.tell(
        "withdraw_depth", "At which `confirm` is a withdrawal complete?", None,
        "not to be seen; told on until the depth of deposits is acknowledged",
    )  # fmt: skip


async def _page(room: Room, symbol: str) -> tuple[Said, list[Order]]:
    said = await room.line.call("withdraw/consume", {"symbol": symbol})
    rows = said.payload if said.ok and isinstance(said.payload, list) else []
    orders: list[Order] = [row for row in rows if isinstance(row, dict)]
    return said, orders


def _empty(room: Room, said: Said, orders: list[Order]) -> None:
    answer = None
    if said.ok and not orders:
        answer = "signed" if said.data else "unsigned"
    room.tell(
        "consume_empty", "Is an empty list of withdrawals signed?", answer,
        said.shown if not orders else "withdrawals wait: not empty",
        risk="" if answer != "unsigned" else
        "an unsigned empty list is not believed: an alarm is open whenever nobody withdraws",
    )  # fmt: skip


def _forms(room: Room, orders: list[Order]) -> None:
    one = orders[0]
    number = isinstance(one.get("trans_id"), Number)
    room.tell(
        "trans_id_form", "Is `trans_id` a number or a string?",
        "number" if number else "string", f"{one.get('trans_id')!s}",
    )  # fmt: skip
    amount = isinstance(one.get("amount"), Number)
    room.tell(
        "consume_amount", "Are amounts of orders numbers or strings?",
        "number" if amount else "string", f"{one.get('amount')!s}",
    )  # fmt: skip
    has_fee = "fee" in one
    room.tell(
        "consume_fee", "Does an order carry `fee`?", "present" if has_fee else "absent",
        f"{one.get('fee')!s}",
    )  # fmt: skip
    bare = next((row for row in orders if not row.get("memo")), None)
    answer = None
    if bare is not None:
        answer = "absent" if "memo" not in bare else "null" if bare["memo"] is None else "empty"
    room.tell("consume_memo", "What is `memo` of an order without one?", answer, "")


async def _which_twenty(room: Room, symbol: str, orders: list[Order]) -> list[Order]:
    """Claim one of a full page and see who comes in; the orders that are left to use."""
    question = "Which twenty are handed out when more wait?"
    ids = {_id(row) for row in orders}
    if len(orders) < PAGE_SIZE or None in ids:
        room.tell(
            "consume_order", question, None,
            f"{len(orders)} wait: have test users ask for more than {PAGE_SIZE}",
        )  # fmt: skip
        return orders
    known = {one for one in ids if one is not None}
    await _notify(room, orders[0], confirm=0)
    _, after = await _page(room, symbol)
    new = {one for row in after if (one := _id(row)) is not None} - known
    answer = None
    if new:
        answer = "oldest" if min(new) > max(known) else "latest" if max(new) < min(known) else None
    room.tell(
        "consume_order", question, answer,
        f"after {_id(orders[0])} was claimed {', '.join(map(str, new)) or 'nobody'} came in",
    )  # fmt: skip
    return [row for row in after if _id(row) in known][:NEEDED]


def _id(order: Order) -> int | None:
    text = str(order.get("trans_id"))
    return int(text) if text.isascii() and text.isdigit() else None


async def _notify(room: Room, order: Order, **changes: Any) -> Said:
    fields = {
        "trans_id": order["trans_id"], "symbol": str(order.get("symbol", room.coin.symbol)),
        "address_to": str(order.get("address_to", "")), "txid": room.txid(),
        "amount": Number(str(order.get("amount", "0"))), "fee": Number("0"), "confirm": 0,
        "balance": 0,
    }  # fmt: skip
    return await room.line.call("withdraw/notify", {**fields, **changes})


async def _cancel(room: Room, order: Order) -> Said:
    fields = {
        "symbol": str(order.get("symbol", room.coin.symbol)),
        "trans_id": order["trans_id"], "msg": "probe",
    }  # fmt: skip
    return await room.line.call("withdraw/cancel", fields)


async def _claims(room: Room, order: Order) -> None:
    """One order from its claim to its end."""
    first, other = room.txid(), room.txid()
    wrong = await _notify(room, order, txid=first, address_to="0x" + "1" * 40)
    room.tell(
        "notify_address", "Is another `address_to` than ordered refused?",
        "unchecked" if wrong.ok else "checked", wrong.shown,
    )  # fmt: skip
    claim = await _notify(room, order, txid=first)
    again = await _notify(room, order, txid=first)
    risk = "a claim whose answer was lost is refused when repeated: voided, and paid to nobody"
    room.tell(
        "claim_again", "May a claim be repeated?", "accept" if again.ok else "refuse",
        f"{claim.shown}, then {again.shown}", risk="" if again.ok else risk,
    )  # fmt: skip
    replaced = await _notify(room, order, txid=other)
    hint = "it took it, or it kept the first without a word: its page shows which"
    room.tell(
        "replacement", "May the txid change after a claim?",
        "accept" if replaced.ok else "refuse", hint if replaced.ok else replaced.shown,
        risk="" if replaced.ok else
        "a payment that was replaced with a higher fee is final, and not accepted",
        settings=() if replaced.ok else (
            Setting(
                f"chains.{room.coin.chain}", "replace_after_s", "3600",
                "the platform takes no other txid: replace late",
            ),
        ),
    )  # fmt: skip
    cancelled = await _cancel(room, order)
    room.tell(
        "cancel_paying", "Does a cancel work while paying?",
        "accept" if cancelled.ok else "refuse", cancelled.shown,
        risk="" if not cancelled.ok else
        "it refunds what may be paid already: never sent by us after a claim",
    )  # fmt: skip
    question = "Is a call after completion taken?"
    if cancelled.ok:
        room.tell("after_completion", question, None, "this order was cancelled instead")
        return
    depth = room.deepest
    done = await _notify(room, order, txid=first, confirm=depth)
    after = await _notify(room, order, txid=first, confirm=depth + 1)
    answer = None if not done.ok else "accept" if after.ok else "refuse"
    room.tell("after_completion", question, answer, f"{done.shown}, then {after.shown}")


async def _cancels(room: Room, order: Order) -> None:
    said = await _cancel(room, order)
    again = await _cancel(room, order)
    room.tell(
        "cancel_again", "May a cancel be repeated?",
        None if not said.ok else "accept" if again.ok else "refuse",
        f"{said.shown}, then {again.shown}",
        risk="" if again.ok else "a cancel whose answer was lost is held for a person",
    )  # fmt: skip
    after = await _notify(room, order)
    room.tell(
        "after_cancel", "Is a notification after a cancel taken?",
        "accept" if after.ok else "refuse", after.shown,
        risk="" if not after.ok else "a claim that crosses a user's cancel is believed: paid and "
        "refunded. Broadcasts follow the claim, so set a short poll interval",
    )  # fmt: skip


async def _late(room: Room, order: Order) -> None:
    said = await _notify(room, order, confirm=1)
    room.tell(
        "late_claim", "Does a first call with `confirm` above 0 count as the claim?",
        "accept" if said.ok else "refuse", said.shown,
    )  # fmt: skip


async def _token_fee(room: Room, order: Order) -> None:
    """A fee with more digits than the token has, as that of its main coin may be."""
    coin = room.coin
    question = "Is a token's fee told in the main coin?"
    if coin.decimals <= coin.token_decimals:
        room.tell("token_fee", question, None, "the token is as fine as its main coin")
        return
    fee = Number("0." + "0" * (coin.decimals - 1) + "1")
    said = await _notify(room, order, fee=fee)
    room.tell(
        "token_fee", question, "own" if said.code == JSON_ERROR else "main" if said.ok else None,
        said.shown,
        risk="claims of tokens are refused: 100001" if said.code == JSON_ERROR else "",
    )  # fmt: skip


async def _unknown(room: Room, symbol: str) -> None:
    order = {"symbol": symbol, "trans_id": Number("999999999999")}
    said = await _cancel(room, order)
    room.tell(
        "cancel_unknown", "Which code has a cancel of an unknown order?",
        str(said.code) if said.code > 0 else None, said.shown,
    )  # fmt: skip
