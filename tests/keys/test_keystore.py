"""The keystore file: opens with its passphrase only, and every changed byte is noticed."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.errors import KeyFileError, LedgerMismatch
from chain_adapter.keys.init import ChainKeys, InitResult, export_keys, init
from chain_adapter.keys.keystore import MIN_N, Keystore, PublicKeys, journal_path, public_path
from chain_adapter.keys.mnemonics import seed_of
from chain_adapter.keys.schemes import SCHEMES
from chain_adapter.keys.secret_files import read_passphrase
from tests.keys.world import PASSPHRASE, WORDS, chain_keys


def make(folder: Path, **options: Any) -> InitResult:
    return init(
        folder / "keystore.json",
        options.pop("passphrase", PASSPHRASE),
        options.pop("mnemonic", WORDS),
        options.pop("chains", [chain_keys()]),
        n=MIN_N,
        **options,
    )


def test_round_trip(tmp_path: Path) -> None:
    result = make(tmp_path)
    assert result.created
    assert result.mnemonic is None  # given, so not shown
    keystore = Keystore.open(result.keystore, PASSPHRASE)
    expected = SCHEMES["secp256k1"].private_keys(seed_of(WORDS), 1, 0)(0)
    assert keystore.private_key("secp256k1", 1, 0, 0) == expected
    assert keystore.ledger_id == result.ledger_id
    assert len(bytes.fromhex(result.ledger_id)) == 16
    for path in (result.keystore, public_path(result.keystore), journal_path(result.keystore)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # nothing left behind


def test_nothing_secret_in_clear(tmp_path: Path) -> None:
    result = make(tmp_path)
    keystore = Keystore.open(result.keystore, PASSPHRASE)
    hot = keystore.private_key("secp256k1", 1, 0, 0)
    seen = result.keystore.read_bytes() + public_path(result.keystore).read_bytes()
    seen += repr(keystore).encode() + repr(result).encode()
    for secret in (seed_of(WORDS), hot):
        assert secret not in seen
        assert secret.hex().encode() not in seen
    assert PASSPHRASE.encode() not in seen
    with pytest.raises(TypeError, match="never pickled"):
        keystore.__reduce__()


def test_request_id_secret_comes_back_from_the_words(tmp_path: Path) -> None:
    """A golden value: if it changed, a recovered ledger would credit everything twice."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = make(tmp_path / "a"), make(tmp_path / "b", passphrase="another")
    secrets = {PublicKeys.load(r.keystore).request_id_secret.hex() for r in (one, other)}
    assert secrets == {"c6ff1af0a9e784047764cbaa4cce51c459bda40a96678765970856686c4b36f7"}
    assert one.ledger_id != other.ledger_id


def test_daemon_derives_the_same_addresses_without_a_passphrase(tmp_path: Path) -> None:
    result = make(tmp_path)
    keystore = Keystore.open(result.keystore, PASSPHRASE)
    public = PublicKeys.load(result.keystore)
    for account in (0, 1, 2):
        for index in (0, 1, 77):
            private = keystore.private_key("secp256k1", 1, account, index)
            assert public.public_key("secp256k1", 1, account, index) == SCHEMES[
                "secp256k1"
            ].public_key(private)
    assert [(a.role, a.path) for a in result.addresses] == [
        ("hot", "m/44'/1'/0'/0/0"),
        ("gas", "m/44'/1'/2'/0/0"),
    ]
    with pytest.raises(KeyFileError, match="keys init"):
        public.public_key("secp256k1", 60, 1, 0)


