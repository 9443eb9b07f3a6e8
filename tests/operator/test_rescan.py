"""`rescan`: a token that is listed later, a parser that was mended, an asset that goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from chain_adapter.sandbox import reference_chain
from chain_adapter.store import blocks, schema
from tests.operator.conftest import MakeWorld, command, done, lose, sound
from tests.operator.test_disasters import all_credited, credited
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.truth import check


async def rescan(world: World, *more: str, to: int | None = None) -> Any:
    last = world.ledger.height if to is None else to
    words = ("rescan", "--chain", CHAIN, "--from", "0", "--to", str(last))
    return await done(world.config_file, *words, *more)


def without_token(world: World) -> str:
    """Take the token out of the configuration; the answer is the one with it."""
    text = world.config_file.read_text()
    world.config_file.write_text(text[: text.index(f"[chains.{CHAIN}.assets.{world.token}]")])
    return text


async def test_a_token_that_is_listed_later(either: MakeWorld) -> None:
    w = await either(start=False)
    text = without_token(w)
    await w.open(fund=False)
    await w.tick(2)
    made = [await w.deposit("3", w.token) for _ in range(3)]
    await w.tick(8)
    assert w.deposits() == []
    assert (await rescan(w))["deposits"] == []
    await w.stop()
    w.config_file.write_text(text)
    await w.start()
    await w.tick(2)
    found = await rescan(w, "--asset", w.token)
    assert sorted(row["txid"] for row in found["deposits"]) == sorted(txid for txid, _ in made)
    assert found["assets"] == [w.token]
    await w.until(lambda: all_credited(w, [txid for txid, _ in made]))
    assert (await rescan(w, "--asset", w.token))["deposits"] == []  # again: nothing new
    await w.tick(3)
    await check(w)
    await sound(w.config_file)
    looked = w.read(lambda tx: tx.all(select(schema.coverage)))
    assert {row.assets for row in looked if row.look == blocks.RESCAN} == {w.native, w.token}
    assert f"{w.native},{w.token}" in {row.assets for row in looked}


async def test_a_deposit_that_the_old_code_did_not_see(either: MakeWorld) -> None:
    """Neither method saw it: mended, both do. It is told once; what was told is told no more."""
    w = await either()
    hidden, address = await w.deposit("5")
    seen, _ = await w.deposit("6")
    way = w.ledger.endpoint("")
    way.hidden.add((hidden, None))
    await w.tick(8)
    assert await credited(w) == {seen: 1}
    way.hidden.clear()
    found = await rescan(w)
    assert [(row["txid"], row["to"]) for row in found["deposits"]] == [(hidden, address)]
    assert found["inbox"] == []
    await w.until(lambda: all_credited(w, [hidden, seen]))
    await w.tick(4)
    await check(w)
    await sound(w.config_file)


async def test_what_two_readings_do_not_agree_on_is_held(world: MakeWorld) -> None:
    w = await world()
    hidden, _ = await w.deposit("5")
    way = w.ledger.endpoint("")
    way.hidden.add((hidden, None))
    await w.tick(8)
    # The scanning method is mended, the other still sees nothing of it.
    way.hidden.clear()
    way.hidden.add((hidden, "receipts"))
    await rescan(w)
    [row] = [row for row in w.deposits() if row.txid == hidden]
    assert (row.state, row.reason) == ("HELD", "second look")
    await w.tick(4)
    assert await credited(w) == {}
    await done(w.config_file, "deposits", "release", str(row.id), "--reason", "on a third node")
    await w.until(lambda: all_credited(w, [hidden]))
    await sound(w.config_file)


async def test_more_of_a_told_deposit_goes_to_the_inbox(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction, two transfers to one address; the old code saw the first alone."""
    w = await world()
    address, _ = await w.platform.user(w.native)
    units = w.units(w.native, "1")
    txid = w.ledger.give([(address, units), (address, 2 * units)])
    shown = reference_chain.ReferenceChain._shown

    def blind(self: Any, move: Any, watch: Any, kinds: Any) -> bool:
        return bool(shown(self, move, watch, kinds)) and move.amount != 2 * units

    monkeypatch.setattr(reference_chain.ReferenceChain, "_shown", blind)
    await w.tick(10)
    assert await credited(w) == {txid: 1}
    monkeypatch.undo()
    found = await rescan(w)
    assert found["deposits"] == []
    assert [row["txid"] for row in found["inbox"]] == [txid]
    assert "late_find" in w.alarms()
    await w.tick(6)
    rows = await w.platform.deposits()
    assert [(row["txid"], row["credited"], row["duplicate"]) for row in rows] == [
        (txid, "1", False)
    ]
    await sound(w.config_file)


