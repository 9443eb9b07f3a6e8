"""The conformance suite as pytest tests: subclass `Conformance` in your plugin's tests.

    class TestMyChain(Conformance):
        plugin = my_plugin

        async def devnet(self) -> Devnet:
            return await my_plugin.devnet("127.0.0.1:0")

Each check gets a devnet of its own. A check that this chain has no use for is skipped, with a
reason; `expected_skips` names those, so that one that is skipped by accident fails. While a plugin
grows, `written` names the checks that it is held to so far.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain_adapter.chain import Devnet, InvalidAddress, Plugin, Rejected
from chain_adapter.testing.bench import Bench, Skip, ensure
from chain_adapter.testing.check import CHECKS, Check

_QUICK = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Conformance:
    """Everything that a plugin must do, on a devnet of its own for each check."""

    plugin: ClassVar[Plugin]
    expected_skips: ClassVar[frozenset[str] | None] = None
    written: ClassVar[frozenset[str] | None] = None
    patience_s: ClassVar[float] = 20.0

    async def devnet(self) -> Devnet:
        """A fresh local chain; it is closed after the check."""
        raise NotImplementedError("say how to start a devnet of your chain")

    @pytest.mark.asyncio
    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    async def test_conformance(self, check: Check) -> None:
        if self.written is not None and check.name not in self.written:
            pytest.skip("not written yet")
        devnet = await self.devnet()
        try:
            await devnet.automine(None)
            bench = self._bench(devnet)
            try:
                await check.run(bench)
            except Skip as why:
                if self.expected_skips is not None:
                    ensure(check.name in self.expected_skips, f"skipped unexpectedly: {why}")
                pytest.skip(str(why))
            finally:
                await bench.close()
        finally:
            await devnet.close()

    def test_named_checks_exist(self) -> None:
        """`expected_skips` and `written` name checks that there are."""
        named = (self.expected_skips or frozenset()) | (self.written or frozenset())
        unknown = named - {check.name for check in CHECKS}
        ensure(not unknown, f"there is no check {sorted(unknown)}")

    @pytest.mark.asyncio
    async def test_any_text_and_bytes_are_taken_or_refused(self) -> None:
        """Whatever comes from outside: an address or `InvalidAddress`, an effect or `Rejected`."""
        devnet = await self.devnet()
        try:
            bench = self._bench(devnet)

            @_QUICK
            @given(st.text(max_size=80))
            def any_text(text: str) -> None:
                try:
                    canonical = bench.pure.parse_address(text)
                except InvalidAddress:
                    return
                ensure(bench.pure.parse_address(canonical) == canonical, f"{text!r}")

            @_QUICK
            @given(st.binary(max_size=200))
            def any_bytes(payload: bytes) -> None:
                try:
                    bench.pure.inspect(payload)
                except Rejected:
                    return

            any_text()
            any_bytes()
            await bench.close()
        finally:
            await devnet.close()

    def _bench(self, devnet: Devnet) -> Bench:
        return Bench(self.plugin, devnet.node, devnet.assets, devnet, patience_s=self.patience_s)
