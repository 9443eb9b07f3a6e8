"""The signer's side of the socket: one task a connection, one frame a request.

peer's user is looked at first -> `Hello` with its role -> calls, answered as they are done
One daemon at a time. A frame that is damaged ends its connection; nothing that comes in can end
the server, and no error text carries more than its refusal.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from typing import Any, Final

import msgspec
import structlog

from chain_adapter.errors import AlreadyRunning, SigningRefused
from chain_adapter.keys import wire
from chain_adapter.keys.journal import JournalEntry
from chain_adapter.keys.signer import LocalSigner
from chain_adapter.keys.unix_socket import peer_uid

MAX_AT_ONCE: Final = 256
_PAGE: Final = 500
_PAGE_BYTES: Final = 2 * 1024 * 1024
_log = structlog.get_logger(__name__)


class SignerServer:
    """Serves a `LocalSigner` to connections of the allowed users."""

    def __init__(self, signer: LocalSigner, allowed_uids: Collection[int]) -> None:
        self._signer = signer
        self._allowed = frozenset(allowed_uids)
        self._daemon: object | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, listener: socket.socket) -> asyncio.Server:
        """Serve every connection that comes to a listening Unix socket."""
        return await asyncio.start_unix_server(self._accepted, sock=listener)

    async def serve(self, connection: socket.socket) -> None:
        """Serve one connected socket until its other end is closed."""
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        await self._serve(reader, writer)

    async def aclose(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # --- one connection

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid not in self._allowed:
            _log.warning("signer_peer_refused", uid=uid)
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = object()
        role: str | None = None
        under_way: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(MAX_AT_ONCE)
        try:
            while (body := await wire.read_frame(reader)) is not None:
                ask = wire.decode_ask(body)
                if isinstance(ask.call, wire.Hello):
                    role, answer = self._greet(ask.id, ask.call, me)
                    await _send(writer, answer)
                    continue
                if role is None or (role != wire.DAEMON and isinstance(ask.call, wire.FOR_DAEMON)):
                    refusal = SigningRefused(f"{type(ask.call).__name__} is for the daemon only")
                    await _send(writer, wire.Answer(ask.id, wire.failure_of(refusal)))
                    continue
                await slots.acquire()
                task = asyncio.create_task(self._answer(ask, writer))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: slots.release())
        except wire.Damaged as problem:
            _log.warning("signer_frame_refused", why=str(problem)[:200])
        except ConnectionError:
            pass
        finally:
            if self._daemon is me:
                self._daemon = None
            # what was begun is finished: its effect is in the journal, only the answer is lost
            await asyncio.gather(*under_way, return_exceptions=True)
            writer.close()

    def _greet(self, id_: int, hello: wire.Hello, me: object) -> tuple[str | None, wire.Answer]:
        if hello.version != wire.VERSION or hello.role not in (wire.DAEMON, wire.OPERATOR):
            refusal = SigningRefused(
                f"this signer speaks version {wire.VERSION}; upgrade daemon and signer together"
            )
            return None, wire.Answer(id_, wire.failure_of(refusal))
        if hello.role == wire.DAEMON:
            if self._daemon not in (None, me):
                busy = AlreadyRunning("another daemon is connected to this signer: only one may be")
                return None, wire.Answer(id_, wire.failure_of(busy))
            self._daemon = me
        return hello.role, wire.Answer(id_, None, msgspec.Raw(b"true"))

    async def _answer(self, ask: wire.Ask, writer: asyncio.StreamWriter) -> None:
        try:
            await _send(writer, await self._result(ask))
        except ConnectionError:
            pass
        except wire.Damaged as problem:
            await _send(writer, wire.Answer(ask.id, wire.failure_of(problem)))

    async def _result(self, ask: wire.Ask) -> wire.Answer:
        try:
            found = await self._do(ask.call)
            return wire.Answer(ask.id, None, msgspec.Raw(msgspec.json.encode(found)))
        except asyncio.CancelledError:
            raise
        except BaseException as problem:  # goes to whoever asked, as a failure
            return wire.Answer(ask.id, wire.failure_of(problem))

    async def _do(self, call: wire.AnyCall) -> Any:
        signer, controls = self._signer, self._signer.controls
        match call:
            case wire.Sign():
                return await signer.sign(call.request)
            case wire.Judge():
                verdicts = await signer.judge(call.requests)
                return [None if one is None else wire.failure_of(one) for one in verdicts]
            case wire.ReadJournal():
                return _page(await signer.journal(call.chain, call.after, _PAGE))
            case wire.ReadSettled():
                return await signer.settled()
            case wire.Pin():
                return await signer.pin(call.chain, call.identity)
            case wire.Close():
                return await signer.close(call.chain, call.txid, call.death)
            case wire.Settle():
                return await signer.settle(call.payout, call.evidence, call.by_whom)
            case wire.Prove():
                return await signer.prove(call.chain, call.account, call.index, call.challenge)
            case wire.Status():
                return await controls.status()
            case wire.Approve():
                return await controls.approve(call.document)
            case wire.Kill():
                return await controls.kill(call.reason)
            case wire.Resume():
                return await controls.resume(call.by_whom)
            case wire.ProposePolicy():
                return await controls.propose_policy(call.text)
            case wire.CheckCredit():
                return await controls.check_credit(call.credit)
            case wire.ReadEvents():
                return await controls.events(call.after, max(0, call.limit))
            case wire.Seal():
                return await controls.seal(call.plaintext)
            case wire.Open():
                return await controls.open(call.data, call.sign)
            case _:
                raise SigningRefused(f"{type(call).__name__} is no call")


def _page(entries: list[JournalEntry]) -> list[JournalEntry]:
    """As many as fit into a frame, one at least; the client asks on behind the last."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.raw) + len(entry.payload) + len(entry.payments) + 512
        if size > _PAGE_BYTES and count:
            return entries[:count]
    return entries


async def _send(writer: asyncio.StreamWriter, answer: wire.Answer) -> None:
    writer.write(wire.frame(answer))
    await writer.drain()
