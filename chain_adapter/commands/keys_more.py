"""`keys addresses / import / backup / restore-check / ceremony`: what custodians do beside `init`.

A backup holds the encrypted keystore, its public half, a copy of the signer's journal as of now and
the evidence of settlements, with their hashes; never a passphrase. `restore-check` opens one and
says whether everything in it belongs together, before the day on which it is needed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chain_adapter.assembly import ConfiguredAccounts, pure_chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands import keys as first
from chain_adapter.commands.ceremony import SCRIPT
from chain_adapter.commands.output import harmless, print_json, table
from chain_adapter.config import Config, load
from chain_adapter.errors import AdapterError, ConfigError, KeyFileError
from chain_adapter.keys.audit import AuditEvent, AuditLog, verify_events
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.init import export_keys
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import Keystore, PublicKeys, journal_path, public_path
from chain_adapter.keys.mnemonics import seed_of
from chain_adapter.keys.schemes import scheme_named
from chain_adapter.keys.secret_files import read_passphrase, read_secret
from chain_adapter.signing import passphrase_of

MANIFEST: Final = "backup.json"


def show_addresses(args: Namespace) -> int:
    """Addresses from the account public keys; `--export` makes more keys known where none can be
    derived, which needs the passphrase."""
    config = load(args.config)
    keystore = config.require_keys().keystore
    chains = {
        name: pure_chain(one)
        for name, one in config.require_chains().items()
        if args.chain in (None, name)
    }
    if not chains:
        raise ConfigError(f"--chain: no chain {args.chain!r} is configured")
    if args.export:
        passphrase = passphrase_of(config)
        for chain in chains.values():
            info = chain.info
            for account in Account:
                export_keys(
                    keystore, passphrase, info.scheme, info.coin_type, account, args.export
                )  # fmt: skip
    public = PublicKeys.load(keystore)
    accounts = ConfiguredAccounts(public)
    rows: list[dict[str, Any]] = []
    for name, chain in chains.items():
        accounts.add(name, chain)
        wanted = [(Account.HOT, 0), (Account.GAS, 0)]
        wanted += [(Account.DEPOSIT, index) for index in range(args.start, args.start + args.count)]
        for account, index in wanted:
            path = scheme_named(chain.info.scheme).path(chain.info.coin_type, account, index)
            rows.append(
                {"chain": name, "role": Account(account).name.lower(), "index": index,
                 "address": accounts.at(name, account, index).address, "path": path}
            )  # fmt: skip
    if args.json:
        print_json(rows)
    else:
        print(table(rows, ("chain", "role", "index", "address", "path")))
    return 0


def import_seed(args: Namespace) -> int:
    """The seed of a mnemonic that exists already; otherwise as `keys init`."""
    args.mnemonic_file, args.yes, args.entropy_file = args.file, True, None
    return first.init(args)


def ceremony(args: Namespace) -> int:
    """Print the script of a key ceremony, filled in for this configuration."""
    config = load(args.config)
    keys = config.require_keys()
    script = SCRIPT.format(
        config=args.config,
        keystore=keys.keystore,
        passphrase_file=keys.passphrase_file,
        journal=journal_path(keys.keystore),
        chains=", ".join(config.require_chains()),
    )
    if args.json:
        print_json({"script": script})
    else:
        print(script)
    return 0


# --- backup ---------------------------------------------------------------------------------------


def backup(args: Namespace) -> int:
    config = load(args.config)
    keystore = config.require_keys().keystore
    folder: Path = args.folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: a backup is never written over another")
        folder.chmod(0o700)
        public = PublicKeys.load(keystore)
        for source in (keystore, public_path(keystore)):
            _copy(source, folder / source.name)
        journal = journal_path(keystore)
        entries = _copy_journal(journal, folder / journal.name)
        evidence = keystore.with_name(f"{keystore.stem}.evidence")
        if evidence.is_dir():
            shutil.copytree(evidence, folder / evidence.name)
    except OSError as error:
        raise KeyFileError(f"backup to {folder}: {error.strerror}") from None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "made_at": SystemClock().now().isoformat(timespec="seconds"),
        "ledger_id": public.ledger_id,
        "keystore": keystore.name,
        "journal_entries": entries,
        "files": {str(path.relative_to(folder)): _sha256(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    if args.json:
        print_json({**manifest, "folder": str(folder)})
    else:
        print(
            f"{len(files)} files in {folder}; {entries} signatures in the journal's copy\n"
            "The passphrase is not among them: keep it elsewhere. The platform's RSA key "
            f"({config.require_platform().private_key_file}) is not either: it can be replaced "
            "(`keys rotate-wapi`).\n"
            "A journal that is put back later lacks what was signed since: the daemon holds every "
            "payout of which it does not know."
        )
    return 0


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)


def _copy_journal(source: Path, target: Path) -> int:
    """A whole copy while it is in use; how many signatures it knows."""
    if not source.exists():
        raise KeyFileError(f"there is no signer's journal {source}")
    target.touch(0o600)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            return int(new.execute("SELECT count(*) FROM attempts").fetchone()[0])
    except sqlite3.Error as error:
        raise KeyFileError(f"signer's journal {source} cannot be copied: {error}") from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- restore-check --------------------------------------------------------------------------------


@dataclass(slots=True)
class Findings:
    """What was tried on a backup."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(row["ok"] for row in self.rows)

    @contextmanager
    def trying(self, what: str) -> Iterator[list[str]]:
        """A step: what it appends is its answer; an error fails it and no more."""
        said: list[str] = []
        try:
            yield said
        except (AdapterError, OSError, ValueError, KeyError, sqlite3.Error) as error:
            self.rows.append({"check": what, "ok": False, "detail": " ".join(str(error).split())})
        else:
            self.rows.append({"check": what, "ok": True, "detail": "; ".join(said) or "holds"})


