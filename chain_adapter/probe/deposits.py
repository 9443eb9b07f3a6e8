"""Questions about deposits: a thousandth of a test coin is credited to a new test user.

A registered address that no user holds is given to a new one when its first deposit is credited,
and then `address/available` counts one less: that shows the depth, though nothing can be read back.
"""

from __future__ import annotations

from chain_adapter.platform_api.exact_json import Number
from chain_adapter.probe.answers import Setting
from chain_adapter.probe.line import Said
from chain_adapter.probe.room import Room

DEPOSIT_FAILED, MISMATCH, NO_ADDRESS = 1000011, 1000012, 1000017
DEPTH = "At which `confirm` is a deposit credited?"


async def deposits(room: Room) -> None:
    """Echo, depth, changed content; of a memo coin, what an unknown memo is answered."""
    if room.coin.memo:
        await _unknown_memo(room)
        return
    address = room.address()
    registered = await room.register(address)
    if not registered.ok:
        room.tell("deposit_depth", DEPTH, None, f"no address to pay to: {registered.shown}")
        return
    await _depth(room, address)
    _not_to_be_seen(room)


async def _depth(room: Room, address: str) -> None:
    same = {"request_id": room.request_id(), "txid": room.txid()}
    before = await room.available()
    refused_before = 0
    for confirm in range(1, room.deepest + 1):
        said = await room.deposit(address, confirm=confirm, **same)
        if said.code == NO_ADDRESS:
            room.tell(
                "unheld_address", "Is a deposit to an address that no user holds taken?",
                "refuse", said.shown,
            )  # fmt: skip
            room.tell(
                "deposit_depth", DEPTH, None,
                "only with an address that a test user holds: look at his balance by hand",
            )  # fmt: skip
            await _changed(room, address, None)
            return
        if said.code == DEPOSIT_FAILED:
            refused_before = confirm
            continue
        if not said.ok:
            room.tell("deposit_depth", DEPTH, None, said.shown)
            return
        if confirm == refused_before + 1:
            _echo(room, said)
        after = await room.available()
        if before is not None and after is not None and after < before:
            _credited(room, confirm, refused_before)
            break
    else:
        room.tell("deposit_depth", DEPTH, None, f"not credited up to {room.deepest}")
    await _changed(room, address, same)


def _echo(room: Room, said: Said) -> None:
    payload = said.payload if isinstance(said.payload, dict) else {}
    answer = "nested" if isinstance(payload.get("data"), dict) else "bare"
    room.tell(
        "deposit_echo", "How is our request id echoed?",
        answer if payload else None, "signed" if payload else "no payload",
    )  # fmt: skip


def _credited(room: Room, confirm: int, refused_before: int) -> None:
    room.depth = confirm
    room.tell(
        "unheld_address", "Is a deposit to an address that no user holds taken?", "give",
        "it was given to a new user",
    )  # fmt: skip
    room.tell(
        "deposit_depth", DEPTH, str(confirm),
        f"refused up to {refused_before}" if refused_before else "the count of unused fell",
        settings=(
            Setting(
                "platform" if not room.coin.chain else f"chains.{room.coin.chain}",
                "platform_confirmations", str(confirm), f"it credits {room.coin.symbol} there",
            ),
        ),
    )  # fmt: skip


async def _changed(room: Room, address: str, same: dict[str, str] | None) -> None:
    """The same request id with other content, once it was taken."""
    question = "Is a known request id with other content refused?"
    if same is None:
        room.tell("changed_deposit", question, None, "no deposit of ours was taken")
        return
    other = Number(f"{room.amount}{'0' if '.' in room.amount else '.0'}")
    two = await room.deposit(
        address, confirm=room.deepest, amount=Number(_doubled(other)), **same
    )  # fmt: skip
    answer = "refuse" if two.code in (DEPOSIT_FAILED, MISMATCH) else "ignore" if two.ok else None
    room.tell("changed_deposit", question, answer, two.shown)


def _doubled(amount: str) -> str:
    digits = amount.rstrip("0")
    return digits[:-1] + str(int(digits[-1]) + 1) if digits[-1].isdigit() else amount


async def _unknown_memo(room: Room) -> None:
    question = "What is a deposit with an unknown memo answered?"
    if room.shared is None:
        room.tell("unknown_memo", question, None, "the coin had an address that is not ours")
    else:
        said = await room.deposit(room.shared, memo="000000000")
        answer = "refuse" if said.code == NO_ADDRESS else "keep" if said.ok else None
        room.tell("unknown_memo", question, answer, said.shown)
    room.tell(
        "deposit_depth", DEPTH, None,
        "only with the memo of a test user: look at his balance by hand",
    )  # fmt: skip
    _not_to_be_seen(room)


def _not_to_be_seen(room: Room) -> None:
    room.tell(
        "new_request_id", "Is a known deposit under a new request id credited again?", None,
        "assume that it is: ours never change",
    )  # fmt: skip
    room.tell(
        "status_zero_later", "What does `status` 0 do after a credit?", None,
        "never sent by us after a credit",
    )  # fmt: skip
