"""`policy show / check / propose / approve`: what the signer allows, and how that is changed.

A file is checked against the configured assets and chains; proposed, it becomes a text that the
operators of the policy in force sign; with enough of them the signer puts it in force, and the
configuration names the same file for the next start.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from chain_adapter import money
from chain_adapter.assembly import signer_chains
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.commands.signatures import Wanted, at_signer, show, signed
from chain_adapter.config import Config, load
from chain_adapter.errors import AdapterError, ConfigError, SigningWaits
from chain_adapter.keys.approvals import Claim
from chain_adapter.keys.controls import SignerStatus
from chain_adapter.keys.policy import (
    MAX_POLICY_BYTES,
    UNLIMITED,
    Limit,
    Policy,
    digest_of,
    parse_policy,
)
from chain_adapter.keys.signer import scope_of
from chain_adapter.store.events import LEDGER, record


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_POLICY_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"policy: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"policy: {path} is no UTF-8 text") from None


def _parsed(config: Config, text: str) -> Policy:
    return parse_policy(text, scope_of(signer_chains(config)))


def _limit(value: Limit, decimals: int) -> str:
    return UNLIMITED if value is None else money.plain(value, decimals)


def _document(config: Config, policy: Policy) -> dict[str, Any]:
    """What it allows, amounts as decimals."""
    scope = scope_of(signer_chains(config))
    assets = {}
    for symbol, one in policy.assets.items():
        decimals = scope.symbols[symbol]
        assets[symbol] = {
            **{
                name: _limit(getattr(one, name), decimals)
                for name in ("per_transaction", "per_hour", "per_day", "per_destination_per_day")
            },
            **{
                name: None if getattr(one, name) is None else _limit(getattr(one, name), decimals)
                for name in ("approve_above", "approve_twice_above")
            },
            "allow": sorted(one.allow),
            "deny": sorted(one.deny),
            "credits": {
                part.name: _limit(getattr(one.credits, part.name), decimals)
                for part in fields(one.credits)
            },
        }
    return {
        "digest": policy.digest,
        "operators": sorted(policy.operators),
        "approvals": {part.name: getattr(policy.quorums, part.name)
                      for part in fields(policy.quorums)},
        "assets": assets,
        "chains": {
            name: {part.name: _limit(getattr(one, part.name), scope.chains[name])
                   for part in fields(one)}
            for name, one in policy.chains.items()
        },
    }  # fmt: skip


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [f"policy {document['digest']}", f"operators: {', '.join(document['operators'])}"]
    for kind in ("assets", "chains"):
        for name, one in document[kind].items():
            lines.append(f"{name}:")
            for key, value in one.items():
                told = (
                    ", ".join(f"{k} {v}" for k, v in value.items())
                    if isinstance(value, dict)
                    else ", ".join(value)
                    if isinstance(value, list)
                    else value
                )
                if told not in (None, ""):
                    lines.append(f"  {key}: {told}")
    return lines


def _print(args: Namespace, document: dict[str, Any], *more: str) -> None:
    if args.json:
        print_json(document)
        return
    for line in (*more, *_lines(document)):
        print(harmless(line))


def policy_show(args: Namespace) -> int:
    """What is in force, as the signer tells it."""
    config = load(args.config)
    status = asyncio.run(_status(config))
    if status.policy_text is None:
        if args.json:
            print_json({"digest": None, "in_force": False})
        else:
            print(
                "no policy is in force: all but own addresses, the zero address and token "
                "contracts may be paid, without limits, and every deposit is credited"
            )
        return 0
    document = _document(config, _parsed(config, status.policy_text))
    _print(args, {**document, "in_force": True})
    return 0


async def _status(config: Config) -> SignerStatus:
    async with at_signer(config) as signer:
        return await signer.status()


def policy_check(args: Namespace) -> int:
    """Whether a file is a policy for this configuration; exit 1 with the reason if not."""
    config = load(args.config)
    chains = config.require_chains()
    try:
        policy = _parsed(config, _read(args.file))
    except ConfigError as error:
        if args.json:
            print_json({"ok": False, "reason": str(error)})
        else:
            print(f"chain-adapter: {harmless(error)}", file=sys.stderr)
        return 1
    symbols = {asset.symbol for chain in chains.values() for asset in chain.assets.values()}
    silent = [
        f"{kind} {name} is not in it: nothing of it is allowed"
        for kind, names in (
            ("asset", sorted(symbols - set(policy.assets))),
            ("chain", sorted(set(chains) - set(policy.chains))),
        )
        for name in names
    ]
    document = {**_document(config, policy), "ok": True, "warnings": silent}
    _print(args, document, *(f"warning: {one}" for one in silent))
    return 0


def policy_propose(args: Namespace) -> int:
    """Hand a file to the signer: in force at once where none was, else what to sign for it."""
    return _change(args, ())


def policy_approve(args: Namespace) -> int:
    return _change(args, args.signature or ())


def _change(args: Namespace, signatures: Sequence[Path]) -> int:
    config = load(args.config)
    text = _read(args.file)
    policy = _parsed(config, text)
    names, left = asyncio.run(_propose(config, text, signatures))
    who = operator()
    if left is not None:
        claim, wanting = left
        if signatures:
            _note(config, f"policy {digest_of(text)}", "policy approved", names, who, args.reason)
            raise SigningWaits(wanting, "approval")
        means = (f"a new policy, {policy.digest}:", *_lines(_document(config, policy)))
        return show(args, config, Wanted(claim, means))
    _note(config, f"policy {policy.digest}", "policy in force", names, who, args.reason)
    if config.policy is None or config.policy.resolve() != args.file.resolve():
        print(
            harmless(f"the configuration should name it: policy = {str(args.file)!r}"),
            file=sys.stderr,
        )
    _print(args, {**_document(config, policy), "in_force": True, "approved_by": names})
    return 0


async def _propose(
    config: Config, text: str, signatures: Sequence[Path]
) -> tuple[list[str], tuple[Claim, str] | None]:
    """(who approved now, None when in force, else what is approved and what lacks)."""
    async with at_signer(config) as signer:
        asked = await signer.propose_policy(text)
        if asked is None:
            return [], None
        claim = Claim(*asked)
        names = [await signer.approve(one) for one in signed(signatures, claim)]
        if names and await signer.propose_policy(text) is None:
            return names, None
    return names, (claim, "the policy waits for more operators to approve it")


def _note(
    config: Config, subject: str, what: str, names: Sequence[str], who: str, reason: str
) -> None:
    try:
        with opened(config) as store:
            store.write_now(
                lambda tx: record(
                    tx, LEDGER, what, subject[:255], operators=list(names), who=who, reason=reason
                )
            )
    except AdapterError as error:
        print(harmless(f"not in the books: {error}"), file=sys.stderr)
