"""The policy's language and its decisions: what it does not allow is denied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain_adapter.errors import ConfigError, SigningRefused
from chain_adapter.keys.policy import (
    DAY_S,
    HOUR_S,
    AssetPolicy,
    ChainPolicy,
    Policy,
    Quorums,
    Scope,
    Spent,
    judge_credit,
    judge_fee,
    judge_payment,
    judge_top_up,
    parse_policy,
)
from chain_adapter.keys.windows import Window
from tests.keys.test_ssh_signature import keygen

SCOPE = Scope({"REF": 8, "USDX": 6}, {"ref": 8})
WHOLE = """
version = 1
[operators]
ann = "{ann}"
bob = "{bob}"
[approvals]
policy = 2
redo = 1
[assets.REF]
per_transaction = "10"
per_hour = "20"
per_day = "30"
per_destination_per_day = "15"
approve_above = "3"
approve_twice_above = "5"
deny = ["bad"]
[assets.REF.credits]
per_deposit = "100"
per_hour = "150"
per_day = "unlimited"
[assets.USDX]
per_transaction = "unlimited"
per_hour = "unlimited"
per_day = "unlimited"
per_destination_per_day = "unlimited"
allow = ["good"]
[chains.ref]
fee_per_transaction = "0.00001"
fee_per_day = "0.00003"
top_up_per_transaction = "1"
top_up_per_day = "2"
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("operators")
    keys = {}
    for name in ("ann", "bob"):
        (folder / name).mkdir()
        keys[name] = keygen(folder / name, "ed25519").with_suffix(".pub").read_text().strip()
    return WHOLE.format(**keys)


@pytest.fixture(scope="module")
def policy(text: str) -> Policy:
    return parse_policy(text, SCOPE)


COIN = 10**8


def test_reads_exactly(policy: Policy) -> None:
    assert policy.assets["REF"].per_transaction == 10 * COIN
    assert policy.assets["USDX"].per_day is None
    assert policy.chains["ref"].fee_per_transaction == 1000
    assert set(policy.operators) == {"ann", "bob"}
    assert policy.quorums.settle == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("[assets.REF]", "[assets.REFF]"), "unknown asset 'REFF'"),
        (("[chains.ref]", "[chains.eth]"), "unknown chain 'eth'"),
        (("per_hour", "per_huor"), "did you mean 'per_hour'"),
        (("version = 1", "version = 2"), "version is 2"),
        (("version = 1", ""), "version is None"),
        (("version = 1", "version ="), "policy: "),
        (('"10"', "10"), "decimal in quotes"),
        (('"10"', '"ten"'), "not a decimal"),
        (('"10"', '"-1"'), "negative"),
        (('"10"', '"0.000000001"'), "more than 8 decimals"),
        (('deny = ["bad"]', 'deny = "bad"'), "list of addresses"),
        (("policy = 2", "policy = 3"), "3 operators are needed, there are 2"),
        (("policy = 2", "policy = 0"), "from 1 to 9"),
        (("policy = 2", "policy = true"), "from 1 to 9"),
        (("[operators]", "[operators]\neve = 'x'"), "operators.eve"),
        (("[approvals]", "[aprovals]"), "did you mean 'approvals'"),
        (("[chains.ref]", "[chains]\nref = 1\n[more]"), "unknown key"),
    ],
)
def test_mistakes_are_named(text: str, change: tuple[str, str], why: str) -> None:
    assert change[0] in text
    with pytest.raises(ConfigError, match=why):
        parse_policy(text.replace(change[0], change[1], 1), SCOPE)


def test_one_key_is_one_operator(text: str) -> None:
    ann = next(line for line in text.splitlines() if line.startswith("ann"))
    with pytest.raises(ConfigError, match="another name"):
        parse_policy(
            text.replace("[approvals]", f"{ann.replace('ann', 'eve', 1)}\n[approvals]"), SCOPE
        )


def test_more_approvals_than_operators(text: str) -> None:
    alone = "\n".join(
        line for line in text.splitlines() if not line.startswith(("bob", "policy", "redo"))
    )
    with pytest.raises(ConfigError, match="needs 2 operators"):
        parse_policy(alone, SCOPE)


def test_what_is_not_allowed_is_denied() -> None:
    empty = parse_policy("version = 1", SCOPE)
    with pytest.raises(SigningRefused, match="not allowed"):
        judge_payment(empty, "REF", 1, "x", Spent())
    with pytest.raises(SigningRefused, match="nothing is allowed"):
        judge_fee(empty, "ref", 0, 0, 0)
    with pytest.raises(SigningRefused, match="nothing is allowed"):
        judge_top_up(empty, "ref", 0, 0)
    assert judge_credit(empty, "REF", 1, Spent()) is not None
    half = parse_policy('version = 1\n[assets.REF]\nper_transaction = "5"', SCOPE)
    with pytest.raises(SigningRefused, match="per_hour is 0"):
        judge_payment(half, "REF", 1, "x", Spent())


