"""The plugin interface: the one file that a chain developer reads.

A plugin *translates*: blocks into transfers, intents into payloads, payloads into effects.
The core owns time, retries, reorganisations, storage and keys; a plugin has none of them.
`Plugin` is what the entry point names (group ``chain_adapter.chains``); it opens a `Chain` for
one endpoint. `chain_adapter.testing` holds the conformance suite that every plugin passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

API = 1
"""Version of this file. A plugin says in `Plugin.api` which one it was written for."""

# --- errors -------------------------------------------------------------------------------------


class ChainError(Exception):
    """Base of what a plugin raises. The text is for the operator, the endpoint's answer in it."""


class Unavailable(ChainError):
    """The node did not answer, lags, throttles, or lacks a block or a method. Try again later."""


class WrongNetwork(Unavailable):
    """The endpoint serves another network than the one that is pinned."""


class NotOnChain(ChainError):
    """`after` is known to be no longer on the best chain: pop a block and ask again."""


class InvalidAddress(ChainError):
    """A text that is no address of this chain, in none of the spellings the chain allows."""


class FeeAboveLimit(ChainError):
    """The chain asks more than `Intent.fee_limit`. Waiting may help."""


class InsufficientFunds(ChainError):
    """`Intent.sender` is short of `asset` by `short_by` base units, headroom included."""

    def __init__(self, asset: str, short_by: int) -> None:
        super().__init__(f"short of {short_by} base units of {asset}")
        self.asset = asset
        self.short_by = short_by


class Rejected(ChainError):
    """The node or the plugin refuses this transaction or payload.

    From `build`, `for_good=True` says that no later time makes it payable (a reverting recipient
    with the funds at hand, a memo where there are none): it alone may send an order back.
    From `broadcast` it is a hint, and proves nothing.
    """

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.for_good = for_good


# --- what a chain is ----------------------------------------------------------------------------


class Family(StrEnum):
    """How one transaction excludes another, and how owners are told apart."""

    ACCOUNT = "account"  # a lock is a nonce (or none: transactions expire)
    COIN = "coin"  # a lock is an unspent output
    MEMO = "memo"  # one shared address, the memo names the owner; a lock is a sequence


class Proof(StrEnum):
    """Whether a token deposit is held against the balance difference of its block."""

    WHEN_POSSIBLE = "when_possible"  # made while the node still has the state
    REQUIRED = "required"  # a deposit without it is held
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset as configured. `contract` is None for the main coin."""

    name: str
    contract: str | None
    decimals: int
    proof: Proof = Proof.WHEN_POSSIBLE


@dataclass(frozen=True, slots=True)
class Method:
    """A way to read blocks. `kinds` are the first parts of the places it sees ("value", "log")."""

    name: str
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """Constants of a chain as configured; `methods[0]` is the one used while scanning."""

    family: Family
    scheme: str  # signature scheme, a name in `chain_adapter.keys.schemes`
    coin_type: int  # SLIP-44
    native: str  # asset name of the main coin
    fee_asset: str  # asset name in which fees are paid
    confirmations: int  # default depth of a final block
    reorg_limit: int  # deepest reorganisation worth following by itself
    methods: tuple[Method, ...]
    memos: bool = False  # deposits and payments carry memos
    pays_memos: bool = False  # a payment may carry one, although deposits are told without
    block_time_s: float = 10.0  # usual distance of blocks: scales health and alarms
    irreversible: bool = False  # finality also demands the chain's own final height


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by height and hash. An empty hash means "whatever is there" (cold start)."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The node's newest block; `final_height` where the chain tells one."""

    ref: BlockRef
    final_height: int | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What is ours. `to` holds address keys: it may say yes wrongly, never no.

    `senders` are the canonical addresses of ours that sign; `coins` maps the lock of every output
    of ours that is unspent at `after` to its amount.
    """

    to: Container[bytes]
    senders: Container[str] = frozenset()
    coins: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Value that arrived: one movement at one place of one successful transaction."""

    txid: str
    place: str  # inside its transaction, across kinds: "value", "log/3", "call/0.2", "out/1"
    asset: str  # configured name
    to: str  # canonical spelling
    amount: int  # base units
    sender: str | None = None
    memo: bytes | None = None
    proof: bool | None = None  # None: no proof made; True: proven; False: refuted
    lock: str | None = None  # coin chains: what spending it uses
    matures: int | None = None  # first height at which it may be spent


