"""The merchant API, `/api/v2/…` (WaaS V2): open the request, run the call, seal the answer.

form or query -> app_id -> block type 1 under the merchant's key -> fields -> call on the books ->
commit -> sealed {code, msg, data}. A refused call has changed nothing and is sealed as well.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from aiohttp import web

from chain_adapter.callbacks import CallbackRefused
from chain_adapter.callbacks.waas import WaasV2
from chain_adapter.sandbox import merchant_orders as orders
from chain_adapter.sandbox import merchant_records as records
from chain_adapter.sandbox import merchant_users as users
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.merchant_books import Settings
from chain_adapter.sandbox.merchant_records import PAGE, Chosen
from chain_adapter.sandbox.merchant_users import (
    BAD_ADDRESS,
    BAD_PARAMETER,
    BAD_SEAL,
    NOT_ENOUGH,
    OTHER_CONTENT,
    SYSTEM_ERROR,
    UNKNOWN_APP,
    MerchantRefusal,
)
from chain_adapter.sandbox.wire import Fields, Malformed, Num, dumps, loads

_MAX_REQUEST_ID = 64
_MAX_NAME = 100


class Context(Protocol):
    """What a call needs to know beside the books."""

    settings: Settings

    @property
    def app_id(self) -> str:
        """The merchant's."""
        ...

    def dialect(self) -> WaasV2:
        """The platform's end."""
        ...

    def wake(self) -> None:
        """There may be callbacks to send."""
        ...


Call = Callable[[Books, Fields, Context], object]


class MerchantApi:
    """Serves `/api/v2/{path}`, POST and GET alike: the public client libraries differ in that."""

    def __init__(self, ledger: Ledger, context: Context) -> None:
        self._ledger = ledger
        self._context = context

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        dialect = await asyncio.to_thread(self._context.dialect)
        try:
            call = CALLS.get(request.match_info["path"])
            if call is None:
                raise MerchantRefusal(SYSTEM_ERROR, "no such call")
            fields = await self._open(request, dialect)
            answer = await self._ledger.run(lambda books: self._run(books, call, fields))
            reply: dict[str, object] = {"code": "0", "msg": "success", "data": answer}
        except MerchantRefusal as error:
            reply = {"code": error.code, "msg": error.msg, "data": None}
        except Malformed as error:
            reply = {"code": BAD_PARAMETER, "msg": str(error), "data": None}
        self._context.wake()
        data = await asyncio.to_thread(dialect.seal, dumps(reply))
        return web.Response(
            body=dumps({"data": data}), content_type="application/json", charset="utf-8"
        )

    def _run(self, books: Books, call: Call, fields: Fields) -> object:
        orders.collect(books, self._context.settings)
        return call(books, fields, self._context)

    async def _open(self, request: web.Request, dialect: WaasV2) -> Fields:
        form: dict[str, str] = {name: str(value) for name, value in request.query.items()}
        try:
            if request.method == "POST":
                if request.content_type == "application/json":
                    body = Fields(loads(await request.read()))
                    form |= {name: body.text(name, longest=10**7) for name in ("app_id", "data")}
                else:
                    posted = await request.post()
                    form |= {name: str(value) for name, value in posted.items()}
        except (ValueError, web.HTTPRequestEntityTooLarge):
            raise MerchantRefusal(BAD_PARAMETER, "the body is no form") from None
        if form.get("app_id") != dialect.app_id:
            raise MerchantRefusal(UNKNOWN_APP, "app_id is unknown")
        try:
            return Fields(loads(await asyncio.to_thread(dialect.open_form, form)))
        except CallbackRefused:
            raise MerchantRefusal(BAD_SEAL, "data does not open under the merchant's key") from None


# --- users and addresses ------------------------------------------------------------------------


def _create_user(books: Books, fields: Fields, context: Context) -> object:
    return {"uid": Num(str(users.register(books, _mobile(fields))))}


def _register_email(books: Books, fields: Fields, context: Context) -> object:
    return {"uid": Num(str(users.register(books, fields.text("email", longest=_MAX_NAME))))}


def _user_info(books: Books, fields: Fields, context: Context) -> object:
    email = fields.optional_text("email")
    user = users.find(books, email or _mobile(fields))
    return {"uid": Num(str(user)), "nickname": ""}


def _mobile(fields: Fields) -> str:
    return f"+{fields.identifier('country')} {fields.identifier('mobile')}"


def _coin_list(books: Books, fields: Fields, context: Context) -> object:
    return [
        {
            "symbol": row["symbol"],
            "icon": "",
            "real_symbol": row["symbol"],
            "decimals": str(row["decimals"]),
            "name": row["symbol"],
            "base_symbol": row["main_symbol"],
            "contract_address": "",
            "deposit_confirmation": str(row["confirmations"]),
            "explorer": "",
            "address_regex": "",
            "address_tag_regex": "",
            "support_memo": str(row["memo"]),
            "support_token": str(int(row["symbol"] != row["main_symbol"])),
        }
        for row in books.all("SELECT * FROM coins ORDER BY symbol")
    ]


def _deposit_address(books: Books, fields: Fields, context: Context) -> object:
    coin = users.coin_of(books, fields.text("symbol"))
    user = users.known(books, fields.identifier("uid"))
    return {"uid": str(user), "address": users.allot(books, coin, user)}


