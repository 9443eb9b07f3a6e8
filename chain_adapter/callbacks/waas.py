"""Dialect WaaS V2 without I/O: what comes in a form's `data`, what goes back.

form -> app_id is ours -> Base64 -> block type 1 under the other side's key -> JSON -> typed event.
Either end uses the same `WaasV2`, with its own private key and the other's public key. Answers to
notifications go out as plain words; an encrypted word is understood as well.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.callbacks import blocks
from chain_adapter.callbacks.events import (
    CallbackRefused,
    ConfirmRequest,
    Deposited,
    DepositUpdate,
    Event,
    MinerFee,
    Transferred,
    WithdrawalFailed,
    WithdrawalUpdate,
    Withdrawn,
)
from chain_adapter.callbacks.rows import CallbackRow, facts, row_of
from chain_adapter.errors import EnvelopeError
from chain_adapter.platform_api.exact_json import BadMessage, dumps, loads

VERSION = "v2"
SUCCESS, FAILURE = "SUCCESS", "FAILURE"

# what every notification has by the documents
NOTIFIED = ("notify_time", "address_to", "created_at", "updated_at", "txid", "confirmations")
WITHDRAWAL_NOTIFIED = ("withdraw_fee_symbol", "withdraw_fee", "fee_symbol", "real_fee")

# status -> what it is; 1 credits
DEPOSIT_STATES = {0: "confirming", 1: "success", 2: "failed", 4: "held", 5: "held", 6: "held"}
WITHDRAWAL_STATES = {0: "unreviewed", 1: "paying", 3: "processing", 7: "held", 8: "held"}
WITHDRAWAL_FAILURES = {2: "rejected", 4: "failed", 6: "cancelled"}
PAID = 5


@dataclass(frozen=True, slots=True)
class Response:
    """The opened answer of a merchant call. `code` is "0" for success."""

    code: str
    msg: str
    data: Any


class WaasV2:
    """One end of the dialect. Holds key objects: safe to keep."""

    def __init__(
        self, app_id: str, own_private: rsa.RSAPrivateKey, their_public: rsa.RSAPublicKey
    ) -> None:
        self.app_id = app_id
        self._own = own_private
        self._their = their_public

    # --- both ends

    def seal(self, plaintext: bytes) -> str:
        """`data` of exactly these bytes; deterministic."""
        return blocks.to_text(blocks.seal_private(self._own, plaintext), url_safe=True)

    def open(self, data: str) -> bytes:
        """The plaintext that the other side sealed. Raises `EnvelopeError`, one for all causes."""
        return blocks.open_public(self._their, blocks.from_text(data))

    def open_form(self, form: Mapping[str, str]) -> bytes:
        """The plaintext of a form. Raises `CallbackRefused`."""
        if not hmac.compare_digest(form.get("app_id", "").encode(), self.app_id.encode()):
            raise CallbackRefused("app_id is missing or another one")
        try:
            return self.open(form.get("data", ""))
        except EnvelopeError as error:
            raise CallbackRefused(str(error)) from None

    # --- the merchant's end

    def notification(self, form: Mapping[str, str]) -> Event:
        """A deposit or a withdrawal. Raises `CallbackRefused`."""
        row = row_of(self.open_form(form))
        try:
            _check_version(row)
            side = row.word("side")
            if side in ("deposit", "withdraw"):
                row.demand(NOTIFIED)
            if side == "deposit":
                return deposit_event(row)
            if side == "withdraw":
                row.demand(WITHDRAWAL_NOTIFIED)
                return withdrawal_event(row)
        except BadMessage as error:
            raise CallbackRefused(str(error)) from None
        raise CallbackRefused(f"unknown side {side[:40]!r}")

    def confirmation(self, form: Mapping[str, str]) -> tuple[ConfirmRequest, str]:
        """(the question of a second confirmation, its check_sum). Raises `CallbackRefused`."""
        row = row_of(self.open_form(form))
        try:
            _check_version(row)
            if "side" in row.fields:
                raise BadMessage("this is a notification, not a second confirmation")
            transfer = row.optional_word("to") if "from_uid" not in row.fields else None
            request = ConfirmRequest(
                request_id=row.word("request_id"),
                user_id="" if transfer else row.word("from_uid"),
                address=None if transfer else row.word("to_address"),
                symbol=row.word("symbol"),
                amount=row.positive("amount"),
                to_merchant=transfer,
                remark=row.optional_word("remark"),
                fields=row.fields,
            )
            return request, row.word("check_sum")
        except BadMessage as error:
            raise CallbackRefused(str(error)) from None

    def confirm_answer(self, check_sum: str, time_ms: int) -> bytes:
        """The JSON body that answers a second confirmation; an empty `check_sum` refuses."""
        plaintext = dumps({"check_sum": check_sum, "time": str(time_ms)})
        return dumps({"data": self.seal(plaintext)})

    def request(self, fields: Mapping[str, Any], time_ms: int) -> dict[str, str]:
        """The form of a merchant call."""
        whole = {**fields, "time": time_ms, "charset": "utf-8", "version": VERSION}
        return {"app_id": self.app_id, "data": self.seal(dumps(whole))}

    def response(self, body: bytes) -> Response:
        """An opened answer to a merchant call. Raises `CallbackRefused`."""
        try:
            outer = CallbackRow(loads(body))
            row = CallbackRow(loads(self.open(outer.text("data", limit=1 << 24))))
            msg = row.fields.get("msg")
            return Response(row.word("code"), msg if isinstance(msg, str) else "",
                            row.fields.get("data"))  # fmt: skip
        except (BadMessage, EnvelopeError) as error:
            raise CallbackRefused(f"answer of the platform: {error}") from None

    # --- the platform's end

    def word(self, text: str, *, encrypted: bool = False) -> str:
        """What answers a notification: the plain word, or the older edition's encrypted one."""
        return self.seal(text.encode()) if encrypted else text

    def is_success(self, body: str) -> bool:
        """Whether an answer to a notification says SUCCESS, plain or encrypted, quoted or not."""
        said = body.strip().strip('"')
        if said in (SUCCESS, FAILURE):
            return said == SUCCESS
        try:
            if said.startswith("{"):
                said = CallbackRow(loads(said.encode())).text("data", limit=1 << 16)
            return self.open(said).strip() == SUCCESS.encode()
        except (EnvelopeError, BadMessage):
            return False

    def confirms(self, body: bytes, check_sum: str) -> bool:
        """Whether an answer to a second confirmation carries the equal check_sum."""
        try:
            data = CallbackRow(loads(body)).text("data", limit=1 << 16)
            said = CallbackRow(loads(self.open(data))).word("check_sum", empty=True)
        except (EnvelopeError, BadMessage):
            return False
        return hmac.compare_digest(said.encode(), check_sum.encode())