@dataclass(frozen=True, slots=True)
class Payment:
    """Value that is to move, or moved. `amount=None`: all, less the fee (to an own address)."""

    asset: str
    to: str
    amount: int | None
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that one of `Watch.senders` signed or that spent one of `Watch.coins`."""

    txid: str
    sender: str
    locks: tuple[str, ...]  # what it used up; () where the chain has none
    ok: bool
    moved: tuple[Payment, ...]  # every movement by it, change too; () when it failed
    fee: int  # all of `fee_asset` that left us beyond `moved`, base units
    fee_asset: str


@dataclass(frozen=True, slots=True)
class Block:
    """All that a block implies for us. `clock` is what `Effect.expires` counts in."""

    ref: BlockRef
    parent_hash: str
    time: int  # Unix seconds
    clock: int
    transfers: tuple[Transfer, ...]
    sent: tuple[Sent, ...]
    method: str  # the name of the method that read it
    internal: bool  # whether value moved by contracts was read


@dataclass(frozen=True, slots=True)
class Balance:
    """Base units of one asset at an address, as of a block."""

    amount: int
    at: BlockRef


# --- paying -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coin:
    """An output of ours that may be spent (coin chains)."""

    lock: str
    address: str
    public_key: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Intent:
    """What a transaction is to do. No payments, but `replaces`: a void, which burns the locks."""

    sender: str
    public_key: bytes  # compressed
    payments: tuple[Payment, ...]
    fee_limit: int  # base units of the fee asset
    coins: tuple[Coin, ...] = ()
    reserved: frozenset[str] = frozenset()  # locks of other payouts
    replaces: tuple[bytes, ...] = ()  # payloads of all open attempts of this payout
    salt: bytes = b""  # unique to the attempt


@dataclass(frozen=True, slots=True)
class ToSign:
    """One message for one key; whether it is a digest or a text is the scheme's matter."""

    public_key: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class Effect:
    """All that a payload would do, told by the pure `inspect` alone."""

    binds: str  # the prefix of the identity that the signed bytes commit to
    senders: tuple[str, ...]
    payments: tuple[Payment, ...]  # change to the sender included
    max_fee: int  # what the bytes allow, plus a documented bound of what the chain may add
    locks: tuple[str, ...]
    expires: int | None  # once a block's clock is above it, no later block takes it in
    to_sign: tuple[ToSign, ...]


@dataclass(frozen=True, slots=True)
class SignedTx:
    """Signed bytes and the id under which blocks will show them."""

    txid: str
    raw: bytes


# --- the interface ------------------------------------------------------------------------------


class Gate(Protocol):
    """Entered around every request to an endpoint: rate limit, metrics, cancellation."""

    def __call__(self, method: str) -> AbstractAsyncContextManager[None]: ...


class Chain(Protocol):
    """One chain through one endpoint. Pure methods do no I/O and work with `endpoint=None`."""

    info: ChainInfo

    async def identity(self) -> str:
        """One string for this network, for ever, the same from every node. `Unavailable`."""
        ...

    async def head(self, after: Head | None = None) -> Head:
        """The newest block; may wait up to 10 s for something newer than `after`."""
        ...

    def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        """Blocks in height order from `after.height + 1` to `last`.

        Ends normally only when everything up to `last` was read. `NotOnChain` when `after` is
        known to be off the best chain, `Unavailable` for a block that the node lacks.
        """
        ...

    async def balance(self, address: str, asset: str) -> Balance: ...

    async def locate(self, txid: str) -> BlockRef | None:
        """Where the node sees a transaction: a hint for people, never evidence."""
        ...

    def parse_address(self, text: str) -> str:
        """The one canonical spelling. Raises `InvalidAddress`."""
        ...

    def address_key(self, address: str) -> bytes:
        """The bytes by which the chain names the address (20-byte hash, scriptPubKey)."""
        ...

    def asset_key(self, asset: str) -> bytes:
        """The bytes by which the chain names the asset; ``b""`` is the main coin."""
        ...

    def address_of(self, public_key: bytes) -> str:
        """The canonical address of a compressed public key."""
        ...

    async def build(self, intent: Intent) -> bytes:
        """The payload, in the plugin's own container; dry run, fee and funds are checked.

        Raises `Rejected`, `InsufficientFunds`, `FeeAboveLimit`, `Unavailable`.
        """
        ...

    def inspect(self, payload: bytes) -> Effect:
        """Pure: all that this payload would do. What it cannot name is `Rejected`."""
        ...

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        """Pure: the signed transaction; verifies each signature. Raises `Rejected`."""
        ...

    async def broadcast(self, tx: SignedTx) -> None:
        """Send. Already known is success; `Rejected` a hint; `Unavailable` an unknown outcome."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class Plugin(Protocol):
    """What the entry point names. Opening does no I/O."""

    name: str
    api: int
    settings: type[Any]  # documented frozen dataclass of the keys of [chains.X.node]

    def open(
        self, settings: Any, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> Chain: ...


class Devnet(Protocol):
    """A local chain under the command of demo and conformance suite."""

    url: str
    node: Mapping[str, Any]  # a complete [chains.X.node] table for it
    assets: Mapping[str, Asset]  # ready to configure, the main coin first
    private_key: str  # hex: funded in every asset
    address: str  # its canonical address

    async def mine(self, blocks: int = 1) -> None:
        """Make blocks that include what is pending."""
        ...

    async def reorg(self, depth: int) -> None:
        """Replace the newest `depth` blocks by empty ones; their transactions vanish."""
        ...

    async def pay(self, asset: str, to: str, amount: int, memo: str | None = None) -> str:
        """Send from the funded key without mining; returns the txid."""
        ...

    async def automine(self, every_s: float | None) -> None:
        """Make a block every so many seconds (None: only by `mine`)."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class DevnetPlugin(Protocol):
    """A plugin that can also start a local chain; `listen` is "host:port", port 0 picks one."""

    async def devnet(self, listen: str) -> Devnet: ...
