"""The daemon as its own process against anvil and the sandbox, while both misbehave."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chain_adapter.demo.parts import wait_until
from chain_adapter.sandbox.faults import KINDS
from chain_adapter.sandbox.wapi import PATHS
from chain_adapter_evm.devnet import AnvilDevnet
from tests.stories.real import Real

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def real(folder: Path) -> AsyncIterator[Real]:
    async with Real(folder) as made:
        await made.start()
        yield made


async def test_every_fault_of_the_platform_on_every_call(real: Real) -> None:
    for path, kind in itertools.product(sorted(PATHS), sorted(KINDS)):
        if path in ("internal/notify", "withdraw/cancel", "address/register"):
            continue  # asked too seldom to use a queue up; the second half has some of them
        if (path, kind) == ("withdraw/notify", "replay"):
            continue  # success of it is unsigned: only TLS tells a replay from the truth
        await real.control.post("faults", path=path, kind=kind, times=1, seconds=0.1)
    for symbol in ("ETH", "USDT", "ETH"):
        for _ in range(4):
            await real.deposit(symbol)
            await real.order(symbol)
    await real.at_rest(limit_s=120)
    left = await real.control.get("faults")
    assert not [one for one in left if one["path"].startswith(("withdraw/c", "deposit"))]
    # A claim that is refused row by row is given back; then cancel and internal/notify are asked.
    for path in ("withdraw/cancel", "internal/notify"):
        for kind in ("reset_after", "html", "truncate", "error_code", "bad_json"):
            await real.control.post("faults", path=path, kind=kind, times=1)
    await real.control.post(
        "faults", path="withdraw/notify", kind="error_code", code=1000018, times=2
    )
    for _ in range(4):
        await real.order()
    await real.at_rest(limit_s=60)
    states = [row["state"] for row in await real.control.get("withdrawals")]
    assert states.count("cancelled") >= 2


async def test_every_fault_of_the_node_and_another_chain_behind_it(real: Real) -> None:
    for bend in ("html", "429", "500", "reset", "truncated", "empty", "nulls"):
        await real.deposit()
        await real.order("USDT")
        seen = real.relay.bent
        real.relay.bend = bend
        await wait_until(bend, lambda seen=seen: _more(real, seen + 3), 30)
        real.relay.bend = None
    await real.at_rest(limit_s=90)
    # The wrong chain after a reconnect: nothing of it is read, nothing is sent to it.
    other = await AnvilDevnet.start("127.0.0.1:0", chain_id=4711)
    try:
        real.relay.bend = "reset"
        await wait_until("a loss", lambda seen=real.relay.bent: _more(real, seen + 2), 30)
        real.relay.target, real.relay.bend = other.url, None
        await other.pay("ETH", real.paid_in[0][1], 10**18)
        await other.mine(6)
        await other.automine(0.1)
        order = await real.order()

        async def refused() -> bool:
            return "another network" in real.daemon.tail(200)

        await wait_until("the other network to be refused", refused, 60)
        row = next(r for r in await real.control.get("withdrawals") if r["trans_id"] == order)
        assert row["state"] in ("pending", "paying")
        assert int(await other.rpc("eth_getTransactionCount", real.hot, "latest"), 16) == 0
    finally:
        real.relay.target = real.devnet.url
        await other.close()
    await real.deposit()
    await real.at_rest(limit_s=90)


async def _more(real: Real, than: int) -> bool:
    return real.relay.bent >= than


async def test_one_daemon_a_database_and_an_orderly_end(real: Real) -> None:
    status, said = await real.command("run")
    assert status == 2, said
    assert "another daemon" in said
    for _ in range(5):
        await real.deposit()
        await real.order("USDT")
        order = await real.order()
    for _ in range(2):
        await real.daemon.kill()
        await real.daemon.start()
    await real.at_rest(limit_s=90)
    assert await real.daemon.stop() == 0
    await real.devnet.automine(None)
    status, said = await real.command("status")
    assert status == 0, said
    status, said = await real.command("why", order)
    assert status == 0, said
    assert "REPORTED" in said
    (real.folder / "state" / "keystore.json").rename(real.folder / "state" / "gone.json")
    status, said = await real.command("run")
    assert status == 2, said
