"""Records as the merchant API lists them and as the callbacks tell them, both dialects.

The lists type ids as numbers and times as milliseconds; the V2 callbacks send every field as text,
in the order of the documents; UUWallet has names of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chain_adapter.callbacks import uuwallet
from chain_adapter.sandbox import merchant_orders as orders
from chain_adapter.sandbox import merchant_users as users
from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.merchant_books import Settings
from chain_adapter.sandbox.wire import Num

PAGE = 100

Lister = Callable[[Books, "Chosen"], list[dict[str, object]]]

_DEPOSITS = (
    "SELECT merchant_deposits.*, COALESCE(deposits.confirm, 0) AS confirm FROM merchant_deposits"
    " LEFT JOIN deposits ON source = 'deposit:' || deposits.request_id"
)
_ORDERS = (
    "SELECT merchant_orders.*, COALESCE(withdrawals.txid, '') AS txid,"
    " COALESCE(withdrawals.fee, '0') AS real_fee, COALESCE(withdrawals.confirm, 0) AS confirm,"
    " COALESCE(withdrawals.amount, '') AS net FROM merchant_orders"
    " LEFT JOIN withdrawals USING (trans_id)"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which records: those above `max_id`, or the `ids`."""

    max_id: int = 0
    ids: Sequence[str] | None = None


def deposits(books: Books, chosen: Chosen) -> list[dict[str, object]]:
    """Rows of depositList and syncDepositList."""
    return [_deposit(row) for row in _rows(books, _DEPOSITS, "merchant_deposits.id", chosen)]


def withdrawals(books: Books, chosen: Chosen) -> list[dict[str, object]]:
    """Rows of withdrawList (by request_id, or by id) and syncWithdrawList."""
    if chosen.ids is None:
        rows = _rows(books, _ORDERS, "merchant_orders.id", chosen)
    else:
        rows = []
        for one in chosen.ids:
            row = books.one(f"{_ORDERS} WHERE request_id = ?", one)
            rows += [row] if row else _rows(books, _ORDERS, "merchant_orders.id", Chosen(0, [one]))
    return [_withdrawal(books, row) for row in rows]


def miner_fees(books: Books, chosen: Chosen) -> list[dict[str, object]]:
    """Rows of minerFeeList and syncMinerFeeList: what collecting cost."""
    found = []
    for row in _rows(books, "SELECT * FROM internal", "place", chosen):
        coin = users.coin_of(books, row["symbol"])
        found.append(
            {
                "id": _num(row["place"]),
                "symbol": row["symbol"],
                "amount": row["amount"],
                "fee": row["fee"],
                "created_at": _ms(row["at"]),
                "updated_at": _ms(row["updated_at"]),
                "txid": row["txid"],
                "confirmations": _num(row["confirm"]),
                "status": _num(1),
                "address_from": row["address_from"],
                "address_to": row["address_to"],
                "txid_type": "0",
                "base_symbol": coin.main_symbol,
                "contract_address": "",
                "email": "",
            }
        )
    return found


def transfers(books: Books, chosen: Chosen, by: str = "id") -> list[dict[str, object]]:
    """Rows of transferList (`by` request_id or receipt) and syncTransferList."""
    if chosen.ids is None:
        rows = _rows(books, "SELECT * FROM merchant_transfers", "id", chosen)
    else:
        rows = [
            row
            for one in chosen.ids
            if (row := books.one(f"SELECT * FROM merchant_transfers WHERE {by} = ?", one))
        ]
    return [
        {
            "id": str(row["id"]),
            "symbol": row["symbol"],
            "amount": row["amount"],
            "from": row["sender"],
            "to": row["receiver"],
            "created_at": _ms(row["created_at"]),
            "request_id": row["request_id"],
            "receipt": row["receipt"],
            "remark": row["remark"],
        }
        for row in rows
    ]


def people(books: Books, chosen: Chosen) -> list[dict[str, object]]:
    """Rows of user/syncList."""
    rows = _rows(
        books,
        "SELECT users.id, COALESCE(name, '') AS name FROM users"
        " LEFT JOIN merchant_users ON user = users.id",
        "users.id",
        chosen,
    )
    return [
        {"id": _num(row["id"]), "uid": _num(row["id"]), "email": row["name"], "nickname": ""}
        for row in rows
    ]


def addresses(books: Books, chosen: Chosen) -> list[dict[str, object]]:
    """Rows of address/syncList."""
    users.note_addresses(books)
    return [
        {
            "id": _num(row["id"]),
            "uid": _num(row["user"]),
            "address": row["address"],
            "symbol": row["main_symbol"],
        }
        for row in _rows(books, "SELECT * FROM merchant_addresses", "id", chosen)
    ]


def _rows(books: Books, query: str, key: str, chosen: Chosen) -> list[Row]:
    if chosen.ids is None:
        return books.all(f"{query} WHERE {key} > ? ORDER BY {key} LIMIT {PAGE}", chosen.max_id)
    ids = [int(one) for one in chosen.ids if one.isascii() and one.isdigit() and len(one) < 19]
    marks = ", ".join("?" * len(ids))
    return books.all(f"{query} WHERE {key} IN ({marks}) ORDER BY {key}", *ids)


def _deposit(row: Row) -> dict[str, object]:
    return {
        "id": _num(row["id"]),
        "uid": _num(row["user"]),
        "symbol": row["symbol"],
        "amount": row["amount"],
        "address_from": row["address_from"],
        "address_to": row["address_to"],
        "created_at": _ms(row["created_at"]),
        "updated_at": _ms(row["updated_at"]),
        "txid": row["txid"],
        "confirmations": _num(row["confirm"]),
        "status": _num(row["status"]),
    }


