"""The merchant's calls to the platform (WaaS V2, `/api/v2`).

fields + time, charset, version -> sealed with our key -> POST form -> opened with theirs -> data.
An answer that does not open is no answer: `PlatformUnreachable`. A code other than 0 is
`MerchantCallRefused`, and proves only as much as its seal: it was made by the platform, some time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from chain_adapter.callbacks.events import CallbackRefused
from chain_adapter.callbacks.rows import CallbackRow
from chain_adapter.callbacks.waas import WaasV2
from chain_adapter.errors import AdapterError, PlatformUnreachable
from chain_adapter.platform_api.exact_json import BadMessage

API = "/api/v2"
PAGE = 100  # the most records of a sync call, and the most ids of a list call
MAX_ANSWER = 16 << 20  # bytes
TIMEOUT_S = 30.0


class MerchantCallRefused(AdapterError):
    """The platform answered a merchant call with a code other than 0."""

    def __init__(self, call: str, code: str, message: str) -> None:
        super().__init__(f"{call}: the platform answered code {code}: {message}")
        self.call = call
        self.code = code


class MerchantClient:
    """`session` is the caller's; `url` is the platform's base, without `/api/v2`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        dialect: WaasV2,
        now: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + API
        self._dialect = dialect
        self._now = now
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def call(self, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        """The `data` of one call. Raises `MerchantCallRefused`, `PlatformUnreachable`."""
        form = self._dialect.request(fields or {}, int(self._now() * 1000))
        try:
            async with self._session.post(
                f"{self._url}/{path}", data=form, timeout=self._timeout, allow_redirects=False
            ) as answer:
                body = await answer.content.read(MAX_ANSWER)
                while len(body) < MAX_ANSWER and (more := await answer.content.read(MAX_ANSWER)):
                    body += more
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PlatformUnreachable(f"{path}: {type(error).__name__}: {error}") from None
        try:
            response = self._dialect.response(body)
        except CallbackRefused as error:
            raise PlatformUnreachable(f"{path}: HTTP {status}: {error}") from None
        if response.code != "0":
            raise MerchantCallRefused(path, response.code, response.msg[:300])
        return response.data

    async def row(self, path: str, fields: Mapping[str, Any]) -> CallbackRow:
        """The `data` of a call that answers one object."""
        try:
            return CallbackRow(await self.call(path, fields))
        except BadMessage as error:
            raise PlatformUnreachable(f"{path}: {error}") from None

    async def rows(self, path: str, fields: Mapping[str, Any]) -> list[CallbackRow]:
        """The `data` of a call that answers a list; none is an empty one."""
        data = await self.call(path, fields)
        if data is None:
            return []
        if not isinstance(data, list):
            raise PlatformUnreachable(f"{path}: the answer is no list")
        try:
            return [CallbackRow(one) for one in data]
        except BadMessage as error:
            raise PlatformUnreachable(f"{path}: {error}") from None

    # --- the calls with one object

    async def register_email(self, email: str) -> str:
        """The uid of a new user (or of the one with that e-mail)."""
        return (await self.row("user/registerEmail", {"email": email})).word("uid")

    async def user(self, email: str) -> str:
        """The uid of a known user."""
        return (await self.row("user/info", {"email": email})).word("uid")

    async def deposit_address(self, uid: str, symbol: str) -> str:
        """The user's address; of a memo coin `address_memo`."""
        row = await self.row("account/getDepositAddress", {"uid": uid, "symbol": symbol})
        return row.word("address")

    async def balance(self, uid: str, symbol: str) -> tuple[str, str]:
        """(free, locked), decimal text."""
        row = await self.row("account/getByUidAndSymbol", {"uid": uid, "symbol": symbol})
        return row.amount("normal_balance"), row.amount("lock_balance")

    async def withdraw(
        self, request_id: str, uid: str, symbol: str, amount: str, address: str
    ) -> str:
        """Ask for a withdrawal; the platform's id of it. The same `request_id` asks once.

        `amount` includes the platform's service charge.
        """
        row = await self.row(
            "billing/withdraw",
            {
                "request_id": request_id,
                "from_uid": uid,
                "to_address": address,
                "amount": amount,
                "symbol": symbol,
            },
        )
        return row.word("id")

    # --- lists

    async def page(self, path: str, max_id: int) -> list[CallbackRow]:
        """Up to 100 records with an id above `max_id`."""
        return await self.rows(path, {"max_id": max_id})

    async def by_ids(self, path: str, ids: Sequence[str]) -> list[CallbackRow]:
        """The records of these ids, asked a hundred at a time."""
        found: list[CallbackRow] = []
        for at in range(0, len(ids), PAGE):
            found += await self.rows(path, {"ids": ",".join(ids[at : at + PAGE])})
        return found
