"""The sandbox's app_id and the two key pairs, as files in its state directory.

What is there is used, what is missing is made; a half-made pair is completed from its private key.
Private files are readable by their owner alone. Each file appears whole or not at all.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.errors import ConfigError, KeyFileError
from chain_adapter.platform_api.envelope import (
    Envelope,
    fingerprint,
    generate_pair,
    load_private_key,
    load_public_key,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who docks here (`app_id`) and the platform's end of the envelope."""

    app_id: str
    envelope: Envelope


def open_identity(state: Path) -> Identity:
    """Read or make `app_id` and the PEM files. Raises `ConfigError`, `KeyFileError`."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        _complete_pair(state, "party_a")
        own = _complete_pair(state, "platform")
        app_id_file = state / "app_id"
        if not app_id_file.exists():
            _write(app_id_file, secrets.token_hex(16).encode() + b"\n", 0o644)
        app_id = app_id_file.read_text(encoding="utf-8").strip()
        if not app_id:
            raise ConfigError(f"{app_id_file} is empty; write the app_id into it or remove it")
        their = load_public_key((state / "party_a_public.pem").read_bytes())
    except OSError as error:
        raise ConfigError(f"state directory {state}: {error.strerror}") from None
    if own is None:
        raise ConfigError(
            f"{state}/platform_public.pem is there without its private key; the platform needs both"
        )
    return Identity(app_id, Envelope(own, their))


def stranger(identity: Identity, state: Path) -> Envelope:
    """An envelope to party A by a key that nobody knows."""
    private, _ = generate_pair()
    their = load_public_key((state / "party_a_public.pem").read_bytes())
    return Envelope(load_private_key(private), their)


def _complete_pair(state: Path, side: str) -> rsa.RSAPrivateKey | None:
    """The private key; None of a party that keeps it to itself."""
    private, public = state / f"{side}_private.pem", state / f"{side}_public.pem"
    if not private.exists():
        if public.exists():
            return None
        _write(private, generate_pair()[0], 0o600)
    try:
        key = load_private_key(private.read_bytes())
        if not public.exists():
            pem = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            _write(public, pem, 0o644)
        elif fingerprint(load_public_key(public.read_bytes())) != fingerprint(key):
            raise ConfigError(f"{public} is not the public half of {private.name}")
        return key
    except KeyFileError as error:
        raise KeyFileError(f"{state}, pair {side}: {error}") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole and durable, or not there."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
