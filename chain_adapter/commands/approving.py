"""`payouts approve`, `payouts settle`, `deposits approve`: what the policy leaves to operators.

Each first prints what is to be signed; with `--signature` the signer verifies and keeps it. A
settlement is marked in the signer's journal first, in the books then: two operators, evidence, and
nothing of the payout that could still land.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from chain_adapter import money
from chain_adapter.chain import Payment
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.operate import DEPOSIT, PAYOUT
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.commands.signatures import Wanted, at_signer, show, signed
from chain_adapter.config import Config, load
from chain_adapter.core.states import PAYOUT_ENDED, Deposit, Kind
from chain_adapter.errors import ConfigError, SigningWaits, StateConflict
from chain_adapter.keys.approvals import Claim, content_of, pay_claim
from chain_adapter.keys.journal import PayoutKey
from chain_adapter.keys.rules import payments_text
from chain_adapter.keys.secret_files import write_private
from chain_adapter.store import outbox, payouts, settlements
from chain_adapter.store.events import record
from chain_adapter.store.store import Store, Tx

MOST_EVIDENCE = 4 * 1024 * 1024  # bytes


def _key(row: Row[Any]) -> PayoutKey:
    return PayoutKey(row.kind, row.symbol, row.trans_id)


def _answer(args: Namespace, document: dict[str, Any]) -> int:
    if args.json:
        print_json(document)
    else:
        shown = (f"{key} {one}" for key, one in document.items() if one not in (None, []))
        print(harmless(", ".join(shown)))
    return 0


def _words(config: Config, row: Row[Any]) -> str:
    asset = config.chain(row.chain).asset(row.asset)
    amount = "all" if row.amount is None else money.plain(int(row.amount), asset.decimals)
    memo = f", memo {row.memo!r}" if row.memo else ""
    return f"{row.kind} {row.trans_id}: {amount} {row.asset} on {row.chain} to {row.to}{memo}"


# --- payouts approve ------------------------------------------------------------------------------


def pay_wanted(config: Config, row: Row[Any]) -> Wanted:
    """The approval that a payout needs. Raises `StateConflict` where none could help."""
    if row.state in PAYOUT_ENDED:
        raise StateConflict(f"payout {row.id} is {row.state}: there is nothing left to approve")
    if row.kind != Kind.WITHDRAWAL:
        raise StateConflict(f"payout {row.id} is a {row.kind}: only withdrawals are approved")
    if row.to is None or row.amount is None:
        raise StateConflict(f"payout {row.id} was not judged yet: is the daemon running?")
    payments = payments_text((Payment(row.asset, row.to, int(row.amount), row.memo or None),))
    act = "redo" if ": redo waits for " in (row.reason or "") else "pay"
    again = ("It was signed before, and what was signed is dead.",) if act == "redo" else ()
    return Wanted(
        pay_claim(_key(row), row.chain, payments, act), (_words(config, row), *again)
    )  # fmt: skip


def payout_approve(args: Namespace) -> int:
    config = load(args.config)
    with opened(config) as store:
        row = store.read_now(lambda tx: PAYOUT.row(tx, args.id))
        wanted = pay_wanted(config, row)
        if not args.signature:
            return show(args, config, wanted)
        names = _give(config, signed(args.signature, wanted.claim))
        _note(store, row.chain, payouts.subject(row), wanted.claim, names, args.reason)
        row = store.read_now(lambda tx: payouts.get(tx, row.id))
    return _answer(
        args,
        {"id": row.id, "trans_id": row.trans_id, "symbol": row.symbol, "state": row.state,
         "approved_by": names, "done": "approved"},
    )  # fmt: skip


def _give(config: Config, documents: Sequence[str]) -> list[str]:
    async def give() -> list[str]:
        async with at_signer(config) as signer:
            return [await signer.approve(one) for one in documents]

    return asyncio.run(give())


def _note(
    store: Store, scope: str, subject: str, claim: Claim, names: Sequence[str], reason: str
) -> None:
    who = operator()

    def unit(tx: Tx) -> None:
        for name in names:
            record(
                tx, scope, "approved", subject, act=claim.act, operator=name, who=who, reason=reason
            )

    store.write_now(unit)


# --- deposits approve -----------------------------------------------------------------------------


def deposit_approve(args: Namespace) -> int:
    """A deposit above the limits on credits."""
    config = load(args.config)
    with opened(config) as store:
        row = store.read_now(lambda tx: DEPOSIT.row(tx, args.id))
        item = store.read_now(
            lambda tx: tx.one(
                select(outbox.T).where(outbox.T.c.dedupe_key == f"deposit:{row.request_id}")
            )
        )
        if row.state != Deposit.CONFIRMED or item is None:
            raise StateConflict(f"deposit {row.id} is {row.state}: only a confirmed one is told")
        body = json.loads(item.body)
        asset = config.chain(row.chain).asset(row.asset)
        content = content_of(
            "credit", row.symbol, body["txid"], body["address_to"],
            str(money.parse(body["amount"], asset.decimals)), body.get("memo") or "",
        )  # fmt: skip
        wanted = Wanted(
            Claim("credit", row.request_id, content),
            (f"credit of {body['amount']} {row.symbol} to {body['address_to']}, {body['txid']}",),
        )
        if not args.signature:
            return show(args, config, wanted)
        names = _give(config, signed(args.signature, wanted.claim))
        subject = f"deposit:{row.id}"
        _note(store, row.chain, subject, wanted.claim, names, args.reason)
        who = operator()
        if item.state in ("open", "parked"):
            store.write_now(lambda tx: outbox.retry(tx, item.id, who, args.reason))
    return _answer(
        args, {"id": row.id, "txid": row.txid, "approved_by": names, "done": "approved"}
    )  # fmt: skip


# --- payouts settle -------------------------------------------------------------------------------


def payout_settle(args: Namespace) -> int:
    """End it by hand. Marked in the signer's journal first: from then on only voids are signed."""
    config = load(args.config)
    if args.evidence is None:
        raise ConfigError("payouts settle: name the file that shows it, with --evidence")
    content, name = _evidence(args.evidence)
    digest = hashlib.sha256(content).hexdigest()
    evidence = f"sha256:{digest}"
    who = args.operator or operator()
    with opened(config) as store:
        row = store.read_now(lambda tx: PAYOUT.row(tx, args.id))
        open_end = store.read_now(lambda tx: settlements.open_end(tx, row))
        if open_end is not None:
            raise StateConflict(f"payout {row.id}: {open_end}")
        key = _key(row)
        wanted = Wanted(
            Claim("settle", str(key), content_of("settle", str(key), evidence)),
            (f"settled by hand, never paid again: {_words(config, row)}",
             f"evidence: {name}, SHA-256 {digest}"),
        )  # fmt: skip
        documents = signed(args.signature or (), wanted.claim)
        where = _keep(config, content, name, digest)
        has_policy, names = asyncio.run(
            _mark(config, store, row, evidence, documents, who, args.reason)
        )
        if names is None:
            if has_policy and not documents:
                return show(args, config, wanted)
            return _answer(
                args,
                {"id": row.id, "trans_id": row.trans_id, "state": row.state,
                 "done": "waits for another operator"},
            ) or 1  # fmt: skip
        by_whom = ", ".join(names)
        store.write_now(
            lambda tx: settlements.settle(
                tx, payouts.get(tx, row.id), by_whom, args.reason, evidence, str(where)
            )
        )
        row = store.read_now(lambda tx: payouts.get(tx, row.id))
    return _answer(
        args,
        {"id": row.id, "trans_id": row.trans_id, "symbol": row.symbol, "state": row.state,
         "settled_by": by_whom, "evidence": evidence, "done": "settled"},
    )  # fmt: skip


