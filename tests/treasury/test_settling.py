"""`payouts settle`: two people, evidence, and nothing that may still land."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, update

from chain_adapter.commands.signatures import at_signer
from chain_adapter.config import load
from chain_adapter.keys.journal import PayoutKey
from chain_adapter.store import schema
from chain_adapter.store.alarms import raise_alarm
from tests.keys.operators import Operators
from tests.shell.conftest import MNEMONIC, Shell, address, books, shell  # noqa: F401 - fixtures
from tests.treasury.desk import Desk, judged, payout


@pytest.fixture
def desk(books: Shell, operators: Operators) -> Desk:  # noqa: F811 - the fixture
    return Desk(books, operators)


# --- settlement -----------------------------------------------------------------------------------


def evidence(desk: Desk, text: str = "the platform's mail") -> str:
    path = desk.shell.folder / "mail from them.txt"
    path.write_text(text)
    return str(path)


def attempt(desk: Desk, one: int, **fields: Any) -> None:
    """An attempt of the payout, with a lock of its own."""

    def unit(tx: Any) -> None:
        made = tx.insert(
            insert(schema.attempts).values(
                chain="main", txid="ab" * 32, purpose="pay", sender="hot", locks='["hot/0"]',
                max_fee="1", build_height=1, salt="", built_at=1,
                **{"final": False, **fields},
            )
        )  # fmt: skip
        tx.run(insert(schema.attempt_payouts).values(attempt_id=made, payout_id=one))
        tx.run(
            insert(schema.locks).values(
                chain="main", lock="hot/0", payout_id=one, sender="hot",
                used_height=3 if fields else None, used_txid="cd" * 32 if fields else None,
            )
        )  # fmt: skip
        tx.insert_new(schema.chains, {"chain": "main"})
        tx.run(update(schema.chains).values(settled_height=5))

    desk.shell.write(unit)


def test_settle_needs_two_operators_and_evidence(desk: Desk) -> None:
    desk.with_policy()
    one = judged(desk, "77")
    words = ("payouts", "settle", str(one), "--evidence", evidence(desk))
    assert "--evidence" in desk.act(*words[:3]).err
    text = desk.to_sign(*words)
    assert "act: settle\nsubject: withdrawal REF 77\n" in text
    answer = desk.act(*words, "--signature", desk.sign("ann", text), "--json")
    assert answer.status == 1
    assert answer.document["done"] == "waits for another operator"
    assert payout(desk, one)["state"] == "QUEUED"
    done = desk.document(*words, "--signature", desk.sign("bob", text))
    assert done["state"] == "SETTLED"
    assert done["settled_by"] == "ann, bob"
    (kept,) = (desk.keystore.with_name("keystore.evidence")).iterdir()
    assert kept.read_text() == "the platform's mail"
    assert kept.name.endswith("mail_from_them.txt")

    async def marks() -> Any:
        async with at_signer(load(desk.shell.config)) as signer:
            return await signer.settled()

    (mark,) = asyncio.run(marks())
    assert (mark.payout, mark.by_whom) == (PayoutKey("withdrawal", "REF", "77"), "ann, bob")
    assert mark.evidence == done["evidence"]
    assert desk.act(*words).status == 1, "settled once"
    changed = evidence(desk, "another mail")
    assert desk.act("payouts", "settle", str(one), "--evidence", changed).status == 1


def test_settle_is_refused_while_anything_may_land(desk: Desk) -> None:
    one = judged(desk, "77")
    desk.shell.set(schema.payouts, one, state="CLAIMED", ever_claimed=True)
    attempt(desk, one)
    words = ("payouts", "settle", str(one), "--evidence", evidence(desk), "--operator", "ann")
    answer = desk.act(*words)
    assert answer.status == 1
    assert "may still land" in answer.err


def test_settle_is_refused_while_a_lock_is_unused(desk: Desk) -> None:
    one = judged(desk, "77")
    desk.shell.set(schema.payouts, one, state="CLAIMED", ever_claimed=True)
    attempt(desk, one, dead="expired at 3, final clock 4")
    desk.shell.write(lambda tx: tx.run(update(schema.locks).values(used_height=None)))
    answer = desk.act("payouts", "settle", str(one), "--evidence", evidence(desk))
    assert answer.status == 1
    assert "void it first" in answer.err


def test_without_a_policy_two_people_settle_one_after_the_other(desk: Desk) -> None:
    one = judged(desk, "77")
    desk.shell.set(schema.payouts, one, state="FINAL", held_reason="paid, not accepted")
    attempt(desk, one, final=True, ok=True)
    desk.shell.write(lambda tx: raise_alarm(tx, "paid_not_accepted", f"payout:{one}", "x", "main"))
    words = ("payouts", "settle", str(one), "--evidence", evidence(desk), "--operator")
    for _ in range(2):  # the same person twice is one person
        answer = desk.act(*words, "ann", "--json")
        assert answer.status == 1
        assert answer.document["done"] == "waits for another operator"
    done = desk.document(*words, "bob")
    assert done["settled_by"] == "ann, bob"
    shown = payout(desk, one)
    assert (shown["state"], shown["held"]) == ("SETTLED", False)
    assert desk.shell.rows("alarms", "list") == []
