"""Checks of replacing and refusing: what holds for a payment stuck, withdrawn, or impossible."""

from __future__ import annotations

from dataclasses import replace

from chain_adapter.chain import (
    Coin,
    Family,
    Intent,
    InvalidAddress,
    Payment,
    Rejected,
    Unavailable,
)
from chain_adapter.testing.bench import Actor, Bench, ensure, others
from chain_adapter.testing.check import check

EXPIRY_BLOCKS = 500  # blocks that a devnet may have to make until a payload has expired


# --- replacing ----------------------------------------------------------------------------------


async def _attempts(bench: Bench) -> tuple[Actor, Actor, tuple[Coin, ...], bytes, bytes]:
    """A payload and its replacement, with sender, recipient and coins."""
    sender, to = await bench.funded(), bench.actor()
    await bench.need_locks(sender)
    coins = await bench.coins(sender)
    payments = [bench.payment(to.address)]
    first = await bench.build(sender, payments)
    second = await bench.build(sender, payments, replaces=(first,))
    return sender, to, coins, first, second


@check("laws 2.4, 2.5")
async def a_replacement_shares_a_lock_and_pays_more(bench: Bench) -> None:
    """A replacement makes the same payments, shares a lock with every attempt that it replaces,
    and raises the fee; so does a replacement of both."""
    sender, to, _, first, second = await _attempts(bench)
    third = await bench.build(sender, [bench.payment(to.address)], replaces=(first, second))
    a, b, c = (bench.chain.inspect(one) for one in (first, second, third))
    for before, after in ((a, b), (a, c), (b, c)):
        ensure(set(before.locks) & set(after.locks), f"{before.locks} and {after.locks}")
        ensure(after.max_fee > before.max_fee, f"fee {before.max_fee}, then {after.max_fee}")
        ensure(
            others(after, sender.address) == others(before, sender.address),
            f"pays {after.payments} instead of {before.payments}",
        )


@check("laws 2.5; W-07")
async def only_one_attempt_is_included(bench: Bench) -> None:
    """A payment and its replacement, both sent: exactly one of them ever stands in a block."""
    sender, to, coins, first, second = await _attempts(bench)
    start = await bench.tip()
    txs = [bench.signed(first), bench.signed(second)]
    for tx in txs:
        error = await bench.outcome(bench.chain.broadcast(tx))
        ensure(error is None or isinstance(error, Rejected), f"sending raised {error!r}")
    await bench.mine(2)
    for tx in txs:
        await bench.outcome(bench.chain.broadcast(tx))
    await bench.mine(2)
    watch = bench.watch(sender, [to], coins)
    blocks = await bench.read(start, None, watch)
    included = {one.txid for block in blocks for one in block.sent}
    ensure(len(included & {tx.txid for tx in txs}) == 1, f"included {included}")
    ensure(txs[1].txid in included, "the replacement did not replace")
    got = sum(t.amount for block in blocks for t in block.transfers if t.to == to.address)
    ensure(got == bench.some(), f"{got} arrived for one payment of {bench.some()}")


@check("laws 2.6")
async def a_void_pays_nobody(bench: Bench) -> None:
    """A void burns the locks of the attempt, pays nobody, and after it the attempt is never
    included."""
    sender, to = await bench.funded(), bench.actor()
    await bench.need_locks(sender)
    coins = await bench.coins(sender)
    first = await bench.build(sender, [bench.payment(to.address)])
    payload = await bench.build(sender, [], replaces=(first,))
    paid, void = bench.chain.inspect(first), bench.chain.inspect(payload)
    ensure(not others(void, sender.address), f"a void pays {void.payments}")
    ensure(set(void.locks) >= set(paid.locks), f"burns {void.locks} of {paid.locks}")
    start = await bench.tip()
    tx = await bench.send(payload)
    await bench.mine(2)
    late = bench.signed(first)
    error = await bench.outcome(bench.chain.broadcast(late))
    ensure(error is None or isinstance(error, Rejected | Unavailable), f"raised {error!r}")
    await bench.mine(2)
    blocks = await bench.read(start, None, bench.watch(sender, [to], coins))
    sent = {one.txid: one for block in blocks for one in block.sent}
    ensure(tx.txid in sent and sent[tx.txid].ok, f"the void is told as {sent.get(tx.txid)}")
    ensure(set(sent[tx.txid].locks) == set(void.locks), f"used {sent[tx.txid].locks}")
    ensure(
        all(one.to == sender.address for one in sent[tx.txid].moved),
        f"the void moved {sent[tx.txid].moved}",
    )
    ensure(late.txid not in sent, "the attempt was included after its void")
    ensure(
        not [t for block in blocks for t in block.transfers if t.to == to.address],
        "somebody was paid",
    )


