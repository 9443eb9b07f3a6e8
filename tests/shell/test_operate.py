"""What an operator decides moves a row along an edge, once, with who and why, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert

from chain_adapter.core.states import Deposit
from chain_adapter.store import schema
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.store import Tx
from tests.shell.conftest import Shell, address


def payout(books: Shell, payout_id: int) -> Any:
    return books.rows("payouts", "show", str(payout_id))


def test_hold_and_release(books: Shell) -> None:
    one = books.order("77")
    answer = books.act("payouts", "hold", str(one), reason="user  called")
    assert answer.status == 0
    held = payout(books, one)
    assert (held["state"], held["held"], held["held_reason"]) == ("QUEUED", True, "user  called")
    assert held["held_by"]
    assert books.act("payouts", "hold", str(one)).status == 1
    assert [row["id"] for row in books.rows("payouts", "list", "--held")] == [one]
    assert books.act("payouts", "release", str(one), reason="fine").status == 0
    assert payout(books, one)["held"] is False
    again = books.act("payouts", "release", str(one))
    assert again.status == 1
    assert "not held" in again.err
    assert books.rows("payouts", "list", "--held") == []
    said = {what: detail["reason"] for what, detail in books.events(f"payout:{one}")
            if "reason" in detail}  # fmt: skip
    assert (said["held"], said["released"]) == ("user  called", "fine")


def test_refuse_sends_it_back_and_cannot_be_done_twice(books: Shell) -> None:
    one = books.order("78")
    answer = books.act("payouts", "refuse", str(one), "--json", reason="fraud")
    assert answer.document["state"] == "REFUSED"
    (message,) = books.rows("outbox", "list")
    assert (message["call"], message["subject"]) == ("withdraw/cancel", f"payout:{one}")
    again = books.act("payouts", "refuse", str(one))
    assert again.status == 1
    assert "REFUSED" in again.err
    assert len(books.rows("outbox", "list")) == 1


def test_what_was_claimed_cannot_be_refused(books: Shell) -> None:
    one = books.order("79")
    books.set(schema.payouts, one, state="CLAIMED", ever_claimed=True)
    answer = books.act("payouts", "refuse", str(one))
    assert answer.status == 1
    assert "CLAIMED" in answer.err
    assert payout(books, one)["state"] == "CLAIMED"


def test_the_first_page_of_a_new_ledger(books: Shell) -> None:
    held = [books.order(str(n), hold=True) for n in range(3)]
    other = books.order("9")
    books.act("payouts", "hold", str(other))
    answer = books.act("payouts", "release", "--first", "--json")
    assert answer.document == {"released": 3}
    assert [row["id"] for row in books.rows("payouts", "list", "--held")] == [other]
    assert all(not payout(books, one)["held"] for one in held)


@pytest.mark.parametrize("words", [[], ["1", "--first"]])
def test_release_wants_one_of_id_and_first(books: Shell, words: list[str]) -> None:
    answer = books.act("payouts", "release", *words)
    assert answer.status == 2
    assert "give an ID, or --first" in answer.err


def test_a_payout_is_named_by_id_before_trans_id(books: Shell) -> None:
    first = books.order("2")
    second = books.order("9001")
    assert (first, second) == (1, 2)
    assert payout(books, 2)["trans_id"] == "9001"
    assert payout(books, 9001)["id"] == second


def test_a_name_of_several_is_refused(books: Shell) -> None:
    books.order("900")
    books.order("900", symbol="USDX")
    answer = books("payouts", "show", "900")
    assert answer.status == 1
    assert "names several" in answer.err


# --- deposits -------------------------------------------------------------------------------------


def settled(books: Shell, height: int) -> None:
    def unit(tx: Tx) -> None:
        tx.insert_new(schema.chains, {"chain": "main"})
        tx.run(schema.chains.update().values(settled_height=height, identity="ref:1"))

    books.write(unit)


def state_of(books: Shell, deposit_id: int) -> str:
    return str(next(r["state"] for r in books.rows("deposits", "list") if r["id"] == deposit_id))


def test_release_of_a_deposit_that_is_not_final(books: Shell) -> None:
    one = books.deposit()
    settled(books, 5)
    assert books.act("deposits", "release", str(one), reason="proved").status == 0
    assert state_of(books, one) == "SEEN"
    assert books.rows("outbox", "list") == []
    assert books.act("deposits", "release", str(one)).status == 1


def test_release_of_a_final_deposit_tells_the_platform(books: Shell) -> None:
    one = books.deposit()
    settled(books, 50)
    assert books.act("deposits", "release", str(one)).status == 0
    assert state_of(books, one) == "CONFIRMED"
    (message,) = books.rows("outbox", "list")
    assert (message["call"], message["depth"]) == ("deposit/notify", 3)


def test_ignore(books: Shell) -> None:
    one = books.deposit()
    assert books.act("deposits", "ignore", str(one), reason="ours").status == 0
    assert state_of(books, one) == "IGNORED"
    assert books.act("deposits", "ignore", str(one)).status == 1
    assert any(detail.get("why") == "ours" for _, detail in books.events(f"deposit:{one}"))


def test_what_is_credited_is_neither_released_nor_ignored(books: Shell) -> None:
    one = books.deposit(Deposit.CREDITED)
    for word in ("release", "ignore"):
        assert books.act("deposits", word, str(one)).status == 1
    assert state_of(books, one) == "CREDITED"


# --- outbox, inbox, alarms ------------------------------------------------------------------------


def test_outbox_retry(books: Shell) -> None:
    for trans_id in ("1", "2", "3"):
        books.act("payouts", "refuse", str(books.order(trans_id)))
    for item in (1, 2):
        books.set(schema.outbox, item, state="parked", tries=6)
    assert books.act("outbox", "retry", "1", "--json").document["retried"] == 1
    states = {row["id"]: (row["state"], row["tries"]) for row in books.rows("outbox", "list")}
    assert states == {1: ("open", 0), 2: ("parked", 6), 3: ("open", 0)}
    assert books.act("outbox", "retry", "--all", "--json").document["retried"] == 1
    assert books.rows("outbox", "list", "--state", "parked") == []
    assert books.act("outbox", "retry", "99").status == 1
    assert books.act("outbox", "retry").status == 2


def test_inbox_dismiss(books: Shell) -> None:
    values = {
        "chain": "main", "asset": "REF", "txid": "aa", "to": address(1), "memo_key": "",
        "amount": "5", "height": 3, "reason": "late", "state": "open", "opened_at": 1,
    }  # fmt: skip
    one = books.write(lambda tx: tx.insert(insert(schema.inbox).values(**values)))
    assert books.act("inbox", "dismiss", str(one), reason="a test").status == 0
    (row,) = books.rows("inbox", "list")
    assert (row["state"], row["note"]) == ("dismissed", "a test")
    assert books.act("inbox", "dismiss", str(one)).status == 1
    assert books.rows("inbox", "list", "--state", "open") == []


def alarm(books: Shell, code: str, subject: str) -> int:
    books.write(lambda tx: raise_alarm(tx, code, subject, "look at it"))
    return int(books.rows("alarms", "list")[-1]["id"])


def test_alarm_ack_once(books: Shell) -> None:
    one = alarm(books, "order_bad", "consume:REF")
    assert books.act("alarms", "ack", str(one), reason="asked them").status == 0
    (row,) = books.rows("alarms", "list")
    assert (row["state"], row["acknowledged_reason"], row["count"]) == (
        "acknowledged", "asked them", 1,
    )  # fmt: skip
    assert books.act("alarms", "ack", str(one)).status == 1


def test_ack_of_a_foreign_use_lets_the_account_sign_again(books: Shell) -> None:
    values = {
        "chain": "main", "txid": "ff", "sender": address(1), "locks": "[]", "height": 4,
        "block_hash": "h4", "fee": "0", "moved": "[]", "ok": True,
    }  # fmt: skip
    books.write(lambda tx: tx.run(insert(schema.foreign_uses).values(**values)))
    one = alarm(books, "foreign_use", "main:ff")
    assert books.act("alarms", "ack", str(one)).status == 0
    by = books.write(lambda tx: tx.value(schema.foreign_uses.select().with_only_columns(
        schema.foreign_uses.c.acknowledged_by)))  # fmt: skip
    assert by
    assert books.rows("alarms", "list") == []
    assert books.rows("alarms", "list", "--all")[0]["state"] == "closed"


# --- pauses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("chains", "main"), ("assets", "main/USDX")])
def test_pause_and_resume(books: Shell, kind: str, name: str) -> None:
    assert books.act(kind, "pause", name, reason="fork").status == 0
    again = books.act(kind, "pause", name, "--json")
    assert (again.status, again.document["done"]) == (0, "was paused already")
    chain = books.rows("status")["chains"]["main"]
    assert (chain["paused"], chain["paused_assets"]) == (
        ("fork", []) if kind == "chains" else (None, ["USDX"])
    )
    assert books.act(kind, "resume", name).status == 0
    assert books.rows("status")["chains"]["main"]["paused"] is None
    assert books.act(kind, "resume", name).status == 1


def test_resume_lets_deposits_go_on_that_were_held_for_the_pause_alone(books: Shell) -> None:
    settled(books, 50)
    waits = books.deposit(reason="paused")
    refuted = books.deposit(reason="proof refuted", txid="cd" * 32)
    books.act("chains", "pause", "main")
    answer = books.act("chains", "resume", "main", "--json")
    assert answer.document["confirmed"] == 1
    assert (state_of(books, waits), state_of(books, refuted)) == ("CONFIRMED", "HELD")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chains", "pause", "mian"], "no chain 'mian' is configured: there is main"),
        (["assets", "pause", "main"], "write CHAIN/NAME"),
        (["assets", "pause", "main/DAI"], "has no asset 'DAI': configured are REF, USDX"),
    ],
)
def test_pause_of_nothing(books: Shell, words: list[str], says: str) -> None:
    answer = books.act(*words)
    assert answer.status == 2
    assert says in answer.err


# --- nothing there --------------------------------------------------------------------------------

NOWHERE: list[list[str]] = [
    ["payouts", "hold", "5"], ["payouts", "release", "5"], ["payouts", "refuse", "5"],
    ["deposits", "release", "5"], ["deposits", "ignore", "x"], ["outbox", "retry", "5"],
    ["inbox", "dismiss", "5"], ["alarms", "ack", "99999999999999999999"],
]  # fmt: skip


@pytest.mark.parametrize("words", NOWHERE, ids=" ".join)
def test_an_unknown_id_changes_nothing(books: Shell, words: list[str]) -> None:
    answer = books.act(*words)
    assert answer.status == 1
    assert answer.out == ""
    assert answer.err.startswith("chain-adapter: there is no ")


READ: list[Callable[[Shell], Any]] = [
    lambda shell: shell("status"),
    lambda shell: shell("payouts", "list"),
    lambda shell: shell.act("payouts", "hold", "1"),
    lambda shell: shell("why", "x"),
]


@pytest.mark.parametrize("ask", READ, ids=["status", "list", "hold", "why"])
def test_without_a_ledger_nothing_is_made(shell: Shell, ask: Callable[[Shell], Any]) -> None:
    answer = ask(shell)
    assert answer.status == 2
    assert "keys init" in answer.err
    assert not (shell.folder / "books").exists()


def test_a_database_of_a_newer_version(books: Shell) -> None:
    books.write(lambda tx: tx.run(
        schema.meta.update().where(schema.meta.c.key == "schema").values(value="99")
    ))  # fmt: skip
    answer = books("status")
    assert answer.status == 2
    assert "newer version" in answer.err


def test_a_database_that_does_not_answer(shell: Shell) -> None:
    text = shell.config.read_text().replace(shell.url, "postgresql://me@127.0.0.1:9/nobody")
    shell.config.write_text(text)
    answer = shell("status")
    assert answer.status == 3
    assert "database" in answer.err
