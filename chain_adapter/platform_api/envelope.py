"""The envelope of the platform protocol: `data` (encrypted) and `sign` (signed), without I/O.

plaintext -> MD5 in hex -> RSASSA-PKCS1-v1_5/SHA-256 by our key -> `sign`
plaintext -> segments -> RSAES-PKCS1-v1_5 under their key -> blocks joined -> `data`
Opening goes back the same way and ends in one question, whether the signature is theirs. Every
failure is the same `EnvelopeError`: a peer that learns which step failed holds an oracle.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from chain_adapter.errors import ConfigError, EnvelopeError, KeyFileError

MIN_KEY_BITS = 2048
MAX_KEY_BITS = 8192
MAX_BLOCKS = 4096  # a megabyte of plaintext; more would only burn our processor
_PADDING_BYTES = 11  # least overhead of RSAES-PKCS1-v1_5
_SIGNED = hashes.SHA256()
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)
_ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_TO_URL_SAFE = str.maketrans("+/", "-_")


@dataclass(frozen=True, slots=True)
class Sealed:
    """The two fields of an envelope, Base64 URL-safe without padding."""

    data: str
    sign: str


class Envelope:
    """Seals to one peer and opens what that peer sealed. Holds key objects: safe to keep."""

    def __init__(self, own_private: rsa.RSAPrivateKey, their_public: rsa.RSAPublicKey) -> None:
        self._own = own_private
        self._their = their_public
        self._own_bytes = (own_private.key_size + 7) // 8
        self._segment = (their_public.key_size + 7) // 8 - _PADDING_BYTES

    def __repr__(self) -> str:
        return f"Envelope(own={fingerprint(self._own)[:16]}, their={fingerprint(self._their)[:16]})"

    def seal(self, plaintext: bytes) -> Sealed:
        """Encrypt and sign exactly these bytes. An empty plaintext gives an empty `data`."""
        blocks = [
            self._their.encrypt(plaintext[at : at + self._segment], padding.PKCS1v15())
            for at in range(0, len(plaintext), self._segment)
        ]
        return Sealed(data=encode(b"".join(blocks)), sign=self.sign(plaintext))

    def sign(self, plaintext: bytes) -> str:
        """The `sign` field alone. Deterministic: the same bytes give the same signature."""
        return encode(self._own.sign(_digest(plaintext), padding.PKCS1v15(), _SIGNED))

    def open(self, data: str, sign: str) -> bytes:
        """The plaintext, its signature verified. Raises `EnvelopeError` for every cause alike.

        Decrypting proves nothing: a forged block gives random bytes and no error. So the
        signature is looked at always, and it alone decides. An empty `data` is no plaintext,
        and needs its signature too.
        """
        ciphertext = _decode(data) if data else b""
        size = self._own_bytes
        if len(ciphertext) % size or len(ciphertext) > MAX_BLOCKS * size:
            raise _refusal()
        try:
            plaintext = b"".join(
                self._own.decrypt(ciphertext[at : at + size], padding.PKCS1v15())
                for at in range(0, len(ciphertext), size)
            )
        except ValueError:
            raise _refusal() from None
        if not self.verify(plaintext, sign):
            raise _refusal()
        return plaintext

    def verify(self, plaintext: bytes, sign: str) -> bool:
        """Whether `sign` is the peer's signature of exactly these bytes."""
        try:
            signature = _decode(sign)
            self._their.verify(signature, _digest(plaintext), padding.PKCS1v15(), _SIGNED)
        except (EnvelopeError, InvalidSignature):
            return False
        return True


class Sealer(Protocol):
    """What the client needs of an envelope; whoever holds the RSA key implements it."""

    async def seal(self, plaintext: bytes) -> Sealed:
        """As `Envelope.seal`."""
        ...

    async def open(self, data: str, sign: str) -> bytes:
        """As `Envelope.open`; raises `EnvelopeError`."""
        ...


