"""`demo --merchant` as a command: money through a merchant and back, agreed to the unit."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest

LIMIT_S = 300


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 20)
async def test_the_merchant_agrees_with_platform_daemon_and_chain() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chain_adapter.cli", "demo", "--merchant", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # it ends its own processes
            await process.wait()
    said = err.decode()
    assert process.returncode == 0, said
    told = json.loads(out)
    merchant = told["merchant"]
    assert told["ok"] and merchant["ok"]
    assert set(told["difference_base_units"].values()) == {0}
    assert merchant["difference"] == 0 and merchant["odd"] == 0

    deposits = merchant["deposits"]
    assert deposits["booked"] == deposits["made"] == told["deposits"]["credited"] > 0
    assert (deposits["doubled"], deposits["missing"]) == (0, 0)

    withdrawals = merchant["withdrawals"]
    assert withdrawals["paid"] == told["withdrawals"]["paid"] > 0
    assert (withdrawals["inside"], withdrawals["refused"]) == (1, 1)
    assert withdrawals["asked"] == withdrawals["paid"] + 2

    assert merchant["callbacks"]["tries_until_told"] == 5
    down = merchant["down"]
    assert down["virtual_hours"] >= 4
    assert down["missed"] == down["caught_up"] == 3
    assert merchant["miner_fees"] > 0
