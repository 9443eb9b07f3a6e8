"""The encrypted seed on disk, and beside it what the daemon may know.

passphrase -> scrypt -> AES-256-GCM over the secrets, the header as associated data
`<name>.json`         the seed, encrypted; opened by the signer alone
`<name>.public.json`  ledger id, request-id secret, account public keys; read by the daemon
`<name>.journal.db`   what was signed (journal.py); the public file says that it must exist
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from Crypto.Cipher import AES

from chain_adapter.errors import KeyFileError
from chain_adapter.keys.derivation import DerivationError
from chain_adapter.keys.schemes import scheme_named
from chain_adapter.keys.secret_files import check_private, read_secret, write_private

FORMAT: Final = "chain-adapter keystore"
VERSION: Final = 1
MIN_N: Final = 2**15
MAX_N: Final = 2**20
DEFAULT_N: Final = 2**17
_MAX_MEMORY: Final = 2**30
_MAX_FILE: Final = 2**26
_REQUEST_ID_LABEL: Final = b"chain-adapter/request-id-secret/1"
_SEED_ID_LABEL: Final = b"chain-adapter/seed-id/1"
_JOURNAL_KEY_LABEL: Final = b"chain-adapter/audit-key/1"


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    n: int
    r: int
    p: int
    salt: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keystore file; every field but the last two is authenticated as it stands."""

    format: str
    version: int
    ledger_id: str
    created_at: str
    kdf: _Kdf
    cipher: str
    nonce: str
    ciphertext: str
    tag: str


class _Secrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seed: str
    imported: dict[str, str] = {}  # "scheme/coin_type/index" -> private key, hex


class AccountKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is public of one account. `keys`: exported ahead where nothing can be derived."""

    scheme: str
    coin_type: int
    account: int
    public_key: str  # xpub; empty where the scheme has no public derivation
    keys: tuple[str, ...] = ()  # hex, by index


class _PublicFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    ledger_id: str
    seed_id: str
    journal_id: str
    request_id_secret: str
    accounts: tuple[AccountKey, ...]


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The daemon's side of the keystore: no passphrase, no private key.

    `request_id_secret` is no key to money, but whoever has it can foresee request ids; it is read
    from a file of mode 0600 like the rest, and never changes (docs/laws.md 3.1).
    """

    ledger_id: str
    seed_id: str
    journal_id: str
    request_id_secret: bytes = field(repr=False)
    accounts: Mapping[tuple[str, int, int], AccountKey] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> PublicKeys:
        """Read `<name>.public.json`; `path` may name the keystore itself. Raises `KeyFileError`."""
        path = public_path(path)
        content = read_secret(path, "account public keys", limit=_MAX_FILE)
        try:
            found = msgspec.json.decode(content, type=_PublicFile)
            if found.version != VERSION:
                raise KeyFileError(
                    f"{path} is of version {found.version}; this program reads {VERSION}"
                )
            return cls(
                ledger_id=found.ledger_id,
                seed_id=found.seed_id,
                journal_id=found.journal_id,
                request_id_secret=_hex(found.request_id_secret, 32, path),
                accounts={(a.scheme, a.coin_type, a.account): a for a in found.accounts},
            )
        except msgspec.MsgspecError as problem:
            raise KeyFileError(
                f"{path} is damaged ({problem}); `chain-adapter keys init` writes it anew "
                "from the keystore"
            ) from None

    def public_key(self, scheme: str, coin_type: int, account: int, index: int) -> bytes:
        """The public key at m/44'/coin_type'/account'/0/index, derived without any secret.

        Raises `KeyFileError` when the account is not in the file or, for a scheme without public
        derivation, when the signer has not exported that far.
        """
        known = self.accounts.get((scheme, coin_type, account))
        if known is None:
            raise KeyFileError(
                f"no account public key for {scheme}, coin type {coin_type}, account {account}: "
                "run `chain-adapter keys init` again to add it"
            )
        if known.public_key:
            try:
                return scheme_named(scheme).derive(known.public_key, index)
            except DerivationError as problem:
                raise KeyFileError(
                    f"{scheme}, coin type {coin_type}, account {account}, index {index}: {problem}"
                ) from None
        if not 0 <= index < len(known.keys):
            raise KeyFileError(
                f"only {len(known.keys)} keys of {scheme}, coin type {coin_type}, account "
                f"{account} were exported: run `chain-adapter keys addresses` on the signer"
            )
        return bytes.fromhex(known.keys[index])

    def exported(self, scheme: str, coin_type: int, account: int) -> int | None:
        """How many keys were exported ahead; None where the daemon derives without end."""
        known = self.accounts.get((scheme, coin_type, account))
        if known is None:
            return 0
        return None if known.public_key else len(known.keys)

    def save(self, path: Path) -> None:
        """Write the file anew, whole."""
        record = _PublicFile(
            version=VERSION,
            ledger_id=self.ledger_id,
            seed_id=self.seed_id,
            journal_id=self.journal_id,
            request_id_secret=self.request_id_secret.hex(),
            accounts=tuple(self.accounts[key] for key in sorted(self.accounts)),
        )
        content = msgspec.json.format(msgspec.json.encode(record), indent=2)
        write_private(public_path(path), content + b"\n", overwrite=True)


