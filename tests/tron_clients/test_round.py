"""The whole loop on this chain: daemon, platform, keys and node as the demo starts them. A restart,
a fork, a refused claim, a payment that is lost, dies by its expiry and is made anew; once with an
address for every user, once with one address and memos, on withdrawals too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chain_adapter.chain import Asset
from chain_adapter.demo.parts import wait_until
from chain_adapter.demo.scenario import Scenario
from chain_adapter.demo.truth import compare
from chain_adapter_tron.chain import DEVNET_ENVIRONMENT
from chain_adapter_tron.devnet.devnet import TronDevnet
from plugins.tron.tests.parts import TRX

DEPOSITS, WITHDRAWALS = 9, 6


class Round(Scenario):
    """The demo's scenario, its stuck payment as it is on a chain without locks."""

    @staticmethod
    def minimum(asset: Asset) -> int:
        """Amounts are worth the fees of this chain."""
        return TronDevnet.demo_unit.get(asset.name, 10**asset.decimals) // 1000

    def amount(self, asset: Asset) -> int:
        return self.minimum(asset) * 10 + self.random.randrange(1, self.minimum(asset))

    _amount = amount

    async def _fund(self) -> None:
        await super()._fund()
        for address in (self.hot, self.gas):
            await self.devnet.pay("TRX", address, 10_000 * TRX)
            self.round.funded["TRX"] += 10_000 * TRX
        await self.devnet.mine()

    def _deposit_kinds(self) -> list[tuple[str, str]]:
        kinds, memo = super()._deposit_kinds(), self.devnet.node.get("memo")
        # A contract's payment carries the memo of its transaction: here it has none.
        return [kind for kind in kinds if not (memo and kind[0].startswith("through"))]

    async def _stuck(self) -> None:
        """Taken by the node and never included: dead once its time is over, then made anew."""
        assert isinstance(self.devnet, TronDevnet)
        self.devnet.lose()
        order = await self._order("lost", next(iter(self.assets)), "complete")

        async def made_anew() -> bool:
            row = await self._platform_order(order)
            return len({told["txid"] for told in row["history"]}) >= 2

        await wait_until("a lost payment to be made anew", made_anew, 100)
        await self._all_ended([order])


@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.parametrize("memo", [False, True])
async def test_a_round_of_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memo: bool
) -> None:
    if memo:
        monkeypatch.setenv(DEVNET_ENVIRONMENT, "memo")
    scenario = Round("tron", tmp_path)
    async with scenario.stack:
        await scenario.open(pool=DEPOSITS + 8)
        await scenario.deposits(DEPOSITS - 1)
        await scenario.withdrawals(WITHDRAWALS)
        await scenario.settle(limit_s=150)
        await scenario.collect(limit_s=150)
        verdict = await compare(scenario)
    assert verdict.ok, verdict
    assert verdict.made == verdict.credited == DEPOSITS
    assert verdict.paid + verdict.cancelled == verdict.asked == WITHDRAWALS
    assert not any(line.difference for line in verdict.lines)
