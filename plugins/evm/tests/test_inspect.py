"""What a payload would do, and what a transaction may offer: pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.chain import Asset, FeeAboveLimit, Payment, Rejected
from chain_adapter_evm.build import transfer_data
from chain_adapter_evm.chain import plugin
from chain_adapter_evm.codec import Unsigned, write_payload
from chain_adapter_evm.devnet import PRIVATE_KEY
from chain_adapter_evm.fees import Market, offer
from plugins.evm.tests.parts import key_of, open_gate, stranger, wallet_of

TOKEN = "0x0165878A594ca255338adfa4d48449f69242Eb8F"
HOT = wallet_of(bytes.fromhex(PRIVATE_KEY))
US = stranger(1)
PURE = plugin.open(
    plugin.settings(),
    {"ETH": Asset("ETH", None, 18), "USDT": Asset("USDT", TOKEN, 6)},
    None,
    open_gate,
)


def payload_of(**fields: Any) -> bytes:
    shape: dict[str, Any] = {
        "chain_id": 1, "nonce": 3, "max_fee": 100, "tip": 1, "gas": 50_000,
        "to": key_of(US), "value": 7, "data": b"",
    }  # fmt: skip
    return write_payload(HOT.public_key, Unsigned(**(shape | fields)))


def test_inspect_names_everything() -> None:
    effect = PURE.inspect(payload_of())
    assert effect.binds == "eip155:1/"
    assert effect.payments == (Payment("ETH", US, 7),)
    assert effect.max_fee == 50_000 * 100
    assert effect.locks == (f"{HOT.address}/3",)
    assert [len(one.message) for one in effect.to_sign] == [32]
    token = payload_of(to=key_of(TOKEN), value=0, data=transfer_data(key_of(US), 9))
    assert PURE.inspect(token).payments == (Payment("USDT", US, 9),)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 0},  # calls a stranger without value
        {"data": b"\x00"},
        {"data": transfer_data(key_of(US), 9)},  # to a contract nobody configured
        {"to": key_of(TOKEN), "value": 1, "data": transfer_data(key_of(US), 9)},
        {"to": key_of(TOKEN), "value": 0, "data": transfer_data(key_of(US), 9) + b"\0"},
        {"to": key_of(TOKEN), "value": 0, "data": transfer_data(key_of(US), 9)[:-1]},
        {"to": key_of(TOKEN), "value": 0, "data": b"\x09\x5e\xa7\xb3" + bytes(64)},  # approve
        {"to": key_of(TOKEN), "value": 0, "data": b"\xa9\x05\x9c\xbb\x01" + bytes(63)},
        {"chain_id": 0},
        {"tip": 101},
    ],
)
def test_what_has_no_name_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        PURE.inspect(payload_of(**fields))


@pytest.mark.parametrize("payload", [b"", b"evm", b"evm\x02" + bytes(60), payload_of()[:-1]])
def test_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(Rejected):
        PURE.inspect(payload)
    with pytest.raises(Rejected):
        PURE.assemble(payload, [bytes(65)])


def test_one_signature_is_needed() -> None:
    for signatures in ([], [bytes(65), bytes(65)]):
        with pytest.raises(Rejected, match="one signature"):
            PURE.assemble(payload_of(), signatures)


@given(
    base_fee=st.one_of(st.none(), st.integers(1, 10**12)),
    suggested=st.one_of(st.none(), st.integers(0, 10**12)),
    gas=st.integers(21_000, 10**6),
    fee_limit=st.integers(0, 10**19),
    replaced=st.lists(st.integers(1, 10**12), max_size=3),
)
def test_offers_stay_within_the_limit_and_above_what_they_replace(
    base_fee: int | None, suggested: int | None, gas: int, fee_limit: int, replaced: list[int]
) -> None:
    settings = plugin.settings()
    old = [Unsigned(1, 0, fee, fee // 2, gas, bytes(20), 0, b"") for fee in replaced]
    try:
        made = offer(settings, Market(base_fee, suggested), gas, fee_limit, old)
    except FeeAboveLimit:
        return
    assert gas * made.max_fee <= fee_limit
    assert made.tip is None or made.tip <= made.max_fee
    assert (made.tip is None) == (base_fee is None)
    assert all(made.max_fee * 8 > tx.max_fee * 9 for tx in old)
    assert made.max_fee >= (base_fee or 0)
