"""The envelope against recorded envelopes, against a second library, and against tampering."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from Crypto.Cipher import PKCS1_v1_5 as OtherCipher
from Crypto.Hash import SHA256 as OTHER_SHA256
from Crypto.PublicKey import RSA as OTHER_RSA
from Crypto.Signature import pkcs1_15 as other_signature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.errors import ConfigError, EnvelopeError
from chain_adapter.platform_api import envelope as module
from chain_adapter.platform_api.envelope import (
    MAX_BLOCKS,
    Envelope,
    LocalSealer,
    fingerprint,
    generate_pair,
    load_private_key,
    load_public_key,
    self_test,
)
from tests.platform_api.peer import keys, ours, stranger, theirs, vectors

SEGMENT, BLOCK = 245, 256
ONE_ERROR = "the envelope does not open"


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def text(blocks: bytes) -> str:
    return base64.urlsafe_b64encode(blocks).rstrip(b"=").decode()


def recorded(kind: str) -> list[Any]:
    return [pytest.param(item, id=f"{kind}:{item['name']}") for item in vectors()[kind]]


# --- the recorded envelopes, both ways ------------------------------------------------------------


@pytest.mark.parametrize("item", recorded("requests"))
def test_recorded_requests(item: dict[str, str]) -> None:
    plaintext = item["plaintext"].encode()
    assert theirs().open(item["data"], item["sign"]) == plaintext
    assert theirs().verify(plaintext, item["sign"])
    sealed = ours().seal(plaintext)
    assert sealed.sign == item["sign"]
    assert theirs().open(sealed.data, sealed.sign) == plaintext
    assert len(sealed.data) == len(item["data"])


@pytest.mark.parametrize("item", recorded("responses"))
def test_recorded_responses(item: dict[str, str]) -> None:
    plaintext = item["plaintext"].encode()
    assert ours().open(item["data"], item["sign"]) == plaintext
    assert ours().verify(plaintext, item["sign"])
    sealed = theirs().seal(plaintext)
    assert sealed.sign == item["sign"]
    assert ours().open(sealed.data, sealed.sign) == plaintext


def test_recorded_envelopes_reach_eighteen_blocks() -> None:
    blocks = max(len(raw(item["data"])) // BLOCK for item in vectors()["requests"])
    assert blocks == 18


@pytest.mark.parametrize("item", recorded("requests") + recorded("responses"))
def test_recorded_envelopes_in_every_base64(item: dict[str, str]) -> None:
    reader = theirs() if item in vectors()["requests"] else ours()
    data, sign = raw(item["data"]), raw(item["sign"])
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for dropped in ("", "="):
            got = reader.open(
                alphabet(data).decode().rstrip(dropped), alphabet(sign).decode().rstrip(dropped)
            )
            assert got == item["plaintext"].encode()


# --- a second opinion -----------------------------------------------------------------------------


def other_key(key: rsa.RSAPrivateKey) -> OTHER_RSA.RsaKey:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    return OTHER_RSA.construct((public.n, public.e, numbers.d, numbers.p, numbers.q))


@pytest.mark.parametrize("length", [1, 244, 245, 246, 489, 490, 491, 4321])
def test_the_other_library_opens_what_we_seal(length: int) -> None:
    plaintext = random.Random(length).randbytes(length)
    sealed = ours().seal(plaintext)
    blocks = raw(sealed.data)
    assert len(blocks) == -(-length // SEGMENT) * BLOCK
    cipher = OtherCipher.new(other_key(keys("party_b")))
    opened = b"".join(
        cipher.decrypt(blocks[at : at + BLOCK], b"") for at in range(0, len(blocks), BLOCK)
    )
    assert opened == plaintext
    digest = OTHER_SHA256.new(hashlib.md5(plaintext).hexdigest().encode())
    other_signature.new(other_key(keys("party_a"))).verify(digest, raw(sealed.sign))


@pytest.mark.parametrize("length", [1, 244, 245, 246, 489, 490, 491, 4321])
def test_we_open_what_the_other_library_seals(length: int) -> None:
    plaintext = random.Random(length).randbytes(length)
    cipher = OtherCipher.new(other_key(keys("party_a")).public_key())
    data = b"".join(
        cipher.encrypt(plaintext[at : at + SEGMENT]) for at in range(0, length, SEGMENT)
    )
    digest = OTHER_SHA256.new(hashlib.md5(plaintext).hexdigest().encode())
    sign = other_signature.new(other_key(keys("party_b"))).sign(digest)
    assert ours().open(text(data), text(sign)) == plaintext


def test_short_segments_are_accepted() -> None:
    """Some clients cut at another length: how a plaintext was cut is the sender's matter."""
    plaintext = random.Random(1).randbytes(1000)
    public = keys("party_a").public_key()
    data = b"".join(
        public.encrypt(plaintext[at : at + 117], padding.PKCS1v15()) for at in range(0, 1000, 117)
    )
    assert ours().open(text(data), theirs().sign(plaintext)) == plaintext


