"""What the program says about itself: logs (`logs`) and figures (`metrics`).

Logs go to standard error, one event with fields a line, and pass one filter that drops secrets.
Figures stand in one registry, served at `/metrics`.
"""

from __future__ import annotations

from chain_adapter.telemetry.logs import configure, get_logger, redact
from chain_adapter.telemetry.metrics import METRICS, Metrics

__all__ = ["METRICS", "Metrics", "configure", "get_logger", "redact"]
