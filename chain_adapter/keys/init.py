"""`keys init`: makes keystore, public keys and journal, or adds what an existing keystore lacks.

mnemonic (new or given) -> seed -> journal -> public file -> keystore, in this order: a keystore
on disk proves that its journal once existed, so a journal that is missing beside it was lost.
Run again with the right passphrase it changes nothing but adds accounts of new chains.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chain_adapter.errors import KeyFileError, LedgerMismatch
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import (
    DEFAULT_N,
    AccountKey,
    Keystore,
    PublicKeys,
    journal_path,
    public_path,
)
from chain_adapter.keys.mnemonics import new_mnemonic, seed_of
from chain_adapter.keys.schemes import scheme_named

EXPORTED: Final = 1000
"""Keys exported ahead for each account of a scheme without public derivation."""


@dataclass(frozen=True, slots=True)
class ChainKeys:
    """What `init` must know of a chain: `address_of` spells a compressed public key."""

    name: str
    scheme: str
    coin_type: int
    address_of: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address as printed by `keys init`: role hot or gas."""

    chain: str
    address: str
    role: str
    path: str


@dataclass(frozen=True, slots=True)
class InitResult:
    """`mnemonic` is set when new words were made: show them once, and keep them nowhere."""

    created: bool
    ledger_id: str
    addresses: tuple[OwnAddress, ...]
    keystore: Path
    mnemonic: str | None = field(default=None, repr=False)


def init(
    keystore_path: Path,
    passphrase: str,
    mnemonic: str | None,
    chains: Sequence[ChainKeys],
    *,
    ledger_id: str | None = None,
    extra_entropy: bytes = b"",
    n: int = DEFAULT_N,
) -> InitResult:
    """Make or complete the keys of a ledger; idempotent.

    `ledger_id` binds the ledger that an import has already made. Raises `KeyFileError`: wrong
    passphrase, damaged files, another mnemonic than the existing keystore's, a lost journal;
    `LedgerMismatch`: files that belong to another ledger than `ledger_id`.
    """
    if keystore_path.exists():
        words, created = None, False
        keystore = _existing(keystore_path, passphrase, mnemonic)
    else:
        words, created = (None if mnemonic else new_mnemonic(extra_entropy)), True
        keystore = _new(keystore_path, passphrase, mnemonic or words or "", ledger_id, chains, n)
    try:
        if ledger_id is not None and keystore.ledger_id != ledger_id:
            raise LedgerMismatch(
                f"keystore {keystore_path} belongs to ledger {keystore.ledger_id}, the database "
                f"to {ledger_id}; use the keystore that was made for this database"
            )
        public = _complete(keystore, chains)
        addresses = tuple(
            OwnAddress(chain.name, chain.address_of(key), role, path)
            for chain in chains
            for role, account in (("hot", Account.HOT), ("gas", Account.GAS))
            for key, path in [
                (
                    public.public_key(chain.scheme, chain.coin_type, account, 0),
                    scheme_named(chain.scheme).path(chain.coin_type, account, 0),
                )
            ]
        )
        return InitResult(created, keystore.ledger_id, addresses, keystore_path, words)
    finally:
        keystore.close()


def export_keys(
    keystore_path: Path, passphrase: str, scheme: str, coin_type: int, account: int, upto: int
) -> int:
    """Export public keys below index `upto` for a scheme without public derivation.

    Returns how many the daemon knows now; never fewer than before. Raises `KeyFileError`.
    """
    keystore = Keystore.open(keystore_path, passphrase)
    try:
        public = PublicKeys.load(keystore_path)
        if public.seed_id != keystore.seed_id:
            raise KeyFileError(f"{public_path(keystore_path)} belongs to another keystore")
        known = public.exported(scheme, coin_type, account)
        if known is None or known >= upto:
            return upto if known is None else known
        made = keystore.account_key(scheme, coin_type, account, upto)
        accounts = {**public.accounts, (scheme, coin_type, account): made}
        replace(public, accounts=accounts).save(keystore_path)
        return upto
    finally:
        keystore.close()


