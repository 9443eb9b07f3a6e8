"""Checks of paying: what is built is what was meant, what is sent is seen, what is held is kept."""

from __future__ import annotations

from dataclasses import replace

from chain_adapter.chain import (
    ChainError,
    Effect,
    Family,
    Payment,
    Rejected,
    Sent,
    SignedTx,
    Unavailable,
    Watch,
)
from chain_adapter.testing.bench import Actor, Bench, ensure, others
from chain_adapter.testing.check import check


def _meant(effect: Effect, payments: tuple[Payment, ...], sender: str) -> bool:
    """Whether an effect pays exactly `payments`, what comes back to the sender left out."""

    def key(one: Payment) -> tuple[str, str, int, str]:
        return (one.asset, one.to, one.amount or 0, one.memo or "")

    return sorted(map(key, others(effect, sender))) == sorted(map(key, payments))


# --- building -----------------------------------------------------------------------------------


@check("laws 2.4; interface: inspect")
async def the_effect_is_the_intent(bench: Bench) -> None:
    """What `inspect` tells of a payload is what the intent asked for: payments, sender, fee within
    the limit, a prefix of our identity, locks or an expiry, and a message for each signer."""
    for asset in bench.assets:
        sender = await bench.funded(*([asset] if asset != bench.native else []))
        payment = bench.payment(bench.actor().address, asset)
        if bench.info.memos:
            payment = replace(payment, memo="1007")
        effect = bench.chain.inspect(await bench.build(sender, [payment]))
        ensure(_meant(effect, (payment,), sender.address), f"meant {payment}: {effect}")
        ensure(effect.senders == (sender.address,), f"senders {effect.senders}")
        ensure(0 < effect.max_fee <= bench.fee_limit(), f"max_fee {effect.max_fee}")
        identity = await bench.chain.identity()
        ensure(identity.startswith(effect.binds), f"binds {effect.binds}, not {identity}")
        ensure(effect.locks or effect.expires is not None, "neither locks nor an expiry")
        ensure(len(set(effect.locks)) == len(effect.locks), f"locks {effect.locks}")
        keys = {one.public_key for one in effect.to_sign}
        ensure(keys == {sender.public_key}, f"to be signed by {keys}")
        ensure(all(one.message for one in effect.to_sign), "an empty message")


@check("interface: inspect")
async def inspect_needs_no_node(bench: Bench) -> None:
    """`inspect` and `assemble` give the same without an endpoint, and ask nothing with one."""
    sender = await bench.funded()
    payload = await bench.build(sender, [bench.payment(bench.actor().address)])
    before = bench.requests
    effect = bench.chain.inspect(payload)
    ensure(bench.pure.inspect(payload) == effect, "without an endpoint the effect differs")
    ensure(bench.chain.inspect(payload) == effect, "the second effect differs")
    signatures = bench.sign(effect)
    tx = bench.chain.assemble(payload, signatures)
    ensure(bench.pure.assemble(payload, signatures) == tx, "assembled otherwise without endpoint")
    ensure(bench.requests == before, "a pure method asked a node")


@check("laws 2.4")
async def assembling_is_deterministic(bench: Bench) -> None:
    """The same payload and signatures give the same bytes and txid."""
    sender = await bench.funded()
    payload = await bench.build(sender, [bench.payment(bench.actor().address)])
    first, again = bench.signed(payload), bench.signed(payload)
    ensure(first == again, f"{first} and {again}")
    ensure(first.txid and first.raw, "no txid or no bytes")


@check("laws 2.5")
async def wrong_signatures_are_refused(bench: Bench) -> None:
    """`assemble` verifies each signature: by another key, of another message, cut, missing, one
    too many: `Rejected`."""
    sender, stranger = await bench.funded(), bench.actor()
    payload = await bench.build(sender, [bench.payment(bench.actor().address)])
    effect = bench.chain.inspect(payload)
    good = bench.sign(effect)
    by_other = replace(
        effect,
        to_sign=tuple(replace(one, public_key=stranger.public_key) for one in effect.to_sign),
    )
    flipped = [bytes([one[0] ^ 1]) + one[1:] for one in good]
    for name, signatures in {
        "another key's": bench.sign(by_other),
        "flipped": flipped,
        "cut": [one[:-1] for one in good],
        "empty": [b"" for _ in good],
        "no": [],
        "one too many": [*good, good[0]],
    }.items():
        error = await bench.outcome(_assemble(bench, payload, signatures))
        ensure(isinstance(error, Rejected), f"{name} signatures: {error!r}")


async def _assemble(bench: Bench, payload: bytes, signatures: list[bytes]) -> SignedTx:
    return bench.pure.assemble(payload, signatures)