@check("laws 1, dead; W-10")
async def an_expired_payload_is_never_included(bench: Bench) -> None:
    """Where transactions have no locks: two equal intents have two txids, and one whose expiry the
    clock of a block has passed is never included."""
    sender, to = await bench.funded(), bench.actor()
    payments = [bench.payment(to.address)]
    payload = await bench.build(sender, payments)
    effect = bench.chain.inspect(payload)
    bench.need(not effect.locks, "transactions of this chain have locks")
    expires = effect.expires
    ensure(expires is not None, "neither locks nor an expiry")
    other = bench.signed(await bench.build(sender, payments))
    tx = bench.signed(payload)
    ensure(tx.txid != other.txid, "two attempts with different salt share a txid")
    start = await bench.tip()
    blocks = await bench.read(replace(start, height=start.height - 1, hash=""))
    ensure(blocks[-1].clock <= (expires or 0), "expired when it was built")
    for _ in range(EXPIRY_BLOCKS):
        if blocks[-1].clock > (expires or 0):
            break
        await bench.mine()
        blocks = await bench.read(blocks[-1].ref)
    ensure(blocks[-1].clock > (expires or 0), f"no end to it after {EXPIRY_BLOCKS} blocks")
    await bench.outcome(bench.chain.broadcast(tx))
    await bench.mine(2)
    transfers, sent = await bench.find(tx, start, bench.watch(sender, [to]))
    ensure(not transfers and not sent, "included after its expiry")


# --- refusing -----------------------------------------------------------------------------------


@check("laws 2.4, fee cap")
async def the_fee_limit_holds(bench: Bench) -> None:
    """A limit below what the chain asks is `FeeAboveLimit`; a replacement obeys it too."""
    sender, to = await bench.funded(), bench.actor()
    intent = await bench.intent(sender, [bench.payment(to.address)], fee_limit=1)
    error = await bench.outcome(bench.chain.build(intent))
    ensure(type(error).__name__ == "FeeAboveLimit", f"a fee limit of 1 gives {error!r}")
    payload = await bench.build(sender, [bench.payment(to.address)])
    effect = bench.chain.inspect(payload)
    if effect.locks:
        tight = await bench.intent(
            sender,
            [bench.payment(to.address)],
            fee_limit=effect.max_fee,
            replaces=(payload,),
        )
        error = await bench.outcome(bench.chain.build(tight))
        ensure(type(error).__name__ == "FeeAboveLimit", f"replaced beyond its limit: {error!r}")


@check("interface: InsufficientFunds")
async def a_shortage_is_told_in_full(bench: Bench) -> None:
    """An empty sender is `InsufficientFunds`, short by all that it needs: when that is paid in,
    building succeeds. A token without gas is short of the fee asset."""
    for asset in bench.assets:
        sender = bench.actor(await bench.tip())
        payment = bench.payment(bench.actor().address, asset)
        if asset != bench.native:
            await bench.devnet.pay(asset, sender.address, 2 * (payment.amount or 0))
            await bench.mine()
        error = await bench.outcome(bench.chain.build(await bench.intent(sender, [payment])))
        short = bench.info.fee_asset
        ensure(type(error).__name__ == "InsufficientFunds", f"{asset}, no funds: {error!r}")
        ensure(getattr(error, "asset", None) == short, f"short of {error}, not of {short}")
        ensure(getattr(error, "short_by", 0) > 0, f"{error}")
        await bench.build(sender, [payment])  # pays in what it lacks, once


@check("laws 2.3, 2.9")
async def what_can_never_be_paid_is_refused_for_good(bench: Bench) -> None:
    """A memo on a chain without memos, an address that is none, a recipient that reverts though
    the funds are there: `Rejected.for_good`; and a funded, sound payment is not refused."""
    sender, to = await bench.funded(), bench.actor()
    good = bench.payment(to.address)
    wrong: dict[str, Payment] = {"a text that is no address": replace(good, to=to.address[:-3])}
    if not bench.info.memos and not bench.info.pays_memos:
        wrong["a memo where there are none"] = replace(good, memo="7")
    revert = getattr(bench.devnet, "revert", None)
    if revert is not None:
        bad = bench.actor()
        await revert(bad.address)
        wrong["a recipient that reverts"] = replace(good, to=bad.address)
    for what, payment in wrong.items():
        intent: Intent = await bench.intent(sender, [payment])
        error = await bench.outcome(bench.chain.build(intent))
        # The core asks `parse_address` first, so either name of this error will do.
        named = payment.to != good.to and isinstance(error, InvalidAddress)
        refused = isinstance(error, Rejected) and error.for_good
        ensure(named or refused, f"{what}: {error!r}")
    await bench.build(sender, [good])


@check("laws 1, failed")
async def a_failure_on_chain_is_told(bench: Bench) -> None:
    """A transaction that is included and fails: `ok` is false, nothing moved, locks and fee are
    gone, and no transfer is shown."""
    fail = getattr(bench.devnet, "fail", None)
    bench.need(fail is not None, "this devnet cannot make a transaction fail")
    bench.need(bench.info.family is not Family.COIN, "coin chains include no failure")
    sender, to = await bench.funded(), bench.actor()
    payload = await bench.build(sender, [bench.payment(to.address)])
    effect = bench.chain.inspect(payload)
    start = await bench.tip()
    tx = await bench.send(payload)
    if fail is not None:
        await fail(tx.txid)
    await bench.mine()
    transfers, sent = await bench.find(tx, start, bench.watch(sender, [to]))
    ensure(not transfers, f"a failed transaction shows {transfers}")
    ensure(len(sent) == 1 and not sent[0].ok, f"told as {sent}")
    ensure(sent[0].moved == (), f"moved {sent[0].moved}")
    ensure(set(sent[0].locks) == set(effect.locks), f"used {sent[0].locks}")
    ensure(sent[0].fee > 0, "a failure without a fee")
