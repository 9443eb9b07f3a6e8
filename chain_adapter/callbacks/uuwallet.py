"""Dialect UUWallet without I/O: raw Base64 under the platform's key, types 0 to 7.

body -> Base64 -> block type 1 under the platform's public key -> JSON -> typed event or question.
The answer is JSON in the clear whose `data` is block type 2 under the same public key. Only
`errCode` 0 stops the retries; any other carries a `message`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.callbacks import blocks
from chain_adapter.callbacks.events import (
    AddressReplaced,
    Approved,
    CallbackRefused,
    ConfirmRequest,
    Deposited,
    Event,
    Notice,
    WithdrawalFailed,
    WithdrawalUpdate,
    Withdrawn,
)
from chain_adapter.callbacks.rows import CallbackRow, facts, row_of
from chain_adapter.errors import EnvelopeError
from chain_adapter.platform_api.exact_json import BadMessage, dumps, loads

API_KEY_HEADER = "X-API-KEY"

DO_NOT_RESPOND = 0
NOTIFY_DEPOSITED = 1
NOTIFY_REQUEST_WITHDRAW = 2
NOTIFY_WITHDRAW = 3
NOTIFY_ADDRESS = 4
NOTIFY_INVALID_ADDRESS = 5
NOTIFY_NOT_ENOUGH_MONEY = 6
NOTIFY_NOT_ENOUGH_HOT_MONEY = 7
_WAITING = {NOTIFY_NOT_ENOUGH_MONEY: "waiting_for_funds",
            NOTIFY_NOT_ENOUGH_HOT_MONEY: "waiting_for_gas"}  # fmt: skip

OK = 0
REFUSED = 1  # the message is not acted upon
UNAUTHORISED = 401

# what a message of a type has by the documents, beside what is read from it
_DOCUMENTED: Mapping[int, tuple[str, ...]] = {
    NOTIFY_DEPOSITED: ("business", "fromAddress", "newAddress", "riskLevelFrom", "riskLevelTo",
                       "trackingId"),
    NOTIFY_WITHDRAW: ("business", "fromAddress", "trackingId"),
    NOTIFY_ADDRESS: ("business", "toAddress", "trackingId"),
    NOTIFY_INVALID_ADDRESS: ("business", "toAddress", "trackingId"),
}  # fmt: skip

# what an answer repeats, in this order, where the message has it
_ECHOED = (
    "requestUUID", "tenantUserId", "type", "business", "chainName", "symbol", "amount", "address",
    "fromAddress", "toAddress", "newAddress", "txId", "txIndex", "callBackId", "trackingId",
    "riskLevelFrom", "riskLevelTo", "state", "tenantType",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """An opened callback. `requestUUID` is new at each try: it is echoed and means nothing."""

    type: int
    row: CallbackRow

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.row.fields


@dataclass(frozen=True, slots=True)
class Answer:
    """A merchant's answer as the platform reads it."""

    code: int
    message: str
    data: Mapping[str, Any]


