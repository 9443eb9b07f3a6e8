"""The signer as a process of its own: started by `chain-adapter signer`, or by `run` as its child.

harden (no core dumps, no tracing) -> open keystore and journal -> serve the daemon's connection
and, at a socket beside the keystore, operators -> end on SIGTERM or when the daemon is gone
A child gets one end of a socket pair; when its parent dies, by SIGKILL too, that end closes and
the kernel sends it SIGKILL besides. SIGUSR1 is the kill switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from chain_adapter.errors import AdapterError, SigningRefused, Unreachable
from chain_adapter.keys import wire
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.keys.server import SignerServer
from chain_adapter.keys.signer import LocalSigner
from chain_adapter.keys.unix_socket import listen_at

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
KILL_POLL_S: Final = 0.25
END_TIMEOUT_S: Final = 10.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignerOptions:
    """How the process serves. `fd`: the inherited end of the daemon's socket pair.

    `socket_path`: where it listens; `socket_mode` 0660 lets a daemon of another user in, whose id
    must stand in `allowed_uids` (the own one always does).
    """

    socket_path: Path | None = None
    fd: int | None = None
    allowed_uids: Collection[int] = ()
    socket_mode: int = 0o600
    kill_file: Path | None = None


def socket_beside(keystore: Path) -> Path:
    """`keystore.json` -> `keystore.signer.sock`: where a child listens for operators."""
    return keystore.with_name(f"{keystore.stem}.signer.sock")


def run_signer(open_signer: Callable[[], LocalSigner], options: SignerOptions) -> int:
    """Serve until the end; returns the exit status. Errors go to the daemon, or are raised."""
    harden(child=options.fd is not None)
    return asyncio.run(_run(open_signer, options))


def harden(*, child: bool) -> None:
    """No core dump, no debugger of the same user; a child dies with its parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if child:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Child:
    """The child process behind a `RemoteSigner`; one that has ended is started anew when asked.

    Guarantees: at most one child at a time. What was under way when it ended is `Unreachable` to
    the caller, and the same request then gives the same bytes.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._process: asyncio.subprocess.Process | None = None
        self._ended = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.returncode

    async def connect(self) -> socket.socket:
        """Our end of a socket pair to a new child. Call from the main thread's loop: the kernel
        ends the child with the very thread that started it.
        """
        if self._ended:
            raise Unreachable("the signer of this process was ended")
        if self._process is not None:
            _log.warning("signer_child_gone", pid=self._process.pid)
            await self._finish()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                "--fd",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
            )
        return ours

    async def end(self) -> None:
        """Wait for the child, whose connection is closed, and start no other."""
        self._ended = True
        await self._finish()

    async def _finish(self) -> None:
        if self._process is None:
            return
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self._process.wait()  # it ends by itself once its connection is closed
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


async def start_child(argv: Sequence[str]) -> tuple[RemoteSigner, Child]:
    """Start `argv --fd N` as a child and connect to it.

    Raises what kept it from starting (`KeyFileError`, `ConfigError`, `AlreadyRunning`) or
    `Unreachable`.
    """
    child = Child(argv)
    remote = RemoteSigner(child.connect)
    try:
        await remote.ready()
    except BaseException:
        await end_child(remote, child)
        raise
    return remote, child


async def end_child(remote: RemoteSigner, child: Child) -> None:
    """Close the connection, upon which the child ends by itself, and wait for it."""
    await remote.aclose()
    await child.end()


# --- inside -------------------------------------------------------------------------------------


async def _run(open_signer: Callable[[], LocalSigner], options: SignerOptions) -> int:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    if options.fd is None:
        loop.add_signal_handler(signal.SIGINT, over.set)
    else:
        # Ctrl-C reaches the whole group; the daemon drains first and then lets go of us
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    daemon = None if options.fd is None else socket.socket(fileno=options.fd)
    try:
        signer = await asyncio.to_thread(open_signer)
    except AdapterError as problem:
        if daemon is None:
            raise
        await _tell(daemon, problem)
        return problem.exit_status
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(signer.aclose)
        server = SignerServer(signer, {os.geteuid(), *options.allowed_uids})
        stack.push_async_callback(server.aclose)
        if options.socket_path is not None:
            path = options.socket_path
            listening = await server.listen(listen_at(path, options.socket_mode))
            stack.callback(lambda: path.unlink(missing_ok=True))
            stack.callback(listening.close)
        switch = asyncio.create_task(_watch_switch(signer, options.kill_file, loop))
        stack.callback(switch.cancel)
        waits: set[asyncio.Task[object]] = {asyncio.create_task(_until(over))}
        if daemon is not None:
            daemon.setblocking(False)
            waits.add(asyncio.create_task(_serve(server, daemon)))
        _log.info("signer_ready", socket=str(options.socket_path), child=daemon is not None)
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return 0


async def _until(over: asyncio.Event) -> object:
    return await over.wait()


async def _serve(server: SignerServer, daemon: socket.socket) -> object:
    await server.serve(daemon)
    return None


async def _watch_switch(
    signer: LocalSigner, kill_file: Path | None, loop: asyncio.AbstractEventLoop
) -> None:
    """Latch the kill switch when the signal comes or the file appears."""
    flipped = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, flipped.set)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_POLL_S):
                await flipped.wait()
        try:
            if flipped.is_set():
                flipped.clear()
                await signer.controls.kill("signal SIGUSR1")
            elif _is_there(kill_file):
                await signer.controls.kill("the kill file appeared")
        except (SigningRefused, Unreachable) as problem:
            _log.error("kill_switch_not_written", why=str(problem))


def _is_there(path: Path | None) -> bool:
    return path is not None and path.exists()


async def _tell(daemon: socket.socket, problem: AdapterError) -> None:
    """Answer the daemon's greeting with what kept the signer from starting."""
    daemon.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=daemon)
    with contextlib.suppress(wire.Damaged, TimeoutError, ConnectionError):
        async with asyncio.timeout(10):
            body = await wire.read_frame(reader)
            if body is not None:
                answer = wire.Answer(wire.decode_ask(body).id, wire.failure_of(problem))
                writer.write(wire.frame(answer))
                await writer.drain()
    writer.close()


def child_argv(config_file: Path) -> list[str]:
    """The command line of a child signer: the same interpreter, the same program."""
    return [sys.executable, "-m", "chain_adapter.cli", "signer", "--config", str(config_file)]
