"""A thin JSON-RPC client of one endpoint: bytes out, bytes straight into typed records.

Every HTTP request enters the gate once. Whatever an endpoint can do wrong (HTML, 429, half a JSON,
ids of another request, a null, a number that is none) ends as `Unavailable` with a text that names
the endpoint by host and port only: the rest of its address may hold a password.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import time
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from chain_adapter.chain import Gate, Unavailable
from chain_adapter_evm.line import Broken, Lines, NotPlain, TooLarge
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import LONE, RAWS, Answer, Fault

T = TypeVar("T")
Body = bytes | memoryview
Decoder = msgspec.json.Decoder

_METHOD_MISSING = -32601
_METHOD_UNSUPPORTED = -32004  # EIP-1474
_HTTP_OK = 200
_TOO_LARGE = 413
_encode = msgspec.json.encode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NodeError(Unavailable):
    """The node answered a request with a JSON-RPC error. `code` and `message` are the node's."""

    def __init__(self, where: str, method: str, fault: Fault) -> None:
        super().__init__(f"{where}: {method}: error {fault.code}: {fault.message[:300]}")
        self.code = fault.code
        self.message = fault.message

    @property
    def no_such_method(self) -> bool:
        """The node does not have the method at all, or not for us."""
        if self.code in (_METHOD_MISSING, _METHOD_UNSUPPORTED):
            return True
        text = self.message.lower()
        absent = ("not found", "not exist", "not available", "not allowed", "supported", "disabled",
                  "implemented", "unknown")  # fmt: skip
        if "method" in text and any(part in text for part in absent):
            return True
        return any(part in text for part in ("free tier", "your plan", "current plan", "upgrade"))

    @property
    def no_state(self) -> bool:
        """The node no longer has the state or history that the request needs."""
        text = self.message.lower()
        return self.no_such_method or any(
            part in text
            for part in (
                "missing trie node", "pruned", "archive", "historical state", "world state",
                "state is not available", "state not available", "no state available",
                "state unavailable", "blockoutofrange", "state already discarded",
                "distance to target block exceeds",
            )
        )  # fmt: skip

    @property
    def reverted(self) -> bool:
        """The EVM ran and reverted: the one error that says something about the transaction."""
        return "revert" in self.message.lower()


def display_name(endpoint: str) -> str:
    """Host and port of an endpoint: what may be shown."""
    parts = urlsplit(endpoint)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}"


def is_near(endpoint: str) -> bool:
    """Whether the endpoint is on this machine or a private network: inflating costs more there."""
    host = urlsplit(endpoint).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_private or address.is_loopback


