"""The seven calls over HTTP: message -> seal -> post -> open -> hold the answer to the question.

One method a call. It returns what was asked, or raises `PlatformRefused` (a code other than 0) or
`PlatformUnreachable` (no believable answer: the outcome is unknown, say the same thing again).
Nothing is tried twice here; who repeats what, and when, is the courier's matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from chain_adapter.errors import ConfigError, EnvelopeError, PlatformRefused, PlatformUnreachable
from chain_adapter.platform_api import codes
from chain_adapter.platform_api.envelope import LocalSealer, Sealer
from chain_adapter.platform_api.exact_json import Ambiguous, BadMessage, Number, loads
from chain_adapter.platform_api.messages import (
    Available,
    Cancel,
    Consume,
    ConsumePage,
    DepositNotice,
    InternalNotice,
    Register,
    Request,
    TransId,
    WithdrawalNotice,
    read_available,
    read_consume,
    read_deposit_echo,
)

__all__ = ["MAX_BODY_BYTES", "LocalSealer", "PlatformClient", "Sealer"]

_T = TypeVar("_T")
MAX_BODY_BYTES = 16 * 1024 * 1024
_API = "/api/v1"
_CHUNK_BYTES = 64 * 1024
_MAX_CODE_DIGITS = 12
_MAX_MESSAGE = 200
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a small body must not unpack into a large one
}


class PlatformClient:
    """Speaks for one `app_id`. Many tasks may use it; `session` keeps connections open.

    `url` is the platform's base (an ending `/api/v1` is understood too), `now` gives Unix seconds
    by our own clock, `timeout_s` bounds a whole call. `ConfigError` for a text that is no URL.
    Calls raise only `PlatformRefused` and `PlatformUnreachable`, and `BadMessage` for a value
    that may not be sent at all.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        app_id: str,
        sealer: Sealer,
        now: Callable[[], float],
        timeout_s: float = 30.0,
    ) -> None:
        try:
            self._where = str(URL(url).origin())  # without credentials: it stands in errors
        except ValueError:
            raise ConfigError("platform.url is no http:// or https:// address") from None
        self._base = url.rstrip("/").removesuffix(_API) + _API + "/"
        self._session = session
        self._app_id = app_id
        self._sealer = sealer
        self._now = now
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def register(self, symbol: str, addresses: Sequence[str], memo: bool) -> None:
        """Offer at most 100 addresses of a main coin. Success is code 0, unsigned."""
        await self._tell(Register(symbol, tuple(addresses), memo))

    async def available(self, symbol: str) -> int:
        """How many registered addresses no user has yet; for a token those of its main coin."""
        request = Available(symbol)
        plaintext, _ = await self._payload(request)
        return self._believe(request, lambda: read_available(symbol, plaintext))

    async def notify_deposit(self, notice: DepositNotice) -> None:
        """Tell of one deposit. Returns only on a signed answer that echoes its request id."""
        plaintext, _ = await self._payload(notice)
        self._believe(notice, lambda: read_deposit_echo(notice.request_id, plaintext))

    async def consume(self, symbol: str) -> ConsumePage:
        """Which withdrawals wait, with the signed answer itself as their warrant."""
        request = Consume(symbol)
        plaintext, sign = await self._payload(request)
        return self._believe(request, lambda: read_consume(symbol, plaintext, sign))

    async def notify_withdrawal(self, notice: WithdrawalNotice) -> None:
        """Claim a withdrawal (`confirm` 0) or tell how it went. Success is code 0, unsigned."""
        await self._tell(notice)

    async def cancel(self, symbol: str, trans_id: TransId, msg: str) -> None:
        """Send a withdrawal back to its user. Success is code 0, unsigned."""
        await self._tell(Cancel(symbol, trans_id, msg))

    async def notify_internal(self, notice: InternalNotice) -> None:
        """Tell of a fee that completed no withdrawal. Success is code 0, unsigned."""
        await self._tell(notice)

    # --- inside -----------------------------------------------------------------------------------

    async def _tell(self, request: Request) -> None:
        """A call whose success has no payload; one that comes all the same must open."""
        data, sign = await self._ask(request)
        if data or sign:
            await self._open(request, data, sign)

    async def _payload(self, request: Request) -> tuple[bytes, str]:
        """A call whose success has one: an empty `data` is not success."""
        data, sign = await self._ask(request)
        if not data:
            raise self._lost(request, "success with an empty payload, which nobody signed")
        return await self._open(request, data, sign), sign

    async def _open(self, request: Request, data: str, sign: str) -> bytes:
        try:
            return await self._sealer.open(data, sign)
        except EnvelopeError as error:
            raise self._lost(request, str(error)) from None

    def _believe(self, request: Request, read: Callable[[], _T]) -> _T:
        """An answer that opens but does not fit the question decides nothing."""
        try:
            return read()
        except BadMessage as error:
            raise self._lost(request, str(error)) from None

    async def _ask(self, request: Request) -> tuple[str, str]:
        """Post one request; `(data, sign)` of an answer with code 0, not yet opened."""
        sealed = await self._sealer.seal(request.to_json())
        body = json.dumps(
            {
                "app_id": self._app_id,
                "time": int(self._now() * 1000),
                "data": sealed.data,
                "sign": sealed.sign,
            }
        )
        return self._answer(request, await self._post(request, body.encode("ascii")))

    async def _post(self, request: Request, body: bytes) -> bytes:
        try:
            async with self._session.post(
                self._base + request.call,
                data=body,
                headers=_HEADERS,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200 and not 400 <= response.status < 500:
                    raise self._lost(request, f"HTTP {response.status}, not 200")
                body = await self._read(request, response)
                if response.status != 200:
                    self._refusal(request, body)
                    raise self._lost(request, f"HTTP {response.status}, not 200")
                return body
        except TimeoutError:
            raise self._lost(request, f"no answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            why = f"{type(error).__name__}: {_printable(str(error))}"
            raise self._lost(request, why) from None

    async def _read(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        """The body, given up as soon as it is larger than any answer can be."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                response.close()
                raise self._lost(request, f"an answer longer than {MAX_BODY_BYTES // 2**20} MB")
        return bytes(body)

    def _answer(self, request: Request, raw: bytes) -> tuple[str, str]:
        answer = self._refusal(request, raw)
        if not answer:
            raise self._lost(request, "an answer that is no JSON object with a code")
        return self._text(request, answer, "data"), self._text(request, answer, "sign")

    def _refusal(self, request: Request, raw: bytes) -> dict[str, Any]:
        """Raise the refusal in this body, under HTTP 4xx as well: a code is believed no less there.

        The answer itself when its code is 0; empty when it is none.
        """
        try:
            answer = loads(raw)
        except BadMessage:
            return {}
        if not isinstance(answer, dict) or isinstance(answer, Ambiguous):
            return {}
        code = _code(answer.get("code"))
        if code is None:
            return {}
        if code != codes.SUCCESS:
            raise PlatformRefused(
                request.call, code, _explained(code, answer.get("msg")), row=codes.is_row(code)
            )
        return answer

    def _text(self, request: Request, answer: dict[str, Any], key: str) -> str:
        value = answer.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or isinstance(value, Number):
            raise self._lost(request, f"{key} of the answer is no string")
        return value

    def _lost(self, request: Request, why: str) -> PlatformUnreachable:
        return PlatformUnreachable(f"{request.call}: {self._where}: {why}")


def _code(value: Any) -> int | None:
    """The code, sent as a number or as a string; None for anything else."""
    if not isinstance(value, str) or len(value) > _MAX_CODE_DIGITS:
        return None
    digits = value.removeprefix("-")
    return int(value) if digits.isascii() and digits.isdigit() else None


def _explained(code: int, message: Any) -> str:
    """What the platform said and what the code means."""
    said = _printable(message) if isinstance(message, str) else ""
    meaning = codes.meaning(code)
    return f"{said} ({meaning})" if said else meaning


def _printable(text: str) -> str:
    """A stranger's text, made harmless for a log line."""
    clean = "".join(c if c.isprintable() else " " for c in text[:_MAX_MESSAGE])
    return " ".join(clean.split())
