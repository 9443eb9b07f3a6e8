"""Every check can fail: a reference chain with one planted bug each is caught by the check for it.

The run without a bug passes the same checks, so that it is the bug that is caught.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain_adapter.chain import (
    Chain,
)
from chain_adapter.sandbox.reference import ReferenceChain, ReferencePlugin
from chain_adapter.testing import CHECKS, Result, run_checks
from tests.chain import mutants_paying, mutants_reading
from tests.chain.mutants import PLANTED, Mutant

FILES = (mutants_paying, mutants_reading)  # importing them plants the bugs


# --- the proof ----------------------------------------------------------------------------------


async def _run(flavour: str, mutant: Mutant, options: dict[str, Any], check: str) -> Result:
    class Planted(ReferencePlugin):
        def open(self, settings: Any, assets: Any, endpoint: Any, gate: Any) -> Chain:
            return mutant(settings.flavour, assets, endpoint, gate, settings.confirmations)

    plugin = Planted(flavour, **options)
    devnet = await plugin.devnet()
    try:
        (result,) = await run_checks(devnet, plugin, only=[check], patience_s=0.3)
    finally:
        await devnet.close()
    return result


@pytest.mark.parametrize(
    ("check", "flavour", "mutant", "options"),
    PLANTED,
    ids=[f"{mutant.__name__}-{flavour}-{check}" for check, flavour, mutant, _ in PLANTED],
)
async def test_a_planted_bug_is_caught(
    check: str, flavour: str, mutant: Mutant, options: dict[str, Any]
) -> None:
    sound = await _run(flavour, ReferenceChain, options, check)
    assert sound.outcome == "passed", sound
    caught = await _run(flavour, mutant, options, check)
    assert caught.outcome == "failed", caught
    assert caught.detail


def test_every_check_has_a_planted_bug() -> None:
    assert {check.name for check in CHECKS} == {check for check, *_ in PLANTED}
    assert all(check.text and check.law for check in CHECKS)
