"""Takes outbox items to the platform, a lane (symbol and call) at a time, one message in flight.

due items -> message with today's confirmations and balance -> call -> in one commit: the item
acknowledged and its deposit or payout moved; or the item delayed, put on its schedule, parked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from sqlalchemy import Row, select

from chain_adapter.core.states import Deposit, Payout
from chain_adapter.errors import (
    PlatformRefused,
    PlatformUnreachable,
    SigningRefused,
    SigningWaits,
)
from chain_adapter.platform_api import codes
from chain_adapter.platform_api.exact_json import BadMessage
from chain_adapter.platform_api.messages import (
    DepositNotice,
    InternalNotice,
    TransId,
    WithdrawalNotice,
)
from chain_adapter.store import outbox, payout_marks, payouts, payouts_end, schema
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import move_deposit, move_payout
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.terms import AssetTerms, Board

log = structlog.get_logger(__name__)
LANE_MOST = 32  # items of one reading of a lane
BACKOFF_MOST_S = 30.0
FAILING_AFTER = 5  # connection failures in a row before an alarm
HOUR_S = 3600


class Platform(Protocol):
    """What the courier says to the platform."""

    async def notify_deposit(self, notice: DepositNotice) -> None: ...

    async def notify_withdrawal(self, notice: WithdrawalNotice) -> None: ...

    async def cancel(self, symbol: str, trans_id: TransId, msg: str) -> None: ...

    async def notify_internal(self, notice: InternalNotice) -> None: ...


@dataclass(slots=True)
class Lane:
    """How the last tries of a lane went; memory only, a guess about the next."""

    failures: int = 0
    last_success_at: float = 0.0


class Courier:
    """Guarantees: an item is repeated until it is acknowledged, withdrawn, refused or parked; one
    message in flight a lane; claims of one account in lock order.

    Does not guarantee: that the platform hears a message only once; every call is idempotent.
    """

    def __init__(
        self,
        platform: Platform,
        store: Store,
        board: Board,
        assets: Callable[[str], tuple[AssetTerms, bool]],
        on_change: Callable[[], None],
        *,
        internal_notify: bool = True,
    ) -> None:
        self._platform = platform
        self._store = store
        self._board = board
        self._assets = assets  # symbol -> (terms, is memo chain)
        self._on_change = on_change
        self._internal_notify = internal_notify
        self.on_lane_done: Callable[[], None] = lambda: None
        self._lanes: dict[str, Lane] = {}
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._item_failures: dict[int, tuple[int, float]] = {}

    async def step(self) -> float:
        """Start a task for every lane that has something due; returns the pause.

        A lane that ends wakes the loop (`on_lane_done`), which starts it anew if more is due.
        """
        for name, task in list(self._running.items()):
            if task.done():
                del self._running[name]
                task.result()
        for name in await self._store.read(outbox.lanes):
            if name not in self._running:
                task = asyncio.create_task(self._run(name), name=f"lane {name}")
                self._running[name] = task
                task.add_done_callback(self._lane_done)
        return 0.25

    def _lane_done(self, task: asyncio.Task[bool]) -> None:
        # Only a lane that moved something is looked at again at once; one that found nothing
        # due, or met trouble, waits for the pause.
        if task.cancelled() or task.exception() is not None or task.result():
            self.on_lane_done()

    async def drain(self) -> None:
        """Wait for what is in flight (an orderly stop)."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=10)
        for task in self._running.values():
            task.cancel()

    async def _run(self, name: str) -> bool:
        """Send what is due in one lane; whether anything was."""
        lane = self._lanes.setdefault(name, Lane())
        heads = dict(self._board.heads)
        items = await self._store.read(lambda tx: outbox.due(tx, name, heads, LANE_MOST))
        for item in items:
            if not await self._send(lane, item):
                break
        return bool(items) and lane.failures == 0

    async def _send(self, lane: Lane, item: Row[Any]) -> bool:
        """One message; whether the lane may go on with the next."""
        body = json.loads(item.body)
        confirm = 0
        if item.grows:
            head = self._board.heads.get(item.chain, item.height or 0)
            confirm = max(head - (item.height or 0) + 1, 1)
        try:
            await self._call(item, body, confirm)
        except PlatformUnreachable as error:
            await self._delay(lane, item, None, str(error))
            return False
        except SigningRefused as error:
            # The signer seals no credit beyond the policy: this item waits, the lane goes on.
            code = "credit_limit" if isinstance(error, SigningWaits) else "signing_refused"
            await self._not_sealed(item, error.why, code)
            return True
        except PlatformRefused as error:
            if not error.row and not self._is_poor_cancel(item, error):
                await self._delay(lane, item, error.code, error.message)
                return False
            lane.failures = 0
            await self._refused(item, body, error)
            return True
        except BadMessage as error:
            await self._refused(item, body, PlatformRefused(item.call, 0, str(error), row=True))
            return True
        lane.failures = 0
        lane.last_success_at = self._store.clock.monotonic()
        self._item_failures.pop(item.id, None)
        await self._acknowledged(item, confirm)
        return True

    async def _call(self, item: Row[Any], body: dict[str, Any], confirm: int) -> None:
        if item.call == "withdraw/cancel":
            trans_id = TransId(body["trans_id"], body["quoted"])
            await self._platform.cancel(item.symbol, trans_id, body["msg"])
            return
        terms, _ = self._assets(item.symbol)
        balance = terms.told(self._board.balances.get((item.chain, terms.asset), 0))
        common: dict[str, Any] = {
            "symbol": item.symbol,
            "txid": body["txid"],
            "address_to": body["address_to"],
            "amount": body["amount"],
            "confirm": confirm,
            "balance": balance,
            "address_from": body.get("address_from"),
            "memo": body.get("memo"),
        }
        if item.call == "deposit/notify":
            await self._platform.notify_deposit(
                DepositNotice(request_id=body["request_id"], **common)
            )
        elif item.call == "withdraw/notify":
            trans_id = TransId(body["trans_id"], body["quoted"])
            await self._platform.notify_withdrawal(
                WithdrawalNotice(trans_id=trans_id, fee=body["fee"], **common)
            )
        elif self._internal_notify:
            await self._platform.notify_internal(InternalNotice(fee=body["fee"], **common))

    # --- what the answer changes ------------------------------------------------------------------

    async def _acknowledged(self, item: Row[Any], confirm: int) -> None:
        def unit(tx: Tx) -> None:
            done = outbox.acknowledge(tx, item, confirm)
            kind, _, number = item.subject.partition(":")
            close_alarm(tx, "outbox_parked", f"outbox:{item.id}", item.chain)
            close_alarm(tx, "credit_limit", item.subject, item.chain)
            if kind == "deposit" and done:
                _credited(tx, int(number))
            elif item.dedupe_key.startswith("claim:"):
                payouts.claimed(tx, int(number))
            elif item.dedupe_key.startswith("cancel:"):
                _cancelled(tx, int(number))
            elif kind == "payout" and done:
                row = payouts.get(tx, int(number))
                if row.final_txid == json.loads(item.body)["txid"]:
                    payouts_end.reported(tx, row.id)
            close_alarm(tx, "platform_unreachable", "platform")

        await self._store.write(unit)
        self._on_change()

    async def _refused(self, item: Row[Any], body: dict[str, Any], error: PlatformRefused) -> None:
        """A refusal of class row: what it means depends on what was said."""
        code, message = error.code, error.message
        kind, _, number = item.subject.partition(":")
        _, is_memo = self._assets(item.symbol)

        def unit(tx: Tx) -> None:
            if item.dedupe_key.startswith("claim:"):
                payouts.claim_refused(tx, item, int(number), code, message)
                return
            if item.dedupe_key.startswith("cancel:"):
                _cancel_refused(tx, item, int(number), code, message)
                return
            if kind == "deposit" and code == codes.ADDRESS_UNKNOWN and is_memo:
                _memo_unknown(tx, item, int(number), body, message)
                return
            parked = outbox.row_refused(tx, item, code, message)
            if item.dedupe_key.startswith("paid:"):
                row = payouts.get(tx, int(number))
                if row.held_reason is None:
                    payout_marks.hold(tx, row, "adapter", payouts.PAID_NOT_ACCEPTED)
                    raise_alarm(
                        tx, "paid_not_accepted", item.subject,
                        f"{row.symbol} {row.trans_id}: {code} {message[:200]}", item.chain,
                    )  # fmt: skip
            if parked:
                raise_alarm(
                    tx, "outbox_parked", f"outbox:{item.id}",
                    f"{item.call} of {item.subject}: {code} {message[:200]}", item.chain,
                )  # fmt: skip

        log.warning("refused", call=item.call, subject=item.subject, code=code)
        await self._store.write(unit)
        self._on_change()

    def _is_poor_cancel(self, item: Row[Any], error: PlatformRefused) -> bool:
        """A cancel answered "system error" five times over counts as refused."""
        return (
            item.call == "withdraw/cancel"
            and error.code == codes.SYSTEM_ERROR
            and self._item_failures.get(item.id, (0, 0.0))[0] + 1 >= FAILING_AFTER
        )

    async def _delay(self, lane: Lane, item: Row[Any], code: int | None, message: str) -> None:
        lane.failures += 1
        now = self._store.clock.monotonic()
        failures, since = self._item_failures.get(item.id, (0, now))
        failures += 1
        self._item_failures[item.id] = (failures, since)
        wait_s = min(0.25 * 2.0 ** min(failures, 10), BACKOFF_MOST_S)
        if lane.failures == 1:
            log.warning("platform_trouble", call=item.call, code=code, error=message[:300])
        is_claim = item.dedupe_key.startswith("claim:")

        def unit(tx: Tx) -> None:
            outbox.delay(tx, item, wait_s, code, message)
            if lane.failures >= FAILING_AFTER:
                raise_alarm(tx, "platform_unreachable", "platform", message[:300])
            if is_claim and failures >= FAILING_AFTER and self._others_succeed(since):
                raise_alarm(
                    tx, "claim_failing", item.subject, f"{code or 'no answer'}: {message[:200]}",
                    item.chain,
                )  # fmt: skip

        await self._store.write(unit)

    async def _not_sealed(self, item: Row[Any], why: str, code: str) -> None:
        def unit(tx: Tx) -> None:
            outbox.delay(tx, item, BACKOFF_MOST_S, None, why)
            raise_alarm(tx, code, item.subject, why, item.chain)

        await self._store.write(unit)

    def _others_succeed(self, since: float) -> bool:
        return any(lane.last_success_at > since for lane in self._lanes.values())


