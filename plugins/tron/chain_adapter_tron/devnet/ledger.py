"""Blocks, forks and the pool of a local chain, without any I/O.

`submit` takes a transaction as a node does, every rule checked; `mine` makes a block of what is
pending; `reorg` replaces the newest blocks. Two states are kept: at the head, and at the newest
solidified block, `solid_lag` below it. Time is the wall's, in slots, and runs ahead only when
blocks are made faster than the slots pass.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from coincurve import PrivateKey

from chain_adapter_tron.address import PREFIX, of_public_key, sha256
from chain_adapter_tron.devnet.state import DAY_MS, Outcome, State
from chain_adapter_tron.devnet.transaction import Refused, Tx
from chain_adapter_tron.protobuf import bytes_field, number_field
from chain_adapter_tron.roots import merkle_root

SLOT_MS = 3_000
SOLID_LAG = 19
ISSUED = {"1000001": ("DemoTen", 6), "1000002": ("USDT", 6)}
"""TRC-10 tokens from the beginning: name and decimals by id. The second has a borrowed name."""
_VERSION = 31
_HISTORY = 1 << 16


@dataclass(frozen=True, slots=True)
class Made:
    """A block. `id` is its height and the end of its header's hash."""

    number: int
    id: bytes
    parent: bytes
    timestamp_ms: int
    tx_root: bytes
    witness: bytes
    witness_signature: bytes
    txs: tuple[tuple[Tx, Outcome], ...] = ()


@dataclass(slots=True)
class Genesis:
    """What the chain begins with."""

    rich: bytes
    balance: int
    assets: dict[str, int]
    timestamp_ms: int
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(8))

    def state(self) -> State:
        state = State()
        state.give(self.rich, self.balance, self.assets, self.timestamp_ms)
        return state


