"""The sandbox's pages: users with their addresses, a coin to send, the life of all money, live.

Plain files, no build step, served where the control API is: on a loopback address only. The page
listens to `GET /sandbox/feed` and fetches `GET /sandbox/view` when something has changed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import segno
from aiohttp import web

from chain_adapter.chain import ChainError
from chain_adapter.errors import ConfigError
from chain_adapter.sandbox import merchant_orders as orders
from chain_adapter.sandbox import timeline
from chain_adapter.sandbox.control import Impossible, answered
from chain_adapter.sandbox.devnets import DevnetConfig, Devnets, SendFailed
from chain_adapter.sandbox.feed import Feed
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.merchant_books import Settings, get_value, put_value
from chain_adapter.sandbox.wire import Fields, Malformed, Num, loads

_ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_PULSE_S = 15.0
_MOST_TEXT = 512


class Pages:
    """`load` it once the books are open."""

    def __init__(self, ledger: Ledger, feed: Feed, settings: Callable[[], Settings]) -> None:
        self._ledger = ledger
        self._feed = feed
        self._settings = settings
        self._devnets = Devnets()

    async def load(self) -> None:
        """Open the local chains that an earlier process was told of."""
        stored = await self._ledger.run(lambda books: get_value(books, "devnets"))
        for one in stored or []:
            try:
                self._devnets.open(DevnetConfig(**one))
            except (ConfigError, ChainError):
                continue  # its plugin is gone; the rest works without it

    async def close(self) -> None:
        await self._devnets.close()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/favicon.ico", self.no_icon),
            web.get("/pages/{name}", self.asset),
            web.get("/pages/qr/{text}", self.qr),
            web.get("/sandbox/view", answered(self.view)),
            web.get("/sandbox/feed", self.stream),
            web.get("/sandbox/timeline", answered(self.lives)),
            web.post("/sandbox/devnets", answered(self.set_devnet)),
            web.get("/sandbox/devnets", answered(self.devnets)),
            web.post("/sandbox/send", answered(self.send)),
        ]

    # --- files

    async def page(self, request: web.Request) -> web.Response:
        return _file("page.html", "text/html")

    async def no_icon(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _ASSETS:
            raise web.HTTPNotFound
        return _file(name, _ASSETS[name])

    async def qr(self, request: web.Request) -> web.Response:
        """An address as a QR code, SVG."""
        text = request.match_info["text"]
        if len(text) > _MOST_TEXT:
            raise web.HTTPNotFound
        image = io.BytesIO()
        segno.make(text, micro=False).save(image, kind="svg", scale=4, border=2, dark="#16181d")
        return web.Response(body=image.getvalue(), content_type="image/svg+xml", headers=_HEADERS)

    # --- data

    async def view(self, request: web.Request) -> object:
        """All that the page shows, in one answer."""

        def unit(books: Books) -> dict[str, object]:
            orders.collect(books, self._settings())
            return {"coins": _coins(books), "users": _users(books), **timeline.listing(books)}

        return {**await self._ledger.run(unit), "sendable": self._devnets.symbols}

    async def lives(self, request: web.Request) -> object:
        """`{deposits, withdrawals}` with their steps."""

        def unit(books: Books) -> object:
            orders.collect(books, self._settings())
            return timeline.listing(books)

        return await self._ledger.run(unit)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: one `changed` whenever there may be something new."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        seen = -1
        try:
            while not self._feed.is_closed:
                number = await self._feed.after(seen, _PULSE_S)
                text = b": still here\n\n" if number == seen else b"event: changed\ndata: \n\n"
                seen = number
                await response.write(text)
        except ConnectionResetError:
            pass  # the page was closed
        return response

    # --- local chains

    async def set_devnet(self, request: web.Request) -> object:
        """`{plugin, node, assets, private_key}`; what else a ready line has is passed over.

        `symbol` in an asset names it as the platform does, where that differs.
        """
        fields = Fields(loads(await request.read()))
        config = DevnetConfig(
            plugin=fields.text("plugin"),
            node=_values(fields, "node"),
            assets=_values(fields, "assets"),
            private_key=fields.text("private_key"),
        )
        try:
            self._devnets.open(config)
        except ConfigError as error:
            raise Malformed(str(error)) from None
        stored = {
            "plugin": config.plugin,
            "node": config.node,
            "assets": config.assets,
            "private_key": config.private_key,
        }

        def unit(books: Books) -> None:
            mine = set(config.asset_of())  # of what overlaps, the newest counts
            others = [
                one
                for one in get_value(books, "devnets") or []
                if not set(DevnetConfig(**one).asset_of()) <= mine
            ]
            put_value(books, "devnets", [*others, stored])

        await self._ledger.run(unit)
        self._feed.changed()
        return {"symbols": self._devnets.symbols}

    async def devnets(self, request: web.Request) -> object:
        return {"symbols": self._devnets.symbols}

    async def send(self, request: web.Request) -> object:
        """`{symbol, address, amount, memo?}` -> `{txid}`."""
        fields = Fields(loads(await request.read()))
        fields.only("symbol", "address", "amount", "memo")
        symbol, address = fields.text("symbol"), fields.text("address")
        amount, memo = str(fields.number("amount")), fields.optional_text("memo")
        try:
            txid = await self._devnets.send(symbol, address, amount, memo)
        except SendFailed as error:
            raise Impossible(409, str(error)) from None

        def unit(books: Books) -> None:
            books.do(
                "INSERT INTO sent_coins (symbol, txid, address, memo, amount, at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                symbol, txid, address, memo, amount, books.now,
            )  # fmt: skip

        await self._ledger.run(unit)
        return {"txid": txid}


def _coins(books: Books) -> list[dict[str, object]]:
    return [
        {
            "symbol": row["symbol"],
            "main_symbol": row["main_symbol"],
            "memo": bool(row["memo"]),
            "unused": row["unused"],
        }
        for row in books.all(
            "SELECT coins.*, (SELECT COUNT(*) FROM addresses WHERE user IS NULL AND"
            " addresses.main_symbol = coins.main_symbol) AS unused FROM coins ORDER BY symbol"
        )
    ]


def _users(books: Books) -> list[dict[str, object]]:
    places: dict[int, list[dict[str, str]]] = {}
    for row in books.all(
        "SELECT addresses.user AS user, addresses.main_symbol AS coin, address, '' AS memo"
        " FROM addresses JOIN coins ON symbol = addresses.main_symbol"
        " WHERE addresses.user IS NOT NULL AND NOT coins.memo"
        " UNION ALL SELECT memos.user, memos.main_symbol, address, memos.memo FROM memos"
        " JOIN addresses ON addresses.main_symbol = memos.main_symbol"
    ):
        place = {"symbol": row["coin"], "address": row["address"], "memo": row["memo"]}
        places.setdefault(row["user"], []).append(place)
    balances: dict[int, dict[str, str]] = {}
    for row in books.all("SELECT user, symbol, amount FROM accounts ORDER BY symbol"):
        balances.setdefault(row["user"], {})[row["symbol"]] = row["amount"]
    return [
        {
            "user": row["id"],
            "name": row["name"],
            "addresses": places.get(row["id"], []),
            "balances": balances.get(row["id"], {}),
        }
        for row in books.all(
            "SELECT id, COALESCE(name, '') AS name FROM users LEFT JOIN merchant_users"
            " ON user = id ORDER BY id DESC LIMIT 200"
        )
    ]


def _file(name: str, content_type: str) -> web.Response:
    body = (files("chain_adapter.sandbox") / "page_files" / name).read_bytes()
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)


def _values(fields: Fields, name: str) -> dict[str, Any]:
    value = fields.raw(name)
    if not isinstance(value, dict):
        raise Malformed(f"field {name!r} is no object")
    return {str(key): _value(one) for key, one in value.items()}


def _value(value: object) -> Any:
    if isinstance(value, Num):
        return int(value) if value.isdigit() else float(value)
    if isinstance(value, dict):
        return {str(key): _value(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_value(one) for one in value]
    return value
