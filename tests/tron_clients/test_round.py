"""The whole loop on this chain: daemon, platform, keys and node as the demo starts them. A restart,
a fork, a refused claim, a payment that is lost, dies by its expiry and is made anew; once with an
address for every user, once with one address and memos.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chain_adapter.demo.scenario import Scenario
from chain_adapter.demo.truth import compare
from chain_adapter_tron.chain import DEVNET_ENVIRONMENT

DEPOSITS, WITHDRAWALS = 9, 6


@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.parametrize("memo", [False, True])
async def test_a_round_of_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memo: bool
) -> None:
    if memo:
        monkeypatch.setenv(DEVNET_ENVIRONMENT, "memo")
    scenario = Scenario("tron", tmp_path)
    async with scenario.stack:
        await scenario.open(pool=DEPOSITS + 8)
        assert scenario.memo == memo
        await scenario.deposits(DEPOSITS - 1)
        await scenario.withdrawals(WITHDRAWALS)
        await scenario.settle(limit_s=150)
        await scenario.collect(limit_s=150)
        verdict = await compare(scenario)
    assert verdict.ok, verdict
    assert verdict.made == verdict.credited == DEPOSITS
    assert verdict.paid + verdict.cancelled == verdict.asked == WITHDRAWALS
    assert not any(line.difference for line in verdict.lines)
