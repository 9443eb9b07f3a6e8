"""The signer behind a socket: the same answers, nothing for strangers, no life after its parent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain_adapter.errors import (
    AlreadyRunning,
    EnvelopeError,
    KeyFileError,
    SigningRefused,
    Unreachable,
)
from chain_adapter.keys import wire
from chain_adapter.keys.process import end_child, socket_beside, start_child
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.keys.server import SignerServer
from chain_adapter.keys.signer import Credit, Death, LocalSigner, State, verify_proof
from chain_adapter.keys.unix_socket import listen_at
from tests.keys.operators import notice
from tests.keys.world import CHAIN, IDENTITY, PASSPHRASE, World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextlib.asynccontextmanager
async def served(
    signer: LocalSigner, path: Path, uids: set[int] | None = None
) -> AsyncIterator[Path]:
    server = SignerServer(signer, {os.geteuid()} if uids is None else uids)
    listening = await server.listen(listen_at(path))
    try:
        yield path
    finally:
        listening.close()
        await server.aclose()


# --- the same port ------------------------------------------------------------------------------


async def test_remote_is_as_local(world: World) -> None:
    request = world.request()
    async with world.signer() as signer, served(signer, world.folder / "s.sock") as path:
        remote = RemoteSigner.at(path)
        with pytest.raises(SigningRefused, match="is pinned to") as caught:
            await remote.pin(CHAIN, "reference:other")
        assert caught.value.for_good
        await remote.pin(CHAIN, IDENTITY)
        signed = await remote.sign(request)
        assert await remote.sign(request) == signed == await signer.sign(request)
        (entry,) = await remote.journal(CHAIN)
        assert [entry] == await signer.journal(CHAIN)
        assert entry.raw == signed.raw
        await remote.close(CHAIN, signed.txid, Death(State.FAILED, 5))
        await remote.settle(request.payout, "sha256:e", "ann, bob")
        assert await remote.settled() == await signer.settled()
        proof = await remote.prove(CHAIN, 1, 3, b"c" * 32)
        assert verify_proof(
            "secp256k1", world.public_key(1, 3), CHAIN, world.address(1, 3), b"c" * 32, proof
        )
        sealed = await remote.seal(notice().to_json())
        assert world.platform.open(sealed.data, sealed.sign) == notice().to_json()
        answer = world.platform.seal(b"an answer")
        assert await remote.open(answer.data, answer.sign) == b"an answer"
        with pytest.raises(EnvelopeError):
            await remote.open(answer.data, "AAAA")
        await remote.check_credit(Credit("r9", "REF", "t", "a", 10**40))
        assert await remote.status() == await signer.controls.status()
        assert await remote.events() == await signer.controls.events()
        await remote.kill("drill")
        with pytest.raises(SigningRefused, match="kill switch"):
            await remote.sign(world.request(sequence=5))
        await remote.resume("ann")
        await remote.aclose()
        with pytest.raises(Unreachable):
            await remote.status()


async def test_many_at_once_on_one_connection(world: World) -> None:
    requests = [world.request(sequence=n) for n in range(600)]
    async with world.signer() as signer, served(signer, world.folder / "s.sock") as path:
        remote = RemoteSigner.at(path)
        signed = await asyncio.gather(*map(remote.sign, requests))
        assert len({s.txid for s in signed}) == 600
        assert [e.txid for e in await remote.journal(CHAIN)] == [
            e.txid for e in await signer.journal(CHAIN)
        ]
        await remote.aclose()


async def test_one_daemon_at_a_time(world: World) -> None:
    async with world.signer() as signer, served(signer, world.folder / "s.sock") as path:
        first, second = RemoteSigner.at(path), RemoteSigner.at(path)
        operator = RemoteSigner.at(path, role=wire.OPERATOR)
        await first.ready()
        with pytest.raises(AlreadyRunning, match="another daemon"):
            await second.ready()
        assert (await operator.status()).chains == (CHAIN,)
        with pytest.raises(SigningRefused, match="for the daemon only"):
            await operator.sign(world.request())
        await first.aclose()
        await until(second.ready)
        for one in (second, operator):
            await one.aclose()


async def until(what: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for a condition; `what` raises or returns false while it does not hold."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
                return found
            if found:
                return found
        except (AlreadyRunning, Unreachable, OSError):
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "the condition never held"
        await asyncio.sleep(0)


async def test_strangers_are_not_served(world: World) -> None:
    async with world.signer() as signer:
        path = world.folder / "s.sock"
        async with served(signer, path, uids={os.geteuid() + 1}):
            remote = RemoteSigner.at(path)
            with pytest.raises(Unreachable):
                await remote.ready()
            await remote.aclose()
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_signer_that_is_gone(world: World) -> None:
    with pytest.raises(Unreachable, match="no signer answers"):
        await RemoteSigner.at(world.folder / "none.sock").ready()
    request = world.request()
    path = world.folder / "s.sock"
    async with world.signer() as signer:
        async with served(signer, path):
            remote = RemoteSigner.at(path)
            signed = await remote.sign(request)
        with pytest.raises(Unreachable):
            await remote.sign(request)
    async with world.signer() as signer, served(signer, path):  # it is back: so are we
        assert await until(lambda: remote.sign(request)) == signed
        await remote.aclose()


async def test_paths_longer_than_a_socket_address(world: World) -> None:
    folder = world.folder / ("d" * 120)
    async with world.signer() as signer, served(signer, folder / "s.sock") as path:
        remote = RemoteSigner.at(path)
        await remote.ready()
        await remote.aclose()


# --- frames -------------------------------------------------------------------------------------


def frame_of(body: bytes) -> bytes:
    return len(body).to_bytes(4) + body


def ask(id_: int, call: dict[str, Any]) -> bytes:
    return frame_of(json.dumps({"id": id_, "call": call}).encode())


HELLO = ask(1, {"call": "Hello", "version": 1, "role": "daemon"})


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        (wire.MAX_FRAME + 1).to_bytes(4),
        b"\x00\x00",
        struct.pack(">I", 50) + b"short",
        frame_of(b"not json"),
        frame_of(b"[" * 200_000),
        frame_of(b'{"id": 1}'),
        ask(2, {"call": "Exec", "text": "x"}),
        ask(2, {"call": "Status", "more": 1}),
        ask(2, {"call": "Sign", "request": {}}),
        frame_of(b'{"id": 2, "call": {"call": "Kill", "reason": 5}}'),
        frame_of(b"\xff\xfe"),
    ],
)
async def test_damaged_frames_end_their_connection_only(world: World, data: bytes) -> None:
    async with world.signer() as signer, served(signer, world.folder / "s.sock") as path:
        for start in (b"", HELLO):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(path))
                raw.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(raw, start + data)
                raw.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(raw, 65536):
                    pass  # until the server closes
        remote = RemoteSigner.at(path)
        assert (await remote.status()).killed is None
        assert await remote.journal(CHAIN) == []
        await remote.aclose()


async def test_nothing_before_the_greeting(world: World) -> None:
    async with world.signer() as signer, served(signer, world.folder / "s.sock") as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(ask(7, {"call": "Status"}) + ask(8, {"call": "Kill", "reason": "x"}))
        writer.write(ask(9, {"call": "Hello", "version": 99, "role": "daemon"}))
        writer.write(ask(10, {"call": "Hello", "version": 1, "role": "root"}))
        for id_ in (7, 8, 9, 10):
            body = await wire.read_frame(reader)
            answer = msgspec.json.decode(body or b"", type=wire.Answer)
            assert answer.id == id_
            assert answer.failure is not None
        writer.close()
        assert (await signer.controls.status()).killed is None


async def test_inner_errors_carry_no_data(world: World) -> None:
    secret = ValueError("the seed is 123")
    assert "123" not in wire.failure_of(secret).text
    assert isinstance(wire.error_of(wire.failure_of(secret)), Unreachable)
    assert isinstance(wire.error_of(wire.Failure("NoSuchKind", "x")), Unreachable)
    refusal = wire.error_of(wire.failure_of(SigningRefused("no", for_good=True)))
    assert isinstance(refusal, SigningRefused)
    assert refusal.for_good


# --- a process of its own -----------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from chain_adapter.keys.process import SignerOptions, run_signer, socket_beside
from chain_adapter.keys.signer import LocalSigner
from tests.keys.world import CHAIN, World

folder = Path({folder!r})
world = World(folder)

def open_signer():
    return LocalSigner.open(
        world.path, {passphrase!r}, {{CHAIN: world.signer_chain()}}, lambda plain, sign: True,
        kill_file=folder / "kill", wait_s={wait_s},
    )

fd = int(sys.argv[sys.argv.index("--fd") + 1]) if "--fd" in sys.argv else None
options = SignerOptions(socket_beside(world.path), fd, kill_file=folder / "kill")
sys.exit(run_signer(open_signer, options))
"""


