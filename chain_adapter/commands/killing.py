"""`kill` and `resume`: nothing is signed from one second after the first until the second.

The signer itself obeys, whoever runs it: told at its socket, by a file beside the keystore, or by
SIGUSR1. Reading and reporting go on. With a policy, operators sign before it resumes.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.commands.signatures import Wanted, at_signer, show, signed
from chain_adapter.config import Config, load
from chain_adapter.errors import AdapterError, SigningRefused, SigningWaits, Unreachable
from chain_adapter.keys import wire
from chain_adapter.keys.approvals import Claim
from chain_adapter.keys.process import socket_beside
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.signing import kill_file
from chain_adapter.store.alarms import close_alarm, raise_alarm
from chain_adapter.store.events import LEDGER, record
from chain_adapter.store.store import Tx

ALARM, SUBJECT = "signing_stopped", "signer"


def _answer(args: Namespace, document: dict[str, Any]) -> int:
    if args.json:
        print_json(document)
    else:
        print(harmless(document["done"]))
    return 0


def kill(args: Namespace) -> int:
    """At the signer's socket, where it is kept; where none answers, by the file."""
    config = load(args.config)
    who = operator()
    path = kill_file(config)
    reached = asyncio.run(_kill(config, f"{args.reason} ({who})"))
    if not reached:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{who}: {args.reason}\n", "utf-8")

    def unit(tx: Tx) -> None:
        record(tx, LEDGER, "kill", SUBJECT, who=who, reason=args.reason)
        raise_alarm(tx, ALARM, SUBJECT, f"{who}: {args.reason}")

    _note(config, unit)
    how = "the signer has it" if reached else f"no signer answers: the file {path} tells it"
    return _answer(
        args,
        {"killed": True, "told_signer": reached, "file": None if reached else str(path),
         "done": f"nothing is signed from now on; {how}"},
    )  # fmt: skip


async def _kill(config: Config, reason: str) -> bool:
    """No signer is started for this: one that does not run signs nothing."""
    keys = config.require_keys()
    signer = RemoteSigner.at(
        keys.socket or socket_beside(keys.keystore), role=wire.OPERATOR
    )  # fmt: skip
    try:
        await signer.ready()
        await signer.kill(reason)
    except (Unreachable, SigningRefused):
        return False
    finally:
        await signer.aclose()
    return True


def _note(config: Config, unit: Any) -> None:
    """In the books, if they can be reached: the switch does not wait for a database."""
    try:
        with opened(config) as store:
            store.write_now(unit)
    except AdapterError as error:
        print(harmless(f"not in the books: {error}"))


def resume(args: Namespace) -> int:
    config = load(args.config)
    who = operator()
    path = kill_file(config)
    claim, wanting = asyncio.run(_resume(config, path, args.signature or (), who))
    if wanting is not None:
        assert claim is not None
        wanted = Wanted(claim, (wanting, "Approve that signing goes on."))
        if not args.signature:
            return show(args, config, wanted)
        raise SigningWaits(wanting, "approval")

    def unit(tx: Tx) -> None:
        record(tx, LEDGER, "resume", SUBJECT, who=who, reason=args.reason)
        close_alarm(tx, ALARM, SUBJECT)

    _note(config, unit)
    done = "signing goes on" if claim is not None else "the kill switch was not on"
    return _answer(args, {"killed": False, "done": done})


async def _resume(
    config: Config, path: Path, signatures: Sequence[Path], who: str
) -> tuple[Claim | None, str | None]:
    """(what operators approve, why it still waits). The switch is written into the journal before
    its file goes away, so that removing a file alone allows nothing."""
    async with at_signer(config) as signer:
        status = await signer.status()
        said = await asyncio.to_thread(_content, path)
        if said is not None and status.resume is None:
            await signer.kill(f"the kill file: {said}")
            status = await signer.status()
        if status.resume is None:
            return None, None
        claim = Claim(*status.resume)
        for document in signed(signatures, claim):
            await signer.approve(document)
        await asyncio.to_thread(path.unlink, missing_ok=True)
        try:
            await signer.resume(who)
        except SigningWaits as error:
            return claim, error.why
    return claim, None


def _content(path: Path) -> str | None:
    """What the kill file says; None where there is none."""
    if not path.exists():
        return None
    return path.read_text("utf-8", "replace").strip()[:200]
