"""A bare HTTP/1.1 line to a node nearby: POST out, the body into a buffer that is used again.

For plain ``http://`` endpoints on this machine or a private network. It understands what nodes
there say: a status, a length or chunks. Anything else (compression, an answer that ends with the
connection, redirects that would be followed) is `NotPlain`, and the caller asks by a whole client.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass

_FIRST_BYTES = 1 << 16
_HEAD_MOST = 1 << 16
_CHUNK_LINE_MOST = 256
_IDLE_S = 50.0  # servers close idle lines after 60 s or more
_KEPT_BUFFERS = 8
_UNSHARED = 2  # references to a view that nobody else holds: ours and the question's


class NotPlain(Exception):
    """The answer needs a whole HTTP client."""


class TooLarge(Exception):
    """The answer is above the limit."""


class Broken(Exception):
    """The line ended before the answer did. `is_silent`: before its first byte."""

    def __init__(self, *, is_silent: bool) -> None:
        super().__init__("the connection was closed")
        self.is_silent = is_silent


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a body, valid for as long as somebody holds `body`."""

    status: int
    body: memoryview
    waited_s: float  # until the first byte


class Buffers:
    """Memory that bodies are read into, used again once nobody looks at the last body in it.

    Fresh memory for every answer costs as much as half of its reading: the system has to clear it.
    """

    def __init__(self) -> None:
        self._lent: list[tuple[bytearray, memoryview]] = []

    def take(self) -> bytearray:
        """A buffer whose content does not matter."""
        for index in range(len(self._lent) - 1, -1, -1):
            buffer, _ = self._lent[index]
            if sys.getrefcount(self._lent[index][1]) <= _UNSHARED + 1:
                del self._lent[index]
                return buffer
        return bytearray(_FIRST_BYTES)

    def lend(self, buffer: bytearray, start: int, end: int) -> memoryview:
        """A view of a body; its buffer comes back when the view is gone."""
        view = memoryview(buffer)[start:end]
        self._lent.append((buffer, view))
        if len(self._lent) > _KEPT_BUFFERS:
            del self._lent[0]
        return view


