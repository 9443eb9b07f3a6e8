"""Deposits in the books: seen with their block, confirmed once it is final, popped with it.

`see` runs in the commit of a block, `confirm_due` in the commit that settles heights and writes
the notification to the outbox, `pop` in the commit that pops a block. Rows are found by their
request_id, which no configured name enters. Operators' answers: `store.rulings`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from chain_adapter import money
from chain_adapter.chain import BlockRef
from chain_adapter.core.deposits import (
    Key,
    Sighting,
    Terms,
    Why,
    again,
    both_proofs,
    decide,
    read_memo,
    request_id,
)
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StateConflict, UnknownRow
from chain_adapter.store import imports, inbox, outbox, pauses, schema, transfers
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.event_batch import record_many
from chain_adapter.store.events import move_deposit, record
from chain_adapter.store.store import Tx

T = schema.deposits
_MOST_ASKED = 500
_TOLD = (Deposit.CONFIRMED, Deposit.CREDITED)
_UNTOLD = (Deposit.SEEN, Deposit.HELD, Deposit.IGNORED)


def subject(deposit_id: int) -> str:
    """How events, outbox and alarms name a deposit."""
    return f"deposit:{deposit_id}"


def id_of(terms: Terms, sighting: Sighting) -> str:
    """The request_id of a sighting."""
    return request_id(
        terms.secret,
        terms.identity,
        terms.assets[sighting.asset].key,
        sighting.txid,
        sighting.key,
        sighting.memo.raw,
    )


def see(tx: Tx, terms: Terms, seen: Sequence[tuple[Sighting, BlockRef]]) -> None:
    """Book what blocks brought: new rows, popped ones that came back, late finds."""
    named = [(id_of(terms, sighting), sighting, ref) for sighting, ref in seen]
    known = _by_request_id(tx, [name for name, _, _ in named])
    strange = {name: sighting for name, sighting, _ in named if name not in known}
    known |= imports.known_by_name(tx, terms, strange)
    fresh: dict[str, tuple[Sighting, BlockRef]] = {}
    later: list[tuple[Sighting, BlockRef]] = []
    for name, sighting, ref in named:
        row = known.get(name)
        if name in fresh:
            later.append((sighting, ref))
        elif row is None:
            fresh[name] = (sighting, ref)
        elif row.chain == terms.chain and row.state in (Deposit.ORPHANED, Deposit.REVERSED):
            _come_back(tx, terms, row, sighting, ref)
        elif imports.is_unseen(row):
            imports.meet(tx, terms, row, sighting, ref)
        else:
            inbox.late(tx, terms.chain, row, sighting, ref.height)
    _insert(tx, terms, fresh)
    if later:
        see(tx, terms, later)


def _by_request_id(tx: Tx, names: Sequence[str]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(names), _MOST_ASKED):
        rows = tx.all(select(T).where(T.c.request_id.in_(names[start : start + _MOST_ASKED])))
        found.update((row.request_id, row) for row in rows)
    return found


def _insert(tx: Tx, terms: Terms, fresh: dict[str, tuple[Sighting, BlockRef]]) -> None:
    if not fresh:
        return
    values = []
    for name, (sighting, ref) in fresh.items():
        asset = terms.assets[sighting.asset]
        decision = decide(sighting, asset, terms)
        values.append(
            {
                "request_id": name,
                "chain": terms.chain,
                "asset": sighting.asset,
                "symbol": asset.symbol,
                "txid": sighting.txid,
                "to": sighting.to,
                "memo_key": sighting.memo.key,
                "memo": _told_memo(terms, sighting),
                "memo_hex": sighting.memo.hex,
                "amount": str(sighting.amount),
                "told": str(decision.told),
                "remainder": str(decision.remainder),
                "sender": sighting.sender,
                "height": ref.height,
                "block_hash": ref.hash,
                "state": decision.state,
                "reason": decision.reason,
                "proof": sighting.proof,
                "seen_at": tx.now_us,
            }
        )
    tx.run(insert(T), values)
    made = _by_request_id(tx, list(fresh))
    events = []
    for name, row in zip(fresh, values, strict=True):
        deposit_id = made[name].id
        detail: dict[str, Any] = {
            key: row[key]
            for key in ("txid", "to", "amount", "height", "reason", "request_id", "asset")
        }
        events.append((f"deposit {row['state']}", subject(deposit_id), detail))
        if row["state"] == Deposit.HELD:
            held(tx, terms.chain, str(row["asset"]), deposit_id, str(row["reason"]))
        elif row["reason"] == Why.ASSET_OFF:
            sighting, ref = fresh[name]
            inbox.unlisted(tx, terms.chain, sighting, ref.height, deposit_id)
    record_many(tx, terms.chain, events)


def _told_memo(terms: Terms, sighting: Sighting) -> str | None:
    if not terms.memo_coin:
        return None
    return read_memo(sighting.memo.raw, terms.memo_max).told


def _come_back(tx: Tx, terms: Terms, row: Row[Any], sighting: Sighting, ref: BlockRef) -> None:
    """A popped deposit is included again (docs/laws.md 3.4)."""
    decision = decide(sighting, terms.assets[sighting.asset], terms)
    old = Deposit(row.state)
    decision = again(old, int(row.amount), sighting.amount, decision)
    move_deposit(
        tx, row, decision.state, f"included again in block {ref.height}",
        reason=decision.reason,
        amount=str(sighting.amount),
        told=str(decision.told),
        remainder=str(decision.remainder),
        sender=sighting.sender,
        height=ref.height,
        block_hash=ref.hash,
        proof=sighting.proof,
        # What a person answered about a deposit that was told holds on; else it is judged anew.
        released=row.released and old is Deposit.REVERSED,
    )  # fmt: skip
    if decision.state is Deposit.HELD:
        held(tx, terms.chain, row.asset, row.id, str(decision.reason))
    elif old is Deposit.REVERSED:
        close_alarm(tx, "deposit_reversed", subject(row.id), terms.chain)


def grow(tx: Tx, terms: Terms, row: Row[Any], whole: Sighting, height: int) -> None:
    """A later reading saw more of a deposit at places that the first could not see.

    `whole` is the sum of all. Nobody was told yet: the row takes the sum and is judged anew.
    """
    if row.state not in _UNTOLD:
        inbox.late(tx, terms.chain, row, whole, height)
        return
    decision = decide(whole, terms.assets[whole.asset], terms)
    changed = {
        "amount": str(whole.amount),
        "told": str(decision.told),
        "remainder": str(decision.remainder),
        "sender": whole.sender,
        "proof": both_proofs(row.proof, whole.proof),
    }
    old = Deposit(row.state)
    stays = old in (decision.state, Deposit.HELD) or row.released
    if stays:
        tx.run(update(T).where(T.c.id == row.id, T.c.state == old).values(**changed))
        record(
            tx, terms.chain, "deposit grew", subject(row.id), was=row.amount, now=str(whole.amount)
        )
        return
    move_deposit(
        tx, row, decision.state, f"its sum is {whole.amount}", reason=decision.reason, **changed
    )
    if decision.state is Deposit.HELD:
        held(tx, terms.chain, row.asset, row.id, str(decision.reason))


def held(tx: Tx, chain: str, asset: str, deposit_id: int, reason: str) -> None:
    """Tell that a deposit is held. A refuted proof pauses its asset: all of it is in doubt."""
    if Why.REFUTED in reason:
        pauses.pause(tx, chain, asset, "adapter", f"{subject(deposit_id)}: {Why.REFUTED}")
    if reason != Why.PAUSED:
        raise_alarm(
            tx, "deposit_held", pauses.subject(chain, asset), f"{subject(deposit_id)}: {reason}",
            chain,
        )  # fmt: skip


def close_held(tx: Tx, chain: str, asset: str) -> None:
    """Close the alarm about held deposits when none is left."""
    waiting = select(func.count()).select_from(T).where(
        T.c.chain == chain, T.c.asset == asset, T.c.state == Deposit.HELD,
        T.c.reason != Why.PAUSED,
    )  # fmt: skip
    if not tx.value(waiting):
        close_alarm(tx, "deposit_held", pauses.subject(chain, asset), chain)


def hold(tx: Tx, row: Row[Any], reason: str) -> None:
    """SEEN to HELD; a HELD one gets the further reason."""
    if row.state == Deposit.SEEN:
        move_deposit(tx, row, Deposit.HELD, reason, reason=reason, released=False)
    elif row.state == Deposit.HELD and reason not in (row.reason or ""):
        reasons = f"{row.reason}; {reason}" if row.reason else reason
        tx.run(update(T).where(T.c.id == row.id).values(reason=reasons, released=False))
        record(tx, row.chain, "deposit held", subject(row.id), reason=reasons)
    else:
        return
    held(tx, row.chain, row.asset, row.id, reason)


# --- final and looked at twice --------------------------------------------------------------------


def confirm_due(tx: Tx, terms: Terms, settled_height: int, tip_height: int) -> int:
    """Confirm every SEEN deposit up to `settled_height` that is mature; how many.

    While the chain or its asset is paused it is HELD instead, for the pause alone.
    """
    rows = tx.all(
        select(T)
        .where(T.c.chain == terms.chain, T.c.state == Deposit.SEEN, T.c.height <= settled_height)
        .order_by(T.c.id)
    )
    if not rows:
        return 0
    waiting = transfers.immature(tx, terms.chain, tip_height)
    stopped = pauses.paused(tx, terms.chain)
    confirmed = 0
    for row in rows:
        if name_of(row) in waiting:
            continue
        if row.asset not in terms.assets:
            # Nothing tells its decimals and depth any more. One of an asset that is merely off
            # was seen while it was on, and ends as it began.
            hold(tx, row, Why.ASSET_OFF)
        elif pauses.WHOLE in stopped or row.asset in stopped:
            move_deposit(tx, row, Deposit.HELD, Why.PAUSED, reason=Why.PAUSED)
        else:
            try:
                confirm(tx, terms, row, "final, and looked at twice")
            except StateConflict:
                hold(tx, row, Why.OTHER_AMOUNT)
            else:
                confirmed += 1
    return confirmed


def name_of(row: Row[Any]) -> Key:
    """What makes the deposit, within its chain."""
    return Key(row.asset, row.txid, row.to, row.memo_key)


def confirm(tx: Tx, terms: Terms, row: Row[Any], why: str) -> None:
    """CONFIRMED with its notification in the outbox, in one commit.

    One that was told before its block was popped is told again under the same request_id; one
    that was credited then is CREDITED at once. Raises `StateConflict` if it was credited with
    another amount.
    """
    asset = terms.assets[row.asset]
    body = {
        "request_id": row.request_id,
        "address_to": row.to,
        "txid": row.txid,
        "amount": money.plain(int(row.told), asset.platform_decimals),
    }
    if row.sender:
        body["address_from"] = row.sender
    if row.memo is not None:
        body["memo"] = row.memo
    key = f"deposit:{row.request_id}"
    is_new = outbox.put(
        tx,
        dedupe_key=key,
        call="deposit/notify",
        symbol=row.symbol,
        chain=row.chain,
        subject=subject(row.id),
        body=body,
        grows=True,
        height=row.height,
        depth=asset.depth,
    )
    if is_new:
        move_deposit(tx, row, Deposit.CONFIRMED, why, reason=None, confirmed_at=tx.now_us)
        return
    item = tx.one(select(outbox.T).where(outbox.T.c.dedupe_key == key))
    assert item is not None
    is_credited = item.state == "acknowledged"
    told = json.loads(item.body)["amount"]
    if is_credited and told != body["amount"]:
        raise StateConflict(
            f"deposit {row.id} was credited with {told} before its block was popped, and is "
            f"{body['amount']} now: settle the difference with the platform, then `deposits ignore`"
        )
    move_deposit(tx, row, Deposit.CONFIRMED, why, reason=None, confirmed_at=tx.now_us)
    if is_credited:
        move_deposit(
            tx, get(tx, row.id), Deposit.CREDITED, "acknowledged before", credited_at=tx.now_us
        )
    else:
        outbox.reopen(tx, key, body=body, height=row.height, depth=asset.depth)


def pop(tx: Tx, chain: str, above: int) -> int:
    """Undo deposits above a height; how many of them had been confirmed (docs/laws.md 3.4)."""
    rows = tx.all(
        select(T)
        .where(T.c.chain == chain, T.c.height > above, T.c.state.in_((*_UNTOLD, *_TOLD)))
        .order_by(T.c.id)
    )
    reversed_count = 0
    for row in rows:
        why = f"block {row.height} was popped"
        if row.state in _UNTOLD:
            move_deposit(tx, row, Deposit.ORPHANED, why, reason=None, released=False)
            continue
        reversed_count += 1
        move_deposit(tx, row, Deposit.REVERSED, why)
        outbox.withdraw(tx, f"deposit:{row.request_id}")
        message = (
            f"{row.symbol} {row.txid} to {row.to}: {row.amount} base units were {row.state} when "
            f"their block {row.height} was popped"
        )
        raise_alarm(tx, "deposit_reversed", subject(row.id), message, chain)
    for asset in {row.asset for row in rows if row.state == Deposit.HELD}:
        close_held(tx, chain, asset)
    return reversed_count


# --- questions ------------------------------------------------------------------------------------


def get(tx: Tx, deposit_id: int) -> Row[Any]:
    """The row; `UnknownRow`."""
    row = tx.one(select(T).where(T.c.id == deposit_id))
    if row is None:
        raise UnknownRow(f"there is no deposit {deposit_id}")
    return row


def at_height(tx: Tx, chain: str, height: int) -> dict[Key, Row[Any]]:
    """The deposits of one block, by name."""
    rows = tx.all(select(T).where(T.c.chain == chain, T.c.height == height))
    return {name_of(row): row for row in rows}


def listed(
    tx: Tx, chain: str | None = None, state: str | None = None, limit: int | None = None
) -> Sequence[Row[Any]]:
    """Rows, oldest first."""
    query = select(T).order_by(T.c.id)
    if chain is not None:
        query = query.where(T.c.chain == chain)
    if state is not None:
        query = query.where(T.c.state == state)
    return tx.all(query if limit is None else query.limit(limit))
