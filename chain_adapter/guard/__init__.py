"""Around a plugin's Chains, one an endpoint: identity, time, rate, failover, comparison."""

from chain_adapter.guard.endpoint import FOREIGN, labels
from chain_adapter.guard.guard import Guard
from chain_adapter.guard.limits import Limits, Observation, Observe
from chain_adapter.guard.pool import EndpointHealth

__all__ = ["FOREIGN", "EndpointHealth", "Guard", "Limits", "Observation", "Observe", "labels"]