def _existing(path: Path, passphrase: str, mnemonic: str | None) -> Keystore:
    keystore = Keystore.open(path, passphrase)
    if mnemonic is not None:
        given = Keystore(path, "", seed_of(mnemonic), {})
        same = given.seed_id == keystore.seed_id
        given.close()
        if not same:
            keystore.close()
            raise KeyFileError(
                f"keystore {path} exists already and holds another seed than the mnemonic; "
                "it is never overwritten: name another file, or move it away"
            )
    return keystore


def _new(
    path: Path,
    passphrase: str,
    mnemonic: str,
    ledger_id: str | None,
    chains: Sequence[ChainKeys],
    n: int,
) -> Keystore:
    seed = seed_of(mnemonic)
    probe = Keystore(path, "", seed, {})
    journal = journal_path(path)
    try:
        if journal.exists() and not _set_aside(journal, probe.seed_id):
            # the keystore was lost: the journal is worth more than a new ledger
            found = Journal.facts(journal)
            if found["seed_id"] != probe.seed_id:
                raise KeyFileError(
                    f"beside {path} stands the signer's journal of another seed: {journal}; "
                    "move it to where its keystore is, never delete it"
                )
            if ledger_id is not None and found["ledger_id"] != ledger_id:
                raise LedgerMismatch(
                    f"journal {journal} belongs to ledger {found['ledger_id']}, the database to "
                    f"{ledger_id}"
                )
            ledger_id, journal_id = found["ledger_id"], found["journal_id"]
        else:
            ledger_id = ledger_id or secrets.token_hex(16)
            journal_id = secrets.token_hex(16)
            Journal.create(
                journal, journal_id=journal_id, ledger_id=ledger_id, seed_id=probe.seed_id
            )
        probe.ledger_id = ledger_id
        PublicKeys(
            ledger_id, probe.seed_id, journal_id, probe.request_id_secret, _accounts(probe, chains)
        ).save(path)
    finally:
        probe.close()
    return Keystore.create(
        path,
        passphrase,
        seed,
        ledger_id=ledger_id,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        n=n,
    )


def _set_aside(journal: Path, seed_id: str) -> bool:
    """Rename a journal that an init left behind which was cut short: of another seed, and empty."""
    found = Journal.facts(journal)
    if found["seed_id"] == seed_id or not Journal.is_empty(journal):
        return False
    journal.rename(journal.with_name(f"{journal.name}.unused-{found['journal_id'][:8]}"))
    return True


def _complete(keystore: Keystore, chains: Sequence[ChainKeys]) -> PublicKeys:
    """The public file with every chain's accounts in it; written anew only if something lacked."""
    path = public_path(keystore.path)
    journal = Journal.facts(journal_path(keystore.path))
    if journal["seed_id"] != keystore.seed_id or journal["ledger_id"] != keystore.ledger_id:
        raise KeyFileError(
            f"the signer's journal beside {keystore.path} belongs to another keystore; "
            "put the right one back: signing without it can pay twice"
        )
    known: dict[tuple[str, int, int], AccountKey] = {}
    if path.exists():
        public = PublicKeys.load(path)
        if public.seed_id != keystore.seed_id or public.ledger_id != keystore.ledger_id:
            raise KeyFileError(
                f"{path} belongs to another keystore than {keystore.path}; move it away and run "
                "`chain-adapter keys init` again"
            )
        known = dict(public.accounts)
        if public.journal_id != journal["journal_id"]:
            raise KeyFileError(
                f"the signer's journal beside {keystore.path} was exchanged; put the right one "
                "back: signing without it can pay twice"
            )
    lacking = {k: v for k, v in _accounts(keystore, chains).items() if k not in known}
    complete = PublicKeys(
        keystore.ledger_id,
        keystore.seed_id,
        journal["journal_id"],
        keystore.request_id_secret,
        {**known, **lacking},
    )
    if lacking or not path.exists():
        complete.save(path)
    return complete


def _accounts(
    keystore: Keystore, chains: Sequence[ChainKeys]
) -> dict[tuple[str, int, int], AccountKey]:
    kinds = {(chain.scheme, chain.coin_type) for chain in chains}
    return {
        (scheme, coin_type, account.value): keystore.account_key(
            scheme, coin_type, account, EXPORTED
        )
        for scheme, coin_type in sorted(kinds)
        for account in Account
    }
