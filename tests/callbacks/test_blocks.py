"""Block type 1: what opens, what does not, and that every refusal is the same one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.callbacks import blocks
from chain_adapter.errors import EnvelopeError, KeyFileError
from tests.callbacks.ends import block_by_hand, private

PLATFORM = private("platform")
SIZE = 256


def opened(ciphertext: bytes) -> bytes:
    return blocks.open_public(PLATFORM.public_key(), ciphertext)


def refused(ciphertext: bytes) -> None:
    with pytest.raises(EnvelopeError) as raised:
        opened(ciphertext)
    assert str(raised.value) == str(blocks.refusal())


@given(st.binary(min_size=1, max_size=1000))
def test_round_trip(plaintext: bytes) -> None:
    made = blocks.seal_private(PLATFORM, plaintext)
    assert len(made) == -(-len(plaintext) // 245) * SIZE
    assert opened(made) == plaintext
    assert made == blocks.seal_private(PLATFORM, plaintext)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x00\x02" + b"\xff" * 100 + b"\x00" + b"a" * 153, id="block type 2"),
        pytest.param(b"\x00\x00" + b"\x00" * 100 + b"\xff" * 154, id="block type 0"),
        pytest.param(b"\x00\x01" + b"\xff" * 7 + b"\x00" + b"a" * 246, id="seven bytes of padding"),
        pytest.param(b"\x00\x01" + b"\x00" + b"a" * 253, id="no padding"),
        pytest.param(b"\x00\x01" + b"\xff" * 254, id="no end of the padding"),
        pytest.param(
            b"\x00\x01" + b"\xff" * 50 + b"\xfe" + b"\xff" * 49 + b"\x00" + b"a" * 153,
            id="a byte of the padding is another",
        ),
        pytest.param(b"\x01\x01" + b"\xff" * 100 + b"\x00" + b"a" * 153, id="first byte"),
        pytest.param(b"\x00" * 256, id="zero"),
    ],
)
def test_wrong_padding_is_one_error(block: bytes) -> None:
    assert len(block) == SIZE
    refused(block_by_hand(PLATFORM, block))


def test_least_and_most_of_a_block() -> None:
    assert opened(block_by_hand(PLATFORM, b"\x00\x01" + b"\xff" * 8 + b"\x00" + b"a" * 245))
    assert opened(block_by_hand(PLATFORM, b"\x00\x01" + b"\xff" * 253 + b"\x00")) == b""


@pytest.mark.parametrize("length", [0, 1, 255, 257, 511])
def test_only_whole_blocks(length: int) -> None:
    refused(b"\x01" * length)


def test_block_above_the_modulus() -> None:
    refused(b"\xff" * SIZE)


def test_too_many_blocks() -> None:
    refused(b"\x00" * SIZE * (blocks.MAX_BLOCKS + 1))


def test_a_stranger_and_our_own_seal_do_not_open() -> None:
    for party in ("stranger", "merchant"):
        refused(blocks.seal_private(private(party), b"{}"))
    refused(blocks.seal_public(PLATFORM.public_key(), b"{}"))


@given(st.integers(0, 255), st.integers(1, 255))
def test_every_changed_byte_is_noticed(at: int, change: int) -> None:
    made = bytearray(blocks.seal_private(PLATFORM, b'{"amount":"1"}'))
    made[at] ^= change
    refused(bytes(made))


def test_public_seal_is_opened_by_the_private_key() -> None:
    text = b"x" * 500
    key = private("uuwallet")
    made = blocks.seal_public(key.public_key(), text)
    assert len(made) == 5 * 128
    assert blocks.open_private(key, made) == text
    with pytest.raises(EnvelopeError):
        blocks.open_private(key, made[:-1])


@given(st.binary(min_size=1, max_size=80))
def test_every_spelling_of_base64(raw: bytes) -> None:
    url = blocks.to_text(raw, url_safe=True)
    standard = blocks.to_text(raw, url_safe=False)
    assert "=" not in url and not set("+/") & set(url)
    in_lines = "\r\n".join(standard[at : at + 20] for at in range(0, len(standard), 20))
    unescaped = standard.replace("+", " ")
    for text in (url, standard, standard.rstrip("="), in_lines, f" {url}\n"):
        assert blocks.from_text(text) == raw
    if not unescaped.startswith(" ") and not unescaped.endswith(" "):
        assert blocks.from_text(unescaped) == raw


@pytest.mark.parametrize(
    "text", ["", "=", "a", "abc=d", "ab\x00c", "äöü", "{}", "QQ=", "QR==", "QQ==="]
)
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(EnvelopeError):
        blocks.from_text(text)


def test_keys_in_every_form() -> None:
    key = private("uuwallet")
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    same = key.public_key().public_numbers()
    for text in (base64.b64encode(der), base64.urlsafe_b64encode(der).rstrip(b"="), pem):
        assert blocks.load_public_key(text).public_numbers() == same
    for wrong in (b"", b"nothing", base64.b64encode(der)[:-20], base64.b64encode(b"\x30" * 40)):
        with pytest.raises(KeyFileError):
            blocks.load_public_key(wrong)
        with pytest.raises(KeyFileError):
            blocks.load_private_key(wrong)
    with pytest.raises(KeyFileError):
        blocks.load_private_key(pem)


def test_weak_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MIN_KEY_BITS", 4096)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(KeyFileError, match="2048 bits"):
        blocks.load_public_key(pem)