@check("laws 2.5; interface: inspect")
async def a_tampered_payload_tells(bench: Bench) -> None:
    """Any byte of a payload changed, dropped or added: `Rejected`, or another effect. A payload
    that means something else can never be taken for the one that was agreed to."""
    sender = await bench.funded()
    payload = await bench.build(sender, [bench.payment(bench.actor().address)])
    effect = bench.chain.inspect(payload)
    spots = range(len(payload))
    for i in bench.rng.sample(spots, min(len(spots), 400)):
        flip = bytes([payload[i] ^ (1 << bench.rng.randrange(8))])
        for other in (
            payload[:i] + flip + payload[i + 1 :],
            payload[:i] + payload[i + 1 :],
            payload[:i] + b"0" + payload[i:],
        ):
            if other == payload:
                continue
            told: Effect | None = None
            try:
                told = bench.pure.inspect(other)
            except Rejected:
                continue
            except (
                ChainError,
                ValueError,
                LookupError,
                TypeError,
                ArithmeticError,
                AttributeError,
            ) as error:
                ensure(False, f"byte {i}: a {type(error).__name__} comes through: {error}")
            ensure(told != effect, f"byte {i} changed, and the effect stays the same")


# --- sending ------------------------------------------------------------------------------------


async def _paid(bench: Bench, asset: str) -> None:
    sender = await bench.funded(*([asset] if asset != bench.native else []))
    to = bench.actor()
    coins = await bench.coins(sender)
    payment = bench.payment(to.address, asset)
    if bench.info.memos:
        payment = replace(payment, memo="42")
    payload = await bench.build(sender, [payment])
    effect = bench.chain.inspect(payload)
    coins = await bench.coins(sender) or coins
    have = (await bench.chain.balance(sender.address, bench.native)).amount
    start = await bench.tip()
    tx = await bench.send(payload)
    await bench.mine(2)
    transfers, sent = await bench.find(tx, start, bench.watch(sender, [to], coins))
    arrived = [one for one in transfers if one.to == to.address]
    ensure(len(arrived) == 1, f"{asset}: shown {transfers} under the txid that assemble gave")
    ensure(arrived[0].amount == payment.amount, f"{asset}: {arrived[0].amount} arrived")
    memo = None if payment.memo is None else payment.memo.encode()
    ensure(arrived[0].memo == memo, f"memo {arrived[0].memo!r} arrived")
    ensure(len(sent) == 1, f"{asset}: our own transaction is told as {sent}")
    _told(bench, sent[0], effect, sender, payment)
    left = (await bench.chain.balance(sender.address, bench.native)).amount
    back = sum(
        one.amount or 0
        for one in sent[0].moved
        if one.asset == bench.native and one.to != sender.address
    )
    ensure(
        have - left == back + sent[0].fee,
        f"{asset}: {have - left} left us, {back} moved and a fee of {sent[0].fee} are told",
    )


def _told(bench: Bench, sent: Sent, effect: Effect, sender: Actor, payment: Payment) -> None:
    ensure(sent.ok, f"told as failed: {sent}")
    ensure(sent.sender == sender.address, f"sender {sent.sender}")
    ensure(set(sent.locks) == set(effect.locks), f"used {sent.locks}, told {effect.locks}")
    ensure(0 <= sent.fee <= effect.max_fee, f"fee {sent.fee}, at most {effect.max_fee}")
    ensure(sent.fee_asset == bench.info.fee_asset, f"fee asset {sent.fee_asset}")
    moved = tuple(one for one in sent.moved if one.to != sender.address)
    ensure(
        [(one.asset, one.to, one.amount) for one in moved]
        == [(payment.asset, payment.to, payment.amount)],
        f"moved {sent.moved}",
    )


@check("laws 2.4, 2.8")
async def a_payment_is_seen_as_it_was_built(bench: Bench) -> None:
    """Built, inspected, signed, sent, mined: the block shows the same txid, the amount and memo at
    the recipient, the locks that were told, and a fee that closes the sender's books."""
    for asset in bench.assets:
        await _paid(bench, asset)


@check("interface: broadcast; W-03")
async def sending_twice_is_success(bench: Bench) -> None:
    """The same bytes sent again, also by another Chain, are no error and pay once."""
    sender, to = await bench.funded(), bench.actor()
    start = await bench.tip()
    tx = await bench.send(await bench.build(sender, [bench.payment(to.address)]))
    await bench.chain.broadcast(tx)
    await bench.open(bench.endpoint).broadcast(tx)
    await bench.mine()
    error = await bench.outcome(bench.chain.broadcast(tx))
    ensure(
        error is None or isinstance(error, Rejected | Unavailable), f"after inclusion: {error!r}"
    )
    await bench.mine(2)
    shown, _ = await bench.find(tx, start, bench.watch(sender, [to]))
    ensure(len([one for one in shown if one.to == to.address]) == 1, f"paid {shown}")


