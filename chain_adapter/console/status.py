"""What `status` says: per chain how far it is, what waits, what is wrong; read from the books.

One read transaction -> `Status`, a value; command line, page, metrics and health show the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import and_, func, or_, select

from chain_adapter.config import ChainConfig, Config
from chain_adapter.core.states import Deposit, Kind, Payout, Role
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Tx

PAGE = 20
"""Withdrawals a page of the platform holds: so many that wait for ever stop all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """One chain. Heights are None before the first block; `pool` where nobody counted it."""

    tip: int | None = None
    head: int | None = None
    lag_s: float | None = None  # age of the tip while the head is above it
    pool: int | None = None
    queued: int = 0
    held: int = 0
    unsent: int = 0
    last_error: str | None = None
    paused: str | None = None  # its reason
    paused_assets: tuple[str, ...] = ()
    oldest_unsent_s: float | None = None
    stuck_windows: tuple[str, ...] = ()  # symbols whose full page waits for ever by configuration
    block_time_s: float = 10.0  # scales the limits of health; no part of what is shown

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        shown = asdict(self)
        del shown["block_time_s"]
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An open alarm, as shown."""

    id: int
    code: str
    severity: str
    subject: str
    message: str
    acknowledged: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All chains of the configuration, and what is wrong."""

    chains: Mapping[str, ChainStatus] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {"critical": 0, "warning": 0}
        for one in self.alarms:
            counts[one.severity] = counts.get(one.severity, 0) + 1
        return {
            "chains": {name: one.document() for name, one in self.chains.items()},
            "alarms": counts,
        }


def read_status(tx: Tx, config: Config, pools: Mapping[str, int] | None = None) -> Status:
    """The state of the books. `pools`: what the platform said last, where somebody knows it;
    elsewhere it is counted, which takes its time with millions of addresses."""
    alarms = schema.alarms
    opened = tx.all(select(alarms).where(alarms.c.closed_at.is_(None)).order_by(alarms.c.id))
    return Status(
        chains={
            name: _chain(
                tx,
                chain,
                [one for one in opened if _concerns(one.subject, chain)],
                (pools or {}).get(name),
            )
            for name, chain in config.chains.items()
            if chain.enabled
        },
        alarms=tuple(
            Alarm(
                id=one.id,
                code=one.code,
                severity=one.severity,
                subject=one.subject,
                message=one.message,
                acknowledged=one.acknowledged_at is not None,
                count=one._mapping["count"],
            )
            for one in opened
        ),
    )


def _concerns(subject: str, chain: ChainConfig) -> bool:
    """Whether an alarm's subject ("watcher main", "consume:ETH", "main") names this chain."""
    words = set(subject.replace(":", " ").replace("/", " ").split())
    return chain.name in words or any(one.symbol in words for one in chain.assets.values())


def _chain(tx: Tx, chain: ChainConfig, alarms: list[Any], pool: int | None) -> ChainStatus:
    name = chain.name
    known = tx.one(select(schema.chains).where(schema.chains.c.chain == name))
    blocks, outbox = schema.blocks, schema.outbox
    tip = tx.one(
        select(blocks.c.height, blocks.c.time)
        .where(blocks.c.chain == name)
        .order_by(blocks.c.height.desc())
        .limit(1)
    )
    head = known.head_height if known is not None and known.head_height else None
    if tip is not None:
        head = max(head or 0, tip.height)
    pauses = tx.all(select(schema.pauses).where(schema.pauses.c.chain == name))
    unsent = tx.one(
        select(func.count().label("waiting"), func.min(outbox.c.created_at).label("oldest")).where(
            outbox.c.chain == name,
            outbox.c.state == "open",
            outbox.c.acknowledged_confirm < 0,
            outbox.c.held.is_(False),
        )
    )
    waiting, oldest = (0, None) if unsent is None else (unsent.waiting, unsent.oldest)
    parked = _count(tx, outbox, outbox.c.chain == name, outbox.c.state == "parked")
    return ChainStatus(
        tip=tip.height if tip is not None else None,
        head=head,
        lag_s=_lag_s(tx, tip, head),
        pool=_pool(tx, name) if pool is None else pool,
        queued=_queued(tx, name),
        held=_held(tx, name),
        unsent=waiting + parked,
        last_error=_last_error(tx, name, alarms),
        paused=next((one.reason for one in pauses if one.asset == ""), None),
        paused_assets=tuple(sorted(one.asset for one in pauses if one.asset)),
        oldest_unsent_s=None if oldest is None else max(0.0, (tx.now_us - oldest) / 1e6),
        stuck_windows=_stuck_windows(tx, chain),
    )


