"""A chain, an asset, its decimals and its contract keep their names, or nothing starts."""

from __future__ import annotations

import pytest

from chain_adapter.errors import ConfigError
from tests.operator.conftest import MakeWorld
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.truth import check


async def moved(make: MakeWorld) -> World:
    """A world in which every asset has been used."""
    w = await make()
    for symbol in w.assets:
        await w.deposit("1", symbol)
    order = await w.order("1", w.token)
    await w.until(w.ended(order))
    await w.tick(6)
    await w.stop()
    return w


async def refused(w: World, old: str, new: str, says: str) -> None:
    text = w.config_file.read_text()
    assert old in text
    w.config_file.write_text(text.replace(old, new))
    try:
        with pytest.raises(ConfigError, match=says):
            await w.start()
    finally:
        w.config_file.write_text(text)


async def test_every_name_is_held_to(either: MakeWorld) -> None:
    w = await moved(either)
    token = w.ledger.token.hex()
    for old, new, says in (
        (f"[chains.{CHAIN}", "[chains.renamed", "a chain keeps its name"),
        (f".assets.{w.token}]", f".assets.TETHER]\nsymbol = \"{w.token}\"", "an asset keeps its"),
        (f"contract = \"{token}\"\ndecimals = 6", f"contract = \"{token}\"\ndecimals = 8",
         "have 6 decimals, configured are 8"),
        (token, "ab" * 20, "another token needs another name"),
    ):  # fmt: skip
        await refused(w, old, new, says)
    await w.start()
    order = await w.order("1", w.token)
    await w.until(w.ended(order))
    await check(w)


async def test_what_is_under_way_needs_its_asset(world: MakeWorld) -> None:
    w = await world()
    w.loop("payer").off = True
    order = await w.order("1", w.token)
    await w.tick(3)
    await w.stop()
    text = w.config_file.read_text()
    at = text.index(f"[chains.{CHAIN}.assets.{w.token}]")
    w.config_file.write_text(text[:at])
    with pytest.raises(ConfigError, match="enabled = false"):
        await w.start()
    w.config_file.write_text(text.replace(f".assets.{w.token}]", f'.assets.{w.token}]\nsymbol="X"'))
    with pytest.raises(ConfigError, match="under way are told as symbol"):
        await w.start()
    w.config_file.write_text(text)
    await w.start()
    await w.until(w.ended(order))


async def test_what_was_never_used_may_be_set_right(world: MakeWorld) -> None:
    """A typing error on the first day is mended without a word."""
    w = await world(fund=False)
    await w.stop()
    text = w.config_file.read_text()
    w.config_file.write_text(text.replace(w.ledger.token.hex(), "cd" * 20))
    await w.start()


async def test_a_chain_that_is_given_up_stays_switched_off(world: MakeWorld) -> None:
    w = await moved(world)
    text = w.config_file.read_text()
    other = (
        text.replace(f"chains.{CHAIN}", "chains.other").replace("REF", "OTH").replace("USDX", "O2")
    )
    at = other.index("[chains.other]")
    off = text.replace(f"[chains.{CHAIN}]", f"[chains.{CHAIN}]\nenabled = false")
    w.config_file.write_text(off + other[at:])
    try:
        await w.start()  # the same network under another name: its first answer is refused
        w.known_trouble = (Exception,)
        await w.tick(2)
        assert any("stands there once" in str(error) for one in w.daemon.loops
                   for error in one.errors)  # type: ignore[attr-defined]  # fmt: skip
    finally:
        w.config_file.write_text(text)
