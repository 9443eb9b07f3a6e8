"""A signer with a real keystore, a real platform key and the pure half of the reference chain.

Payloads are made by hand, so that a test can make the ones that no honest `build` would.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter import money
from chain_adapter.chain import Asset, Chain, Intent, Payment
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.audit import AuditLog
from chain_adapter.keys.gate import Gate
from chain_adapter.keys.init import ChainKeys, init
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import MIN_N, Keystore, PublicKeys, journal_path
from chain_adapter.keys.signer import (
    KeyPath,
    LocalSigner,
    PayoutKey,
    Purpose,
    SignerAsset,
    SignerChain,
    SignRequest,
    Warrant,
    scope_of,
)
from chain_adapter.platform_api.envelope import Envelope
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference import Flavour, ReferencePlugin, ReferenceSettings

WORDS = "test test test test test test test test test test test junk"
PASSPHRASE = "correct horse"
CHAIN = "ref"
IDENTITY = "reference:main/0xabcdef"
BINDS = "reference:main"
TOKEN = bytes(range(1, 21))
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STRANGER = bytes.fromhex("02" + "11" * 32)


@lru_cache(maxsize=4)
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A key of 2048 bits, made once a run and name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def assets_of(flavour: Flavour) -> dict[str, Asset]:
    native = {"REF": Asset("REF", None, 8)}
    token = {"USDX": Asset("USDX", TOKEN.hex(), 6)}
    return native if flavour is Flavour.COIN else {**native, **token}


@contextlib.asynccontextmanager
async def _gate(_method: str) -> AsyncIterator[None]:
    yield


def open_chain(flavour: Flavour = Flavour.ACCOUNT) -> Chain:
    settings = ReferenceSettings(flavour=flavour)
    return ReferencePlugin().open(settings, assets_of(flavour), None, _gate)


def chain_keys(name: str = CHAIN, flavour: Flavour = Flavour.ACCOUNT) -> ChainKeys:
    chain = open_chain(flavour)
    return ChainKeys(name, chain.info.scheme, chain.info.coin_type, chain.address_of)


@lru_cache(maxsize=1)
def _template() -> tuple[bytes, bytes]:
    """Keystore and public file of `WORDS`, stretched once a run."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "keystore.json"
        init(path, PASSPHRASE, WORDS, [chain_keys()], n=MIN_N)
        return path.read_bytes(), path.with_name("keystore.public.json").read_bytes()


@lru_cache(maxsize=1)
def _opened_seed() -> bytes:
    from chain_adapter.keys.mnemonics import seed_of

    return seed_of(WORDS)


