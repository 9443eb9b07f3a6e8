"""What operators do at the command line, with the real signer process behind it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from chain_adapter.clock import SystemClock
from chain_adapter.commands.signatures import at_signer
from chain_adapter.config import load
from chain_adapter.demo.parts import wait_until
from chain_adapter.keys.journal import PayoutKey
from chain_adapter.store import ledger, schema
from chain_adapter.store.alarms import raise_alarm
from tests.keys.operators import Operators
from tests.shell.conftest import MNEMONIC, Shell, address, books, shell  # noqa: F401 - fixtures
from tests.treasury.desk import Desk


@pytest.fixture
def desk(books: Shell, operators: Operators) -> Desk:  # noqa: F811 - the fixture
    return Desk(books, operators)


def judged(desk: Desk, trans_id: str, amount: str = "5") -> int:
    """An order that the payer has screened."""
    one = desk.shell.order(trans_id, amount)
    units = str(int(float(amount) * 10**9))
    desk.shell.set(schema.payouts, one, to=address(1), amount=units)
    return one


def payout(desk: Desk, one: int) -> Any:
    return desk.shell.rows("payouts", "show", str(one))


# --- policy ---------------------------------------------------------------------------------------


def test_policy_check_says_what_it_allows_or_what_is_wrong(desk: Desk) -> None:
    good = desk.policy("ann", "bob")
    document = desk.shell.rows("policy", "check", str(good))
    assert document["ok"]
    assert document["assets"]["REF"]["per_transaction"] == "100"
    assert document["operators"] == ["ann", "bob"]
    assert "asset USDX is not in it: nothing of it is allowed" in document["warnings"]
    bad = desk.shell.folder / "bad.toml"
    bad.write_text(good.read_text().replace("[assets.REF]", "[assets.RFE]", 1))
    answer = desk("policy", "check", str(bad), "--json")
    assert answer.status == 1
    assert "RFE" in answer.document["reason"]


def test_without_a_policy_show_and_check_say_so(desk: Desk) -> None:
    answer = desk("policy", "show")
    assert answer.status == 0
    assert "no policy is in force" in answer.out
    warnings = desk("check", "--json").document["warnings"]
    assert any("none is in force" in one for one in warnings)


def test_a_new_policy_needs_the_operators_of_the_old_one(desk: Desk) -> None:
    first = desk.with_policy()
    shown = desk.shell.rows("policy", "show")
    assert shown["assets"]["REF"]["per_transaction"] == "100"
    new = desk.policy("ann", "bob", "eve", most="200")
    text = desk.to_sign("policy", "propose", str(new))
    answer = desk.act("policy", "approve", str(new), "--signature", desk.sign("ann", text))
    assert answer.status == 1
    assert "waits" in answer.err
    assert desk.shell.rows("policy", "show")["digest"] == shown["digest"]
    done = desk.document("policy", "approve", str(new), "--signature", desk.sign("bob", text))
    assert done["in_force"]
    assert desk.shell.rows("policy", "show")["assets"]["REF"]["per_transaction"] == "200"
    assert first.exists()
    found = [one for one in desk("check", "--json").document["checks"] if one["check"] == "policy"]
    assert any("ann, bob, eve" in one["detail"] for one in found)
    assert any("differs from the policy in force" in one["detail"] for one in found)


def test_a_policy_approved_by_a_stranger_is_not_in_force(desk: Desk) -> None:
    desk.with_policy("ann", "bob")
    new = desk.policy("ann", "bob", most="200")
    text = desk.to_sign("policy", "propose", str(new))
    answer = desk.act("policy", "approve", str(new), "--signature", desk.sign("eve", text))
    assert answer.status == 1
    assert "no operator's" in answer.err


# --- kill and resume ------------------------------------------------------------------------------


def test_kill_by_file_while_no_signer_runs_and_resume_by_an_operator(desk: Desk) -> None:
    desk.with_policy()
    done = desk.document("kill")
    assert done["told_signer"] is False
    file = Path(done["file"])
    assert file == desk.keystore.with_name("keystore.kill")
    assert "signing_stopped" in {row["code"] for row in desk.shell.rows("alarms", "list")}
    text = desk.to_sign("resume")
    # the file alone is not the switch any more: the journal has it
    assert desk.act("resume", "--signature", desk.sign("eve", text)).status == 1
    done = desk.document("resume", "--signature", desk.sign("ann", text))
    assert done["done"] == "signing goes on"
    assert not file.exists()
    assert desk.shell.rows("alarms", "list") == []
    assert desk.document("resume")["done"] == "the kill switch was not on"


def test_kill_reaches_a_signer_that_runs(desk: Desk) -> None:
    words = ["signer", "--config", str(desk.shell.config)]
    signer = subprocess.Popen(
        [sys.executable, "-m", "chain_adapter.cli", *words], stderr=subprocess.DEVNULL
    )
    socket = desk.keystore.with_name("keystore.signer.sock")

    async def listens() -> bool:
        return socket.exists()

    try:
        asyncio.run(wait_until("the signer's socket", listens, 60))
        assert desk.document("kill")["told_signer"] is True
        assert status(desk).killed.startswith("because (")
        assert desk.document("resume")["done"] == "signing goes on"
        assert status(desk).killed is None
    finally:
        signer.terminate()
        assert signer.wait(timeout=20) == 0


def status(desk: Desk) -> Any:
    async def ask() -> Any:
        async with at_signer(load(desk.shell.config)) as signer:
            return await signer.status()

    return asyncio.run(ask())


# --- approvals ------------------------------------------------------------------------------------


def test_payouts_approve(desk: Desk) -> None:
    desk.with_policy()
    one, other = judged(desk, "77"), judged(desk, "78")
    text = desk.to_sign("payouts", "approve", str(one))
    assert "subject: withdrawal REF 77\n" in text
    signature = desk.sign("ann", text)
    done = desk.document("payouts", "approve", str(one), "--signature", signature)
    assert done["approved_by"] == ["ann"]
    told = [detail for what, detail in desk.shell.events(f"payout:{one}") if what == "approved"]
    assert [(one["operator"], one["reason"]) for one in told] == [("ann", "because")]
    wrong = desk.act("payouts", "approve", str(other), "--signature", signature)
    assert wrong.status == 2
    assert "approves something else" in wrong.err
    stranger = desk.act("payouts", "approve", str(one), "--signature", desk.sign("eve", text))
    assert stranger.status == 1
    assert "no operator's" in stranger.err


def test_there_is_nothing_to_approve_without_operators(desk: Desk) -> None:
    one = judged(desk, "77")
    text = desk.to_sign("payouts", "approve", str(one))
    answer = desk.act("payouts", "approve", str(one), "--signature", desk.sign("ann", text))
    assert answer.status == 1
    assert "no policy" in answer.err


def test_an_order_that_was_not_judged_cannot_be_approved(desk: Desk) -> None:
    one = desk.shell.order("77")
    answer = desk.act("payouts", "approve", str(one))
    assert answer.status == 1
    assert "not judged" in answer.err


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


# --- deposits -------------------------------------------------------------------------------------


def test_deposits_approve(desk: Desk) -> None:
    from chain_adapter.core.states import Deposit
    from chain_adapter.keys.gate import Credit
    from chain_adapter.store import outbox

    desk.with_policy()
    one = desk.shell.deposit(Deposit.CONFIRMED, request_id="r1", amount="15000000000")
    body = {"request_id": "r1", "address_to": address(2), "txid": "ab" * 32, "amount": "15"}
    desk.shell.write(
        lambda tx: outbox.put(
            tx, dedupe_key="deposit:r1", call="deposit/notify", symbol="REF", chain="main",
            subject=f"deposit:{one}", body=body,
        )
    )  # fmt: skip
    text = desk.to_sign("deposits", "approve", str(one))
    done = desk.document("deposits", "approve", str(one), "--signature", desk.sign("ann", text))
    assert done["approved_by"] == ["ann"]
    from chain_adapter.keys.process import child_argv, end_child, start_child

    async def credit() -> None:
        signer, process = await start_child(child_argv(desk.shell.config))
        try:
            await signer.check_credit(Credit("r1", "REF", "ab" * 32, address(2), 15 * 10**9))
        finally:
            await end_child(signer, process)

    asyncio.run(credit())


# --- keys -----------------------------------------------------------------------------------------


def test_addresses_are_those_of_init(desk: Desk) -> None:
    rows = desk.shell.rows("keys", "addresses", "--count", "3", "--from", "7")
    made = {row["role"]: row["address"] for row in desk.shell.rows("addresses", "list")}
    assert {r["role"]: r["address"] for r in rows if r["role"] != "deposit"} == made
    assert [row["index"] for row in rows if row["role"] == "deposit"] == [7, 8, 9]
    assert rows[-1]["path"].endswith("/1'/0/9")


def test_backup_and_its_check(desk: Desk) -> None:
    folder = desk.shell.folder / "copy"
    made = desk.shell.rows("keys", "backup", str(folder))
    assert set(made["files"]) == {
        "keystore.json", "keystore.public.json", "keystore.journal.db"
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("keystore*"))
    assert desk("keys", "backup", str(folder)).status == 2
    words = desk.shell.write_secret("words-again", MNEMONIC)
    check = ("keys", "restore-check", str(folder), "--mnemonic-file", str(words))
    document = desk.shell.rows(*check)
    assert document["ok"]
    assert [row["check"] for row in document["checks"]] == [
        "files", "keystore", "public keys", "journal", "addresses of main", "mnemonic"
    ]  # fmt: skip
    other = desk.shell.write_secret("other", "zoo " * 11 + "wrong")
    answer = desk("keys", "restore-check", str(folder), "--mnemonic-file", str(other), "--json")
    assert answer.status == 1
    assert [row["check"] for row in answer.document["checks"] if not row["ok"]] == ["mnemonic"]


@pytest.mark.parametrize("name", ["keystore.json", "keystore.public.json", "keystore.journal.db"])
def test_a_damaged_backup_is_told(desk: Desk, name: str) -> None:
    folder = desk.shell.folder / "copy"
    desk.shell.rows("keys", "backup", str(folder))
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    answer = desk("keys", "restore-check", str(folder), "--json")
    assert answer.status == 1
    failed = [row for row in answer.document["checks"] if not row["ok"]]
    assert failed[0]["check"] == "files"
    assert name in failed[0]["detail"]


def test_a_backup_of_other_keys_is_told(desk: Desk, tmp_path: Path) -> None:
    folder = desk.shell.folder / "copy"
    desk.shell.rows("keys", "backup", str(folder))
    with closing(sqlite3.connect(folder / "keystore.journal.db")) as journal:
        journal.execute("UPDATE meta SET value = 'other' WHERE key = 'journal_id'")
        journal.commit()
    manifest = json.loads((folder / "backup.json").read_text())
    del manifest["files"]["keystore.journal.db"]
    (folder / "backup.json").write_text(json.dumps(manifest))
    answer = desk("keys", "restore-check", str(folder), "--json")
    assert answer.status == 1
    assert "exchanged" in str(answer.document)


def test_import_makes_the_keystore_of_a_mnemonic(shell: Shell) -> None:  # noqa: F811
    words = shell.write_secret("words", MNEMONIC)
    rows = shell.rows("keys", "import", str(words))
    assert {row["role"] for row in rows} == {"hot", "gas"}
    assert rows == shell.init()


def test_dice_must_be_thrown_often(shell: Shell) -> None:  # noqa: F811
    few = shell.write_secret("dice", "123456")
    answer = shell("keys", "init", "--yes", "--entropy-file", str(few))
    assert answer.status == 2
    assert "at least 50" in answer.err
    many = shell.write_secret("dice", "123456" * 17)
    assert shell("keys", "init", "--yes", "--entropy-file", str(many)).status == 0


def test_the_ceremony_is_printed_for_this_configuration(desk: Desk) -> None:
    answer = desk("keys", "ceremony")
    assert str(desk.keystore) in answer.out
    assert "restore-check" in answer.out


# --- the logs -------------------------------------------------------------------------------------


def test_events_verify(desk: Desk) -> None:
    desk.with_policy()
    judged(desk, "77")
    document = desk.shell.rows("events", "verify")
    assert document["ok"]
    assert {"books: ledger", "books: main", "signer"} <= {one["log"] for one in document["chains"]}
    signer = document["chains"][-1]
    assert signer["entries"] >= 1, "the first policy is in the signer's log"
    table = schema.events
    desk.shell.write(
        lambda tx: tx.run(
            update(table).where(table.c.scope == "main", table.c.seq == 1).values(detail="{}")
        )
    )
    answer = desk("events", "verify", "--books", "--json")
    assert answer.status == 1
    (bad,) = [one for one in answer.document["chains"] if one["trouble"]]
    assert bad["trouble"] == "event 1 was changed"


def test_a_changed_signers_log_is_told(desk: Desk) -> None:
    desk.with_policy()
    assert desk.shell.rows("events", "verify")["ok"]
    journal = desk.keystore.with_name("keystore.journal.db")
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("UPDATE events SET detail = '{}'")
        connection.commit()
    answer = desk("events", "verify", "--json")
    assert answer.status == 1
    assert "entry 1 was changed" in str(answer.document)


def test_books_that_were_cut_off_are_told(desk: Desk) -> None:
    judged(desk, "77")
    table = schema.events
    desk.shell.write(
        lambda tx: tx.run(
            table.delete().where(
                table.c.scope == "main",
                table.c.seq
                == tx.value(select(table.c.seq).where(table.c.scope == "main")
                            .order_by(table.c.seq.desc()).limit(1)),
            )
        )
    )  # fmt: skip
    answer = desk("events", "verify", "--books", "--json")
    assert answer.status == 1
    assert "the books end with" in str(answer.document)


def test_the_ledger_opens_after_all(desk: Desk) -> None:
    ledger.open_ledger(desk.shell.url, SystemClock()).close()
