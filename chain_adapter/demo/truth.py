"""Chain, platform and books side by side, to the unit.

Chain truth is asked from the node as balances; the platform's ledger through its control calls;
our books through the commands an operator uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chain_adapter import money
from chain_adapter.demo.day import reconcile
from chain_adapter.demo.parts import command
from chain_adapter.demo.scenario import Scenario


@dataclass(slots=True)
class Line:
    """One asset, base units: what each side says."""

    asset: str
    decimals: int
    deposited_chain: int = 0
    deposited_platform: int = 0
    deposited_books: int = 0
    paid_chain: int = 0
    paid_platform: int = 0
    paid_books: int = 0
    fees_chain: int = 0
    fees_platform: int = 0

    @property
    def difference(self) -> int:
        """Sum of all disagreements; zero when everybody says the same."""
        return (
            abs(self.deposited_chain - self.deposited_platform)
            + abs(self.deposited_chain - self.deposited_books)
            + abs(self.paid_chain - self.paid_platform)
            + abs(self.paid_chain - self.paid_books)
            + abs(self.fees_chain - self.fees_platform)
        )


@dataclass(slots=True)
class Verdict:
    """The comparison. `ok` only if nothing is doubled, missing, or different by a unit."""

    lines: list[Line]
    made: int
    credited: int
    doubled: int
    missing: int
    asked: int
    paid: int
    cancelled: int
    paid_twice: int
    wrong_end: list[str] = field(default_factory=list)
    collected: int = 0
    day: list[dict[str, Any]] = field(default_factory=list)  # differences of the day's books

    @property
    def ok(self) -> bool:
        return (
            self.credited == self.made
            and not self.doubled
            and not self.missing
            and not self.paid_twice
            and not self.wrong_end
            and not self.day
            and self.paid + self.cancelled == self.asked
            and not any(line.difference for line in self.lines)
        )


async def compare(scenario: Scenario) -> Verdict:
    """Ask all three and hold them against each other."""
    config = str(scenario.config_file)
    platform_deposits = await scenario.control.get("deposits")
    platform_orders = await scenario.control.get("withdrawals")
    internal = await scenario.control.get("internal")
    books_deposits = await command("deposits", "list", "--config", config, "--json")
    books_payouts = await command("payouts", "list", "--config", config, "--json")
    lines = {name: Line(name, asset.decimals) for name, asset in scenario.assets.items()}
    await _chain_side(scenario, lines)
    for row in platform_deposits:
        lines[row["symbol"]].deposited_platform += _units(scenario, row["symbol"], row["credited"])
    for row in books_deposits:
        if row["state"] == "CREDITED":
            lines[row["asset"]].deposited_books += int(row["amount"])
    native = next(iter(lines))
    for row in platform_orders:
        if row["state"] == "complete":
            lines[row["symbol"]].paid_platform += _units(scenario, row["symbol"], row["amount"])
        if row["fee"]:
            lines[native].fees_platform += _units(scenario, native, row["fee"])
    for row in internal:
        lines[native].fees_platform += _units(scenario, native, row["fee"])
    for row in books_payouts:
        if row["state"] == "REPORTED" and row["kind"] == "withdrawal":
            lines[row["asset"]].paid_books += int(row["amount"])
    verdict = _verdict(scenario, list(lines.values()), platform_deposits, platform_orders)
    verdict.collected = sum(
        1 for row in books_payouts if row["kind"] == "sweep" and row["state"] == "REPORTED"
    )
    verdict.day = await reconcile(scenario)
    return verdict


async def _chain_side(scenario: Scenario, lines: dict[str, Line]) -> None:
    """Balances, asked from the node. Fees are what is missing from the sum of all of them."""
    one = scenario.round
    for name, line in lines.items():
        line.deposited_chain = one.deposited[name]
        for order in one.withdrawals:
            if order.symbol == name and order.kind != "bad address":
                line.paid_chain += (await scenario.reader.balance(order.address, name)).amount
        every = set().union(*(scenario.deposit_addresses(asset) for asset in lines))
        ours = await scenario.at(every | {scenario.hot, scenario.gas}, name)
        unusable = sum(v for (symbol, _), v in one.unusable.items() if symbol == name)
        came_in = one.funded[name] + line.deposited_chain + unusable
        # A token pays no fee: anything that is missing of one is a difference.
        line.fees_chain = came_in - line.paid_chain - ours


def _verdict(
    scenario: Scenario,
    lines: list[Line],
    deposits: list[dict[str, Any]],
    orders: list[dict[str, Any]],
) -> Verdict:
    one = scenario.round
    missing = credited = 0
    for made in one.deposits:
        rows = [
            row
            for row in deposits
            if row["symbol"] == made.symbol
            and row["address_to"] == made.address
            and (made.memo is None or row["memo"] == made.memo)
        ]
        total = sum(_units(scenario, made.symbol, row["credited"]) for row in rows)
        credited += total == made.amount
        missing += total < made.amount
    states = {row["trans_id"]: row for row in orders}
    wrong = [
        f"{o.kind} {o.trans_id}: {states[o.trans_id]['state']}, not {o.ends}"
        for o in one.withdrawals
        if states[o.trans_id]["state"] != o.ends
    ]
    return Verdict(
        lines=lines,
        made=len(one.deposits),
        credited=credited,
        doubled=sum(1 for row in deposits if row["duplicate"]),
        missing=missing,
        asked=len(one.withdrawals),
        paid=sum(1 for row in orders if row["state"] == "complete"),
        cancelled=sum(1 for row in orders if row["state"] == "cancelled"),
        paid_twice=sum(1 for line in lines if line.paid_chain > line.paid_platform),
        wrong_end=wrong,
    )


def _units(scenario: Scenario, symbol: str, text: str) -> int:
    return money.parse(text, scenario.assets[symbol].decimals)
