"""How an answer leaves when a fault bends it: late, cut, reset, or as something else."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from chain_adapter.sandbox.faults import Fault

_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works</body></html>\n"


class Dropped(web.Response):
    """Written to nobody: the connection is gone already."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Delivery:
    """One answer of one request."""

    def __init__(self, request: web.Request, fault: Fault | None) -> None:
        self._request = request
        self._fault = fault

    def drop(self) -> web.StreamResponse:
        """Close the connection without a byte."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()
        return Dropped()

    def reset(self) -> web.StreamResponse:
        """Close it so that the peer sees a reset."""
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return Dropped()

    async def bend(self, answer: web.Response, body: bytes) -> web.StreamResponse:
        """The answer as the fault would have it."""
        kind = self._fault.kind if self._fault else ""
        if self._fault and kind == "latency":
            await asyncio.sleep(self._fault.seconds)
        elif kind == "refuse":
            return self.drop()
        elif kind in ("reset_before", "reset_after"):
            return self.reset()
        elif kind == "truncate":
            return await self._truncate(body)
        elif kind == "status_500":
            return web.Response(status=500, text="Internal Server Error\n")
        elif kind == "html":
            return web.Response(body=_PAGE, content_type="text/html", charset="utf-8")
        elif kind == "bad_json":
            return web.Response(
                body=body[:-1] + b',"', content_type="application/json", charset="utf-8"
            )
        return answer

    async def _truncate(self, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        response.content_length = len(body)
        await response.prepare(self._request)
        await response.write(body[: len(body) // 2])
        transport = self._request.transport
        if transport is not None:
            transport.close()
        return response
