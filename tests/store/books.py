"""A ledger on a real database with a clock that stands still, for tests of one module of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from chain_adapter.store import ledger, orders, payouts, schema
from chain_adapter.store.store import Tx

CHAIN, ASSET, SYMBOL = "ref", "REF", "REF"


class StillClock:
    """Moved by hand only."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, s: float) -> None:
        self.advance(s)

    def timeout(self, s: float) -> Any:
        raise NotImplementedError

    def advance(self, s: float) -> None:
        self.at += timedelta(seconds=s)


class Books:
    """`write` and `read` run a unit; `order` stores one as a consume answer would."""

    def __init__(self, url: str) -> None:
        self.clock = StillClock()
        self.store = ledger.create(url, self.clock, ledger_id="1" * 32)

    def close(self) -> None:
        self.store.close()

    def write(self, unit: Callable[[Tx], Any]) -> Any:
        return self.store.write_now(unit)

    def read(self, unit: Callable[[Tx], Any]) -> Any:
        return self.store.read_now(unit)

    def order(self, trans_id: str = "1", **changed: Any) -> str:
        """Take one sighting; what it meant."""
        fields = {
            "trans_id": trans_id, "quoted": False, "symbol": SYMBOL, "amount": "1",
            "address_to": "to", "memo": None, **changed,
        }  # fmt: skip
        sighting = orders.Sighting(**fields)
        asked_at = int(self.clock.now().timestamp() * 1_000_000)
        return str(
            self.write(
                lambda tx: orders.take(
                    tx, CHAIN, ASSET, sighting, warrant=b"signed", warrant_sign="s",
                    asked_at=asked_at, hold_new=False,
                )
            )
        )  # fmt: skip

    def payout(self, trans_id: str = "1") -> Any:
        return self.read(lambda tx: payouts.find(tx, "withdrawal", SYMBOL, trans_id))

    def rows(self, table: Any) -> list[Any]:
        return list(self.read(lambda tx: tx.all(table.select())))

    def alarms(self) -> set[str]:
        return {row.code for row in self.rows(schema.alarms) if row.closed_at is None}