class Line(asyncio.BufferedProtocol):
    """One kept connection; one request at a time."""

    def __init__(self, buffers: Buffers, limit: int) -> None:
        self._buffers = buffers
        self._limit = limit
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._sent_at = 0.0
        self.used_at = 0.0
        self.is_closed = False
        self._start()

    def _start(self) -> None:
        self._filled = 0  # bytes of the buffer that hold something
        self._first_at = 0.0
        self._status = 0
        self._body_at = 0  # 0: the head is not whole yet
        self._end = 0  # of a body whose length is known
        self._chunk_at = -1  # next unread chunk line; -1: no chunks
        self._keeps = True

    # --- asked by the caller --------------------------------------------------------------------

    async def post(self, request: bytes) -> Reply:
        """Send one request and wait. Raises `Broken`, `NotPlain`, `TooLarge`."""
        if self._transport is None or self.is_closed:
            raise Broken(is_silent=True)
        self._start()
        self._answer = asyncio.get_running_loop().create_future()
        self._sent_at = time.perf_counter()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                self.close()  # what comes late must not answer the next request
            self._answer = None

    def close(self) -> None:
        """Idempotent."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- called by the loop ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self._buffer:
            self._buffer = self._buffers.take()
        elif self._filled == len(self._buffer):
            self._grow(2 * len(self._buffer))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked
            return
        if not self._filled:
            self._first_at = time.perf_counter()
        self._filled += nbytes
        try:
            if not self._body_at:
                self._read_head()
            if self._chunk_at >= 0:
                self._read_chunks()
            elif self._body_at and self._filled >= self._end:
                self._done(self._body_at, self._end, self._end)
        except (NotPlain, TooLarge) as error:
            self._fail(error)
        except ValueError:
            self._fail(NotPlain("no HTTP that is understood here"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            if self._body_at and self._chunk_at < 0 and not self._end:
                self._answer.set_exception(NotPlain("a body that ends with the connection"))
            else:
                self._answer.set_exception(Broken(is_silent=not self._filled))

    def eof_received(self) -> bool:
        return False

    # --- reading --------------------------------------------------------------------------------

    def _grow(self, size: int) -> None:
        if size > self._limit + _HEAD_MOST + _CHUNK_LINE_MOST:
            raise TooLarge
        larger = bytearray(size)
        larger[: self._filled] = memoryview(self._buffer)[: self._filled]
        self._buffer = larger

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n", 0, min(self._filled, _HEAD_MOST))
        if end < 0:
            if self._filled >= _HEAD_MOST:
                raise NotPlain("a head without an end")
            return
        first, *lines = bytes(memoryview(self._buffer)[:end]).split(b"\r\n")
        version, status, *_ = first.split(b" ", 2)
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(status) != 3:
            raise NotPlain("no HTTP/1.1")
        self._status = int(status)
        self._keeps = version == b"HTTP/1.1"
        self._body_at = end + 4
        length = -1
        is_chunked = False
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"content-length":
                if length >= 0 or not value.isdigit():
                    raise NotPlain("a length that is none")
                length = int(value)
            elif name == b"transfer-encoding":
                if value != b"chunked":
                    raise NotPlain("an unusual transfer encoding")
                is_chunked = True
            elif name == b"content-encoding" and value != b"identity":
                raise NotPlain("compressed")
            elif name == b"connection":
                self._keeps = value == b"keep-alive" or (self._keeps and value != b"close")
        if not 200 <= self._status < 600 or 300 <= self._status < 400:
            raise NotPlain("an answer that leads elsewhere")
        if is_chunked == (length >= 0):
            raise NotPlain("neither length nor chunks, or both")
        if length > self._limit:
            raise TooLarge
        if is_chunked:
            self._chunk_at = self._end = self._body_at
        else:
            self._end = self._body_at + length
            if self._end > len(self._buffer):
                self._grow(self._end)

    def _read_chunks(self) -> None:
        """Whole chunks are moved together in place; `_end` is where the body ends so far."""
        buffer = self._buffer
        while True:
            line_end = buffer.find(b"\r\n", self._chunk_at, self._filled)
            if line_end < 0:
                if self._filled - self._chunk_at > _CHUNK_LINE_MOST:
                    raise NotPlain("a chunk without a size")
                return
            text = bytes(memoryview(buffer)[self._chunk_at : line_end]).partition(b";")[0].strip()
            size = int(text, 16)
            if size < 0 or self._end + size - self._body_at > self._limit:
                raise TooLarge
            data = line_end + 2
            if not size:
                if self._filled < data + 2:
                    return
                if buffer[data : data + 2] != b"\r\n":
                    raise NotPlain("trailers")
                self._done(self._body_at, self._end, data + 2)
                return
            if self._filled < data + size + 2:
                if data + size + 2 > len(buffer):
                    self._grow(max(data + size + 2, 2 * len(buffer)))
                return
            if self._end != data:
                view = memoryview(buffer)
                view[self._end : self._end + size] = view[data : data + size]
                view.release()
            self._end += size
            self._chunk_at = data + size + 2

    def _done(self, start: int, end: int, message_end: int) -> None:
        assert self._answer is not None
        body = self._buffers.lend(self._buffer, start, end)
        self._buffer = bytearray()
        if not self._keeps or self._filled > message_end:
            self.close()  # or it has said more than was asked
        self.used_at = time.perf_counter()
        self._answer.set_result(Reply(self._status, body, self._first_at - self._sent_at))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Lines:
    """The lines to one place, at most `most`; idle ones are used again, newest first."""

    def __init__(self, host: str, port: int, *, most: int, limit: int) -> None:
        self._host = host
        self._port = port
        self._limit = limit
        self._buffers = Buffers()
        self._idle: deque[Line] = deque()
        self._free = asyncio.Semaphore(most)
        self._all: set[Line] = set()

    async def post(self, request: bytes) -> Reply:
        """By an idle line or a new one. Raises `OSError`, and what `Line.post` raises.

        A line that was closed while it was idle has not taken the request: it goes by a new one.
        """
        async with self._free:
            line = self._reused()
            if line is not None:
                try:
                    return await self._by(line, request)
                except Broken as error:
                    if not error.is_silent:
                        raise
            loop = asyncio.get_running_loop()
            _, fresh = await loop.create_connection(
                lambda: Line(self._buffers, self._limit), self._host, self._port
            )
            self._all.add(fresh)
            return await self._by(fresh, request)

    async def _by(self, line: Line, request: bytes) -> Reply:
        try:
            return await line.post(request)
        finally:
            if line.is_closed:
                self._all.discard(line)
            else:
                self._idle.append(line)

    def _reused(self) -> Line | None:
        oldest = time.perf_counter() - _IDLE_S
        while self._idle:
            line = self._idle.pop()
            if not line.is_closed and line.used_at > oldest:
                return line
            line.close()
            self._all.discard(line)
        return None

    def close(self) -> None:
        """Close every line."""
        for line in self._all:
            line.close()
        self._all.clear()
        self._idle.clear()
