"""What a person decides about deposits: release, ignore, resume. Each is an event with a reason."""

from __future__ import annotations

from sqlalchemy import select, update

from chain_adapter.core.deposits import Terms, Why
from chain_adapter.core.states import Deposit
from chain_adapter.errors import StateConflict
from chain_adapter.store import deposits, pauses, schema
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import move_deposit, record
from chain_adapter.store.store import Tx

T = schema.deposits


def settled_height(tx: Tx, chain: str) -> int:
    """Every height up to here is final and looked at twice."""
    value = tx.value(select(schema.chains.c.settled_height).where(schema.chains.c.chain == chain))
    return -1 if value is None else int(value)


def release(tx: Tx, terms: Terms, deposit_id: int, who: str, reason: str) -> Deposit:
    """Answer the rule that holds (or ignored) a deposit: it goes on. Returns its new state.

    Before its block is final it is SEEN again and that rule does not hold it a second time;
    later it is CONFIRMED at once, unless a pause holds it. `UnknownRow`, `StateConflict`.
    """
    row = deposits.get(tx, deposit_id)
    if row.state not in (Deposit.HELD, Deposit.IGNORED):
        raise StateConflict(f"deposit {deposit_id} is {row.state}: only HELD or IGNORED ones wait")
    if int(row.told) == 0:
        raise StateConflict(
            f"deposit {deposit_id} is less than the platform can hold: nothing could be told"
        )
    record(
        tx, row.chain, "deposit released", deposits.subject(deposit_id),
        who=who, reason=reason, rule=row.reason,
    )  # fmt: skip
    is_final = row.height <= settled_height(tx, row.chain)
    if row.state == Deposit.IGNORED or not is_final:
        move_deposit(tx, row, Deposit.SEEN, reason, reason=None, released=True)
        row = deposits.get(tx, deposit_id)
    if is_final:
        if pauses.is_paused(tx, row.chain, row.asset):
            _hold_for_pause(tx, row.id, Deposit(row.state))
        else:
            tx.run(update(T).where(T.c.id == row.id).values(released=True))
            deposits.confirm(tx, terms, row, "released")
    deposits.close_held(tx, row.chain, row.asset)
    return Deposit(deposits.get(tx, deposit_id).state)


def _hold_for_pause(tx: Tx, deposit_id: int, state: Deposit) -> None:
    """The rule is answered, the pause is not: `resume` lets it go on."""
    row = deposits.get(tx, deposit_id)
    if state is Deposit.SEEN:
        move_deposit(tx, row, Deposit.HELD, Why.PAUSED, reason=Why.PAUSED, released=True)
        return
    tx.run(
        update(T)
        .where(T.c.id == deposit_id, T.c.state == Deposit.HELD)
        .values(reason=Why.PAUSED, released=True)
    )


def ignore(tx: Tx, deposit_id: int, who: str, reason: str) -> None:
    """It is never told. Raises `UnknownRow`, `StateConflict`."""
    row = deposits.get(tx, deposit_id)
    if row.state != Deposit.HELD:
        raise StateConflict(f"deposit {deposit_id} is {row.state}: only HELD ones can be ignored")
    record(
        tx, row.chain, "deposit ignored", deposits.subject(deposit_id),
        who=who, reason=reason, rule=row.reason,
    )  # fmt: skip
    move_deposit(tx, row, Deposit.IGNORED, reason)
    deposits.close_held(tx, row.chain, row.asset)


def resume(tx: Tx, terms: Terms, asset: str | None, who: str, reason: str) -> int:
    """Lift a pause (of the chain with None) and confirm what was held for it alone; how many."""
    chain = terms.chain
    if not pauses.lift(tx, chain, asset, who, reason):
        raise StateConflict(f"{pauses.subject(chain, asset)} is not paused")
    if asset is None:
        for code in ("deep_reorg", "endpoints_differ"):
            close_alarm(tx, code, chain, chain)
    still = pauses.paused(tx, chain)
    if pauses.WHOLE in still:
        return 0
    rows = tx.all(
        select(T)
        .where(T.c.chain == chain, T.c.state == Deposit.HELD, T.c.reason == Why.PAUSED)
        .order_by(T.c.id)
    )
    confirmed = 0
    for row in rows:
        if row.asset in still or row.asset not in terms.assets:
            continue
        deposits.confirm(tx, terms, row, "resumed")
        confirmed += 1
    return confirmed
