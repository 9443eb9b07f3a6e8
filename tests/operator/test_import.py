"""Cut-over from another system: what it told and paid is never told or paid again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.config import load
from chain_adapter.core.states import Payout
from tests.operator.conftest import MakeWorld, command, done, sound
from tests.stories.harness import World
from tests.stories.parts import CHAIN
from tests.stories.truth import check, payments

DEPOSITS = "asset,txid,to,memo,request_id\n"
PAYOUTS = "symbol,trans_id,txid\n"


def file(world: World, text: str, name: str = "rows.csv") -> str:
    path = world.folder / name
    path.write_text(text)
    return str(path)


async def tell(world: World, txid: str, address: str, amount: str, request_id: str) -> None:
    """The system before us tells the platform, its own way."""
    from chain_adapter.platform_api.messages import DepositNotice

    await world.platform.notify_deposit(
        DepositNotice(
            request_id=request_id, symbol=world.native, txid=txid, address_to=address,
            amount=amount, confirm=10, balance="0",
        )
    )  # fmt: skip


async def old_deposits(world: World, count: int) -> list[tuple[str, str]]:
    """(txid, address) of deposits that another system has told already; nobody of ours saw them."""
    world.loop("watcher").off = True
    made = [await world.deposit(f"{number + 1}") for number in range(count)]
    await world.tick()
    for number, (txid, address) in enumerate(made):
        await tell(world, txid, address, str(number + 1), f"old-{number}")
    world.loop("watcher").off = False
    return made


async def test_what_was_told_is_not_told_again(either: MakeWorld) -> None:
    w = await either()
    made = await old_deposits(w, 4)
    new, _ = await w.deposit("9")
    rows = "".join(
        f"{w.native},{txid.upper() if n % 2 else '0x' + txid},{to},,old-{n}\n"
        for n, (txid, to) in enumerate(made)
    )
    path = file(w, DEPOSITS + rows)
    assert await done(w.config_file, "import", "deposits", path) == {"imported": 4, "known": 0}
    assert await done(w.config_file, "import", "deposits", path) == {"imported": 0, "known": 4}
    await sound(w.config_file)
    await w.until(lambda: len([r for r in w.deposits() if r.state == "CREDITED"]) == 5)
    await w.tick(5)
    told = {row["request_id"]: row["txid"] for row in await w.platform.deposits()}
    assert {f"old-{n}": txid for n, (txid, _) in enumerate(made)}.items() <= told.items()
    assert len(told) == 5
    assert new in told.values()
    rows_now = {row.txid: row for row in w.deposits() if row.state == "CREDITED"}
    assert [rows_now[txid].amount for txid, _ in made] == [
        str(w.units(w.native, str(n + 1))) for n in range(4)
    ]
    assert w.alarms() == set()
    await check(w)
    await sound(w.config_file)


async def test_without_the_import_it_would_be_doubled(world: MakeWorld) -> None:
    """Why the checklist begins with it: the platform knows the deposit under another id."""
    w = await world()
    await old_deposits(w, 1)
    await w.tick(8)
    assert [row["duplicate"] for row in await w.platform.deposits()] == [False, True]


async def test_an_imported_deposit_loses_its_block_and_comes_again(world: MakeWorld) -> None:
    w = await world()
    [(txid, to)] = await old_deposits(w, 1)
    await done(
        w.config_file, "import", "deposits", file(w, f"{DEPOSITS}{w.native},{txid},{to},,old-0\n")
    )
    await w.tick(mine=False)
    assert [r.state for r in w.deposits() if r.txid == txid] == ["CREDITED"]
    w.ledger.reorg(1, "return")
    await w.tick(1)
    assert "deep_reorg" in w.alarms()  # a person must know: the platform has credited it
    assert w.is_paused()
    await done(w.config_file, "chains", "resume", CHAIN, "--reason", "looked")
    await w.tick(8)
    assert [r.state for r in w.deposits() if r.txid == txid] == ["CREDITED"]
    assert not [row for row in await w.platform.deposits() if row["duplicate"]]
    assert len(await w.platform.deposits()) == 1


async def test_what_we_saw_but_did_not_tell_yet_ends_there(world: MakeWorld) -> None:
    """The import comes a little late: the block was read, nothing was told."""
    w = await world()
    txid, to = await w.deposit("3")
    await w.tick()
    assert [r.state for r in w.deposits() if r.txid == txid] == ["SEEN"]
    await tell(w, txid, to, "3", "old-0")
    await done(
        w.config_file, "import", "deposits", file(w, f"{DEPOSITS}{w.native},{txid},{to},,old-0\n")
    )
    await w.tick(8)
    assert len(await w.platform.deposits()) == 1
    await sound(w.config_file)
    # One that was told by us already cannot be taken back: it is said, and nothing is stored.
    other, to = await w.deposit("3")
    await w.tick(8)
    answer = await command(
        w.config_file, "import", "deposits", file(w, f"{DEPOSITS}{w.native},{other},{to},,old-1\n")
    )
    assert answer.status == 2
    assert "may have been credited twice" in answer.err


def bad_deposits(w: World, txid: str, to: str) -> list[tuple[str, str, str]]:
    good = f"{w.native},{txid},{to},,a\n"
    return [
        (DEPOSITS + good + f"{w.native},{txid},nobody,,b\n", "line 3", "no address of"),
        (DEPOSITS + f"{w.native},{txid},{w.stranger()},,b\n", "line 2", "no address of ours"),
        (DEPOSITS + good + f"NONE,{txid},{to},,b\n", "line 3", "is not configured"),
        (DEPOSITS + good + f"elsewhere/{w.native},{txid},{to},,b\n", "line 3", "not configured"),
        (DEPOSITS + good + f"{w.native},,{to},,b\n", "line 3", "txid is missing"),
        (DEPOSITS + good + f"{w.native},{txid},{to}\n", "line 3", "columns"),
        (DEPOSITS + good + f"{w.native},{txid},{to},,b\n", "line 3", "another request_id"),
        (DEPOSITS + good + f"{w.native},{'cd' * 32},{to},,a\n", "line 3", "of another deposit"),
        (DEPOSITS + good + f'{w.native},"{txid},{to},,b\n', "line 3", "no CSV"),
        (DEPOSITS + good + f"{w.native},{txid},{to},,{'x' * 65}\n", "line 3", "longer than"),
        (DEPOSITS + good + f"{w.native},{txid} x,{to},,b\n", "line 3", "holds a space"),
        ("asset,txid,to,memo\n", "", "is missing"),
        ("asset,txid,to,memo,request_id,amount\n" + good, "line 1", "'amount' is no column"),
        ("asset,asset,txid,to,request_id\n" + good, "line 1", "twice"),
        ('{"asset": "x"}\n', "line 1", "missing"),
        ('{"asset": "x"\n', "line 1", "no JSON"),
        ('{"asset": "x", "asset": "y"}\n', "line 1", "twice"),
        ('{"asset": ["x"]}\n', "line 1", "must be a text"),
        ("", "", "is empty"),
    ]


async def test_a_bad_line_is_named_and_nothing_is_stored(world: MakeWorld) -> None:
    w = await world()
    address, _ = await w.platform.user(w.native)
    for text, where, why in bad_deposits(w, "ab" * 32, address):
        if text == "asset,txid,to,memo\n":
            text += f"{w.native},{'ab' * 32},{address},\n"
        answer = await command(w.config_file, "import", "deposits", file(w, text))
        assert answer.status == 2, text
        assert where in answer.err, (text, answer.err)
        assert why in answer.err, (text, answer.err)
    assert w.deposits() == [row for row in w.deposits() if row.reason == "own address"]
    path = w.folder / "bytes.csv"
    path.write_bytes(DEPOSITS.encode() + b"\xff\xfe\n")
    answer = await command(w.config_file, "import", "deposits", str(path))
    assert "line 2: is not UTF-8" in answer.err
    answer = await command(w.config_file, "import", "deposits", str(w.folder / "none.csv"))
    assert (answer.status, "cannot read" in answer.err) == (2, True)


async def test_json_lines_say_the_same(world: MakeWorld) -> None:
    w = await world(flavour="memo")
    address, memo = await w.platform.user(w.native)
    row = {"asset": w.native, "txid": "ab" * 32, "to": address, "memo": memo, "request_id": "o"}
    lines = json.dumps(row) + "\n\n" + json.dumps({**row, "memo": "other", "request_id": "p"})
    path = file(w, lines, "rows.jsonl")
    assert await done(w.config_file, "import", "deposits", path) == {"imported": 2, "known": 0}
    kept = {row.request_id: row.memo_key for row in w.deposits() if row.txid == "ab" * 32}
    assert kept == {"o": memo, "p": "other"}
    await sound(w.config_file)


# --- payouts --------------------------------------------------------------------------------------


async def test_what_was_paid_is_not_paid_again(either: MakeWorld) -> None:
    w = await either()
    w.loop("payer").off = True
    paid, never, open_ = [await w.order(str(n)) for n in (1, 2, 3)]
    path = file(w, f"{PAYOUTS}{w.native},{paid},{'aa' * 32}\n{w.native},{never},never\n")
    assert await done(w.config_file, "import", "payouts", path) == {"imported": 2, "known": 0}
    assert await done(w.config_file, "import", "payouts", path) == {"imported": 0, "known": 2}
    w.loop("payer").off = False
    await w.until(w.ended(open_))
    await w.tick(6)
    assert w.state(paid) == Payout.SETTLED
    assert "imported_listed" in w.alarms()  # the platform still asks for it: a person tells it
    row = w.payout(never)
    assert (row.state, row.held_reason) == (Payout.QUEUED, "imported: never to be paid by us")
    assert not payments(w).get(w.recipients[paid])
    assert not payments(w).get(w.recipients[never])
    await sound(w.config_file)
    assert (await done(w.config_file, "payouts", "release", "--first", "--reason", "go")) == {
        "released": 0
    }
    # A person may still send it back.
    await done(w.config_file, "payouts", "refuse", str(row.id), "--reason", "old system said so")
    await w.until(w.ended(never, state="CANCELLED"))
    await check(w)


async def test_orders_that_came_before_the_import(world: MakeWorld) -> None:
    """The daemon was started first, and held the first page: the import still comes in time."""
    w = await world(top='first_orders = "hold"')
    paid, never, open_ = [await w.order(str(n)) for n in (1, 2, 3)]
    await w.tick(4)
    assert {w.state(one) for one in (paid, never, open_)} == {"QUEUED"}
    assert "payout_held" in w.alarms()
    path = file(w, f"{PAYOUTS}{w.native},{paid},{'aa' * 32}\n{w.native},{never},never\n")
    assert await done(w.config_file, "import", "payouts", path) == {"imported": 2, "known": 0}
    released = await done(w.config_file, "payouts", "release", "--first", "--reason", "compared")
    assert released == {"released": 1}
    await w.until(w.ended(open_))
    await w.tick(5)
    assert w.state(paid) == Payout.SETTLED
    assert w.payout(never).held_reason is not None
    assert set(payments(w)) == {w.recipients[open_]}
    later = await w.order("1")  # only the first page was held
    await w.until(w.ended(later))
    await check(w)
    await sound(w.config_file)


async def test_what_is_under_way_is_not_touched(world: MakeWorld) -> None:
    w = await world()
    order = await w.order("1")
    await w.until(w.ended(order))
    for end in ("never", "aa" * 32):
        path = file(w, f"{PAYOUTS}{w.native},{order},{end}\n")
        answer = await command(w.config_file, "import", "payouts", path)
        assert answer.status == 2
        assert "line 2" in answer.err
        assert "REPORTED here" in answer.err
    assert w.state(order) == "REPORTED"


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("REF,1,aa\nREF,1,never\n", "line 3", "says otherwise"),
        ("REF,1,aa\nNONE,2,aa\n", "line 3", "is not configured"),
        ("REF,1,aa\nREF,,aa\n", "line 3", "trans_id is missing"),
        ("REF,1,\n", "line 2", "txid is missing"),
        ("REF,1,aa\nREF,2,a b\n", "line 3", "holds a space"),
        (f"REF,{'9' * 129},aa\n", "line 2", "longer than"),
    ],
)
async def test_a_bad_payout_is_named(world: MakeWorld, text: str, where: str, why: str) -> None:
    w = await world()
    answer = await command(w.config_file, "import", "payouts", file(w, PAYOUTS + text))
    assert answer.status == 2
    assert where in answer.err
    assert why in answer.err
    assert w.payout("1") is None


async def test_a_whole_cut_over(world: MakeWorld) -> None:
    """The checklist of docs/migration.md, from an empty folder to the first payment."""
    w = await world(start=False, top='first_orders = "hold"')
    for name, decimals in w.assets.items():
        await w.platform.add_coin(name, w.native, memo=False, decimals=decimals, confirmations=4)
    theirs = [w.ledger.address(bytes([9]) * 19 + bytes([n])) for n in range(5)]
    await w.platform.register(w.native, theirs, False)
    holders = [(await w.platform.user(w.native))[0] for _ in range(3)]
    old = w.ledger.pay(holders[0], w.units(w.native, "1"))
    w.ledger.mine(8)
    await tell(w, old, holders[0], "1", "old-0")
    paid, waiting = await w.order("1"), await w.order("2")
    new = w.ledger.pay(holders[1], w.units(w.native, "5"))
    w.ledger.mine(1)
    config = w.config_file
    words: list[tuple[Any, ...]] = [
        ("addresses", "import", file(w, "\n".join(theirs), "addresses"), "--chain", CHAIN),
        ("import", "deposits", file(w, f"{DEPOSITS}{w.native},{old},{holders[0]},,old-0\n")),
        ("import", "payouts", file(w, f"{PAYOUTS}{w.native},{paid},{'aa' * 32}\n", "payouts.csv")),
        ("keys", "init", "--yes"),
    ]
    for one in words:
        await done(config, *one)
    assert load(config).chain(CHAIN).start_height == 0
    await w.start()
    await w.fund()
    await w.tick(8)
    assert {w.state(waiting), w.state(paid)} == {"QUEUED", "SETTLED"}
    await done(config, "payouts", "release", "--first", "--reason", "compared with the old books")
    await w.until(w.ended(waiting))
    rows = await w.platform.deposits()
    assert sorted((row["txid"], row["duplicate"]) for row in rows) == sorted(
        [(old, False), (new, False)]
    )
    assert set(payments(w)) == {w.recipients[waiting]}
    await sound(config)


def test_checklist_is_written() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "migration.md").read_text()
    for words in ("addresses import", "import deposits", "import payouts", "start_height",
                  "payouts release --first", "db check"):  # fmt: skip
        assert words in text
