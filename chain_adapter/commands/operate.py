"""What an operator decides: hold, release, refuse, ignore, retry, dismiss, acknowledge, pause.

Each is one short transaction along the edges of the books' state tables, and an event that names
who and why. A command that comes too late changes nothing and exits 1 with the state it met.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update

from chain_adapter.assembly import pure_chain
from chain_adapter.commands.books import Keyed, opened, operator
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.config import ChainConfig, Config, load
from chain_adapter.core.deposits import AssetTerms, Terms
from chain_adapter.core.states import PAYOUT_ENDED
from chain_adapter.errors import ConfigError, StateConflict
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.store import orders, outbox, pauses, payout_marks, payouts, rulings, schema
from chain_adapter.store.alarms import close_alarm
from chain_adapter.store.events import record
from chain_adapter.store.store import Tx
from chain_adapter.workers.terms import depth_of

PAYOUT = Keyed(schema.payouts, "payout", ("trans_id",))
DEPOSIT = Keyed(schema.deposits, "deposit", ("request_id", "txid"))
OUTBOX = Keyed(schema.outbox, "outbox item")
INBOX = Keyed(schema.inbox, "inbox item")
ALARM = Keyed(schema.alarms, "alarm")

Unit = Callable[[Tx, str, str], dict[str, Any]]
"""(tx, who, reason) -> what was done."""


def _act(args: Namespace, config: Config, unit: Unit) -> int:
    who = operator()
    with opened(config) as store:
        done = store.write_now(lambda tx: unit(tx, who, args.reason))
    if args.json:
        print_json(done)
    else:
        print(harmless(", ".join(f"{key} {one}" for key, one in done.items() if one is not None)))
    return 0


# --- payouts --------------------------------------------------------------------------------------


def _payout(tx: Tx, payout_id: int, done: str) -> dict[str, Any]:
    row = payouts.get(tx, payout_id)
    return {
        "id": row.id,
        "trans_id": row.trans_id,
        "symbol": row.symbol,
        "state": row.state,
        "held": row.held_reason is not None,
        "done": done,
    }


def payout_hold(args: Namespace) -> int:
    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = PAYOUT.row(tx, args.id)
        if row.state in PAYOUT_ENDED:
            raise StateConflict(f"payout {row.id} is {row.state}: there is nothing left to hold")
        if row.held_reason is not None:
            raise StateConflict(f"payout {row.id} is held already: {row.held_reason}")
        payout_marks.hold(tx, row, who, reason)
        return _payout(tx, row.id, "held")

    return _act(args, load(args.config), unit)


def payout_release(args: Namespace) -> int:
    if args.first == (args.id is not None):
        raise ConfigError("payouts release: give an ID, or --first")

    def first(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        return {"released": orders.release_first_page(tx, who, reason)}

    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = PAYOUT.row(tx, args.id)
        payout_marks.release(tx, row, who, reason)
        return _payout(tx, row.id, "released")

    return _act(args, load(args.config), first if args.first else unit)


def payout_refuse(args: Namespace) -> int:
    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = PAYOUT.row(tx, args.id)
        follows = payout_marks.operator_refuse(tx, row, who, reason)
        return _payout(tx, row.id, follows)

    return _act(args, load(args.config), unit)


# --- deposits -------------------------------------------------------------------------------------


def deposit_terms(tx: Tx, config: Config, chain: ChainConfig) -> Terms:
    """How deposits of a chain are told; what the watcher uses, without an endpoint."""
    pure = pure_chain(chain)
    # Nothing is pinned before the first start; then no deposit is there to be told either.
    pinned = tx.value(select(schema.chains.c.identity).where(schema.chains.c.chain == chain.name))
    return Terms(
        chain=chain.name,
        identity=str(pinned or ""),
        secret=PublicKeys.load(config.require_keys().keystore).request_id_secret,
        assets={
            one.name: AssetTerms(
                name=one.name,
                symbol=one.symbol,
                key=pure.asset_key(one.name),
                decimals=one.decimals,
                platform_decimals=one.platform_decimals,
                depth=depth_of(config, chain, one, pure.info.confirmations),
                min_deposit=one.min_deposit,
                enabled=one.enabled,
            )
            for one in chain.assets.values()
        },
        memo_coin=chain.memo,
        memo_max=chain.memo_max,
    )


def deposit_release(args: Namespace) -> int:
    config = load(args.config)

    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = DEPOSIT.row(tx, args.id)
        terms = deposit_terms(tx, config, config.chain(row.chain))
        if row.asset not in terms.assets:
            raise StateConflict(f"deposit {row.id}: asset {row.asset} is not configured any more")
        state = rulings.release(tx, terms, row.id, who, reason)
        return {"id": row.id, "txid": row.txid, "state": str(state), "done": "released"}

    return _act(args, config, unit)


def deposit_ignore(args: Namespace) -> int:
    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = DEPOSIT.row(tx, args.id)
        rulings.ignore(tx, row.id, who, reason)
        return {"id": row.id, "txid": row.txid, "state": "IGNORED", "done": "ignored"}

    return _act(args, load(args.config), unit)


# --- outbox, inbox, alarms ------------------------------------------------------------------------


def outbox_retry(args: Namespace) -> int:
    if args.all == (args.id is not None):
        raise ConfigError("outbox retry: give an ID, or --all")

    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        item = None if args.all else OUTBOX.row(tx, args.id).id
        return {"id": item, "retried": outbox.retry(tx, item, who, reason)}

    return _act(args, load(args.config), unit)


def inbox_dismiss(args: Namespace) -> int:
    table = schema.inbox

    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = INBOX.row(tx, args.id)
        touched = tx.run(
            update(table)
            .where(table.c.id == row.id, table.c.state == "open")
            .values(state="dismissed", note=reason, who=who)
        )
        if touched != 1:
            raise StateConflict(f"inbox item {row.id} is {row.state} already")
        record(tx, row.chain, "inbox dismissed", f"inbox:{row.id}", who=who, reason=reason)
        return {"id": row.id, "state": "dismissed"}

    return _act(args, load(args.config), unit)


def alarm_ack(args: Namespace) -> int:
    table = schema.alarms

    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        row = ALARM.row(tx, args.id)
        touched = tx.run(
            update(table)
            .where(
                table.c.id == row.id,
                table.c.closed_at.is_(None),
                table.c.acknowledged_at.is_(None),
            )
            .values(acknowledged_by=who, acknowledged_at=tx.now_us, acknowledged_reason=reason)
        )
        if touched != 1:
            word = "closed" if row.closed_at is not None else "acknowledged"
            raise StateConflict(f"alarm {row.id} is {word} already")
        record(
            tx, "ledger", f"alarm acknowledged {row.code}", row.subject,
            alarm=row.id, who=who, reason=reason,
        )  # fmt: skip
        if row.code == "foreign_use":
            _sign_again(tx, row.subject, who)
        return {"id": row.id, "code": row.code, "state": "acknowledged"}

    return _act(args, load(args.config), unit)


def _sign_again(tx: Tx, subject: str, who: str) -> None:
    """A person answers for a foreign use: its account signs again (docs/laws.md 2.11)."""
    chain, _, txid = subject.partition(":")
    table = schema.foreign_uses
    tx.run(
        update(table)
        .where(table.c.chain == chain, table.c.txid == txid, table.c.acknowledged_by.is_(None))
        .values(acknowledged_by=who)
    )
    close_alarm(tx, "foreign_use", subject, chain)


# --- pauses ---------------------------------------------------------------------------------------


def _pause(args: Namespace, chain: ChainConfig, asset: str | None, config: Config) -> int:
    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        fresh = pauses.pause(tx, chain.name, asset, who, reason)
        what = pauses.subject(chain.name, asset)
        return {"paused": what, "done": "paused" if fresh else "was paused already"}

    return _act(args, config, unit)


def _resume(args: Namespace, chain: ChainConfig, asset: str | None, config: Config) -> int:
    def unit(tx: Tx, who: str, reason: str) -> dict[str, Any]:
        terms = deposit_terms(tx, config, chain)
        confirmed = rulings.resume(tx, terms, asset, who, reason)
        return {"resumed": pauses.subject(chain.name, asset), "confirmed": confirmed}

    return _act(args, config, unit)


def _asset(config: Config, name: str) -> tuple[ChainConfig, str]:
    chain, separator, asset = name.partition("/")
    if not separator:
        raise ConfigError(f"{name!r}: write CHAIN/NAME, for example main/USDT")
    found = config.chain(chain)
    return found, found.asset(asset).name


def chain_pause(args: Namespace) -> int:
    config = load(args.config)
    return _pause(args, config.chain(args.name), None, config)


def chain_resume(args: Namespace) -> int:
    config = load(args.config)
    return _resume(args, config.chain(args.name), None, config)


def asset_pause(args: Namespace) -> int:
    config = load(args.config)
    return _pause(args, *_asset(config, args.name), config)


def asset_resume(args: Namespace) -> int:
    config = load(args.config)
    return _resume(args, *_asset(config, args.name), config)