class Node:
    """One endpoint. `rtt_s` is the shortest wait for an answer's first byte seen of late."""

    def __init__(self, endpoint: str, gate: Gate, settings: Settings) -> None:
        self.name = display_name(endpoint)
        self.rtt_s = 0.0
        self._endpoint = endpoint
        self._gate = gate
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
        self._connections = settings.window * 2 + 8
        self._limit = settings.answer_limit_mib << 20
        self._batch_limit = 1 << 16
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._headers = {"Content-Type": "application/json"}
        self._lines: Lines | None = None
        self._head = b""  # of a request by a bare line; empty: only the whole client will do
        if is_near(endpoint):
            self._headers["Accept-Encoding"] = "identity"
            self._head = _bare_head(endpoint)

    async def close(self) -> None:
        """Give back the connections."""
        session, self._session = self._session, None
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()
        if session is not None:
            await session.close()

    async def call(
        self, method: str, params: Sequence[Any], decoder: Decoder[list[Answer[T]]]
    ) -> T | None:
        """One request. Raises `Unavailable`, and `NodeError` for a JSON-RPC error."""
        (answer,) = await self.batch(method, [params], decoder)
        if isinstance(answer, NodeError):
            raise answer
        return answer

    async def batch(
        self, method: str, params: Sequence[Sequence[Any]], decoder: Decoder[list[Answer[T]]]
    ) -> list[T | NodeError | None]:
        """The same method for several parameters, answers in their order."""
        return await self._send([(method, each) for each in params], decoder)

    async def mixed(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[bytes | NodeError]:
        """Several requests in one, their results as JSON text, in order."""
        answers = await self._send(calls, RAWS)
        return [a if isinstance(a, NodeError) else bytes(a or b"null") for a in answers]

    async def _send(
        self, calls: Sequence[tuple[str, Sequence[Any]]], decoder: Decoder[list[Answer[T]]]
    ) -> list[T | NodeError | None]:
        found: list[T | NodeError | None] = []
        at = 0
        while at < len(calls):
            part = calls[at : at + self._batch_limit]
            answers = await self._exchange(part, decoder)
            if answers is None:  # the node takes no batch of this size: it says so only by refusing
                self._batch_limit = max(1, len(part) // 2)
                continue
            found += answers
            at += len(part)
        return found

    async def _exchange(
        self, calls: Sequence[tuple[str, Sequence[Any]]], decoder: Decoder[list[Answer[T]]]
    ) -> list[T | NodeError | None] | None:
        ids = [next(self._ids) for _ in calls]
        bodies = [
            b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}'
            % (number, method.encode(), _encode(params))
            for number, (method, params) in zip(ids, calls, strict=True)
        ]
        method = calls[0][0]
        single = len(calls) == 1
        body = bodies[0] if single else b"[" + b",".join(bodies) + b"]"
        status, raw = await self._post(method, body)
        if status != _HTTP_OK:
            if not single and status == _TOO_LARGE:
                return None
            raise self._refused(method, status, raw)
        if single:
            raw = b"[" + bytes(raw) + b"]"
        try:
            answers = decoder.decode(raw)
        except _UNREADABLE as error:
            return self._undecodable(method, raw, single, error)
        if len(answers) == 1 and len(calls) > 1 and answers[0].error is not None:
            self._whole_refused(method, answers[0].error)
            return None
        return self._in_order(method, calls, ids, answers)

    def _in_order(
        self,
        method: str,
        calls: Sequence[tuple[str, Sequence[Any]]],
        ids: list[int],
        answers: list[Answer[T]],
    ) -> list[T | NodeError | None]:
        if [answer.id for answer in answers] != ids:
            if len(ids) == len(answers) == 1 and answers[0].id is None and answers[0].error:
                return [NodeError(self.name, method, answers[0].error)]
            by_id = {answer.id: answer for answer in answers}
            if len(answers) != len(ids) or any(number not in by_id for number in ids):
                raise Unavailable(f"{self.name}: {method}: the answer belongs to another request")
            answers = [by_id[number] for number in ids]
        return [
            answer.result if answer.error is None else NodeError(self.name, call[0], answer.error)
            for call, answer in zip(calls, answers, strict=True)
        ]

    def _undecodable(
        self, method: str, raw: Body, single: bool, error: Exception
    ) -> list[T | NodeError | None] | None:
        """A lone error object in answer to a batch, another shape, or no JSON at all."""
        raw = bytes(raw)
        try:
            fault = LONE.decode(raw[1:-1] if single else raw).error
        except _UNREADABLE:
            fault = None
        if fault is not None:
            if not single:
                self._whole_refused(method, fault)
                return None
            return [NodeError(self.name, method, fault)]
        if isinstance(error, msgspec.ValidationError):
            raise Unavailable(f"{self.name}: {method}: an answer of another shape: {error}")
        start = (raw[1:] if single else raw)[:60]
        raise Unavailable(f"{self.name}: {method}: no whole JSON ({error}); it begins {start!r}")

    def _whole_refused(self, method: str, fault: Fault) -> None:
        """One error for a whole batch: a smaller one may do, unless the node throttles."""
        text = fault.message.lower()
        throttled = any(part in text for part in ("rate", "too many", "quota", "capacity"))
        if throttled and "batch" not in text:
            raise NodeError(self.name, method, fault)

    def _refused(self, method: str, status: int, raw: Body) -> Unavailable:
        try:
            fault = LONE.decode(raw).error
        except _UNREADABLE:
            fault = None
        if fault is not None and fault.message:
            return NodeError(self.name, method, fault)
        why = {429: " (it throttles us)", 401: " (key refused)", 403: " (key refused)"}.get(
            status, ""
        )
        return Unavailable(f"{self.name}: {method}: HTTP {status}{why}")

    async def _post(self, method: str, body: bytes) -> tuple[int, Body]:
        """One HTTP request: by a bare line where that will do, else by the whole client."""
        try:
            async with self._gate(method):
                if self._head:
                    try:
                        return await self._by_line(body)
                    except NotPlain:
                        self._head = (
                            b""  # from now on; what was asked changes nothing when repeated
                        )
                return await self._by_client(method, body)
        except TimeoutError:
            raise Unavailable(
                f"{self.name}: {method}: no answer in {self._timeout.total:g} s"
            ) from None
        except TooLarge:
            raise Unavailable(f"{self.name}: {method}: an answer above the limit") from None
        except (Broken, aiohttp.ClientPayloadError):
            raise Unavailable(f"{self.name}: {method}: the answer broke off") from None
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{self.name}: no connection: {_reason(error.os_error)}") from None
        except ConnectionError as error:
            raise Unavailable(f"{self.name}: no connection: {_reason(error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # the text of these may hold the whole address
            raise Unavailable(f"{self.name}: {method}: {type(error).__name__}") from None

    async def _by_line(self, body: bytes) -> tuple[int, Body]:
        if self._lines is None:
            parts = urlsplit(self._endpoint)
            self._lines = Lines(
                parts.hostname or "", parts.port or 80, most=self._connections, limit=self._limit
            )
        async with asyncio.timeout(self._timeout.total):
            reply = await self._lines.post(self._head % len(body) + body)
        self._note_wait(reply.waited_s)
        return reply.status, reply.body

    async def _by_client(self, method: str, body: bytes) -> tuple[int, Body]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60),
                timeout=self._timeout,
                headers=self._headers,
                read_bufsize=1 << 20,
            )
        sent_at = time.perf_counter()
        async with self._session.post(self._endpoint, data=body, allow_redirects=False) as response:
            self._note_wait(time.perf_counter() - sent_at)
            if (response.content_length or 0) > self._limit:
                raise TooLarge
            return response.status, await self._read(response)

    def _note_wait(self, waited_s: float) -> None:
        # decays slowly, so that one lucky answer does not shrink the window for ever
        self.rtt_s = min(waited_s, self.rtt_s * 1.05) if self.rtt_s else waited_s

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.content_length is not None:
            return await response.read()
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._limit:
                raise TooLarge
        return b"".join(parts)


def _bare_head(endpoint: str) -> bytes:
    """Head of a request to a plain endpoint, with a place for the length; empty for another."""
    parts = urlsplit(endpoint)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or parts.username or parts.password or "%" in target:
        return b""
    if not (target + parts.netloc).isascii() or any(one.isspace() for one in target):
        return b""
    return (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        "Accept: */*\r\nAccept-Encoding: identity\r\nContent-Length: %d\r\n\r\n"
    ).encode()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


async def together(*tasks: Any) -> list[Any]:
    """Await several coroutines; the first error cancels and awaits the others."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
