"""Bytes: addresses, protobuf, raw_data, payloads. Nothing here asks a node."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tronpy.keys import PrivateKey as TronpyKey
from tronpy.keys import to_base58check_address, to_hex_address

from chain_adapter.chain import Asset, InvalidAddress, Payment, Rejected
from chain_adapter_tron.address import key_of, of_public_key, spell
from chain_adapter_tron.chain import plugin
from chain_adapter_tron.codec import (
    MOST,
    TRANSFER,
    TRANSFER_ASSET,
    TRIGGER,
    Action,
    Raw,
    bandwidth_of,
    read_payload,
    read_raw,
    transfer_call,
    txid_of,
    write_payload,
)
from chain_adapter_tron.protobuf import Message, bytes_field, message_field, number_field, varint
from plugins.tron.tests.parts import Opener, stranger, wallet

ASSETS = {
    "TRX": Asset("TRX", None, 6),
    "USDT": Asset("USDT", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t", 6),
    "TEN": Asset("TEN", "1002000", 6),
}
OWNER, TO = wallet(1), stranger(2)
KEYS = st.binary(min_size=20, max_size=20)
_quick = settings(max_examples=200, deadline=None)


def raw_of(action: Action, **more: object) -> Raw:
    told = {
        "ref_block_bytes": b"\x01\x02", "ref_block_hash": bytes(range(8)), "expiration": 10**12,
        "timestamp": 10**12 - 5, "kind": action.kind, "action": action, **more,
    }  # fmt: skip
    return Raw(**told)  # type: ignore[arg-type]


# --- addresses ------------------------------------------------------------------------------------


@_quick
@given(KEYS)
def test_addresses_are_spelled_as_tronpy_spells_them(key: bytes) -> None:
    text = spell(key)
    assert text == to_base58check_address(b"\x41" + key)
    assert key_of(text) == key == key_of("41" + key.hex()) == key_of("41" + key.hex().upper())
    assert to_hex_address(text) == "41" + key.hex()


@_quick
@given(st.binary(min_size=32, max_size=32).filter(lambda one: int.from_bytes(one, "big") > 0))
def test_the_address_of_a_key_is_tronpys(secret: bytes) -> None:
    try:
        key = TronpyKey(secret)
    except Exception:
        return
    public = bytes.fromhex("04" + key.public_key.hex())
    assert spell(of_public_key(public)) == key.public_key.to_base58check_address()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a0" + "11" * 20, "test network"),
        (to_hex_address(TO)[2:], "without the leading 41"),
        ("0x" + to_hex_address(TO)[2:], "without the leading 41"),
        ("0x" + to_hex_address(TO), "without the leading 41"),
        (TO[:-1], "wrong checksum|no TRON address"),
        (TO[:-1] + ("1" if TO[-1] != "1" else "2"), "wrong checksum"),
        (TO.lower(), "TRON address|checksum"),
        (" " + TO, "no TRON address"),
        (TO + "\n", "no TRON address"),
        ("", "no TRON address"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "another network"),
        ("T" * 34, "checksum|TRON address"),
        ("0OIl" * 8 + "Tt", "no TRON address"),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidAddress, match=why):
        key_of(text)


def test_a_testnet_address_in_base58_is_refused() -> None:
    import base58

    with pytest.raises(InvalidAddress, match="test network"):
        key_of(base58.b58encode_check(b"\xa0" + key_of(TO)).decode())


# --- protobuf -------------------------------------------------------------------------------------


@_quick
@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_come_back(value: int) -> None:
    assert Message(number_field(3, value)).number(3) == value


@_quick
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    try:
        Message(data).number(1)
        read_raw(data)
    except ValueError:
        return


def test_the_last_value_of_a_field_counts() -> None:
    data = number_field(3, 1) + bytes_field(4, b"a") + number_field(3, 2) + bytes_field(4, b"b")
    told = Message(data)
    assert (told.number(3), told.bytes_of(4), told.all_of(4)) == (2, b"b", [b"a", b"b"])
    assert Message(bytes_field(3, b"x")).number(3) == 0, "another wire type is another field"


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x08" + b"\xff" * 11, b"\x00\x01", b"\x0a\x05abc", b"\x0b", b"\x09abc"]
)
def test_broken_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(ValueError):
        Message(data)


def test_varints() -> None:
    assert [varint(one).hex() for one in (0, 1, 127, 128, 300)] == [
        "00", "01", "7f", "8001", "ac02",
    ]  # fmt: skip


# --- transactions ---------------------------------------------------------------------------------

ACTIONS = st.one_of(
    st.builds(Action, st.just(TRANSFER), KEYS, KEYS, st.integers(1, MOST)),
    st.builds(
        Action, st.just(TRANSFER_ASSET), KEYS, KEYS, st.integers(1, MOST),
        st.integers(1_000_001, 9_999_999).map(lambda one: str(one).encode()),
    ),
    st.builds(
        Action, st.just(TRIGGER), KEYS, KEYS, st.integers(0, MOST), st.just(b""),
        st.binary(max_size=80),
    ),
)  # fmt: skip


@_quick
@given(ACTIONS, st.integers(1, MOST), st.integers(1, MOST), st.binary(max_size=70))
def test_raw_data_comes_back(action: Action, expiration: int, limit: int, memo: bytes) -> None:
    raw = raw_of(action, expiration=expiration, fee_limit=limit, data=memo)
    assert read_raw(raw.encode()) == raw


def test_two_contracts_or_none_are_not_read() -> None:
    raw = raw_of(Action(TRANSFER, key_of(OWNER.address), key_of(TO), 5)).encode()
    contract = Message(raw).all_of(11)[0]
    for data in (raw + message_field(11, contract), number_field(8, 5)):
        with pytest.raises(ValueError, match="one contract"):
            read_raw(data)


def test_an_unknown_type_has_no_action() -> None:
    contract = number_field(1, 57) + message_field(2, bytes_field(2, b"\x0a\x01x"))
    raw = read_raw(number_field(8, 9) + message_field(11, contract))
    assert (raw.kind, raw.action, raw.expiration) == (57, None, 9)
    with pytest.raises(ValueError):
        raw.encode()


def test_bandwidth_of_a_known_transaction() -> None:
    """100 TRX on the main network, as in tests/golden: receipts of its like say 268."""
    raw = raw_of(Action(TRANSFER, key_of(OWNER.address), key_of(TO), 6))
    assert bandwidth_of(raw.encode()) == len(raw.encode()) + 3 + 67 + 64


# --- payloads -------------------------------------------------------------------------------------


def payload_of(action: Action, **more: object) -> bytes:
    return write_payload(OWNER.public_key, False, raw_of(action, **more))


def pure(opener: Opener, **more: object):  # type: ignore[no-untyped-def]
    return opener(None, ASSETS, **more)


USDT = key_of("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t")
FROM = key_of(OWNER.address)


async def test_effects_have_names(opener: Opener) -> None:
    chain = pure(opener, memo=True)
    to = key_of(TO)
    wanted = {
        Action(TRANSFER, FROM, to, 7): Payment("TRX", TO, 7, "memo 1"),
        Action(TRANSFER_ASSET, FROM, to, 8, b"1002000"): Payment("TEN", TO, 8, "memo 1"),
        Action(TRIGGER, FROM, USDT, data=transfer_call(to, 9)): Payment("USDT", TO, 9, "memo 1"),
    }
    for action, payment in wanted.items():
        payload = payload_of(action, data=b"memo 1", fee_limit=1_000)
        effect = chain.inspect(payload)
        assert effect.payments == (payment,)
        assert effect.senders == (OWNER.address,)
        assert effect.locks == () and effect.expires == 10**12
        raw = read_payload(payload).raw_data
        assert effect.to_sign[0].message.hex() == txid_of(raw)
        size = bandwidth_of(raw)
        assert effect.max_fee == 1_000 + size * 1_000 + 1_000_000, "limit, bandwidth, memo"
        may_activate = write_payload(OWNER.public_key, True, read_payload(payload).raw)
        assert chain.inspect(may_activate).max_fee == effect.max_fee + 1_100_000


@pytest.mark.parametrize(
    ("action", "more", "why"),
    [
        (Action(TRANSFER, FROM, USDT, 0), {}, "moves nothing"),
        (Action(TRANSFER, FROM, USDT, -5), {}, "moves nothing"),
        (Action(TRANSFER_ASSET, FROM, USDT, 5, b"1000001"), {}, "not configured"),
        (Action(TRANSFER_ASSET, FROM, USDT, 5, b"USDT"), {}, "not configured"),
        (Action(TRIGGER, FROM, FROM, data=transfer_call(USDT, 5)), {}, "no configured contract"),
        (Action(TRIGGER, FROM, USDT, 1, data=transfer_call(FROM, 5)), {}, "sends value"),
        (Action(TRIGGER, FROM, USDT, data=b"\x09\x5e\xa7\xb3" + bytes(64)), {}, "other than tra"),
        (Action(TRIGGER, FROM, USDT, data=transfer_call(FROM, 5) + b"\0"), {}, "other than tra"),
        (
            Action(TRIGGER, FROM, USDT, data=transfer_call(FROM, 5).replace(bytes(12), b"A" * 12)),
            {},
            "not an address",
        ),
        (Action(TRIGGER, FROM, USDT, 0, b"", transfer_call(FROM, 1), 3, 1002000), {}, "value"),
        (Action(TRANSFER, FROM, USDT, 5), {"permission_id": 2}, "permission"),
        (Action(TRANSFER, FROM, USDT, 5), {"expiration": 0}, "expiration"),
        (Action(TRANSFER, FROM, USDT, 5), {"data": b"\xff\xfe"}, "no text"),
    ],
)
async def test_what_has_no_name_is_refused(
    opener: Opener, action: Action, more: dict[str, object], why: str
) -> None:
    with pytest.raises(Rejected, match=why):
        pure(opener).inspect(payload_of(action, **more))


async def test_a_payload_of_another_form_is_refused(opener: Opener) -> None:
    chain = pure(opener)
    good = payload_of(Action(TRANSFER, FROM, USDT, 5))
    other = write_payload(wallet(9).public_key, False, read_payload(good).raw)
    for wrong in (b"", b"trx\x01", good[:30], b"evm" + good[3:], good + b"\x00", other,
                  good + number_field(3, 1), good[:4] + b"\x02" + good[5:]):  # fmt: skip
        with pytest.raises(Rejected):
            chain.inspect(wrong)


async def test_only_the_owners_signature_assembles(opener: Opener) -> None:
    chain = pure(opener)
    payload = payload_of(Action(TRANSFER, FROM, USDT, 5))
    message = chain.inspect(payload).to_sign[0].message
    good = OWNER.sign(message)
    tx = chain.assemble(payload, [good])
    assert tx.txid == message.hex()
    assert Message(tx.raw).all_of(2) == [good]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = order - int.from_bytes(good[32:64], "big")
    for wrong in (
        [], [good, good], [good[:-1]], [wallet(3).sign(message)], [OWNER.sign(bytes(32))],
        [good[:32] + high.to_bytes(32, "big") + bytes([good[64] ^ 1])], [good[:64] + b"\x1b"],
    ):  # fmt: skip
        with pytest.raises(Rejected):
            chain.assemble(payload, wrong)


# --- assets and settings --------------------------------------------------------------------------


async def test_assets_have_keys(opener: Opener) -> None:
    chain = pure(opener)
    assert [chain.asset_key(name) for name in ASSETS] == [b"", USDT, b"trc10/1002000"]
    with pytest.raises(Rejected):
        chain.asset_key("OTHER")


@pytest.mark.parametrize(
    "assets",
    [
        {"TRX": Asset("TRX", None, 6), "X": Asset("X", None, 6)},
        {"A": Asset("A", "1002000", 6), "B": Asset("B", "1002000", 6)},
        {"A": ASSETS["USDT"], "B": Asset("B", "41" + USDT.hex(), 6)},
        {"A": Asset("A", "0x" + USDT.hex(), 6)},
        {"A": Asset("A", "0100", 6)},
        {"A": Asset("A", "USDT", 6)},
    ],
)
async def test_assets_that_cannot_be_right(opener: Opener, assets: dict[str, Asset]) -> None:
    with pytest.raises(Rejected):
        opener(None, assets)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoints": ("ftp://x",)}, {"genesis": "0x12"}, {"solidity_port": 0}, {"batch": 101},
        {"expiration_s": 86_401}, {"expiration_s": 1}, {"timeout_s": 0.0}, {"roots": "maybe"},
    ],
)  # fmt: skip
def test_settings_refuse_what_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plugin.settings(**wrong)
