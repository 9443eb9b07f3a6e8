"""A day's books against the chain, read again, and against the platform's records.

The deciding time is the block's own: a movement belongs to the day of its block, in the zone of
the configuration. Heights of the day -> blocks read again -> compared -> balances -> platform ->
kept, with an alarm when something differs.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from chain_adapter.chain import Block, BlockRef, Chain, Unavailable, Watch
from chain_adapter.config.records import ChainConfig
from chain_adapter.core import reconcile
from chain_adapter.core.deposits import fold
from chain_adapter.core.reconcile import Difference, Entry
from chain_adapter.core.states import Role
from chain_adapter.store import daybooks, transfers, treasury
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers import reading
from chain_adapter.workers.reading import Reader


@dataclass(frozen=True, slots=True)
class PlatformRecords:
    """What the platform says it has: deposits and withdrawals, amounts in its own units.

    `complete=False`: one merchant's view.
    """

    deposits: tuple[Entry, ...]
    withdrawals: tuple[Entry, ...]
    complete: bool
    source: str


@dataclass(slots=True)
class DayReport:
    """The result for one chain."""

    chain: str
    day: str
    first_height: int
    last_height: int
    is_whole: bool  # false while the day, or its finality, is not over
    counts: dict[str, int] = field(default_factory=dict)
    not_visible: int = 0
    platform: str = "not asked"
    differences: list[Difference] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "chain": self.chain,
            "day": self.day,
            "decided_by": "the time of the block",
            "first_height": self.first_height,
            "last_height": self.last_height,
            "whole": self.is_whole,
            "counts": self.counts,
            "platform": self.platform,
            "not_visible": self.not_visible,
            "differences": [one.row() for one in self.differences],
        }


class Reconciler:
    """Guarantees: nothing is changed but the kept result; every difference has a reason.

    Does not guarantee: to see what a merchant cannot see, or balances before the first snapshot.
    """

    def __init__(
        self,
        config: ChainConfig,
        chain: Chain,
        reader: Reader,
        store: Store,
        *,
        zone: str = "UTC",
        internal_notify: bool = True,
    ) -> None:
        self._config = config
        self._name = config.name
        self._chain = chain
        self._reader = reader
        self._store = store
        self._zone = ZoneInfo(zone)
        self._internal_notify = internal_notify

    async def run(self, day: datetime.date, platform: PlatformRecords | None = None) -> DayReport:
        """Compare one day. Raises `Unavailable`."""
        first, last, whole = await self._heights(day)
        report = DayReport(self._name, day.isoformat(), first, last, whole)
        shown = await self._read(first, last) if first <= last else []
        chain_deposits, chain_payments = await self._store.read(
            partial(self._as_entries, shown=shown)
        )
        await self._store.read(
            partial(
                self._compare, report=report, on_chain=(chain_deposits, chain_payments),
                platform=platform,
            )
        )  # fmt: skip
        balances = await self._balances(report)
        await self._store.write(partial(self._keep, report=report, balances=balances))
        return report

    # --- chain ------------------------------------------------------------------------------------

    async def _heights(self, day: datetime.date) -> tuple[int, int, bool]:
        """First and last settled height of the day, and whether the day is all settled."""
        start = datetime.datetime.combine(day, datetime.time(), self._zone)
        end = datetime.datetime.combine(
            day + datetime.timedelta(days=1), datetime.time(), self._zone
        )
        settled = await self._store.read(partial(treasury.settled_height, chain=self._name))
        low = await self._store.read(partial(daybooks.start_height, chain=self._name))
        first = await self._first_at(int(start.timestamp()), low, settled)
        behind = await self._first_at(int(end.timestamp()), first, settled)
        return first, behind - 1, behind <= settled

    async def _first_at(self, time_s: int, low: int, high: int) -> int:
        """The first height whose block is at or after a time; high + 1 when there is none."""
        high += 1
        while low < high:
            middle = (low + high) // 2
            if (await self._block(middle)).time >= time_s:
                high = middle
            else:
                low = middle + 1
        return low

    async def _block(self, height: int) -> Block:
        async for block in self._chain.blocks(BlockRef(height - 1, ""), height, Watch(frozenset())):
            return block
        raise Unavailable(f"chain {self._name}: block {height} cannot be read")

    async def _read(self, first: int, last: int) -> list[Block]:
        ours = await reading.load(self._store, self._name, self._reader)
        kept = []
        async for block in self._chain.blocks(BlockRef(first - 1, ""), last, ours.watch({})):
            if block.transfers or block.sent:
                kept.append(block)
        return kept

    def _as_entries(self, tx: Tx, shown: Sequence[Block]) -> tuple[list[Entry], list[Entry]]:
        terms = reading.deposit_terms(self._config, self._reader, identity="", secret=b"")
        deposits, payments = [], []
        for block in shown:
            arrivals = transfers.match(tx, self._name, block.transfers, self._chain.address_key)
            for one in fold(arrivals):
                asset = terms.assets.get(one.asset)
                if not one.credited or asset is None or one.own:
                    continue
                deposits.append(
                    Entry((one.asset, one.txid, one.to, one.memo.key), one.amount, subject=one.txid)
                )
        for block in transfers.own_sent(tx, self._name, shown, self._chain.address_key):
            payments += [
                Entry((sent.txid,), 0, "ok" if sent.ok else "failed", sent.fee, sent.txid)
                for sent in block.sent
            ]
        return deposits, payments

    # --- comparing --------------------------------------------------------------------------------

    def _compare(
        self,
        tx: Tx,
        report: DayReport,
        on_chain: tuple[list[Entry], list[Entry]],
        platform: PlatformRecords | None,
    ) -> None:
        name, first, last = self._name, report.first_height, report.last_height
        deposits = daybooks.deposits(tx, name, first, last)
        payments = daybooks.payments(tx, name, first, last)
        told = [one for one in deposits if one.status != "IGNORED"]
        ignored = {one.key for one in deposits if one.status == "IGNORED"}
        chain_deposits = [one for one in on_chain[0] if one.key not in ignored]
        found = report.differences
        found += reconcile.deposits_with_chain(told, chain_deposits)
        found += reconcile.payments_with_chain(payments, on_chain[1])
        found += daybooks.untold_fees(tx, name, first, last, internal_notify=self._internal_notify)
        found += daybooks.not_accepted(tx, name, first, last)
        found += daybooks.open_inbox(tx, name, first, last)
        withdrawals = daybooks.paid_withdrawals(tx, name, first, last)
        report.counts = {
            "deposits": len(told),
            "deposits_ignored": len(ignored),
            "withdrawals": len(withdrawals),
            "transactions": len(payments),
        }
        if platform is not None:
            self._with_platform(tx, report, platform, withdrawals)

    def _with_platform(
        self, tx: Tx, report: DayReport, platform: PlatformRecords, withdrawals: Sequence[Any]
    ) -> None:
        symbols = {one.symbol: one for one in self._config.assets.values()}
        books = daybooks.acknowledged_deposits(
            tx, self._name, report.first_height, report.last_height
        )
        fee_asset = self._config.asset(self._chain.info.fee_asset)
        paid = [
            Entry(
                (row.symbol, row.final_txid, row.trans_id if row.trans_id else ""),
                _platform_units(int(row.amount), symbols[row.symbol]),
                "success",
                _platform_units(int(row.fee or 0), fee_asset),
                row.trans_id,
            )
            for row in withdrawals
        ]
        # Records without our trans_id are matched by what both know.
        with_id = any(one.key[2] for one in platform.withdrawals)
        if not with_id:
            paid = [Entry((e.key[0], e.key[1], ""), e.amount, e.status, e.fee, e.subject)
                    for e in paid]  # fmt: skip
        ours = frozenset(symbols)
        for kind, mine, theirs in (
            ("deposit", books, platform.deposits),
            ("withdrawal", paid, platform.withdrawals),
        ):
            rows = [one for one in theirs if one.key[0] in ours]
            differences, invisible = reconcile.with_platform(
                kind, mine, rows, complete=platform.complete
            )
            report.differences += differences
            report.not_visible += invisible
        report.platform = platform.source

    # --- balances ---------------------------------------------------------------------------------

    async def _balances(self, report: DayReport) -> Mapping[str, Mapping[str, list[str]]]:
        """Hot, gas and cold addresses: what they hold now, against the last note and movements."""
        noted: dict[str, dict[str, list[str]]] = {}
        roles = (Role.HOT, Role.GAS)
        own = await self._store.read(partial(daybooks.own_addresses, chain=self._name, roles=roles))
        fee_asset = self._chain.info.fee_asset
        for asset in self._config.assets:
            before = await self._store.read(
                partial(
                    daybooks.last_snapshot, chain=self._name, asset=asset, before_day=report.day
                )
            )
            here = noted.setdefault(asset, {})
            for address in own:
                balance = await self._chain.balance(address, asset)
                here[address] = [str(balance.amount), str(balance.at.height)]
                old = (before or {}).get(address)
                tip = await self._store.read(partial(daybooks.tip_height, chain=self._name))
                if old is None or balance.at.height > tip:
                    continue  # nothing to hold it against, or blocks that we have not read
                moved = await self._store.read(
                    partial(
                        daybooks.movement, chain=self._name, address=address, asset=asset,
                        fee_asset=fee_asset, after=int(old[1]), to=balance.at.height,
                    )
                )  # fmt: skip
                report.differences += reconcile.balance(
                    f"{address} {asset}", int(old[0]) + moved, balance.amount
                )
        return noted

    def _keep(
        self, tx: Tx, report: DayReport, balances: Mapping[str, Mapping[str, list[str]]]
    ) -> None:
        clean = not report.differences
        for asset in self._config.assets:
            daybooks.keep(
                tx, report.day, self._name, asset,
                {**report.document(), "balances": balances.get(asset, {})}, clean=clean,
            )  # fmt: skip
        subject = f"{self._name}:{report.day}"
        if clean:
            close_alarm(tx, "reconciliation", subject, self._name)
        else:
            reasons = sorted({one.reason for one in report.differences})
            raise_alarm(
                tx, "reconciliation", subject,
                f"{len(report.differences)} differences: {', '.join(reasons)}", self._name,
            )  # fmt: skip


def _platform_units(amount: int, asset: Any) -> int:
    shift = asset.platform_decimals - asset.decimals
    return int(amount * 10**shift) if shift >= 0 else int(amount // 10**-shift)
