"""Who may run on which books: one daemon at a time, of this ledger, of this version."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import create_engine, text, update

from chain_adapter import daemon as daemon_module
from chain_adapter.config import load
from chain_adapter.demo.parts import wait_until
from chain_adapter.errors import AlreadyRunning, LeaseLost, LedgerMismatch, SchemaMismatch
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Store
from tests.stories.conftest import MakeWorld
from tests.stories.harness import SteppedDaemon, World
from tests.stories.truth import check


async def second(world: World) -> SteppedDaemon:
    """Another daemon with the same configuration, on the same books."""
    made = SteppedDaemon(world)
    await made.start()
    return made


async def test_a_second_daemon_on_one_file_is_refused_at_once(world: MakeWorld) -> None:
    w = await world()
    with pytest.raises(AlreadyRunning) as error:
        await second(w)
    assert error.value.exit_status == 2
    order = await w.order("1")
    await w.until(w.ended(order))
    await check(w)


async def test_another_instance_waits_while_the_lease_is_renewed(
    postgres_url: str, worlds: MakeWorld
) -> None:
    w = await worlds(postgres_url, top='instance = "one"')
    other = Store(postgres_url, w.clock)
    with pytest.raises(AlreadyRunning):
        ledger.take_lease(other, "two")
    other.close()
    order = await w.order("1")
    await w.until(w.ended(order))
    await check(w)


async def test_a_zombie_writes_nothing_after_its_lease_was_taken_over(
    postgres_url: str, worlds: MakeWorld
) -> None:
    w = await worlds(postgres_url)
    w.loop("courier").off = True
    order = await w.order("1")
    await w.until(lambda: w.state(order) == "SIGNED", mine=False)
    other = Store(postgres_url, w.clock)
    lease = ledger.take_lease(other, w.daemon.store.lease.holder.rpartition("/")[0])  # type: ignore[union-attr]
    assert lease.fence > w.daemon.store.lease.fence  # type: ignore[union-attr]
    with pytest.raises(LeaseLost):
        await w.daemon.store.write(
            lambda tx: tx.run(update(schema.payouts).values(reason="by the zombie"))
        )
    with pytest.raises(LeaseLost):
        await ledger.renew_lease(w.daemon.store)
    row = other.read_now(lambda tx: tx.one(schema.payouts.select()))
    assert row is not None
    assert row.reason is None
    other.close()
    w.daemon.store.lease = None
    await w.stop()
    await w.start()
    await w.until(w.ended(order))
    await check(w)


async def test_a_lost_connection_ends_the_lease(postgres_url: str, worlds: MakeWorld) -> None:
    w = await worlds(postgres_url)
    before = w.daemon.store.session
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()
    with pytest.raises(LeaseLost):
        await w.daemon.store.write(lambda tx: tx.run(update(schema.payouts).values(reason=None)))
    assert w.daemon.store.session != before, "what was consumed before no longer counts"
    await w.stop()
    await w.start()
    order = await w.order("1")
    await w.until(w.ended(order))
    w.errors.clear()
    await check(w)


async def test_a_newer_schema_is_refused(either: MakeWorld) -> None:
    world = await either(fund=False)
    await world.stop()
    store = ledger.open_ledger(world.url, world.clock)
    store.write_now(lambda tx: ledger.put(tx, "schema", str(schema.VERSION + 1)))
    store.close()
    with pytest.raises(SchemaMismatch) as error:
        await second(world)
    assert error.value.exit_status == 2
    assert "newer" in str(error.value)
    store = Store(world.url, world.clock)
    store.write_now(lambda tx: ledger.put(tx, "schema", str(schema.VERSION)))
    store.close()
    await world.start()


async def test_a_foreign_ledger_is_refused(either: MakeWorld) -> None:
    world = await either(fund=False)
    await world.stop()
    own = PublicKeys.load(world.folder / "keystore.json").ledger_id
    store = ledger.open_ledger(world.url, world.clock)
    store.write_now(lambda tx: ledger.put(tx, "ledger_id", "0" * 32))
    store.close()
    with pytest.raises(LedgerMismatch) as error:
        await second(world)
    assert error.value.exit_status == 2
    store = ledger.open_ledger(world.url, world.clock)
    store.write_now(lambda tx: ledger.put(tx, "ledger_id", own))
    store.close()
    await world.start()


async def test_an_unexpectedly_empty_database_is_refused(world: MakeWorld) -> None:
    w = await world(fund=False)
    await w.stop()
    for file in w.folder.glob("adapter.db*"):
        file.unlink()
    with pytest.raises(LedgerMismatch) as error:
        await second(w)
    assert error.value.exit_status == 2
    assert not (w.folder / "adapter.db").exists(), "nobody but `keys init` makes one"
    await w.make_ledger()
    await w.start()


async def test_a_record_of_a_scan_is_refused(world: MakeWorld) -> None:
    w = await world(fund=False)
    await w.stop()
    store = ledger.open_ledger(w.url, w.clock)
    store.write_now(lambda tx: ledger.put(tx, "record", "secret"))
    store.close()
    with pytest.raises(LedgerMismatch):
        await second(w)


async def test_a_page_asked_before_a_restart_pays_nobody(either: MakeWorld) -> None:
    """An order is begun only when this session's own question listed it."""
    world = await either()
    world.loop("payer").off = True
    order = await world.order("1")
    await world.tick(2)
    await world.restart()
    for name in (world.native, world.token):
        world.loop(f"consumer {name}").off = True
    await world.tick(5)
    assert world.state(order) == "QUEUED"
    assert not world.view(order).attempts
    for name in (world.native, world.token):
        world.loop(f"consumer {name}").off = False
    await world.until(world.ended(order))
    await check(world)


async def test_the_real_loops_run_end_to_end_and_stop_in_time(world: MakeWorld) -> None:
    """The same daemon with its own loops and the machine's clock."""
    w = await world()
    await w.stop()
    client = daemon_module.PlatformClient
    daemon_module.PlatformClient = lambda *_a, **_n: w.platform  # type: ignore[assignment,misc]
    real = daemon_module.Daemon(load(w.config_file))
    try:
        await real.start()
    finally:
        daemon_module.PlatformClient = client  # type: ignore[misc]
    stop = asyncio.Event()
    running = asyncio.create_task(real.run(stop))
    order = await w.order("1")

    async def paid() -> bool:
        w.ledger.mine()
        return bool((await w.platform.withdrawal(order))["state"] == "complete")

    await wait_until("the payment", paid, 30, every_s=0.05)
    stop.set()
    async with asyncio.timeout(15):
        await running
    await w.start()
    await w.until(w.ended(order))
    await check(w)
