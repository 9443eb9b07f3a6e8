"""Reads a range of blocks once and tells the deposits in it; changes and notifies nothing.

The watcher's own reading, matching and judging, without a second look and without finality. With
a record it also writes, to another empty ledger, the commits that the watcher would make.
"""

from __future__ import annotations

import resource
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from chain_adapter.chain import Block, BlockRef, Head, NotOnChain, Watch
from chain_adapter.config.records import ChainConfig
from chain_adapter.core import scan
from chain_adapter.core.deposits import Arrival, Memo, Sighting, Terms, Why, decide, fold
from chain_adapter.core.states import Deposit
from chain_adapter.errors import ConfigError
from chain_adapter.store import addresses, blocks, ledger, transfers
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers import reading
from chain_adapter.workers.reading import Ours, Reader

SECRET_KEY = "request_id_secret"
"""Where a record keeps its throw-away secret, in `meta`."""

_REFS_KEPT = 1024  # how far back a reorganisation under the scan can be followed


@dataclass(frozen=True, slots=True)
class Found:
    """One row of the report: a sum by (asset, txid, to, memo), in base units."""

    asset: str
    txid: str
    to: str
    memo: str
    amount: int
    height: int


@dataclass(frozen=True, slots=True)
class ScanReport:
    """`held`: what a balance proof refuted, or could not prove where it has to."""

    deposits: tuple[Found, ...]
    held: tuple[Found, ...]
    blocks: int
    seconds: float
    cpu_seconds: float
    internal_transfers: bool

    def as_json(self) -> dict[str, Any]:
        """As `scan --json` prints it: amounts are digit strings."""
        return {
            "deposits": [_plain(one) for one in self.deposits],
            "held": [_plain(one) for one in self.held],
            "blocks": self.blocks,
            "seconds": round(self.seconds, 6),
            "cpu_seconds": round(self.cpu_seconds, 6),
            "internal_transfers": self.internal_transfers,
        }


def _plain(row: Found) -> dict[str, Any]:
    return {**asdict(row), "amount": str(row.amount)}