class Keystore:
    """An opened keystore: the seed in memory. Its repr and its errors never show it."""

    def __init__(self, path: Path, ledger_id: str, seed: bytes, imported: dict[str, str]) -> None:
        self.path = path
        self.ledger_id = ledger_id
        self._seed = bytearray(seed)
        self._imported = imported
        self._branches: dict[tuple[str, int, int], Callable[[int], bytes]] = {}

    def __repr__(self) -> str:
        return f"Keystore({str(self.path)!r}, ledger_id={self.ledger_id!r})"

    def __reduce__(self) -> str:
        raise TypeError("a keystore is never pickled")

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: str,
        seed: bytes,
        *,
        ledger_id: str,
        created_at: str,
        imported: Mapping[str, str] | None = None,
        n: int = DEFAULT_N,
    ) -> Keystore:
        """Write a new keystore; never over an existing one. Raises `KeyFileError`."""
        if len(seed) != 64:
            raise KeyFileError(f"a BIP-39 seed has 64 bytes, not {len(seed)}")
        secret = _Secrets(seed=seed.hex(), imported=dict(imported or {}))
        write_private(
            path,
            _encrypt(msgspec.json.encode(secret), passphrase, ledger_id, created_at, n),
            overwrite=False,
        )
        return cls(path, ledger_id, seed, secret.imported)

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Keystore:
        """Decrypt. Raises `KeyFileError`, which tells a damaged file from a passphrase that
        does not fit; a wrong passphrase and a changed byte look alike, on purpose.
        """
        check_private(path, "keystore")
        record, aad, nonce, ciphertext, tag = _read(path)
        key = _stretch(passphrase, record.kdf, path)
        cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
        cipher.update(aad)
        try:
            plain = cipher.decrypt_and_verify(ciphertext, tag)
        except ValueError:
            _back_off(path)
            raise KeyFileError(
                f"keystore {path}: the passphrase does not fit, or the file was changed; "
                "if you are sure of the passphrase, restore the keystore from its backup"
            ) from None
        _failures.pop(path, None)
        try:
            secret = msgspec.json.decode(plain, type=_Secrets)
            seed = _hex(secret.seed, 64, path)
        except msgspec.MsgspecError:
            raise _damaged(path, "its secrets do not parse") from None
        return cls(path, record.ledger_id, seed, secret.imported)

    @property
    def seed_id(self) -> str:
        """Names the seed without telling it: ties journal and public keys to this keystore."""
        return hmac.digest(self._seed, _SEED_ID_LABEL, "sha256")[:16].hex()

    @property
    def request_id_secret(self) -> bytes:
        """The key of every request id, from the seed: the mnemonic alone brings it back."""
        return hmac.digest(self._seed, _REQUEST_ID_LABEL, "sha256")

    @property
    def audit_key(self) -> bytes:
        """The private seed of the key that signs the audit log."""
        return hmac.digest(self._seed, _JOURNAL_KEY_LABEL, "sha256")

    def private_key(self, scheme: str, coin_type: int, account: int, index: int) -> bytes:
        """The private key at a path; an imported deposit key takes the place of its index."""
        if foreign := self._imported.get(f"{scheme}/{coin_type}/{account}/{index}"):
            return bytes.fromhex(foreign)
        place = (scheme, coin_type, account)
        if place not in self._branches:
            self._branches[place] = scheme_named(scheme).private_keys(
                bytes(self._seed), coin_type, account
            )
        return self._branches[place](index)

    def account_key(self, scheme: str, coin_type: int, account: int, export: int = 0) -> AccountKey:
        """What the daemon may know of an account; `export` keys where none can be derived."""
        known = scheme_named(scheme)
        public = known.account_public_key(bytes(self._seed), coin_type, account)
        keys: tuple[str, ...] = ()
        if not known.derives_publicly:
            keys = tuple(
                known.public_key(self.private_key(scheme, coin_type, account, i)).hex()
                for i in range(export)
            )
        return AccountKey(scheme, coin_type, account, public, keys)

    def close(self) -> None:
        """Overwrite the seed. Best effort: the interpreter may have copied it."""
        for i in range(len(self._seed)):
            self._seed[i] = 0
        self._imported = {}
        self._branches.clear()