# --- records, the same in a callback and in a sync list -----------------------------------------


def deposit_event(row: CallbackRow) -> Deposited | DepositUpdate:
    """Raises `BadMessage`."""
    record_id, status = row.word("id"), row.whole("status")
    state = DEPOSIT_STATES.get(status)
    if state is None:
        raise BadMessage(f"unknown deposit status {status}")
    user_id, symbol, amount = row.word("uid"), row.word("symbol"), row.positive("amount")
    subject = f"waas/deposit/{record_id}"
    shared: dict[str, Any] = {
        "key": f"{subject}/{status}",
        "subject": subject,
        "facts": facts(uid=user_id, symbol=symbol, amount=amount),
        "fields": row.fields,
        "record_id": record_id,
        "user_id": user_id,
        "symbol": symbol,
        "amount": amount,
        "address_to": row.optional_word("address_to") or "",
        "address_from": row.optional_word("address_from"),
        "txid": row.optional_word("txid") or "",
        "confirmations": row.optional_whole("confirmations"),
    }
    if state == "success":
        return Deposited(final=True, **shared)
    return DepositUpdate(final=False, undoes=state == "failed", state=state, **shared)


def withdrawal_event(row: CallbackRow) -> Withdrawn | WithdrawalFailed | WithdrawalUpdate:
    """Raises `BadMessage`."""
    record_id, status = row.word("id"), row.whole("status")
    user_id, symbol, amount = row.word("uid"), row.word("symbol"), row.positive("amount")
    request_id = row.word("request_id")
    subject = f"waas/withdraw/{record_id}"
    shared: dict[str, Any] = {
        "key": f"{subject}/{status}",
        "subject": subject,
        "facts": facts(request_id=request_id, uid=user_id, symbol=symbol, amount=amount),
        "fields": row.fields,
        "record_id": record_id,
        "request_id": request_id,
        "user_id": user_id,
        "symbol": symbol,
        "amount": amount,
        "address_to": row.optional_word("address_to"),
        "address_from": row.optional_word("address_from"),
        "txid": row.optional_word("txid"),
        "withdraw_fee": row.optional_amount("withdraw_fee"),
        "withdraw_fee_symbol": row.optional_word("withdraw_fee_symbol"),
        "real_fee": row.optional_amount("real_fee"),
        "fee_symbol": row.optional_word("fee_symbol"),
        "confirmations": row.optional_whole("confirmations"),
    }
    if status == PAID:
        return Withdrawn(final=True, **shared)
    if status in WITHDRAWAL_FAILURES:
        return WithdrawalFailed(final=True, why=WITHDRAWAL_FAILURES[status], **shared)
    if status in WITHDRAWAL_STATES:
        return WithdrawalUpdate(final=False, state=WITHDRAWAL_STATES[status], **shared)
    raise BadMessage(f"unknown withdrawal status {status}")


def miner_fee_event(row: CallbackRow) -> MinerFee:
    """A row of the miner-fee list. Raises `BadMessage`."""
    record_id, symbol = row.word("id"), row.word("symbol")
    fee, txid = row.optional_amount("fee") or "0", row.optional_word("txid") or ""
    subject = f"waas/minerfee/{record_id}"
    return MinerFee(
        key=f"{subject}/{fee}",  # a fee becomes known as its transaction settles
        subject=subject,
        final=False,
        facts=facts(symbol=symbol, fee=fee, txid=txid),
        fields=row.fields,
        record_id=record_id,
        symbol=symbol,
        fee=fee,
        txid=txid,
    )


def transfer_event(row: CallbackRow) -> Transferred:
    """A row of the transfer list. Raises `BadMessage`."""
    record_id, symbol, amount = row.word("id"), row.word("symbol"), row.positive("amount")
    sender, receiver = row.word("from"), row.word("to")
    subject = f"waas/transfer/{record_id}"
    return Transferred(
        key=subject,
        subject=subject,
        final=True,
        facts=facts(symbol=symbol, amount=amount, sender=sender, receiver=receiver),
        fields=row.fields,
        record_id=record_id,
        request_id=row.optional_word("request_id") or "",
        symbol=symbol,
        amount=amount,
        sender=sender,
        receiver=receiver,
        receipt=row.optional_word("receipt") or "",
    )


def _check_version(row: CallbackRow) -> None:
    for spelling in ("version", "vesion"):  # older documents have lost the r
        said = row.optional_word(spelling)
        if said is not None and said.lower() != VERSION:
            raise BadMessage(f"unknown version {said[:20]!r}")
