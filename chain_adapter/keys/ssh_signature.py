"""Signatures that `ssh-keygen -Y sign` makes, verified here (OpenSSH PROTOCOL.sshsig).

armour -> blob (key, namespace, hash, signature) -> the signed frame -> Ed25519, ECDSA, RSA, or one
of the hardware kinds (sk-), which sign the application, a flag that somebody touched it, a counter.
No program is started and no file written for it: the signer stays one process with no shell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

NAMESPACE: Final = "chain-adapter"
_MAGIC: Final = b"SSHSIG"
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_MAX_BLOB: Final = 16 * 1024
_USER_PRESENT: Final = 0x01
_CURVES: Final[dict[bytes, tuple[type[ec.EllipticCurve], type[hashes.HashAlgorithm]]]] = {
    b"nistp256": (ec.SECP256R1, hashes.SHA256),
    b"nistp384": (ec.SECP384R1, hashes.SHA384),
    b"nistp521": (ec.SECP521R1, hashes.SHA512),
}
_MIN_RSA_BITS: Final = 2048


class SignatureError(ValueError):
    """A text that is no public key or no signature, or a signature that does not hold."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One line of an `id_….pub` file: a key of one of the kinds below."""

    kind: str
    blob: bytes = field(repr=False)

    KINDS = (
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    )

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Read `kind base64 [comment]`. Raises `SignatureError`."""
        words = line.split()
        if len(words) < 2 or words[0] not in cls.KINDS:
            raise SignatureError(
                "not an SSH public key (the line of an id_….pub file) of a known kind"
            )
        try:
            blob = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError):
            raise SignatureError("the Base64 of the SSH public key is damaged") from None
        reader = _Reader(blob)
        if reader.text() != words[0]:
            raise SignatureError("the SSH public key is of another kind than its line says")
        key = cls(words[0], blob)
        _verifier(key)  # a damaged key is told now, not when it is needed
        return key


def verify(key: PublicKey, message: bytes, armoured: str, namespace: str = NAMESPACE) -> None:
    """Raise `SignatureError` unless `armoured` is the key's signature of `message`."""
    reader = _Reader(_unarmour(armoured))
    if reader.take(6) != _MAGIC or reader.number() != 1:
        raise SignatureError("not an SSH signature of version 1")
    if reader.string() != key.blob:
        raise SignatureError("signed by another key")
    if reader.string() != namespace.encode():
        raise SignatureError(f"signed for another purpose than -n {namespace}")
    reserved, hash_name, signature = reader.string(), reader.string(), reader.string()
    reader.end()
    if hash_name not in (b"sha256", b"sha512"):
        raise SignatureError("the signature uses a hash that is not allowed")
    framed = (
        _MAGIC
        + _string(namespace.encode())
        + _string(reserved)
        + _string(hash_name)
        + _string(hashlib.new(hash_name.decode(), message).digest())
    )
    try:
        _verifier(key)(framed, signature)
    except (InvalidSignature, UnsupportedAlgorithm):
        raise SignatureError("the signature does not hold") from None


def split(document: str) -> tuple[str, str]:
    """(the signed text, the armoured signature) of one document that holds both."""
    at = document.find(_BEGIN)
    if at < 0:
        raise SignatureError("there is no SSH signature in it")
    return document[:at], document[at:]


# --- inside -------------------------------------------------------------------------------------


class _Reader:
    """Reads the length-prefixed fields of SSH (RFC 4251, section 5)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise SignatureError("an SSH key or signature is cut short")
        self._at += size
        return piece

    def number(self) -> int:
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return self.string().decode("ascii", "replace")

    def integer(self) -> int:
        raw = self.string()
        if raw[:1] >= b"\x80":
            raise SignatureError("a number in an SSH key or signature is negative")
        return int.from_bytes(raw)

    def end(self) -> None:
        if self._at != len(self._data):
            raise SignatureError("an SSH key or signature has more bytes than it should")


class _Verifier:
    """A key's algorithm: raises `InvalidSignature` or `SignatureError`."""

    def __init__(self, key: PublicKey) -> None:
        reader = _Reader(key.blob)
        self._kind = reader.text()
        self._application = b""
        self._public: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
        self._hash: hashes.HashAlgorithm = hashes.SHA256()
        try:
            if self._kind.endswith("ssh-ed25519") or "ssh-ed25519@" in self._kind:
                self._public = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())
            elif self._kind == "ssh-rsa":
                e, n = reader.integer(), reader.integer()
                if n.bit_length() < _MIN_RSA_BITS:
                    raise SignatureError(f"an RSA key of {n.bit_length()} bits is too short")
                self._public = rsa.RSAPublicNumbers(e, n).public_key()
            else:
                curve, hash_type = _CURVES[reader.string()]
                self._hash = hash_type()
                self._public = ec.EllipticCurvePublicKey.from_encoded_point(
                    curve(), reader.string()
                )
        except (ValueError, KeyError) as problem:
            if isinstance(problem, SignatureError):
                raise
            raise SignatureError("the SSH public key is damaged") from None
        if self._kind.startswith("sk-"):
            self._application = reader.string()
        reader.end()

    def __call__(self, framed: bytes, signature: bytes) -> None:
        reader = _Reader(signature)
        kind, value = reader.text(), reader.string()
        if self._kind.startswith("sk-"):
            flags = reader.take(1)
            counter = reader.take(4)
            if not flags[0] & _USER_PRESENT:
                raise SignatureError("nobody touched the hardware key")
            framed = (
                hashlib.sha256(self._application).digest()
                + flags
                + counter
                + hashlib.sha256(framed).digest()
            )
        reader.end()
        if isinstance(self._public, rsa.RSAPublicKey):
            chosen = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}.get(kind)
            if chosen is None:
                raise SignatureError("an RSA signature must use SHA-2")
            self._public.verify(value, framed, padding.PKCS1v15(), chosen)
            return
        if kind != self._kind:
            raise SignatureError("the signature is of another kind than its key")
        if isinstance(self._public, ed25519.Ed25519PublicKey):
            self._public.verify(value, framed)
        else:
            numbers = _Reader(value)
            r, s = numbers.integer(), numbers.integer()
            numbers.end()
            self._public.verify(encode_dss_signature(r, s), framed, ec.ECDSA(self._hash))


def _verifier(key: PublicKey) -> _Verifier:
    return _Verifier(key)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _unarmour(text: str) -> bytes:
    body = text.strip()
    if not body.startswith(_BEGIN) or not body.endswith(_END) or len(body) > 2 * _MAX_BLOB:
        raise SignatureError("not an armoured SSH signature")
    inner = "".join(body[len(_BEGIN) : -len(_END)].split())
    try:
        return base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("the Base64 of the SSH signature is damaged") from None