def child_command(world: World, passphrase: str = PASSPHRASE, wait_s: float = 10.0) -> list[str]:
    script = CHILD.format(
        root=str(ROOT), folder=str(world.folder), passphrase=passphrase, wait_s=wait_s
    )
    return [sys.executable, "-c", script]


async def test_child_signs_and_ends_with_us(world: World) -> None:
    remote, process = await start_child(child_command(world))
    await remote.pin(CHAIN, IDENTITY)
    signed = await remote.sign(world.request())
    operator = RemoteSigner.at(socket_beside(world.path), role=wire.OPERATOR)
    assert [e.txid for e in await operator.journal(CHAIN)] == [signed.txid]
    await operator.aclose()
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if "core file" in line)
    assert core.split()[4:6] == ["0", "0"]
    await end_child(remote, process)
    assert process.returncode == 0
    with pytest.raises(Unreachable):
        await remote.status()


async def test_what_keeps_the_child_from_starting_is_told(world: World) -> None:
    with pytest.raises(KeyFileError, match="does not fit"):
        await start_child(child_command(world, passphrase="wrong"))
    async with world.signer():
        with pytest.raises(AlreadyRunning, match="another signer"):
            await start_child(child_command(world, wait_s=0))
    with pytest.raises(Unreachable):
        await start_child([sys.executable, "-c", "raise SystemExit(3)"])