@given(st.binary(max_size=1500))
def test_what_is_sealed_opens(plaintext: bytes) -> None:
    sealed = ours().seal(plaintext)
    assert theirs().open(sealed.data, sealed.sign) == plaintext
    assert not set(sealed.data + sealed.sign) & set("+/=")


def test_other_key_sizes() -> None:
    large = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    one = Envelope(large, keys("party_b").public_key())
    other = Envelope(keys("party_b"), large.public_key())
    plaintext = bytes(range(256)) * 5
    assert other.open(*_pair(one.seal(plaintext))) == plaintext
    assert one.open(*_pair(other.seal(plaintext))) == plaintext


def _pair(sealed: module.Sealed) -> tuple[str, str]:
    return sealed.data, sealed.sign


# --- tampering ------------------------------------------------------------------------------------


def refused(data: str, sign: str) -> str:
    with pytest.raises(EnvelopeError, match=ONE_ERROR) as caught:
        ours().open(data, sign)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_every_changed_byte_is_noticed() -> None:
    sealed = theirs().seal(b"[" + b'{"trans_id":1,"amount":1.5},' * 10 + b"{}]")
    dice = random.Random(7)
    data, sign = raw(sealed.data), raw(sealed.sign)
    texts = set()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= dice.randrange(1, 256)
        texts.add(refused(text(bytes(changed)), sealed.sign))
    for at in range(len(sign)):
        changed = bytearray(sign)
        changed[at] ^= dice.randrange(1, 256)
        texts.add(refused(sealed.data, text(bytes(changed))))
    assert len(texts) == 1


def test_every_changed_character_is_noticed() -> None:
    """Those too that would decode to the same bytes: the last one holds bits of no meaning."""
    sealed = theirs().seal(b'{"symbol":"VLX","count":4999}')
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    dice = random.Random(8)
    for field in ("data", "sign"):
        good = getattr(sealed, field)
        for at, was in enumerate(good):
            others = alphabet if at == len(good) - 1 else dice.choice(alphabet)
            for now in set(others) - {was}:
                bad = good[:at] + now + good[at + 1 :]
                refused(*((bad, sealed.sign) if field == "data" else (sealed.data, bad)))


def blocks_of(data: str) -> list[bytes]:
    whole = raw(data)
    return [whole[at : at + BLOCK] for at in range(0, len(whole), BLOCK)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda b: [b[1], b[0], *b[2:]], id="swapped"),
        pytest.param(lambda b: b[:-1], id="last dropped"),
        pytest.param(lambda b: b[1:], id="first dropped"),
        pytest.param(lambda b: [*b, b[0]], id="first repeated"),
        pytest.param(lambda b: [b[0], *b], id="doubled"),
        pytest.param(lambda b: list(reversed(b)), id="reversed"),
        pytest.param(lambda b: [*b, b""[:0] + b"\x00" * BLOCK], id="a block of zeros"),
        pytest.param(lambda b: [*b, b"\xff" * BLOCK], id="a block above the modulus"),
        pytest.param(lambda b: [*b[:-1], b[-1][:-1]], id="cut by a byte"),
        pytest.param(lambda b: [*b, b"\x00"], id="longer by a byte"),
        pytest.param(lambda b: [], id="nothing"),
    ],
)
def test_changed_blocks_are_noticed(change: Callable[[list[bytes]], list[bytes]]) -> None:
    sealed = theirs().seal(bytes(range(256)) * 4)
    blocks = blocks_of(sealed.data)
    assert len(blocks) == 5
    assert refused(text(b"".join(change(blocks))), sealed.sign)


