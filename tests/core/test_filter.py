"""The filter may say yes wrongly, never no."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_adapter.core import filter as filter_module
from chain_adapter.core.filter import AddressFilter

keys_st = st.lists(st.binary(min_size=0, max_size=40), max_size=60)


@given(keys_st, keys_st, keys_st)
def test_never_says_no_wrongly(loaded: list[bytes], added: list[bytes], asked: list[bytes]) -> None:
    one = AddressFilter([loaded])
    for key in added:
        one.add(key)
    ours = set(loaded) | set(added)
    assert all(key in one for key in ours)
    together = [*asked, *ours]
    hits = set(one.hits(together))
    assert {index for index, key in enumerate(together) if key in ours} <= hits
    assert hits == {index for index, key in enumerate(together) if key in one}


@given(
    st.integers(8, 40).flatmap(
        lambda width: st.tuples(
            st.just(width),
            st.lists(st.binary(min_size=width, max_size=width), max_size=40),
            st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=40),
        )
    )
)
def test_many_at_once_is_as_one_by_one(case: tuple[int, list[bytes], list[bytes]]) -> None:
    width, ours, others = case
    one = AddressFilter([ours])
    asked = [*others, *ours]
    expected = [index for index, key in enumerate(asked) if key in one]
    assert one.hits(asked) == expected
    assert one.hits_in(b"".join(asked), width) == expected


@pytest.mark.parametrize("prefix", [b"", b"\x76\xa9\x14", b"\x00\x14"])
def test_strangers_are_sent_away(prefix: bytes) -> None:
    chance = random.Random(5)
    ours = [prefix + chance.randbytes(20) for _ in range(20_000)]
    strangers = [prefix + chance.randbytes(20) for _ in range(20_000)]
    one = AddressFilter(ours[start : start + 999] for start in range(0, len(ours), 999))
    assert len(one) == 20_000
    assert one.hits(ours) == list(range(20_000))
    assert one.hits(strangers) == []


def test_new_ones_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(6)
    ours = [chance.randbytes(20) for _ in range(9_000)]
    one = AddressFilter([ours[:100]])
    for key in ours[100:]:
        one.add(key)
        one.add(key)
    assert len(one) == 9_000
    assert one.hits(ours) == list(range(9_000))
    assert one.hits([chance.randbytes(20) for _ in range(5_000)]) == []


def test_memory_a_key() -> None:
    chance = random.Random(7)
    chunk = [chance.randbytes(20) for _ in range(100_000)]
    one = AddressFilter([chunk])
    held = one._prefixes.itemsize * len(one._prefixes) + len(one._bitmap)
    assert held / len(chunk) <= 12
    assert one._prefixes.itemsize == filter_module.PREFIX


def test_other_things_are_not_in_it() -> None:
    assert "text" not in AddressFilter([[b"text"]])
    assert AddressFilter().hits([]) == []
    assert b"" not in AddressFilter()
