"""What the signer seals to the platform: no cancel of what is paid, no foreign deposit address."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from chain_adapter.errors import SigningRefused
from chain_adapter.keys.keystore import journal_path
from chain_adapter.keys.mnemonics import seed_of
from chain_adapter.keys.own_addresses import GAP
from chain_adapter.keys.process import end_child, start_child
from chain_adapter.keys.schemes import SCHEMES
from chain_adapter.keys.signer import Death, State
from chain_adapter.platform_api.messages import Cancel, Register, TransId
from tests.keys.test_process import child_command
from tests.keys.world import CHAIN, IDENTITY, PASSPHRASE, WORDS, World, refused


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def cancel(trans_id: str, symbol: str = "REF") -> bytes:
    return Cancel(symbol, TransId(trans_id, True), "bad address").to_json()


async def test_what_may_land_is_never_given_back(world: World) -> None:
    request = world.request(sequence=0)
    trans_id = request.payout.trans_id
    async with world.signer() as signer:
        signed = await signer.sign(request)
        with pytest.raises(SigningRefused, match="give back what is paid"):
            await signer.controls.seal(cancel(trans_id))
        await signer.controls.seal(cancel(trans_id, symbol="USDX"))  # another withdrawal
        void = await signer.sign(world.void(request, sequence=0))
        await signer.close(CHAIN, signed.txid, Death(State.USED, 9, by_txid=void.txid))
        await signer.controls.seal(cancel(trans_id))
        await signer.close(CHAIN, signed.txid, Death(State.OPEN, 9))
        await signer.close(CHAIN, signed.txid, Death(State.FINAL, 9))
        with pytest.raises(SigningRefused, match="is final"):
            await signer.controls.seal(cancel(trans_id))


async def test_what_was_given_back_is_never_paid(world: World) -> None:
    request = world.request(sequence=0)
    async with world.signer() as signer:
        await signer.controls.seal(cancel(request.payout.trans_id))
        await signer.controls.seal(cancel(request.payout.trans_id))
    async with world.signer() as signer:
        await refused(signer, request, "given back to its user")
        await signer.sign(world.void(request, sequence=0))


async def test_only_our_deposit_addresses_are_registered(world: World) -> None:
    def register(*addresses: str, symbol: str = "REF") -> bytes:
        return Register(symbol, addresses, False).to_json()

    ours = [world.address(1, n) for n in (0, 7, 1234)]
    async with world.signer() as signer:
        seal = signer.controls.seal
        await seal(register(*ours))
        await seal(register(world.address(0)))
        for wrong in (
            register(world.stranger()),
            register(*ours, world.stranger(3)),
            register(world.address(2)),
            register(ours[0], symbol="XYZ"),
            register(ours[0].upper()),
        ):
            with pytest.raises(SigningRefused, match="no deposit address of ours"):
                await seal(wrong)
        # far beyond what was ever asked for is not searched for
        with pytest.raises(SigningRefused, match="no deposit address"):
            await seal(register(world.address(1, 1234 + 2 * GAP)))


async def test_no_secret_in_files_and_output(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    """Canaries: whatever a whole life of a signer leaves behind is searched for its secrets."""
    seed = seed_of(WORDS)
    keys = [SCHEMES["secp256k1"].private_keys(seed, 1, a)(0) for a in range(3)]
    remote, process = await start_child(child_command(world))
    try:
        await remote.pin(CHAIN, IDENTITY)
        await remote.sign(world.request())
        for _ in range(2):
            with pytest.raises(SigningRefused):
                await remote.sign(world.request())  # its lock is taken: refused and logged
        status = repr(await remote.status())
        environment = Path(f"/proc/{process.pid}/environ")
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        left = environment.read_bytes() if environment.exists() else b""
    finally:
        await end_child(remote, process)
    captured = capfd.readouterr()
    files = [p for p in world.folder.iterdir() if p.is_file()]
    seen = b"".join(p.read_bytes() for p in files) + left + status.encode()
    seen += captured.out.encode() + captured.err.encode()
    for secret in (seed, *keys):
        assert secret not in seen
        assert secret.hex().encode() not in seen
        assert not re.search(re.escape(secret.hex()), arguments.decode("latin-1"))
    assert PASSPHRASE.encode() not in seen
    for word in (WORDS.encode(), b"test test test"):
        assert word not in seen
    assert len(files) >= 3
    with sqlite3.connect(journal_path(world.path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    assert count >= 2