def _lag_s(tx: Tx, tip: Any, head: int | None) -> float | None:
    if tip is None:
        return None
    if head is None or tip.height >= head:
        return 0.0
    return round(max(0.0, tx.now_us / 1e6 - int(tip.time)), 3)


def _count(tx: Tx, table: Any, *where: Any) -> int:
    return int(tx.value(select(func.count()).select_from(table).where(*where)) or 0)


def _queued(tx: Tx, chain: str) -> int:
    payouts = schema.payouts
    return _count(
        tx, payouts, payouts.c.chain == chain, payouts.c.state == Payout.QUEUED,
        payouts.c.held_reason.is_(None),
    )  # fmt: skip


def _held(tx: Tx, chain: str) -> int:
    deposits, payouts = schema.deposits, schema.payouts
    return _count(
        tx, deposits, deposits.c.chain == chain, deposits.c.state == Deposit.HELD
    ) + _count(tx, payouts, payouts.c.chain == chain, payouts.c.held_reason.is_not(None))


def _pool(tx: Tx, chain: str) -> int:
    """What the platform said last, if it was written down; else registered addresses that
    nothing was ever paid to."""
    said = ledger.get(tx, f"pool:{chain}")
    if said is not None and said.isdigit():
        return int(said)
    addresses, deposits = schema.addresses, schema.deposits
    registered = _count(
        tx, addresses, addresses.c.chain == chain, addresses.c.role == Role.DEPOSIT,
        addresses.c.registered_at.is_not(None),
    )  # fmt: skip
    used = tx.value(
        select(func.count(func.distinct(addresses.c.address)))
        .select_from(addresses)
        .join(
            deposits,
            and_(deposits.c.chain == addresses.c.chain, deposits.c.to == addresses.c.address),
        )
        .where(
            addresses.c.chain == chain,
            addresses.c.role == Role.DEPOSIT,
            addresses.c.registered_at.is_not(None),
        )
    )
    return registered - int(used or 0)


def _last_error(tx: Tx, chain: str, alarms: list[Any]) -> str | None:
    if alarms:
        newest = max(alarms, key=lambda one: one.last_at)
        return f"{newest.code}: {newest.message}"
    outbox = schema.outbox
    failing = tx.value(
        select(outbox.c.last_error)
        .where(
            outbox.c.chain == chain,
            outbox.c.last_error.is_not(None),
            or_(outbox.c.state == "open", outbox.c.state == "parked"),
        )
        .order_by(outbox.c.next_at.desc(), outbox.c.id.desc())
        .limit(1)
    )
    return None if failing is None else str(failing)


def _stuck_windows(tx: Tx, chain: ChainConfig) -> tuple[str, ...]:
    """Symbols that never send back what waits, and have a full page of it (docs/laws.md 2.12)."""
    payouts = schema.payouts
    return tuple(
        asset.symbol
        for asset in chain.assets.values()
        if asset.hold_limit_s is None
        and _count(
            tx,
            payouts,
            payouts.c.kind == Kind.WITHDRAWAL,
            payouts.c.symbol == asset.symbol,
            payouts.c.state == Payout.QUEUED,
            payouts.c.ever_claimed.is_(False),
            payouts.c.received_at <= tx.now_us - int(asset.window_s * 1_000_000),
        )
        >= PAGE
    )
