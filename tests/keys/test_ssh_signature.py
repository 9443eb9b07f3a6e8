"""SSH signatures: those of the real ssh-keygen hold, hardware ones too, all others do not."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_adapter.keys.ssh_signature import NAMESPACE, PublicKey, SignatureError, split, verify

MESSAGE = b"what is approved\n"


def keygen(folder: Path, *kind: str) -> Path:
    path = folder / "_".join(kind).replace("-", "")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", str(path)], check=True, timeout=60
    )
    return path


def ssh_sign(key: Path, message: bytes, *options: str, namespace: str = NAMESPACE) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), *options],
        input=message,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout.decode()


@pytest.mark.parametrize(
    "kind",
    [("ed25519",), ("ecdsa", "-b", "256"), ("ecdsa", "-b", "384"), ("ecdsa", "-b", "521"),
     ("rsa", "-b", "2048")],
    ids="".join,
)  # fmt: skip
def test_real_signatures(tmp_path: Path, kind: tuple[str, ...]) -> None:
    key = keygen(tmp_path, *kind)
    public = PublicKey.parse(key.with_suffix(".pub").read_text())
    for options in ((), ("-O", "hashalg=sha256")):
        armoured = ssh_sign(key, MESSAGE, *options)
        verify(public, MESSAGE, armoured)
        with pytest.raises(SignatureError, match="does not hold"):
            verify(public, MESSAGE + b" ", armoured)
    with pytest.raises(SignatureError, match="another purpose"):
        verify(public, MESSAGE, ssh_sign(key, MESSAGE, namespace="file"))
    other = keygen(tmp_path, "ed25519", "-C", "other")
    with pytest.raises(SignatureError, match="another key"):
        verify(PublicKey.parse(other.with_suffix(".pub").read_text()), MESSAGE, armoured)
    assert split(MESSAGE.decode() + armoured) == (MESSAGE.decode(), armoured)


def test_short_rsa_keys_are_refused(tmp_path: Path) -> None:
    key = keygen(tmp_path, "rsa", "-b", "1024")
    with pytest.raises(SignatureError, match="too short"):
        PublicKey.parse(key.with_suffix(".pub").read_text())


# --- hardware keys, made in software as PROTOCOL.u2f says ----------------------------------------


def field(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def hardware(kind: str, *, touched: bool = True) -> tuple[PublicKey, str]:
    application = b"ssh:"
    if kind.startswith("sk-ssh-ed25519"):
        private = ed25519.Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        blob = field(kind.encode()) + field(raw) + field(application)
    else:
        curve = ec.generate_private_key(ec.SECP256R1())
        point = curve.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        blob = field(kind.encode()) + field(b"nistp256") + field(point) + field(application)
    framed = b"SSHSIG" + field(NAMESPACE.encode()) + field(b"") + field(b"sha512")
    framed += field(hashlib.sha512(MESSAGE).digest())
    tail = bytes([1 if touched else 0]) + (7).to_bytes(4)
    signed = hashlib.sha256(application).digest() + tail + hashlib.sha256(framed).digest()
    if kind.startswith("sk-ssh-ed25519"):
        value = private.sign(signed)
    else:
        r, s = decode_dss_signature(curve.sign(signed, ec.ECDSA(hashes.SHA256())))
        value = b"".join(field(n.to_bytes(33)) for n in (r, s))
    body = b"SSHSIG" + (1).to_bytes(4) + field(blob) + field(NAMESPACE.encode()) + field(b"")
    body += field(b"sha512") + field(field(kind.encode()) + field(value) + tail)
    armoured = base64.b64encode(body).decode()
    text = f"-----BEGIN SSH SIGNATURE-----\n{armoured}\n-----END SSH SIGNATURE-----\n"
    return PublicKey.parse(f"{kind} {base64.b64encode(blob).decode()} card"), text


@pytest.mark.parametrize(
    "kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]
)
def test_hardware_keys(kind: str) -> None:
    public, armoured = hardware(kind)
    verify(public, MESSAGE, armoured)
    with pytest.raises(SignatureError, match="does not hold"):
        verify(public, b"other", armoured)
    untouched, armoured = hardware(kind, touched=False)
    with pytest.raises(SignatureError, match="nobody touched"):
        verify(untouched, MESSAGE, armoured)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_no_changed_byte_passes(at: int, bit: int, cut: bool) -> None:
    public, armoured = _made()
    body = base64.b64decode("".join(armoured.split("\n")[1:-2]))
    at %= len(body)
    changed = body[:at] if cut else body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]
    # the reserved field is empty and signed; so is everything else
    text = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(changed).decode()}\n"
    with pytest.raises(SignatureError):
        verify(public, MESSAGE, text + "-----END SSH SIGNATURE-----\n")


_kept: list[tuple[PublicKey, str]] = []


def _made() -> tuple[PublicKey, str]:
    if not _kept:
        _kept.append(hardware("sk-ssh-ed25519@openssh.com"))
    return _kept[0]


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-dss AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 !!!", "ssh-rsa "
     + base64.b64encode(field(b"ssh-ed25519") + field(bytes(32))).decode()],
)  # fmt: skip
def test_bad_public_keys(line: str) -> None:
    with pytest.raises(SignatureError):
        PublicKey.parse(line)


@pytest.mark.parametrize(
    "text", ["", "no", "-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----"]
)
def test_bad_armour(text: str) -> None:
    with pytest.raises(SignatureError):
        verify(_made()[0], MESSAGE, text)
