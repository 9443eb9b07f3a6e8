"""The TRON plugin: any network of TRON's kind behind a full node's HTTP interface.

Reading stands in `scan.py` and `reading.py`, paying in `build.py` and `effect.py`; here is what
holds them together: which network, which head, and whether the configured tokens are what the
configuration says.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
from chain_adapter_tron import codec
from chain_adapter_tron.address import canonical, key_of, of_public_key, spell
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.build import Builder
from chain_adapter_tron.effect import BINDS, effect_of
from chain_adapter_tron.node import Node, NoSuchCall, together
from chain_adapter_tron.proof import Prover, balance_in
from chain_adapter_tron.reading import CALL, LOG, TOKEN10, VALUE
from chain_adapter_tron.roots import PUBLIC
from chain_adapter_tron.scan import SOLID, WINDOW, Scan, Source, solid_height
from chain_adapter_tron.settings import Settings
from chain_adapter_tron.state import Eyes, issued_balance, message_of
from chain_adapter_tron.wire import BlockHead, DryRun, Info, Issue, Sending

if TYPE_CHECKING:
    from chain_adapter_tron.devnet.devnet import TronDevnet

DEVNET_ENVIRONMENT = "CHAIN_ADAPTER_TRON_DEVNET"
_LONGEST_WAIT_S = 10.0
_REMEMBERED = 512
_TRIES = 3
_REFUSALS = frozenset(
    {
        "SIGERROR", "CONTRACT_VALIDATE_ERROR", "CONTRACT_EXE_ERROR", "BANDWITH_ERROR",
        "TAPOS_ERROR", "TOO_BIG_TRANSACTION_ERROR", "TRANSACTION_EXPIRATION_ERROR",
    }
)  # fmt: skip
"""Codes about the transaction. Any other (SERVER_BUSY, OTHER_ERROR …) is about the node."""


class TronChain:
    """One TRON network through one endpoint. Implements `chain_adapter.chain.Chain`."""

    def __init__(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> None:
        self._settings = settings
        self._assets = Assets(assets)
        self._maybe_node = None if endpoint is None else Node(endpoint, gate, settings)
        self._source: Source | None = None
        self._eyes: Eyes | None = None
        if self._maybe_node is not None:
            self._eyes = Eyes(self._maybe_node)
        self._checking = asyncio.Lock()
        self._seen: dict[int, str] = {}  # heads told, by height: tells a lag from a reorganisation
        self._head_height = -1
        self._final_height = 0
        kinds = {VALUE, TOKEN10, LOG} | ({CALL} if settings.internal else set())
        self.info = ChainInfo(
            family=Family.MEMO if settings.memo else Family.ACCOUNT,
            scheme="secp256k1",
            coin_type=settings.coin_type,
            native=self._assets.fee_asset,
            fee_asset=self._assets.fee_asset,
            confirmations=settings.default_confirmations,
            reorg_limit=settings.reorg_limit,
            methods=(Method(WINDOW, frozenset(kinds)), Method(SOLID, frozenset(kinds))),
            memos=settings.memo,
            pays_memos=True,
            block_time_s=settings.block_time_s,
            irreversible=True,
        )

    @property
    def _node(self) -> Node:
        if self._maybe_node is None:
            raise Unavailable("this chain was opened without an endpoint: it cannot ask a node")
        return self._maybe_node

    @property
    def _look(self) -> Eyes:
        if self._eyes is None:
            raise Unavailable("this chain was opened without an endpoint: it cannot ask a node")
        return self._eyes

    async def close(self) -> None:
        """Give back connections."""
        if self._maybe_node is not None:
            await self._maybe_node.close()

    # --- which network --------------------------------------------------------------------------

    async def identity(self) -> str:
        """``tron:<id of block 0>``.

        Raises `WrongNetwork` when `genesis` of the settings says otherwise, `Unavailable` when the
        node tells none.
        """
        node = self._node
        block = await node.ask("wallet/getblockbynum", {"num": 0}, BlockHead)
        genesis = block.blockID.lower()
        if len(genesis) != 64:
            raise Unavailable(f"{node.name} tells no block 0")
        if self._settings.genesis is not None and genesis != self._settings.genesis.lower():
            raise WrongNetwork(
                f"{node.name} began with block {genesis}, configured is {self._settings.genesis}"
            )
        return BINDS + genesis

    async def check(self) -> None:
        """Holds the configured tokens against the chain.

        Runs by itself before the first block and the first payment. Raises `Rejected` for a
        contract or a TRC-10 token that is not there, or has other decimals than configured. A node
        that cannot be asked proves nothing.
        """
        async with self._checking:
            if self._source is not None:
                return
            tokens = [self._check_token(name) for name in self._assets.tokens]
            issued = [self._check_issued(name) for name in self._assets.issued]
            await together(*tokens, *issued)
            node, assets = self._node, self._assets
            holds = self._settings.roots == "required"
            if self._settings.roots == "auto":
                holds = (await self.identity()).endswith(PUBLIC)
            self._source = Source(node, self._settings, assets, Prover(node, assets), holds)

    async def _check_token(self, name: str) -> None:
        token, node = self._assets.tokens[name], self._node
        body = {
            "owner_address": "41" + "00" * 20,
            "contract_address": "41" + token.key.hex(),
            "function_selector": "decimals()",
            "data": "313ce567",
        }
        try:
            told = await node.ask("wallet/triggerconstantcontract", body, DryRun)
        except NoSuchCall:
            return
        said = message_of(told.result.message)
        if told.result.code == "CONTRACT_VALIDATE_ERROR" and "not exist" in said.lower():
            raise Rejected(f"{name}: there is no contract at {token.address} on {node.name}")
        decimals = balance_in(told)
        if decimals is not None and decimals != token.decimals:
            raise Rejected(
                f"{name}: the contract {token.address} has {decimals} decimals, configured are "
                f"{token.decimals}"
            )

    async def _check_issued(self, name: str) -> None:
        issued, node = self._assets.issued[name], self._node
        try:
            told = await node.ask("wallet/getassetissuebyid", {"value": issued.id}, Issue)
        except NoSuchCall:
            return
        if told.id == issued.id and told.precision != issued.decimals:
            raise Rejected(
                f"{name}: the TRC-10 token {issued.id} has {told.precision} decimals, configured "
                f"are {issued.decimals}"
            )

    # --- reading --------------------------------------------------------------------------------

    async def head(self, after: Head | None = None) -> Head:
        """The newest block, and the newest solidified height. With `after`, waits up to 10 s.

        Raises `Unavailable` when the node's head has moved back to a block that it told before.
        """
        until = time.monotonic() + _LONGEST_WAIT_S
        if after is not None and after.ref.height > self._head_height:
            self._remember(after.ref)  # told by another endpoint
        while True:
            head, lag = await self._ask_head()
            if head is not None and (after is None or head.ref != after.ref):
                return head
            left = until - time.monotonic()
            if after is None or left <= 0:
                if head is None:
                    raise Unavailable(lag)
                return head
            await asyncio.sleep(min(self._settings.head_poll_s, left))

    async def _ask_head(self) -> tuple[Head | None, str]:
        """The head, or None and the text about a node that lags behind itself."""
        node = self._node
        newest, solid = await together(node.newest(), solid_height(node))
        ref = self._ref(newest)
        if ref.height < self._head_height:
            # another block at that height is a reorganisation; the same, or one we cannot
            # compare, is a node behind a balancer that lags
            if self._seen.get(ref.height, ref.hash) == ref.hash:
                return None, (
                    f"{node.name}: the head moved back from {self._head_height} to {ref.height}: "
                    "the node lags behind what it told before"
                )
            self._seen = {h: known for h, known in self._seen.items() if h < ref.height}
        self._remember(ref)
        # The two interfaces are not asked in one instant: the solidified one may be ahead of the
        # other, and one that moves back lags.
        self._final_height = max(self._final_height, solid)
        return Head(ref, min(self._final_height, ref.height)), ""

    def _ref(self, block: BlockHead) -> BlockRef:
        height, identity = block.block_header.raw_data.number, block.blockID.lower()
        if not identity:
            raise Unavailable(f"{self._node.name} tells no newest block: it may be syncing")
        if not 0 <= height < 1 << 63 or identity[:16] != f"{height:016x}":
            raise Unavailable(f"{self._node.name}: block {height} has the id {identity[:80]!r}")
        return BlockRef(height, identity)

    def _remember(self, ref: BlockRef) -> None:
        self._seen[ref.height] = ref.hash
        if len(self._seen) > _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        self._head_height = ref.height

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        """Blocks after `after` up to `last`.

        Raises `NotOnChain`, `Unavailable`, and `Rejected` when a configured token is none.
        """
        node = self._node
        await self.check()
        assert self._source is not None
        if self._head_height < 0:
            newest = await node.newest()
            self._remember(self._ref(newest))
        scan = Scan(self._source, after, last, watch, method or WINDOW, self._head_height)
        async for block in scan.blocks():
            yield block

    async def balance(self, address: str, asset: str) -> Balance:
        """Base units at the newest block. Raises `Rejected` for an unknown asset."""
        key = self.address_key(address)
        self._assets.key(asset)
        node = self._node
        at = self._ref(await node.newest())
        for _ in range(_TRIES):
            amount = await self._amount(key, asset)
            then = self._ref(await node.newest())
            if then == at:
                break
            at = then  # a block came between: asked again, so that amount and block belong together
        return Balance(amount, at)

    async def _amount(self, key: bytes, asset: str) -> int:
        if asset in self._assets.tokens:
            return await self._look.token_balance(self._assets.tokens[asset].key.hex(), key)
        account = await self._look.account(key)
        if asset in self._assets.issued:
            return issued_balance(account, self._assets.issued[asset].id)
        return account.balance

    async def locate(self, txid: str) -> BlockRef | None:
        """Where the node sees a transaction; None while it is in no block."""
        info = await self._node.ask("wallet/gettransactioninfobyid", {"value": txid}, Info)
        if not info.id or not info.blockNumber:
            return None
        asked = {"num": info.blockNumber}
        return self._ref(await self._node.ask("wallet/getblockbynum", asked, BlockHead))

    # --- names ----------------------------------------------------------------------------------

    def parse_address(self, text: str) -> str:
        """Base58Check; hex that begins with 41 is accepted; `InvalidAddress` for anything else."""
        return canonical(text)

    def address_key(self, address: str) -> bytes:
        """The 20 bytes after the 41."""
        return key_of(address)

    def asset_key(self, asset: str) -> bytes:
        """A contract's 20 bytes, ``trc10/<id>``, ``b""`` for TRX; `Rejected` for an unknown one."""
        return self._assets.key(asset)

    def address_of(self, public_key: bytes) -> str:
        """Canonical spelling of a public key's address; `Rejected` if it is no key."""
        return spell(of_public_key(public_key))

    # --- paying ---------------------------------------------------------------------------------

    async def build(self, intent: Intent) -> bytes:
        """The payload: see `Builder.build`."""
        look, name = self._look, self._node.name
        await self.check()
        return await Builder(name, look, self._settings, self._assets).build(intent)

    def inspect(self, payload: bytes) -> Effect:
        """All that the payload would do; `Rejected` if a part of it has no name."""
        return effect_of(payload, self._settings, self._assets)

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        """The signed transaction; txid is the SHA-256 of its `raw_data`."""
        if len(signatures) != 1:
            raise Rejected(f"one signature is needed, {len(signatures)} were given")
        self.inspect(payload)
        read = codec.read_payload(payload)
        return SignedTx(codec.txid_of(read.raw_data), codec.sign_bytes(read, signatures[0]))

    async def broadcast(self, tx: SignedTx) -> None:
        """Send. `Rejected` is a hint; `Unavailable`: it may or may not have arrived."""
        node = self._node
        answer = await node.ask("wallet/broadcasthex", {"transaction": tx.raw.hex()}, Sending)
        code = answer.code or ("SUCCESS" if answer.result else "")
        if answer.result or code == "DUP_TRANSACTION_ERROR":
            if answer.result and answer.txid and answer.txid.lower() != tx.txid:
                raise Unavailable(f"{node.name} took {tx.txid} and called it {answer.txid[:80]}")
            return
        text = f"{node.name}: {code or 'no answer'} {message_of(answer.message)[:300]}".strip()
        if code in _REFUSALS:
            raise Rejected(text)
        raise Unavailable(text)


class TronPlugin:
    """What the entry point names. Implements `chain_adapter.chain.Plugin` and `DevnetPlugin`."""

    name = "tron"
    api = API
    settings = Settings

    def open(
        self, settings: Settings, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> TronChain:
        """One network through one endpoint; no I/O. Raises `Rejected`."""
        return TronChain(settings, assets, endpoint, gate)

    async def devnet(self, listen: str) -> TronDevnet:
        """A local chain at "host:port"; port 0 picks one. With $CHAIN_ADAPTER_TRON_DEVNET = memo
        it is to be configured with one deposit address and memos."""
        try:
            from chain_adapter_tron.devnet.devnet import TronDevnet
        except ModuleNotFoundError as error:
            raise Unavailable(
                f"the local chain needs {error.name}: install chain-adapter-tron[devnet]"
            ) from None
        return await TronDevnet.start(listen, memo=os.environ.get(DEVNET_ENVIRONMENT) == "memo")


plugin = TronPlugin()
