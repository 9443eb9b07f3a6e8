"""From transfers to a decision: values in, values out."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.chain import Proof, Transfer
from chain_adapter.core.deposits import (
    Arrival,
    AssetTerms,
    Decision,
    Key,
    Piece,
    Sighting,
    Terms,
    Why,
    again,
    compare,
    decide,
    fold,
    read_memo,
    request_id,
)
from chain_adapter.core.states import Deposit

MAINNET = "eip155:1/0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
TOKEN = bytes.fromhex("dac17f958d2ee523a2206206994597c13d831ec7")

# Made by `openssl dgst -sha256 -mac HMAC` over bytes put together by hand. They stand for ever:
# a changed id is money credited twice.
GOLDEN = [
    (bytes(range(32)), MAINNET, b"", "0x" + "ab" * 32, b"\x11" * 20, b"",
     "a0d87a2c9d47c253e13184b3b9739d72"),
    (bytes(range(32)), MAINNET, TOKEN, "0x" + "ab" * 32, b"\x11" * 20, b"",
     "5609d78f531f759f889224169a58cab8"),
    (bytes(32), "reference:memo", b"", "tx-1", b"shared", b"1000017",
     "4af008e2102e43f9d0373b23cc942d5f"),
    (b"\xff" * 32, "reference:memo", b"", "tx-1", b"shared", b"\x00\xff",
     "2e52207be4f816a1acfa57e176019b7f"),
]  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_request_id_is_golden(case: tuple[bytes, str, bytes, str, bytes, bytes, str]) -> None:
    assert request_id(*case[:6]) == case[6]


part = st.binary(max_size=8)
parts_st = st.tuples(st.text(max_size=8), part, st.text(max_size=8), part, part)


@given(parts_st, parts_st)
def test_no_two_deposits_share_an_id(
    one: tuple[str, bytes, str, bytes, bytes], other: tuple[str, bytes, str, bytes, bytes]
) -> None:
    assert (request_id(b"s", *one) == request_id(b"s", *other)) == (one == other)


@pytest.mark.parametrize(
    ("raw", "key", "told"),
    [
        (None, "", None),
        (b"", "", None),
        (b"1000017", "1000017", "1000017"),
        (b" 1000017 ", " 1000017 ", " 1000017 "),
        (b"0", "0", "0"),
        (b"x" * 64, "x" * 64, "x" * 64),
        (b"x" * 65, "#" + hashlib.sha256(b"x" * 65).hexdigest(), None),
        (b"a\x00", "#" + hashlib.sha256(b"a\x00").hexdigest(), None),
        (b"a\x7f", "#" + hashlib.sha256(b"a\x7f").hexdigest(), None),
        (b"line\n", "#" + hashlib.sha256(b"line\n").hexdigest(), None),
        ("１７".encode(), "#" + hashlib.sha256("１７".encode()).hexdigest(), None),
    ],
)
def test_memo(raw: bytes | None, key: str, told: str | None) -> None:
    memo = read_memo(raw)
    assert (memo.key, memo.told) == (key, told)
    assert bytes.fromhex(memo.hex or "") == (raw or b"")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_memos_that_differ_stay_two(one: bytes, other: bytes) -> None:
    assert (read_memo(one).key == read_memo(other).key) == (one == other)
    told = read_memo(one).told
    assert told is None or told.encode() == one


# --- fold -----------------------------------------------------------------------------------------


def arrival(
    txid: str = "t1",
    place: str = "value",
    asset: str = "ETH",
    to: str = "A",
    amount: int = 5,
    memo: bytes | None = None,
    *,
    sender: str | None = "S",
    proof: bool | None = None,
    lock: str | None = None,
    credited: bool = True,
    own: bool = False,
) -> Arrival:
    transfer = Transfer(txid, place, asset, to, amount, sender, memo, proof, lock)
    return Arrival(transfer, to, to.encode(), credited, own)


def test_several_transfers_are_one_sum() -> None:
    [one] = fold([arrival(), arrival(place="call/0", amount=7), arrival(place="log/1", amount=0)])
    assert one.amount == 12
    assert one.name == Key("ETH", "t1", "A", "")


@given(
    st.lists(
        st.builds(
            arrival,
            txid=st.sampled_from(["t1", "t2"]),
            asset=st.sampled_from(["ETH", "USDT"]),
            to=st.sampled_from(["A", "B"]),
            amount=st.integers(0, 10**30),
            memo=st.sampled_from([None, b"", b"1", b"\xff"]),
        )
    )
)
def test_the_sum_by_name_is_the_sum_of_all(arrivals: list[Arrival]) -> None:
    expected: dict[tuple[str, str, str, bytes], int] = defaultdict(int)
    for one in arrivals:
        t = one.transfer
        expected[t.asset, t.txid, t.to, t.memo or b""] += t.amount
    found = {(s.asset, s.txid, s.to, s.memo.raw): s.amount for s in fold(arrivals)}
    assert found == {name: amount for name, amount in expected.items() if amount}


def test_a_payment_to_oneself_brings_nothing() -> None:
    assert fold([arrival(sender="A")]) == []
    [change] = fold([arrival(sender="A", lock="t1:0")])
    assert change.own is True


def test_proofs_and_senders_of_a_sum() -> None:
    [one] = fold([arrival(proof=True), arrival(place="log/1", proof=None, sender="T")])
    assert (one.proof, one.sender) == (None, None)
    [one] = fold([arrival(proof=True), arrival(place="log/1", proof=False)])
    assert (one.proof, one.sender) == (False, "S")
    [one] = fold([arrival(own=True), arrival(place="log/1")])
    assert one.own is None


# --- decide ---------------------------------------------------------------------------------------

ETH = AssetTerms("ETH", "ETH", b"", 18, 8, 12, min_deposit=10**10, proof=Proof.OFF)
USDT = AssetTerms("USDT", "USDT", TOKEN, 6, 6, 12)
CHAIN = Terms("main", MAINNET, b"secret", {"ETH": ETH, "USDT": USDT})
MEMO_COIN = Terms("memo", "m", b"secret", {"ETH": ETH}, memo_coin=True)


def sighting(
    amount: int = 10**18, memo: bytes | None = None, *, proof: bool | None = None,
    credited: bool = True, own: bool | None = False,
) -> Sighting:  # fmt: skip
    return Sighting(
        "ETH", "t", "A", b"A", read_memo(memo), amount, "S", proof, credited=credited, own=own
    )


def test_seen_with_told_and_remainder() -> None:
    assert decide(sighting(10**18 + 7), ETH, CHAIN) == Decision(Deposit.SEEN, None, 10**8, 7)


@pytest.mark.parametrize(
    ("one", "terms", "why"),
    [
        (sighting(credited=False), ETH, Why.OWN_ADDRESS),
        (sighting(own=True), ETH, Why.OWN_MONEY),
        (sighting(10**10 - 1), ETH, Why.BELOW_MINIMUM),
        (
            sighting(10**10 - 1),
            AssetTerms("ETH", "ETH", b"", 18, 8, 12),
            Why.TOO_FINE,
        ),
        (
            sighting(),
            AssetTerms("ETH", "ETH", b"", 18, 8, 12, enabled=False),
            Why.ASSET_OFF,
        ),
    ],
)
def test_ignored(one: Sighting, terms: AssetTerms, why: str) -> None:
    decision = decide(one, terms, CHAIN)
    assert (decision.state, decision.reason) == (Deposit.IGNORED, why)


REQUIRED = AssetTerms("USDT", "USDT", TOKEN, 6, 6, 12, proof=Proof.REQUIRED)
PROOF_OFF = AssetTerms("USDT", "USDT", TOKEN, 6, 6, 12, proof=Proof.OFF)
LIMITED = AssetTerms("USDT", "USDT", TOKEN, 6, 6, 12, limit=100)


@pytest.mark.parametrize(
    ("one", "terms", "chain", "why"),
    [
        (sighting(proof=False), USDT, CHAIN, Why.REFUTED),
        (sighting(proof=None), USDT, CHAIN, None),
        (sighting(proof=None), REQUIRED, CHAIN, Why.UNPROVEN),
        (sighting(proof=False), REQUIRED, CHAIN, Why.REFUTED),
        (sighting(proof=True), REQUIRED, CHAIN, None),
        (sighting(proof=False), PROOF_OFF, CHAIN, None),
        (sighting(100), LIMITED, CHAIN, None),
        (sighting(101), LIMITED, CHAIN, Why.LIMIT),
        (sighting(own=None), USDT, CHAIN, Why.OWN_MIXED),
        (sighting(), ETH, MEMO_COIN, Why.NO_MEMO),
        (sighting(memo=b"\xff"), ETH, MEMO_COIN, Why.BAD_MEMO),
        (sighting(memo=b"7"), ETH, MEMO_COIN, None),
        (sighting(memo=b"\xff"), ETH, CHAIN, None),
    ],
)
def test_held(one: Sighting, terms: AssetTerms, chain: Terms, why: str | None) -> None:
    decision = decide(one, terms, chain)
    assert decision.state is (Deposit.SEEN if why is None else Deposit.HELD)
    assert decision.reason == why


def test_included_again() -> None:
    anew = Decision(Deposit.HELD, Why.NO_MEMO, 5, 0)
    assert again(Deposit.ORPHANED, 1, 5, anew) == anew
    assert again(Deposit.REVERSED, 5, 5, anew) == Decision(Deposit.SEEN, None, 5, 0)
    assert again(Deposit.REVERSED, 6, 5, anew) == Decision(Deposit.HELD, Why.OTHER_AMOUNT, 5, 0)
    with pytest.raises(ValueError, match="CREDITED"):
        again(Deposit.CREDITED, 5, 5, anew)


# --- the second look ------------------------------------------------------------------------------

A, B = Key("ETH", "t1", "A", ""), Key("ETH", "t2", "B", "")
BOTH = frozenset({"value", "log"})
ALL = BOTH | {"call"}


def test_agreement() -> None:
    pieces = [Piece(A, "value", 5), Piece(A, "log/1", 2)]
    assert not compare(pieces, pieces, BOTH, BOTH).differ
    assert not compare(pieces, pieces, BOTH, BOTH).found


def test_missing_or_other_amounts_differ() -> None:
    first = [Piece(A, "value", 5)]
    assert compare(first, [], BOTH, BOTH).differ == {A}
    assert compare(first, [Piece(A, "value", 6)], BOTH, BOTH).differ == {A}
    assert compare(first, [Piece(A, "value", 5), Piece(A, "log/2", 1)], BOTH, BOTH).differ == {A}


def test_only_what_both_methods_see_is_compared() -> None:
    first = [Piece(A, "value", 5), Piece(A, "call/0", 3)]
    assert not compare(first, [Piece(A, "value", 5)], ALL, BOTH).differ
    only_call = [Piece(A, "call/0", 3)]
    assert not compare(only_call, [], ALL, BOTH).differ


def test_unknown_deposits_are_found() -> None:
    first = [Piece(A, "value", 5)]
    result = compare(first, [Piece(A, "value", 5), Piece(B, "value", 1)], BOTH, BOTH)
    assert (result.differ, result.found) == (frozenset(), (Piece(B, "value", 1),))


def test_more_of_a_known_one_at_places_the_first_cannot_see() -> None:
    first = [Piece(A, "value", 5)]
    result = compare(first, [Piece(A, "value", 5), Piece(A, "call/0.1", 1)], BOTH, ALL)
    assert (result.differ, result.found) == (frozenset(), (Piece(A, "call/0.1", 1),))
