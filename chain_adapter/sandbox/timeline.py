"""The life of each deposit and withdrawal, as steps across chain, daemon, platform and merchant.

Everything comes from the platform's books: what the daemon has told (`daemon`), which txid that was
and when a coin was sent from here (`chain`), what the platform did (`platform`), and what the
merchant was asked, told and answered (`merchant`).
"""

from __future__ import annotations

from collections.abc import Mapping

from chain_adapter.sandbox.ledger import Books, Row
from chain_adapter.sandbox.merchant_control import callback_listing

CHAIN, DAEMON, PLATFORM, MERCHANT = "chain", "daemon", "platform", "merchant"
NEWEST = 50
Step = dict[str, object]

_ORDER_STATES = {0: "confirming", 1: "waiting", 2: "refused", 3: "paying", 4: "failed",
                 5: "complete", 6: "cancelled"}  # fmt: skip


def listing(books: Books) -> dict[str, object]:
    """The newest of each kind, newest first."""
    of_record: dict[tuple[str, int], list[dict[str, object]]] = {}
    for one in callback_listing(books):
        of_record.setdefault((str(one["kind"]), int(str(one["record"]))), []).append(one)
    return {"deposits": _deposits(books, of_record), "withdrawals": _withdrawals(books, of_record)}


Callbacks = Mapping[tuple[str, int], list[dict[str, object]]]


def _deposits(books: Books, callbacks: Callbacks) -> list[dict[str, object]]:
    found = []
    told_txids = set()
    for row in books.all(
        "SELECT deposits.*, merchant_deposits.id AS record FROM deposits LEFT JOIN"
        " merchant_deposits ON source = 'deposit:' || request_id"
        f" ORDER BY place DESC LIMIT {NEWEST}"
    ):
        told_txids.add(row["txid"])
        steps = _sent(books, row["txid"])
        steps.append(_step(DAEMON, "notified", row["notified_at"], f"txid {row['txid']}"))
        if row["last_notified_at"] != row["notified_at"]:
            depth = f"{row['confirm']} confirmations"
            steps.append(_step(DAEMON, "told again", row["last_notified_at"], depth))
        if row["credited_at"] is not None:
            detail = f"{row['credited']} {row['symbol']} to user {row['user']}"
            steps.append(_step(PLATFORM, "credited", row["credited_at"], detail))
        steps += _told(callbacks, "deposit", row["record"])
        state = "credited" if row["credited_at"] is not None else "confirming"
        found.append(_life(row["request_id"], row, row["address_to"], state, steps))
    for row in books.all(
        "SELECT * FROM merchant_deposits WHERE source LIKE 'order:%'"
        f" ORDER BY id DESC LIMIT {NEWEST}"
    ):
        steps = [_step(PLATFORM, "paid inside the platform", row["created_at"], "")]
        steps += _told(callbacks, "deposit", row["id"])
        found.append(_life(row["source"], row, row["address_to"], "credited", steps))
    for row in books.all(f"SELECT * FROM sent_coins ORDER BY id DESC LIMIT {NEWEST}"):
        if row["txid"] not in told_txids:  # on its way
            steps = _sent(books, row["txid"])
            found.append(_life(row["txid"], row, row["address"], "sent", steps))
    return _newest(found)


def _withdrawals(books: Books, callbacks: Callbacks) -> list[dict[str, object]]:
    found = []
    for row in books.all(f"SELECT * FROM merchant_orders ORDER BY id DESC LIMIT {NEWEST}"):
        steps = [_step(MERCHANT, "ordered", row["created_at"], f"user {row['user']}")]
        steps += _told(callbacks, "confirm", row["id"])
        if row["trans_id"] is not None:
            steps += _paid(books, row["trans_id"])
        elif row["status"] == 5:
            steps.append(_step(PLATFORM, "paid inside the platform", row["updated_at"], ""))
        steps += _told(callbacks, "withdraw", row["id"])
        state = _ORDER_STATES[row["status"]]
        found.append(_life(row["request_id"], row, row["address_to"], state, steps))
    for row in books.all(
        "SELECT * FROM withdrawals WHERE trans_id NOT IN (SELECT trans_id FROM merchant_orders"
        f" WHERE trans_id IS NOT NULL) ORDER BY trans_id DESC LIMIT {NEWEST}"
    ):
        steps = _paid(books, row["trans_id"])
        found.append(_life(str(row["trans_id"]), row, row["address_to"], row["state"], steps))
    return _newest(found)


