"""The EVM plugin: any chain of Ethereum's kind behind a JSON-RPC.

Reading stands in `scan.py`, paying in `build.py` and `effect.py`; here is what holds them together:
which network, which head, and whether the configured contracts are what the configuration says.
"""

from __future__ import annotations

import asyncio
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
from chain_adapter_evm import codec
from chain_adapter_evm.build import Builder
from chain_adapter_evm.effect import effect_of
from chain_adapter_evm.match import Assets, Recipients, Senders, number
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.proof import balance_call
from chain_adapter_evm.scan import (
    CALL_TRACER,
    LOGS_METHOD,
    RECEIPTS_METHOD,
    TRACE_BLOCK,
    Scan,
    Source,
)
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import FRAMES, HEADERS, PLACES, TEXTS, TRACES, Header

if TYPE_CHECKING:
    from chain_adapter_evm.devnet import AnvilDevnet

_LONGEST_WAIT_S = 10.0
_HEAD_STALE_S = 2.0
_REMEMBERED = 512
_DECIMALS = "0x313ce567"
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
        self._source: Source | None = None
        self._checking = asyncio.Lock()
        self._checked = False
        self._seen: dict[int, str] = {}  # heads told, by height: tells a lag from a reorganisation
        self._senders: tuple[frozenset[str], Senders] | None = None
        self._head_height = -1
        self._head_at = -_HEAD_STALE_S
        self._final_height: int | None = None
        self._tells_final: bool | None = {"tag": True, "depth": False}.get(settings.finality)
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
            if self._checked:
                return
            for token in self._assets.tokens.values():
                await self._check_token(token.name, token.address, token.decimals)
            tracer = None if self._settings.traces == "off" else await self._probe_traces()
            if tracer is None and self._settings.traces == "required":
                raise Unavailable(
                    f"{self._node.name} has neither trace_block nor callTracer, and traces are "
                    "required"
                )
            self._source = Source(self._node, self._settings, self._assets, tracer)
            self._checked = True

    async def _check_token(self, name: str, contract: str, decimals: int) -> None:
        call = {"to": contract, "data": _DECIMALS}
        where = self._node.name
        (code,) = await self._node.batch("eth_getCode", [[contract, "latest"]], TEXTS)
        (told,) = await self._node.batch("eth_call", [[call, "latest"]], TEXTS)
        for answer in (code, told):
            if isinstance(answer, NodeError) and not (answer.no_state or answer.reverted):
                raise answer
        if code in ("0x", "0x0"):
            (syncing,) = await self._node.mixed([("eth_syncing", [])])
            if syncing not in (b"false", b"null") and not isinstance(syncing, NodeError):
                raise Unavailable(f"{where} is syncing, and has no contract of {name} yet")
            raise Rejected(f"{name}: there is no contract at {contract} on {where}")
        if isinstance(told, NodeError) and told.no_state:
            return  # a node that keeps no state cannot be asked; what it reads is checked otherwise
        if not isinstance(told, str) or told == "0x":
            raise Rejected(f"{name}: the contract {contract} tells no decimals: is it a token?")
        on_chain = number(where, told[:66])
        if on_chain != decimals:
            raise Rejected(
                f"{name}: the contract {contract} has {on_chain} decimals, configured are "
                f"{decimals}"
            )

    async def _probe_traces(self) -> str | None:
        (answer,) = await self._node.batch(TRACE_BLOCK, [["latest"]], TRACES)
        if not isinstance(answer, NodeError):
            return TRACE_BLOCK
        if not answer.no_state:
            raise answer
        params = ["latest", {"tracer": "callTracer"}]
        (frames,) = await self._node.batch("debug_traceBlockByNumber", [params], FRAMES)
        if not isinstance(frames, NodeError):
            return CALL_TRACER
        if not frames.no_state:
            raise frames
        return None

    # --- reading --------------------------------------------------------------------------------

    async def head(self, after: Head | None = None) -> Head:
        """The newest block. With `after`, waits up to 10 s for another one.

        Raises `Unavailable` when the node's head has moved back to a block that it told before,
        and `Rejected` when a configured contract is none.
        """
        await self.check()
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
        tags = ["latest"] if self._tells_final is False else ["latest", "finalized"]
        answers = await node.batch("eth_getBlockByNumber", [[tag, False] for tag in tags], HEADERS)
        newest = answers[0]
        if isinstance(newest, NodeError):
            raise newest
        if newest is None:
            raise Unavailable(f"{node.name} tells no newest block: it may be syncing")
        ref = BlockRef(self._height(newest), newest.hash.lower())
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
        return Head(ref, self._final(answers[1]) if len(answers) > 1 else None), ""

    def _remember(self, ref: BlockRef) -> None:
        self._seen[ref.height] = ref.hash
        if len(self._seen) > _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        self._head_height = ref.height
        self._head_at = time.monotonic()

    def _final(self, answer: Header | NodeError | None) -> int | None:
        if answer is None or isinstance(answer, NodeError):
            if self._tells_final is None:  # the first question decides, once for all
                self._tells_final = False
            if self._tells_final and isinstance(answer, NodeError):
                raise answer
            if self._tells_final:
                raise Unavailable(f"{self._node.name} tells no finalized block")
            return None
        self._tells_final = True
        # a node that moves it back lags: what was final stays so
        self._final_height = max(self._height(answer), self._final_height or 0)
        return self._final_height

    def _height(self, header: Header) -> int:
        height = number(self._node.name, header.number)
        if height.bit_length() > 63:
            raise Unavailable(
                f"{self._node.name} tells a block number of {height.bit_length()} bits"
            )
        return height

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
        scan = Scan(self._source, after, last, found, method, await self._at_least(last))
        async for block in scan.blocks():
            yield block

    def _senders_of(self, watch: Watch) -> Senders:
        """Spelled once for a set that cannot change."""
        if self._senders is None or self._senders[0] is not watch.senders:
            made = Senders(watch.senders)
            if not isinstance(watch.senders, frozenset):
                return made
            self._senders = (watch.senders, made)
        return self._senders[1]

    async def _at_least(self, last: int) -> int:
        """A height the chain has reached; asked anew when an old one would not tell deep blocks."""
        deep = last <= self._head_height - self._settings.verify_depth
        if not deep and time.monotonic() - self._head_at > _HEAD_STALE_S:
            (told,) = await self._node.batch("eth_blockNumber", [[]], TEXTS)
            if isinstance(told, str):  # else nothing counts as deep, and all is verified
                return max(self._head_height, number(self._node.name, told))
        return self._head_height

    async def balance(self, address: str, asset: str) -> Balance:
        """Base units at the newest block. Raises `Rejected` for an unknown asset."""
        key = self.address_key(address)
        node = self._node
        header = await node.call("eth_getBlockByNumber", ["latest", False], HEADERS)
        if header is None:
            raise Unavailable(f"{node.name} tells no newest block")
        at = BlockRef(self._height(header), header.hash.lower())
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