class UuWallet:
    """The merchant's end. Raises `CallbackRefused` for whatever is not the platform's."""

    def __init__(self, api_key: str, platform_public: rsa.RSAPublicKey) -> None:
        self._api_key = api_key
        self._public = platform_public

    def is_key(self, header: str | None) -> bool:
        """Whether the request's X-API-KEY is the one agreed. An empty one never is."""
        # What is no UTF-8 in a header arrives as half surrogate pairs.
        said = (header or "").encode("utf-8", "surrogateescape")
        return bool(said) and hmac.compare_digest(said, self._api_key.encode())

    def open(self, body: bytes) -> Message:
        """A callback from its body: raw Base64, or a form's or a JSON object's `data`."""
        try:
            plaintext = blocks.open_public(self._public, blocks.from_text(_data_of(body)))
        except EnvelopeError as error:
            raise CallbackRefused(str(error)) from None
        row = row_of(plaintext)
        try:
            row.word("requestUUID")
            return Message(row.whole("type"), row)
        except BadMessage as error:
            raise CallbackRefused(str(error)) from None

    def event(self, message: Message) -> Event:
        """What a message of every type but 2 tells."""
        try:
            return _event(message)
        except BadMessage as error:
            raise CallbackRefused(f"type {message.type}: {error}") from None

    def question(self, message: Message) -> ConfirmRequest:
        """What a message of type 2 asks."""
        try:
            return ConfirmRequest(
                request_id=message.row.word("callBackId"),
                user_id=message.row.word("tenantUserId"),
                fields=message.fields,
            )
        except BadMessage as error:
            raise CallbackRefused(f"type {message.type}: {error}") from None

    def accept(self, message: Message) -> bytes:
        """`errCode` 0 with the business fields repeated."""
        return self._answer(OK, "success", self._echo(message.fields))

    def approve(self, message: Message, details: Approved) -> bytes:
        """The confirmation of type 2: the fields *are* the approval. Raises `CallbackRefused`."""
        given = {
            "address": details.address,
            "chainName": details.chain,
            "symbol": details.symbol,
            "amount": details.amount,
        }
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise CallbackRefused(f"the approval does not say {', '.join(missing)}")
        return self._answer(OK, "success", self._echo({**message.fields, **given}))

    def refuse(self, why: str, message: Message | None = None, code: int = REFUSED) -> bytes:
        """Another `errCode` than 0, and what failed. Says nothing that could count as approval."""
        fields = message.fields if message else {}
        named = {key: fields[key] for key in ("requestUUID", "type", "callBackId") if key in fields}
        return self._answer(code, why, self._echo(named) if named else "")

    def _echo(self, fields: Mapping[str, Any]) -> str:
        told = {key: fields[key] for key in _ECHOED if key in fields}
        if told.get("amount") is not None:
            told["amount"] = str(told["amount"])  # comes as either, goes as text
        return blocks.to_text(blocks.seal_public(self._public, dumps(told)), url_safe=False)

    def _answer(self, code: int, message: str, data: str) -> bytes:
        return dumps({"apiKey": self._api_key, "data": data, "errCode": code, "message": message})


class UuWalletPlatform:
    """The platform's end: what the sandbox is."""

    def __init__(self, api_key: str, private: rsa.RSAPrivateKey) -> None:
        self.api_key = api_key
        self._private = private

    def seal(self, plaintext: bytes) -> str:
        """The body of a callback; deterministic."""
        return blocks.to_text(blocks.seal_private(self._private, plaintext), url_safe=False)

    def read(self, body: bytes) -> Answer:
        """A merchant's answer. Raises `CallbackRefused` for what is none."""
        try:
            row = CallbackRow(loads(body))
            code, message = row.whole("errCode"), row.optional_word("message") or ""
            data = row.fields.get("data") or ""
            if not data:
                return Answer(code, message, {})
            raw = blocks.from_text(row.text("data", limit=1 << 16))
            plaintext = blocks.open_private(self._private, raw)
            return Answer(code, message, CallbackRow(loads(plaintext)).fields)
        except (BadMessage, EnvelopeError) as error:
            raise CallbackRefused(f"the merchant's answer: {error}") from None


def _data_of(body: bytes) -> str:
    try:
        text = body.decode("ascii").strip()
    except UnicodeDecodeError:
        raise blocks.refusal() from None
    if text.startswith("{"):
        try:
            return CallbackRow(loads(text.encode())).text("data", limit=1 << 20)
        except BadMessage:
            raise blocks.refusal() from None
    if text.startswith("data=") or "&data=" in text:
        found = parse_qs(text, max_num_fields=20, separator="&").get("data", [])
        return found[0] if len(found) == 1 else ""
    return text


