"""A thin client of one endpoint: JSON out, bytes straight into typed records.

Every request enters the gate once. Whatever an endpoint can do wrong (HTML, 429, half a JSON, an
`Error` under HTTP 200, another shape) ends as `Unavailable` with a text that names the endpoint by
host and port only: the rest of its address may hold a password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from chain_adapter.chain import Gate, Unavailable
from chain_adapter_tron.settings import Settings
from chain_adapter_tron.wire import BlockHead, Fault

T = TypeVar("T")

_HTTP_OK = 200
_FAULT = msgspec.json.Decoder(Fault).decode
_NO_CALL = (404, 405, 501)


class NoSuchCall(Unavailable):
    """The endpoint does not have this call, or has it switched off."""


def display_name(endpoint: str) -> str:
    """Host and port of an endpoint: what may be shown."""
    parts = urlsplit(endpoint)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}"


def with_port(endpoint: str, port: int | None) -> str:
    """The endpoint under another port."""
    if port is None:
        return endpoint
    parts = urlsplit(endpoint)
    user, at, host = parts.netloc.rpartition("@")
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}:{port}"))


class Node:
    """One endpoint: its full and its solidified interface."""

    def __init__(self, endpoint: str, gate: Gate, settings: Settings) -> None:
        self.name = display_name(endpoint)
        full = endpoint.rstrip("/")
        self._bases = {
            "wallet": full,
            "walletsolidity": with_port(full, settings.solidity_port),
        }
        self._gate = gate
        self._settings = settings
        self._limit = settings.answer_limit_mib << 20
        self._free = asyncio.Semaphore(settings.requests)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give back the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, path: str, body: Mapping[str, Any], shape: type[T]) -> T:
        """One request (``wallet/getnowblock``). Raises `Unavailable`, `NoSuchCall`."""
        status, raw = await self._post(path, msgspec.json.encode(body))
        if status != _HTTP_OK:
            why = {429: " (it throttles us)", 401: " (key refused)", 403: " (refused)"}.get(
                status, ""
            )
            text = f"{self.name}: {path}: HTTP {status}{why}"
            raise NoSuchCall(text) if status in _NO_CALL else Unavailable(text)
        if raw[:9].startswith(b'{"Error"'):
            self._fault(path, raw)
        try:
            return msgspec.json.decode(raw, type=shape)
        except msgspec.ValidationError as error:
            if raw.strip() == b"{}":  # "there is none", where a list was asked for
                raise Unavailable(f"{self.name}: {path}: it has nothing to tell") from None
            raise Unavailable(f"{self.name}: {path}: an answer of another shape: {error}") from None
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"{self.name}: {path}: no whole JSON ({error}); it begins {raw[:60]!r}"
            ) from None

    async def newest(self, interface: str = "wallet") -> BlockHead:
        """The newest block of an interface, or one without an id where it tells none."""
        if not self._settings.brief_heads:
            return await self.ask(f"{interface}/getnowblock", {}, BlockHead)
        return await self.ask(f"{interface}/getblock", {"detail": False}, BlockHead)

    def _fault(self, path: str, raw: bytes) -> None:
        try:
            said = _FAULT(raw).error
        except msgspec.DecodeError:
            said = raw[:200].decode(errors="replace")
        text = f"{self.name}: {path}: {said[:300]}"
        off = ("not supported", "unsupport", "does not support", "not found", "is not enable")
        raise NoSuchCall(text) if any(one in said.lower() for one in off) else Unavailable(text)

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._settings.api_key_file is not None:
                path = Path(self._settings.api_key_file)
                try:
                    key = await asyncio.to_thread(path.read_text)
                except OSError as error:
                    raise Unavailable(f"api_key_file {path}: {error.strerror}") from None
                headers["TRON-PRO-API-KEY"] = key.strip()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._settings.requests, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
                headers=headers,
                read_bufsize=1 << 20,
            )
        return self._session

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        url = f"{self._bases[path.partition('/')[0]]}/{path}"
        try:
            async with self._free, self._gate(path):
                session = await self._open()
                async with session.post(url, data=body, allow_redirects=False) as response:
                    return response.status, await self._read(path, response)
        except TimeoutError:
            raise Unavailable(
                f"{self.name}: {path}: no answer in {self._settings.timeout_s:g} s"
            ) from None
        except aiohttp.ClientPayloadError:
            raise Unavailable(f"{self.name}: {path}: the answer broke off") from None
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise Unavailable(f"{self.name}: no connection: {reason}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # the text of these may hold the whole address
            raise Unavailable(f"{self.name}: {path}: {type(error).__name__}") from None

    async def _read(self, path: str, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._limit:
                raise Unavailable(f"{self.name}: {path}: an answer above the limit")
        return b"".join(parts)


async def together(*tasks: Awaitable[Any]) -> list[Any]:
    """Await several at once; the first error cancels and awaits the others."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
