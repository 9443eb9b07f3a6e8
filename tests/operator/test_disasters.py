"""A database that is lost, old or another's: 0 units lost, 0 doubled, whatever is brought back."""

from __future__ import annotations

from typing import Any

from tests.operator.conftest import MakeWorld, command, done, lose, sound
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.truth import check


async def busy(world: World, deposits: int, orders: int) -> tuple[list[str], list[str]]:
    """Money in and out, of every asset; (deposit txids, trans_ids)."""
    made = []
    for number in range(deposits):
        symbol = list(world.assets)[number % len(world.assets)]
        made.append((await world.deposit(f"{number + 1}.25", symbol))[0])
        if number % 3 == 2:
            await world.tick()
    asked = [
        await world.order(f"0.{number + 1}", list(world.assets)[number % len(world.assets)])
        for number in range(orders)
    ]
    return made, asked


async def credited(world: World) -> dict[str, int]:
    """txid -> how often the platform credited it."""
    found: dict[str, int] = {}
    for row in await world.platform.deposits():
        if float(row["credited"]) > 0:
            found[row["txid"]] = found.get(row["txid"], 0) + 1
    return found


async def all_credited(world: World, txids: list[str]) -> bool:
    found = await credited(world)
    return all(found.get(one) == 1 for one in txids)


async def ids_of(world: World) -> dict[str, str]:
    return {row["request_id"]: row["txid"] for row in await world.platform.deposits()}


async def bring_back(world: World, copy: Any) -> None:
    """The daemon is dead, the database is lost, the copy is all there is."""
    await world.stop()
    lose(world.url)
    await done(world.config_file, "db", "restore", str(copy))


async def test_an_older_copy_while_money_moves(either: MakeWorld) -> None:
    w = await either()
    early, first = await busy(w, 4, 4)
    await w.tick(6)
    copy = w.folder / "copy.db"
    made = await done(w.config_file, "db", "backup", str(copy))
    assert made["events"] > 0
    assert made["ledger_id"]
    late, second = await busy(w, 8, 5)  # to addresses that the copy does not know, too
    await w.tick(4)
    ids = await ids_of(w)
    await bring_back(w, copy)
    await w.start()  # `run` starts on it as it is
    third = await w.order("0.5")
    await w.tick(12)
    await w.stop()
    found = await done(
        w.config_file, "recover", "--chain", CHAIN, "--from", "0", "--addresses", "40"
    )
    assert found["done"]
    assert found["derived"] == 40
    assert found["unknown"] == []
    await w.start()
    await w.until(w.ended(*first, *second, third))
    await w.until(lambda: all_credited(w, early + late))
    await w.tick(6)
    assert ids.items() <= (await ids_of(w)).items()
    await check(w, quiet=False)
    await sound(w.config_file)


async def test_a_copy_made_at_any_moment_of_a_payment(world: MakeWorld) -> None:
    """Copies between all steps of one payment: whichever is brought back, it is paid once."""
    for moment in (0, 1, 2, 3, 5, 8):
        w = await world()
        order = await w.order("1.5")
        deposit, _ = await w.deposit("2")
        copy = w.folder / "copy.db"
        for one in range(12):
            if one == moment:
                await done(w.config_file, "db", "backup", str(copy))
            await w.tick(s=0.5)
        await w.until(w.ended(order))
        await bring_back(w, copy)
        await w.start()
        await w.until(w.ended(order))
        await w.until(lambda: all_credited(w, [deposit]))  # noqa: B023
        await w.tick(4)
        await check(w, quiet=False)
        await sound(w.config_file)


async def test_an_empty_database_with_the_same_keys(either: MakeWorld) -> None:
    w = await either()
    made, asked = await busy(w, 6, 5)
    await w.until(w.ended(*asked))
    await w.until(lambda: all_credited(w, made))
    waiting, _ = await w.deposit("7")  # on its way when the disk dies
    await w.tick()
    ids = await ids_of(w)
    await w.stop()
    lose(w.url)
    refused = await command(w.config_file, "addresses", "list")
    assert refused.status == 2
    assert "there is no ledger" in refused.err
    found = await done(
        w.config_file, "recover", "--chain", CHAIN, "--from", "0", "--addresses", "60"
    )
    assert found["done"]
    # What came to the hot address is booked too, and ignored.
    assert found["new_deposits"] - found["deposits"]["IGNORED"] == 7
    assert found["unknown"] == []  # the journal knows them all
    again = await done(
        w.config_file, "recover", "--chain", CHAIN, "--from", "0", "--addresses", "60"
    )
    assert (again["derived"], again["new_deposits"]) == (0, 0)
    await w.start()
    order = await w.order("0.25")
    await w.until(w.ended(order))
    await w.until(lambda: all_credited(w, [*made, waiting]))
    await w.tick(8)
    assert ids.items() <= (await ids_of(w)).items()
    await check(w, quiet=False)
    await sound(w.config_file)
