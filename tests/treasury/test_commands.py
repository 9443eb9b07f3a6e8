"""Policy, kill switch and approvals at the command line, with the real signer process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.commands.signatures import at_signer
from chain_adapter.config import load
from chain_adapter.demo.parts import wait_until
from tests.keys.operators import Operators
from tests.shell.conftest import MNEMONIC, Shell, address, books, shell  # noqa: F401 - fixtures
from tests.treasury.desk import Desk, judged


@pytest.fixture
def desk(books: Shell, operators: Operators) -> Desk:  # noqa: F811 - the fixture
    return Desk(books, operators)


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
