"""What holds one row of the books, and what happens to it next, in words; for `why`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from chain_adapter.commands.output import iso
from chain_adapter.config import Config
from chain_adapter.core.states import PAYOUT_ENDED, Deposit, Kind, Payout
from chain_adapter.store import pauses, schema
from chain_adapter.store.store import Tx


@dataclass(frozen=True, slots=True)
class Outlook:
    """`held_by`: the rule or person that stops it. `is_done`: nothing more is expected."""

    then: str
    held_by: str | None = None
    is_done: bool = False


def _message(tx: Tx, subject: str) -> Row[Any] | None:
    """The newest message about a subject that is not settled yet."""
    outbox = schema.outbox
    return tx.one(
        select(outbox)
        .where(outbox.c.subject == subject, outbox.c.state.in_(("open", "parked")))
        .order_by(outbox.c.id.desc())
        .limit(1)
    )


def _told(tx: Tx, subject: str) -> tuple[str, str | None]:
    """What the courier will do about a subject, and what stops it."""
    row = _message(tx, subject)
    if row is None:
        return "nothing is left to tell", None
    if row.state == "parked":
        answer = f"code {row.last_code} {row.last_error or ''}".rstrip()
        return (
            f"`outbox retry {row.id}` tells it again",
            f"{row.call} was refused at every try: {answer}",
        )
    text = f"{row.call} goes on"
    if row.grows:
        so_far = "" if row.acknowledged_confirm < 0 else f", so far {row.acknowledged_confirm}"
        text += f" until the platform acknowledges {row.depth} confirmations{so_far}"
    else:
        text += " until the platform acknowledges it"
    if row.last_error:
        text += f"; its last answer: {row.last_code or ''} {row.last_error}".replace("  ", " ")
    return text, None


def _pause(tx: Tx, chain: str, asset: str) -> str | None:
    table = schema.pauses
    row = tx.one(
        select(table)
        .where(table.c.chain == chain, table.c.asset.in_((asset, pauses.WHOLE)))
        .order_by(table.c.asset)
        .limit(1)
    )
    if row is None:
        return None
    return f"{pauses.subject(chain, row.asset or None)} is paused by {row.who}: {row.reason}"


def deposit(tx: Tx, config: Config, row: Row[Any]) -> Outlook:
    state = Deposit(row.state)
    paused = _pause(tx, row.chain, row.asset)
    if state is Deposit.SEEN:
        text = f"credited when block {row.height} is final and was read a second time"
        chain = config.chains.get(row.chain)
        if chain is not None and chain.confirmations is not None:
            text += f": at head {row.height + chain.confirmations - 1} or above"
        tip = _tip(tx, row.chain)
        return Outlook(text if tip is None else f"{text}; the tip is {tip}", paused)
    if state is Deposit.CONFIRMED:
        then, stopped = _told(tx, f"deposit:{row.id}")
        return Outlook(then, stopped)
    if state is Deposit.HELD:
        if row.reason == "paused":
            return Outlook("goes on with `chains resume` or `assets resume`", paused or "a pause")
        return Outlook(
            f"waits for `deposits release {row.id}` or `deposits ignore {row.id}`",
            row.reason or "an operator",
        )
    if state is Deposit.ORPHANED:
        return Outlook("its block was popped: it comes back when a block includes it again")
    if state is Deposit.REVERSED:
        return Outlook(
            "its block was popped after it was confirmed: settle it with the platform",
            "a reorganisation below the final height",
        )
    if state is Deposit.IGNORED:
        return Outlook(f"nothing, it is not told: {row.reason or 'ignored'}", is_done=True)
    return Outlook("nothing, it is credited", is_done=True)


def _tip(tx: Tx, chain: str) -> int | None:
    blocks = schema.blocks
    height = tx.value(
        select(blocks.c.height)
        .where(blocks.c.chain == chain)
        .order_by(blocks.c.height.desc())
        .limit(1)
    )
    return None if height is None else int(height)


def payout(tx: Tx, config: Config, row: Row[Any]) -> Outlook:
    state = Payout(row.state)
    if state in PAYOUT_ENDED:
        return Outlook(f"nothing, it is {state}", is_done=True)
    then, stopped = _payout_next(tx, config, row, state)
    if row.held_reason is not None:
        decide = f"waits for `payouts release {row.id}`"
        if not row.ever_claimed and state in (Payout.QUEUED, Payout.RESERVED, Payout.SIGNED):
            decide += f" or `payouts refuse {row.id}`"
        else:
            decide += f"; meanwhile: {then}"
        return Outlook(decide, f"{row.held_by}: {row.held_reason}")
    if state in (Payout.QUEUED, Payout.RESERVED):
        stopped = stopped or _pause(tx, row.chain, row.asset)
    return Outlook(then, stopped)


def _payout_next(tx: Tx, config: Config, row: Row[Any], state: Payout) -> tuple[str, str | None]:
    if state is Payout.QUEUED:
        text = "built when funds, fee and a fresh listing by the platform allow it"
        chain = config.chains.get(row.chain)
        asset = chain.assets.get(row.asset) if chain else None
        if row.kind == Kind.WITHDRAWAL and not row.ever_claimed and asset is not None:
            if asset.hold_limit_s is None:
                text += "; waits for ever by configuration"
            else:
                end = iso(row.received_at + int(asset.hold_limit_s * 1_000_000))
                text += f"; sent back if it cannot be begun before {end}"
        return text, row.reason
    if state is Payout.RESERVED:
        return "signed next, or its locks are voided", None
    if state is Payout.SIGNED:
        if row.claim_code is not None:
            return "its locks are voided; then it is REFUSED", row.reason
        then, stopped = _told(tx, f"payout:{row.id}")
        return f"broadcast when the claim is acknowledged; {then}", stopped
    if state is Payout.CLAIMED:
        return "the same bytes are sent at every block until included; the fee is raised", None
    if state is Payout.INCLUDED:
        return "reported when its block is final", None
    return _told(tx, f"payout:{row.id}")


def inbox(row: Row[Any]) -> Outlook:
    if row.state != "open":
        return Outlook(f"nothing, it was {row.state} by {row.who}: {row.note}", is_done=True)
    return Outlook(f"waits for `inbox dismiss {row.id}`", row.reason)


def foreign(row: Row[Any]) -> Outlook:
    if row.acknowledged_by is not None:
        return Outlook(f"nothing, {row.acknowledged_by} has acknowledged it", is_done=True)
    return Outlook(
        f"nothing is signed for {row.sender} until its alarm is acknowledged (`alarms ack`)",
        "a transaction of our key that no journal of ours knows",
    )
