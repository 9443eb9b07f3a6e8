"""`chain-adapter demo --merchant`: money all the way round, through a merchant and back.

users get addresses through the merchant API -> deposits on the chain -> callbacks (one fails four
times) -> withdrawals with a second confirmation (one refused, one inside the platform) -> the
merchant is down for four virtual hours -> its books against platform, daemon and chain.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain_adapter import money
from chain_adapter.demo import report
from chain_adapter.demo.balance import DOWN_S, Told, compare_merchant, merchant_json, merchant_text
from chain_adapter.demo.parts import wait_until
from chain_adapter.demo.scenario import BLOCK_S, Deposit, Scenario, Withdrawal
from chain_adapter.demo.shop import FAILURES, BadLine, Shop
from chain_adapter.demo.truth import Verdict, compare
from chain_adapter.errors import ConfigError

DEPOSITS = 8
WITHDRAWALS = 7
LATE_DEPOSITS = 2  # while the merchant is down
SPECIAL_WITHDRAWALS = 3  # refused, inside, while the merchant is down
SPEED = 2400.0  # of the callback schedule while the merchant is down
LIMIT_S = 240.0
CALL_LIMIT_S = 30.0  # of one callback: a loaded machine is slow, not silent
ON_THE_WAY = (1, 3)  # reviewed, processing: confirmed and not yet paid


@dataclass(slots=True)
class User:
    """A user of the merchant, in one asset; `address` as the merchant has it."""

    name: str
    uid: str
    symbol: str
    address: str
    holds: int = 0  # base units that the user must have at the end


@dataclass(slots=True)
class Order:
    """A withdrawal through the merchant, and how it must end in its books."""

    request_id: str
    user: User
    amount: int  # gross, base units
    ends: str  # paid, rejected
    inside: bool = False


class MerchantRound:
    """The scenes, played on the parts of `scenario`."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.users: list[User] = []
        self.orders: list[Order] = []
        self.deposits: list[tuple[User, int]] = []
        self.tries_until_told = 0
        self.given_up = 0
        self.down_virtual_s = 0.0
        self.caught_up = 0
        self.shop: Shop

    def charge(self, symbol: str) -> int:
        """The service charge of a withdrawal, base units."""
        return self.scenario.minimum(self.scenario.assets[symbol]) // 10

    def text(self, symbol: str, units: int) -> str:
        """A plain decimal amount."""
        return money.plain(units, self.scenario.assets[symbol].decimals)

    async def play(self, deposits: int, withdrawals: int) -> None:
        """Every scene; at the end all is paid, told and booked."""
        await self._open_shop()
        for number in range(deposits - LATE_DEPOSITS - 1):
            await self._pay(await self._user(number))
        await self._booked()
        await self._four_failures()
        for _ in range(withdrawals - SPECIAL_WITHDRAWALS):
            await self._withdraw("plain")
        await self._inside()
        await self._all_ended()
        await self._refused()
        await self._four_hours_down()

    async def _open_shop(self) -> None:
        one = self.scenario
        self.shop = Shop(one.control.url, one.folder)
        one.stack.push_async_callback(self.shop.close)
        await self.shop.start()
        await one.control.post("merchant", timeout_s=CALL_LIMIT_S)
        for symbol in one.assets:
            charge = self.text(symbol, self.charge(symbol))
            await one.control.post("merchant/coins", symbol=symbol, withdraw_fee=charge)
        one.say(f"a merchant opens at {self.shop.url}; its users get addresses from the platform")

    # --- deposits ---------------------------------------------------------------------------------

    async def _user(self, number: int) -> User:
        symbol = list(self.scenario.assets)[number % len(self.scenario.assets)]
        name = f"user-{len(self.users) + 1}"
        made = await self.shop.ask("users", name=name, symbol=symbol)
        user = User(name, str(made["uid"]), symbol, str(made["address"]))
        self.users.append(user)
        return user

    async def _pay(self, user: User, kind: str = "to a merchant's user") -> None:
        """A deposit on the chain; noted for both comparisons."""
        one = self.scenario
        amount = one.amount(one.assets[user.symbol])
        address, memo = self.split(user.address)
        await one.devnet.pay(user.symbol, address, amount, memo)
        one.round.deposits.append(Deposit(user.symbol, address, memo, amount, kind))
        self.deposits.append((user, amount))
        user.holds += amount

    def split(self, address: str) -> tuple[str, str | None]:
        """Address and memo of what the merchant API writes `address_memo`."""
        if not self.scenario.memo:
            return address, None
        bare, _, memo = address.rpartition("_")
        return bare, memo

    async def _booked(self) -> None:
        """Until the merchant's books hold every deposit made so far."""
        wanted = {user.address for user, _ in self.deposits}

        async def there() -> bool:
            return wanted <= {row["address"] for row in (await self.shop.books())["deposits"]}

        await wait_until(f"{len(wanted)} deposits in the merchant's books", there, LIMIT_S, 0.2)

    async def _four_failures(self) -> None:
        """One callback meets four failures of different kinds, and arrives at the fifth try."""
        control = self.scenario.control
        user = await self._user(len(self.users))
        direct = (await control.get("merchant"))["notify_url"]
        line = BadLine(self.shop)
        await line.open()
        try:
            await control.post("merchant", notify_url=line.url, speed=SPEED)
            await self._pay(user, "told at the fifth try")

            async def told() -> bool:
                rows = [row for row in await self._callbacks() if len(row["tries"]) > FAILURES]
                return any(row["state"] == "done" for row in rows)

            await wait_until("a callback to arrive at its fifth try", told, LIMIT_S, 0.2)
            self.tries_until_told = line.calls
        finally:
            await control.post("merchant", notify_url=direct, speed=1)
            await line.close()
        await self._booked()
        self.scenario.say("a callback failed four times and arrived at the fifth try")

    async def _callbacks(self) -> list[dict[str, Any]]:
        """Without the second confirmations."""
        rows = await self.scenario.control.get("merchant/callbacks")
        return [row for row in rows if row["kind"] != "confirm"]

    # --- withdrawals ------------------------------------------------------------------------------

    async def _withdraw(self, kind: str, *, to: User | None = None, ends: str = "paid") -> Order:
        """A third of what the richest user has in the next asset; to a stranger unless `to`."""
        one = self.scenario
        names = list(one.assets)
        symbol = names[len(self.orders) % len(names)] if to is None else to.symbol
        rich = [user for user in self.users if user.symbol == symbol and user is not to]
        user = max(rich, key=lambda person: person.holds)
        amount = user.holds // 3
        order = Order(f"order-{len(self.orders) + 1}", user, amount, ends, inside=to is not None)
        address = one.stranger() if to is None else to.address
        memo = "7" if one.memo and to is None else ""
        await self.shop.ask(
            "withdrawals", request_id=order.request_id, user=user.name, symbol=symbol,
            amount=self.text(symbol, amount), address=f"{address}_{memo}" if memo else address,
        )  # fmt: skip
        self.orders.append(order)
        if ends != "paid":
            return order
        user.holds -= amount
        net = amount - self.charge(symbol)
        if to is not None:
            to.holds += net
        else:
            one.round.withdrawals.append(Withdrawal("", symbol, address, net, kind, "complete"))
        return order

    async def _ended(self) -> bool:
        rows = {row["request_id"]: row for row in (await self.shop.books())["withdrawals"]}
        return all(rows[o.request_id]["state"] not in ("asked", "placed") for o in self.orders)

    async def _all_ended(self) -> None:
        what = f"{len(self.orders)} withdrawals to end in the merchant's books"
        await wait_until(what, self._ended, LIMIT_S, 0.2)
        self.scenario.say(f"{len(self.orders)} withdrawals confirmed, paid and told")

    async def _inside(self) -> None:
        """A user pays another user of the platform: no chain has a part in it."""
        symbol = next(iter(self.scenario.assets))
        poor = min(
            (user for user in self.users if user.symbol == symbol), key=lambda user: user.holds
        )
        await self._withdraw("inside the platform", to=poor)

    async def _refused(self) -> None:
        """The second confirmation says no: nothing is handed out, the user has it all again."""
        await self.shop.ask("refuse", reason="the shop is closed for a stocktaking")
        await self._withdraw("refused", ends="rejected")
        await wait_until("a refusal in the merchant's books", self._ended, LIMIT_S, 0.2)
        await self.shop.ask("refuse", reason=None)
        self.scenario.say("a second confirmation refused: the amount is the user's again")

    # --- four hours -------------------------------------------------------------------------------

    async def _four_hours_down(self) -> None:
        """Killed between its yes and the payment; every callback of that time is given up."""
        one, users = self.scenario, []
        for number in range(LATE_DEPOSITS):
            users.append(await self._user(number))
        await one.devnet.automine(None)
        order = await self._withdraw("while the merchant is down")

        async def confirmed() -> bool:
            rows = await one.control.get("merchant/withdrawals")
            found = next(row for row in rows if row["request_id"] == order.request_id)
            return found["status"] in ON_THE_WAY

        await wait_until("a withdrawal to be confirmed", confirmed, LIMIT_S)
        await self._told()
        known = await self._known()
        await self.shop.kill()
        slow_from = time.monotonic()
        one.say("SIGKILL to the merchant; money goes on without it for four virtual hours")
        await one.devnet.automine(BLOCK_S)
        for user in users:
            await self._pay(user, "while the merchant is down")
        events = LATE_DEPOSITS + 1

        async def failing(*states: str) -> bool:
            return sum(row["state"] in states for row in await self._callbacks()) == events

        await wait_until("callbacks to nobody", lambda: failing("waiting", "given_up"), LIMIT_S)
        await one.control.post("merchant", speed=SPEED)
        fast_from = time.monotonic()

        def virtual_s() -> float:
            return fast_from - slow_from + (time.monotonic() - fast_from) * SPEED

        async def over() -> bool:
            return virtual_s() >= DOWN_S and await failing("given_up")

        await wait_until("four virtual hours to pass", over, LIMIT_S)
        self.down_virtual_s = virtual_s()
        self.given_up = sum(row["state"] == "given_up" for row in await self._callbacks())
        await one.control.post("merchant", speed=1)
        await self.shop.start()
        await self._booked()
        await wait_until("the withdrawal in the merchant's books", self._ended, LIMIT_S, 0.2)
        self.caught_up = await self._known() - known
        one.say(f"the merchant is back: {self.caught_up} events came by sync lists, none is lost")

    async def _known(self) -> int:
        """How many deposits and ends of withdrawals the merchant's books hold."""
        books = await self.shop.books()
        ended = [row for row in books["withdrawals"] if row["state"] not in ("asked", "placed")]
        return len(books["deposits"]) + len(ended)

    async def _told(self) -> None:
        async def quiet() -> bool:
            return all(row["state"] != "waiting" for row in await self._callbacks())

        await wait_until("every callback to be told", quiet, LIMIT_S)

    # --- the end ----------------------------------------------------------------------------------

    async def close_books(self) -> None:
        """After collecting: names of the orders at the platform, miner fees to the merchant."""
        rows = await self.scenario.control.get("withdrawals")
        by_address = {row["address_to"]: row["trans_id"] for row in rows}
        for order in self.scenario.round.withdrawals:
            order.trans_id = by_address[order.address]
        await self.shop.ask("sync")


