"""Questions about envelope, addresses and amounts. Nothing is credited by any of them."""

from __future__ import annotations

from chain_adapter.platform_api.exact_json import Number
from chain_adapter.probe.answers import Setting
from chain_adapter.probe.line import Said
from chain_adapter.probe.room import Room

OFF_S = 3600.0
TOO_LONG = 300  # characters of an address; 255 are allowed
PER_CALL = 100
FILL_MOST = 60  # register calls in search of the limit
JSON_ERROR, SYSTEM_ERROR, ONE_ONLY, NO_TOKEN = 100001, 100002, 1000014, 1000015


async def envelope(room: Room) -> None:
    """How answers look, and what a broken question is answered."""
    call, fields = "address/available", {"symbol": room.coin.symbol}
    said = await room.line.call(call, fields)
    room.tell(
        "code_form", "Is `code` a number or a string?",
        None if said.code < 0 else "string" if said.code_is_text else "number", said.shown,
    )  # fmt: skip
    room.tell(
        "answer_base64", "Which Base64 do answers use?", _alphabet(said.data),
        f"{len(said.data)} characters",
    )  # fmt: skip
    broken = await room.line.call(call, fields, broken=True)
    room.tell(
        "broken_envelope", "Which code has an envelope that does not open?",
        str(broken.code) if broken.code > 0 else None, broken.shown,
    )  # fmt: skip
    room.tell(
        "error_status", "Which HTTP status has a refusal?",
        str(broken.status) if broken.code > 0 else None, f"HTTP {broken.status}",
    )  # fmt: skip
    late = await room.line.call(call, fields, off_s=-OFF_S)
    room.tell(
        "time", "Is a `time` that is an hour off refused?",
        "unchecked" if late.ok else "fresh" if late.code > 0 else None, late.shown,
        risk="" if late.ok else "a clock that goes wrong stops every call: run a time service",
    )  # fmt: skip


def _alphabet(data: str) -> str | None:
    if not data:
        return None
    if set(data) & {"+", "/", "="}:
        return "standard"
    # A whole block is never a multiple of three bytes: without padding it is the other form.
    return "url"


async def addresses(room: Room) -> None:
    """What register and available do; a few addresses more in the pool."""
    if room.coin.memo:
        await _memo_address(room)
    else:
        await _pool(room)
    if room.coin.token is not None:
        count, own = await room.available(room.coin.token), await room.available()
        answer = None if count is None or own is None else "main" if count == own else "zero"
        room.tell(
            "token_available", "What is counted for a token?", answer if own else None,
            f"{count} for {room.coin.token}, {own} for {room.coin.symbol}",
        )  # fmt: skip


async def _pool(room: Room) -> None:
    first = room.address()
    said = await room.register(first)
    if not said.ok:
        room.tell("plain_success", "Is success without a payload signed?", None, said.shown)
        return
    room.tell(
        "plain_success", "Is success without a payload signed?",
        "signed" if said.data else "unsigned", said.shown,
    )  # fmt: skip
    again = await room.register(first)
    room.tell(
        "known_address", "May an address be registered again?", _yes(again), again.shown,
        risk="" if again.ok else "a register call that was not answered is refused when repeated",
    )  # fmt: skip
    before = await room.available()
    bad = await room.register(room.address(), "x" * TOO_LONG)
    after = await room.available()
    stored = None if before is None or after is None else after - before
    room.tell(
        "bad_address", "Does one bad address of a call spoil the others?",
        None if bad.ok or stored is None else "others" if stored else "none",
        f"{bad.shown}; {stored} stored",
    )  # fmt: skip
    flagged = await room.register(room.address(), memo=True)
    room.tell(
        "memo_flag", "Must the `memo` flag agree with the coin?",
        "ignore" if flagged.ok else "match", flagged.shown,
    )  # fmt: skip


