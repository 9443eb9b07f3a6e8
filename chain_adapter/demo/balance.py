"""The merchant's books against the platform's ledger and what was really done, to the unit.

books of the merchant process -> per asset: deposits, payments, every user's balance, fees.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chain_adapter import money
from chain_adapter.demo.shop import FAILURES
from chain_adapter.demo.truth import Verdict

if TYPE_CHECKING:
    from chain_adapter.demo.merchant import MerchantRound

DOWN_S = 4 * 3600  # virtual

Sums = Counter[tuple[str, str]]  # (uid, symbol) -> base units


@dataclass(slots=True)
class Told:
    """What the merchant knows. `ok` only if it is everything, once, and right to the unit."""

    users: int
    deposits_made: int
    deposits_booked: int
    deposits_doubled: int
    deposits_missing: int
    asked: int
    paid: int
    inside: int
    refused: int
    tries_until_told: int
    given_up: int
    caught_up: int
    down_virtual_s: float
    miner_fees: int
    odd: int
    differences: dict[str, int] = field(default_factory=dict)  # asset -> base units
    wrong_end: list[str] = field(default_factory=list)

    @property
    def difference(self) -> int:
        """All disagreements of all assets, base units."""
        return sum(self.differences.values())

    @property
    def ok(self) -> bool:
        return (
            self.difference == 0
            and not self.wrong_end
            and not self.odd
            and not self.deposits_doubled
            and not self.deposits_missing
            and self.deposits_booked == self.deposits_made
            and self.tries_until_told == FAILURES + 1
            and self.caught_up == self.given_up > 0
            and self.down_virtual_s >= DOWN_S
            and self.inside > 0
            and self.refused > 0
        )


async def compare_merchant(shop: MerchantRound, verdict: Verdict) -> Told:
    """Ask the merchant and the platform, and hold both against what was done."""
    books = await shop.shop.books()
    ends = {row["request_id"]: row["state"] for row in books["withdrawals"]}
    outside = [row for row in books["deposits"] if row["txid"]]
    found = Counter((row["symbol"], row["address"], row["amount"]) for row in outside)
    made = [(u.symbol, u.address, shop.text(u.symbol, amount)) for u, amount in shop.deposits]
    return Told(
        users=len(shop.users),
        deposits_made=len(made),
        deposits_booked=len(outside),
        deposits_doubled=sum(found[one] > 1 for one in made),
        deposits_missing=sum(found[one] == 0 for one in made),
        asked=len(shop.orders),
        paid=sum(not order.inside and order.ends == "paid" for order in shop.orders),
        inside=sum(order.inside for order in shop.orders),
        refused=sum(order.ends == "rejected" for order in shop.orders),
        tries_until_told=shop.tries_until_told,
        given_up=shop.given_up,
        caught_up=shop.caught_up,
        down_virtual_s=shop.down_virtual_s,
        miner_fees=len(books["miner_fees"]),
        odd=len(books["odd"]),
        differences=await _differences(shop, verdict, books),
        wrong_end=[
            f"{order.request_id}: {ends.get(order.request_id, 'unknown')}, not {order.ends}"
            for order in shop.orders
            if ends.get(order.request_id) != order.ends
        ],
    )


async def _differences(
    shop: MerchantRound, verdict: Verdict, books: dict[str, Any]
) -> dict[str, int]:
    """Per asset: every amount on which the merchant and somebody else disagree, added up."""
    accounts = await shop.scenario.control.get("users")
    theirs = _sums(shop, {str(row["user"]): row["balances"] for row in accounts})
    mine = _sums(shop, books["balances"])
    right: Sums = Counter()
    for user in shop.users:
        right[user.uid, user.symbol] += user.holds
    frozen = _sums(shop, books["frozen"])
    inside = {order.request_id for order in shop.orders if order.inside}
    native = next(iter(shop.scenario.assets))
    found = {}
    for line in verdict.lines:
        name = line.asset
        deposited = sum(
            _units(shop, name, row["amount"])
            for row in books["deposits"]
            if row["symbol"] == name and row["txid"]
        )
        paid = [
            row
            for row in books["withdrawals"]
            if row["symbol"] == name and row["state"] == "paid" and row["request_id"] not in inside
        ]
        net = sum(_units(shop, name, row["amount"]) - shop.charge(name) for row in paid)
        keys = {key for key in mine | theirs | right if key[1] == name}
        found[name] = (
            abs(deposited - line.deposited_platform)
            + abs(deposited - line.deposited_chain)
            + abs(net - line.paid_platform)
            + abs(net - line.paid_chain)
            + sum(abs(mine[key] - theirs[key]) + abs(mine[key] - right[key]) for key in keys)
            + sum(amount for (_, symbol), amount in frozen.items() if symbol == name)
        )
        if name == native:
            fees = [row["fee"] for row in (*books["miner_fees"], *books["withdrawals"])]
            known = sum(_units(shop, native, fee) for fee in fees)
            found[name] += abs(known - line.fees_chain)
    return found


def _sums(shop: MerchantRound, balances: dict[str, dict[str, str]]) -> Sums:
    sums: Sums = Counter()
    for uid, of_user in balances.items():
        for symbol, amount in of_user.items():
            sums[uid, symbol] += _units(shop, symbol, amount)
    return sums


def _units(shop: MerchantRound, symbol: str, text: str) -> int:
    return money.parse(text, shop.scenario.assets[symbol].decimals)


def merchant_json(told: Told) -> dict[str, Any]:
    """`merchant` in the document of `demo --merchant --json`."""
    return {
        "users": told.users,
        "deposits": {
            "made": told.deposits_made,
            "booked": told.deposits_booked,
            "doubled": told.deposits_doubled,
            "missing": told.deposits_missing,
        },
        "withdrawals": {
            "asked": told.asked,
            "paid": told.paid,
            "inside": told.inside,
            "refused": told.refused,
        },
        "callbacks": {"tries_until_told": told.tries_until_told, "given_up": told.given_up},
        "down": {
            "virtual_hours": round(told.down_virtual_s / 3600, 2),
            "missed": told.given_up,
            "caught_up": told.caught_up,
        },
        "miner_fees": told.miner_fees,
        "odd": told.odd,
        "difference_base_units": told.differences,
        "difference": told.difference,
        "ok": told.ok,
    }


def merchant_text(told: Told) -> str:
    """What the table for people says below."""
    out = [
        "",
        "The merchant's books:",
        f"  {told.users} users; deposits: {told.deposits_made} made, "
        f"{told.deposits_booked} booked, {told.deposits_doubled} doubled, "
        f"{told.deposits_missing} missing",
        f"  withdrawals: {told.asked} asked, {told.paid} paid on chain, {told.inside} inside the "
        f"platform, {told.refused} refused by the second confirmation",
        f"  one callback was told at try {told.tries_until_told}",
        f"  down for {told.down_virtual_s / 3600:.2f} virtual hours: {told.given_up} callbacks "
        f"given up, {told.caught_up} caught up by sync lists",
        *(
            f"  {asset}: difference to platform and chain {units} base units"
            for asset, units in told.differences.items()
        ),
        *(f"  WRONG END: {text}" for text in told.wrong_end),
        f"{'OK' if told.ok else 'NOT OK'}: merchant",
    ]
    return "\n".join(out)
