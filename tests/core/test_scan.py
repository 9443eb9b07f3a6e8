"""Finality and the order of blocks."""

from __future__ import annotations

import pytest

from chain_adapter.chain import Block, BlockRef, ChainInfo, Family, Head
from chain_adapter.core.scan import (
    Finality,
    broken_link,
    final_height,
    is_following,
    is_too_deep,
    source_of,
)


def info(*, irreversible: bool = False) -> ChainInfo:
    return ChainInfo(
        Family.ACCOUNT, "secp256k1", 60, "ETH", "ETH", 12, 64, (), irreversible=irreversible
    )


def head(height: int, final: int | None = None) -> Head:
    return Head(BlockRef(height, "h"), final)


@pytest.mark.parametrize(
    ("confirmations", "one", "source"),
    [
        (3, head(100, 90), Finality.OPERATOR),
        (3, head(100), Finality.OPERATOR),
        (None, head(100, 90), Finality.CHAIN),
        (None, head(100), Finality.DEFAULT),
    ],
)
def test_source(confirmations: int | None, one: Head, source: Finality) -> None:
    assert source_of(confirmations, one) is source


@pytest.mark.parametrize(
    ("source", "confirmations", "irreversible", "one", "expected"),
    [
        (Finality.OPERATOR, 1, False, head(100), 100),
        (Finality.OPERATOR, 3, False, head(100, 50), 98),
        (Finality.OPERATOR, 3, True, head(100, 50), 50),
        (Finality.OPERATOR, 60, True, head(100, 50), 41),
        (Finality.OPERATOR, 3, True, head(100), None),
        (Finality.CHAIN, None, False, head(100, 50), 50),
        (Finality.CHAIN, None, False, head(100), None),
        (Finality.DEFAULT, None, False, head(100, 50), 89),
    ],
)
def test_final_height(
    source: Finality,
    confirmations: int | None,
    irreversible: bool,
    one: Head,
    expected: int | None,
) -> None:
    assert final_height(source, confirmations, info(irreversible=irreversible), one) == expected


def block(height: int, hash: str, parent: str) -> Block:
    return Block(BlockRef(height, hash), parent, 0, height, (), (), "m", False)


def test_links() -> None:
    chain = [block(1, "a", "0"), block(2, "b", "a"), block(4, "d", "b")]
    assert broken_link("0", chain) is None
    assert broken_link("", chain) is None
    assert broken_link("x", chain) == 0
    assert broken_link("0", [*chain, block(5, "e", "c")]) == 3
    assert broken_link("x", []) is None


def test_following_and_depth() -> None:
    assert is_following(100, 132)
    assert not is_following(100, 133)
    assert not is_too_deep(64, 64)
    assert is_too_deep(65, 64)
