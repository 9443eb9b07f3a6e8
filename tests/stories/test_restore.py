"""An older database under the same journal: nothing is paid again, everything is reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from chain_adapter.keys.journal import PayoutKey
from chain_adapter.platform_api import codes
from chain_adapter.store import schema
from tests.stories.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.platform import refused
from tests.stories.truth import check, payments


def copy_books(world: World, name: str) -> Path:
    """A copy of the database file as of now; the daemon is stopped."""
    kept = world.folder / name
    shutil.copy(world.folder / "adapter.db", kept)
    return kept


def put_back(world: World, kept: Path) -> None:
    for end in ("-wal", "-shm"):
        (world.folder / f"adapter.db{end}").unlink(missing_ok=True)
    shutil.copy(kept, world.folder / "adapter.db")


async def snapshot(world: World, name: str) -> Path:
    await world.stop()
    kept = copy_books(world, name)
    await world.start()
    return kept


@pytest.mark.parametrize(
    ("flavour", "expiring"),
    [("account", False), ("coin", False), ("memo", False), ("account", True)],
)
async def test_a_copy_from_before_ten_payments(
    world: MakeWorld, flavour: str, expiring: bool
) -> None:
    w = await world(flavour=flavour, expiring=expiring)
    kept = await snapshot(w, "before.db")
    orders = [await w.order("0.1") for _ in range(10)]
    await w.until(w.ended(*orders))
    await w.tick(3)
    paid = payments(w)
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.until(w.ended(*orders))
    await w.tick(3)
    assert payments(w) == paid, "nothing is paid again"
    await check(w)


async def test_a_copy_in_which_the_orders_wait(world: MakeWorld) -> None:
    w = await world()
    w.loop("payer").off = True
    orders = [await w.order("1") for _ in range(10)]
    await w.tick(2)
    kept = await snapshot(w, "queued.db")
    await w.until(w.ended(*orders))
    paid = payments(w)
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.until(w.ended(*orders))
    await w.tick(3)
    assert payments(w) == paid
    await check(w)


@pytest.mark.parametrize("at", ["RESERVED", "SIGNED", "CLAIMED", "INCLUDED", "FINAL"])
async def test_a_copy_from_the_middle_of_paying(world: MakeWorld, at: str) -> None:
    w = await world()
    first = await w.order("1")
    if at == "RESERVED":
        sign = w.daemon.signer.sign

        async def later(request: object) -> object:
            raise ConnectionError("the signer is away")

        w.daemon.signer.sign = later  # type: ignore[method-assign,assignment]
        w.known_trouble = (ConnectionError,)
        await w.until(lambda: w.state(first) == at)
        w.daemon.signer.sign = sign  # type: ignore[method-assign]
    elif at == "SIGNED":
        w.loop("courier").off = True
        await w.until(lambda: w.state(first) == at)
    else:
        await w.until(lambda: w.state(first) == at, s=0.5)
    kept = await snapshot(w, "middle.db")
    more = [await w.order("2") for _ in range(3)]
    await w.until(w.ended(first, *more))
    await w.tick(3)
    paid = payments(w)
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.until(w.ended(first, *more))
    await w.tick(3)
    assert payments(w) == paid
    await check(w)


async def test_a_copy_from_before_a_void(world: MakeWorld) -> None:
    w = await world()
    kept = await snapshot(w, "before.db")
    w.platform.before["withdraw/notify"].append(
        refused("withdraw/notify", codes.FINANCE_NOTIFY_ERROR)
    )
    order = await w.order("1")
    await w.until(w.ended(order, state="CANCELLED"))
    other = await w.order("1")
    await w.until(w.ended(other))
    await w.tick(3)
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.until(w.ended(other))
    await w.until(lambda: w.state(order) in ("REFUSED", "CANCELLED"), ticks=40)
    await w.tick(4)
    assert list(payments(w)) == [w.recipients[other]]
    assert (await w.platform.withdrawal(order))["state"] == "cancelled"
    await check(w, fees=False)


async def test_a_payment_that_was_never_broadcast_goes_out_after_all(world: MakeWorld) -> None:
    w = await world()
    kept = await snapshot(w, "before.db")
    w.ledger.endpoint().swallows = True
    order = await w.order("1")
    await w.until(lambda: w.state(order) == "CLAIMED")
    await w.tick(2)
    await w.stop()
    put_back(w, kept)
    w.ledger.endpoint().swallows = False
    await w.start()
    await w.until(w.ended(order))
    await check(w)


async def test_what_was_settled_by_hand_stays_settled(world: MakeWorld) -> None:
    w = await world()
    w.loop("payer").off = True
    order = await w.order("1")
    await w.tick(2)
    kept = await snapshot(w, "queued.db")
    w.loop("payer").off = True
    await w.daemon.signer.settle(
        PayoutKey("withdrawal", w.native, order), "paid from another wallet", "alice and bob"
    )
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.tick(6)
    assert w.state(order) == "SETTLED"
    assert not payments(w)


async def test_a_journal_that_lacks_an_attempt_holds_its_payout(world: MakeWorld) -> None:
    w = await world()
    await w.stop()
    old = [
        (file, file.read_bytes())
        for file in w.folder.iterdir()
        if ".journal." in file.name and "lock" not in file.name
    ]
    await w.start()
    w.loop("courier").off = True
    order = await w.order("1")
    await w.until(lambda: w.state(order) == "SIGNED")
    await w.stop()
    for file in w.folder.iterdir():
        if ".journal." in file.name and "lock" not in file.name:
            file.unlink()
    for file, raw in old:
        file.write_bytes(raw)
        file.chmod(0o600)
    await w.start()
    await w.tick(5)
    assert w.payout(order).held_reason is not None
    assert "journal_lacks" in w.alarms()
    assert not payments(w)


async def test_an_older_database_credits_nothing_twice(world: MakeWorld) -> None:
    w = await world()
    kept = await snapshot(w, "before.db")
    for amount in ("1", "2"):
        await w.deposit(amount)
    await w.until(lambda: sorted(d.state for d in w.deposits())[:2] == ["CREDITED", "CREDITED"])
    await w.stop()
    put_back(w, kept)
    await w.start()
    await w.tick(10)
    rows = await w.platform.deposits()
    assert sorted(row["credited"] for row in rows) == ["1", "2"]
    await check(w)


async def test_an_empty_page_of_foreign_uses_is_left_behind(world: MakeWorld) -> None:
    """What an older database first took for a stranger's is ours by the journal."""
    w = await world()
    kept = await snapshot(w, "before.db")
    orders = [await w.order("1") for _ in range(3)]
    await w.until(w.ended(*orders))
    await w.stop()
    put_back(w, kept)
    await w.start()
    w.loop("payer").off = True  # blocks are read before the journal is asked
    await w.tick(3)
    w.loop("payer").off = False
    await w.until(w.ended(*orders))
    table = schema.foreign_uses
    open_rows = w.read(lambda tx: tx.all(select(table).where(table.c.acknowledged_by.is_(None))))
    assert not open_rows
    assert "foreign_use" not in w.alarms()
    await w.tick(3)
    await check(w)
