"""Every figure of the program in one place, with its meaning; served at `/metrics`.

Names begin with `chain_adapter_`; labels are few and bounded (chains, assets, calls, endpoints by
number). No figure carries an address, an id or a secret.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """One set of figures. The program uses `METRICS`; a test makes its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"chain_adapter_{name}", meaning, labels, registry=self.registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"chain_adapter_{name}", meaning, labels, registry=self.registry)

        def histogram(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(
                f"chain_adapter_{name}", meaning, labels, registry=self.registry, buckets=_SECONDS
            )

        # reading
        self.tip_height = gauge("tip_height", "Newest block that we have read.", "chain")
        self.head_height = gauge("head_height", "Newest block that the node has.", "chain")
        self.lag_seconds = gauge("lag_seconds", "Age of the newest block read.", "chain")
        self.blocks = counter("blocks", "Blocks read and committed.", "chain")
        self.pops = counter("pops", "Blocks popped by reorganisations.", "chain")
        self.deposits = counter("deposits", "Deposits that entered a state.", "chain", "state")
        # nodes; an endpoint is told by its number in the configuration
        self.node_requests = counter(
            "node_requests", "Requests to a node.", "chain", "endpoint", "outcome"
        )
        self.endpoint_up = gauge("endpoint_up", "1 while an endpoint serves.", "chain", "endpoint")
        self.node_seconds = histogram("node_seconds", "Time a node took.", "chain", "endpoint")
        # paying
        self.payouts = counter("payouts", "Payouts that entered a state.", "chain", "state")
        self.replacements = counter("replacements", "Fees raised.", "chain")
        self.consume_full_pages = counter(
            "consume_full_pages", "Pages of withdrawals that were full.", "symbol"
        )
        # platform
        self.platform_requests = counter(
            "platform_requests", "Calls to the platform.", "call", "outcome"
        )
        self.platform_seconds = histogram(
            "platform_seconds", "Time a call to the platform took.", "call"
        )
        # what waits, set when `/metrics` is read
        self.pool = gauge("pool", "Registered addresses that no user holds.", "chain")
        self.queued = gauge("queued", "Payouts that wait to be begun.", "chain")
        self.held = gauge("held", "Deposits and payouts that wait for a person.", "chain")
        self.unsent = gauge("unsent", "Messages the platform has not acknowledged.", "chain")
        self.oldest_unsent_seconds = gauge(
            "oldest_unsent_seconds", "Age of the oldest such message.", "chain"
        )
        self.paused = gauge("paused", "1 while the chain is paused.", "chain")
        self.alarms = gauge("alarms", "Open alarms, 0 for every other code.", "code", "severity")
        self.alarm_messages = counter("alarm_messages", "Messages to the webhook.", "outcome")
        self.heartbeats = counter("heartbeats", "Heartbeats.", "outcome")
        self.settled_height = gauge(
            "settled_height", "Newest block whose deposits may be credited.", "chain"
        )
        self.ready = gauge("ready", "1 while /health/ready says so.")
        # the program itself
        self.rounds = counter("rounds", "Rounds of a loop.", "worker", "outcome")
        self.commits = counter("commits", "Commits of the database.")

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self.registry)


METRICS = Metrics()