def restore_check(args: Namespace) -> int:
    config = load(args.config)
    findings = Findings()
    folder: Path = args.folder
    manifest: dict[str, Any] = {}
    with findings.trying("files") as said:
        manifest.update(json.loads((folder / MANIFEST).read_text("utf-8")))
        for name, digest in manifest["files"].items():
            if _sha256(folder / name) != digest:
                raise KeyFileError(f"{name} was changed since the backup was made")
        said.append(f"{len(manifest['files'])} as they were at {manifest['made_at']}")
    path = folder / manifest.get("keystore", config.require_keys().keystore.name)
    keystore: Keystore | None = None
    with findings.trying("keystore") as said:
        given: Path | None = args.passphrase_file
        keystore = Keystore.open(
            path, passphrase_of(config) if given is None else read_passphrase(given)
        )
        said.append(f"opens; ledger {keystore.ledger_id}")
    if keystore is not None:
        try:
            _check_opened(args, config, path, keystore, findings)
        finally:
            keystore.close()
    if args.json:
        print_json({"ok": findings.ok, "checks": findings.rows})
    else:
        for row in findings.rows:
            print(harmless(f"{'ok    ' if row['ok'] else 'FAILED'}  {row['check']}: "
                           f"{row['detail']}"))  # fmt: skip
    return 0 if findings.ok else 1


def _check_opened(
    args: Namespace, config: Config, path: Path, keystore: Keystore, findings: Findings
) -> None:
    public = _public(path, keystore, findings)
    with findings.trying("journal") as said:
        facts = Journal.facts(journal_path(path))
        if facts["seed_id"] != keystore.seed_id:
            raise KeyFileError("it belongs to another keystore")
        if public is not None and facts["journal_id"] != public.journal_id:
            raise KeyFileError("it was exchanged for another one")
        said.append(_check_journal(journal_path(path), keystore))
    if public is not None:
        for name, one in config.require_chains().items():
            with findings.trying(f"addresses of {name}") as said:
                said.append(_check_addresses(config, name, pure_chain(one), keystore, public))
    if args.mnemonic_file is not None:
        with findings.trying("mnemonic"):
            words = read_secret(args.mnemonic_file, "mnemonic").decode("utf-8", "replace")
            given = Keystore(path, "", seed_of(words), {})
            same = given.seed_id == keystore.seed_id
            given.close()
            if not same:
                raise KeyFileError("it stands for another seed")


def _public(path: Path, keystore: Keystore, findings: Findings) -> PublicKeys | None:
    found: list[PublicKeys] = []
    with findings.trying("public keys"):
        public = PublicKeys.load(path)
        if (public.seed_id, public.ledger_id) != (keystore.seed_id, keystore.ledger_id):
            raise KeyFileError("they belong to another keystore")
        found.append(public)
    return found[0] if found else None


def _check_journal(path: Path, keystore: Keystore) -> str:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise KeyFileError(f"the file is damaged: {verdict}")
        (entries,) = connection.execute("SELECT count(*) FROM attempts").fetchone()
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'events'")
        if found.fetchone() is None:
            return f"{entries} signatures, no log yet"
        rows = connection.execute(
            "SELECT seq, at, what, subject, detail, prev, hash, sign FROM events ORDER BY seq"
        )
        log = verify_events(
            (AuditEvent(*row) for row in rows), AuditLog(keystore.audit_key).public_key
        )
    if log.trouble is not None:
        raise KeyFileError(f"its log does not hold: {log.trouble}")
    return f"{entries} signatures, {log.entries} log entries, the last {log.last_hash[:16]}"


def _check_addresses(
    config: Config, name: str, chain: Any, keystore: Keystore, public: PublicKeys
) -> str:
    """The private keys make the addresses that the public file makes, and those in use today."""
    info = chain.info
    scheme = scheme_named(info.scheme)
    for account in Account:
        private = keystore.private_key(info.scheme, info.coin_type, account, 0)
        derived = chain.address_of(scheme.public_key(private))
        told = chain.address_of(public.public_key(info.scheme, info.coin_type, account, 0))
        if derived != told:
            raise KeyFileError(f"{name}: the key of {told} is not in the keystore")
    hot = chain.address_of(public.public_key(info.scheme, info.coin_type, Account.HOT, 0))
    current = config.require_keys().keystore
    if not public_path(current).exists():
        return f"hot address {hot}; nothing is in use to compare it with"
    now = PublicKeys.load(current)
    if chain.address_of(now.public_key(info.scheme, info.coin_type, Account.HOT, 0)) != hot:
        raise KeyFileError(f"{name}: the keys in use have another hot address than {hot}")
    return f"hot address {hot}, as in use"
