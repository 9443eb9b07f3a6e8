"""Intents into payloads of the reference chain: locks, fee, funds, dry run.

`build_sequence` serves account and memo chains, `build_coin` coin chains. Both take the price with
headroom, so that a busier hour does not stick the transaction, and never more than the fee limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chain_adapter.chain import (
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    InvalidAddress,
    Payment,
    Rejected,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_ledger import ReferenceLedger
from chain_adapter.sandbox.reference_mempool import BUMP_PERCENT
from chain_adapter.sandbox.reference_tx import MEMO_MAX, NATIVE, Body, Flavour, Output, Payload

HEADROOM = 2  # times the floor


def build_sequence(ledger: ReferenceLedger, intent: Intent, keys: Mapping[str, bytes]) -> bytes:
    """The payload of an account or memo transaction."""
    key = tx.key_of(ledger.flavour, intent.public_key)
    old = [_body(payload) for payload in intent.replaces]
    if ledger.expiring and old:
        raise Rejected("a transaction without locks cannot be replaced: wait for its expiry")
    sequence = None if ledger.expiring else _sequence(ledger, intent, key, old)
    wanted = [_output(ledger, payment, keys) for payment in intent.payments]
    bulk = 1 if ledger.flavour is Flavour.MEMO else 2 + len(wanted)
    floor = ledger.state.fee_floor
    price = _price(floor, [body.price for body in old], bulk, intent.fee_limit)
    outputs = _funded(ledger, key, wanted, price * bulk, keys)
    body = Body(
        flavour=ledger.flavour,
        binds=ledger.binds,
        sender=intent.public_key,
        sequence=sequence,
        inputs=(),
        price=price,
        outputs=outputs,
        expires=ledger.next_clock() + 1000 * ledger.expiry_s if ledger.expiring else None,
        # Where locks tell transactions apart the salt would only change the bytes.
        salt=intent.salt if ledger.expiring else b"",
    )
    why = ledger.state.refused(body)
    if why is not None:
        raise Rejected(why, for_good="reverts" in why)
    return tx.encode(Payload(tx.encode(body), ()))


def build_coin(ledger: ReferenceLedger, intent: Intent, keys: Mapping[str, bytes]) -> bytes:
    """The payload of a coin transaction: inputs of all that it replaces, then the largest coins."""
    wanted = [_output(ledger, payment, keys) for payment in intent.payments]
    sweep = [output for output in wanted if output.amount < 0]
    if len(sweep) > 1 or (sweep and len(wanted) > 1):
        raise Rejected("all, less the fee, can go to one recipient only")
    behind: dict[str, tuple[bytes, int]] = {}
    paid: list[int] = []
    for payload in intent.replaces:
        made: Payload = tx.decode(payload, Payload)
        body = _body(payload)
        behind.update(zip(body.inputs, made.behind, strict=True))
        paid.append(sum(n for _, n in made.behind) - sum(o.amount for o in body.outputs))
    spare = sorted(intent.coins, key=lambda coin: (-coin.amount, coin.lock))
    spare = [one for one in spare if one.lock not in intent.reserved and one.lock not in behind]
    if sweep:
        behind.update({one.lock: (one.public_key, one.amount) for one in spare})
        spare = []
    target = sum(output.amount for output in wanted if output.amount > 0)
    while True:
        bulk = 2 * len(behind) + len(wanted) + 1
        # A void or sweep has no other output than the one to ourselves.
        bulk -= 1 if sweep else 0
        floor = ledger.state.fee_floor
        fee = bulk * floor * HEADROOM
        if paid:
            fee = max(fee, max(paid) * (100 + BUMP_PERCENT) // 100 + 1)
        least = max(bulk * floor, max(paid) * (100 + BUMP_PERCENT) // 100 + 1 if paid else 0)
        if behind and least > intent.fee_limit:
            raise FeeAboveLimit(f"the fee is {least} at least, the limit {intent.fee_limit}")
        fee = min(fee, intent.fee_limit)
        total = sum(amount for _, amount in behind.values())
        if behind and total >= target + fee and (not sweep or total > fee):
            break
        if not spare:
            # What is paid in comes as one more coin, which has to be spent too.
            short = target + (bulk + 2) * floor * HEADROOM - total
            raise InsufficientFunds(_name(keys, NATIVE), max(short, 1))
        coin = spare.pop(0)
        behind[coin.lock] = (coin.public_key, coin.amount)
    rest = total - target - fee
    change = Output(NATIVE, tx.key_of(ledger.flavour, intent.public_key), rest, None)
    made_outputs = [Output(NATIVE, sweep[0].to, rest, None)] if sweep else wanted
    # Less than it costs to spend is left to the miner, within the fee limit.
    if not sweep and (rest > 2 * floor or not wanted or fee + rest > intent.fee_limit):
        made_outputs = [*wanted, change]
    result = Body(
        ledger.flavour, ledger.binds, b"", None, tuple(behind), 0, tuple(made_outputs), None, b""
    )
    why = ledger.state.refused(result)
    if why is not None:
        raise Rejected(why, for_good="reverts" in why)
    return tx.encode(Payload(tx.encode(result), tuple(behind.values())))


def _body(payload: bytes) -> Body:
    made: Payload = tx.decode(payload, Payload)
    body: Body = tx.decode(made.body, Body)
    return body


def _sequence(ledger: ReferenceLedger, intent: Intent, key: bytes, old: Sequence[Body]) -> int:
    """The sequence of what is replaced, else the lowest that no other payout holds."""
    due = ledger.state.sequences.get(key, 0)
    if old:
        held = {body.sequence for body in old}
        sequence = held.pop()
        if held or sequence is None:
            raise Rejected("the replaced transactions share no lock")
        if sequence < due:
            raise Rejected(f"sequence {sequence} is used already, the account is at {due}")
        return sequence
    while f"{intent.sender}/{due}" in intent.reserved:
        due += 1
    return due


def _price(floor: int, old: Sequence[int], bulk: int, limit: int) -> int:
    """The price a unit of weight, with headroom as far as the limit allows."""
    bump = [price * (100 + BUMP_PERCENT) // 100 + 1 for price in old]
    least = max([floor, *bump])
    if least * bulk > limit:
        raise FeeAboveLimit(f"the fee is {least * bulk} at least, the limit {limit}")
    return min(max([floor * HEADROOM, *bump]), limit // bulk)


def _output(ledger: ReferenceLedger, payment: Payment, keys: Mapping[str, bytes]) -> Output:
    """One payment; an amount of -1 stands for all, less the fee."""
    try:
        to = tx.unspell(ledger.flavour, payment.to)
    except InvalidAddress as error:
        raise Rejected(str(error), for_good=True) from None
    if payment.asset not in keys:
        raise Rejected(f"asset {payment.asset!r} is not configured")
    if payment.amount is not None and not 0 < payment.amount <= tx.MAX_AMOUNT:
        raise Rejected(f"an amount of {payment.amount} cannot be paid", for_good=True)
    memo = None if payment.memo is None else payment.memo.encode()
    if memo is not None and (ledger.flavour is not Flavour.MEMO or len(memo) > MEMO_MAX):
        raise Rejected("no memo, or none of this length, can be sent here", for_good=True)
    return Output(keys[payment.asset], to, -1 if payment.amount is None else payment.amount, memo)


def _funded(
    ledger: ReferenceLedger,
    key: bytes,
    wanted: Sequence[Output],
    max_fee: int,
    keys: Mapping[str, bytes],
) -> tuple[Output, ...]:
    """`wanted` with amounts filled in; `InsufficientFunds` with all that is lacking of one asset.

    Tokens first: a sweep without gas then learns the size of its top-up.
    """
    kept = ledger.state.reserve if ledger.flavour is Flavour.MEMO else 0
    outputs = list(wanted)
    for asset in sorted({output.asset for output in wanted} | {NATIVE}, reverse=True):
        name = _name(keys, asset)
        have = ledger.state.balance(asset, key) - (max_fee + kept if asset == NATIVE else 0)
        have -= sum(o.amount for o in outputs if o.asset == asset and o.amount > 0)
        if have < 0:
            raise InsufficientFunds(name, -have)
        rows = [i for i, o in enumerate(outputs) if o.asset == asset and o.amount < 0]
        if rows and (have == 0 or len(rows) > 1):
            raise InsufficientFunds(name, 1)
        for i in rows:
            old = outputs[i]
            outputs[i] = Output(old.asset, old.to, have, old.memo)
    return tuple(outputs)


def _name(keys: Mapping[str, bytes], asset: bytes) -> str:
    return next(name for name, key in keys.items() if key == asset)
