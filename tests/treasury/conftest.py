"""Stories with a policy and collecting: a stepped daemon, real operators' keys, a real signer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.chain import Payment
from chain_adapter.keys.approvals import Claim, pay_claim
from chain_adapter.keys.journal import PayoutKey
from chain_adapter.keys.keystore import PublicKeys
from chain_adapter.keys.rules import payments_text
from tests.keys.operators import Operators
from tests.stories.conftest import (  # noqa: F401 - fixtures
    folder,
    memo_setting,
    no_log,
    templates,
    world,
    worlds,
)
from tests.stories.harness import World
from tests.stories.parts import CHAIN

POLICY = """
version = 1
[operators]
{operators}
[approvals]
policy = 2
settle = 2
[assets.REF]
per_transaction = "100"
per_hour = "{per_hour}"
per_day = "1000"
per_destination_per_day = "unlimited"
approve_above = "3"
approve_twice_above = "50"
[assets.REF.credits]
per_deposit = "10"
per_hour = "unlimited"
per_day = "unlimited"
[assets.USDX]
per_transaction = "unlimited"
per_hour = "unlimited"
per_day = "unlimited"
per_destination_per_day = "unlimited"
[assets.USDX.credits]
per_deposit = "unlimited"
per_hour = "unlimited"
per_day = "unlimited"
[chains.ref]
fee_per_transaction = "unlimited"
fee_per_day = "unlimited"
top_up_per_transaction = "unlimited"
top_up_per_day = "unlimited"
"""

Policed = Callable[..., Awaitable[World]]


@pytest.fixture(scope="session")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Operators:
    return Operators(tmp_path_factory.mktemp("operators"))


@pytest.fixture
def policed(world: Any, operators: Operators) -> Policed:  # noqa: F811 - the fixture
    """`await policed(...)`: a world whose signer has a policy; funded, started."""

    async def make(*, per_hour: str = "500", **options: Any) -> World:
        made: World = await world(start=False, top='policy = "policy.toml"', **options)
        text = POLICY.format(operators=operators.lines("ann", "bob"), per_hour=per_hour)
        (made.folder / "policy.toml").write_text(text)
        operators.ledger_id = PublicKeys.load(made.folder / "keystore.json").ledger_id
        return await made.open()

    return make


def pays(world: World, trans_id: str, act: str = "pay") -> Claim:  # noqa: F811
    """What operators sign for a withdrawal."""
    row = world.payout(trans_id)
    payment = Payment(row.asset, row.to, int(row.amount), row.memo or None)
    key = PayoutKey(row.kind, row.symbol, row.trans_id)
    return pay_claim(key, CHAIN, payments_text((payment,)), act)


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


async def approve(world: World, operators: Operators, who: str, claim: Claim) -> None:  # noqa: F811
    document = operators.sign(who, claim, expires=tomorrow())
    assert await controls(world).approve(document) == who


def controls(world: World) -> Any:  # noqa: F811
    """The signer's own controls."""
    return world.daemon.signer.controls  # type: ignore[attr-defined]


def collecting(path: Path, **settings: str) -> None:
    """Switch collecting on in a story's configuration; `settings` are lines of the chain."""
    text = path.read_text().replace("collect = false", "collect = true")
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    path.write_text(text.replace(f"[chains.{CHAIN}]\n", f"[chains.{CHAIN}]\n{lines}", 1))
