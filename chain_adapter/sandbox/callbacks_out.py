"""Callbacks to the merchant: what waits in the books, sent on schedule in either dialect.

collect -> due -> message made anew -> sealed -> POST -> answer judged -> written -> next time.
Delivery is tried five times, after 1 s, 2 min, 8 min, 32 min and 128 min; success stops it, the
fifth failure stops it for good. A second confirmation is asked at once and again on the same
schedule while nobody answers; an answer that is not the equal check_sum refuses for good.
Guarantees: at least one delivery, across restarts. Does not guarantee: exactly one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from chain_adapter.callbacks import CallbackRefused, UuWalletPlatform
from chain_adapter.callbacks.uuwallet import API_KEY_HEADER
from chain_adapter.callbacks.waas import WaasV2
from chain_adapter.platform_api.exact_json import Number
from chain_adapter.sandbox import merchant_orders as orders
from chain_adapter.sandbox import merchant_records as records
from chain_adapter.sandbox.coins import same_value
from chain_adapter.sandbox.ledger import Books, Ledger, Row
from chain_adapter.sandbox.merchant_books import GAPS, UUWALLET, Settings
from chain_adapter.sandbox.wire import dumps, is_number

SCHEDULE_S = (1, 120, 480, 1920, 7680)
_AT_ONCE = 8  # calls to the merchant at the same time
_MAX_ANSWER = 1 << 20
log = logging.getLogger(__name__)
_KEPT_ANSWER = 300  # characters of an answer that the books keep


class Context(Protocol):
    """What sending needs beside the books."""

    settings: Settings

    @property
    def app_id(self) -> str: ...

    def dialect(self) -> WaasV2: ...

    def uuwallet(self) -> UuWalletPlatform: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One try of one callback, ready to be sealed."""

    callback: Row
    plaintext: bytes
    expected: tuple[str, str, str, str, str]  # of a second confirmation: what has to come back


@dataclass(frozen=True, slots=True)
class Outcome:
    """`answered` tells whether the merchant said anything; `ok` whether it said yes."""

    ok: bool
    answered: bool
    text: str


