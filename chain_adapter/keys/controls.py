"""What operators and the courier ask of the signer beside signatures.

Operators: approvals, kill and resume, a new policy, the log. Courier: may this deposit be credited,
seal this message, open that answer; the RSA key that can credit users stays with the signer, and a
deposit notification is sealed only within the policy's limits on credits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from chain_adapter import money
from chain_adapter.errors import AmountError, SigningRefused
from chain_adapter.keys.audit import AuditEvent, events
from chain_adapter.keys.cancels import book_cancel
from chain_adapter.keys.gate import Credit, Gate
from chain_adapter.keys.journal import JournalTx
from chain_adapter.keys.journal_file import Journal
from chain_adapter.platform_api.envelope import Envelope, Sealed
from chain_adapter.platform_api.exact_json import BadMessage
from chain_adapter.platform_api.messages import (
    Available,
    Cancel,
    Consume,
    DepositNotice,
    InternalNotice,
    Register,
    Request,
    WithdrawalNotice,
)

_KINDS: Final = (
    DepositNotice,
    WithdrawalNotice,
    InternalNotice,
    Cancel,
    Register,
    Consume,
    Available,
)


class SignerStatus(msgspec.Struct, frozen=True):
    """What the signer says of itself. `killed`: why nothing is signed. No secret in it."""

    ledger_id: str
    chains: tuple[str, ...]
    killed: str | None
    resume: tuple[str, str, str] | None  # act, subject, content that operators sign to resume
    policy: str | None  # digest of the policy in force
    policy_text: str | None
    audit_key: str
    last_event: str  # hash of the newest log entry


class Controls(Protocol):
    """Port of commands and daemon; `LocalControls` and `RemoteSigner` implement it."""

    async def status(self) -> SignerStatus: ...

    async def approve(self, document: str) -> str:
        """Keep an operator's signed approval; returns the operator's name."""
        ...

    async def kill(self, reason: str) -> None:
        """Stop all signing at once, until `resume`."""
        ...

    async def resume(self, by_whom: str) -> None: ...

    async def propose_policy(self, text: str) -> tuple[str, str, str] | None:
        """None when it is now in force; else (act, subject, content) that operators must sign."""
        ...

    async def check_credit(self, credit: Credit) -> None:
        """Book a deposit against the limits on credits. `SigningRefused` when it must wait."""
        ...

    async def events(self, after: int = 0, limit: int = 1000) -> list[AuditEvent]: ...


class LocalControls:
    """`Controls` and the platform's `Sealer` over the signer's own journal."""

    def __init__(
        self,
        journal: Journal,
        gate: Gate,
        chains: tuple[str, ...],
        envelope: Envelope | None,
        is_ours: Callable[[str, str], bool],
    ) -> None:
        self._journal = journal
        self._gate = gate
        self._chains = chains
        self._envelope = envelope
        self._is_ours = is_ours  # (symbol, address)

    async def status(self) -> SignerStatus:
        gate = self._gate

        def unit(tx: JournalTx) -> SignerStatus:
            row = tx.connection.execute(
                "SELECT hash FROM events ORDER BY seq DESC LIMIT 1"
            ).fetchone()
            claim = gate.resume_claim()
            policy = gate.policy
            return SignerStatus(
                ledger_id=gate.ledger_id,
                chains=self._chains,
                killed=gate.killed,
                resume=None if claim is None else (claim.act, claim.subject, claim.content),
                policy=None if policy is None else policy.digest,
                policy_text=None if policy is None else policy.text,
                audit_key=gate.audit.public_key.hex(),
                last_event="" if row is None else str(row[0]),
            )

        return await self._journal.run(unit)

    async def approve(self, document: str) -> str:
        return (await self._journal.run(lambda tx: self._gate.approve(tx, document))).operator

    async def kill(self, reason: str) -> None:
        await self._journal.run(lambda tx: self._gate.kill(tx, reason or "no reason given"))

    async def resume(self, by_whom: str) -> None:
        await self._journal.run(lambda tx: self._gate.resume(tx, by_whom or "nobody named"))

    async def propose_policy(self, text: str) -> tuple[str, str, str] | None:
        def unit(tx: JournalTx) -> tuple[str, str, str] | None:
            claim = self._gate.policy_claim(text)
            if self._gate.propose(tx, text):
                return None
            return (claim.act, claim.subject, claim.content)

        return await self._journal.run(unit)

    async def check_credit(self, credit: Credit) -> None:
        try:
            await self._journal.run(lambda tx: self._gate.check_credit(tx, credit))
        except SigningRefused as refusal:
            await self._log(credit.request_id, refusal)
            raise

    async def events(self, after: int = 0, limit: int = 1000) -> list[AuditEvent]:
        return await self._journal.run(lambda tx: events(tx, after, min(limit, 1000)))

    # --- the platform's Sealer

    async def seal(self, plaintext: bytes) -> Sealed:
        """Encrypt and sign a message to the platform, if it is one of the seven calls as written
        by this program: a deposit notification only within the limits, a cancel only of what is
        not paid, addresses only of our own. Raises `SigningRefused`.
        """
        envelope = self._own_envelope()
        message = message_of(plaintext)
        if message is None:
            refusal = SigningRefused(
                "the bytes to seal are none of the seven messages to the platform", for_good=True
            )
            await self._log("seal", refusal)
            raise refusal
        if isinstance(message, DepositNotice) and message.status == 1:
            await self.check_credit(self._credit(message))
        elif isinstance(message, Cancel):
            await self._book_cancel(message)
        elif isinstance(message, Register):
            await self._check_register(message)
        return await asyncio.to_thread(envelope.seal, plaintext)

    async def open(self, data: str, sign: str) -> bytes:
        """As `Envelope.open`. Raises `EnvelopeError`."""
        return await asyncio.to_thread(self._own_envelope().open, data, sign)

    async def _book_cancel(self, cancel: Cancel) -> None:
        symbol, trans_id = cancel.symbol, cancel.trans_id.text
        try:
            await self._journal.run(lambda tx: book_cancel(tx, symbol, trans_id))
        except SigningRefused as refusal:
            await self._log(f"cancel {symbol} {trans_id}", refusal)
            raise

    async def _check_register(self, message: Register) -> None:
        """Users will pay to these addresses: each must be one that the signer derives itself."""
        for address in message.addresses:
            if not await asyncio.to_thread(self._is_ours, message.symbol, address):
                refusal = SigningRefused(
                    f"register {message.symbol}: {address[:80]} is no deposit address of ours",
                    for_good=True,
                )
                await self._log(f"register {message.symbol}", refusal)
                raise refusal

    def _own_envelope(self) -> Envelope:
        if self._envelope is None:
            raise SigningRefused("this signer does not hold the platform's keys")
        return self._envelope

    def _credit(self, notice: DepositNotice) -> Credit:
        symbols = self._gate.scope.symbols
        if notice.symbol not in symbols:
            raise SigningRefused(
                f"deposit {notice.request_id}: {notice.symbol!r} is not configured", for_good=True
            )
        try:
            amount = money.parse(notice.amount, symbols[notice.symbol])
        except AmountError as problem:
            raise SigningRefused(f"deposit {notice.request_id}: {problem}", for_good=True) from None
        return Credit(
            notice.request_id,
            notice.symbol,
            notice.txid,
            notice.address_to,
            amount,
            notice.memo or "",
        )

    async def _log(self, subject: str, refusal: SigningRefused) -> None:
        await self._journal.run(lambda tx: self._gate.refusal(tx, subject, {"why": refusal.why}))


def message_of(plaintext: bytes) -> Request | None:
    """The one of the seven messages that these bytes are, in exactly the form this program sends.

    Whoever holds a signature over anything else could play it back as another call.
    """
    for kind in _KINDS:
        try:
            message: Request = kind.from_json(plaintext)
            if message.to_json() == plaintext:
                return message
        except BadMessage:
            continue
    return None