def test_scheme_without_public_derivation_is_exported_ahead(tmp_path: Path) -> None:
    chain = ChainKeys("ed", "ed25519", 501, lambda key: key.hex())
    result = make(tmp_path, chains=[chain])
    public = PublicKeys.load(result.keystore)
    keystore = Keystore.open(result.keystore, PASSPHRASE)
    ed = SCHEMES["ed25519"]
    assert public.public_key("ed25519", 501, 1, 999) == ed.public_key(
        keystore.private_key("ed25519", 501, 1, 999)
    )
    assert public.exported("ed25519", 501, 1) == 1000
    with pytest.raises(KeyFileError, match="exported"):
        public.public_key("ed25519", 501, 1, 1000)
    assert result.addresses[0].path == "m/44'/501'/0'/0'/0'"
    assert export_keys(result.keystore, PASSPHRASE, "ed25519", 501, 1, 1500) == 1500
    assert export_keys(result.keystore, PASSPHRASE, "ed25519", 501, 1, 10) == 1500
    more = PublicKeys.load(result.keystore)
    assert more.public_key("ed25519", 501, 1, 999) == public.public_key("ed25519", 501, 1, 999)
    assert more.public_key("ed25519", 501, 1, 1499)
    make(tmp_path, chains=[chain])  # another init takes nothing back
    assert PublicKeys.load(result.keystore).exported("ed25519", 501, 1) == 1500


# --- opening what is not right ------------------------------------------------------------------


def test_wrong_passphrase(tmp_path: Path) -> None:
    result = make(tmp_path)
    with pytest.raises(KeyFileError, match="passphrase does not fit") as caught:
        Keystore.open(result.keystore, "open sesame")
    assert "sesame" not in str(caught.value)
    assert caught.value.exit_status == 2
    Keystore.open(result.keystore, PASSPHRASE)


def test_every_byte_of_every_field_is_authenticated(tmp_path: Path) -> None:
    path = make(tmp_path).keystore
    good = json.loads(path.read_text())
    for field in ("ledger_id", "created_at", "nonce", "ciphertext", "tag"):
        bad = {**good, field: ("1" if good[field][0] != "1" else "2") + good[field][1:]}
        path.write_text(json.dumps(bad))
        with pytest.raises(KeyFileError, match=r"does not fit|damaged"):
            Keystore.open(path, PASSPHRASE)
    path.write_text(json.dumps(good))  # another layout of the same fields is the same file
    Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "kdf",
    [
        {"n": 2**14},
        {"n": 2**21},
        {"n": 2**15 + 1},
        {"r": 1},
        {"p": 0},
        {"p": 17},
        {"n": 2**20, "r": 32},
        {"name": "pbkdf2"},
        {"salt": "00"},
        {"salt": "zz" * 32},
    ],
)
def test_scrypt_parameters_are_bounded(tmp_path: Path, kdf: dict[str, Any]) -> None:
    path = make(tmp_path).keystore
    found = json.loads(path.read_text())
    found["kdf"].update(kdf)
    path.write_text(json.dumps(found))
    with pytest.raises(KeyFileError, match=r"damaged.*backup"):
        Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "no keystore"),
        (b"{}", "no keystore"),
        (b'{"format": "chain-adapter keystore", "version": 2}', "version 2"),
        (b'{"format": "chain-adapter keystore", "version": 1}', "damaged.*backup"),
        (b"\xff\xfe", "damaged"),
        (b" " * 70_000_000, "larger"),
    ],
)
def test_damage_is_told_from_a_wrong_passphrase(tmp_path: Path, content: bytes, why: str) -> None:
    path = make(tmp_path).keystore
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=why):
        Keystore.open(path, PASSPHRASE)


def test_truncated_anywhere(tmp_path: Path) -> None:
    path = make(tmp_path).keystore
    whole = path.read_bytes().rstrip()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        with pytest.raises(KeyFileError):
            Keystore.open(path, PASSPHRASE)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_world_readable_is_refused(tmp_path: Path, mode: int) -> None:
    path = make(tmp_path).keystore
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Keystore.open(path, PASSPHRASE)
    path.chmod(0o640)  # a group of its own is how daemon and operator may share a file
    Keystore.open(path, PASSPHRASE)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no file"):
        Keystore.open(tmp_path / "none.json", PASSPHRASE)
    with pytest.raises(KeyFileError, match="no regular file"):
        Keystore.open(tmp_path, PASSPHRASE)


def test_passphrase_file(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes("grüße \r\nsecond line".encode())
    path.chmod(0o600)
    assert read_passphrase(path) == "grüße "
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="every user"):
        read_passphrase(path)
    assert read_passphrase(path, private=False) == "grüße "
    path.chmod(0o600)
    for content in (b"", b"\nx", b"\xff\xff"):
        path.write_bytes(content)
        with pytest.raises(KeyFileError):
            read_passphrase(path)


