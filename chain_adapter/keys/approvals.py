"""Approvals: a text that says what is approved and until when, signed by an operator's SSH key.

`approval_text` -> `ssh-keygen -Y sign -n chain-adapter -f KEY FILE` -> text and signature joined
-> `read_approval` here, against the operators of the policy in force. An approval names ledger,
act, subject and content, so it fits nothing else; it counts once for each operator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chain_adapter.errors import SigningRefused
from chain_adapter.keys.journal import PayoutKey
from chain_adapter.keys.ssh_signature import NAMESPACE, PublicKey, SignatureError, split, verify

MAX_DOCUMENT: Final = 32 * 1024
_FIRST_LINE: Final = "chain-adapter approval 1"
ACTS: Final = frozenset(
    {"pay", "redo", "credit", "policy", "resume", "settle", "evidence", "rotate"}
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be approved: an act on a subject with exactly this content."""

    act: str
    subject: str
    content: str  # SHA-256, hex


@dataclass(frozen=True, slots=True)
class Approval:
    """A verified approval of one operator."""

    claim: Claim
    operator: str
    expires_at: datetime
    document: str

    def valid(self, now: datetime) -> bool:
        return now <= self.expires_at


def content_of(*parts: str) -> str:
    """The hash of what is approved; every part counts, none runs into the next."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pay_claim(payout: PayoutKey, chain: str, payments: bytes, act: str = "pay") -> Claim:
    """Approval of a payout: who is paid what on which chain; fee and lock may differ."""
    return Claim(act, str(payout), content_of("payout", chain, str(payout), payments.decode()))


def approval_text(claim: Claim, ledger_id: str, expires_at: datetime) -> str:
    """The very text that an operator signs, with a line end at its end."""
    stamp = expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"{_FIRST_LINE}\nledger: {ledger_id}\nact: {claim.act}\nsubject: {claim.subject}\n"
        f"content: {claim.content}\nexpires: {stamp}\n"
    )


def read_approval(
    document: str, operators: Mapping[str, PublicKey], ledger_id: str, now: datetime
) -> Approval:
    """Verify a document of text and signature. Raises `SigningRefused`.

    Refused: damaged, for another ledger, expired, by nobody who is an operator now.
    """
    if len(document) > MAX_DOCUMENT:
        raise SigningRefused("approval: the document is too large", for_good=True)
    try:
        text, armoured = split(document)
        claim, ledger, expires_at = _parse(text)
    except SignatureError as problem:
        raise SigningRefused(f"approval: {problem}", for_good=True) from None
    if ledger != ledger_id:
        raise SigningRefused("approval: it is for another ledger", for_good=True)
    for name, key in operators.items():
        try:
            verify(key, text.encode(), armoured)
        except SignatureError as problem:
            if str(problem) == "signed by another key":
                continue
            raise SigningRefused(f"approval by {name}: {problem}", for_good=True) from None
        approval = Approval(claim, name, expires_at, document)
        if not approval.valid(now):
            raise SigningRefused(
                f"approval by {name} expired at {expires_at.isoformat()}", for_good=True
            )
        return approval
    raise SigningRefused(
        "approval: its key is no operator's in the policy in force "
        f"(it must be made by: ssh-keygen -Y sign -n {NAMESPACE})",
        for_good=True,
    )


def _parse(text: str) -> tuple[Claim, str, datetime]:
    lines = text.split("\n")
    names = ("ledger", "act", "subject", "content", "expires")
    if len(lines) != 7 or lines[0] != _FIRST_LINE or lines[6] != "":
        raise SignatureError("the text is no approval of this version")
    values: list[str] = []
    for name, line in zip(names, lines[1:6], strict=True):
        key, separator, value = line.partition(": ")
        if key != name or not separator or not value:
            raise SignatureError(f"the text has no line {name!r} where it belongs")
        values.append(value)
    ledger, act, subject, content, expires = values
    if act not in ACTS:
        raise SignatureError(f"there is no act {act!r}")
    try:
        expires_at = datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("its expiry is no time") from None
    return Claim(act, subject, content), ledger, expires_at
