"""What must be true of every story at rest, whatever happened: chain against platform, to the unit.

No withdrawal is paid twice, none is paid and sent back, what is complete is paid; no deposit is
credited twice or without a movement; fees told are fees burnt; events are an unbroken chain.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chain_adapter.core.states import PAYOUT_ENDED, Payout
from chain_adapter.sandbox.reference_tx import NATIVE
from tests.stories.books import verify_events
from tests.stories.harness import World


@dataclass(frozen=True, slots=True)
class Paid:
    """One movement from the hot address to a stranger, on the best chain."""

    txid: str
    symbol: str
    amount: int
    height: int


def payments(world: World) -> dict[str, list[Paid]]:
    """Recipient -> what it was paid, as the chain shows it now."""
    hot = world.daemon.guards["ref"].address_key(world.hot)
    found: dict[str, list[Paid]] = {}
    for height in range(world.ledger.height + 1):
        for done in world.ledger.block(height).txs:
            if hot not in done.senders or not done.ok:
                continue
            for move in done.moves:
                if move.to != hot:
                    symbol = world.native if move.asset == NATIVE else world.token
                    to = world.ledger.address(move.to)
                    found.setdefault(to, []).append(Paid(done.txid, symbol, move.amount, height))
    return found


def burnt(world: World) -> int:
    """Fees of everything the hot address signed."""
    hot = world.daemon.guards["ref"].address_key(world.hot)
    return sum(
        done.fee
        for height in range(world.ledger.height + 1)
        for done in world.ledger.block(height).txs
        if hot in done.senders
    )


async def check(
    world: World, *, fees: bool = True, at_rest: bool = True, quiet: bool = True
) -> None:
    """Raise `AssertionError` with what is doubled, lost or different.

    `quiet`: no worker met an error that the story did not announce.
    """
    await _withdrawals(world, at_rest=at_rest)
    await _deposits(world)
    if fees:
        await _fees(world)
    verify_events(world.read)
    if quiet:
        assert not world.errors, f"workers failed: {world.errors[:3]}\n{world.shown()}"


async def _withdrawals(world: World, *, at_rest: bool) -> None:
    paid = payments(world)
    asked = Counter(world.recipients.values())
    total: Counter[str] = Counter()
    for row in await world.platform.withdrawals():
        to, state = row["address_to"], row["state"]
        if asked[to] > 1:
            continue  # told apart by their sum only
        rows = paid.get(to, [])
        total[to] += len(rows)
        assert len(rows) <= 1, f"{row['trans_id']} was paid {len(rows)} times\n{world.shown()}"
        if rows:
            same = (rows[0].symbol, rows[0].amount)
            known = world.payout(row["trans_id"])
            assert same == (known.asset, int(known.amount)), f"{row['trans_id']} paid {same}"
        if state == "cancelled":
            assert not rows, f"{row['trans_id']} was paid and sent back\n{world.shown()}"
        if state == "complete":
            assert rows, f"{row['trans_id']} is complete, but nobody was paid\n{world.shown()}"
            assert rows[0].txid == row["txid"], f"{row['trans_id']}: {row['txid']} did not pay"
        if at_rest:
            known = world.payout(row["trans_id"])
            assert known is not None, f"{row['trans_id']} was never seen"
            at_end = known.state in PAYOUT_ENDED or known.state == Payout.REFUSED
            assert at_end or known.held_reason is not None, world.shown()
    unknown = set(paid) - set(world.recipients.values())
    assert not unknown, f"money went to {unknown}, whom nobody asked to pay"


async def _deposits(world: World) -> None:
    rows = await world.platform.deposits()
    doubled = [row for row in rows if row["duplicate"]]
    assert not doubled, f"told twice: {doubled}"
    moved: Counter[tuple[str, str, str]] = Counter()
    for height in range(world.ledger.height + 1):
        for done in world.ledger.block(height).txs:
            for move in done.moves if done.ok else ():
                symbol = world.native if move.asset == NATIVE else world.token
                moved[symbol, done.txid, world.ledger.address(move.to)] += move.credited
    for row in rows:
        credited = world.units(row["symbol"], row["credited"])
        there = moved[row["symbol"], row["txid"], row["address_to"]]
        reversed_ = any(d.txid == row["txid"] and d.state == "REVERSED" for d in world.deposits())
        assert credited in (0, there) or reversed_, f"{row}: the chain moved {there}"


async def _fees(world: World) -> None:
    """Only where everything has been told to the end."""
    told = 0
    for row in await world.platform.withdrawals():
        told += world.units(world.native, row["fee"] or "0")
    for row in await world.platform.internal():
        told += world.units(world.native, row["fee"])
    assert told == burnt(world), f"fees told {told}, burnt {burnt(world)}\n{world.shown()}"