async def play(chain: str, deposits: int, withdrawals: int, *, as_json: bool) -> int:
    """One round; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="chain-adapter-demo-"))
    scenario = Scenario(chain, folder)
    shop = MerchantRound(scenario)
    started = time.monotonic()
    verdict: Verdict | None = None
    told: Told | None = None
    fine = False
    try:
        await scenario.open(pool=deposits + 8)
        await shop.play(deposits, withdrawals)
        await scenario.settle(limit_s=LIMIT_S + deposits + withdrawals)
        await scenario.collect(limit_s=LIMIT_S + deposits)
        await shop.close_books()
        verdict = await compare(scenario)
        told = await compare_merchant(shop, verdict)
        fine = verdict.ok and told.ok
    finally:
        await scenario.stack.aclose()
        if fine:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs and state are kept in {folder}", file=sys.stderr)
    seconds = time.monotonic() - started
    if as_json:
        whole = report.as_json(verdict, seconds)
        print(json.dumps({**whole, "merchant": merchant_json(told), "ok": fine}))
    else:
        print(report.as_text(scenario, verdict, seconds))
        print(merchant_text(told))
    return 0 if fine else 1


def main(chain: str, deposits: int | None, withdrawals: int | None, *, as_json: bool) -> int:
    """The command; None takes the usual number, and fewer than the scenes need are made more.

    Raises `ConfigError` when the users could not pay for so many withdrawals.
    """
    coming = max(DEPOSITS if deposits is None else deposits, DEPOSITS)
    going = max(WITHDRAWALS if withdrawals is None else withdrawals, SPECIAL_WITHDRAWALS + 1)
    if going > 2 * coming:
        raise ConfigError(f"--withdrawals: with --merchant, {coming} deposits pay at most "
                          f"{2 * coming} withdrawals")  # fmt: skip
    return asyncio.run(play(chain, coming, going, as_json=as_json))
