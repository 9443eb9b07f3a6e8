"""Blocks into transfers: the hot path.

Batches of blocks are asked ahead, as many at once as the round trip needs. Of each block only what
touches us is kept: recipients are tested all at once, then logs are asked by block hash and
checked, then receipts for native hits and for what we sent, then balances for the proof.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import cast

from chain_adapter.chain import Block, BlockRef, NotOnChain, Unavailable
from chain_adapter_evm import proof, trace
from chain_adapter_evm.codec import ZERO_ADDRESS, created_address
from chain_adapter_evm.logs import check_logs, moves_of
from chain_adapter_evm.match import (
    Assets,
    Recipients,
    Senders,
    join_addresses,
    key_at,
    key_of,
    number,
)
from chain_adapter_evm.node import Node, NodeError, together
from chain_adapter_evm.outcome import Draft, finish
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import (
    BLOCK_RECEIPTS,
    BLOCKS,
    FRAMES,
    HEADERS,
    LOGS,
    OLD_TXS,
    RECEIPTS,
    TRACES,
    FullBlock,
    FullReceipt,
    Log,
    Receipt,
    Tx,
)

LOGS_METHOD = "logs"
RECEIPTS_METHOD = "receipts"
TRACE_BLOCK = "trace_block"
CALL_TRACER = "callTracer"
_ROUND_TRIPS = 3  # a batch makes: blocks, logs, receipts
_GUESSED_WORK_S = 0.006  # of a batch, until the first is done
_PLAIN_GAS = 21_000


@dataclass(frozen=True, slots=True)
class Source:
    """What every scan of one Chain has in common."""

    node: Node
    settings: Settings
    assets: Assets
    tracer: str | None  # TRACE_BLOCK, CALL_TRACER or None


@dataclass(frozen=True, slots=True)
class Part:
    """The blocks of one batch, and why the rest of it is missing."""

    blocks: list[Block]
    trouble: Exception | None


class Scan:
    """One call of `blocks`: from `after` to `last`, by one method.

    `head_height` is a height that the chain has reached, maybe long ago: it tells what is deep.
    """

    def __init__(
        self,
        source: Source,
        after: BlockRef,
        last: int,
        watch: tuple[Recipients, Senders],
        method: str,
        head_height: int,
    ) -> None:
        self._node = source.node
        self._where = source.node.name
        self._settings = source.settings
        self._assets = source.assets
        self._method = method
        self._tracer = source.tracer if method == LOGS_METHOD else None
        self._after = after
        self._last = last
        self._head_height = head_height
        self._to, self._senders = watch
        self._started_cpu_s = time.process_time()
        self._parts = 0  # finished

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """The blocks, in order. Raises `NotOnChain`, `Unavailable`."""
        tip = self._after
        following = self._after.height + 1
        tasks: deque[asyncio.Task[Part]] = deque()
        try:
            while following <= self._last or tasks:
                while following <= self._last and len(tasks) < self._window():
                    end = min(following + self._settings.batch - 1, self._last)
                    tasks.append(asyncio.create_task(self._part(following, end)))
                    following = end + 1
                part = await tasks[0]
                tasks.popleft()
                self._parts += 1
                for block in part.blocks:
                    if tip.hash and block.parent_hash != tip.hash:
                        await self._check_tip(tip)
                        raise Unavailable(
                            f"{self._where}: block {block.ref.height} does not follow block "
                            f"{tip.height} that it told before: it changed its mind while we read"
                        )
                    tip = block.ref
                    yield block
                if part.trouble is not None:
                    await self._check_tip(tip)
                    raise part.trouble
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _window(self) -> int:
        """Batches in flight: enough that the node's answers keep this process busy."""
        work_s = _GUESSED_WORK_S
        if self._parts:
            work_s = (time.process_time() - self._started_cpu_s) / self._parts
        needed = 2 + int(_ROUND_TRIPS * self._node.rtt_s / max(work_s, 1e-4))
        return min(needed, self._settings.window)

    async def _check_tip(self, tip: BlockRef) -> None:
        """`NotOnChain` if the node has another block at the tip's height."""
        if not tip.hash:
            return
        header = await self._node.call("eth_getBlockByNumber", [hex(tip.height), False], HEADERS)
        if header is not None and header.hash.lower() != tip.hash.lower():
            raise NotOnChain(
                f"{self._where}: block {tip.height} is {header.hash} there, ours is {tip.hash}"
            )

    # --- one batch ------------------------------------------------------------------------------

    async def _part(self, first: int, last: int) -> Part:
        params = [[hex(height), True] for height in range(first, last + 1)]
        answers = await self._node.batch("eth_getBlockByNumber", params, BLOCKS)
        opened: list[tuple[Draft, list[Tx]]] = []
        trouble: Exception | None = None
        for height, answer in enumerate(answers, first):
            if isinstance(answer, NodeError) or answer is None:
                trouble = answer or Unavailable(f"{self._where} lacks block {height}")
                break
            opened.append((self._open(height, answer), answer.transactions))
        if self._assets.native is not None:
            self._take_natives(opened)
        drafts = [draft for draft, _ in opened]
        del answers, opened
        if drafts:
            await self._events(drafts)
            await self._evidence(drafts)
        finished = [
            finish(self._where, draft, self._settings, self._assets, self._method)
            for draft in drafts
        ]
        return Part(finished, trouble)

    def _open(self, height: int, block: FullBlock) -> Draft:
        """The block without what is not ours."""
        if number(self._where, block.number) != height:
            raise Unavailable(f"{self._where} told block {block.number} for {hex(height)}")
        txs = block.transactions
        compared = self._tracer is not None or self._method == RECEIPTS_METHOD
        draft = Draft(
            ref=BlockRef(height, block.hash.lower()),
            parent_hash=block.parentHash.lower(),
            time=number(self._where, block.timestamp),
            bloom=block.logsBloom,
            count=len(txs),
            txids=[tx.hash for tx in txs] if compared else [],
        )
        if not txs:
            return draft
        draft.sent = self._senders.among(self._where, txs)
        return draft

    def _take_natives(self, opened: Sequence[tuple[Draft, list[Tx]]]) -> None:
        """Transactions that may pay us, found among those of all blocks at once."""
        paying: list[Tx] = []
        ends: list[int] = []
        for _, txs in opened:
            paying += [tx for tx in txs if tx.value != "0x0"]
            ends.append(len(paying))
        recipients = [tx.to for tx in paying]
        texts = [
            self._created(tx) if to is None else to
            for tx, to in zip(paying, recipients, strict=True)
        ] if None in recipients else cast(list[str], recipients)  # fmt: skip
        joined = join_addresses(self._where, texts)
        for index in self._to.among(joined):
            draft, _ = opened[bisect_right(ends, index)]
            draft.natives.append((paying[index], key_at(joined, index)))

    def _created(self, tx: Tx) -> str:
        """The address of the contract that a transaction creates, as a node spells it."""
        if tx.sender is None:
            return "0x" + ZERO_ADDRESS.hex()
        sender = key_of(self._where, tx.sender)
        return "0x" + created_address(sender, number(self._where, tx.nonce)).hex()

    # --- logs and calls -------------------------------------------------------------------------

    async def _events(self, drafts: list[Draft]) -> None:
        if self._method == RECEIPTS_METHOD:
            await self._all_receipts(drafts)
        elif self._tracer is None:
            await self._logs(drafts)
        else:
            await together(self._logs(drafts), self._calls(drafts))

    async def _logs(self, drafts: list[Draft]) -> None:
        asked = [draft for draft in drafts if draft.count or draft.bloom.strip("0x")]
        if not asked:
            return
        params = [[{"blockHash": draft.ref.hash}] for draft in asked]
        answers = await self._node.batch("eth_getLogs", params, LOGS)
        for draft, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NodeError):
                raise answer
            self._take_logs(draft, answer or [])

    async def _all_receipts(self, drafts: list[Draft]) -> None:
        asked = [draft for draft in drafts if draft.count]
        if not asked:
            return
        params = [[hex(draft.ref.height)] for draft in asked]
        answers = await self._node.batch("eth_getBlockReceipts", params, BLOCK_RECEIPTS)
        for draft, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NodeError):
                raise answer
            await self._take_receipts(draft, answer or [])

    async def _take_receipts(self, draft: Draft, receipts: list[FullReceipt]) -> None:
        if [receipt.transactionHash for receipt in receipts] != draft.txids:
            raise Unavailable(f"{self._where}: receipts of block {draft.ref.height} are not whole")
        wanted = {tx.hash for tx, _ in draft.natives} | {tx.hash for tx in draft.sent}
        for receipt in receipts:
            if receipt.blockHash.lower() != draft.ref.hash:
                raise Unavailable(f"{self._where}: receipts are of another block")
            if receipt.transactionHash in wanted:
                draft.receipts[receipt.transactionHash] = await self._whole(receipt)
        self._take_logs(draft, [log for receipt in receipts for log in receipt.logs])

    def _take_logs(self, draft: Draft, logs: list[Log]) -> None:
        height = draft.ref.height
        check_logs(
            self._where,
            (height, draft.ref.hash),
            draft.bloom,
            logs,
            near_head=height > self._head_height - self._settings.verify_depth,
            blooms=self._settings.blooms,
        )
        if not logs or not self._assets.by_contract:
            return
        own = {tx.hash: tx.sender or "" for tx in draft.sent}
        moves = moves_of(self._where, logs, self._assets, self._to, own, self._settings.mints)
        if moves is not None:
            draft.arrived, draft.left, draft.expected = moves.arrived, moves.left, moves.expected

    async def _calls(self, drafts: list[Draft]) -> None:
        asked = [draft for draft in drafts if draft.count]
        for draft in drafts:
            draft.internal = not draft.count  # an empty block moved nothing
        for draft, calls in zip(asked, await self._traces(asked), strict=True):
            draft.internal = calls is not None
            if calls is None or not calls.calls or self._assets.native is None:
                continue
            joined = join_addresses(self._where, [call.to for call in calls.calls])
            found = [
                (calls.calls[index], key_at(joined, index)) for index in self._to.among(joined)
            ]
            draft.calls = calls.settle(found)

    async def _traces(self, drafts: list[Draft]) -> list[trace.Calls | None]:
        """Calls of each block; None where the node no longer has the state and that is allowed."""
        if not drafts:
            return []
        found: list[trace.Calls | None] = []
        if self._tracer == TRACE_BLOCK:
            params = [[hex(draft.ref.height)] for draft in drafts]
            answers = await self._node.batch(TRACE_BLOCK, params, TRACES)
            for draft, answer in zip(drafts, answers, strict=True):
                if isinstance(answer, NodeError):
                    self._untraced(answer)
                    found.append(None)
                else:
                    traces = answer or []
                    found.append(
                        trace.from_traces(self._where, traces, draft.ref.hash, draft.txids)
                    )
            return found
        for draft in drafts:  # one by one: a node needs long for each
            try:
                frames = await self._node.call(
                    "debug_traceBlockByHash", [draft.ref.hash, {"tracer": "callTracer"}], FRAMES
                )
            except NodeError as error:
                self._untraced(error)
                found.append(None)
            else:
                found.append(trace.from_frames(self._where, frames or [], draft.txids))
        return found

    def _untraced(self, error: NodeError) -> None:
        if self._settings.traces == "required" or not error.no_state:
            raise error

    # --- receipts and proofs --------------------------------------------------------------------

    async def _evidence(self, drafts: list[Draft]) -> None:
        needed: list[tuple[Draft, str]] = []
        if self._method == LOGS_METHOD:
            for draft in drafts:
                hashes = dict.fromkeys([tx.hash for tx, _ in draft.natives])
                hashes |= dict.fromkeys([tx.hash for tx in draft.sent])
                needed += [(draft, txid) for txid in hashes]
        proofs = [self._prove(draft) for draft in drafts if draft.expected]
        if needed and proofs:
            await together(self._receipts(needed), *proofs)
        elif needed:
            await self._receipts(needed)
        elif proofs:
            await together(*proofs)

    async def _receipts(self, needed: Sequence[tuple[Draft, str]]) -> None:
        params = [[txid] for _, txid in needed]
        answers = await self._node.batch("eth_getTransactionReceipt", params, RECEIPTS)
        for (draft, txid), receipt in zip(needed, answers, strict=True):
            if isinstance(receipt, NodeError):
                raise receipt
            if receipt is None or receipt.transactionHash != txid:
                raise Unavailable(f"{self._where} has no receipt of {txid} yet")
            if receipt.blockHash.lower() != draft.ref.hash:
                raise Unavailable(f"{self._where}: the receipt of {txid} is of another block")
            draft.receipts[txid] = await self._whole(receipt)

    async def _whole(self, receipt: Receipt) -> Receipt:
        """The receipt with status and gas price, which very old ones lack."""
        if receipt.status is not None and receipt.effectiveGasPrice is not None:
            return receipt
        txid = receipt.transactionHash
        tx = await self._node.call("eth_getTransactionByHash", [txid], OLD_TXS)
        if tx is None:
            raise Unavailable(f"{self._where} lacks transaction {txid}")
        if receipt.effectiveGasPrice is None:
            receipt.effectiveGasPrice = tx.gasPrice
        if receipt.status is None and receipt.root is not None:
            # before Byzantium a failure burned all gas, and nothing else told of it
            gas = number(self._where, tx.gas)
            plain = gas == _PLAIN_GAS and tx.input == "0x"
            spared = number(self._where, receipt.gasUsed) < gas
            receipt.status = "0x1" if plain or spared else "0x0"
        return receipt

    async def _prove(self, draft: Draft) -> None:
        height = draft.ref.height
        draft.proofs = await proof.prove(
            self._node,
            (height, draft.ref.hash),
            (height - 1, draft.parent_hash),
            draft.expected,
            at_tip=height > self._head_height - proof.TIP_DEPTH,
        )
