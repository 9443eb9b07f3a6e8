"""Bytes: RLP, addresses, transactions equal to eth-account's, payloads that have one meaning."""

from __future__ import annotations

import statistics
import time

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.chain import InvalidAddress, Rejected
from chain_adapter_evm import codec
from chain_adapter_evm.codec import Unsigned
from plugins.evm.tests.parts import wallet_of

SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

transactions = st.builds(
    Unsigned,
    chain_id=st.integers(1, 2**32),
    nonce=st.integers(0, 2**40),
    max_fee=st.integers(10**6, 2**70),
    tip=st.one_of(st.none(), st.integers(0, 10**6)),
    gas=st.integers(21_000, 2**30),
    to=st.binary(min_size=20, max_size=20),
    value=st.integers(0, 2**256 - 1),
    data=st.one_of(st.just(b""), st.binary(max_size=100), st.just(b"\x00" * 68)),
)


def as_eth_account(tx: Unsigned) -> dict[str, object]:
    fields: dict[str, object] = {
        "nonce": tx.nonce,
        "gas": tx.gas,
        "to": codec.spell(tx.to),
        "value": tx.value,
        "data": tx.data,
        "chainId": tx.chain_id,
    }
    if tx.tip is None:
        return fields | {"gasPrice": tx.max_fee}
    return fields | {"maxFeePerGas": tx.max_fee, "maxPriorityFeePerGas": tx.tip, "type": 2}


@given(transactions)
def test_signed_bytes_are_those_of_eth_account(tx: Unsigned) -> None:
    wallet = wallet_of(SECRET)
    payload = codec.read_payload(codec.write_payload(wallet.public_key, tx))
    ours = codec.sign_bytes(payload, wallet.sign(payload.digest))
    theirs = Account.sign_transaction(as_eth_account(tx), SECRET)
    assert ours == bytes(theirs.raw_transaction)
    assert codec.keccak(ours) == bytes(theirs.hash)


@given(transactions)
def test_a_payload_reads_back(tx: Unsigned) -> None:
    wallet = wallet_of(SECRET)
    read = codec.read_payload(codec.write_payload(wallet.public_key, tx))
    assert read.tx == tx
    assert codec.spell(read.sender) == wallet.address == Account.from_key(SECRET).address


@given(transactions, st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_is_another_transaction(
    tx: Unsigned, at: int, change: int
) -> None:
    payload = bytearray(codec.write_payload(wallet_of(SECRET).public_key, tx))
    at %= len(payload)
    payload[at] ^= change
    try:
        read = codec.read_payload(bytes(payload))
    except Rejected:
        return
    assert codec.write_payload(read.public_key, read.tx) == bytes(payload)
    assert read.tx != tx or read.public_key != wallet_of(SECRET).public_key


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_refused(noise: bytes) -> None:
    for payload in (noise, codec.MAGIC + wallet_of(SECRET).public_key + noise):
        try:
            read = codec.read_payload(payload)
        except Rejected:
            continue
        assert codec.write_payload(read.public_key, read.tx) == payload


def signed_by(secret: bytes) -> tuple[codec.Payload, bytes]:
    wallet = wallet_of(SECRET)
    tx = Unsigned(1, 0, 10, 1, 21_000, b"\x11" * 20, 1, b"")
    payload = codec.read_payload(codec.write_payload(wallet.public_key, tx))
    return payload, PrivateKey(secret).sign_recoverable(payload.digest, hasher=None)


def test_signatures_are_verified() -> None:
    payload, good = signed_by(SECRET)
    assert codec.sign_bytes(payload, good)
    _, foreign = signed_by(b"\x07" * 32)
    s = int.from_bytes(good[32:64], "big")
    high = good[:32] + (CURVE_ORDER - s).to_bytes(32, "big") + bytes([good[64] ^ 1])
    bad = [
        foreign,
        high,
        good[:64],
        good[:64] + b"\x1b",
        good[:64] + bytes([good[64] ^ 1]),
        bytes(65),
        b"\xff" * 64 + b"\0",
        good[:32] + bytes(32) + good[64:],
    ]
    for signature in bad:
        with pytest.raises(Rejected):
            codec.sign_bytes(payload, signature)


EIP_55 = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
]


@pytest.mark.parametrize("address", EIP_55)
def test_addresses_have_one_spelling(address: str) -> None:
    assert codec.parse_address(address) == address
    assert codec.parse_address(address.lower()) == address
    assert codec.parse_address("0x" + address[2:].upper()) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",  # a digit short
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd",
        "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # one letter of the checksum is wrong
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        " 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed\n",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaeg",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1bea\u0665d",  # a digit of another script
        "XE7338O073KYGTWWZN0F2WZ0R8PX5ZPPZS",  # ICAP
        "vitalik.eth",
        "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8",
    ],
)
def test_other_texts_are_no_addresses(text: str) -> None:
    with pytest.raises(InvalidAddress):
        codec.parse_address(text)


def test_the_zero_address_is_an_address() -> None:
    assert codec.parse_address("0x" + "0" * 40) == "0x" + "0" * 40


@given(st.binary(min_size=20, max_size=20))
def test_spelling_is_that_of_eth_utils(key: bytes) -> None:
    from eth_utils import to_checksum_address

    assert codec.spell(key) == to_checksum_address(key)


@pytest.mark.parametrize(
    "text", ["0x", "1", "0x_1", "0x1_0", " 0x1", "-0x1", "0x" + "f" * 65, "0xg"]
)
def test_quantities_are_strict(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        codec.quantity(text)


def test_signing_costs_a_fraction_of_eth_account() -> None:
    """Encoding, digest, signature and its verification together; the bound is a loose one."""
    wallet = wallet_of(SECRET)
    txs = [
        Unsigned(1, nonce, 50_000_000_000, 10**9, 60_000, b"\x22" * 20, 0, b"\xa9" * 68)
        for nonce in range(60)
    ]

    def ours() -> None:
        for tx in txs:
            payload = codec.read_payload(codec.write_payload(wallet.public_key, tx))
            codec.sign_bytes(payload, wallet.sign(payload.digest))

    def theirs() -> None:
        for tx in txs:
            Account.sign_transaction(as_eth_account(tx), SECRET)

    ratios = []
    for _ in range(5):
        codec.read_payload.cache_clear()
        started = time.process_time()
        theirs()
        between = time.process_time()
        ours()
        ratios.append((between - started) / (time.process_time() - between))
    assert statistics.median(ratios) > 2.5
