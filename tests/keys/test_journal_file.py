"""The journal on disk: one signer, one commit before the bytes leave, and no way around it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chain_adapter.errors import AlreadyRunning, KeyFileError, Unreachable
from chain_adapter.keys.journal import JournalTx
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import journal_path
from chain_adapter.keys.signer import SignRequest
from tests.keys.world import CHAIN, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- the file -----------------------------------------------------------------------------------


async def test_one_signer_at_a_time(world: World) -> None:
    async with world.signer():
        with pytest.raises(AlreadyRunning, match="another signer"):
            world.open_unpinned()
    async with world.signer():
        pass


async def test_journal_of_another_keystore(world: World, tmp_path: Path) -> None:
    path = journal_path(world.path)
    with pytest.raises(KeyFileError, match="another keystore"):
        Journal.open(path, journal_id="x", seed_id="y", wait_s=0)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '9' WHERE key = 'version'")
    with pytest.raises(KeyFileError, match="version 9"):
        world.open_unpinned()


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_lost_or_damaged_journal(world: World, content: bytes | None) -> None:
    path = journal_path(world.path)
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(KeyFileError, match=r"missing|damaged") as caught:
        world.open_unpinned()
    assert "two people" in str(caught.value)


async def test_full_disk_signs_nothing(world: World) -> None:
    """The journal cannot grow: the request fails, and nothing left the signer."""
    async with world.signer() as signer:

        def limit(tx: JournalTx, pages: int) -> None:
            tx.connection.execute(f"PRAGMA max_page_count = {pages}")

        await signer._journal.run(lambda tx: limit(tx, 1))
        big = [world.request(sequence=n) for n in range(200)]
        with pytest.raises(Unreachable, match="cannot be written"):
            for one in big:
                await signer.sign(one)
        known = {e.payout for e in await signer.journal(CHAIN)}
        await signer._journal.run(lambda tx: limit(tx, 1 << 20))
        failed = next(r for r in big if r.payout not in known)
        await signer.sign(failed)


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from chain_adapter.keys.journal_file import Journal
from tests.keys.world import World
from tests.keys.test_journal_file import fixed_request

point = {point!r}
commit = Journal._commit
def dying(self, connection, group):
    def die(_result=None):
        os.kill(os.getpid(), signal.SIGKILL)
    if point == "before":
        die()
    for job in group:
        job.future.set_result = die
    commit(self, connection, group)

async def main():
    world = World(Path({folder!r}))
    async with world.signer() as signer:
        Journal._commit = dying
        await signer.sign(fixed_request(world))

asyncio.run(main())
"""


def fixed_request(world: World) -> SignRequest:
    return world.request(order=world.order(trans_id="4711"))


@pytest.mark.parametrize("point", ["before", "after"])
async def test_crash_around_the_commit(world: World, tmp_path: Path, point: str) -> None:
    root = str(Path(__file__).parents[2])
    script = CRASH.format(root=root, folder=str(tmp_path), point=point)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    request = fixed_request(world)
    async with world.signer() as signer:
        journaled = await signer.journal(CHAIN)
        assert len(journaled) == (1 if point == "after" else 0)
        signed = await signer.sign(request)
        if journaled:  # the answer that was lost is given again, byte for byte
            assert (signed.txid, signed.raw) == (journaled[0].txid, journaled[0].raw)
        assert len(await signer.journal(CHAIN)) == 1


async def test_journal_lists_what_a_database_lacks(world: World) -> None:
    async with world.signer() as signer:
        signed = [await signer.sign(world.request(sequence=n)) for n in range(5)]
        entries = await signer.journal(CHAIN)
        assert [e.txid for e in entries] == [s.txid for s in signed]
        assert [e.raw for e in entries] == [s.raw for s in signed]
        assert await signer.journal(CHAIN, after=entries[2].seq) == entries[3:]


def test_the_lock_dies_with_its_process(world: World) -> None:
    """A killed signer keeps nobody out."""
    root = str(Path(__file__).parents[2])
    script = (
        f"import sys; sys.path.insert(0, {root!r})\n"
        "from pathlib import Path\nfrom tests.keys.world import World\n"
        f"World(Path({str(world.folder)!r})).open_unpinned()\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning):
            world.open_unpinned()
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
    world.open_unpinned()._journal.close()
