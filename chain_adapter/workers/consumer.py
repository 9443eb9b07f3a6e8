"""Asks the platform which withdrawals wait, one symbol at a time, and stores what it says.

consume -> every order stored with the signed answer that contained it -> known ones compared ->
what cannot be begun for too long is sent back, so that no twenty orders stop the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from chain_adapter.platform_api.messages import PAGE_SIZE, ConsumePage
from chain_adapter.store import ledger, orders
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.telemetry import METRICS
from chain_adapter.workers.terms import AssetTerms, Board, Page
from chain_adapter.workers.window import Window

log = structlog.get_logger(__name__)


class Platform(Protocol):
    """What the consumer asks of the platform."""

    async def consume(self, symbol: str) -> ConsumePage: ...


class Consumer:
    """Guarantees: an order is stored, with its warrant, before anything is done about it; a known
    trans_id never becomes a second payout; other content is held.

    Does not guarantee: that an order is seen at once, or in any order.
    """

    def __init__(
        self,
        chain: str,
        terms: AssetTerms,
        platform: Platform,
        store: Store,
        board: Board,
        *,
        poll_interval_s: float,
        hold_first_page: bool,
        on_orders: Callable[[], None],
    ) -> None:
        self._chain = chain
        self._terms = terms
        self._platform = platform
        self._store = store
        self._board = board
        self._poll_interval_s = poll_interval_s
        self._hold_first_page = hold_first_page
        self._on_orders = on_orders
        self._window = Window(chain, terms)

    def _now_us(self) -> int:
        return int(self._store.clock.now().timestamp() * 1_000_000)

    async def step(self) -> float:
        """One question; returns the pause until the next."""
        symbol = self._terms.symbol
        session = self._store.session
        asked_at = self._now_us()
        page = await self._platform.consume(symbol)
        count = len(page.orders) + len(page.bad_rows)
        full = count >= PAGE_SIZE

        def store_page(tx: Tx) -> tuple[int, bool]:
            # What was asked before the connection was lost no longer lists anything.
            fresh = tx.session == session
            new = self._take(tx, page, asked_at if fresh else 0, session)
            moved = self._window.look(tx, page, asked_at)
            return new, moved

        new, moved = await self._store.write(store_page)
        self._board.pages[symbol] = Page(asked_at, full, session)
        if full:
            METRICS.consume_full_pages.labels(symbol).inc()
        if new:
            log.info("orders", symbol=symbol, new=new)
        if new or moved or page.orders:
            self._on_orders()
        # A full page moves on as soon as its orders are claimed: ask again sooner.
        return min(self._poll_interval_s, 0.2) if full and new else self._poll_interval_s

    def _take(self, tx: Tx, page: ConsumePage, asked_at: int, session: str) -> int:
        symbol = self._terms.symbol
        key = f"first_page:{symbol}"
        hold_new = self._hold_first_page and ledger.get(tx, key) is None
        new = 0
        for order in page.orders:
            if not asked_at:
                break
            sighting = orders.Sighting(
                order.trans_id.text,
                order.trans_id.quoted,
                symbol,
                order.amount,
                order.address_to,
                order.memo,
            )
            outcome = orders.take(
                tx,
                self._chain,
                self._terms.asset,
                sighting,
                warrant=page.warrant.plaintext,
                warrant_sign=page.warrant.sign,
                asked_at=asked_at,
                hold_new=hold_new,
            )
            new += outcome == "new"
        if self._hold_first_page and asked_at and page.orders and ledger.get(tx, key) is None:
            ledger.put(tx, key, str(tx.now_us))
        subject = f"consume:{symbol}"
        if page.bad_rows:
            bad = page.bad_rows[0]
            raise_alarm(
                tx, "order_bad", subject,
                f"{len(page.bad_rows)} rows of {symbol} cannot be read, the first: {bad.why}",
                self._chain,
            )  # fmt: skip
        else:
            close_alarm(tx, "order_bad", subject, self._chain)
        if not page.bad_rows and len(page.orders) < PAGE_SIZE and asked_at:
            listed = {order.trans_id.text for order in page.orders}
            orders.heard(tx, self._chain, symbol, listed)
        return new
