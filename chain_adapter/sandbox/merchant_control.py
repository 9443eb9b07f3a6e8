"""The control calls of the merchant side: who the merchant is, what was sent to it, what it costs.

JSON in and out, as in the rest of the control API (docs/merchants.md lists them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web

from chain_adapter.callbacks.uuwallet import (
    DO_NOT_RESPOND,
    NOTIFY_NOT_ENOUGH_HOT_MONEY,
    NOTIFY_NOT_ENOUGH_MONEY,
)
from chain_adapter.errors import KeyFileError
from chain_adapter.sandbox import merchant_orders as orders
from chain_adapter.sandbox import merchant_records as records
from chain_adapter.sandbox import merchant_users as users
from chain_adapter.sandbox.coins import find_coin
from chain_adapter.sandbox.control import Impossible, answered
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.merchant_books import (
    DIALECTS,
    SCHEDULES,
    UUWALLET,
    Settings,
    enqueue,
)
from chain_adapter.sandbox.merchant_records import Chosen
from chain_adapter.sandbox.merchant_users import MerchantRefusal
from chain_adapter.sandbox.wire import Fields, Malformed, Num, loads

_LEAST_SPEED, _MOST_SPEED = 1e-6, 1e9


class Side(Protocol):
    """The merchant side as its control sees it."""

    settings: Settings

    @property
    def app_id(self) -> str: ...

    async def set(self, settings: Settings) -> None: ...

    def public_keys(self) -> Mapping[str, str]: ...


class MerchantControl:
    """Serves `/sandbox/merchant…`."""

    def __init__(self, ledger: Ledger, side: Side) -> None:
        self._ledger = ledger
        self._side = side

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sandbox/merchant", answered(self.set)),
            web.get("/sandbox/merchant", answered(self.show)),
            web.post("/sandbox/merchant/coins", answered(self.set_coin)),
            web.post("/sandbox/merchant/notify", answered(self.notify)),
            web.get("/sandbox/merchant/callbacks", answered(self.callbacks)),
            web.get("/sandbox/merchant/deposits", answered(self.deposits)),
            web.get("/sandbox/merchant/withdrawals", answered(self.withdrawals)),
        ]

    async def set(self, request: web.Request) -> object:
        """Every field is optional; what is not given stays as it is."""
        fields = await _body(request, *(field.name for field in fields_of(Settings)))
        present = self._side.settings
        try:
            await self._side.set(_changed(present, fields))
        except KeyFileError as error:
            raise Malformed(f"field 'public_key': {error}") from None
        return await self.show(request)

    async def show(self, request: web.Request) -> object:
        settings = self._side.settings
        return {
            "dialect": settings.dialect,
            "notify_url": settings.notify_url,
            "confirm_url": settings.confirm_url,
            "schedule": settings.schedule,
            "speed": settings.speed,
            "timeout_s": settings.timeout_s,
            "app_id": self._side.app_id,
            "api_key": settings.api_key,
            "public_key": settings.public_key,
            "chain_names": settings.chain_names or {},
            **self._side.public_keys(),
        }

    async def set_coin(self, request: web.Request) -> object:
        fields = await _body(request, "symbol", "withdraw_fee", "company_balance")
        symbol = fields.text("symbol")

        def unit(books: Books) -> None:
            coin = find_coin(books, symbol)
            if coin is None:
                raise Impossible(404, f"no coin {symbol[:40]}: POST /sandbox/coins first")
            given: dict[str, str | None] = {"withdraw_fee": None, "company_balance": None}
            for name in given:
                if name in fields:
                    text = fields.number(name)
                    try:
                        given[name] = "0" if text.strip("0.") == "" else orders.exact(coin, text)
                    except MerchantRefusal as error:
                        raise Malformed(f"field {name!r}: {error.msg}") from None
            users.set_fee(books, symbol, given["withdraw_fee"], given["company_balance"])

        await self._ledger.run(unit)
        return {}

    async def notify(self, request: web.Request) -> object:
        """UUWallet's messages that follow from nothing in the books.

        `{type: 4, user, symbol}` gives the user a new address of the pool and says so;
        `{type: 0 | 6 | 7, request_id}` tells that about an order.
        """
        fields = await _body(request, "type", "user", "symbol", "request_id")
        kind = fields.whole("type")
        settings = self._side.settings
        if settings.dialect != UUWALLET or not settings.notify_url:
            raise Impossible(409, "the merchant does not speak uuwallet, or has no notify_url")
        if kind == 4:
            return await self._ledger.run(lambda books: _new_address(books, fields))
        if kind not in (DO_NOT_RESPOND, NOTIFY_NOT_ENOUGH_MONEY, NOTIFY_NOT_ENOUGH_HOT_MONEY):
            raise Malformed("field 'type' is one of 0, 4, 6, 7; the others follow from the books")
        request_id = fields.text("request_id")

        def unit(books: Books) -> object:
            row = books.one("SELECT id FROM merchant_orders WHERE request_id = ?", request_id)
            if row is None:
                raise Impossible(404, f"no withdrawal {request_id[:64]}")
            enqueue(books, "notice", row["id"], kind, books.now)
            return {}

        return await self._ledger.run(unit)

    async def callbacks(self, request: web.Request) -> object:
        return await self._ledger.run(callback_listing)

    async def deposits(self, request: web.Request) -> object:
        return await self._listed("merchant_deposits", records.deposits)

    async def withdrawals(self, request: web.Request) -> object:
        return await self._listed("merchant_orders", records.withdrawals)

    async def _listed(self, table: str, lister: records.Lister) -> object:
        def unit(books: Books) -> object:
            orders.collect(books, self._side.settings)
            ids = [str(row["id"]) for row in books.all(f"SELECT id FROM {table} ORDER BY id")]
            rows = lister(books, Chosen(ids=ids)) if ids else []
            return [{name: _plain(value) for name, value in row.items()} for row in rows]

        return await self._ledger.run(unit)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, Num) else value


def callback_listing(books: Books) -> list[dict[str, object]]:
    """Every callback with its tries."""
    tries: dict[int, list[dict[str, object]]] = {}
    for row in books.all("SELECT * FROM merchant_tries ORDER BY id"):
        tries.setdefault(row["callback"], []).append(
            {"at": row["at"] / 1e6, "ok": bool(row["ok"]), "answer": row["answer"]}
        )
    return [
        {
            "id": row["id"],
            "kind": row["kind"],
            "record": row["record"],
            "status": row["status"],
            "state": row["state"],
            "created_at": row["created_at"] / 1e6,
            "next_at": None if row["next_at"] is None else row["next_at"] / 1e6,
            "done_at": None if row["done_at"] is None else row["done_at"] / 1e6,
            "tries": tries.get(row["id"], []),
        }
        for row in books.all("SELECT * FROM merchant_callbacks ORDER BY id")
    ]


def _new_address(books: Books, fields: Fields) -> object:
    symbol, user = fields.text("symbol"), fields.identifier("user")
    try:
        coin = users.coin_of(books, symbol)
        holder = users.known(books, user)
        address = users.give(books, coin, holder)
    except MerchantRefusal as error:
        raise Impossible(404, error.msg) from None
    enqueue(books, "address", holder, 4, books.now, f"{address}|{symbol}")
    return {"address": address}


def _changed(present: Settings, fields: Fields) -> Settings:
    changed: dict[str, object] = {}
    for name, choices in (("dialect", DIALECTS), ("schedule", SCHEDULES)):
        if name in fields:
            changed[name] = fields.text(name)
            if changed[name] not in choices:
                raise Malformed(f"field {name!r} is one of {', '.join(choices)}")
    for name in ("notify_url", "confirm_url"):
        if name in fields:
            changed[name] = _url(fields, name)
    for name in ("app_id", "api_key", "public_key"):
        if name in fields:
            changed[name] = fields.text(name, empty=True, longest=4000)
    for name in ("speed", "timeout_s"):
        if name in fields:
            text = fields.number(name)
            if not isinstance(text, Num) or not _LEAST_SPEED <= float(text) <= _MOST_SPEED:
                raise Malformed(
                    f"field {name!r} is not a number from {_LEAST_SPEED} to {_MOST_SPEED}"
                )
            changed[name] = float(text)
    if "chain_names" in fields:
        changed["chain_names"] = _names(fields)
    return replace(present, **changed)  # type: ignore[arg-type]


def _names(fields: Fields) -> dict[str, str]:
    value = fields.raw("chain_names")
    if not isinstance(value, dict) or any(
        not isinstance(one, str) or isinstance(one, Num) for one in value.values()
    ):
        raise Malformed("field 'chain_names' is no object of main symbol to name")
    return {str(symbol): str(name) for symbol, name in value.items()}


def _url(fields: Fields, name: str) -> str:
    url = fields.text(name, empty=True, longest=2000)
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if url and not fine:
        raise Malformed(f"field {name!r} is no http:// or https:// URL")
    return url


async def _body(request: web.Request, *names: str) -> Fields:
    fields = Fields(loads(await request.read()))
    fields.only(*names)
    return fields
