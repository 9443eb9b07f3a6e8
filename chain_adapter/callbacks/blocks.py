"""RSA in blocks, as the merchant dialects use it, and the Base64 text around it.

Private key -> block type 1 -> opened with the public key: proves the sender of every block. It is
deterministic, so the same plaintext gives the same bytes. Public key -> block type 2: hides an
answer, proves nothing. Segments are key bytes - 11 long when sealing, of any length when opening.
"""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from chain_adapter.errors import EnvelopeError, KeyFileError

PADDING_BYTES = 11  # 00, block type, at least eight bytes of padding, 00
MAX_BLOCKS = 4096  # a megabyte of plaintext; more would only burn our processor
MIN_KEY_BITS = 1024  # what the older dialect uses; nothing weaker
_PADDING = padding.PKCS1v15()
_BARE = utils.NoDigestInfo()
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)
_ARMOUR = re.compile(rb"-----BEGIN [A-Z ]+-----(.*?)-----END [A-Z ]+-----", re.DOTALL)
_TO_STANDARD = str.maketrans("-_", "+/")


def seal_private(key: rsa.RSAPrivateKey, plaintext: bytes) -> bytes:
    """Block type 1 (RFC 8017, 9.2 without its DigestInfo): the same bytes every time."""
    return b"".join(key.sign(part, _PADDING, _BARE) for part in _segments(key, plaintext))


def open_public(key: rsa.RSAPublicKey, ciphertext: bytes) -> bytes:
    """The plaintext under block type 1. `EnvelopeError`, one text for every cause.

    Each block proves that the owner of the private key made it; nothing proves that the blocks
    belong together. The caller demands one well-formed message of known fields.
    """
    try:
        opened = [
            key.recover_data_from_signature(block, _PADDING, None)
            for block in _blocks(key, ciphertext)
        ]
    except (InvalidSignature, ValueError):
        raise refusal() from None
    return b"".join(opened)


def seal_public(key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
    """Block type 2: fresh random padding, so never the same bytes twice."""
    return b"".join(key.encrypt(part, _PADDING) for part in _segments(key, plaintext))


def open_private(key: rsa.RSAPrivateKey, ciphertext: bytes) -> bytes:
    """The plaintext under block type 2. A forged block may give random bytes and no error."""
    try:
        return b"".join(key.decrypt(block, _PADDING) for block in _blocks(key, ciphertext))
    except ValueError:
        raise refusal() from None


def to_text(raw: bytes, *, url_safe: bool) -> str:
    """Base64: URL-safe without padding, or the standard alphabet with padding."""
    if url_safe:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
    return base64.b64encode(raw).decode("ascii")


def from_text(text: str) -> bytes:
    """Either alphabet, with or without padding, in lines or not. `EnvelopeError`.

    A blank stands for the plus that a form which was not escaped turns into one.
    """
    joined = text.strip().replace("\r", "").replace("\n", "").replace(" ", "+")
    if not _BASE64.fullmatch(joined):
        raise refusal()
    bare = joined.rstrip("=").translate(_TO_STANDARD)
    if joined.endswith("=") and len(joined) % 4:
        raise refusal()
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refusal() from None
    if to_text(raw, url_safe=False).rstrip("=") != bare:
        raise refusal()  # bits that no byte owns: not the text of these bytes
    return raw


def refusal() -> EnvelopeError:
    """What every failure to open says."""
    return EnvelopeError("the message does not open: it is damaged, or not sealed by the platform")


def load_public_key(text: bytes) -> rsa.RSAPublicKey:
    """A public key of 1024 bits or more: PEM, or bare Base64 DER. Raises `KeyFileError`."""
    key = _load(text, private=False)
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyFileError("public key: it is no RSA key (SubjectPublicKeyInfo)")
    _check_size(key.key_size)
    return key


def load_private_key(text: bytes) -> rsa.RSAPrivateKey:
    """A private key of 1024 bits or more: PEM, or bare Base64 DER. Raises `KeyFileError`."""
    key = _load(text, private=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError("private key: it is no RSA key (PKCS#8)")
    _check_size(key.key_size)
    return key


def _load(text: bytes, *, private: bool) -> object:
    armour = _ARMOUR.search(text)
    body = armour.group(1) if armour else text
    what = "private key (PKCS#8)" if private else "public key (SubjectPublicKeyInfo)"
    try:
        der = from_text(b"".join(body.split()).decode("ascii"))
        if private:
            return serialization.load_der_private_key(der, password=None)
        return serialization.load_der_public_key(der)
    except (UnicodeDecodeError, EnvelopeError, ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"the text is no {what}, neither as PEM nor as Base64") from None


def _check_size(bits: int) -> None:
    if bits < MIN_KEY_BITS:
        raise KeyFileError(f"an RSA key of {bits} bits; {MIN_KEY_BITS} is the least")


def _segments(key: rsa.RSAPrivateKey | rsa.RSAPublicKey, plaintext: bytes) -> list[bytes]:
    size = _size(key) - PADDING_BYTES
    return [plaintext[at : at + size] for at in range(0, len(plaintext), size)]


def _blocks(key: rsa.RSAPrivateKey | rsa.RSAPublicKey, ciphertext: bytes) -> list[bytes]:
    size = _size(key)
    if not ciphertext or len(ciphertext) % size or len(ciphertext) > MAX_BLOCKS * size:
        raise refusal()
    return [ciphertext[at : at + size] for at in range(0, len(ciphertext), size)]


def _size(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> int:
    return (key.key_size + 7) // 8