class LocalSealer:
    """An envelope in threads of this process: the library lets go of the GIL while it computes."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    async def seal(self, plaintext: bytes) -> Sealed:
        return await asyncio.to_thread(self._envelope.seal, plaintext)

    async def open(self, data: str, sign: str) -> bytes:
        return await asyncio.to_thread(self._envelope.open, data, sign)


# --- keys ---------------------------------------------------------------------------------------


def load_private_key(text: bytes) -> rsa.RSAPrivateKey:
    """An RSA private key: PEM, Base64 DER in either alphabet, or DER. Raises `KeyFileError`."""
    label, der = _der(text, "private")
    if b"ENCRYPTED" in label:
        raise KeyFileError(
            "private key: it is encrypted with a passphrase; give it as plain PKCS#8 in a file "
            "that only the daemon's user can read"
        )
    if b"PUBLIC" in label:
        raise KeyFileError("private key: this is a public key; the two files may be swapped")
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(
            "private key: not a PKCS#8 RSA key (PEM or Base64 DER); "
            "the file may be cut, or hold the public key"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError("private key: it is no RSA key, and the platform speaks RSA only")
    _check_size(key.key_size, "private")
    return key


def load_public_key(text: bytes) -> rsa.RSAPublicKey:
    """An RSA public key: PEM, Base64 DER in either alphabet, or DER. Raises `KeyFileError`."""
    label, der = _der(text, "public")
    if b"PRIVATE" in label:
        raise KeyFileError("public key: this is a private key; the two files may be swapped")
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(
            "public key: not a SubjectPublicKeyInfo RSA key (PEM or Base64 DER); "
            "the file may be cut, or hold the private key"
        ) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyFileError("public key: it is no RSA key, and the platform speaks RSA only")
    _check_size(key.key_size, "public")
    return key


def generate_pair() -> tuple[bytes, bytes]:
    """A fresh 2048-bit pair: (private PKCS#8 PEM, public SubjectPublicKeyInfo PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def fingerprint(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> str:
    """SHA-256 of the public half's SubjectPublicKeyInfo, in hex. No secret."""
    public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def self_test(own_private: rsa.RSAPrivateKey) -> None:
    """Prove that the crypto library rejects bad padding silently. Raises `ConfigError`.

    Run at start-up. A library that raises on bad padding would make whoever can send us answers
    able to ask, block by block, what our key decrypts (Bleichenbacher's attack).
    """
    numbers = own_private.public_key().public_numbers()
    size = (own_private.key_size + 7) // 8
    body = bytes(1 + secrets.randbelow(255) for _ in range(size - 2))
    wrong = (
        b"\x00\x01" + body,  # the block type of a signature
        b"\x01\x02" + body,  # does not begin with a zero byte (may exceed the modulus: no matter)
        b"\x00\x02" + body,  # no end of the padding
        b"\x00\x02" + body[:3] + b"\x00" + body[4:],  # padding too short
    )
    for block in wrong:
        number = int.from_bytes(block) % numbers.n
        ciphertext = pow(number, numbers.e, numbers.n).to_bytes(size)
        try:
            own_private.decrypt(ciphertext, padding.PKCS1v15())
        except ValueError:
            raise ConfigError(
                "the installed `cryptography` reports wrong RSA padding instead of answering with "
                "random bytes; install one whose OpenSSL is 3.2 or newer (the wheels of PyPI are)"
            ) from None


# --- inside -------------------------------------------------------------------------------------


def encode(raw: bytes) -> str:
    """Base64 URL-safe, without padding: the form that is sent."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Either alphabet, with or without padding; anything else is `EnvelopeError`.

    Only the canonical text of some bytes passes, so no changed character goes unnoticed.
    """
    if not _BASE64.fullmatch(text):
        raise _refusal()
    bare = text.rstrip("=").translate(_TO_URL_SAFE)
    if text.endswith("=") and len(text) % 4:
        raise _refusal()
    try:
        raw = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        raise _refusal() from None
    if encode(raw) != bare:
        raise _refusal()
    return raw


def _digest(plaintext: bytes) -> bytes:
    # the protocol's choice, not ours: what is signed is the text of an MD5
    return hashlib.md5(plaintext, usedforsecurity=False).hexdigest().encode("ascii")


def _refusal() -> EnvelopeError:
    return EnvelopeError("the envelope does not open: it is damaged, or not sealed by this peer")


def _der(text: bytes, what: str) -> tuple[bytes, bytes]:
    """(armour label or b"", DER bytes)."""
    stripped = text.removeprefix(b"\xef\xbb\xbf").strip()
    if not stripped:
        raise KeyFileError(f"{what} key: the file is empty")
    armour = _ARMOUR.search(stripped)
    label, body = (armour.group(1), armour.group(2)) if armour else (b"", stripped)
    try:
        compact = b"".join(body.split()).decode("ascii")
        return label, _decode(compact)
    except (UnicodeDecodeError, EnvelopeError):
        if not armour and stripped[:1] == b"\x30":  # a DER sequence as it is
            return label, text
        raise KeyFileError(f"{what} key: the text is neither PEM nor Base64") from None


def _check_size(bits: int, what: str) -> None:
    if not MIN_KEY_BITS <= bits <= MAX_KEY_BITS:
        raise KeyFileError(
            f"{what} key: {bits} bits; the platform's keys have {MIN_KEY_BITS}, and a shorter one "
            "can be broken"
        )