class Scanner:
    """Guarantees: each block of the range is read, in order, on the one before it; the books it
    reads are not changed. Does not guarantee: that the newest of them stay on the chain.
    """

    def __init__(
        self,
        config: ChainConfig,
        chain: Reader,
        books: Store,
        *,
        record: Store | None = None,
        plugin_version: str = "",
    ) -> None:
        reading.check_memo(config, chain.info)
        self._config = config
        self._name = config.name
        self._chain = chain
        self._books = books
        self._record = record
        self._plugin_version = plugin_version
        self._how: blocks.Reading | None = None  # how the record is written
        self._refs: deque[BlockRef] = deque(maxlen=_REFS_KEPT)
        self._holding: list[Block] = []  # blocks with something that may be ours
        self._count = 0
        self._sees_internal = True

    async def run(self, from_height: int, to_height: int) -> ScanReport:
        """Read both ends and everything between. Raises `ConfigError` beyond the head,
        `Unavailable`."""
        if not 0 <= from_height <= to_height:
            raise ConfigError(f"no range of heights: {from_height} to {to_height}")
        ours = await reading.load(self._books, self._name, self._chain)
        if self._record is not None:
            _copy_addresses(self._books, self._record, self._name)
        begun, cpu_begun = time.monotonic(), _cpu_seconds()
        head = await self._chain.head()
        if head.ref.height < to_height:
            raise ConfigError(
                f"chain {self._name} ends at block {head.ref.height}: there is no {to_height} yet"
            )
        if self._record is not None:
            self._how = await self._begin_record(self._record, ours, head, from_height, to_height)
        await self._read(from_height, to_height, ours)
        deposits, held = await self._books.read(self._judge)
        return ScanReport(
            deposits,
            held,
            self._count,
            time.monotonic() - begun,
            _cpu_seconds() - cpu_begun,
            self._sees_internal and self._count > 0,
        )

    # --- reading ----------------------------------------------------------------------------------

    async def _read(self, from_height: int, to_height: int, ours: Ours) -> None:
        # What we sent is of no interest to a report; a record holds it like the books do.
        watch = Watch(ours.loaded.every) if self._record is None else ours.watch({})
        start = BlockRef(from_height - 1, "")
        while not await self._read_on(start, to_height, watch):
            await self._step_back()

    async def _read_on(self, start: BlockRef, to_height: int, watch: Watch) -> bool:
        """Read on behind the newest block; False when that is no longer on the chain."""
        after = self._refs[-1] if self._refs else start
        items = self._chain.blocks(after, to_height, watch)
        try:
            await reading.in_batches(items, self._take, scan.BATCH)
        except NotOnChain:
            return False
        return True

    async def _take(self, batch: list[Block]) -> None:
        self._refs.extend(block.ref for block in batch)
        self._count += len(batch)
        self._holding += [block for block in batch if block.transfers]
        self._sees_internal = self._sees_internal and all(block.internal for block in batch)
        how, record = self._how, self._record
        if how is not None and record is not None:
            await record.write(partial(_commit, how=how, batch=batch))

    async def _step_back(self) -> None:
        """The chain changed under the scan: forget the newest block and look again."""
        if not self._refs:
            raise NotOnChain(f"chain {self._name}: it changes faster than it can be read")
        gone = self._refs.pop()
        self._count -= 1
        self._holding = [block for block in self._holding if block.ref != gone]
        if self._record is None:
            return
        name, limit = self._name, self._chain.info.reorg_limit
        kept = await self._record.write(lambda tx: blocks.pop(tx, name, gone, 0, limit))
        while self._refs and self._refs[-1].height > kept:
            gone = self._refs.pop()
            self._count -= 1
            self._holding = [block for block in self._holding if block.ref != gone]

    # --- judging ----------------------------------------------------------------------------------

    def _judge(self, tx: Tx) -> tuple[tuple[Found, ...], tuple[Found, ...]]:
        terms = reading.deposit_terms(self._config, self._chain, identity="", secret=b"")
        shown = [one for block in self._holding for one in block.transfers]
        matched = {
            (one.transfer.txid, one.transfer.place): one
            for one in transfers.match(tx, self._name, shown, self._chain.address_key)
        }
        deposits: list[Found] = []
        held: list[Found] = []
        for block in self._holding:
            arrivals = [matched.get((one.txid, one.place)) for one in block.transfers]
            for sighting in fold(_canonical(arrivals)):
                kept = _kept_in(sighting, terms, deposits, held)
                if kept is not None:
                    kept.append(_found(sighting, block.ref.height))
        return tuple(deposits), tuple(held)

    # --- the record -------------------------------------------------------------------------------

    async def _begin_record(
        self, record: Store, ours: Ours, head: Head, from_height: int, to_height: int
    ) -> blocks.Reading:
        identity = await self._chain.identity()
        secret = secrets.token_bytes(32)

        def unit(tx: Tx) -> None:
            ledger.put(tx, SECRET_KEY, secret.hex())
            blocks.pin_identity(tx, self._name, identity)
            source = scan.source_of(self._config.confirmations, head)
            blocks.begin(tx, self._name, source, from_height)

        await record.write(unit)
        return blocks.Reading(
            terms=reading.deposit_terms(
                self._config, self._chain, identity=identity, secret=secret
            ),
            key_of=self._chain.address_key,
            counter=ours.counter,
            head_height=head.ref.height,
            reorg_limit=self._chain.info.reorg_limit,
            plugin_version=self._plugin_version,
            followed_from=to_height + 1,
            keeps_coins=reading.keeps_coins(self._chain.info),
            reader_of=self._chain.reader_of,
        )


def _commit(tx: Tx, how: blocks.Reading, batch: Sequence[Block]) -> blocks.Committed:
    return blocks.commit(tx, how, batch)


def _canonical(arrivals: Sequence[Arrival | None]) -> list[Arrival]:
    """The report spells addresses as the chain does, however they were registered."""
    return [replace(one, to=one.transfer.to) for one in arrivals if one is not None]


def _kept_in(
    sighting: Sighting, terms: Terms, deposits: list[Found], held: list[Found]
) -> list[Found] | None:
    """The list that a sighting belongs in; None for what the daemon would ignore."""
    asset = terms.assets.get(sighting.asset)
    if asset is None:
        return None
    decision = decide(sighting, asset, terms)
    if decision.state is Deposit.IGNORED:
        return None
    reason = decision.reason or ""
    return held if Why.REFUTED in reason or Why.UNPROVEN in reason else deposits


def _found(sighting: Sighting, height: int) -> Found:
    return Found(
        sighting.asset, sighting.txid, sighting.to, _memo(sighting.memo), sighting.amount, height
    )


def _memo(memo: Memo) -> str:
    """As text; what is no printable text as hex digits; "" when absent."""
    return memo.told if memo.told is not None else memo.raw.hex()


def _copy_addresses(books: Store, record: Store, name: str) -> None:
    """The record matches by its own addresses, as the daemon does by its own."""
    books.read_now(
        lambda source: record.write_now(lambda target: addresses.copy_all(source, target, name))
    )


def _cpu_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
