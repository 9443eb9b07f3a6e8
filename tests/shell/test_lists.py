"""Lists and `why`: flat rows in the words of the books, the same for people and programs."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import insert

from chain_adapter.core.states import Deposit
from chain_adapter.store import schema
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx
from tests.shell.conftest import Shell, address

LISTS = ["deposits", "payouts", "outbox", "inbox", "alarms", "events", "addresses"]


@pytest.mark.parametrize("what", LISTS)
def test_every_list_on_both_databases(any_shell: Shell, what: str) -> None:
    any_shell.init()
    rows = any_shell.rows(what, "list")
    assert isinstance(rows, list)
    assert (rows == []) == (what not in ("events", "addresses"))
    assert any_shell(what, "list").status == 0


def test_deposits(books: Shell) -> None:
    books.deposit(Deposit.SEEN, amount="5", txid="aa")
    one = books.deposit(
        Deposit.HELD, amount=str(10**30), remainder="7", memo="x", memo_hex="78", txid="bb"
    )
    (row,) = books.rows("deposits", "list", "--state", "held")
    assert row["id"] == one
    assert row["amount"] == "1" + "0" * 30
    assert (row["remainder"], row["memo"], row["txid"]) == ("7", "x", "bb")
    assert row["seen_at"] == "2023-11-14T22:13:20.000000Z"
    assert all(not isinstance(value, dict | list) for value in row.values())
    assert [r["txid"] for r in books.rows("deposits", "list")] == ["aa", "bb"]
    assert [r["txid"] for r in books.rows("deposits", "list", "--limit", "1")] == ["bb"]
    assert books.rows("deposits", "list", "--chain", "other") == []
    assert books("deposits", "list", "--state", "LOST").status == 2


def test_payouts_amount_is_in_base_units_before_screening_too(books: Shell) -> None:
    books.order("1", "1.5")
    books.order("2", "0.0000000001")
    books.order("3", "2.5", symbol="USDX")
    rows = books.rows("payouts", "list")
    assert [row["amount"] for row in rows] == ["1500000000", None, "2500000"]
    assert [row["amount_told"] for row in rows] == ["1.5", "0.0000000001", "2.5"]
    assert {(row["kind"], row["state"]) for row in rows} == {("withdrawal", "QUEUED")}


def attempt(books: Shell, payout_id: int, txid: str, **fields: object) -> None:
    def unit(tx: Tx) -> None:
        values = {
            "chain": "main", "txid": txid, "purpose": "pay", "sender": address(9),
            "raw": b"SECRETBYTES", "payload": b"SECRETBYTES", "locks": '["a/1"]', "max_fee": "10",
            "build_height": 1, "salt": "", "built_at": tx.now_us, "signed_at": tx.now_us, **fields,
        }  # fmt: skip
        attempt_id = tx.insert(insert(schema.attempts).values(**values))
        tx.run(insert(schema.attempt_payouts).values(attempt_id=attempt_id, payout_id=payout_id))
        tx.run(insert(schema.locks).values(
            chain="main", lock="a/1", payout_id=payout_id, sender=address(9)
        ))  # fmt: skip

    books.write(unit)


def test_payout_with_its_attempts(books: Shell) -> None:
    one = books.order("1")
    attempt(books, one, "ee" * 32)
    shown = books.rows("payouts", "show", str(one))
    assert shown["txid"] == "ee" * 32
    assert shown["attempts"][0]["state"] == "open, signed"
    assert shown["locks"] == [{"lock": "a/1", "used_txid": None}]
    assert "SECRETBYTES" not in json.dumps(shown)
    assert books.rows("payouts", "list")[0]["txid"] == "ee" * 32
    text = books("payouts", "show", str(one)).out
    assert "ee" * 32 in text
    assert "a/1" in text


def test_nothing_from_outside_steers_the_terminal(books: Shell) -> None:
    books.order("1", memo="\x1b[2J\nfake row")
    out = books("payouts", "show", "1").out
    assert "\x1b" not in out
    assert "fake row" in out
    assert "\nfake" not in out


def test_events_of_a_subject(books: Shell) -> None:
    one = books.order("1")
    books.act("payouts", "hold", str(one))
    rows = books.rows("events", "list", "--subject", f"payout:{one}")
    assert [row["what"] for row in rows] == ["order", "held", "alarm payout_held"]
    assert books.rows("events", "list", "--limit", "1")[0]["seq"] >= rows[-1]["seq"]
    assert {row["scope"] for row in books.rows("events", "list", "--scope", "ledger")} == {"ledger"}


# --- why ------------------------------------------------------------------------------------------


def test_why_of_a_withdrawal_that_is_held(books: Shell) -> None:
    one = books.order("4711")
    books.act("payouts", "hold", str(one), reason="looks odd")
    said = books.rows("why", "4711")
    assert said["subject"] == "4711"
    assert [line["what"] for line in said["timeline"]] == [
        f"payout:{one} order", f"payout:{one} held", f"payout:{one} alarm payout_held",
    ]  # fmt: skip
    assert all(set(line) == {"at", "what", "detail"} for line in said["timeline"])
    assert "looks odd" in said["held_by"]
    assert f"payouts release {one}" in said["next"]
    text = books("why", "4711").out
    assert "held by: " in text
    assert "next: " in text


def test_why_of_a_withdrawal_that_waits(books: Shell) -> None:
    books.order("1")
    books.order("2", symbol="USDX")
    said = books.rows("why", "1")
    assert said["held_by"] is None
    assert "sent back if it cannot be begun before" in said["next"]
    assert "waits for ever" in books.rows("why", "2")["next"]


def test_why_finds_a_payout_by_every_name(books: Shell) -> None:
    one = books.order("1", to=address(5))
    attempt(books, one, "ee" * 32)
    for name in ("1", "ee" * 32, address(5), address(5).upper()):
        lines = books.rows("why", name)["timeline"]
        assert lines, name
        assert lines[0]["what"] == f"payout:{one} order"


def test_why_of_a_parked_message(books: Shell) -> None:
    one = books.order("1")
    books.act("payouts", "refuse", str(one))
    books.set(schema.outbox, 1, state="parked", last_code=1000018, last_error="unknown trans_id")
    said = books.rows("why", "1")
    assert "1000018" in said["held_by"]
    assert "outbox retry 1" in said["next"]
    assert any("withdraw/cancel" in line["what"] for line in said["timeline"])


@pytest.mark.parametrize(
    ("state", "reason", "held_by", "then"),
    [
        ("SEEN", None, None, "at head 12 or above"),
        ("HELD", "proof refuted", "proof refuted", "deposits release 1"),
        ("IGNORED", "below the minimum", None, "below the minimum"),
        ("CREDITED", None, None, "credited"),
        ("REVERSED", None, "reorganisation", "settle it with the platform"),
    ],
)
def test_why_of_a_deposit(
    books: Shell, state: str, reason: str | None, held_by: str | None, then: str
) -> None:
    one = books.deposit(Deposit(state), reason=reason)
    books.write(lambda tx: record(tx, "main", "deposit seen", f"deposit:{one}", height=10))
    said = books.rows("why", "ab" * 32)
    assert then in said["next"]
    assert (said["held_by"] is None) == (held_by is None)
    assert (held_by or "") in (said["held_by"] or "")
    assert books.rows("why", address(2))["next"] == said["next"]


def test_why_of_an_address(books: Shell) -> None:
    hot = next(r for r in books.rows("addresses", "list") if r["role"] == "hot")
    said = books.rows("why", hot["address"])
    assert "our hot address" in said["next"]
    stranger = books("why", address(3), "--json")
    assert stranger.status == 1
    assert "no address of ours on main" in stranger.document["next"]


def test_why_of_nothing(books: Shell) -> None:
    answer = books("why", "0xnothing", "--json")
    assert answer.status == 1
    assert answer.document == {
        "subject": "0xnothing",
        "timeline": [],
        "held_by": None,
        "next": "no block that was read and no answer of the platform names it; "
        "read: main nothing yet",
    }


def test_status(any_shell: Shell) -> None:
    any_shell.init()
    any_shell.order("1")
    any_shell.order("2")
    any_shell.act("payouts", "hold", "2")
    any_shell.deposit()
    any_shell.act("payouts", "refuse", str(any_shell.order("3")))
    chain = any_shell.rows("status")["chains"]["main"]
    assert {"tip", "head", "lag_s", "pool", "queued", "held", "unsent", "last_error"} <= set(chain)
    assert (chain["queued"], chain["held"], chain["unsent"], chain["pool"]) == (1, 2, 1, 0)
    assert "main" in any_shell("status").out
