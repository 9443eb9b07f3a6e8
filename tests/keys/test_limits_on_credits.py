"""Credits within the policy, only the seven messages sealed, and the log of every decision."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain_adapter.errors import SigningRefused
from chain_adapter.keys.approvals import Claim, content_of
from chain_adapter.keys.audit import FIRST, verify_events
from chain_adapter.keys.controls import message_of
from chain_adapter.keys.gate import Credit
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.platform_api.messages import TransId, WithdrawalNotice
from tests.keys.operators import POLICY, Operators, notice
from tests.keys.world import World, refused


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    return Operators(tmp_path_factory.mktemp("operators"))


@pytest.fixture
def world(tmp_path: Path, operators: Operators) -> World:
    made = World(tmp_path, policy=POLICY.format(operators=operators.lines("ann", "bob")))
    operators.ledger_id = PublicKeys.load(made.path).ledger_id
    return made


# --- credits ------------------------------------------------------------------------------------


async def test_credits_are_limited(world: World, operators: Operators) -> None:
    async with world.signer() as signer:
        seal = signer.controls.seal
        sealed = await seal(notice().to_json())
        assert world.platform.open(sealed.data, sealed.sign) == notice().to_json()
        await seal(notice(confirm=7, balance="9").to_json())  # told again: counted once
        with pytest.raises(SigningRefused, match="another content"):
            await seal(notice(amount="99").to_json())
        with pytest.raises(SigningRefused, match="per_deposit"):
            await seal(notice(request_id="r2", amount="100.00000001").to_json())
        with pytest.raises(SigningRefused, match="per_hour"):
            await seal(notice(request_id="r3", amount="51").to_json())
        await seal(notice(request_id="r3", amount="51", status=0).to_json())  # credits nothing
        await seal(notice(request_id="r4", amount="50").to_json())
        with pytest.raises(SigningRefused, match="not configured"):
            await seal(notice(request_id="r5", symbol="XYZ").to_json())
        # the daemon asks before it confirms; an operator lets it through
        credit = Credit("r2", "REF", "t1", "a", 10**10 + 1)
        with pytest.raises(SigningRefused, match="operator must approve"):
            await signer.controls.check_credit(credit)
        content = content_of("credit", "REF", "t1", "a", str(10**10 + 1), "")
        await signer.controls.approve(operators.sign("ann", Claim("credit", "r2", content)))
        await signer.controls.check_credit(credit)
        await seal(notice(request_id="r2", amount="100.00000001").to_json())


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"{}",
        b"anything",
        notice().to_json() + b" ",
        notice().to_json().replace(b'"confirm":6', b'"confirm": 6'),
        notice().to_json()[:-1] + b',"trans_id":"5"}',
        notice().to_json()[:-1] + b',"amount":1}',
        b'[{"trans_id":"1","symbol":"REF","amount":"1","address_to":"x"}]',
    ],
)
async def test_only_the_seven_messages_are_sealed(world: World, plaintext: bytes) -> None:
    async with world.signer() as signer:
        with pytest.raises(SigningRefused, match="none of the seven"):
            await signer.controls.seal(plaintext)


async def test_opens_what_the_platform_sealed(world: World) -> None:
    sealed = world.platform.seal(b"an answer")
    async with world.signer() as signer:
        assert await signer.controls.open(sealed.data, sealed.sign) == b"an answer"


def test_withdrawal_notice_is_one_of_seven() -> None:
    made = WithdrawalNotice(TransId("1", False), "REF", "t", "a", "1", "0", 0, "0")
    assert message_of(made.to_json()) == made
    assert message_of(notice().to_json()) == notice()


# --- the log ------------------------------------------------------------------------------------


async def test_every_decision_is_logged_and_chained(world: World) -> None:
    request = world.request(order=world.order(amount="1"))
    async with world.signer() as signer:
        await signer.sign(request)
        too_much = world.request(order=world.order(amount="11"), sequence=1)
        for _ in range(3):
            await refused(signer, too_much, "per_transaction")
        await signer.controls.kill("drill")
        entries = await signer.controls.events()
        key = bytes.fromhex((await signer.controls.status()).audit_key)
        assert [e.what for e in entries] == ["policy", "signed", "refused", "kill"]
        assert "per_transaction" in entries[2].detail
        found = verify_events(entries, key)
        assert (found.entries, found.trouble) == (4, None)
        assert found.last_hash == (await signer.controls.status()).last_event
        assert await signer.controls.events(after=3) == entries[3:]
    for changed, why in (
        (entries[1:], "entry 1 is missing"),
        (entries[:1] + entries[2:], "entry 2 is missing"),
        ([entries[0], _with(entries[1], detail="{}"), *entries[2:]], "entry 2 was changed"),
        ([_with(entries[0], hash="ab" * 32), *entries[1:]], "entry 1 was changed"),
        ([_with(entries[0], sign=bytes(64)), *entries[1:]], "not signed"),
        ([entries[0], _with(entries[1], prev=FIRST), *entries[2:]], "does not follow"),
    ):
        assert why in str(verify_events(changed, key).trouble)
    assert (
        verify_events(entries, PUBLIC_OF_ANOTHER).trouble == "entry 1 was not signed by this signer"
    )


PUBLIC_OF_ANOTHER = bytes.fromhex(
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
)


def _with(entry: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(entry, **changes)


async def test_sums_follow_a_commit_that_fails(world: World) -> None:
    """The disk is full: nothing was signed, so nothing counts against the limits."""
    requests = [world.request(order=world.order(amount="3"), sequence=n) for n in range(6)]
    async with world.signer() as signer:
        async with failing_commits(signer._journal):
            answers = await asyncio.gather(*map(signer.sign, requests), return_exceptions=True)
            assert all(isinstance(a, BaseException) for a in answers)
        for request in requests:
            await signer.sign(request)


@contextlib.asynccontextmanager
async def failing_commits(journal: Journal) -> AsyncIterator[None]:
    """Every commit with a change fails, as if the disk were full."""

    def pages(tx: Any, count: int) -> None:
        tx.connection.execute(f"PRAGMA max_page_count = {count}")

    await journal.run(lambda tx: pages(tx, 1))
    big = "x" * 4096

    def fill(tx: Any) -> None:
        tx.connection.execute("CREATE TABLE IF NOT EXISTS filler (x TEXT)")
        for _ in range(10_000):
            tx.connection.execute("INSERT INTO filler VALUES (?)", (big,))

    for _ in range(3):
        with contextlib.suppress(Exception):
            await journal.run(fill)
    try:
        yield
    finally:
        await journal.run(lambda tx: pages(tx, 1 << 30))
