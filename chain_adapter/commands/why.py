"""`why`: one timeline of a transaction, a withdrawal or an address; what holds it; what is next.

The text is looked for everywhere it may stand; what is found names its events and messages; the
timeline is all of them in order of time, `next` says what the first unfinished one waits for.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, or_, select

from chain_adapter.assembly import pure_chain
from chain_adapter.chain import InvalidAddress
from chain_adapter.commands import outlook
from chain_adapter.commands.books import opened
from chain_adapter.commands.output import harmless, iso, print_json
from chain_adapter.config import Config, load
from chain_adapter.core.states import Role
from chain_adapter.store import schema
from chain_adapter.store.store import Tx


@dataclass(slots=True)
class Found:
    """Everything in the books that the text names."""

    deposits: list[Row[Any]] = field(default_factory=list)
    payouts: list[Row[Any]] = field(default_factory=list)
    addresses: list[Row[Any]] = field(default_factory=list)
    transfers: list[Row[Any]] = field(default_factory=list)
    inbox: list[Row[Any]] = field(default_factory=list)
    foreign: list[Row[Any]] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        return any(
            (self.deposits, self.payouts, self.addresses, self.transfers, self.inbox, self.foreign)
        )


def why(args: Namespace) -> int:
    config = load(args.config)
    subject = args.subject.strip()
    spellings = _spellings(config, subject)
    with opened(config) as store:
        answer = store.read_now(lambda tx: explain(tx, config, subject, spellings))
    if args.json:
        print_json(answer)
    else:
        for line in answer["timeline"]:
            print(harmless(f"{line['at'] or '-'}  {line['what']}"))
            if line["detail"]:
                print(harmless(f"    {line['detail']}"))
        if not answer["timeline"]:
            print("nothing is known of it")
        if answer["held_by"]:
            print(f"\nheld by: {harmless(answer['held_by'])}")
        print(f"\nnext: {harmless(answer['next'])}")
    return 0 if answer["timeline"] else 1


def _spellings(config: Config, text: str) -> dict[str, tuple[str, bytes]]:
    """chain -> (canonical spelling, key), where the text is an address of that chain."""
    found: dict[str, tuple[str, bytes]] = {}
    for name, chain in config.chains.items():
        pure = pure_chain(chain)
        try:
            canonical = pure.parse_address(text)
        except InvalidAddress:
            continue
        found[name] = (canonical, pure.address_key(canonical))
    return found


def explain(
    tx: Tx, config: Config, subject: str, spellings: dict[str, tuple[str, bytes]]
) -> dict[str, Any]:
    """The answer as JSON has it."""
    found = _find(tx, subject, spellings)
    lines = sorted(_lines(tx, found), key=lambda line: line[0])
    held_by, then = _outlook(tx, config, found, spellings)
    return {
        "subject": subject,
        "timeline": [
            {"at": iso(at) if at else None, "what": what, "detail": detail}
            for at, what, detail in lines
        ],
        "held_by": held_by,
        "next": then,
    }


def _find(tx: Tx, text: str, spellings: dict[str, tuple[str, bytes]]) -> Found:
    texts = {text, text.lower(), *(canonical for canonical, _ in spellings.values())}
    found = Found()
    for chain, (_, key) in spellings.items():
        table_ = schema.addresses
        found.addresses += tx.all(
            select(table_).where(table_.c.chain == chain, table_.c.key == key)
        )
    texts |= {row.address for row in found.addresses}
    deposits = schema.deposits
    found.deposits = list(
        tx.all(
            select(deposits)
            .where(
                or_(
                    deposits.c.txid.in_(texts),
                    deposits.c.request_id.in_(texts),
                    deposits.c.to.in_(texts),
                )
            )
            .order_by(deposits.c.id)
        )
    )
    found.payouts = list(_payouts(tx, texts))
    transfers, inbox, foreign = schema.transfers, schema.inbox, schema.foreign_uses
    told = {(row.chain, row.txid, row.to) for row in found.deposits}
    found.transfers = [
        row
        for row in tx.all(
            select(transfers).where(or_(transfers.c.txid.in_(texts), transfers.c.to.in_(texts)))
        )
        if (row.chain, row.txid, row.to) not in told
    ]
    found.inbox = list(
        tx.all(select(inbox).where(or_(inbox.c.txid.in_(texts), inbox.c.to.in_(texts))))
    )
    found.foreign = list(tx.all(select(foreign).where(foreign.c.txid.in_(texts))))
    return found


def _payouts(tx: Tx, texts: Iterable[str]) -> Iterable[Row[Any]]:
    payouts, attempts, links = schema.payouts, schema.attempts, schema.attempt_payouts
    by_attempt = (
        select(links.c.payout_id)
        .join(attempts, attempts.c.id == links.c.attempt_id)
        .where(attempts.c.txid.in_(texts))
    )
    return tx.all(
        select(payouts)
        .where(
            or_(
                payouts.c.trans_id.in_(texts),
                payouts.c.address_to.in_(texts),
                payouts.c.to.in_(texts),
                payouts.c.final_txid.in_(texts),
                payouts.c.id.in_(by_attempt),
            )
        )
        .order_by(payouts.c.id)
    )


# --- the timeline ---------------------------------------------------------------------------------

Line = tuple[int, str, str]
"""(microseconds, what, detail)."""


def _lines(tx: Tx, found: Found) -> list[Line]:
    subjects = [f"deposit:{row.id}" for row in found.deposits]
    subjects += [f"payout:{row.id}" for row in found.payouts]
    subjects += [f"inbox:{row.id}" for row in found.inbox]
    lines: list[Line] = []
    for start in range(0, len(subjects), 500):
        events = schema.events
        lines += [
            (row.at, _what(row), _detail(json.loads(row.detail)))
            for row in tx.all(
                select(events)
                .where(events.c.subject.in_(subjects[start : start + 500]))
                .order_by(events.c.at, events.c.scope, events.c.seq)
            )
        ]
    for row in found.addresses:
        lines += _address_lines(row)
    for row in found.transfers:
        block = tx.value(
            select(schema.blocks.c.time).where(
                schema.blocks.c.chain == row.chain, schema.blocks.c.height == row.height
            )
        )
        facts = {
            "chain": row.chain, "asset": row.asset, "amount": row.amount, "to": row.to,
            "txid": row.txid, "height": row.height,
        }  # fmt: skip
        lines.append((int(block or 0) * 1_000_000, "transfer", _detail(facts)))
    for row in found.inbox:
        facts = {"reason": row.reason, "state": row.state, "amount": row.amount, "txid": row.txid}
        lines.append((row.opened_at, f"inbox:{row.id} opened", _detail(facts)))
    for row in found.foreign:
        facts = {
            "chain": row.chain, "sender": row.sender, "height": row.height,
            "acknowledged_by": row.acknowledged_by,
        }  # fmt: skip
        lines.append((0, "foreign use of a key of ours", _detail(facts)))
    lines += _messages(tx, subjects)
    return lines


def _what(row: Row[Any]) -> str:
    """payout:7 and "payout SIGNED": payout:7 SIGNED."""
    kind = row.subject.partition(":")[0]
    return f"{row.subject} {row.what.removeprefix(kind + ' ')}"


def _address_lines(row: Row[Any]) -> list[Line]:
    facts = _detail({"chain": row.chain, "address": row.address, "role": row.role})
    if row.registered_at is not None:
        return [(row.registered_at, "address registered", facts)]
    word = "address imported" if row.elsewhere else "address stored, not registered"
    return [(0, word, facts)]


def _messages(tx: Tx, subjects: list[str]) -> list[Line]:
    """Messages to the platform that wait: what was answered is in the events."""
    outbox = schema.outbox
    lines: list[Line] = []
    for start in range(0, len(subjects), 500):
        for row in tx.all(
            select(outbox).where(
                outbox.c.subject.in_(subjects[start : start + 500]),
                outbox.c.state.in_(("open", "parked")),
            )
        ):
            facts = {
                "state": row.state, "confirm": row.acknowledged_confirm, "depth": row.depth,
                "tries": row.tries, "last_code": row.last_code, "last_error": row.last_error,
            }  # fmt: skip
            if row.acknowledged_confirm < 0:
                del facts["confirm"]
            lines.append((row.created_at, f"{row.subject} message {row.call}", _detail(facts)))
    return lines


def _detail(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {fact}" for key, fact in facts.items() if fact is not None and fact != ""
    )


# --- what holds it, what is next ------------------------------------------------------------------


def _outlook(
    tx: Tx, config: Config, found: Found, spellings: dict[str, tuple[str, bytes]]
) -> tuple[str | None, str]:
    outlooks = [outlook.deposit(tx, config, row) for row in found.deposits]
    outlooks += [outlook.payout(tx, config, row) for row in found.payouts]
    outlooks += [outlook.inbox(row) for row in found.inbox]
    outlooks += [outlook.foreign(row) for row in found.foreign]
    for one in outlooks:
        if one.held_by:
            return one.held_by, one.then
    for one in outlooks:
        if not one.is_done:
            return None, one.then
    if outlooks:
        return None, outlooks[-1].then
    if found.addresses:
        row = found.addresses[0]
        if row.role in (Role.DEPOSIT, Role.WATCHED):
            return None, f"deposits to it on {row.chain} are credited when one arrives"
        return None, f"it is our {row.role} address on {row.chain}: nothing is credited for it"
    if found.transfers:
        return None, "value arrived that no deposit was made of: see `inbox list`"
    read = "; ".join(_read_ranges(tx, config))
    if spellings:
        return None, f"it is no address of ours on {', '.join(spellings)}; read so far: {read}"
    return None, f"no block that was read and no answer of the platform names it; read: {read}"


def _read_ranges(tx: Tx, config: Config) -> Iterable[str]:
    blocks, coverage = schema.blocks, schema.coverage
    for name in config.chains:
        tip = tx.one(
            select(blocks.c.height, blocks.c.time)
            .where(blocks.c.chain == name)
            .order_by(blocks.c.height.desc())
            .limit(1)
        )
        first = tx.value(
            select(coverage.c.from_height)
            .where(coverage.c.chain == name)
            .order_by(coverage.c.from_height)
            .limit(1)
        )
        if tip is None:
            yield f"{name} nothing yet"
        else:
            when = datetime.fromtimestamp(tip.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
            yield f"{name} {'' if first is None else first} to {tip.height} ({when} UTC)"