async def test_a_payment_of_ours_that_was_missed(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old code did not see that our transaction was included: it is found, nothing is lost."""
    w = await world()
    order = await w.order("1")
    sent = reference_chain.ReferenceChain._sent
    monkeypatch.setattr(reference_chain.ReferenceChain, "_sent", lambda *_: None)
    await w.tick(8)
    assert w.state(order) == "CLAIMED"
    monkeypatch.setattr(reference_chain.ReferenceChain, "_sent", sent)
    await rescan(w)
    await w.until(w.ended(order))
    await w.tick(2)
    await check(w, quiet=False)
    await sound(w.config_file)


async def test_without_a_daemon_it_books_and_the_next_start_tells(world: MakeWorld) -> None:
    w = await world(start=False)
    text = without_token(w)
    await w.open(fund=False)
    await w.tick(2)
    txid, _ = await w.deposit("3", w.token)
    await w.tick(8)
    await w.stop()
    w.config_file.write_text(text)
    assert len((await rescan(w))["deposits"]) == 1
    await w.start()
    await w.until(lambda: all_credited(w, [txid]))
    await sound(w.config_file)


async def test_heights_that_are_not_final_are_left_to_the_daemon(world: MakeWorld) -> None:
    w = await world()
    await w.tick(3)
    found = await rescan(w, to=w.ledger.height + 50)
    assert found["to"] == w.ledger.height - 2
    for words, says in (
        (("--from", "9", "--to", "3"), "--to: is below"),
        (("--from", "0", "--to", "3", "--asset", "NONE"), "no asset 'NONE'"),
    ):
        answer = await command(w.config_file, "rescan", "--chain", CHAIN, *words)
        assert answer.status == 2
        assert says in answer.err
    await w.stop()
    lose(w.url)
    answer = await command(w.config_file, "rescan", "--chain", CHAIN, "--from", "0", "--to", "1")
    assert (answer.status, "there is no ledger" in answer.err) == (2, True)
    await w.make_ledger()
    answer = await command(w.config_file, "rescan", "--chain", CHAIN, "--from", "0", "--to", "1")
    assert (answer.status, "was never read" in answer.err) == (2, True)
    await w.start()


# --- an asset that goes ---------------------------------------------------------------------------


def switch(config: Path, world: World, *, on: bool) -> None:
    line = f'contract = "{world.ledger.token.hex()}"\n'
    text = config.read_text().replace("enabled = false\n", "")
    config.write_text(text if on else text.replace(line, line + "enabled = false\n"))


async def test_unlisted_open_deposits_end_and_new_ones_wait_for_a_person(
    either: MakeWorld,
) -> None:
    w = await either()
    open_, _ = await w.deposit("1", w.token)
    await w.tick()
    assert [r.state for r in w.deposits() if r.txid == open_] == ["SEEN"]
    await w.stop()
    switch(w.config_file, w, on=False)
    await w.start()
    new, _ = await w.deposit("2", w.token)
    order = await w.order("1", w.token)
    await w.tick(10)
    assert await credited(w) == {open_: 1}
    [row] = [row for row in w.deposits() if row.txid == new]
    assert (row.state, row.reason) == ("IGNORED", "asset off")
    [finding] = await done(w.config_file, "inbox", "list")
    assert (finding["txid"], finding["reason"]) == (new, "asset off")
    assert "unlisted_deposit" in w.alarms()
    assert w.state(order) == "QUEUED"
    await sound(w.config_file)
    # Listed again: what came meanwhile goes on as a deposit.
    await w.stop()
    switch(w.config_file, w, on=True)
    await w.start()
    found = await rescan(w, "--asset", w.token)
    assert [one["txid"] for one in found["deposits"]] == [new]
    await w.until(lambda: all_credited(w, [open_, new]))
    await w.until(w.ended(order))
    assert [one["state"] for one in await done(w.config_file, "inbox", "list")] == ["assigned"]
    await w.tick(2)
    await check(w)
    await sound(w.config_file)


async def test_one_of_them_may_be_credited_by_a_person(world: MakeWorld) -> None:
    w = await world(token="enabled = false")
    new, _ = await w.deposit("2", w.token)
    await w.tick(8)
    [row] = [row for row in w.deposits() if row.txid == new]
    await done(w.config_file, "deposits", "release", str(row.id), "--reason", "old customer")
    await w.until(lambda: all_credited(w, [new]))
    await sound(w.config_file)
