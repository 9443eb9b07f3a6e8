"""Keys in every form in which they are passed around, and the errors for those that are none."""

from __future__ import annotations

import base64
import textwrap

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chain_adapter.errors import KeyFileError
from chain_adapter.platform_api.envelope import fingerprint, load_private_key, load_public_key
from tests.platform_api.peer import keys, vectors


def der(private: bool) -> bytes:
    party = vectors()["party_a"]
    return base64.b64decode(party["private_pkcs8_der_b64" if private else "public_spki_der_b64"])


def forms(private: bool) -> dict[str, bytes]:
    label = b"PRIVATE KEY" if private else b"PUBLIC KEY"
    standard = base64.b64encode(der(private))
    url_safe = base64.urlsafe_b64encode(der(private))

    def armoured(body: bytes) -> bytes:
        return b"-----BEGIN " + label + b"-----" + body + b"-----END " + label + b"-----"

    wrapped = "\n".join(textwrap.wrap(standard.decode(), 64)).encode()
    return {
        "bare": standard,
        "bare, other alphabet": url_safe,
        "bare, unpadded": url_safe.rstrip(b"="),
        "bare, a line end behind": standard + b"\n",
        "bare, in lines": wrapped,
        "bare, byte order mark": b"\xef\xbb\xbf" + standard,
        "armoured": armoured(b"\n" + wrapped + b"\n"),
        "armoured, with CR": armoured(b"\r\n" + wrapped.replace(b"\n", b"\r\n") + b"\r\n"),
        "armoured, one line": armoured(standard),
        "armoured, other alphabet": armoured(b"\n" + url_safe + b"\n"),
        "armoured, text before": b"Bag Attributes\n" + armoured(b"\n" + wrapped + b"\n") + b"\n",
        "DER": der(private),
    }


@pytest.mark.parametrize("form", forms(True))
def test_private_key_forms(form: str) -> None:
    assert fingerprint(load_private_key(forms(True)[form])) == fingerprint(keys("party_a"))


@pytest.mark.parametrize("form", forms(False))
def test_public_key_forms(form: str) -> None:
    assert fingerprint(load_public_key(forms(False)[form])) == fingerprint(keys("party_a"))


def test_traditional_pem_is_read_too() -> None:
    pem = keys("party_a").private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert fingerprint(load_private_key(pem)) == fingerprint(keys("party_a"))


def encrypted_pem() -> bytes:
    return keys("party_a").private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def curve_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256K1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def short_pem() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_what_is_no_private_key() -> None:
    cut = base64.b64encode(der(True))[:400]
    for bad, says in (
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"hello, world", "neither PEM nor Base64"),
        ("Schlüssel".encode("latin-1"), "neither PEM nor Base64"),
        (cut, "not a PKCS#8 RSA key"),
        (b"\x30\x82" + b"\x00" * 50, "not a PKCS#8 RSA key"),
        (forms(False)["bare"], "not a PKCS#8 RSA key"),
        (forms(False)["armoured"], "swapped"),
        (encrypted_pem(), "encrypted"),
        (curve_pem(), "no RSA key"),
        (short_pem(), "1024 bits"),
    ):
        with pytest.raises(KeyFileError, match=says) as caught:
            load_private_key(bad)
        assert caught.value.exit_status == 2
        assert cut[:30].decode() not in str(caught.value)


def test_what_is_no_public_key() -> None:
    curve = (
        ec.generate_private_key(ec.SECP256K1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for bad, says in (
        (b"", "empty"),
        (b"????", "neither PEM nor Base64"),
        (forms(False)["bare"][:200], "not a SubjectPublicKeyInfo RSA key"),
        (forms(True)["bare"], "not a SubjectPublicKeyInfo RSA key"),
        (forms(True)["armoured"], "swapped"),
        (curve, "no RSA key"),
    ):
        with pytest.raises(KeyFileError, match=says):
            load_public_key(bad)
