"""The session that the client posts through: TLS 1.2 and newer, pinned where pins are given.

A pin is the SHA-256 of a certificate's SubjectPublicKeyInfo. It is compared when the handshake has
ended and before the first byte of a request is written, on every new connection, in addition to
the usual check of name and chain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from collections.abc import Sequence
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chain_adapter.errors import ConfigError

_KEEP_ALIVE_S = 30.0
_PIN_BYTES = 32


def open_session(
    pins: Sequence[str] = (), *, ca_file: str | None = None, connections: int = 16
) -> aiohttp.ClientSession:
    """A session with connection reuse, without cookies, proxies of the environment or redirects.

    `pins` as in `parse_pins`; `ca_file` replaces the system's certificate authorities. To be
    called inside a running event loop. Raises `ConfigError`.
    """
    connector = aiohttp.TCPConnector(
        ssl=tls_context(pins, ca_file=ca_file),
        limit=connections,
        keepalive_timeout=_KEEP_ALIVE_S,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


def tls_context(pins: Sequence[str] = (), *, ca_file: str | None = None) -> ssl.SSLContext:
    """A verifying client context that also demands one of `pins`, if there are any."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"certificate authorities {ca_file}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pins:
        context.sslobject_class = _pinned(parse_pins(pins))
    return context


def parse_pins(pins: Sequence[str]) -> frozenset[str]:
    """Pins in hex, each given as 64 hex digits or Base64, with or without `sha256/` before it."""
    return frozenset(_parse_pin(pin) for pin in pins)


def pin_of(certificate: bytes) -> str:
    """The pin, in hex, of a certificate in DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def _pinned(pins: frozenset[str]) -> type[ssl.SSLObject]:
    class PinnedSSLObject(ssl.SSLObject):
        """Ends the handshake only with a server whose key is pinned."""

        def do_handshake(self) -> None:
            super().do_handshake()
            certificate: Any = self.getpeercert(binary_form=True)
            if not certificate or pin_of(certificate) not in pins:
                raise ssl.SSLCertVerificationError(
                    "the server's key is none of the pinned ones; compare it with what the "
                    "platform announced before changing a pin"
                )

    return PinnedSSLObject


def _parse_pin(pin: str) -> str:
    text = pin.strip().removeprefix("sha256/").removeprefix("sha256:")
    try:
        if len(text) == 2 * _PIN_BYTES:
            return bytes.fromhex(text).hex()
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _PIN_BYTES:
        raise ConfigError(f"pin {pin[:80]!r} is no SHA-256 in hex or Base64")
    return raw.hex()
