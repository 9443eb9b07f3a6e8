"""Ten planted differences of ten kinds are found, exactly those, each under its name."""

from __future__ import annotations

import pytest

from chain_adapter.core.reconcile import (
    REASONS,
    Difference,
    Entry,
    balance,
    deposits_with_chain,
    payments_with_chain,
    with_platform,
)


def deposit(number: int, amount: int = 100, status: str = "CREDITED") -> Entry:
    return Entry(("ETH", f"tx{number}", f"addr{number}", ""), amount, status, subject=f"tx{number}")


def payment(number: int, fee: int = 7, status: str = "ok") -> Entry:
    return Entry((f"out{number}",), 0, status, fee, f"out{number}")


def paid(number: int, amount: int = 50, fee: int = 7, status: str = "success") -> Entry:
    return Entry(("ETH", f"out{number}", str(number)), amount, status, fee, str(number))


def reasons(found: list[Difference]) -> list[tuple[str, str]]:
    return sorted((one.reason, one.subject) for one in found)


def test_a_clean_day_has_no_difference() -> None:
    deposits = [deposit(n) for n in range(50)]
    payments = [payment(n) for n in range(20)]
    orders = [paid(n) for n in range(20)]
    assert deposits_with_chain(deposits, deposits) == []
    assert payments_with_chain(payments, payments) == []
    assert with_platform("withdrawal", orders, orders, complete=True) == ([], 0)


def test_ten_planted_differences_are_exactly_those_found() -> None:
    chain = [deposit(n) for n in range(20)]
    books = [deposit(n) for n in range(20) if n != 3]  # 1: the books lack one
    books[0] = deposit(0, amount=101)  # 2: another amount
    books.append(deposit(99))  # 3: not on the chain
    books[5] = deposit(6, status="HELD")  # 4: waits
    found = deposits_with_chain(books, chain)
    sent = [payment(n) for n in range(10)]
    ours = [payment(n) for n in range(10) if n != 4]  # 5: a transaction the books lack
    ours[0] = payment(0, fee=8)  # 6: another fee
    ours[1] = payment(1, status="failed")  # 7: another outcome
    found += payments_with_chain(ours, sent)
    orders = [paid(n) for n in range(10)]
    platform = [paid(n) for n in range(10) if n != 9]  # 8: the platform lacks one
    platform[0] = paid(0, amount=51)  # 9: another amount there
    platform.append(paid(5))  # 10: twice there
    more, _ = with_platform("withdrawal", orders, platform, complete=True)
    assert reasons(found + more) == sorted(
        [
            ("deposit_not_in_books", "tx3"),
            ("deposit_amount_differs", "tx0"),
            ("deposit_not_on_chain", "tx99"),
            ("deposit_waits", "tx6"),
            ("payment_not_in_books", "out4"),
            ("fee_differs", "out0"),
            ("payment_outcome_differs", "out1"),
            ("withdrawal_not_on_platform", "9"),
            ("withdrawal_platform_amount_differs", "0"),
            ("twice_on_platform", "5"),
        ]
    )


def test_what_a_merchant_cannot_see_is_not_missing() -> None:
    orders = [paid(n) for n in range(5)]
    found, invisible = with_platform("withdrawal", orders, orders[:2], complete=False)
    assert (found, invisible) == ([], 3)


@pytest.mark.parametrize("status", ["failed", "pending"])
def test_the_platform_status_counts(status: str) -> None:
    found, _ = with_platform("withdrawal", [paid(1)], [paid(1, status=status)], complete=True)
    assert reasons(found) == [("withdrawal_platform_status_differs", "1")]


def test_same_amount_twice_is_two_things() -> None:
    two = [deposit(1), deposit(2)]
    assert deposits_with_chain(two, two) == []
    found = deposits_with_chain(two[:1], two)
    assert reasons(found) == [("deposit_not_in_books", "tx2")]


def test_a_balance_is_explained_or_named() -> None:
    assert balance("addr ETH", 10, 10) == []
    assert reasons(balance("addr ETH", 10, 9)) == [("balance_differs", "addr ETH")]


def test_every_reason_says_what_it_means() -> None:
    assert all(len(text) > 20 for text in REASONS.values())
