"""The control API: what a user, an operator or a test does to the platform from outside.

JSON in and out, every field checked: 400 with a reason for what is malformed, 404 for what does
not exist, 409 for what cannot be now. Amounts are decimal strings, times Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from chain_adapter.sandbox import behaviour, deposits, faults, pool, withdrawals
from chain_adapter.sandbox.coins import Coin, find_coin
from chain_adapter.sandbox.faults import FaultQueue
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.wapi import PATHS
from chain_adapter.sandbox.wire import Fields, Malformed, is_number, loads

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_DECIMALS = 77
_MAX_CONFIRMATIONS = 1_000_000
_MAX_AMOUNT_TEXT = 200
_CANCELLED = "cancelled"


class Impossible(Exception):
    """A well-formed request that is answered 404 or 409."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Control:
    """Serves `/sandbox/…`; mounted only where the listener is a loopback address."""

    def __init__(self, ledger: Ledger, rule: dict[str, str], queue: FaultQueue) -> None:
        self._ledger = ledger
        self._rule = rule
        self._queue = queue

    def routes(self) -> list[web.RouteDef]:
        """Every call of the control API."""
        return [
            web.post("/sandbox/coins", answered(self.set_coin)),
            web.get("/sandbox/coins", answered(self.coins)),
            web.post("/sandbox/users", answered(self.new_user)),
            web.get("/sandbox/users", answered(self.users)),
            web.post("/sandbox/withdrawals", answered(self.order)),
            web.get("/sandbox/withdrawals", answered(self.withdrawals)),
            web.get("/sandbox/withdrawals/{trans_id}", answered(self.withdrawal)),
            web.post("/sandbox/withdrawals/{trans_id}", answered(self.change)),
            web.get("/sandbox/deposits", answered(self.deposits)),
            web.get("/sandbox/internal", answered(self.internal)),
            web.get("/sandbox/addresses", answered(self.addresses)),
            web.post("/sandbox/faults", answered(self.add_fault)),
            web.get("/sandbox/faults", answered(self.faults)),
            web.delete("/sandbox/faults", answered(self.clear_faults)),
            web.post("/sandbox/behaviour", answered(self.set_rule)),
            web.get("/sandbox/behaviour", answered(self.rules)),
        ]

    # --- coins and users ------------------------------------------------------------------------

    async def set_coin(self, request: web.Request) -> object:
        fields = await _body(request, "symbol", "main_symbol", "memo", "decimals", "confirmations")
        symbol = _symbol(fields, "symbol")
        main = _symbol(fields, "main_symbol") if fields.optional_text("main_symbol") else ""
        keep_main = "main_symbol" not in fields
        memo = fields.flag("memo")
        decimals = fields.whole("decimals", most=_MAX_DECIMALS)
        confirmations = fields.whole("confirmations", most=_MAX_CONFIRMATIONS)

        def unit(books: Books) -> None:
            known = find_coin(books, symbol)
            main_symbol = main or symbol
            if known is not None and keep_main:
                main_symbol = known.main_symbol
            if main_symbol != symbol:
                found = find_coin(books, main_symbol)
                if found is None:
                    raise Impossible(404, f"no main coin {main_symbol}: add it first")
                if found.is_token:
                    raise Impossible(409, f"{main_symbol} is a token itself")
                _refuse_demotion(books, symbol)
            books.do(
                "INSERT INTO coins (symbol, main_symbol, memo, decimals, confirmations)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (symbol) DO UPDATE SET"
                " main_symbol = excluded.main_symbol, memo = excluded.memo,"
                " decimals = excluded.decimals, confirmations = excluded.confirmations",
                symbol, main_symbol, int(memo), decimals, confirmations,
            )  # fmt: skip

        await self._ledger.run(unit)
        return {}

    async def coins(self, request: web.Request) -> object:
        def unit(books: Books) -> list[dict[str, object]]:
            return [
                {**dict(row), "memo": bool(row["memo"])}
                for row in books.all("SELECT * FROM coins ORDER BY symbol")
            ]

        return await self._ledger.run(unit)

    async def new_user(self, request: web.Request) -> object:
        symbol = (await _body(request, "symbol")).text("symbol")

        def unit(books: Books) -> object:
            holder = pool.new_holder(books, _coin(books, symbol))
            if holder is None:
                raise Impossible(409, f"no unused address of {symbol}: the pool is empty")
            return {"user": holder.user, "address": holder.address, "memo": holder.memo}

        return await self._ledger.run(unit)

    async def users(self, request: web.Request) -> object:
        def unit(books: Books) -> object:
            balances: dict[int, dict[str, str]] = {}
            for row in books.all("SELECT user, symbol, amount FROM accounts ORDER BY symbol"):
                balances.setdefault(row["user"], {})[row["symbol"]] = row["amount"]
            return [
                {
                    "user": row["id"],
                    "balances": balances.get(row["id"], {}),
                    "created_at": row["created_at"] / 1e6,
                }
                for row in books.all("SELECT * FROM users ORDER BY id")
            ]

        return await self._ledger.run(unit)

    async def addresses(self, request: web.Request) -> object:
        symbol = request.query.get("symbol", "")
        if not symbol:
            raise Malformed("which coin? add ?symbol=…")
        return await self._ledger.run(lambda books: pool.listing(books, _coin(books, symbol)))

    # --- withdrawals ----------------------------------------------------------------------------

    async def order(self, request: web.Request) -> object:
        fields = await _body(request, "symbol", "address_to", "amount", "memo")
        symbol, address_to = fields.text("symbol"), fields.text("address_to", empty=True)
        amount, memo = _amount(fields), fields.optional_text("memo")
        trans_id = await self._ledger.run(
            lambda books: withdrawals.create(books, _coin(books, symbol), amount, address_to, memo)
        )
        return {"trans_id": str(trans_id)}

    async def withdrawals(self, request: web.Request) -> object:
        return await self._ledger.run(withdrawals.listing)

    async def withdrawal(self, request: web.Request) -> object:
        trans_id = request.match_info["trans_id"]

        def unit(books: Books) -> object:
            row = withdrawals.find(books, trans_id)
            if row is None:
                raise Impossible(404, f"no withdrawal {trans_id}")
            return withdrawals.listing(books, row["trans_id"])[0]

        return await self._ledger.run(unit)

    async def change(self, request: web.Request) -> object:
        """A user's cancel, or content that changes under the adapter's feet."""
        trans_id = request.match_info["trans_id"]
        fields = await _body(request, "state", "address_to", "amount", "memo")
        cancel = "state" in fields
        if cancel and fields.text("state") != _CANCELLED:
            raise Malformed(f"field 'state' can only be set to {_CANCELLED!r}")
        content: dict[str, str] = {}
        if "address_to" in fields:
            content["address_to"] = fields.text("address_to", empty=True)
        if "amount" in fields:
            content["amount"] = _amount(fields)
        if "memo" in fields:
            content["memo"] = fields.optional_text("memo")
        if not cancel and not content:
            raise Malformed("nothing to change: give state, address_to, amount or memo")

        def unit(books: Books) -> None:
            row = withdrawals.find(books, trans_id)
            if row is None:
                raise Impossible(404, f"no withdrawal {trans_id}")
            for name, value in content.items():
                books.do(f"UPDATE withdrawals SET {name} = ? WHERE trans_id = ?",
                         value, row["trans_id"])  # fmt: skip
            if cancel and row["state"] in ("paying", "complete"):
                raise Impossible(409, f"withdrawal {trans_id} is {row['state']}: too late")
            if cancel and row["state"] == "pending":
                withdrawals.send_back(books, row, "user", "")

        await self._ledger.run(unit)
        return {}

    # --- what was told --------------------------------------------------------------------------

    async def deposits(self, request: web.Request) -> object:
        return await self._ledger.run(deposits.listing)

    async def internal(self, request: web.Request) -> object:
        return await self._ledger.run(deposits.internal_listing)

    # --- faults and behaviour -------------------------------------------------------------------

    async def add_fault(self, request: web.Request) -> object:
        fault, times = faults.read(Fields(loads(await request.read())), PATHS)
        await self._queue.add(fault, times)
        return {}

    async def faults(self, request: web.Request) -> object:
        return self._queue.listing()

    async def clear_faults(self, request: web.Request) -> object:
        await self._queue.clear()
        return {}

    async def set_rule(self, request: web.Request) -> object:
        fields = await _body(request, "rule", "value")
        name, value = fields.text("rule"), fields.text("value")
        values = behaviour.values_of(name)
        if values is None:
            known = ", ".join(behaviour.defaults())
            raise Malformed(f"unknown rule {name!r}; known are {known}")
        if value not in values:
            raise Malformed(f"rule {name!r} is one of {', '.join(values)}")

        def unit(books: Books) -> None:
            books.do("INSERT OR REPLACE INTO behaviour (rule, value) VALUES (?, ?)", name, value)

        await self._ledger.run(unit)
        self._rule[name] = value
        return {}

    async def rules(self, request: web.Request) -> object:
        return behaviour.listing(self._rule)


