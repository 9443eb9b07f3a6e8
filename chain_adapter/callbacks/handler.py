"""What a merchant mounts in an aiohttp application: three lines a dialect.

request -> X-API-KEY, where the dialect has it -> opened -> typed -> handed on once -> answered.
    store = SqliteStore("callbacks.db")
    callbacks = WaasCallbacks(WaasV2(app_id, own, platform), HandOff(store, apply=book), confirm)
    app.add_routes(callbacks.routes())
Guarantees: nothing is handed on that does not open under the platform's key; an event that was
answered with success is marked on the disk. Does not guarantee that an event comes (see `Sync`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

from aiohttp import web

from chain_adapter.callbacks.events import (
    Approved,
    CallbackRefused,
    ConfirmRequest,
    Decision,
    NotNow,
    Refused,
)
from chain_adapter.callbacks.handoff import HandOff
from chain_adapter.callbacks.uuwallet import (
    API_KEY_HEADER,
    NOTIFY_REQUEST_WITHDRAW,
    UNAUTHORISED,
    Message,
    UuWallet,
)
from chain_adapter.callbacks.waas import FAILURE, SUCCESS, WaasV2
from chain_adapter.platform_api.fields import is_plain

Confirm = Callable[[ConfirmRequest], Awaitable[Decision]]
log = logging.getLogger(__name__)

NOTIFY_PATH, CONFIRM_PATH = "/callbacks/notify", "/callbacks/confirm"
UU_NOTIFY_PATH, UU_CONFIRM_PATH = "/api/v1/uu/notify", "/api/v1/uu/withdraw/info"
MAX_BODY = 1 << 20  # bytes


async def refuse_all(request: ConfirmRequest) -> Decision:
    """What answers second confirmations until a merchant gives a coroutine of its own."""
    return Refused("this merchant confirms no withdrawals")


class WaasCallbacks:
    """Notifications and second confirmations of WaaS V2.

    `encrypted_answers` is for an edition of the platform that wants the word encrypted.
    """

    def __init__(
        self,
        dialect: WaasV2,
        hand_off: HandOff,
        confirm: Confirm = refuse_all,
        *,
        encrypted_answers: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dialect = dialect
        self._hand_off = hand_off
        self._confirm = confirm
        self._encrypted = encrypted_answers
        self._now = now

    def routes(self, notify: str = NOTIFY_PATH, confirm: str = CONFIRM_PATH) -> list[web.RouteDef]:
        """The two URLs to tell the platform."""
        return [web.post(notify, self.notify), web.post(confirm, self.confirm)]

    async def notify(self, request: web.Request) -> web.Response:
        """SUCCESS once the event is handed on and marked, or was before; else FAILURE."""
        try:
            event = self._dialect.notification(await _form(request))
        except CallbackRefused as error:
            return self._word(FAILURE, error, status=400)
        try:
            await self._hand_off.offer(event)
        except (CallbackRefused, NotNow) as error:
            return self._word(FAILURE, error)
        return self._word(SUCCESS)

    async def confirm(self, request: web.Request) -> web.Response:
        """The equal check_sum approves; an empty one refuses."""
        try:
            question, check_sum = self._dialect.confirmation(await _form(request))
        except CallbackRefused as error:
            log.warning("second confirmation refused: %s", error)
            return web.Response(status=400, text=FAILURE)
        decision = await decide(self._hand_off, self._confirm, question)
        said = check_sum if isinstance(decision, Approved) else ""
        body = self._dialect.confirm_answer(said, int(self._now() * 1000))
        return web.Response(body=body, content_type="application/json")

    def _word(self, word: str, why: Exception | None = None, *, status: int = 200) -> web.Response:
        if why is not None:
            log.warning("callback refused: %s", why)
        text = self._dialect.word(word, encrypted=self._encrypted)
        return web.Response(status=status, text=text)


class UuWalletCallbacks:
    """Every type of UUWallet. Type 2 may come to either URL: the type is inside what is signed."""

    def __init__(self, dialect: UuWallet, hand_off: HandOff, confirm: Confirm = refuse_all) -> None:
        self._dialect = dialect
        self._hand_off = hand_off
        self._confirm = confirm

    def routes(
        self, notify: str = UU_NOTIFY_PATH, confirm: str = UU_CONFIRM_PATH
    ) -> list[web.RouteDef]:
        """The two URLs to tell the platform."""
        return [web.post(notify, self.handle), web.post(confirm, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """`errCode` 0 once the message is dealt with."""
        if not self._dialect.is_key(request.headers.get(API_KEY_HEADER)):
            log.warning("callback refused: no %s, or another one", API_KEY_HEADER)
            return web.json_response(
                {"apiKey": "", "data": "", "errCode": UNAUTHORISED,
                 "message": f"{API_KEY_HEADER} is missing or another one"},
                status=UNAUTHORISED,
            )  # fmt: skip
        try:
            message = self._dialect.open(await _body(request))
        except CallbackRefused as error:
            return self._refuse(error, status=400)
        try:
            if message.type == NOTIFY_REQUEST_WITHDRAW:
                return await self._second_confirmation(message)
            await self._hand_off.offer(self._dialect.event(message))
        except (CallbackRefused, NotNow) as error:
            return self._refuse(error, message)
        return _json(self._dialect.accept(message))

    async def _second_confirmation(self, message: Message) -> web.Response:
        question = self._dialect.question(message)
        decision = await decide(self._hand_off, self._confirm, question)
        if isinstance(decision, Refused):
            return _json(self._dialect.refuse(decision.reason or "refused", message))
        return _json(self._dialect.approve(message, decision))

    def _refuse(
        self, error: Exception, message: Message | None = None, *, status: int = 200
    ) -> web.Response:
        log.warning("callback refused: %s", error)
        return _json(self._dialect.refuse(str(error), message), status=status)


async def decide(hand_off: HandOff, confirm: Confirm, question: ConfirmRequest) -> Decision:
    """The merchant's decision, which must agree with the question and with what it said before.

    It is asked anew at every try, because its books may have changed; an approval is remembered
    before it is answered, and a second one with other details refuses.
    """
    decision = await confirm(question)
    if isinstance(decision, Refused):
        log.info("withdrawal %s refused: %s", question.request_id, decision.reason)
        return decision
    different = [
        name
        for name in ("address", "symbol", "amount")
        if not _agree(getattr(question, name), getattr(decision, name))
    ]
    if different:
        reason = f"the books differ from the question in {', '.join(different)}"
        log.warning("withdrawal %s refused: %s", question.request_id, reason)
        return Refused(reason)
    before = await hand_off.store.approval(question.request_id)
    if before is not None and before != decision:
        log.warning("withdrawal %s was approved with other details", question.request_id)
        return Refused("it was approved before with other details")
    if before is None:
        await hand_off.store.approve(question.request_id, decision)
    return decision


def _agree(asked: str | None, approved: str | None) -> bool:
    if asked is None or approved is None or asked == approved:
        return True
    return is_plain(asked) and is_plain(approved) and Decimal(asked) == Decimal(approved)


async def _body(request: web.Request) -> bytes:
    try:
        body = await request.content.read(MAX_BODY + 1)
        while len(body) <= MAX_BODY and (more := await request.content.read(MAX_BODY)):
            body += more
    except web.RequestPayloadError:
        raise CallbackRefused("the body ended early") from None
    if len(body) > MAX_BODY:
        raise CallbackRefused("the body is too large")
    return body


async def _form(request: web.Request) -> Mapping[str, str]:
    """The two fields, from a form in the body. A field that stands twice is refused."""
    return parse_form(await _body(request))


def parse_form(body: bytes) -> dict[str, str]:
    """Form-encoded text; each field once. Raises `CallbackRefused`."""
    try:
        pairs = parse_qsl(body.decode("utf-8").strip(), max_num_fields=20)
    except ValueError:
        raise CallbackRefused("the body is no form") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise CallbackRefused("a field stands twice in the form")
    return form


def _json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
