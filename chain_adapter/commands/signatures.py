"""What operators sign with their SSH keys, and the signer that is told.

claim -> document on standard output -> `ssh-keygen -Y sign -n chain-adapter -f KEY FILE` ->
`--signature FILE.sig` -> the signer verifies and keeps it. Where no signer runs, one is started for
this one command; the document itself can be made without any.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from chain_adapter.clock import SystemClock
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.config import Config
from chain_adapter.errors import AlreadyRunning, ConfigError, Unreachable
from chain_adapter.keys import wire
from chain_adapter.keys.approvals import MAX_DOCUMENT, Claim, approval_text
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.process import child_argv, end_child, socket_beside, start_child
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.keys.ssh_signature import NAMESPACE

_ARMOUR = "-----BEGIN SSH SIGNATURE-----"


@asynccontextmanager
async def at_signer(config: Config) -> AsyncIterator[RemoteSigner]:
    """The running signer, or one of our own for the time of a command.

    Raises `Unreachable` when a signer at a configured socket does not answer, `AlreadyRunning`
    when the daemon has embedded it.
    """
    keys = config.require_keys()
    remote = RemoteSigner.at(
        keys.socket or socket_beside(keys.keystore), role=wire.OPERATOR
    )  # fmt: skip
    try:
        await remote.ready()
    except Unreachable:
        await remote.aclose()
        if keys.socket is not None or config.file is None:
            raise
    else:
        try:
            yield remote
        finally:
            await remote.aclose()
        return
    try:
        child, process = await start_child(child_argv(config.file))
    except AlreadyRunning as error:
        raise AlreadyRunning(f"{error}; a daemon with an embedded signer must be stopped") from None
    try:
        yield child
    finally:
        await end_child(child, process)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be signed, and what that means in words."""

    claim: Claim
    means: Sequence[str]

    def document(self, config: Config, hours: int) -> str:
        """The text that an operator signs; it counts for `hours`."""
        ledger_id = PublicKeys.load(config.require_keys().keystore).ledger_id
        expires_at = SystemClock().now() + timedelta(hours=hours)
        return approval_text(self.claim, ledger_id, expires_at)


def show(args: Namespace, config: Config, wanted: Wanted) -> int:
    """Print what is to be signed: the bare text on standard output, what to do on the other."""
    text = wanted.document(config, args.hours)
    if args.json:
        print_json(
            {
                "to_sign": text,
                "act": wanted.claim.act,
                "subject": wanted.claim.subject,
                "content": wanted.claim.content,
                "means": list(wanted.means),
                "sign_with": f"ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE",
            }
        )
        return 0
    print(text, end="", flush=True)
    for line in (
        *wanted.means,
        f"Keep the text above in a FILE, unchanged, and sign it within {args.hours} hours:",
        f"  ssh-keygen -Y sign -n {NAMESPACE} -f YOUR_KEY FILE",
        "then give this command again with --signature FILE.sig",
    ):
        print(harmless(line), file=sys.stderr)
    return 0


def signed(paths: Sequence[Path], claim: Claim) -> list[str]:
    """Text and signature of each file, joined. Raises `ConfigError` for one about something else.

    A file that `ssh-keygen` wrote holds the signature alone: its text stands in the file beside
    it, whose name has no `.sig` at its end.
    """
    documents = []
    for path in paths:
        found = _read(path)
        if found.startswith(_ARMOUR):
            if path.suffix != ".sig":
                raise ConfigError(
                    f"{path} holds the signature alone: leave its name as ssh-keygen made it "
                    "(FILE.sig), beside the text that was signed (FILE)"
                )
            found = _read(path.with_suffix("")) + found
        about = f"act: {claim.act}\nsubject: {claim.subject}\ncontent: {claim.content}\n"
        if about not in found:
            raise ConfigError(
                f"{path} approves something else than {claim.act} of {claim.subject} as it is "
                "now: without --signature this command prints what to sign"
            )
        documents.append(found)
    return documents


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT + 1)
        return content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"--signature: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--signature: {path} is no text") from None
