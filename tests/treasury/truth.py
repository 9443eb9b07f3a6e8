"""Conservation to the unit over all our addresses, between chain, platform and books."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import select

from chain_adapter.core.states import PAYOUT_ENDED
from chain_adapter.sandbox.reference_tx import NATIVE
from chain_adapter.store import schema
from tests.stories.books import verify_events
from tests.stories.harness import World


def own_keys(world: World) -> set[bytes]:
    table = schema.addresses
    rows = world.read(lambda tx: tx.all(select(table.c.key).where(table.c.role != "watched")))
    return {bytes(row.key) for row in rows}


def token_asset(world: World) -> bytes:
    return world.ledger.token


def holdings(world: World) -> Counter[str]:
    """What lies at our addresses, as the chain has it; base units by symbol."""
    state = world.ledger.state
    found: Counter[str] = Counter()
    for key in own_keys(world):
        found[world.native] += state.balance(NATIVE, key)
        if world.token in world.assets:
            found[world.token] += state.balance(token_asset(world), key)
    return found


def burnt(world: World) -> int:
    """Fees of everything that any of our addresses signed."""
    ours = own_keys(world)
    return sum(
        done.fee
        for height in range(world.ledger.height + 1)
        for done in world.ledger.block(height).txs
        if ours & set(done.senders)
    )


def payouts(world: World, kind: str) -> list[Any]:
    table = schema.payouts
    return list(
        world.read(
            lambda tx: tx.all(select(table).where(table.c.kind == kind).order_by(table.c.id))
        )
    )


async def conserve(world: World, extra: Counter[str] | None = None) -> None:
    """funded + credited - paid - fees told = what lies at our addresses, asset by asset.

    `extra`: what else came in (gas from outside). Everything must be at rest.
    """
    left = Counter(world.funded) + (extra or Counter())
    for row in await world.platform.deposits():
        assert not row["duplicate"], row
        left[row["symbol"]] += world.units(row["symbol"], row["credited"])
    told = 0
    for row in await world.platform.withdrawals():
        if row["state"] == "complete":
            left[row["symbol"]] -= world.units(row["symbol"], row["amount"])
        told += world.units(world.native, row["fee"] or "0")
    rows = await world.platform.internal()
    told += sum(world.units(world.native, row["fee"]) for row in rows)
    txids = [row["txid"] for row in rows if row["confirm"] >= 1]
    assert len(set(txids)) == len(txids), "a movement was told twice"
    assert told == burnt(world), f"fees told {told}, burnt {burnt(world)}\n{world.shown()}"
    left[world.native] -= told
    found = holdings(world)
    for symbol in world.assets:
        assert found[symbol] == left[symbol], f"{symbol}: {found[symbol]}, not {left[symbol]}"
    for kind in ("sweep", "top-up", "cold"):
        for row in payouts(world, kind):
            assert row.state in (*PAYOUT_ENDED, "REFUSED"), world.shown()
    verify_events(world.store.read_now)
    assert not world.errors, world.errors[:3]
