"""What a merchant that was down has missed: the sync lists, followed into the same hand-off.

max_id -> page of 100 -> each record handed on (once, whoever told first) -> cursor moved.
A record that is not at its end yet is noted and asked again by its id, since the list will not
bring it a second time. The cursor moves only after everything below it is marked.
Guarantees: every record of the lists is handed on once it is final. Does not guarantee an order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from chain_adapter.callbacks.client import MerchantClient
from chain_adapter.callbacks.events import (
    CallbackRefused,
    DepositUpdate,
    Event,
    NotNow,
    WithdrawalUpdate,
)
from chain_adapter.callbacks.handoff import HandOff, Verdict
from chain_adapter.callbacks.rows import CallbackRow
from chain_adapter.callbacks.waas import (
    deposit_event,
    miner_fee_event,
    transfer_event,
    withdrawal_event,
)
from chain_adapter.errors import PlatformUnreachable
from chain_adapter.platform_api.exact_json import BadMessage

log = logging.getLogger(__name__)


class SyncStore(Protocol):
    """How far the lists were followed; `SqliteStore` is one."""

    async def cursor(self, name: str) -> int: ...

    async def advance(self, name: str, max_id: int, opened: list[str]) -> None: ...

    async def open_records(self, name: str) -> list[str]: ...

    async def close_record(self, name: str, record: str) -> None: ...


@dataclass(frozen=True, slots=True)
class List:
    """One sync list. `by_ids` asks for single records; `id_field` is what that call wants."""

    name: str
    sync: str
    by_ids: str | None
    id_field: str
    event: Callable[[CallbackRow], Event]


LISTS = (
    List("deposit", "billing/syncDepositList", "billing/depositList", "id", deposit_event),
    List("withdraw", "billing/syncWithdrawList", "billing/withdrawList", "request_id",
         withdrawal_event),
    List("minerfee", "billing/syncMinerFeeList", None, "id", miner_fee_event),
    List("transfer", "account/syncTransferList", None, "id", transfer_event),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Synced:
    """What one round brought. `refused` names records that contradict or cannot be read."""

    handed_on: int
    known: int
    open: int
    refused: tuple[str, ...]


class Sync:
    """Follows all lists, or those named; one round at a time."""

    def __init__(
        self,
        client: MerchantClient,
        hand_off: HandOff,
        store: SyncStore,
        lists: tuple[List, ...] = LISTS,
    ) -> None:
        self._client = client
        self._hand_off = hand_off
        self._store = store
        self._lists = lists
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self) -> Synced:
        """One round to the end of every list.

        Raises `PlatformUnreachable`, `MerchantCallRefused`, and what the merchant's own code
        raises; what was handed on until then is marked.
        """
        counts = _Counts()
        async with self._one_at_a_time:
            for one in self._lists:
                await self._again(one, counts)
                await self._follow(one, counts)
        return Synced(counts.handed_on, counts.known, counts.open, tuple(counts.refused))

    async def _follow(self, one: List, counts: _Counts) -> None:
        max_id = await self._store.cursor(one.name)
        while rows := await self._client.page(one.sync, max_id):
            highest, opened = max_id, []
            for row in rows:
                record = _id_of(row, one.sync)
                if record <= max_id:
                    raise PlatformUnreachable(
                        f"{one.sync}: record {record} is not above max_id {max_id}"
                    )
                highest = max(highest, record)
                if not await self._offer(one, row, counts):
                    opened.append(row.word(one.id_field))
            await self._store.advance(one.name, highest, opened)
            max_id = highest
            counts.open += len(opened)

    async def _again(self, one: List, counts: _Counts) -> None:
        opened = await self._store.open_records(one.name)
        if one.by_ids is None or not opened:
            return
        for row in await self._client.by_ids(one.by_ids, opened):
            if await self._offer(one, row, counts):
                await self._store.close_record(one.name, row.word(one.id_field))
            else:
                counts.open += 1

    async def _offer(self, one: List, row: CallbackRow, counts: _Counts) -> bool:
        """Whether the record has come to its end and need not be asked for again."""
        try:
            event = one.event(row)
            verdict = await self._hand_off.offer(event)
        except (BadMessage, CallbackRefused) as error:
            log.warning("%s: record refused: %s", one.sync, error)
            counts.refused.append(str(error))
            return True  # asking again would bring the same
        except NotNow as error:
            if one.by_ids is None:
                raise  # it could not be asked again: the cursor stays below it
            log.info("%s: not yet: %s", one.sync, error)
            return False
        counts.handed_on += verdict is Verdict.NEW
        counts.known += verdict is not Verdict.NEW
        if verdict is Verdict.STALE:
            return True
        return not isinstance(event, DepositUpdate | WithdrawalUpdate) or event.state == "failed"


@dataclass(slots=True)
class _Counts:
    handed_on: int = 0
    known: int = 0
    open: int = 0
    refused: list[str] = field(default_factory=list)


def _id_of(row: CallbackRow, path: str) -> int:
    try:
        return row.whole("id")
    except BadMessage as error:
        raise PlatformUnreachable(f"{path}: {error}") from None