class Ledger:
    """One chain. Not for several threads."""

    def __init__(self, genesis: Genesis, solid_lag: int = SOLID_LAG) -> None:
        self.slot_ms = SLOT_MS
        self.solid_lag = solid_lag
        self.state = genesis.state()
        self.solid_state = genesis.state()
        self.pool: dict[str, Tx] = {}
        self.lost: set[str] = set()  # accepted, and never included
        self.lose_next = 0
        self._genesis = genesis
        self._solid_at = 0  # height that solid_state stands at
        self._fork = 0
        root = sha256(b"genesis" + genesis.salt)
        self.blocks = [self._seal(0, bytes(32), genesis.timestamp_ms, root, ())]
        self._places: dict[str, int] = {}

    # --- where it stands ------------------------------------------------------------------------

    @property
    def head(self) -> Made:
        return self.blocks[-1]

    @property
    def solid_height(self) -> int:
        return max(self.head.number - self.solid_lag, 0)

    def block(self, number: int, *, solid: bool = False) -> Made | None:
        """A block by height."""
        top = self.solid_height if solid else self.head.number
        return self.blocks[number] if 0 <= number <= top else None

    def by_id(self, identity: bytes) -> Made | None:
        """A block by id."""
        found = self.block(int.from_bytes(identity[:8], "big"))
        return found if found is not None and found.id == identity else None

    def find(self, txid: str, *, solid: bool = False) -> tuple[Made, Tx, Outcome] | None:
        """An included transaction."""
        height = self._places.get(txid)
        block = None if height is None else self.block(height, solid=solid)
        if block is None:
            return None
        for tx, outcome in block.txs:
            if tx.txid == txid:
                return block, tx, outcome
        return None

    def state_at_solid(self) -> State:
        """The state at the newest solidified block."""
        if self._solid_at > self.solid_height:  # a fork went below it
            self.solid_state, self._solid_at = self._genesis.state(), 0
        while self._solid_at < self.solid_height:
            self._solid_at += 1
            _replay(self.solid_state, self.blocks[self._solid_at])
        return self.solid_state

    # --- transactions ---------------------------------------------------------------------------

    def submit(self, tx: Tx) -> None:
        """Take a transaction into the pool. Raises `Refused` with the node's code."""
        if tx.txid in self._places or tx.txid in self.pool or tx.txid in self.lost:
            raise Refused("DUP_TRANSACTION_ERROR", "Dup transaction.")
        if tx.size > 500 * 1024:
            raise Refused("TOO_BIG_TRANSACTION_ERROR", "Transaction size is too big.")
        self._check_place(tx, self.head)
        self.state.check_signatures(tx)
        self.state.check(tx, self._pending_of(tx.owner))
        self.state.charge(tx, self.head.timestamp_ms)
        if self.lose_next > 0:
            self.lose_next -= 1
            self.lost.add(tx.txid)
            return
        self.pool[tx.txid] = tx

    def _check_place(self, tx: Tx, parent: Made) -> None:
        """Reference block and expiration, for a block on top of `parent`."""
        if tx.expiration <= parent.timestamp_ms:
            raise Refused(
                "TRANSACTION_EXPIRATION_ERROR",
                f"Transaction expiration, transaction expiration time is {tx.expiration}, but "
                f"headBlockTime is {parent.timestamp_ms}",
            )
        if tx.expiration > parent.timestamp_ms + DAY_MS:
            raise Refused("TRANSACTION_EXPIRATION_ERROR", "expiration is beyond a day")
        low = int.from_bytes(tx.ref_block_bytes, "big")
        number = parent.number - (parent.number - low) % _HISTORY
        known = self.block(number)
        if len(tx.ref_block_bytes) != 2 or known is None or known.id[8:16] != tx.ref_block_hash:
            raise Refused(
                "TAPOS_ERROR",
                f"Tapos failed, different block hash, {tx.ref_block_bytes.hex()}, "
                f"{tx.ref_block_hash.hex()}, recent block is {number}",
            )

    def _pending_of(self, owner: bytes) -> dict[str, int]:
        """What the pool takes from an owner: TRX under "", TRC-10 by id."""
        spent: dict[str, int] = {}
        for tx in self.pool.values():
            if tx.owner != owner or tx.kind not in (1, 2):
                continue
            name = "" if tx.kind == 1 else bytes(tx.fields["asset_name"]).decode()
            spent[name] = spent.get(name, 0) + tx.number("amount")
        return spent

    # --- blocks ---------------------------------------------------------------------------------

    def mine(self, *, in_past: bool = False) -> Made:
        """One block on the head, with all of the pool that is still valid. `in_past`: one slot
        after the head, though the wall's time is later."""
        parent = self.head
        now_ms = parent.timestamp_ms + self.slot_ms if in_past else self._next_time()
        done: list[tuple[Tx, Outcome]] = []
        for tx in self.pool.values():
            try:
                self._check_place(tx, parent)
                done.append((tx, self.state.execute(tx, now_ms)))
            except Refused:
                continue  # a node drops what has become invalid, and tells nobody
        self.pool.clear()
        return self._append(tuple(done), now_ms)

    def reorg(self, depth: int) -> None:
        """Replace the newest `depth` blocks by empty ones; their transactions vanish."""
        if not 0 < depth < len(self.blocks):
            raise ValueError(f"there are {len(self.blocks) - 1} blocks to replace, not {depth}")
        self._fork += 1
        gone = self.blocks[-depth:]
        del self.blocks[-depth:]
        for block in gone:
            for tx, _ in block.txs:
                self._places.pop(tx.txid, None)
        if self._solid_at >= len(self.blocks):
            self.solid_state, self._solid_at = self._genesis.state(), 0
        if any(block.txs for block in gone):
            self.state = self._genesis.state()
            for block in self.blocks[1:]:
                _replay(self.state, block)
        for block in gone:
            self._append((), block.timestamp_ms)

    def _append(self, txs: tuple[tuple[Tx, Outcome], ...], now_ms: int) -> Made:
        leaves = [sha256(tx.encode(outcome.result)) for tx, outcome in txs]
        number = self.head.number + 1
        made = self._seal(number, self.head.id, now_ms, merkle_root(leaves), txs)
        self.blocks.append(made)
        for tx, _ in txs:
            self._places[tx.txid] = number
        return made

    def _next_time(self) -> int:
        wall_ms = time.time_ns() // 1_000_000
        return max(self.head.timestamp_ms + self.slot_ms, wall_ms - wall_ms % self.slot_ms)

    def _seal(
        self,
        number: int,
        parent: bytes,
        timestamp_ms: int,
        root: bytes,
        txs: tuple[tuple[Tx, Outcome], ...],
    ) -> Made:
        """The block, signed by the witness of this fork: so no two forks have a block in common."""
        witness = PrivateKey(sha256(b"witness %d" % self._fork))
        address = PREFIX + of_public_key(witness.public_key.format())
        header = (
            number_field(1, timestamp_ms) + bytes_field(2, root) + bytes_field(3, parent)
            + number_field(7, number) + bytes_field(9, address) + number_field(10, _VERSION)
        )  # fmt: skip
        digest = sha256(header)
        return Made(
            number=number,
            id=number.to_bytes(8, "big") + digest[8:],
            parent=parent,
            timestamp_ms=timestamp_ms,
            tx_root=root,
            witness=address,
            witness_signature=witness.sign_recoverable(digest, hasher=None),
            txs=txs,
        )


def _replay(state: State, block: Made) -> None:
    for tx, _ in block.txs:
        state.execute(tx, block.timestamp_ms)
