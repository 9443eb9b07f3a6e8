"""For plugin authors and the tests of the core: a virtual clock, the conformance suite."""

from chain_adapter.testing.clock import Stuck, VirtualClock

__all__ = ["Stuck", "VirtualClock"]