@check("laws 2.4")
async def payments_of_one_account_follow_each_other(bench: Bench) -> None:
    """Two payloads built one after the other, the second with the first's locks reserved, are both
    included."""
    sender, to = await bench.funded(parts=2), [bench.actor(), bench.actor()]
    coins = await bench.coins(sender)
    start = await bench.tip()
    first = await bench.build(sender, [bench.payment(to[0].address)])
    held = frozenset(bench.chain.inspect(first).locks)
    second = await bench.build(sender, [bench.payment(to[1].address)], reserved=held)
    txs = [await bench.send(first), await bench.send(second)]
    await bench.mine(2)
    for tx in txs:
        _, sent = await bench.find(tx, start, bench.watch(sender, to, coins))
        ensure(len(sent) == 1 and sent[0].ok, f"{tx.txid}: {sent}")


@check("laws 2.11")
async def reserved_locks_are_respected(bench: Bench) -> None:
    """Locks of other payouts are never used; without another one, building fails."""
    sender = await bench.funded(parts=3)
    await bench.need_locks(sender)
    to = bench.actor().address
    held: set[str] = set()
    for _ in range(3):
        payload = await bench.build(sender, [bench.payment(to)], reserved=frozenset(held))
        locks = set(bench.chain.inspect(payload).locks)
        ensure(locks and not locks & held, f"{locks} uses one of {held}")
        held |= locks


@check("interface: Sent; laws 1, absent")
async def what_is_not_asked_is_not_told(bench: Bench) -> None:
    """Without the sender among `senders` and its coins among `coins` there is no `Sent`; with
    them there is one, whoever the recipient."""
    sender = await bench.funded()
    coins = await bench.coins(sender)
    start = await bench.tip()
    tx = await bench.send(await bench.build(sender, [bench.payment(bench.actor().address)]))
    await bench.mine()
    _, sent = await bench.find(tx, start, Watch(to=frozenset()))
    ensure(not sent, f"told to one who did not ask: {sent}")
    nobody = Watch(frozenset(), frozenset({sender.address}), {c.lock: c.amount for c in coins})
    _, sent = await bench.find(tx, start, nobody)
    ensure(len(sent) == 1, f"our own transaction is told as {sent}")


@check("interface: coins")
async def coins_are_followed_within_a_read(bench: Bench) -> None:
    """One read shows an output of ours and its spending in a later block, though `coins` does not
    yet have it."""
    bench.need(bench.info.family is Family.COIN, "a chain without coins")
    start = await bench.tip()
    sender = await bench.funded()
    tx = await bench.send(await bench.build(sender, [bench.payment(bench.actor().address)]))
    await bench.mine()
    _, sent = await bench.find(tx, start, Watch(frozenset({sender.key})))
    ensure(len(sent) == 1, "the spending of a coin made in the same read is not told")
    await _spent_with_known_coins(bench, tx, start.height, sender)


async def _spent_with_known_coins(bench: Bench, tx: SignedTx, height: int, sender: Actor) -> None:
    found = await bench.read((await bench.tip()).__class__(height, ""), height + 1)
    made = [one for b in found for one in b.transfers if one.to == sender.address and one.lock]
    known = {one.lock: one.amount for one in made if one.lock}
    watch = Watch(frozenset(), frozenset(), known)
    _, sent = await bench.find(tx, found[-1].ref, watch)
    ensure(len(sent) == 1, "the spending of a coin in `coins` is not told")


@check("interface: amount None")
async def all_less_the_fee_empties_the_account(bench: Bench) -> None:
    """`amount=None` pays all that can be paid, less the fee: `inspect` tells the figure, it
    arrives, and what stays is less than the fee's headroom (coins: nothing)."""
    sender, to = await bench.funded(), bench.actor()
    have = (await bench.chain.balance(sender.address, bench.native)).amount
    payload = await bench.build(sender, [Payment(bench.native, to.address, None)])
    effect = bench.chain.inspect(payload)
    ensure(len(effect.payments) == 1, f"pays {effect.payments}")
    amount = effect.payments[0].amount
    ensure(amount is not None and 0 < amount < have, f"pays {amount} of {have}")
    start = await bench.tip()
    tx = await bench.send(payload)
    await bench.mine(2)
    transfers, _ = await bench.find(tx, start, bench.watch(sender, [to]))
    got = sum(one.amount for one in transfers if one.to == to.address)
    ensure(got == amount, f"{amount} was told, {got} arrived")
    left = (await bench.chain.balance(sender.address, bench.native)).amount
    limit = 0 if bench.info.family is Family.COIN else max(effect.max_fee, have // 2)
    ensure(left <= limit, f"{left} of {have} stays")
