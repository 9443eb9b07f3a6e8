"""One call to the platform in whatever form a question needs, and all of its answer.

fields -> exact JSON -> sealed -> posted -> what was said: status, code in its form, payload.
Unlike the daemon's client it may say what is wrong on purpose, and never raises for a refusal.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from chain_adapter.errors import EnvelopeError, PlatformUnreachable
from chain_adapter.platform_api.envelope import Envelope
from chain_adapter.platform_api.exact_json import BadMessage, Number, dumps, loads

Fields = Mapping[str, Any]
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. `payload` is None where none came; `code` is -1 where it was no answer at all."""

    status: int
    code: int
    code_is_text: bool
    message: str
    data: str
    payload: Any

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def shown(self) -> str:
        """For evidence."""
        if self.code < 0:
            return f"no answer that can be read (HTTP {self.status})"
        return f"code {self.code}" + (f" ({self.message})" if self.message and self.code else "")


class Line:
    """Raises `PlatformUnreachable` only where nothing answers at all."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        app_id: str,
        envelope: Envelope,
        timeout_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._base = url.rstrip("/").removesuffix("/api/v1") + "/api/v1/"
        self._app_id = app_id
        self._envelope = envelope
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._now_s = now_s
        self.calls = 0

    async def call(
        self, path: str, fields: Fields, *, off_s: float = 0.0, broken: bool = False
    ) -> Said:
        """`off_s`: a `time` that is wrong by so much; `broken`: blocks that do not decrypt."""
        self.calls += 1
        sealed = await asyncio.to_thread(self._envelope.seal, dumps(fields))
        data = ("B" if sealed.data[0] == "A" else "A") + sealed.data[1:] if broken else sealed.data
        body = {
            "app_id": self._app_id,
            "time": int((self._now_s() + off_s) * 1000),
            "data": data,
            "sign": sealed.sign,
        }
        try:
            async with self._session.post(
                self._base + path, data=json.dumps(body), headers=HEADERS, timeout=self._timeout,
                allow_redirects=False,
            ) as response:  # fmt: skip
                return await self._said(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise PlatformUnreachable(f"{path}: {type(error).__name__}: {error}") from None

    async def _said(self, status: int, raw: bytes) -> Said:
        nothing = Said(status, -1, False, "", "", None)
        try:
            answer = loads(raw)
        except BadMessage:
            return nothing
        if not isinstance(answer, dict) or not isinstance(answer.get("code"), str):
            return nothing
        code, data = answer["code"], str(answer.get("data") or "")
        if not code.removeprefix("-").isdigit():
            return nothing
        payload = None
        if data:
            try:
                sign = str(answer.get("sign") or "")
                payload = loads(await asyncio.to_thread(self._envelope.open, data, sign))
            except (EnvelopeError, BadMessage):
                return nothing
        is_text = not isinstance(code, Number)
        return Said(status, int(code), is_text, str(answer.get("msg") or ""), data, payload)