@dataclass
class World:
    """One signer under test and what surrounds it."""

    folder: Path
    flavour: Flavour = Flavour.ACCOUNT
    now: datetime = START
    trusting: bool = False
    cold: Mapping[str, str] = field(default_factory=dict)
    fee_cap: int | None = None
    pin: bool = True
    policy: str | None = None
    kill_file: Path | None = None

    def __post_init__(self) -> None:
        self.chain = open_chain(self.flavour)
        self.path = self.folder / "keystore.json"
        if not self.path.exists():
            self._lay_out()
        self.platform = Envelope(rsa_key("platform"), rsa_key("adapter").public_key())
        self.ours = Envelope(rsa_key("adapter"), rsa_key("platform").public_key())
        self._trans_ids = itertools.count(1000)

    def _lay_out(self) -> None:
        keystore, public = _template()
        facts = json.loads(public)
        for path, content in (
            (self.path, keystore),
            (self.folder / "keystore.public.json", public),
        ):
            path.write_bytes(content)
            path.chmod(0o600)
        Journal.create(
            journal_path(self.path),
            journal_id=facts["journal_id"],
            ledger_id=facts["ledger_id"],
            seed_id=facts["seed_id"],
        )

    def signer_chain(self) -> SignerChain:
        return SignerChain(
            chain=self.chain,
            assets={
                name: SignerAsset(name, name, asset.decimals)
                for name, asset in assets_of(self.flavour).items()
            },
            cold=self.cold,
            fee_cap=self.fee_cap,
        )

    def open_unpinned(self, **options: Any) -> LocalSigner:
        """A signer on the files; the seed is not stretched again, which is all that is spared."""
        public = PublicKeys.load(self.path)
        keystore = Keystore(self.path, public.ledger_id, _opened_seed(), {})
        journal = Journal.open(
            journal_path(self.path),
            journal_id=public.journal_id,
            seed_id=keystore.seed_id,
            now=lambda: self.now,
            wait_s=0,
        )
        chains = {CHAIN: self.signer_chain()}
        gate = Gate(
            AuditLog(keystore.audit_key),
            scope_of(chains),
            keystore.ledger_id,
            now=lambda: self.now,
            kill_file=self.kill_file,
        )
        signer = LocalSigner(
            keystore,
            journal,
            chains,
            self.ours.verify,
            now=lambda: self.now,
            gate=gate,
            envelope=self.ours,
            **{"trusting": self.trusting, **options},
        )
        self.in_force = journal.run_soon(lambda tx: gate.load(tx, self.policy)).result()
        return signer

    @contextlib.asynccontextmanager
    async def signer(self, **options: Any) -> AsyncIterator[LocalSigner]:
        signer = self.open_unpinned(**options)
        try:
            if self.pin:
                await signer.pin(CHAIN, IDENTITY)
            yield signer
        finally:
            await signer.aclose()

    # --- keys and addresses

    def public_key(self, account: int, index: int = 0) -> bytes:
        return PublicKeys.load(self.path).public_key("secp256k1", 1, account, index)

    def address(self, account: int, index: int = 0) -> str:
        return self.chain.address_of(self.public_key(account, index))

    def stranger(self, number: int = 0) -> str:
        """An address that is none of ours."""
        key = bytes([number % 256]) * 19 + b"\x07"
        return tx.spell(self.flavour, tx.SCRIPT + key if self.flavour is Flavour.COIN else key)

    # --- orders and requests

    def order(self, **content: Any) -> dict[str, Any]:
        return {
            "trans_id": str(next(self._trans_ids)),
            "symbol": "REF",
            "amount": "1.5",
            "address_to": self.stranger(),
            **content,
        }

    def warrant(self, *orders: Mapping[str, Any], raw: bytes | None = None) -> Warrant:
        plaintext = raw if raw is not None else json.dumps(list(orders)).encode()
        return Warrant(plaintext, self.platform.sign(plaintext))

    def payload(
        self,
        payments: tuple[Payment, ...],
        *,
        account: int = 0,
        index: int = 0,
        sequence: int | None = 0,
        expires: int | None = None,
        price: int = 1,
        binds: str = BINDS,
        salt: bytes = b"",
    ) -> bytes:
        """The bytes of an account (or memo) transaction that pays exactly `payments`."""
        body = tx.Body(
            flavour=self.flavour,
            binds=binds,
            sender=self.public_key(account, index),
            sequence=sequence,
            inputs=(),
            price=price,
            outputs=tuple(self._output(p) for p in payments),
            expires=expires,
            salt=salt,
        )
        return tx.encode(tx.Payload(tx.encode(body), ()))

    def coin_payload(
        self,
        coins: Mapping[str, tuple[int, int, int]],
        payments: tuple[Payment, ...],
        *,
        binds: str = BINDS,
    ) -> bytes:
        """Coin transaction; `coins`: lock -> (account, index, amount)."""
        body = tx.Body(
            Flavour.COIN, binds, b"", None, tuple(coins), 0,
            tuple(self._output(p) for p in payments), None, b"",
        )  # fmt: skip
        behind = tuple((self.public_key(a, i), amount) for a, i, amount in coins.values())
        return tx.encode(tx.Payload(tx.encode(body), behind))

    def _output(self, payment: Payment) -> tx.Output:
        asset = b"" if payment.asset == "REF" else TOKEN
        memo = None if payment.memo is None else payment.memo.encode()
        return tx.Output(asset, self.chain.address_key(payment.to), payment.amount or 0, memo)

    def request(
        self,
        kind: str = "withdrawal",
        *,
        order: Mapping[str, Any] | None = None,
        payments: tuple[Payment, ...] | None = None,
        purpose: Purpose = Purpose.PAY,
        account: int | None = None,
        index: int = 0,
        trans_id: str | None = None,
        symbol: str | None = None,
        destination: KeyPath | None = None,
        **bytes_of: Any,
    ) -> SignRequest:
        """An honest request; change it with `dataclasses.replace` to make it dishonest."""
        account = {"sweep": 1, "top-up": 2}.get(kind, 0) if account is None else account
        warrant = None
        if kind == "withdrawal" and purpose != Purpose.VOID:
            order = self.order() if order is None else order
            warrant = self.warrant(order)
            trans_id = trans_id or order["trans_id"]
            symbol = symbol or order["symbol"]
            if payments is None:
                asset = assets_of(self.flavour)[order["symbol"]]
                units = money.parse(order["amount"], asset.decimals)
                payments = (Payment(asset.name, order["address_to"], units, order.get("memo")),)
        payments = () if payments is None else payments
        payload = self.payload(payments, account=account, index=index, **bytes_of)
        return SignRequest(
            chain=CHAIN,
            payout=PayoutKey(kind, symbol or "REF", trans_id or f"{kind}:{next(self._trans_ids)}"),
            purpose=purpose,
            account=account,
            index=index,
            intent=Intent(
                sender=self.address(account, index),
                public_key=self.public_key(account, index),
                payments=payments,
                fee_limit=1000,
            ),
            payload=payload,
            build_height=100,
            warrant=warrant,
            destination=destination,
        )

    def void(self, request: SignRequest, *, sequence: int, price: int = 2) -> SignRequest:
        """The void of `request`'s payout at a sequence."""
        return replace(
            request,
            purpose=Purpose.VOID,
            intent=replace(request.intent, payments=()),
            payload=self.payload(
                (), account=request.account, index=request.index, sequence=sequence, price=price
            ),
            warrant=None,
        )


async def refused(signer: LocalSigner, request: SignRequest, why: str) -> None:
    before = len(await signer.journal(CHAIN))
    with pytest.raises(SigningRefused, match=why):
        await signer.sign(request)
    assert len(await signer.journal(CHAIN)) == before


def replace_key(key: PayoutKey, **changes: str) -> PayoutKey:
    return PayoutKey(
        changes.get("kind", key.kind),
        changes.get("symbol", key.symbol),
        changes.get("trans_id", key.trans_id),
    )