async def test_kill_switch_by_signal_and_file(world: World) -> None:
    remote, process = await start_child(child_command(world))
    try:
        await remote.pin(CHAIN, IDENTITY)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGUSR1)
        status = await until_status(remote, lambda s: s.killed is not None)
        assert "SIGUSR1" in status.killed
        with pytest.raises(SigningRefused, match="kill switch"):
            await remote.sign(world.request())
        await remote.resume("ann")
        await remote.sign(world.request())
        (world.folder / "kill").touch()
        started = time.monotonic()
        await until_status(remote, lambda s: s.resume is not None)  # latched, not only seen
        assert time.monotonic() - started < 1
        (world.folder / "kill").unlink()
        with pytest.raises(SigningRefused, match="kill switch"):
            await remote.sign(world.request(sequence=1))
    finally:
        await end_child(remote, process)


async def until_status(remote: RemoteSigner, holds: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + 20
    while not holds(found := await remote.status()):
        assert time.monotonic() < end
    return found


async def test_a_child_that_was_killed_comes_back(world: World) -> None:
    request = world.request()
    remote, child = await start_child(child_command(world))
    try:
        await remote.pin(CHAIN, IDENTITY)
        signed = await remote.sign(request)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: not is_alive(first))
        assert await until(lambda: remote.sign(request)) == signed
        assert child.pid != first
        assert len(await remote.journal(CHAIN)) == 1
    finally:
        await end_child(remote, child)
    with pytest.raises(Unreachable):
        await remote.status()


PARENT = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from chain_adapter.keys.process import start_child

async def main():
    remote, process = await start_child({argv!r})
    print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_child_dies_with_a_killed_parent(world: World) -> None:
    script = PARENT.format(root=str(ROOT), argv=child_command(world))
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not is_alive(pid))
    async with world.signer():  # its lock is free
        pass


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_standalone_signer_ends_on_sigterm(world: World) -> None:
    process = await asyncio.create_subprocess_exec(*child_command(world))
    path = socket_beside(world.path)

    async def greeted() -> RemoteSigner:
        made = RemoteSigner.at(path)
        await made.ready()
        return made

    remote = await until(greeted)
    assert (await remote.status()).killed is None
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    await remote.aclose()
    assert not path.exists()
