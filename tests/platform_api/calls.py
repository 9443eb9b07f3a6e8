"""The seven calls as tests make them, and the question every odd answer must pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chain_adapter.errors import PlatformUnreachable
from chain_adapter.platform_api.client import PlatformClient
from chain_adapter.platform_api.messages import (
    DepositNotice,
    InternalNotice,
    TransId,
    WithdrawalNotice,
)

DEPOSIT = DepositNotice("r-1", "S", "t", "a", "1.10", 3, "5")
WITHDRAWAL = WithdrawalNotice(TransId("7", quoted=True), "S", "t", "a", "1", "0", 0, "5")
INTERNAL = InternalNotice("S", "t", "a", "1", "0.1", 3, "5")
ROW = {"trans_id": 1, "symbol": "S", "amount": "1.5", "address_to": "a"}

Call = Callable[[PlatformClient], Awaitable[Any]]
TELLING: dict[str, Call] = {
    "address/register": lambda c: c.register("S", ["a", "b"], memo=False),
    "withdraw/notify": lambda c: c.notify_withdrawal(WITHDRAWAL),
    "withdraw/cancel": lambda c: c.cancel("S", TransId("7", quoted=False), "no address"),
    "internal/notify": lambda c: c.notify_internal(INTERNAL),
}
ASKING: dict[str, tuple[Call, Any]] = {
    "address/available": (lambda c: c.available("S"), {"symbol": "S", "count": 7}),
    "deposit/notify": (lambda c: c.notify_deposit(DEPOSIT), {"data": {"request_id": "r-1"}}),
    "withdraw/consume": (lambda c: c.consume("S"), [ROW]),
}
CALLS: dict[str, Call] = TELLING | {name: call for name, (call, _) in ASKING.items()}


async def unreachable(call: Awaitable[Any]) -> str:
    with pytest.raises(PlatformUnreachable) as caught:
        await call
    assert caught.value.exit_status == 3
    return str(caught.value)
