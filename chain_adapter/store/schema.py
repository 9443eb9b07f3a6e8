"""Every table and constraint on one page; the state edges stand in `core.states`.

Amounts are digit strings (SQLite integers end at 2^63). Times (`_at`) are integer microseconds
since the Unix epoch, UTC. Uniqueness is a constraint here, never a set in memory. No triggers, no
stored procedures. A change of this page is a migration (`store.migrations`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = 1
"""Version of this page, in `meta` under "schema"."""

metadata = MetaData()
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER PRIMARY KEY


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _text(name: str, *, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _maybe(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _big(name: str, default: int | None = None) -> Column[int]:
    value = None if default is None else text(str(default))
    return Column(name, BigInteger, nullable=False, server_default=value)


meta = Table("meta", metadata, Column("key", String(64), primary_key=True), _text("value"))
"""schema, ledger_id, created_by, record, first pages held …"""

chains = Table(
    "chains",
    metadata,
    Column("chain", String(64), primary_key=True),
    _maybe("identity"),  # the network, pinned at the first answer or by configuration
    _maybe("finality"),  # source of finality, fixed at first start
    _maybe("start_height", BigInteger),  # first height that must be in coverage
    _big("address_count", 0),  # raised by every insert of an address
    _big("head_height", 0),  # newest head told to us
    _big("settled_height", -1),  # every height up to here is final and looked at twice
)

pauses = Table(
    "pauses",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("asset", String(64), primary_key=True),  # "" pauses the whole chain
    _text("reason"),
    _text("who"),
    _big("paused_at"),
)

blocks = Table(
    "blocks",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    _text("hash"),
    _text("parent_hash"),
    _big("time"),  # Unix seconds, as the block says
    _big("clock"),
    _text("method"),
    _maybe("endpoint"),
    _flag("followed"),  # read at the head: looked at twice whatever it holds
)
"""Everything above the settled height and at least `reorg_limit`; the highest row is the tip."""

coverage = Table(
    "coverage",
    metadata,
    _id(),
    Column("chain", String(64), nullable=False),
    _big("from_height"),
    _big("to_height"),
    _text("method"),
    _text("plugin_version"),
    _text("assets"),  # names read for, sorted, joined by a comma
    _flag("internal"),  # whether value moved by contracts was read
    _big("look", 1),  # 1 first reading, 2 second look, 3 rescan
    Index("coverage_by_end", "chain", "look", "to_height"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("txid", String(128), primary_key=True),
    Column("place", String(128), primary_key=True),
    _big("height"),
    _text("block_hash"),
    _text("asset"),
    _text("to"),
    _text("amount"),
    _maybe("sender"),
    _maybe("memo", LargeBinary),
    _text("memo_key", default=""),
    _maybe("proof", Boolean),
    _maybe("lock"),
    _maybe("matures", BigInteger),
    _maybe("spent_txid"),
    _maybe("spent_height", BigInteger),
    Index("transfers_by_height", "chain", "height"),
    Index("transfers_by_spent", "chain", "spent_height"),
    Index(
        "transfers_by_lock",
        "chain",
        "lock",
        unique=True,
        sqlite_where=text("lock IS NOT NULL"),
        postgresql_where=text("lock IS NOT NULL"),
    ),
    Index("transfers_by_address", "chain", "to"),
)

addresses = Table(
    "addresses",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    _text("address"),  # the spelling that was or will be registered
    Column("role", String(16), nullable=False),
    _maybe("account", BigInteger),
    _maybe("idx", BigInteger),
    _maybe("registered_at", BigInteger),
    _flag("elsewhere"),  # imported: counts as registered by another system
    _maybe("memo"),
    _big("seq"),  # value of the chain's address counter when it was added
    UniqueConstraint("chain", "seq"),
)

deposits = Table(
    "deposits",
    metadata,
    _id(),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("chain", String(64), nullable=False),
    Column("asset", String(64), nullable=False),
    Column("symbol", String(64), nullable=False),
    Column("txid", String(128), nullable=False),
    Column("to", String(255), nullable=False),
    Column("memo_key", String(130), nullable=False),  # the memo, "", or "#" and its SHA-256
    _maybe("memo"),  # as it is told: printable ASCII
    _maybe("memo_hex"),  # as the chain holds it
    _text("amount"),  # base units
    _text("told"),  # platform units that are or will be notified
    _text("remainder"),  # base units finer than the platform holds
    _maybe("sender"),
    _big("height"),
    _text("block_hash"),
    Column("state", String(16), nullable=False),
    _maybe("reason"),
    _maybe("proof", Boolean),
    _flag("released"),  # an operator answered the rule that held it
    _big("seen_at"),
    _maybe("confirmed_at", BigInteger),
    _maybe("credited_at", BigInteger),
    UniqueConstraint("chain", "asset", "txid", "to", "memo_key"),
    Index("deposits_by_state", "chain", "state", "height"),
    Index("deposits_by_txid", "txid"),
    Index("deposits_by_to", "to"),
)

payouts = Table(
    "payouts",
    metadata,
    _id(),
    Column("kind", String(16), nullable=False),
    Column("symbol", String(64), nullable=False),
    Column("trans_id", String(128), nullable=False),
    _flag("trans_id_quoted"),  # goes back in the form it came
    Column("chain", String(64), nullable=False),
    Column("asset", String(64), nullable=False),
    _text("address_to"),  # as the platform gave it
    _maybe("to"),  # canonical, once screened
    _maybe("memo"),  # what is paid with
    _maybe("memo_told"),  # as the platform gave it
    _text("amount_told"),  # decimal, as the platform gave it
    _maybe("amount"),  # base units, once screened
    _maybe("sender"),
    _maybe("account", BigInteger),
    _maybe("idx", BigInteger),
    Column("state", String(16), nullable=False),
    _maybe("held_reason"),  # a mark beside the state: stops signing, claiming, cancelling
    _maybe("held_by"),
    _maybe("held_at", BigInteger),
    _maybe("reason"),  # why it was refused, or waits
    _maybe("claim_code", BigInteger),  # row-class code by which its claim was refused
    _maybe("warrant", LargeBinary),  # the platform's signed answer that contained it
    _maybe("warrant_sign"),
    _maybe("listed_session"),  # the session whose consume listed it last, same content
    _maybe("listed_at", BigInteger),
    _flag("ever_claimed"),
    _big("tries", 0),  # new attempts under other locks
    _big("received_at"),
    _maybe("claimed_at", BigInteger),
    _maybe("final_txid"),
    _maybe("final_height", BigInteger),
    _maybe("fee"),  # base units of the fee asset, all included attempts
    _maybe("ended_at", BigInteger),
    UniqueConstraint("kind", "symbol", "trans_id"),
    Index("payouts_by_state", "chain", "state"),
)
"""Every withdrawal, sweep, top-up and cold transfer. Never pruned."""

attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("chain", String(64), nullable=False),
    _maybe("txid", String(128)),  # none while reserved and unsigned
    Column("purpose", String(16), nullable=False),
    _text("sender"),
    _maybe("payload", LargeBinary),
    _maybe("raw", LargeBinary),
    _text("locks"),  # JSON list
    _text("max_fee"),
    _maybe("expires", BigInteger),
    _big("build_height"),  # newest final height when it was built
    _text("salt"),
    _big("built_at"),
    _maybe("signed_at", BigInteger),
    _maybe("sent_at", BigInteger),  # first broadcast
    _maybe("resent_height", BigInteger),  # head at the last broadcast
    _maybe("node_said"),  # a hint, never evidence
    _maybe("included_height", BigInteger),  # a cache that a pop clears
    _maybe("included_hash"),
    _maybe("ok", Boolean),
    _maybe("fee"),
    _flag("final"),
    _maybe("dead"),  # why, once proven
    _flag("adopted"),  # found in the signer's journal or on chain
    UniqueConstraint("chain", "txid"),
    Index("attempts_by_sender", "chain", "sender"),
    Index("attempts_by_inclusion", "chain", "included_height"),
    Index("attempts_open", "chain", "final", "included_height"),
)

attempt_payouts = Table(
    "attempt_payouts",
    metadata,
    Column("attempt_id", Id, ForeignKey("attempts.id"), primary_key=True),
    Column("payout_id", Id, ForeignKey("payouts.id"), primary_key=True),
    Index("attempt_payouts_by_payout", "payout_id"),
)

locks = Table(
    "locks",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("lock", String(255), primary_key=True),
    Column("payout_id", Id, ForeignKey("payouts.id"), nullable=False),
    Column("sender", String(255), nullable=False),
    _maybe("used_txid"),  # the transaction that used it, ours or not
    _maybe("used_height", BigInteger),
    Index("locks_by_payout", "payout_id"),
    Index("locks_by_use", "chain", "used_height"),
)

foreign_uses = Table(
    "foreign_uses",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("txid", String(128), primary_key=True),
    _text("sender"),
    _text("locks"),
    _big("height"),
    _text("block_hash"),
    _text("moved"),  # JSON: what it moved, to judge it if the journal knows it after all
    Column("ok", Boolean, nullable=False),
    _text("fee"),
    _maybe("acknowledged_by"),
    Index("foreign_uses_by_sender", "chain", "sender"),
)
"""Transactions that our addresses signed and no journal of ours knows."""

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("dedupe_key", String(255), nullable=False, unique=True),
    Column("lane", String(160), nullable=False),  # symbol and call: one message in flight
    Column("call", String(32), nullable=False),  # deposit/notify …
    Column("symbol", String(64), nullable=False),
    Column("chain", String(64), nullable=False),
    Column("subject", String(160), nullable=False),  # deposit:7, payout:12
    _maybe("order_key", String(255)),  # items that share it go out in order of `order_seq`
    _big("order_seq", 0),
    _text("body"),  # JSON: the fields that do not change
    _flag("grows"),  # told again as confirmations grow, until `depth` is acknowledged
    _maybe("height", BigInteger),  # what confirmations count from
    _big("depth", 0),
    _flag("held"),  # its payout is held by mark: waits for a person
    Column("state", String(16), nullable=False),  # open, acknowledged, parked, withdrawn, refused
    _big("acknowledged_confirm", -1),
    _big("tries", 0),  # failures of class row in a row
    _big("next_at", 0),
    _maybe("last_code", BigInteger),
    _maybe("last_error"),
    _big("created_at"),
    _maybe("acknowledged_at", BigInteger),
    Index("outbox_by_state", "state", "lane", "next_at"),
    Index("outbox_by_subject", "subject"),
    CheckConstraint(
        "state IN ('open','acknowledged','parked','withdrawn','refused')", name="outbox_state"
    ),
)

inbox = Table(
    "inbox",
    metadata,
    _id(),
    Column("chain", String(64), nullable=False),
    Column("asset", String(64), nullable=False),
    Column("txid", String(128), nullable=False),
    Column("to", String(255), nullable=False),
    Column("memo_key", String(130), nullable=False),
    _text("amount"),
    _big("height"),
    Column("reason", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # open, dismissed, assigned
    _maybe("note"),
    _maybe("who"),
    _big("opened_at"),
    UniqueConstraint("chain", "asset", "txid", "to", "memo_key", "reason"),
)

alarms = Table(
    "alarms",
    metadata,
    _id(),
    Column("code", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("severity", String(16), nullable=False),
    _text("message"),
    _big("opened_at"),
    _big("last_at"),
    _big("count", 1),
    _maybe("acknowledged_by"),
    _maybe("acknowledged_at", BigInteger),
    _maybe("acknowledged_reason"),
    _maybe("closed_at", BigInteger),
    Index(
        "alarms_open",
        "code",
        "subject",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("scope", String(64), primary_key=True),  # a chain, or "ledger"
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _big("at"),
    Column("what", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    _text("detail"),  # JSON
    Column("hash", String(64), nullable=False),  # SHA-256 over the previous hash and this row
    Index("events_by_subject", "subject"),
)
"""Append-only, hash-chained per scope."""

event_heads = Table(
    "event_heads",
    metadata,
    Column("scope", String(64), primary_key=True),
    _big("seq"),
    Column("hash", String(64), nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    _text("holder"),
    _big("fence"),
    _big("expires_at"),  # by the database's clock
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("chain", String(64), primary_key=True),
    Column("asset", String(64), primary_key=True),
    _text("result"),  # JSON
    _flag("clean"),
    _big("made_at"),
)