def _withdrawal(books: Books, row: Row) -> dict[str, object]:
    refused = row["status"] == orders.REJECTED
    reviewed = 2 if refused else int(row["status"] != orders.UNREVIEWED)
    return {
        "request_id": row["request_id"],
        "id": _num(row["id"]),
        "uid": _num(row["user"]),
        "symbol": row["symbol"],
        "amount": row["amount"],
        "withdraw_fee_symbol": row["symbol"],
        "withdraw_fee": row["fee"],
        "fee_symbol": users.coin_of(books, row["symbol"]).main_symbol,
        "real_fee": row["real_fee"],
        "created_at": _ms(row["created_at"]),
        "updated_at": _ms(row["updated_at"]),
        "address_from": "",
        "address_to": row["address_to"],
        "txid": row["txid"],
        "confirmations": _num(row["confirm"]),
        "saas_status": _num(reviewed),
        "company_status": _num(reviewed),
        "status": _num(row["status"]),
    }


# --- callbacks ----------------------------------------------------------------------------------


def waas_fields(books: Books, kind: str, record: int, status: int) -> dict[str, object]:
    """The plaintext of a notification; `status` is the one it was queued for."""
    now = str(books.now // 1000)
    names: tuple[str, ...]
    if kind == "deposit":
        row = _rows(books, _DEPOSITS, "merchant_deposits.id", Chosen(0, [str(record)]))[0]
        listed = _deposit(row)
        names = ("id", "uid", "symbol", "amount", "address_to", "created_at", "updated_at", "txid",
                 "confirmations", "status")  # fmt: skip
        side = "deposit"
    else:
        row = _rows(books, _ORDERS, "merchant_orders.id", Chosen(0, [str(record)]))[0]
        listed = _withdrawal(books, row)
        names = ("request_id", "id", "uid", "symbol", "amount", "withdraw_fee_symbol",
                 "withdraw_fee", "fee_symbol", "real_fee", "address_to", "created_at",
                 "updated_at", "txid", "confirmations", "status")  # fmt: skip
        side = "withdraw"
    listed["status"] = status
    start = {"charset": "utf-8", "version": "v2", "side": side, "notify_time": now}
    return {**start, **{name: str(listed[name]) for name in names}}


def confirm_fields(books: Books, record: int) -> dict[str, object]:
    """The plaintext of a second confirmation."""
    row = orders.find(books, record)
    return {
        "time": _ms(books.now),
        "charset": "utf-8",
        "version": "v2",
        "request_id": row["request_id"],
        "from_uid": str(row["user"]),
        "to_address": row["address_to"],
        "amount": row["amount"],
        "symbol": row["symbol"],
        "check_sum": row["check_sum"],
    }


def uu_fields(
    books: Books, settings: Settings, callback: Row, request_uuid: str
) -> dict[str, object]:
    """The plaintext of a UUWallet callback of whatever kind."""
    kind, record = callback["kind"], callback["record"]
    tracking = str(100_000 + callback["id"])
    start: dict[str, object] = {"requestUUID": request_uuid, "business": Num("0")}
    if kind == "deposit":
        row = _rows(books, _DEPOSITS, "merchant_deposits.id", Chosen(0, [str(record)]))[0]
        return start | {
            "tenantUserId": str(row["user"]),
            "type": Num(str(uuwallet.NOTIFY_DEPOSITED)),
            "chainName": chain_name(books, settings, row["symbol"]),
            "symbol": row["symbol"],
            "amount": row["amount"],
            "fromAddress": row["address_from"],
            "toAddress": row["address_to"],
            "newAddress": row["address_to"],
            "txId": row["txid"] or f"inside-{row['id']}",
            "txIndex": Num("-1"),
            "riskLevelFrom": Num("0"),
            "riskLevelTo": Num("0"),
            "trackingId": tracking,
        }
    if kind == "address":
        address, _, symbol = callback["detail"].rpartition("|")
        return start | {
            "tenantUserId": str(record),
            "type": Num(str(uuwallet.NOTIFY_ADDRESS)),
            "chainName": chain_name(books, settings, symbol),
            "symbol": symbol,
            "toAddress": address,
            "newAddress": address,
            "trackingId": None,
        }
    row = _rows(books, _ORDERS, "merchant_orders.id", Chosen(0, [str(record)]))[0]
    start |= {"tenantUserId": str(row["user"]), "callBackId": row["request_id"]}
    if kind == "confirm":
        return start | {"type": Num(str(uuwallet.NOTIFY_REQUEST_WITHDRAW))}
    start["trackingId"] = tracking
    if kind == "notice":
        return start | {"type": Num(str(callback["status"]))}
    if callback["status"] != orders.SUCCESS:
        return start | {
            "type": Num(str(uuwallet.NOTIFY_INVALID_ADDRESS)),
            "toAddress": row["address_to"],
        }
    return start | {
        "type": Num(str(uuwallet.NOTIFY_WITHDRAW)),
        "txId": row["txid"] or f"inside-{row['request_id']}",
        "chainName": chain_name(books, settings, row["symbol"]),
        "symbol": row["symbol"],
        "amount": row["amount"],
        "fromAddress": "",
        "toAddress": row["address_to"],
    }


def chain_name(books: Books, settings: Settings, symbol: str) -> str:
    """`chainName` of a coin: as set, else its main coin's symbol."""
    main = users.coin_of(books, symbol).main_symbol
    return (settings.chain_names or {}).get(main, main)


def _num(value: int) -> Num:
    return Num(str(value))


def _ms(at: int) -> Num:
    return Num(str(at // 1000))