async def _mark(
    config: Config,
    store: Store,
    row: Row[Any],
    evidence: str,
    documents: Sequence[str],
    who: str,
    reason: str,
) -> tuple[bool, list[str] | None]:
    """(whether a policy is in force, who settled it; None while somebody lacks)."""
    async with at_signer(config) as signer:
        has_policy = (await signer.status()).policy is not None
        if has_policy:
            names = [await signer.approve(one) for one in documents]
        else:
            if documents:
                raise ConfigError(
                    "there is no policy, so no operators have keys: settle without --signature, "
                    "by two people one after the other"
                )
            names = store.write_now(
                lambda tx: settlements.propose(tx, row, who, evidence, reason)
            )  # fmt: skip
            if len(names) < settlements.PEOPLE:
                return False, None
        key = _key(row)
        try:
            await signer.settle(key, evidence, ", ".join(names) or who)
        except SigningWaits:
            return True, None
        marks = [one for one in await signer.settled() if one.payout == key]
    return has_policy, [marks[0].by_whom] if marks else names


def _evidence(path: Path) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_EVIDENCE + 1)
    except OSError as error:
        raise ConfigError(f"--evidence: {path} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise ConfigError(f"--evidence: {path} is empty")
    if len(content) > MOST_EVIDENCE:
        raise ConfigError(f"--evidence: {path} is larger than {MOST_EVIDENCE} bytes")
    return content, path.name


def _keep(config: Config, content: bytes, name: str, digest: str) -> Path:
    """A copy beside the keystore, under its hash; kept for ever."""
    keystore = config.require_keys().keystore
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[-80:]
    path = keystore.with_name(f"{keystore.stem}.evidence") / f"{digest[:16]}-{plain}"
    if not path.exists():
        write_private(path, content, overwrite=False)
    return path
