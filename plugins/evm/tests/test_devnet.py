"""The local chain: where its binary is found, what it deploys, how it is told to move."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chain_adapter.chain import Devnet, DevnetPlugin, Rejected, Unavailable
from chain_adapter_evm.artifacts import BYTECODE
from chain_adapter_evm.chain import plugin
from chain_adapter_evm.codec import address_of, spell
from chain_adapter_evm.devnet import AnvilDevnet, find_anvil
from plugins.evm.tests.parts import stranger, wallet_of

PLUGIN = Path(__file__).resolve().parent.parent
US = stranger(1)


def solc_folder() -> Path | None:
    for folder in PLUGIN.parents:
        if (folder / "node_modules" / "solc").is_dir() and shutil.which("node"):
            return folder
    return None


@pytest.mark.skipif(solc_folder() is None, reason="the npm package solc is not installed")
def test_bytecode_is_that_of_the_source() -> None:
    spec = importlib.util.spec_from_file_location(
        "write_artifacts", PLUGIN / "scripts" / "write_artifacts.py"
    )
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.compiled(str(solc_folder())) == BYTECODE


async def test_it_is_a_devnet(devnet: AnvilDevnet) -> None:
    assert isinstance(plugin, DevnetPlugin)
    made: Devnet = devnet
    assert next(iter(made.assets)) == "ETH"
    wallet = wallet_of(bytes.fromhex(made.private_key))
    assert wallet.address == made.address == spell(address_of(wallet.public_key))
    for asset in made.assets.values():
        if asset.contract is not None:
            assert await devnet.rpc("eth_getCode", asset.contract, "latest") != "0x"
    assert set(devnet.contracts) == set(BYTECODE) - {"Bomb"}


async def test_it_is_ready_at_once() -> None:
    started = time.monotonic()
    chain = await plugin.devnet("127.0.0.1:0")
    took_s = time.monotonic() - started
    await chain.close()
    assert took_s < 5  # 0.1 s on an idle machine


async def test_it_listens_where_it_is_told() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chain = await plugin.devnet(f"127.0.0.1:{port}")
    assert chain.url == f"http://127.0.0.1:{port}"
    with pytest.raises(Unavailable):
        await plugin.devnet(f"127.0.0.1:{port}")
    assert int(await chain.rpc("eth_chainId"), 16) == 31337
    await chain.close()
    again = await plugin.devnet(f"127.0.0.1:{port}")
    await again.close()
    for listen in ("127.0.0.1", "8545", "127.0.0.1:http"):
        with pytest.raises(Unavailable, match="host:port"):
            await plugin.devnet(listen)


async def test_another_chain_id() -> None:
    chain = await AnvilDevnet.start("127.0.0.1:0", chain_id=4242)
    assert chain.node["chain_id"] == int(await chain.rpc("eth_chainId"), 16) == 4242
    await chain.close()


async def test_blocks_come_as_told(devnet: AnvilDevnet) -> None:
    async def height() -> int:
        return int(await devnet.rpc("eth_blockNumber"), 16)

    async def count(txid: str) -> bool:
        return await devnet.rpc("eth_getTransactionReceipt", txid) is not None

    before = await height()
    txid = await devnet.pay("ETH", US, 5)
    assert not await count(txid)
    await devnet.mine(3)
    assert await height() == before + 3
    assert await count(txid)
    await devnet.reorg(3)
    assert await height() == before + 3
    assert not await count(txid)
    await devnet.automine(0.02)
    async with asyncio.timeout(10):
        while await height() < before + 6:
            await asyncio.sleep(0)
    await devnet.automine(None)
    still = await height()
    await devnet.pay("ETH", US, 5)
    assert await height() == still


async def test_payments_that_cannot_be(devnet: AnvilDevnet) -> None:
    with pytest.raises(Rejected, match="memos"):
        await devnet.pay("ETH", US, 5, memo="7")
    with pytest.raises(Rejected, match="DOGE"):
        await devnet.pay("DOGE", US, 5)


async def test_closing_ends_the_process() -> None:
    chain = await plugin.devnet("127.0.0.1:0")
    await chain.automine(0.01)
    await chain.close()
    with pytest.raises(Unavailable):
        await chain.rpc("eth_chainId")
    await chain.close()


def test_where_the_binary_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = find_anvil()
    monkeypatch.setenv("CHAIN_ADAPTER_ANVIL", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="CHAIN_ADAPTER_ANVIL"):
        find_anvil()
    monkeypatch.setenv("CHAIN_ADAPTER_ANVIL", real)
    assert find_anvil() == real
    monkeypatch.delenv("CHAIN_ADAPTER_ANVIL")
    below = tmp_path / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin"
    below.mkdir(parents=True)
    os.symlink(real, below / "anvil")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_anvil() == str(below / "anvil")


def test_without_the_binary_the_error_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own: the package elsewhere, an empty PATH."""
    script = (
        "import json, chain_adapter_evm.devnet as d\n"
        f"d.__file__ = {str(tmp_path / 'x.py')!r}\n"
        "try:\n    print(json.dumps(d.find_anvil()))\n"
        "except Exception as error:\n    print(json.dumps(str(error)))\n"
    )
    env = {**os.environ, "PATH": str(tmp_path)}
    env.pop("CHAIN_ADAPTER_ANVIL", None)
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "npm package @foundry-rs/anvil" in json.loads(done.stdout), done.stderr


def test_settings_say_what_is_wrong() -> None:
    settings = plugin.settings
    for wrong, said in [
        ({"endpoints": ("ws://x",)}, "http"),
        ({"genesis": "0x12"}, "genesis"),
        ({"native_contract": "USDT"}, "native_contract"),
        ({"traces": "maybe"}, "traces"),
        ({"batch": 0}, "batch"),
        ({"chain_id": 0}, "chain_id"),
        ({"priority_fee": -1}, "priority_fee"),
        ({"timeout_s": 0}, "timeout_s"),
    ]:
        with pytest.raises(ValueError, match=said):
            settings(**wrong)  # type: ignore[arg-type]
    for field in settings.__dataclass_fields__.values():
        assert field.metadata["doc"], field.name