async def _memo_address(room: Room) -> None:
    address = room.address()
    said = await room.register(address)
    if not said.ok and said.code != ONE_ONLY:
        room.tell("memo_again", "May the one address be registered again?", None, said.shown)
        return
    room.shared = address if said.ok else None
    again = await room.register(address) if said.ok else None
    room.tell(
        "memo_again", "May the one address be registered again?",
        None if again is None else "accept_same" if again.ok else "refuse",
        "it had an address before" if again is None else again.shown,
    )  # fmt: skip
    flagged = await room.register(address, memo=False)
    answer = "match" if flagged.code == SYSTEM_ERROR else "ignore"
    room.tell("memo_flag", "Must the `memo` flag agree with the coin?", answer, flagged.shown)


async def register_limit(room: Room) -> None:
    """At which count register is refused. Fills the pool of the test environment."""
    question = "At which number of unused addresses is register refused?"
    if room.coin.memo:
        return
    for _ in range(FILL_MOST):
        before = await room.available()
        said = await room.register(*(room.address() for _ in range(PER_CALL)))
        if said.ok:
            continue
        one = await room.register(room.address())
        filled = await _one_by_one(room, before) if one.ok else before
        answer = None if filled is None else "above_5000" if filled > 5000 else f"at_{filled}"
        most = (filled or 5000) - PER_CALL
        room.tell(
            "pool_limit", question, answer, f"{said.shown} at {filled}",
            settings=(
                Setting(f"chains.{room.coin.chain}.pool", "high", str(most), "below its limit"),
            ) if most < 1000 else (),
        )  # fmt: skip
        return
    room.tell("pool_limit", question, None, "not refused as far as it was tried")


async def _one_by_one(room: Room, before: int | None) -> int | None:
    """The last of the way, so that the number is exact."""
    for _ in range(PER_CALL):
        if not (await room.register(room.address())).ok:
            break
    count = await room.available()
    return before if count is None else count


async def amounts(room: Room, address: str) -> None:
    """Which forms of an amount are taken, asked with `status` 0, which credits nothing."""
    plain = await room.deposit(address, status=0)
    if plain.code == JSON_ERROR:
        for rule in ("exponent", "amount_text", "zero_amount", "extra_decimals"):
            room.tell(rule, "Which amounts are taken?", None, f"a plain one: {plain.shown}")
        return
    finer = room.amount + ("" if "." in room.amount else ".")
    places = len(finer.partition(".")[2])
    finer += "0" * (room.coin.decimals - places) + "1"
    forms = (
        ("exponent", "May an amount have an exponent?", Number("1e-3"), "exact"),
        ("amount_text", "May an amount be a JSON string?", room.amount, "accept"),
        ("zero_amount", "May an amount be zero?", Number("0"), "accept"),
        ("extra_decimals", "What becomes of digits finer than the coin?", Number(finer),
         "truncate"),
    )  # fmt: skip
    for rule, question, amount, taken in forms:
        said = await room.deposit(address, status=0, amount=amount)
        answer = "refuse" if said.code == JSON_ERROR else taken
        room.tell(rule, question, None if said.code < 0 else answer, said.shown)


async def internal(room: Room) -> None:
    """Whether fees that complete no withdrawal can be told."""
    fields = {
        "address_to": room.address(), "txid": room.txid(), "amount": Number(room.amount),
        "fee": Number("0"), "confirm": 1, "symbol": room.coin.symbol, "balance": 0,
    }  # fmt: skip
    said = await room.line.call("internal/notify", fields)
    off = said.code == SYSTEM_ERROR
    room.tell(
        "internal_notify", "Is internal/notify open to us?",
        "on" if said.ok else "off" if off else None, said.shown,
        settings=(
            Setting("platform", "internal_notify", '"off"', "it is closed to third parties"),
        ) if off else (),
    )  # fmt: skip
    if not said.ok:
        room.tell("internal_again", "May the same transaction be told again?", None, said.shown)
        return
    again = await room.line.call("internal/notify", {**fields, "confirm": 2})
    answer = "update" if again.ok else "refuse"
    room.tell("internal_again", "May the same transaction be told again?", answer, again.shown)


def _yes(said: Said) -> str | None:
    return "accept" if said.ok else "refuse" if said.code > 0 else None