@pytest.mark.parametrize(
    "bad", ["", "=", "A", "AAAAA", "é", "AA AA", "AAAA\n", "AA=A", "A===", "AAA==", "{}", "a" * 341]
)
def test_text_that_is_no_base64(bad: str) -> None:
    good = theirs().seal(b"{}")
    refused(bad, good.sign)
    refused(good.data, bad)


def test_wrong_keys() -> None:
    plaintext = b'{"symbol":"VLX","count":1}'
    by_stranger = Envelope(stranger(), keys("party_a").public_key()).seal(plaintext)
    refused(*_pair(by_stranger))
    to_stranger = Envelope(keys("party_b"), stranger().public_key()).seal(plaintext)
    refused(*_pair(to_stranger))
    refused(*_pair(ours().seal(plaintext)))  # our own envelope, sent back to us
    good = theirs().seal(plaintext)
    refused(good.data, by_stranger.sign)
    refused(by_stranger.data, theirs().sign(b"{}"))


def test_the_signature_is_over_the_lower_case_text_of_the_md5() -> None:
    plaintext = b'{"symbol":"VLX"}'
    digest = hashlib.md5(plaintext)
    for signed in (digest.digest(), digest.hexdigest().upper().encode(), plaintext):
        sign = keys("party_b").sign(signed, padding.PKCS1v15(), hashes.SHA256())
        assert not ours().verify(plaintext, text(sign))


def test_an_empty_plaintext_needs_its_signature_too() -> None:
    sealed = theirs().seal(b"")
    assert sealed.data == ""
    assert ours().open("", sealed.sign) == b""
    refused("", "")
    refused("", theirs().sign(b"x"))


def test_more_blocks_than_any_message_has_are_not_decrypted() -> None:
    data = text(b"\x00" * BLOCK * (MAX_BLOCKS + 1))
    refused(data, theirs().sign(b""))


# --- the library ----------------------------------------------------------------------------------


def test_library_rejects_padding_silently() -> None:
    for _ in range(20):
        self_test(keys("party_a"))


def test_self_test_finds_a_library_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    real = keys("party_a")

    class Telling:
        key_size = real.key_size
        public_key = real.public_key

        def decrypt(self, ciphertext: bytes, _padding: object) -> bytes:
            number = pow(
                int.from_bytes(ciphertext),
                real.private_numbers().d,
                real.public_key().public_numbers().n,
            )
            if not number.to_bytes(BLOCK).startswith(b"\x00\x02"):
                raise ValueError("Decryption failed")
            return b""

    with pytest.raises(ConfigError, match="OpenSSL"):
        self_test(Telling())  # type: ignore[arg-type]


async def test_sealing_runs_beside_the_event_loop() -> None:
    sealer = LocalSealer(ours())
    peer = LocalSealer(theirs())
    plaintexts = [json.dumps({"n": n}).encode() * 20 for n in range(20)]
    sealed = await asyncio.gather(*(sealer.seal(p) for p in plaintexts))
    opened = await asyncio.gather(*(peer.open(s.data, s.sign) for s in sealed))
    assert list(opened) == plaintexts
    with pytest.raises(EnvelopeError):
        await peer.open(sealed[0].data, sealed[1].sign)


def test_nothing_secret_in_texts() -> None:
    shown = repr(ours())
    assert fingerprint(keys("party_a"))[:16] in shown
    assert str(keys("party_a").private_numbers().d)[:12] not in shown


def test_a_new_pair_works() -> None:
    private_pem, public_pem = generate_pair()
    private, public = load_private_key(private_pem), load_public_key(public_pem)
    assert fingerprint(private) == fingerprint(public)
    assert private.key_size == 2048
    assert private_pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert public_pem.startswith(b"-----BEGIN PUBLIC KEY-----")
