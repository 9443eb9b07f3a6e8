"""The one place where a signature is made. `Signer` is the port, `LocalSigner` does the work.

request -> journaled already? the same bytes again -> the plugin's `inspect` -> rules (network,
keys, effect, kind with warrant) -> exclusion (locks, open attempts) -> sign -> assemble
-> journal commit -> the signed bytes leave. One thread does this for all, so two requests that
contradict each other are never both granted, and commits are made in groups.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from chain_adapter.chain import ChainError, Effect, SignedTx
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.approvals import Claim, content_of
from chain_adapter.keys.audit import AuditLog
from chain_adapter.keys.backends import KeyBackend
from chain_adapter.keys.cancels import check_not_cancelled
from chain_adapter.keys.controls import LocalControls
from chain_adapter.keys.exclusion import check_death, check_exclusion
from chain_adapter.keys.gate import Credit, Gate
from chain_adapter.keys.journal import (
    Death,
    JournalEntry,
    JournalTx,
    PayoutKey,
    Purpose,
    SettledMark,
    State,
)
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import Keystore, PublicKeys, journal_path
from chain_adapter.keys.own_addresses import OwnAddresses
from chain_adapter.keys.policy import Scope
from chain_adapter.keys.port import Signer
from chain_adapter.keys.proof import proof_message, verify_proof
from chain_adapter.keys.request import KeyPath, SignerAsset, SignerChain, SignRequest
from chain_adapter.keys.rules import (
    MAX_PAYLOAD_BYTES,
    OwnKey,
    check_effect,
    check_keys,
    check_kind,
    check_network,
    new_attempt,
)
from chain_adapter.keys.schemes import Scheme, scheme_named
from chain_adapter.keys.warrant import Verify, refused
from chain_adapter.platform_api.answers import Warrant
from chain_adapter.platform_api.envelope import Envelope

__all__ = [
    "Credit",
    "Death",
    "JournalEntry",
    "KeyPath",
    "LocalSigner",
    "PayoutKey",
    "Purpose",
    "SettledMark",
    "SignRequest",
    "Signer",
    "SignerAsset",
    "SignerChain",
    "State",
    "Warrant",
    "verify_proof",
]

_KEPT_KEYS: Final = 4096

SignMessage = Callable[[bytes, bytes], bytes]
"""(message, the payload it was derived from) -> signature."""


class _Judged(Exception):
    """Everything was judged: nothing of it stays."""


class LocalSigner:
    """The signer inside this process: keystore, journal and rules.

    Guarantees: no signature without a journal row that is on the disk; none outside intent,
    warrant and pinned network; the same bytes for the same request, also after a crash.
    Does not guarantee: that what the daemon says about the chain is true (docs/security.md).
    """

    def __init__(
        self,
        keystore: Keystore,
        journal: Journal,
        chains: Mapping[str, SignerChain],
        verify: Verify,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trusting: bool = True,
        gate: Gate | None = None,
        envelope: Envelope | None = None,
        backends: Mapping[tuple[str, KeyPath], KeyBackend] | None = None,
    ) -> None:
        self._keystore = keystore
        self._journal = journal
        self._chains = dict(chains)
        self._verify = verify
        self._now = now
        self._trusting = trusting
        self._gate = gate or Gate(
            AuditLog(keystore.audit_key), scope_of(chains), keystore.ledger_id, now=now
        )
        own = OwnAddresses(keystore, chains)
        self.controls = LocalControls(
            journal, self._gate, tuple(sorted(chains)), envelope, own.holds
        )
        self._backends = dict(backends or {})
        self._keys: OrderedDict[tuple[str, KeyPath], tuple[OwnKey, SignMessage]] = OrderedDict()

    def __repr__(self) -> str:
        return f"LocalSigner(chains={sorted(self._chains)})"

    @classmethod
    def open(
        cls,
        keystore_path: Path,
        passphrase: str,
        chains: Mapping[str, SignerChain],
        verify: Verify,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trusting: bool = True,
        wait_s: float = 10.0,
        policy: str | None = None,
        kill_file: Path | None = None,
        envelope: Envelope | None = None,
        backends: Mapping[tuple[str, KeyPath], KeyBackend] | None = None,
    ) -> Self:
        """Open keystore and journal. `verify` is `Envelope.verify`: the platform's signature.

        `policy` is the policy file's text; one that differs from the policy in force waits for
        operators. Without any, `trusting` takes the daemon's word where the journal cannot know.
        `envelope` makes the signer seal and open what is said with the platform (`controls`).
        `backends`: (chain, path) -> a key that lives elsewhere and takes the derived one's place.
        Blocks for the key stretching. Raises `KeyFileError`, `AlreadyRunning`, `ConfigError`.
        """
        keystore = Keystore.open(keystore_path, passphrase)
        public = PublicKeys.load(keystore_path)
        journal = Journal.open(
            journal_path(keystore_path),
            journal_id=public.journal_id,
            seed_id=keystore.seed_id,
            now=now,
            wait_s=wait_s,
        )
        gate = Gate(
            AuditLog(keystore.audit_key),
            scope_of(chains),
            keystore.ledger_id,
            now=now,
            kill_file=kill_file,
        )
        signer = cls(
            keystore,
            journal,
            chains,
            verify,
            now=now,
            trusting=trusting,
            gate=gate,
            envelope=envelope,
            backends=backends,
        )
        try:
            journal.run_soon(lambda tx: gate.load(tx, policy)).result()
        except BaseException:
            journal.close()
            keystore.close()
            raise
        return signer

    @property
    def commits(self) -> int:
        """Durable commits of the journal so far."""
        return self._journal.commits

    async def sign(self, request: SignRequest) -> SignedTx:
        try:
            chain = self._chain(request.chain)
            return await self._journal.run(lambda tx: self._sign(tx, request, chain))
        except SigningRefused as refusal:
            await self._tell(request, refusal)
            raise

    async def judge(self, requests: Sequence[SignRequest]) -> list[SigningRefused | None]:
        verdicts: list[SigningRefused | None] = []

        def unit(tx: JournalTx) -> None:
            verdicts.extend(self._verdict(tx, one) for one in requests)
            raise _Judged  # undoes what was booked while judging

        with suppress(_Judged):
            await self._journal.run(unit)
        for request, refusal in zip(requests, verdicts, strict=True):
            if refusal is not None:
                await self._tell(request, refusal)
        return verdicts

    async def _tell(self, request: SignRequest, refusal: SigningRefused) -> None:
        detail = {"why": refusal.why, "purpose": request.purpose, "chain": request.chain}
        await self._journal.run(lambda tx: self._gate.refusal(tx, str(request.payout), detail))

    async def journal(self, chain: str, after: int = 0, limit: int = -1) -> list[JournalEntry]:
        return await self._journal.run(lambda tx: tx.entries(chain, after, limit))

    async def settled(self) -> list[SettledMark]:
        return await self._journal.run(lambda tx: tx.settled())

    async def pin(self, chain: str, identity: str) -> None:
        known = self._chain(chain)
        if known.identity and known.identity != identity:
            raise refused(f"chain {chain} is configured as {known.identity}, not as {identity}")
        await self._journal.run(lambda tx: tx.pin(chain, identity))

    async def close(self, chain: str, txid: str, death: Death) -> None:
        def unit(tx: JournalTx) -> None:
            entry = tx.attempt(chain, txid)
            if entry is None:
                raise refused(f"{txid} on {chain} was not signed here")
            if entry.state == death.reason:
                return
            trusting = self._trusting and self._gate.policy is None
            if death.reason == State.USED and self._gate.policy is not None:
                trusting = self._vouched(tx, entry, death)
            check_death(tx, entry, death, now_s=self._now().timestamp(), trusting=trusting)
            tx.end(entry, death)

        await self._journal.run(unit)

    async def settle(self, payout: PayoutKey, evidence: str, by_whom: str) -> None:
        if not evidence or not by_whom:
            raise refused(f"{payout} is settled only with evidence and by people with a name")

        def unit(tx: JournalTx) -> None:
            for entry in tx.attempts_of(payout):
                if entry.state == State.OPEN:
                    raise SigningRefused(
                        f"{payout}: {entry.txid} may still land; void it first, or wait for its "
                        "expiry"
                    )
            named = by_whom
            if self._gate.policy is not None:
                claim = Claim("settle", str(payout), content_of("settle", str(payout), evidence))
                names = self._gate.demand(tx, claim, self._gate.policy.quorums.settle)
                named = ", ".join(names)
            tx.settle(payout, evidence, named)
            self._gate.event(tx, "settle", str(payout), {"evidence": evidence, "by": named})

        await self._journal.run(unit)

    async def prove(self, chain: str, account: int, index: int, challenge: bytes) -> bytes:
        known = self._chain(chain)
        if not 16 <= len(challenge) <= 64:
            raise refused("a challenge has 16 to 64 bytes")

        def unit(tx: JournalTx) -> bytes:
            self._gate.check_killed()
            own, sign = self._key(chain, known, KeyPath(account, index))
            return sign(proof_message(chain, own.address, challenge), b"")

        return await self._journal.run(unit)

    async def aclose(self) -> None:
        self._journal.close()
        self._keys.clear()
        self._keystore.close()

    # --- inside: everything below runs in the journal's thread

    def _verdict(self, tx: JournalTx, request: SignRequest) -> SigningRefused | None:
        try:
            self._allow(tx, request, self._chain(request.chain))
        except SigningRefused as refusal:
            return refusal
        return None

    def _sign(self, tx: JournalTx, request: SignRequest, chain: SignerChain) -> SignedTx:
        self._gate.check_killed()
        again = tx.same_payload(request.chain, request.payout, request.payload)
        if again is not None:
            return SignedTx(*again)
        effect, wanted, reason = self._allow(tx, request, chain)
        signatures = [
            self._key(request.chain, chain, wanted[s.public_key])[1](s.message, request.payload)
            for s in effect.to_sign
        ]
        try:
            signed = chain.chain.assemble(request.payload, signatures)
        except ChainError as problem:
            raise refused(f"{request.payout}: the payload does not assemble: {problem}") from None
        tx.record(new_attempt(request, effect, signed))
        told = {"chain": request.chain, "purpose": request.purpose, "txid": signed.txid}
        self._gate.event(tx, "signed", str(request.payout), {**told, "why": reason})
        return signed

    def _allow(
        self, tx: JournalTx, request: SignRequest, chain: SignerChain
    ) -> tuple[Effect, dict[bytes, KeyPath], str]:
        """Every rule, in order; (effect, public key -> path, why it is allowed)."""
        self._gate.check_killed()
        effect = self._inspect(request, chain)
        check_network(effect, tx.pinned(request.chain), request.chain)

        def own(path: KeyPath) -> OwnKey:
            return self._key(request.chain, chain, path)[0]

        wanted = check_keys(request, effect, own)
        net = check_effect(request, effect, chain)
        if request.purpose != Purpose.VOID:
            check_not_cancelled(tx, request.payout)
        attempts = check_exclusion(tx, request, effect)
        paid = [a.payments for a in attempts if a.purpose != Purpose.VOID]
        check_kind(request, net, chain, own, verify=self._verify, earlier=paid[0] if paid else None)
        reason = self._gate.check_payment(tx, request, effect, attempts, chain)
        return effect, wanted, reason

    def _vouched(self, tx: JournalTx, entry: JournalEntry, death: Death) -> bool:
        """Whether operators vouch that a transaction not signed here used the lock."""
        if self._gate.policy is None or not death.by_txid:
            return False
        if tx.attempt(entry.chain, death.by_txid) is not None:
            return False
        content = content_of("evidence", entry.chain, entry.txid, death.by_txid)
        names = self._gate.approved_by(tx, Claim("evidence", entry.txid, content))
        return len(names) >= self._gate.policy.quorums.evidence

    def _inspect(self, request: SignRequest, chain: SignerChain) -> Effect:
        if len(request.payload) > MAX_PAYLOAD_BYTES:
            raise refused(f"{request.payout}: the payload is larger than {MAX_PAYLOAD_BYTES} bytes")
        try:
            return chain.chain.inspect(request.payload)
        except ChainError as problem:
            raise refused(f"{request.payout}: the payload cannot be named: {problem}") from None

    def _key(self, name: str, chain: SignerChain, path: KeyPath) -> tuple[OwnKey, SignMessage]:
        """A key of ours with its address; derived once, the least recently used forgotten."""
        kept = self._keys.get((name, path))
        if kept is not None:
            self._keys.move_to_end((name, path))
            return kept
        info = chain.chain.info
        if not (0 <= path.account < 2**31 and 0 <= path.index < 2**31):
            raise refused(f"there is no key at account {path.account}, index {path.index}")
        if (name, path) in self._backends:
            backend = self._backends[name, path]
            public_key = backend.public_key
            sign: SignMessage = backend.sign
        else:
            scheme = scheme_named(info.scheme)
            private_key = self._keystore.private_key(
                info.scheme, info.coin_type, path.account, path.index
            )
            public_key = scheme.public_key(private_key)
            sign = _signs_with(scheme, private_key)
        kept = (OwnKey(path, public_key, chain.chain.address_of(public_key)), sign)
        self._keys[name, path] = kept
        if len(self._keys) > _KEPT_KEYS:
            self._keys.popitem(last=False)
        return kept

    def _chain(self, name: str) -> SignerChain:
        try:
            return self._chains[name]
        except KeyError:
            raise refused(f"the signer knows no chain {name!r}") from None


def _signs_with(scheme: Scheme, private_key: bytes) -> SignMessage:
    # a closure and no `partial`: that one would show the key in its repr
    return lambda message, _payload: scheme.sign(private_key, message)


def scope_of(chains: Mapping[str, SignerChain]) -> Scope:
    """What a policy may speak of, from the signer's own configuration."""
    symbols = {
        asset.symbol: asset.decimals for chain in chains.values() for asset in chain.assets.values()
    }
    fees = {
        name: chain.assets[chain.chain.info.fee_asset].decimals for name, chain in chains.items()
    }
    return Scope(symbols, fees)