@pytest.mark.parametrize(
    ("amount", "to", "spent", "outcome"),
    [
        (3 * COIN, "x", Spent(), 0),
        (3 * COIN + 1, "x", Spent(), 1),
        (5 * COIN, "x", Spent(), 1),
        (5 * COIN + 1, "x", Spent(), 2),
        (10 * COIN, "x", Spent(), 2),
        (10 * COIN + 1, "x", Spent(), "per_transaction"),
        (COIN, "x", Spent(hour=19 * COIN), 0),
        (COIN + 1, "x", Spent(hour=19 * COIN), "per_hour"),
        (COIN + 1, "x", Spent(day=29 * COIN), "per_day"),
        (COIN + 1, "x", Spent(to_destination=14 * COIN), "per_destination"),
        (1, "bad", Spent(), "denied"),
    ],
)
def test_payments(policy: Policy, amount: int, to: str, spent: Spent, outcome: int | str) -> None:
    if isinstance(outcome, int):
        assert judge_payment(policy, "REF", amount, to, spent) == outcome
    else:
        with pytest.raises(SigningRefused, match=outcome):
            judge_payment(policy, "REF", amount, to, spent)


def test_allow_list(policy: Policy) -> None:
    assert judge_payment(policy, "USDX", 10**30, "good", Spent()) == 0
    with pytest.raises(SigningRefused, match="not among"):
        judge_payment(policy, "USDX", 1, "other", Spent())


def test_fees_top_ups_and_credits(policy: Policy) -> None:
    judge_fee(policy, "ref", 1000, 1000, 2000)
    with pytest.raises(SigningRefused, match="fee_per_transaction"):
        judge_fee(policy, "ref", 1001, 0, 0)
    with pytest.raises(SigningRefused, match="fee_per_day"):
        judge_fee(policy, "ref", 1000, 1000, 2001)
    judge_top_up(policy, "ref", COIN, COIN)
    with pytest.raises(SigningRefused, match="top_up_per_day"):
        judge_top_up(policy, "ref", COIN, COIN + 1)
    assert judge_credit(policy, "REF", 100 * COIN, Spent(hour=50 * COIN, day=10**20)) is None
    assert "per_deposit" in str(judge_credit(policy, "REF", 100 * COIN + 1, Spent()))
    assert "per_hour" in str(judge_credit(policy, "REF", 100 * COIN, Spent(hour=50 * COIN + 1)))


class WindowMachine(RuleBasedStateMachine):
    """Running sums against the plain sum over all that was ever added."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window()
        self.rows: list[tuple[int, str, int]] = []
        self.now = 10**9

    @rule(to=st.sampled_from("abc"), amount=st.integers(0, 10**30))
    def add(self, to: str, amount: int) -> None:
        self.window.add(self.now, to, amount)
        self.rows.append((self.now, to, amount))

    @rule(to=st.sampled_from("abc"), amount=st.integers(0, 10**30))
    def add_and_undo(self, to: str, amount: int) -> None:
        self.window.add(self.now, to, amount)
        self.window.take_back()

    @rule(step=st.sampled_from([1, HOUR_S - 1, HOUR_S, DAY_S]))
    def pass_time(self, step: int) -> None:
        self.now += step

    @invariant()
    def sums_agree(self) -> None:
        for to in "abc":
            spent = self.window.spent(self.now, to)
            day = [r for r in self.rows if r[0] > self.now - DAY_S]
            assert spent.day == sum(r[2] for r in day)
            assert spent.hour == sum(r[2] for r in day if r[0] > self.now - HOUR_S)
            assert spent.to_destination == sum(r[2] for r in day if r[1] == to)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_records_have_safe_defaults() -> None:
    """Whoever forgets a limit denies."""
    made: Any = AssetPolicy()
    assert made.per_transaction == made.per_hour == made.per_day == 0
    assert made.credits.per_deposit == 0
    assert Quorums().policy == 2


def test_the_documented_policy_reads(text: str) -> None:
    """docs/security.md shows a whole policy: it must be one, with every key there is."""
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    shown = page.split("```toml\n")[1].split("```")[0]
    keys = [line for line in text.splitlines() if line.startswith(("ann", "bob"))]
    lines = [
        next((key for key in keys if line.startswith(f"{key[:3]} ")), line)
        for line in shown.splitlines()
    ]
    made = parse_policy("\n".join(lines), Scope({"USDT": 6}, {"ethereum": 18}))
    assert made.quorums == Quorums()
    assert made.assets["USDT"].approve_twice_above == 8000 * 10**6
    for kind, where in ((Quorums, "approvals"), (AssetPolicy, "assets"), (ChainPolicy, "chains")):
        for name in kind.__dataclass_fields__:
            assert name in shown, (where, name)
