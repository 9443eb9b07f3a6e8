"""The page: what `status` says, as plain HTML. Everything that is shown is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from chain_adapter.console.status import Status

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1b1f24; background: #fff; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid #d8dee4; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: #b3261e; } .good { color: #1a7f37; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } th, td { border-color: #30363d; }
  .bad { color: #ff7b72; } .good { color: #3fb950; }
}
"""


def page(status: Status, reasons: Sequence[str]) -> str:
    """The whole document."""
    chains = _table(
        ("chain", "tip", "head", "lag, s", "pool", "queued", "held", "unsent", "last error"),
        (
            (
                f"{name} (paused: {one.paused})" if one.paused else name,
                one.tip, one.head, one.lag_s, one.pool, one.queued, one.held, one.unsent,
                one.last_error,
            )
            for name, one in status.chains.items()
        ),
    )  # fmt: skip
    alarms = _table(
        ("id", "severity", "code", "subject", "count", "message"),
        (
            (one.id, one.severity, one.code, one.subject, one.count, one.message)
            for one in status.alarms
        ),
    )
    ready = '<p class="good">Ready.</p>'
    if reasons:
        items = "".join(f"<li>{escape(one)}</li>" for one in reasons)
        ready = f'<p class="bad">Not ready:</p><ul class="bad">{items}</ul>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="refresh" content="5">'
        '<title>chain-adapter</title><link rel="stylesheet" href="/style.css"></head><body>'
        f"<h1>chain-adapter</h1>{ready}<h2>Chains</h2>{chains}<h2>Open alarms</h2>"
        f"{alarms if status.alarms else '<p>None.</p>'}</body></html>"
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(thing: Any) -> str:
    if thing is None:
        return "<td>–</td>"
    if isinstance(thing, int | float):
        return f'<td class="number">{thing}</td>'
    return f"<td>{escape(str(thing))}</td>"
