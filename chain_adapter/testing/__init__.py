"""For plugin authors and the tests of the core: a virtual clock, the conformance suite.

`Conformance` is the suite under pytest; `run_checks` and `run_live_checks` run the same checks
without it. pytest and hypothesis are only needed for `Conformance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chain_adapter.testing import names, paying, reading, replacing
from chain_adapter.testing.bench import SIGNERS, Bench, Failed, Skip, ensure
from chain_adapter.testing.check import CHECKS, Check, Result, run_checks, run_live_checks
from chain_adapter.testing.clock import Stuck, VirtualClock
from chain_adapter.testing.scaffold import new_plugin

if TYPE_CHECKING:
    from chain_adapter.testing.suite import Conformance

__all__ = [
    "CHECKS",
    "SIGNERS",
    "Bench",
    "Check",
    "Conformance",
    "Failed",
    "Result",
    "Skip",
    "Stuck",
    "VirtualClock",
    "ensure",
    "names",
    "new_plugin",
    "paying",
    "reading",
    "replacing",
    "run_checks",
    "run_live_checks",
]


def __getattr__(name: str) -> Any:
    """`Conformance` needs pytest, which a daemon does not have: it is imported when it is asked."""
    if name == "Conformance":
        from chain_adapter.testing.suite import Conformance

        return Conformance
    raise AttributeError(name)
