"""The seven calls over HTTP: open the envelope, run the call on the books, seal the answer.

request -> fault of the path, if any -> body -> app_id -> envelope -> fields -> symbol -> rule
-> commit -> seal -> answer, bent by the fault. Every answer, errors too, is HTTP 200 with JSON.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from chain_adapter.errors import EnvelopeError
from chain_adapter.platform_api.envelope import Sealed
from chain_adapter.sandbox import deposits, pool, withdrawals
from chain_adapter.sandbox.answers import Answers
from chain_adapter.sandbox.coins import (
    BAD_SIGNATURE,
    JSON_ERROR,
    SYSTEM_ERROR,
    UNKNOWN_APP,
    Outcome,
    Refusal,
)
from chain_adapter.sandbox.delivery import Delivery
from chain_adapter.sandbox.faults import FaultQueue
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.wire import Fields, Malformed, Num, dumps, loads

Call = Callable[[Books, Fields], Outcome]

CALLS: Mapping[str, Call] = {
    "address/register": pool.register,
    "address/available": pool.available,
    "deposit/notify": deposits.notify,
    "withdraw/consume": withdrawals.consume,
    "withdraw/notify": withdrawals.notify,
    "withdraw/cancel": withdrawals.cancel,
    "internal/notify": deposits.notify_internal,
}
PATHS = frozenset(CALLS)
_FRESH_S = 300


class Sealing(Protocol):
    """What answering needs of an envelope."""

    def seal(self, plaintext: bytes) -> Sealed: ...

    def open(self, data: str, sign: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is sealed. `plaintext` is empty where there is no payload."""

    code: int
    msg: str
    symbol: str
    plaintext: bytes


class Wapi:
    """Serves `POST /api/v1/{path}`."""

    def __init__(
        self,
        ledger: Ledger,
        rule: Mapping[str, str],
        faults: FaultQueue,
        app_id: str,
        envelope: Sealing,
        stranger: Callable[[], Sealing],
    ) -> None:
        self._ledger = ledger
        self._rule = rule
        self._faults = faults
        self._app_id = app_id
        self._envelope = envelope
        self._stranger = stranger
        self._answers = Answers(ledger)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        path = request.match_info["path"]
        if path not in CALLS:
            return self._http(self._unsealed(Reply(SYSTEM_ERROR, f"unknown call {path}", "", b"")))
        fault = await self._faults.take(path)
        delivery = Delivery(request, fault)
        if fault is not None and fault.kind == "refuse" and not fault.effect:
            return delivery.drop()
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raw = b""  # no JSON, and said so
        if fault is None:
            reply = await self._call(path, raw, keep=True)
            body = await self._seal(path, reply)
            if reply.code == 0:
                self._answers.remember(path, reply.symbol, reply.plaintext, body)
            return self._http(body, reply.code)
        if fault.kind in ("replay", "stale_list"):
            reply = await self._call(path, raw, keep=fault.effect)
            return self._http(await self._earlier(fault.kind, path, reply))
        if not fault.effect and fault.kind in (
            "reset_before", "status_500", "html", "error_code",
        ):  # fmt: skip
            reply = Reply(SYSTEM_ERROR, "", "", b"")  # the call does not happen at all
        else:
            reply = await self._call(path, raw, keep=fault.effect)
        if fault.kind == "error_code":
            reply = Reply(fault.code, "error on command", reply.symbol, b"")
        elif fault.kind == "wrong_request_id" and reply.code == 0:
            other = {"data": {"request_id": f"other-{time.time_ns():x}"}}
            reply = Reply(0, "success", reply.symbol, dumps(other))
        sealed = await self._seal(path, reply, fault.kind)
        if fault.kind == "latency" and reply.code == 0:
            self._answers.remember(path, reply.symbol, reply.plaintext, sealed)
        return await delivery.bend(self._http(sealed, reply.code), sealed)

    # --- the call -------------------------------------------------------------------------------

    async def _call(self, path: str, raw: bytes, *, keep: bool) -> Reply:
        symbol = ""
        try:
            plaintext = await self._open(raw)
            fields = Fields(loads(plaintext))
            symbol = fields.text("symbol")
            outcome = await self._ledger.run(lambda books: CALLS[path](books, fields), keep=keep)
        except Refusal as refusal:
            return Reply(refusal.code, refusal.msg, symbol, b"")
        except Malformed as error:
            return Reply(JSON_ERROR, f"JSON decode error: {error}", symbol, b"")
        payload = outcome.payload
        if payload is None and self._rule["plain_success"] == "signed" and outcome.code == 0:
            payload = None if path == "withdraw/consume" else {}
        sealed = b"" if payload is None or outcome.code else dumps(payload)
        return Reply(outcome.code, outcome.msg, symbol, sealed)

    async def _open(self, raw: bytes) -> bytes:
        fields = Fields(loads(raw))
        app_id, at = fields.text("app_id", empty=True), fields.whole("time")
        data, sign = (fields.text(name, empty=True, longest=10**8) for name in ("data", "sign"))
        if app_id != self._app_id:
            raise Refusal(UNKNOWN_APP, "app_id not registered")
        if self._rule["time"] == "fresh":
            sent_s = at / 1000 if at > 10**11 else at
            if abs(time.time() - sent_s) > _FRESH_S:
                raise Refusal(SYSTEM_ERROR, "time is more than five minutes off")
        try:
            return await asyncio.to_thread(self._envelope.open, data, sign)
        except EnvelopeError:
            code = int(self._rule["broken_envelope"])
            msg = "signature verification error" if code == BAD_SIGNATURE else "system error"
            raise Refusal(code, msg) from None

    # --- the answer -----------------------------------------------------------------------------

    async def _seal(self, path: str, reply: Reply, kind: str = "") -> bytes:
        if not reply.plaintext and kind not in ("bad_signature", "other_key"):
            return self._unsealed(reply)
        if kind == "other_key":
            sealed = await asyncio.to_thread(lambda: self._stranger().seal(reply.plaintext))
        else:
            sealed = await asyncio.to_thread(self._envelope.seal, reply.plaintext)
        sign = _damaged(sealed.sign) if kind == "bad_signature" else sealed.sign
        return self._unsealed(reply, sealed.data, sign)

    def _unsealed(self, reply: Reply, data: str = "", sign: str = "") -> bytes:
        if self._rule["answer_base64"] == "standard":
            data, sign = _standard(data), _standard(sign)
        code = str(reply.code)
        as_number = self._rule["code_form"] == "number"
        return dumps(
            {"code": Num(code) if as_number else code, "msg": reply.msg, "data": data, "sign": sign}
        )

    async def _earlier(self, kind: str, path: str, present: Reply) -> bytes:
        if kind == "replay":
            body = await self._answers.last(path)
            if body is not None:
                return body
            return self._unsealed(Reply(SYSTEM_ERROR, "no earlier answer to replay", "", b""))
        plaintext = await self._answers.other_payload(path, present.symbol, present.plaintext)
        if present.code or plaintext is None:
            return await self._seal(path, present)
        return await self._seal(path, Reply(0, "success", present.symbol, plaintext))

    def _http(self, body: bytes, code: int = 0) -> web.Response:
        status = 400 if code and self._rule["error_status"] == "400" else 200
        return web.Response(
            body=body, status=status, content_type="application/json", charset="utf-8"
        )


def _damaged(sign: str) -> str:
    """Another signature of the same length and alphabet."""
    middle = len(sign) // 2
    return sign[:middle] + ("A" if sign[middle] != "A" else "B") + sign[middle + 1 :]


def _standard(text: str) -> str:
    return text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