class CallbacksOut:
    """`start` it once the books are open, `stop` it before they close, `wake` it on changes."""

    def __init__(
        self, ledger: Ledger, context: Context, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._ledger = ledger
        self._context = context
        self._changed = changed
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="sandbox-callbacks")

    async def stop(self) -> None:
        """Whatever is under way is dropped: it was not answered, so it is tried again."""
        tasks = [*self._under_way.values(), *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._context.settings.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self._woken.clear()
                due, next_at = await self._ledger.run(self._due)
                for callback_id in due:
                    if callback_id not in self._under_way:
                        task = asyncio.create_task(self._one(session, callback_id))
                        self._under_way[callback_id] = task
                        task.add_done_callback(functools.partial(self._ended, callback_id))
                wait_s = None if next_at is None else max(next_at / 1e6 - time.time(), 0.001)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), wait_s)

    def _ended(self, callback_id: int, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Left among those under way: a try that breaks must not be repeated without a pause.
            log.error("callback %d: %r", callback_id, error)
            return
        del self._under_way[callback_id]
        self._woken.set()
        self._changed()

    def _due(self, books: Books) -> tuple[list[int], int | None]:
        orders.collect(books, self._context.settings)
        waiting = "SELECT id, next_at FROM merchant_callbacks WHERE state = 'waiting'"
        rows = books.all(f"{waiting} AND next_at <= ? ORDER BY next_at, id", books.now)
        later = books.one(f"{waiting} AND next_at > ? ORDER BY next_at LIMIT 1", books.now)
        return [row["id"] for row in rows], later["next_at"] if later else None

    # --- one try

    async def _one(self, session: aiohttp.ClientSession, callback_id: int) -> None:
        async with self._slots:
            job = await self._ledger.run(lambda books: self._job(books, callback_id))
            outcome = await self._send(session, job)
            await self._ledger.run(lambda books: self._written(books, job, outcome))

    def _job(self, books: Books, callback_id: int) -> Job:
        row = books.one("SELECT * FROM merchant_callbacks WHERE id = ?", callback_id)
        assert row is not None
        settings, record = self._context.settings, row["record"]
        expected = ("", "", "", "", "")
        if row["kind"] == "confirm":
            order = orders.find(books, record)
            chain = records.chain_name(books, settings, order["symbol"])
            expected = (order["check_sum"], order["address_to"], chain, order["symbol"],
                        order["amount"])  # fmt: skip
        if settings.dialect == UUWALLET:
            fields = records.uu_fields(books, settings, row, str(uuid.uuid4()))
        elif row["kind"] == "confirm":
            fields = records.confirm_fields(books, record)
        else:
            fields = records.waas_fields(books, row["kind"], record, row["status"])
        return Job(row, dumps(fields), expected)

    async def _send(self, session: aiohttp.ClientSession, job: Job) -> Outcome:
        settings = self._context.settings
        confirm = job.callback["kind"] == "confirm"
        url = settings.confirm_url if confirm else settings.notify_url
        headers: dict[str, str] = {}
        if settings.dialect == UUWALLET:
            body: object = await asyncio.to_thread(self._context.uuwallet().seal, job.plaintext)
            headers = {API_KEY_HEADER: settings.api_key, "Content-Type": "text/plain"}
        else:
            data = await asyncio.to_thread(self._context.dialect().seal, job.plaintext)
            body = {"app_id": self._context.app_id, "data": data}
        try:
            async with asyncio.timeout(settings.timeout_s):
                async with session.post(
                    url, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    raw = await answer.content.read(_MAX_ANSWER)
                    while more := await answer.content.read(_MAX_ANSWER - len(raw)):
                        raw += more
                    status = answer.status
        except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError, OSError) as error:
            return Outcome(False, False, f"{type(error).__name__}: {error}"[:_KEPT_ANSWER])
        return await asyncio.to_thread(self._judged, job, status, raw)

    def _judged(self, job: Job, status: int, raw: bytes) -> Outcome:
        text = raw.decode("utf-8", "replace")
        said = f"HTTP {status}: {text}"[:_KEPT_ANSWER]
        if self._context.settings.dialect == UUWALLET:
            return self._judged_uuwallet(job, status, raw, said)
        dialect = self._context.dialect()
        if job.callback["kind"] == "confirm":
            answered = status < 500
            return Outcome(answered and dialect.confirms(raw, job.expected[0]), answered, said)
        return Outcome(status == 200 and dialect.is_success(text), True, said)

    def _judged_uuwallet(self, job: Job, status: int, raw: bytes, said: str) -> Outcome:
        try:
            answer = self._context.uuwallet().read(raw)
        except CallbackRefused as error:
            return Outcome(False, False, f"{said} ({error})"[:_KEPT_ANSWER])
        if status != 200 or answer.code != 0:
            return Outcome(False, False, f"errCode {answer.code}: {answer.message}"[:_KEPT_ANSWER])
        if job.callback["kind"] != "confirm":
            return Outcome(True, True, f"errCode 0: {answer.message}"[:_KEPT_ANSWER])
        _, address, chain, symbol, amount = job.expected
        told = [answer.data.get(name) for name in ("address", "chainName", "symbol", "amount")]
        agrees = told[:3] == [address, chain, symbol] and _same_amount(told[3], amount)
        return Outcome(agrees, True, f"errCode 0: {'equal' if agrees else 'other'} fields")

    def _written(self, books: Books, job: Job, outcome: Outcome) -> None:
        row, settings = job.callback, self._context.settings
        tries = row["tries"] + 1
        books.do(
            "INSERT INTO merchant_tries (callback, at, ok, answer) VALUES (?, ?, ?, ?)",
            row["id"], books.now, int(outcome.ok), outcome.text,
        )  # fmt: skip
        confirm = row["kind"] == "confirm"
        over = outcome.ok or tries >= len(SCHEDULE_S) or (confirm and outcome.answered)
        state = "done" if outcome.ok else "given_up" if over else "waiting"
        books.do(
            "UPDATE merchant_callbacks SET tries = ?, state = ?, next_at = ?, done_at = ?"
            " WHERE id = ?",
            tries, state, None if over else next_try(settings, row["created_at"], books.now, tries),
            books.now if over else None, row["id"],
        )  # fmt: skip
        if confirm and outcome.ok:
            orders.approve(books, settings, row["record"])
        elif confirm and over:
            orders.reject(books, settings, row["record"])


def next_try(settings: Settings, created_at: int, now: int, tries: int) -> int:
    """When the next try is due, in microseconds, after `tries` failures.

    `gaps`: so long after the last one. `since_first`: so long after the event.
    """
    after = round(SCHEDULE_S[tries] * 1e6 / settings.speed)
    return now + after if settings.schedule == GAPS else max(created_at + after, now)


def _same_amount(told: object, amount: str) -> bool:
    if not isinstance(told, str | Number) or len(told) > 200 or not is_number(str(told)):
        return False
    return same_value(str(told), amount)
