"""What `plugins new` writes: a distribution of the shape that every plugin has.

It installs and is found at once; every method says what it must do and raises until it does, and
the conformance suite tells what is left.
"""

from __future__ import annotations

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "chain-adapter-{name}"
version = "0.1.0"
description = "{title} for chain-adapter"
requires-python = ">=3.11"
dependencies = ["chain-adapter"]

[project.entry-points."chain_adapter.chains"]
{name} = "chain_adapter_{name}.chain:plugin"

[tool.hatch.build.targets.wheel]
packages = ["chain_adapter_{name}"]
"""

_README = """\
# chain-adapter-{name}

A chain plugin: it translates blocks into transfers, intents into payloads, payloads into effects.
`chain_adapter/chain.py` is the one file to read. Start with `codec.py` (pure), then `node.py`,
then `chain.py`; `pytest` runs the conformance suite, `chain-adapter plugins check {name}` runs it
without pytest, with `--config FILE` against a live node (only what reads).
"""

_INIT = '''\
"""{title} for chain-adapter."""
'''

_CODEC = '''\
"""Spellings, keys and bytes of {title}: pure functions, no input or output."""

from __future__ import annotations

from chain_adapter.chain import InvalidAddress


def parse_address(text: str) -> str:
    """The one canonical spelling. Raises `InvalidAddress`."""
    raise InvalidAddress(f"{{text[:60]!r}} is no {name} address")
'''

_NODE = '''\
"""The node of {title}: one endpoint, typed answers, every request through the gate.

Whatever the node lacks or garbles becomes `Unavailable`; nothing else leaves this page.
"""

from __future__ import annotations

from chain_adapter.chain import Gate, Unavailable


class Node:
    """One endpoint. `call` is where all requests pass."""

    def __init__(self, endpoint: str | None, gate: Gate) -> None:
        self._endpoint = endpoint
        self._gate = gate

    async def call(self, method: str) -> object:
        """One request. Raises `Unavailable`."""
        async with self._gate(method):
            raise Unavailable(f"{{method}}: not written yet")

    async def close(self) -> None:
        """Give back connections."""
'''

_CHAIN = '''\
"""{title}: the plugin (what the entry point names) and its chain through one endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from chain_adapter.chain import (
    API,
    Asset,
    Balance,
    Block,
    BlockRef,
    Chain,
    ChainInfo,
    Effect,
    Family,
    Gate,
    Head,
    Intent,
    Method,
    Rejected,
    SignedTx,
    Unavailable,
    Watch,
)

from . import codec
from .node import Node


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of [chains.X.node] beside `endpoints`; unknown ones are refused."""


class {kind}Chain:
    """One chain through one endpoint; with `endpoint=None` only the pure methods work."""

    def __init__(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> None:
        native = next(name for name, asset in assets.items() if asset.contract is None)
        self.info = ChainInfo(
            family=Family.ACCOUNT,  # how one transaction excludes another
            scheme="secp256k1",
            coin_type=1,  # SLIP-44
            native=native,
            fee_asset=native,
            confirmations=12,
            reorg_limit=100,
            methods=(Method("blocks", frozenset({{"value"}})),),
        )
        self._assets = assets
        self._node = Node(endpoint, gate)

    # --- reading --------------------------------------------------------------------------------

    async def identity(self) -> str:
        """One string for this network, for ever, the same from every node: chain id and genesis."""
        raise Unavailable("identity: not written yet")

    async def head(self, after: Head | None = None) -> Head:
        """The newest block; may wait up to 10 s for something newer than `after`."""
        raise Unavailable("head: not written yet")

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        """Blocks in height order; every transfer in them succeeded on chain."""
        raise Unavailable("blocks: not written yet")
        yield  # an iterator

    async def balance(self, address: str, asset: str) -> Balance:
        """Base units, as of a block."""
        raise Unavailable("balance: not written yet")

    async def locate(self, txid: str) -> BlockRef | None:
        """A hint for people."""
        return None

    # --- names ----------------------------------------------------------------------------------

    def parse_address(self, text: str) -> str:
        """The one canonical spelling. Raises `InvalidAddress`."""
        return codec.parse_address(text)

    def address_key(self, address: str) -> bytes:
        """The bytes by which the chain names the address."""
        raise NotImplementedError

    def asset_key(self, asset: str) -> bytes:
        """The bytes by which the chain names the asset; the main coin is empty."""
        contract = self._assets[asset].contract
        return b"" if contract is None else contract.encode()

    def address_of(self, public_key: bytes) -> str:
        """The canonical address of a compressed public key."""
        raise NotImplementedError

    # --- paying ---------------------------------------------------------------------------------

    async def build(self, intent: Intent) -> bytes:
        """The payload in a container of your own; dry run, fee and funds are checked here."""
        raise Unavailable("build: not written yet")

    def inspect(self, payload: bytes) -> Effect:
        """Pure: all that this payload would do. What cannot be named is `Rejected`."""
        raise Rejected("inspect: not written yet")

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        """Pure: the signed transaction; verifies each signature."""
        raise Rejected("assemble: not written yet")

    async def broadcast(self, tx: SignedTx) -> None:
        """Send; already known is success, an answer without sense an unknown outcome."""
        raise Unavailable("broadcast: not written yet")

    async def close(self) -> None:
        """Give back connections."""
        await self._node.close()


class {kind}Plugin:
    """What the entry point names."""

    name = "{name}"
    api = API
    settings = Settings

    def open(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> Chain:
        """One chain; does no I/O."""
        return {kind}Chain(settings, assets, endpoint, gate)


plugin = {kind}Plugin()
'''

_TEST = '''\
"""The contract of a plugin. Give it a local chain, and everything that is missing has a name."""

from __future__ import annotations

import pytest
from chain_adapter_{name}.chain import plugin

from chain_adapter.chain import Devnet
from chain_adapter.testing import Conformance


class TestContract(Conformance):
    plugin = plugin

    async def devnet(self) -> Devnet:
        pytest.skip("start a local chain here: see chain_adapter.chain.Devnet")
'''


def files_of(name: str) -> dict[str, str]:
    """Path below the plugin's folder -> text."""
    words = {"name": name, "kind": name.capitalize(), "title": f"The {name} chain"}
    package = f"chain_adapter_{name}"
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{package}/__init__.py": _INIT,
        f"{package}/codec.py": _CODEC,
        f"{package}/node.py": _NODE,
        f"{package}/chain.py": _CHAIN,
        f"{package}/py.typed": "",
        "tests/test_contract.py": _TEST,
    }
    return {path: text.format(**words) for path, text in files.items()}