# --- keys init ----------------------------------------------------------------------------------


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    first = make(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.json")}
    again = make(tmp_path, mnemonic=None)
    assert not again.created
    assert (again.ledger_id, again.addresses) == (first.ledger_id, first.addresses)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.json")} == before


def test_init_adds_a_chain(tmp_path: Path) -> None:
    first = make(tmp_path)
    other = ChainKeys("eth", "secp256k1", 60, lambda key: key.hex())
    again = make(tmp_path, chains=[chain_keys(), other])
    assert {a.chain for a in again.addresses} == {"ref", "eth"}
    assert again.addresses[:2] == first.addresses
    assert PublicKeys.load(first.keystore).exported("secp256k1", 60, 1) is None


def test_init_shows_new_words_once(tmp_path: Path) -> None:
    first = make(tmp_path, mnemonic=None)
    assert first.mnemonic is not None
    assert first.mnemonic not in repr(first)
    assert make(tmp_path, mnemonic=first.mnemonic).mnemonic is None


def test_init_never_overwrites(tmp_path: Path) -> None:
    path = make(tmp_path).keystore
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="another seed"):
        make(tmp_path, mnemonic="abandon " * 11 + "about")
    with pytest.raises(KeyFileError, match="does not fit"):
        make(tmp_path, passphrase="other")
    with pytest.raises(KeyFileError, match="never overwritten"):
        Keystore.create(path, "x", bytes(64), ledger_id="", created_at="", n=MIN_N)
    assert path.read_bytes() == before


def test_init_binds_the_ledger_of_an_import(tmp_path: Path) -> None:
    assert make(tmp_path, ledger_id="ab" * 16).ledger_id == "ab" * 16
    assert make(tmp_path, ledger_id="ab" * 16).ledger_id == "ab" * 16
    with pytest.raises(LedgerMismatch):
        make(tmp_path, ledger_id="cd" * 16)


def test_lost_journal_is_told(tmp_path: Path) -> None:
    path = make(tmp_path).keystore
    journal_path(path).unlink()
    with pytest.raises(KeyFileError, match=r"missing.*paid|missing.*twice"):
        make(tmp_path)


def test_lost_public_file_is_written_anew(tmp_path: Path) -> None:
    path = make(tmp_path).keystore
    before = public_path(path).read_bytes()
    public_path(path).unlink()
    make(tmp_path)
    assert public_path(path).read_bytes() == before


def test_lost_keystore_comes_back_from_the_words_with_its_journal(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.keystore.unlink()
    again = make(tmp_path)
    assert again.created
    assert again.ledger_id == first.ledger_id
    again.keystore.unlink()
    with sqlite3.connect(journal_path(first.keystore)) as connection:  # something was signed
        connection.execute("INSERT INTO pins VALUES ('ref', 'x', 'now')")
    with pytest.raises(KeyFileError, match="another seed"):
        make(tmp_path, mnemonic="abandon " * 11 + "about")


def test_init_cut_short_goes_on(tmp_path: Path) -> None:
    """Killed before the keystore was written: the same words, or none, must still work."""
    first = make(tmp_path)
    first.keystore.unlink()
    public_path(first.keystore).unlink()
    assert make(tmp_path).ledger_id == first.ledger_id
    first.keystore.unlink()
    made = make(tmp_path, mnemonic=None)
    assert made.ledger_id != first.ledger_id
    assert len(list(tmp_path.glob("*.unused-*"))) == 1


def test_public_file_of_another_keystore(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = make(tmp_path / "a"), make(tmp_path / "b", mnemonic="abandon " * 11 + "about")
    os.replace(public_path(other.keystore), public_path(one.keystore))
    with pytest.raises(KeyFileError, match="another keystore"):
        make(tmp_path / "a")
    public_path(one.keystore).write_bytes(b"{")
    with pytest.raises(KeyFileError, match="damaged"):
        PublicKeys.load(one.keystore)
