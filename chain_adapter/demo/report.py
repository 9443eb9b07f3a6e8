"""What the demo prints at its end: one table, or one JSON document."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chain_adapter import money
from chain_adapter.demo.scenario import Scenario
from chain_adapter.demo.truth import Line, Verdict


def as_json(verdict: Verdict, seconds: float) -> dict[str, Any]:
    """The document of `demo --json`."""
    return {
        "deposits": {
            "made": verdict.made,
            "credited": verdict.credited,
            "doubled": verdict.doubled,
            "missing": verdict.missing,
        },
        "withdrawals": {
            "asked": verdict.asked,
            "paid": verdict.paid,
            "cancelled": verdict.cancelled,
            "doubled": verdict.paid_twice,
        },
        "difference_base_units": {line.asset: line.difference for line in verdict.lines},
        "seconds": round(seconds, 2),
        "ok": verdict.ok,
    }


def as_text(scenario: Scenario, verdict: Verdict, seconds: float) -> str:
    """The table for people."""
    kinds = Counter(d.kind for d in scenario.round.deposits)
    out = ["", "Deposits made, each credited once:"]
    out += [f"  {count:4}  {kind}" for kind, count in kinds.items()]
    out += ["Seen and rightly not credited:"]
    out += [f"  {count:4}  {kind}" for kind, count in scenario.round.ignored.items()]
    out += ["Withdrawals:"]
    ends = Counter((w.kind, w.ends) for w in scenario.round.withdrawals)
    out += [f"  {count:4}  {kind}: {end}" for (kind, end), count in ends.items()]
    out += ["", _row("", "chain", "platform", "our books")]
    for line in verdict.lines:
        out += [
            _money(f"{line.asset} credited to users", line, line.deposited_chain,
                   line.deposited_platform, line.deposited_books),
            _money(f"{line.asset} paid out", line, line.paid_chain, line.paid_platform,
                   line.paid_books),
        ]  # fmt: skip
        if line.fees_chain or line.fees_platform:
            out.append(
                _money(f"{line.asset} fees", line, line.fees_chain, line.fees_platform, None)
            )
        out.append(f"  difference: {line.difference} base units of {line.asset}")
    out += [
        "",
        f"deposits: {verdict.made} made, {verdict.credited} credited, {verdict.doubled} doubled, "
        f"{verdict.missing} missing",
        f"withdrawals: {verdict.asked} asked, {verdict.paid} paid, {verdict.cancelled} sent back, "
        f"{verdict.paid_twice} doubled",
        f"collected to the hot wallet: {verdict.collected} sweeps, fees told as internal",
        f"reconciliation of the day: {len(verdict.day)} differences",
        *(f"  {one['reason']}: {one['subject']}" for one in verdict.day),
        *(f"WRONG END: {text}" for text in verdict.wrong_end),
        f"{'OK' if verdict.ok else 'NOT OK'} in {seconds:.1f} s",
    ]
    return "\n".join(out)


def _money(label: str, line: Line, *amounts: int | None) -> str:
    return _row(
        label, *("" if a is None else money.plain(a, line.decimals) for a in amounts)
    )  # fmt: skip


def _row(label: str, *cells: str) -> str:
    return f"{label:28}" + "".join(f"{cell:>26}" for cell in cells)
