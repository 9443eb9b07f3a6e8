"""The daemon's side of the socket: a `Signer`, its `Controls` and the platform's `Sealer` in one.

call -> frame -> answer by its id; many under way at once
A connection that breaks fails what was under way as `Unreachable`: the outcome is unknown, and the
same request gives the same bytes when asked again. The next call connects anew.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from chain_adapter.chain import SignedTx
from chain_adapter.errors import SigningRefused, Unreachable
from chain_adapter.keys import wire
from chain_adapter.keys.audit import AuditEvent
from chain_adapter.keys.controls import SignerStatus
from chain_adapter.keys.gate import Credit
from chain_adapter.keys.journal import Death, JournalEntry, PayoutKey, SettledMark
from chain_adapter.keys.request import SignRequest
from chain_adapter.keys.unix_socket import connect_to
from chain_adapter.platform_api.envelope import Sealed

T = TypeVar("T")
CALL_TIMEOUT_S: Final = 60.0
HELLO_TIMEOUT_S: Final = 60.0  # a signer that has just been started stretches its passphrase


class RemoteSigner:
    """A signer in another process."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[socket.socket]],
        *,
        role: str = wire.DAEMON,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._connect = connect
        self._role = role
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[wire.Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._greeting = asyncio.Lock()
        self._closed = False

    @classmethod
    def at(cls, path: Path, *, role: str = wire.DAEMON) -> RemoteSigner:
        """A signer that listens at a Unix socket."""

        async def connect() -> socket.socket:
            return connect_to(path)

        return cls(connect, role=role)

    @property
    def controls(self) -> RemoteSigner:
        """Itself: the calls of `Controls` and `Sealer` stand beside those of `Signer`."""
        return self

    async def ready(self) -> None:
        """Connect and be greeted. Raises `Unreachable`, or what kept the signer from starting."""
        await self._connected()

    # --- Signer

    async def sign(self, request: SignRequest) -> SignedTx:
        return await self._call(wire.Sign(request), SignedTx)

    async def judge(self, requests: Sequence[SignRequest]) -> list[SigningRefused | None]:
        kind = list[wire.Failure | None]
        verdicts: list[SigningRefused | None] = []
        for page in _pages(requests):
            answers = await self._call(wire.Judge(page), kind)
            verdicts += [None if one is None else wire.refusal_of(one) for one in answers]
        return verdicts

    async def journal(self, chain: str, after: int = 0) -> list[JournalEntry]:
        found: list[JournalEntry] = []
        while page := await self._call(wire.ReadJournal(chain, after), list[JournalEntry]):
            found += page
            after = page[-1].seq
        return found

    async def settled(self) -> list[SettledMark]:
        return await self._call(wire.ReadSettled(), list[SettledMark])

    async def pin(self, chain: str, identity: str) -> None:
        await self._call(wire.Pin(chain, identity), type(None))

    async def close(self, chain: str, txid: str, death: Death) -> None:
        await self._call(wire.Close(chain, txid, death), type(None))

    async def settle(self, payout: PayoutKey, evidence: str, by_whom: str) -> None:
        await self._call(wire.Settle(payout, evidence, by_whom), type(None))

    async def prove(self, chain: str, account: int, index: int, challenge: bytes) -> bytes:
        return await self._call(wire.Prove(chain, account, index, challenge), bytes)

    # --- Controls

    async def status(self) -> SignerStatus:
        return await self._call(wire.Status(), SignerStatus)

    async def approve(self, document: str) -> str:
        return await self._call(wire.Approve(document), str)

    async def kill(self, reason: str) -> None:
        await self._call(wire.Kill(reason), type(None))

    async def resume(self, by_whom: str) -> None:
        await self._call(wire.Resume(by_whom), type(None))

    async def propose_policy(self, text: str) -> tuple[str, str, str] | None:
        kind: Any = tuple[str, str, str] | None
        found: tuple[str, str, str] | None = await self._call(wire.ProposePolicy(text), kind)
        return found

    async def check_credit(self, credit: Credit) -> None:
        await self._call(wire.CheckCredit(credit), type(None))

    async def events(self, after: int = 0, limit: int = 1000) -> list[AuditEvent]:
        return await self._call(wire.ReadEvents(after, limit), list[AuditEvent])

    # --- Sealer

    async def seal(self, plaintext: bytes) -> Sealed:
        return await self._call(wire.Seal(plaintext), Sealed)

    async def open(self, data: str, sign: str) -> bytes:
        return await self._call(wire.Open(data, sign), bytes)

    async def aclose(self) -> None:
        self._closed = True
        self._drop("the connection to the signer was closed")

    # --- the connection

    async def _call(self, call: wire.AnyCall, kind: type[T]) -> T:
        await self._connected()
        answer = await self._ask(call, self._timeout_s)
        if answer.failure is not None:
            raise wire.error_of(answer.failure)
        try:
            return msgspec.json.decode(answer.result, type=kind)
        except msgspec.MsgspecError:
            raise Unreachable(f"signer: its answer to {type(call).__name__} is damaged") from None

    async def _connected(self) -> None:
        if self._is_connected():
            return
        async with self._greeting:
            if self._is_connected():  # by another task, meanwhile
                return
            if self._closed:
                raise Unreachable("the connection to the signer was closed")
            connection = await self._connect()
            reader, self._writer = await asyncio.open_unix_connection(sock=connection)
            self._reading = asyncio.create_task(self._read(reader))
            answer = await self._ask(wire.Hello(wire.VERSION, self._role), HELLO_TIMEOUT_S)
            if answer.failure is not None:
                self._drop("the signer refused the connection")
                raise wire.error_of(answer.failure)

    def _is_connected(self) -> bool:
        return self._writer is not None

    async def _ask(self, call: wire.AnyCall, timeout_s: float) -> wire.Answer:
        writer = self._writer
        if writer is None:
            raise Unreachable("signer: not connected")
        id_ = next(self._ids)
        future: asyncio.Future[wire.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        try:
            writer.write(wire.frame(wire.Ask(id_, call)))
            async with asyncio.timeout(timeout_s):
                await writer.drain()
                return await future
        except TimeoutError:
            raise Unreachable(
                f"signer: no answer to {type(call).__name__} within {timeout_s:g} s"
            ) from None
        except ConnectionError as problem:
            self._drop(f"signer: {problem}")
            raise Unreachable(f"signer: the connection broke ({problem})") from None
        finally:
            self._waiting.pop(id_, None)
            if future.done() and not future.cancelled():
                future.exception()  # seen: what the caller gets is raised above

    async def _read(self, reader: asyncio.StreamReader) -> None:
        why = "the signer is gone"
        try:
            while (body := await wire.read_frame(reader)) is not None:
                answer = msgspec.json.decode(body, type=wire.Answer)
                future = self._waiting.get(answer.id)
                if future is not None and not future.done():
                    future.set_result(answer)
        except (wire.Damaged, msgspec.MsgspecError) as problem:
            why = f"the signer's answer is damaged: {problem}"
        self._drop(why)

    def _drop(self, why: str) -> None:
        """Fail what is under way and forget the connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        self._reading = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unreachable(f"signer: {why}"))


def _pages(requests: Sequence[SignRequest]) -> list[tuple[SignRequest, ...]]:
    """As many as fit into a frame; what is judged on another page is not counted together."""
    pages: list[list[SignRequest]] = []
    size = 0
    for request in requests:
        warrant = 0 if request.warrant is None else len(request.warrant.plaintext)
        more = 2 * (len(request.payload) + warrant) + 4096
        if not pages or size + more > wire.MAX_FRAME // 2:
            pages.append([])
            size = 0
        pages[-1].append(request)
        size += more
    return [tuple(page) for page in pages]
