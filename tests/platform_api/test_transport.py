"""TLS: name, chain and pin are held to, on every connection, before a request is written."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from chain_adapter.errors import ConfigError, PlatformUnreachable
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.envelope import LocalSealer
from chain_adapter.platform_api.messages import InternalNotice
from chain_adapter.platform_api.transport import open_session, parse_pins, pin_of, tls_context
from tests.platform_api.peer import Peer, done, keys, ours, stranger

INTERNAL = InternalNotice("S", "t", "a", "1", "0.1", 3, "5")


@dataclass
class Secured:
    url: str
    peer: Peer
    ca_file: str
    pin: str


def certificate(folder: Path) -> tuple[Path, Path, str]:
    """A certificate for 127.0.0.1 that is its own authority; (certificate, key, pin)."""
    key = stranger()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform of the tests")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file, pin_of(made.public_bytes(serialization.Encoding.DER))


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    cert_file, key_file, pin = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert_file, key_file)
    peer = Peer()
    app = web.Application()
    app.router.add_post("/{path:.*}", peer.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    peer.will(done())
    yield Secured(f"https://127.0.0.1:{port}", peer, str(cert_file), pin)
    await runner.cleanup()


async def told(secured: Secured, *pins: str, ca: bool = True, host: str = "127.0.0.1") -> int:
    """Make two calls; how many requests the server saw."""
    ca_file = secured.ca_file if ca else None
    async with open_session(pins, ca_file=ca_file) as session:
        url = secured.url.replace("127.0.0.1", host)
        client = PlatformClient(session, url, "x", LocalSealer(ours()), lambda: 1.0, timeout_s=5)
        await client.notify_internal(INTERNAL)
        await client.notify_internal(INTERNAL)
    return len(secured.peer.asked)


OTHER_PIN = "00" * 32


async def test_the_right_pin_in_every_form(secured: Secured) -> None:
    in_base64 = base64.b64encode(bytes.fromhex(secured.pin)).decode()
    assert await told(secured) == 2
    assert await told(secured, secured.pin) == 4
    assert await told(secured, secured.pin.upper()) == 6
    assert await told(secured, f"sha256/{in_base64}") == 8
    assert await told(secured, OTHER_PIN, in_base64) == 10
    assert len(secured.peer.connections) == 5


async def test_another_pin_ends_the_handshake(secured: Secured) -> None:
    with pytest.raises(PlatformUnreachable, match="pinned"):
        await told(secured, OTHER_PIN)
    assert not secured.peer.asked


async def test_a_pin_does_not_replace_chain_and_name(secured: Secured) -> None:
    with pytest.raises(PlatformUnreachable, match="certificate"):
        await told(secured, secured.pin, ca=False)
    with pytest.raises(PlatformUnreachable, match="certificate"):
        await told(secured, secured.pin, host="localhost")
    assert not secured.peer.asked


async def test_plain_http_behind_https(peer: Peer) -> None:
    peer.will(done())
    async with open_session() as session:
        client = PlatformClient(
            session, peer.url.replace("http:", "https:"), "x", LocalSealer(ours()), lambda: 1.0
        )
        with pytest.raises(PlatformUnreachable):
            await client.notify_internal(INTERNAL)
    assert not peer.asked


def test_old_versions_are_off() -> None:
    assert tls_context().minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls_context().verify_mode == ssl.CERT_REQUIRED
    assert tls_context().check_hostname


@pytest.mark.parametrize("pin", ["", "abc", "00" * 31, "zz" * 32, "sha256/", "A" * 44, "é"])
def test_what_is_no_pin(pin: str) -> None:
    with pytest.raises(ConfigError, match="pin"):
        parse_pins([pin])


def test_a_missing_authority_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="authorities"):
        tls_context(ca_file=str(tmp_path / "none.pem"))


def test_keys_of_the_tests_differ() -> None:
    assert keys("party_a").private_numbers() != stranger().private_numbers()