def _credited(tx: Tx, deposit_id: int) -> None:
    row = tx.one(select(schema.deposits).where(schema.deposits.c.id == deposit_id))
    if row is not None and row.state == Deposit.CONFIRMED:
        move_deposit(tx, row, Deposit.CREDITED, "acknowledged", credited_at=tx.now_us)


def _cancelled(tx: Tx, payout_id: int) -> None:
    row = payouts.get(tx, payout_id)
    if row.state == Payout.REFUSED:
        move_payout(tx, row, Payout.CANCELLED, "cancel acknowledged", ended_at=tx.now_us)


def _cancel_refused(tx: Tx, item: Row[Any], payout_id: int, code: int, message: str) -> None:
    """The platform does not take it back: only a person can find out what it believes."""
    parked = outbox.row_refused(tx, item, code, message)
    if not parked:
        outbox.close_as(tx, item.id, "parked")
    row = payouts.get(tx, payout_id)
    if row.held_reason is None:
        payout_marks.hold(tx, row, "adapter", f"cancel refused: {code} {message[:200]}")


def _memo_unknown(
    tx: Tx, item: Row[Any], deposit_id: int, body: dict[str, Any], message: str
) -> None:
    """1000017 on a memo coin: asked again after an hour, then it waits in the inbox."""
    if item.tries == 0:
        outbox.row_refused(tx, item, codes.ADDRESS_UNKNOWN, message)
        tx.run(
            outbox.T.update()
            .where(outbox.T.c.id == item.id)
            .values(next_at=tx.now_us + HOUR_S * 1_000_000)
        )
        return
    outbox.row_refused(tx, item, codes.ADDRESS_UNKNOWN, message)
    outbox.close_as(tx, item.id, "parked")
    row = tx.one(select(schema.deposits).where(schema.deposits.c.id == deposit_id))
    if row is None:
        return
    tx.insert_new(
        schema.inbox,
        {
            "chain": row.chain,
            "asset": row.asset,
            "txid": row.txid,
            "to": row.to,
            "memo_key": row.memo_key,
            "amount": row.amount,
            "height": row.height,
            "reason": "the platform knows no user with this memo",
            "state": "open",
            "opened_at": tx.now_us,
        },
    )
    raise_alarm(
        tx, "outbox_parked", f"outbox:{item.id}",
        f"deposit/notify of {item.subject}: no user has memo {body.get('memo', '')!r}", row.chain,
    )  # fmt: skip
