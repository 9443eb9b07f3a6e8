"""The EVM plugin: any chain of Ethereum's kind behind a JSON-RPC.

Reading stands in `scan.py`, paying in `build.py` and `effect.py`; here is what holds them together:
which network, which head, and whether the configured contracts are what the configuration says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from chain_adapter.chain import (
    API,
    Asset,
    Balance,
    Block,
    BlockRef,
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
    WrongNetwork,
)
from chain_adapter_evm import codec
from chain_adapter_evm.build import Builder
from chain_adapter_evm.check import check_token, probe_traces
from chain_adapter_evm.effect import effect_of
from chain_adapter_evm.head import Heads, height_of
from chain_adapter_evm.match import Assets, Recipients, Senders, number
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.proof import balance_call
from chain_adapter_evm.scan import (
    LOGS_METHOD,
    RECEIPTS_METHOD,
    Scan,
    Source,
)
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import HEADERS, PLACES, TEXTS

if TYPE_CHECKING:
    from chain_adapter_evm.devnet import AnvilDevnet

_KNOWN = (
    "already known", "alreadyknown", "already imported", "already exists", "known transaction",
)  # fmt: skip
_REFUSALS = (
    "nonce", "underpriced", "insufficient funds", "intrinsic gas", "gas limit", "invalid sender",
    "fee cap", "max fee per gas", "max priority fee", "base fee", "txpool is full", "chain id",
    "signature", "oversized", "not supported", "gas required exceeds", "tx fee", "banned",
    "rejected", "revert",
)  # fmt: skip


class EvmChain:
    """One EVM chain through one endpoint. Implements `chain_adapter.chain.Chain`."""

    def __init__(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> None:
        self._settings = settings
        self._assets = Assets(assets, settings.native_contract)
        self._maybe_node = None if endpoint is None else Node(endpoint, gate, settings)
        self._maybe_heads: Heads | None = None
        self._source: Source | None = None
        self._checking = asyncio.Lock()
        self._senders: tuple[frozenset[str], Senders] | None = None
        kinds = frozenset({"value", "create", "log"})
        traced = kinds if settings.traces == "off" else kinds | {"call"}
        self.info = ChainInfo(
            family=Family.ACCOUNT,
            scheme="secp256k1",
            coin_type=settings.coin_type,
            native=self._assets.fee_asset,
            fee_asset=self._assets.fee_asset,
            confirmations=settings.default_confirmations,
            reorg_limit=settings.reorg_limit,
            methods=(Method(LOGS_METHOD, traced), Method(RECEIPTS_METHOD, kinds)),
            block_time_s=settings.block_time_s,
        )

    @property
    def _node(self) -> Node:
        if self._maybe_node is None:
            raise Unavailable("this chain was opened without an endpoint: it cannot ask a node")
        return self._maybe_node

    @property
    def _heads(self) -> Heads:
        if self._maybe_heads is None:
            self._maybe_heads = Heads(self._node, self._settings)
        return self._maybe_heads

    async def close(self) -> None:
        """Give back connections."""
        if self._maybe_node is not None:
            await self._maybe_node.close()

    # --- which network --------------------------------------------------------------------------

    async def identity(self) -> str:
        """``eip155:<chain id>/<hash of block 0>``.

        Raises `WrongNetwork` when `chain_id` or `genesis` of the settings say otherwise,
        `Unavailable` when the node tells neither.
        """
        node, settings = self._node, self._settings
        told = await node.call("eth_chainId", [], TEXTS)
        if told is None:
            raise Unavailable(f"{node.name} tells no chain id")
        chain_id = number(node.name, told)
        if settings.chain_id not in (None, chain_id):
            raise WrongNetwork(
                f"{node.name} serves chain id {chain_id}, configured is {settings.chain_id}"
            )
        header = await node.call("eth_getBlockByNumber", ["0x0", False], HEADERS)
        genesis = header.hash.lower() if header is not None else (settings.genesis or "").lower()
        if not genesis:
            raise Unavailable(f"{node.name} lacks block 0: set `genesis` to its hash")
        if settings.genesis is not None and genesis != settings.genesis.lower():
            raise WrongNetwork(
                f"{node.name} began with block {genesis}, configured is {settings.genesis}"
            )
        return f"eip155:{chain_id}/{genesis}"

    async def check(self) -> None:
        """Holds the configured contracts against the chain, and learns which traces there are.

        Runs by itself before the first head, block and payment. Raises `Rejected` for a contract
        without code or with other decimals than configured, `Unavailable` when traces are required
        and the node has none.
        """
        async with self._checking:
            if self._source is not None:
                return
            for token in self._assets.tokens.values():
                await check_token(self._node, token)
            tracer = await probe_traces(self._node, self._settings.traces)
            self._source = Source(self._node, self._settings, self._assets, tracer)

    # --- reading --------------------------------------------------------------------------------

    async def head(self, after: Head | None = None) -> Head:
        """The newest block. With `after`, waits up to 10 s for another one.

        Raises `Unavailable` when the node's head has moved back to a block that it told before,
        and `Rejected` when a configured contract is none.
        """
        await self.check()
        return await self._heads.newest(after)

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        """Blocks after `after` up to `last`.

        Raises `NotOnChain`, `Unavailable`, and `Rejected` when a configured contract is none.
        """
        method = method or LOGS_METHOD
        if method not in (LOGS_METHOD, RECEIPTS_METHOD):
            raise Rejected(f"this plugin reads by {LOGS_METHOD} or {RECEIPTS_METHOD}, not {method}")
        await self.check()
        assert self._source is not None
        found = (Recipients(watch.to), self._senders_of(watch))
        scan = Scan(self._source, after, last, found, method, await self._heads.at_least(last))
        async with aclosing(scan.blocks()) as blocks:
            async for block in blocks:
                yield block

    def _senders_of(self, watch: Watch) -> Senders:
        """Spelled once for a set that cannot change."""
        if self._senders is None or self._senders[0] is not watch.senders:
            made = Senders(watch.senders)
            if not isinstance(watch.senders, frozenset):
                return made
            self._senders = (watch.senders, made)
        return self._senders[1]

    async def balance(self, address: str, asset: str) -> Balance:
        """Base units at the newest block. Raises `Rejected` for an unknown asset."""
        key = self.address_key(address)
        node = self._node
        header = await node.call("eth_getBlockByNumber", ["latest", False], HEADERS)
        if header is None:
            raise Unavailable(f"{node.name} tells no newest block")
        at = BlockRef(height_of(node, header), header.hash.lower())
        if asset == self._assets.native:
            told = await node.call("eth_getBalance", [address, hex(at.height)], TEXTS)
        elif asset in self._assets.tokens:
            call = balance_call(self._assets.tokens[asset].address, key)
            told = await node.call("eth_call", [call, hex(at.height)], TEXTS)
        else:
            raise Rejected(f"no asset {asset} is configured on this chain")
        return Balance(number(node.name, told or ""), at)

    async def locate(self, txid: str) -> BlockRef | None:
        """Where the node sees a transaction; None while it is in no block."""
        place = await self._node.call("eth_getTransactionByHash", [txid], PLACES)
        if place is None or place.blockHash is None or place.blockNumber is None:
            return None
        return BlockRef(number(self._node.name, place.blockNumber), place.blockHash.lower())

    # --- names ----------------------------------------------------------------------------------

    def parse_address(self, text: str) -> str:
        """EIP-55 spelling; `InvalidAddress` for a wrong checksum and anything else."""
        return codec.parse_address(text)

    def address_key(self, address: str) -> bytes:
        """The 20 bytes."""
        return bytes.fromhex(codec.parse_address(address)[2:])

    def asset_key(self, asset: str) -> bytes:
        """The contract's 20 bytes; ``b""`` for the main coin. `Rejected` for an unknown asset."""
        if asset == self._assets.native:
            return b""
        if asset not in self._assets.tokens:
            raise Rejected(f"no asset {asset} is configured on this chain")
        return self._assets.tokens[asset].key

    def address_of(self, public_key: bytes) -> str:
        """EIP-55 spelling of a public key's address; `Rejected` if it is no key."""
        return codec.spell(codec.address_of(public_key))

    # --- paying ---------------------------------------------------------------------------------

    async def build(self, intent: Intent) -> bytes:
        """The payload: see `Builder.build`."""
        await self.check()
        return await Builder(self._node, self._settings, self._assets).build(intent)

    def inspect(self, payload: bytes) -> Effect:
        """All that the payload would do; `Rejected` if a part of it has no name."""
        return effect_of(payload, self._settings, self._assets)

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        """The signed transaction; txid is the Keccak-256 of its bytes."""
        if len(signatures) != 1:
            raise Rejected(f"one signature is needed, {len(signatures)} were given")
        raw = codec.sign_bytes(codec.read_payload(payload), signatures[0])
        return SignedTx("0x" + codec.keccak(raw).hex(), raw)

    async def broadcast(self, tx: SignedTx) -> None:
        """Send. `Rejected` is a hint; `Unavailable`: it may or may not have arrived."""
        params = ["0x" + tx.raw.hex()]
        try:
            told = await self._node.call("eth_sendRawTransaction", params, TEXTS)
        except NodeError as error:
            text = error.message.lower()
            if any(part in text for part in _KNOWN):
                return
            if not any(part in text for part in _REFUSALS) or error.no_such_method:
                raise
            if "nonce" in text and await self._knows(tx.txid):
                return
            raise Rejected(str(error)) from None
        if told is None or told.lower() != tx.txid:
            raise Unavailable(f"{self._node.name} took {tx.txid} and called it {str(told)[:80]}")

    async def _knows(self, txid: str) -> bool:
        found = await self._node.call("eth_getTransactionByHash", [txid], PLACES)
        return found is not None


class EvmPlugin:
    """What the entry point names. Implements `chain_adapter.chain.Plugin` and `DevnetPlugin`."""

    name = "evm"
    api = API
    settings = Settings

    def open(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> EvmChain:
        """One chain through one endpoint; no I/O. Raises `Rejected`, `InvalidAddress`."""
        return EvmChain(settings, assets, endpoint, gate)

    async def devnet(self, listen: str) -> AnvilDevnet:
        """A local chain (anvil) at "host:port"; port 0 picks one."""
        from chain_adapter_evm.devnet import AnvilDevnet

        return await AnvilDevnet.start(listen)


plugin = EvmPlugin()