def _paid(books: Books, trans_id: int) -> list[Step]:
    row = books.one("SELECT * FROM withdrawals WHERE trans_id = ?", trans_id)
    assert row is not None
    steps = [_step(PLATFORM, "handed out", row["created_at"], f"trans_id {trans_id}")]
    seen_on_chain: set[str] = set()
    for told in books.all(
        "SELECT * FROM withdrawal_history WHERE trans_id = ? ORDER BY id", trans_id
    ):
        txid = told["txid"]
        if told["confirm"] == 0:
            steps.append(_step(DAEMON, "claimed", told["at"], f"txid {txid}"))
        elif txid not in seen_on_chain:
            seen_on_chain.add(txid)
            steps.append(_step(CHAIN, "in a block", told["at"], f"txid {txid}"))
        if told["confirm"]:
            detail = f"{told['confirm']} confirmations, fee {told['fee']}"
            steps.append(_step(DAEMON, "told", told["at"], detail))
    if row["completed_at"] is not None:
        steps.append(_step(PLATFORM, "complete", row["completed_at"], ""))
    if row["cancelled_at"] is not None:
        why = f"by {row['cancelled_by']}: {row['cancel_msg']}"
        steps.append(_step(PLATFORM, "cancelled", row["cancelled_at"], why))
    return steps


def _sent(books: Books, txid: str) -> list[Step]:
    return [
        _step(CHAIN, "sent from here", row["at"], f"txid {txid}")
        for row in books.all("SELECT at FROM sent_coins WHERE txid = ?", txid)
    ]


def _told(callbacks: Callbacks, kind: str, record: int | None) -> list[Step]:
    steps: list[Step] = []
    for one in callbacks.get((kind, record), []) if record is not None else []:
        tries = one["tries"]
        assert isinstance(tries, list)
        for number, try_ in enumerate(tries, 1):
            yes = "approved" if kind == "confirm" else "acknowledged"
            no = "did not approve" if kind == "confirm" else "did not acknowledge"
            what = f"{yes if try_['ok'] else no} (try {number})"
            steps.append({"who": MERCHANT, "what": what, "at": try_["at"], "detail": try_["answer"],
                          "ok": try_["ok"]})  # fmt: skip
        if one["state"] == "waiting":
            steps.append({"who": MERCHANT, "what": f"try {len(tries) + 1} is due",
                          "at": one["next_at"], "detail": "", "ok": None})  # fmt: skip
        elif one["state"] == "given_up":
            steps.append({"who": PLATFORM, "what": "gave up telling the merchant",
                          "at": one["done_at"], "detail": "", "ok": False})  # fmt: skip
    return steps


def _step(who: str, what: str, at: int, detail: str) -> Step:
    return {"who": who, "what": what, "at": at / 1e6, "detail": detail, "ok": True}


def _life(name: str, row: Row, address: str, state: str, steps: list[Step]) -> dict[str, object]:
    ordered = sorted(steps, key=lambda step: float(str(step["at"])))
    return {
        "name": name,
        "symbol": row["symbol"],
        "amount": row["amount"],
        "address": address,
        "state": state,
        "began_at": ordered[0]["at"] if ordered else 0,
        "steps": ordered,
    }


def _newest(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(found, key=lambda one: float(str(one["began_at"])), reverse=True)[:NEWEST]
