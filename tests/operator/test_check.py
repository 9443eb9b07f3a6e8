"""`db check` finds what somebody changed behind the program's back, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from chain_adapter.clock import SystemClock
from chain_adapter.store import schema
from chain_adapter.store.store import Store, Tx
from tests.operator.conftest import MakeWorld, command, sound
from tests.operator.test_disasters import busy

TAMPERING = {
    "a deposit's amount": (
        "UPDATE deposits SET amount = '999999' WHERE state = 'CREDITED'",
        ("sums: deposit", "told amounts: deposit"),
    ),
    "an id that would be credited again": (
        "UPDATE deposits SET request_id = 'other' WHERE id = "
        "(SELECT min(id) FROM deposits WHERE state = 'CREDITED')",
        ("request ids: deposit",),
    ),
    "a state that nobody moved": (
        "UPDATE deposits SET state = 'IGNORED' WHERE id = "
        "(SELECT min(id) FROM deposits WHERE state = 'CREDITED')",
        ("histories: deposit",),
    ),
    "a payout that is to be paid again": (
        "UPDATE payouts SET state = 'QUEUED' WHERE id = (SELECT min(id) FROM payouts)",
        ("histories: payout",),
    ),
    "a payout that goes back although it was paid": (
        "UPDATE payouts SET state = 'CANCELLED' WHERE id = (SELECT min(id) FROM payouts)",
        ("payments: payout", "goes back"),
    ),
    "a second payment": (
        "UPDATE attempt_payouts SET payout_id = (SELECT min(id) FROM payouts) WHERE attempt_id = "
        "(SELECT max(attempt_id) FROM attempt_payouts)",
        ("was paid twice",),
    ),
    "a lock of another payout": (
        "UPDATE locks SET payout_id = (SELECT min(id) FROM payouts)",
        ("locks: attempt",),
    ),
    "a lock that is gone": ("DELETE FROM locks", ("nobody holds",)),
    "an event that was changed": (
        "UPDATE events SET detail = '{}' WHERE scope = 'ref' AND seq = 3",
        ("event chain: ref: event 3",),
    ),
    "an event that is missing": (
        "DELETE FROM events WHERE scope = 'ref' AND seq = 4",
        ("event 4 is missing",),
    ),
    "the last event": (
        "DELETE FROM events WHERE scope = 'ref' AND seq = "
        "(SELECT seq FROM event_heads WHERE scope = 'ref')",
        ("the head names event",),
    ),
    "a hole in what was read": (
        "UPDATE coverage SET to_height = to_height - 3 WHERE look = 1",
        ("were not read",),
    ),
    "a message that is gone": (
        "DELETE FROM outbox WHERE call = 'deposit/notify'",
        ("and no answer acknowledged it",),
    ),
    "a transfer that is gone": ("DELETE FROM transfers", ("sums: deposit",)),
    "an address that is gone": (
        "DELETE FROM addresses WHERE idx = 1 AND account = 1",
        ("deposit addresses, the highest index",),
    ),
    "another address": (
        "UPDATE addresses SET key = :key WHERE idx = 2 AND account = 1",
        ("is not what our keys give",),
    ),
    "an amount that is no number": (
        "UPDATE payouts SET fee = '1e5' WHERE id = (SELECT min(id) FROM payouts)",
        ("amounts: payout",),
    ),
    "another ledger": (
        "UPDATE meta SET value = 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd' WHERE key = 'ledger_id'",
        ("different ledgers",),
    ),
}


async def test_sound_books_are_sound(either: MakeWorld) -> None:
    w = await either()
    await sound(w.config_file)
    _, asked = await busy(w, 5, 5)
    for _ in range(12):
        await w.tick(s=0.5)
        await sound(w.config_file)  # at every moment of every payment
    await w.until(w.ended(*asked))
    w.ledger.reorg(2, "return")
    await w.tick(6)
    await sound(w.config_file)


async def test_it_finds_what_was_changed(either: MakeWorld) -> None:
    """One change after another; the tables are put back between them."""
    w = await either()
    made, asked = await busy(w, 5, 4)
    await w.until(w.ended(*asked))
    await w.tick(6)
    assert len(made) == 5
    await w.stop()
    for what, (statement, says) in TAMPERING.items():
        undo = _change(w.url, statement)
        try:
            answer = await command(w.config_file, "db", "check", "--json")
            assert answer.status == 1, f"{what}: not found"
            problems = "\n".join(answer.document["problems"])
            for one in says:
                assert one in problems, f"{what}: {problems}"
        finally:
            undo()
    await sound(w.config_file)
    await w.start()


def _change(url: str, statement: str) -> Callable[[], None]:
    """Make a change; the answer puts the tables back as they were."""
    store = Store(url, SystemClock())
    tables = schema.metadata.sorted_tables
    before = store.read_now(
        lambda tx: {t.name: [dict(r._mapping) for r in tx.all(t.select())] for t in tables}
    )

    def change(tx: Tx) -> None:
        if store.is_sqlite:
            tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        values = {"key": b"\x01" * 20} if ":key" in statement else {}
        tx.connection.execute(text(statement), values)

    store.write_now(change)

    def undo() -> None:
        def unit(tx: Tx) -> None:
            for table in reversed(tables):
                tx.run(table.delete())
            for table in tables:
                if before[table.name]:
                    tx.run(table.insert(), before[table.name])

        store.write_now(unit)
        store.close()

    return undo


@pytest.mark.parametrize("words", [("db", "check"), ("db", "check", "--json")])
async def test_its_answer_for_people_and_programs(world: MakeWorld, words: tuple[str, ...]) -> None:
    w = await world()
    answer = await command(w.config_file, *words)
    assert answer.status == 0
    if "--json" in words:
        assert answer.document["ok"]
        assert {one["check"] for one in answer.document["checks"]} >= {"event chain", "locks"}
    else:
        assert "ok" in answer.out
        assert "WRONG" not in answer.out
