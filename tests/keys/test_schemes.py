"""Signature schemes: deterministic, strict, and equal to other implementations."""

from __future__ import annotations

import pytest
from eth_keys import keys as eth_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_adapter.errors import ConfigError
from chain_adapter.keys.schemes import SCHEMES, scheme_named

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP = SCHEMES["secp256k1"]
ED = SCHEMES["ed25519"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_secp256k1_is_rfc6979(number: int, digest: bytes) -> None:
    private = number.to_bytes(32)
    signature = SECP.sign(private, digest)
    assert signature == eth_keys.PrivateKey(private).sign_msg_hash(digest).to_bytes()
    assert signature == SECP.sign(private, digest)
    assert SECP.verify(SECP.public_key(private), digest, signature)


def test_secp256k1_refuses_what_is_not_its_own() -> None:
    private, digest = b"\x01" * 32, b"\x02" * 32
    public, signature = SECP.public_key(private), SECP.sign(b"\x01" * 32, b"\x02" * 32)
    high = ORDER - int.from_bytes(signature[32:64])
    twin = signature[:32] + high.to_bytes(32) + bytes([signature[64] ^ 1])
    assert not SECP.verify(public, digest, twin)
    assert not SECP.verify(public, b"\x03" * 32, signature)
    assert not SECP.verify(SECP.public_key(b"\x04" * 32), digest, signature)
    assert not SECP.verify(public, digest, signature[:-1] + b"\x1b")
    assert not SECP.verify(public, digest, bytes(65))
    assert not SECP.verify(public, digest[:-1], signature)
    assert not SECP.verify(b"\x02" + b"\xff" * 32, digest, signature)
    with pytest.raises(ValueError, match="32-byte digest"):
        SECP.sign(private, b"a text")


def test_ed25519_rfc8032_vector() -> None:
    """RFC 8032, 7.1, test 2."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = ED.public_key(private)
    assert public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = ED.sign(private, b"\x72")
    assert signature.hex().startswith("92a009a9f0d4cab8720e820b5f642540")
    assert ED.verify(public, b"\x72", signature)
    assert not ED.verify(public, b"\x73", signature)
    assert not ED.verify(public[:-1], b"\x72", signature)


def test_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="ed25519, secp256k1"):
        scheme_named("bls")