def _event(message: Message) -> Event:
    row, kind = message.row, message.type
    row.demand(_DOCUMENTED.get(kind, ()))
    tells_money = kind in range(NOTIFY_DEPOSITED, NOTIFY_NOT_ENOUGH_MONEY)
    user_id = row.word("tenantUserId") if tells_money else row.optional_word("tenantUserId") or ""
    match kind:
        case 1:
            chain, symbol, txid = row.word("chainName"), row.word("symbol"), row.word("txId")
            to, amount = row.word("toAddress"), row.positive("amount")
            key = f"uuwallet/deposit/{txid}/{chain}/{symbol}/{to}"
            return Deposited(
                key=key, subject=key, final=True, fields=row.fields,
                facts=facts(amount=amount, user=user_id),
                record_id=row.optional_word("trackingId") or "", user_id=user_id, chain=chain,
                symbol=symbol, amount=amount, address_to=to, txid=txid,
                address_from=row.optional_word("fromAddress"),
                risk_from=row.optional_whole("riskLevelFrom"),
                risk_to=row.optional_whole("riskLevelTo"),
            )  # fmt: skip
        case 3:
            return _paid(row, user_id)
        case 4:
            chain, symbol = row.word("chainName"), row.word("symbol")
            address = row.word("newAddress")
            if (repeated := row.optional_word("toAddress")) not in (None, address):
                raise BadMessage(f"newAddress {address} and toAddress {repeated} differ")
            # One address may serve several symbols of a chain: each has to be heard of.
            key = f"{_key(row, kind)}/{address}/{user_id}/{chain}/{symbol}"
            return AddressReplaced(
                key=key, subject=key, final=False, facts="", fields=row.fields, user_id=user_id,
                chain=chain, symbol=symbol, address=address,
            )  # fmt: skip
        case 5:
            request_id = row.word("callBackId")
            return WithdrawalFailed(
                key=_key(row, kind), subject=f"uuwallet/withdraw/{request_id}", final=True,
                facts=facts(user=user_id), fields=row.fields, request_id=request_id,
                record_id=row.optional_word("trackingId"), user_id=user_id, why="invalid_address",
                address_to=row.optional_word("toAddress"),
            )  # fmt: skip
        case 6 | 7:
            key = _key(row, kind)
            return WithdrawalUpdate(
                key=key, subject=key, final=False, facts="", fields=row.fields, user_id=user_id,
                request_id=row.optional_word("callBackId") or "", state=_WAITING[kind],
                record_id=row.optional_word("trackingId"), chain=row.optional_word("chainName"),
                symbol=row.optional_word("symbol"), amount=row.optional_amount("amount"),
                address_to=row.optional_word("toAddress"),
            )  # fmt: skip
        case 0:
            key = _key(row, kind)
            return Notice(key=key, subject=key, final=False, facts="", fields=row.fields,
                          type=kind, user_id=user_id)  # fmt: skip
        case _:
            raise BadMessage("unknown type")


def _paid(row: CallbackRow, user_id: str) -> Withdrawn:
    chain, symbol, txid = row.word("chainName"), row.word("symbol"), row.word("txId")
    amount, request_id = row.positive("amount"), row.word("callBackId")
    to = row.word("toAddress")
    return Withdrawn(
        key=f"uuwallet/withdraw/{txid}",
        subject=f"uuwallet/withdraw/{request_id}",
        final=True,
        facts=facts(request=request_id, chain=chain, symbol=symbol, amount=amount, to=to),
        fields=row.fields,
        request_id=request_id,
        record_id=row.optional_word("trackingId"),
        user_id=user_id,
        chain=chain,
        symbol=symbol,
        amount=amount,
        address_from=row.optional_word("fromAddress"),
        address_to=to,
        txid=txid,
    )


def _key(row: CallbackRow, kind: int) -> str:
    """(type, trackingId, callBackId); where a message has neither, only its own id is left."""
    tracking, callback = row.optional_word("trackingId"), row.optional_word("callBackId")
    if tracking is None and callback is None and kind != NOTIFY_ADDRESS:
        return f"uuwallet/{kind}/request/{row.word('requestUUID')}"
    return f"uuwallet/{kind}/{tracking or ''}/{callback or ''}"
