"""The merchant's verdict: one thing that is wrong is enough for no."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain_adapter.demo.balance import Told, merchant_json, merchant_text

GOOD = Told(
    users=3, deposits_made=3, deposits_booked=3, deposits_doubled=0, deposits_missing=0,
    asked=4, paid=2, inside=1, refused=1, tries_until_told=5, given_up=3, caught_up=3,
    down_virtual_s=14_400.0, miner_fees=2, odd=0, differences={"VLX": 0, "USDT": 0},
)  # fmt: skip


def test_all_right() -> None:
    assert GOOD.ok
    assert merchant_json(GOOD)["difference"] == 0
    assert merchant_text(GOOD).endswith("\nOK: merchant")


@pytest.mark.parametrize(
    "wrong",
    [
        {"deposits_booked": 4},
        {"deposits_doubled": 1},
        {"deposits_missing": 1},
        {"tries_until_told": 4},
        {"given_up": 0, "caught_up": 0},
        {"caught_up": 2},
        {"down_virtual_s": 14_399.0},
        {"inside": 0},
        {"refused": 0},
        {"odd": 1},
        {"differences": {"VLX": 0, "USDT": 1}},
        {"wrong_end": ["order-1: placed, not paid"]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_one_thing_wrong(wrong: dict[str, Any]) -> None:
    told = replace(GOOD, **wrong)
    assert not told.ok
    assert merchant_json(told)["ok"] is False
    assert merchant_text(told).endswith("\nNOT OK: merchant")