# --- paths --------------------------------------------------------------------------------------


def public_path(keystore: Path) -> Path:
    """`keystore.json` -> `keystore.public.json`."""
    if keystore.name.endswith(".public.json"):
        return keystore
    return keystore.with_name(f"{keystore.stem}.public.json")


def journal_path(keystore: Path) -> Path:
    """`keystore.json` -> `keystore.journal.db`."""
    return keystore.with_name(f"{keystore.stem}.journal.db")


# --- the file -----------------------------------------------------------------------------------

_failures: dict[Path, int] = {}


def _back_off(path: Path) -> None:
    """Each further wrong passphrase of this process waits longer, up to eight seconds."""
    _failures[path] = _failures.get(path, 0) + 1
    if _failures[path] > 1:
        time.sleep(min(0.25 * 2 ** (_failures[path] - 2), 8.0))


def _encrypt(plain: bytes, passphrase: str, ledger_id: str, created_at: str, n: int) -> bytes:
    kdf = _Kdf(name="scrypt", n=n, r=8, p=1, salt=secrets.token_bytes(32).hex())
    key = _stretch(passphrase, kdf, Path("new keystore"))
    nonce = secrets.token_bytes(12)
    record = _File(FORMAT, VERSION, ledger_id, created_at, kdf, "aes-256-gcm", nonce.hex(), "", "")
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce)
    cipher.update(_associated(record))
    ciphertext, tag = cipher.encrypt_and_digest(plain)
    record = msgspec.structs.replace(record, ciphertext=ciphertext.hex(), tag=tag.hex())
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _associated(record: _File) -> bytes:
    """Every field but ciphertext and tag, in one fixed spelling."""
    return msgspec.json.encode(msgspec.structs.replace(record, ciphertext="", tag=""))


def _read(path: Path) -> tuple[_File, bytes, bytes, bytes, bytes]:
    content = read_secret(path, "keystore", limit=_MAX_FILE)
    try:
        looks: Any = msgspec.json.decode(content)
        if not isinstance(looks, dict) or looks.get("format") != FORMAT:
            raise KeyFileError(f"{path} is no keystore of chain-adapter")
        if looks.get("version") != VERSION:
            raise KeyFileError(
                f"keystore {path} is of version {looks.get('version')!r}; this program reads "
                f"{VERSION}"
            )
        record = msgspec.json.decode(content, type=_File)
    except msgspec.MsgspecError as problem:
        raise _damaged(path, str(problem)) from None
    if record.cipher != "aes-256-gcm":
        raise _damaged(path, "its cipher is not aes-256-gcm")
    nonce = _hex(record.nonce, 12, path)
    tag = _hex(record.tag, 16, path)
    ciphertext = _hex(record.ciphertext, None, path)
    return record, _associated(record), nonce, ciphertext, tag


def _stretch(passphrase: str, kdf: _Kdf, path: Path) -> bytes:
    """The key. The parameters are bounded: a file must not choose weak ones, nor all memory."""
    if not passphrase:
        raise KeyFileError(f"{path}: the passphrase is empty")
    sound = (
        kdf.name == "scrypt"
        and MIN_N <= kdf.n <= MAX_N
        and kdf.n & (kdf.n - 1) == 0
        and 8 <= kdf.r <= 32
        and 1 <= kdf.p <= 16
        and 128 * kdf.n * kdf.r * kdf.p <= _MAX_MEMORY
    )
    if not sound:
        raise _damaged(path, "its scrypt parameters are outside the bounds")
    salt = _hex(kdf.salt, 32, path)
    text = unicodedata.normalize("NFKC", passphrase).encode()
    return hashlib.scrypt(
        text, salt=salt, n=kdf.n, r=kdf.r, p=kdf.p, maxmem=2 * _MAX_MEMORY - 1, dklen=32
    )


def _hex(text: str, size: int | None, path: Path) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise _damaged(path, "a field is not hexadecimal") from None
    if size is not None and len(raw) != size:
        raise _damaged(path, f"a field has {len(raw)} bytes instead of {size}")
    return raw


def _damaged(path: Path, why: str) -> KeyFileError:
    return KeyFileError(f"keystore {path} is damaged: {why}; restore it from its backup")