def _account(books: Books, fields: Fields, context: Context) -> object:
    coin = users.coin_of(books, fields.text("symbol"))
    user = users.known(books, fields.identifier("uid"))
    return {
        "normal_balance": users.balance(books, user, coin.symbol),
        "lock_balance": users.locked(books, user, coin.symbol),
        "deposit_address": users.address_of(books, coin, user) or "",
    }


def _company(books: Books, fields: Fields, context: Context) -> object:
    coin = users.coin_of(books, fields.text("symbol"))
    return {"symbol": coin.symbol, "balance": users.company_balance(books, coin.symbol)}


def _address_info(books: Books, fields: Fields, context: Context) -> object:
    address = fields.text("address", longest=512)
    users.note_addresses(books)
    row = books.one("SELECT * FROM merchant_addresses WHERE address = ? ORDER BY id DESC", address)
    if row is None:
        raise MerchantRefusal(BAD_ADDRESS, "no user has this address")
    return {"uid": str(row["user"]), "address": row["address"], "symbol": row["main_symbol"]}


# --- withdrawals and transfers ------------------------------------------------------------------


def _withdraw(books: Books, fields: Fields, context: Context) -> object:
    wanted = orders.Wanted(
        request_id=_request_id(fields),
        uid=fields.identifier("from_uid"),
        symbol=fields.text("symbol"),
        amount=fields.number("amount"),
        address=fields.text("to_address", empty=True, longest=1000),
    )
    row = orders.order(books, context.settings, wanted)
    return {"id": Num(str(row["id"])), "status": Num(str(row["status"]))}


def _transfer(books: Books, fields: Fields, context: Context) -> object:
    """From the merchant's own account to another merchant's, who is not in this sandbox."""
    coin = users.coin_of(books, fields.text("symbol"))
    request_id, receiver = _request_id(fields), fields.text("to", longest=255)
    amount, remark = orders.exact(coin, fields.number("amount")), fields.optional_text("remark")
    known = books.one("SELECT * FROM merchant_transfers WHERE request_id = ?", request_id)
    if known is not None:
        if (known["symbol"], known["receiver"], known["amount"]) != (coin.symbol, receiver, amount):
            raise MerchantRefusal(OTHER_CONTENT, "this request_id was used for another transfer")
        return {"receipt": known["receipt"]}
    if receiver == context.app_id:
        raise MerchantRefusal(BAD_PARAMETER, "a transfer to oneself")
    if users.below(users.company_balance(books, coin.symbol), amount):
        raise MerchantRefusal(NOT_ENOUGH, "the merchant's balance is too small")
    users.pay_company(books, coin.symbol, f"-{amount}")
    receipt = secrets.token_hex(16)
    books.do(
        "INSERT INTO merchant_transfers (request_id, symbol, amount, sender, receiver, remark,"
        " receipt, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        request_id, coin.symbol, amount, context.app_id, receiver, remark[:32], receipt, books.now,
    )  # fmt: skip
    return {"receipt": receipt}


def _transfer_list(books: Books, fields: Fields, context: Context) -> object:
    kind = fields.optional_text("ids_type") or "request_id"
    if kind not in ("request_id", "receipt"):
        raise Malformed("field 'ids_type' is neither request_id nor receipt")
    return records.transfers(books, _ids(fields), kind)


def _request_id(fields: Fields) -> str:
    request_id = fields.identifier("request_id")
    if len(request_id) > _MAX_REQUEST_ID:
        raise Malformed(f"field 'request_id' is longer than {_MAX_REQUEST_ID} characters")
    return request_id


# --- lists --------------------------------------------------------------------------------------


def _ids(fields: Fields) -> Chosen:
    try:
        text = fields.text("ids", longest=100 * (_MAX_REQUEST_ID + 1))
    except Malformed:
        text = fields.identifier("ids")  # a single one, as a number
    ids = [one.strip() for one in text.split(",") if one.strip()]
    if not ids:
        raise Malformed("field 'ids' is missing or empty")
    if len(ids) > PAGE:
        raise Malformed(f"field 'ids' has more than {PAGE} ids")
    return Chosen(ids=ids)


def _above(fields: Fields) -> Chosen:
    max_id = fields.identifier("max_id")
    if not (max_id.isascii() and max_id.isdigit()) or len(max_id) > 18:
        raise Malformed("field 'max_id' is no whole number")
    return Chosen(max_id=int(max_id))


Lister = Callable[[Books, Chosen], object]


def _list(lister: Lister) -> Call:
    return lambda books, fields, context: lister(books, _ids(fields))


def _sync(lister: Lister) -> Call:
    return lambda books, fields, context: lister(books, _above(fields))


CALLS: Mapping[str, Call] = {
    "user/createUser": _create_user,
    "user/registerEmail": _register_email,
    "user/info": _user_info,
    "user/syncList": _sync(records.people),
    "user/getCoinList": _coin_list,
    "account/getDepositAddress": _deposit_address,
    "account/getByUidAndSymbol": _account,
    "account/getCompanyBySymbol": _company,
    "account/getDepositAddressInfo": _address_info,
    "address/syncList": _sync(records.addresses),
    "billing/withdraw": _withdraw,
    "billing/withdrawList": _list(records.withdrawals),
    "billing/syncWithdrawList": _sync(records.withdrawals),
    "billing/depositList": _list(records.deposits),
    "billing/syncDepositList": _sync(records.deposits),
    "billing/minerFeeList": _list(records.miner_fees),
    "billing/syncMinerFeeList": _sync(records.miner_fees),
    "account/transfer": _transfer,
    "account/transferList": _transfer_list,
    "account/syncTransferList": _sync(records.transfers),
}