def answered(handler: Callable[[web.Request], Awaitable[object]]) -> Handler:
    """The handler's answer, or its refusal, as JSON."""

    async def respond(request: web.Request) -> web.StreamResponse:
        status = 200
        try:
            answer = await handler(request)
        except Malformed as error:
            answer, status = {"error": str(error)}, 400
        except Impossible as error:
            answer, status = {"error": str(error)}, error.status
        except web.HTTPRequestEntityTooLarge:
            answer, status = {"error": "the body is too large"}, 400
        return web.json_response(answer, status=status, dumps=_dumps)

    return respond


async def not_found(request: web.Request) -> object:
    """What every other path under /sandbox/ answers."""
    raise Impossible(404, f"no such call: {request.method} {request.path}")


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


async def _body(request: web.Request, *names: str) -> Fields:
    fields = Fields(loads(await request.read()))
    fields.only(*names)
    return fields


def _symbol(fields: Fields, name: str) -> str:
    symbol = fields.text(name, longest=64)
    if not symbol.isprintable() or any(c.isspace() or c == "," for c in symbol):
        raise Malformed(f"field {name!r} has a space, a comma or an unprintable character")
    return symbol


def _coin(books: Books, symbol: str) -> Coin:
    coin = find_coin(books, symbol)
    if coin is None:
        raise Impossible(404, f"no coin {symbol[:40]}: POST /sandbox/coins first")
    return coin


def _refuse_demotion(books: Books, symbol: str) -> None:
    token = books.one(
        "SELECT symbol FROM coins WHERE main_symbol = ? AND symbol <> ?", symbol, symbol
    )
    if token is not None:
        raise Impossible(409, f"{symbol} is the main coin of {token['symbol']}")


def _amount(fields: Fields) -> str:
    """The text as given: decimals right or wrong, an exponent too, but above zero."""
    text = fields.number("amount")
    if not is_number(text) or len(text) > _MAX_AMOUNT_TEXT:
        raise Malformed("field 'amount' is not a decimal number")
    mantissa = text.lower().partition("e")[0]
    if text.startswith("-") or not mantissa.strip("0."):
        raise Malformed("field 'amount' is not above zero")
    return str(text)
