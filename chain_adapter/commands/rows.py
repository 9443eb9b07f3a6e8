"""Rows of the books as flat objects: what the lists, `why` and the page show of each.

Amounts are digit strings of base units, times ISO 8601 in UTC. Signed bytes, warrants and
payloads never leave the books.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row

from chain_adapter import money
from chain_adapter.commands.output import iso
from chain_adapter.config import Config
from chain_adapter.errors import AmountError


def deposit(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "chain": row.chain,
        "asset": row.asset,
        "symbol": row.symbol,
        "state": row.state,
        "reason": row.reason,
        "amount": row.amount,
        "remainder": row.remainder,
        "txid": row.txid,
        "to": row.to,
        "memo": row.memo or "",
        "memo_hex": row.memo_hex or "",
        "sender": row.sender,
        "height": row.height,
        "block_hash": row.block_hash,
        "request_id": row.request_id,
        "proof": row.proof,
        "released": bool(row.released),
        "seen_at": iso(row.seen_at),
        "confirmed_at": iso(row.confirmed_at),
        "credited_at": iso(row.credited_at),
    }


DEPOSIT_COLUMNS = ("id", "chain", "asset", "amount", "state", "height", "txid", "to", "reason")


def payout(row: Row[Any], config: Config, txid: str | None) -> dict[str, Any]:
    """`txid`: of the newest signed attempt, while there is no final one."""
    return {
        "id": row.id,
        "kind": row.kind,
        "chain": row.chain,
        "asset": row.asset,
        "symbol": row.symbol,
        "trans_id": row.trans_id,
        "state": row.state,
        "held": row.held_reason is not None,
        "held_reason": row.held_reason,
        "held_by": row.held_by,
        "held_at": iso(row.held_at),
        "reason": row.reason,
        "amount": row.amount if row.amount is not None else _units(row, config),
        "amount_told": row.amount_told,
        "address_to": row.address_to,
        "to": row.to,
        "memo": row.memo or "",
        "sender": row.sender,
        "txid": row.final_txid or txid,
        "height": row.final_height,
        "fee": row.fee,
        "received_at": iso(row.received_at),
        "claimed_at": iso(row.claimed_at),
        "ended_at": iso(row.ended_at),
    }


PAYOUT_COLUMNS = (
    "id", "kind", "chain", "asset", "amount", "state", "held_reason", "trans_id", "address_to",
    "txid", "reason",
)  # fmt: skip


def _units(row: Row[Any], config: Config) -> str | None:
    """Base units of an order that was not screened yet; None when it has none."""
    chain = config.chains.get(row.chain)
    asset = chain.assets.get(row.asset) if chain else None
    if asset is None:
        return None
    try:
        return str(money.parse(row.amount_told, asset.decimals))
    except AmountError:
        return None


def attempt(row: Row[Any]) -> dict[str, Any]:
    return {
        "txid": row.txid,
        "purpose": row.purpose,
        "state": _attempt_state(row),
        "locks": json.loads(row.locks),
        "max_fee": row.max_fee,
        "fee": row.fee,
        "expires": row.expires,
        "height": row.included_height,
        "ok": row.ok,
        "node_said": row.node_said,
        "built_at": iso(row.built_at),
        "signed_at": iso(row.signed_at),
        "sent_at": iso(row.sent_at),
    }


ATTEMPT_COLUMNS = ("purpose", "state", "txid", "locks", "height", "fee", "signed_at", "sent_at")


def _attempt_state(row: Row[Any]) -> str:
    if row.dead:
        return f"dead: {row.dead}"
    if row.included_height is not None:
        word = "final" if row.final else "included"
        return word if row.ok else f"{word}, failed"
    if row.sent_at is not None:
        return "open, sent"
    return "open, signed" if row.txid else "unsigned"


def outbox_item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "call": row.call,
        "chain": row.chain,
        "symbol": row.symbol,
        "subject": row.subject,
        "state": row.state,
        "lane": row.lane,
        "tries": row.tries,
        "confirm": None if row.acknowledged_confirm < 0 else row.acknowledged_confirm,
        "depth": row.depth,
        "last_code": row.last_code,
        "last_error": row.last_error,
        "next_at": iso(row.next_at) if row.next_at else None,
        "created_at": iso(row.created_at),
        "acknowledged_at": iso(row.acknowledged_at),
    }


OUTBOX_COLUMNS = (
    "id", "call", "symbol", "subject", "state", "confirm", "depth", "tries", "last_code",
    "last_error",
)  # fmt: skip


def inbox_item(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "chain": row.chain,
        "asset": row.asset,
        "txid": row.txid,
        "to": row.to,
        "memo": row.memo_key,
        "amount": row.amount,
        "height": row.height,
        "reason": row.reason,
        "state": row.state,
        "note": row.note,
        "who": row.who,
        "opened_at": iso(row.opened_at),
    }


INBOX_COLUMNS = ("id", "chain", "asset", "amount", "reason", "state", "height", "txid", "to")


def alarm(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "code": row.code,
        "subject": row.subject,
        "severity": row.severity,
        "message": row.message,
        "state": "closed" if row.closed_at else "acknowledged" if row.acknowledged_at else "open",
        "count": row._mapping["count"],
        "opened_at": iso(row.opened_at),
        "last_at": iso(row.last_at),
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": iso(row.acknowledged_at),
        "acknowledged_reason": row.acknowledged_reason,
        "closed_at": iso(row.closed_at),
    }


ALARM_COLUMNS = ("id", "severity", "code", "subject", "state", "count", "last_at", "message")


def event(row: Row[Any]) -> dict[str, Any]:
    return {
        "scope": row.scope,
        "seq": row.seq,
        "at": iso(row.at),
        "what": row.what,
        "subject": row.subject,
        "detail": row.detail,
        "hash": row.hash,
    }


EVENT_COLUMNS = ("at", "scope", "seq", "what", "subject", "detail")
