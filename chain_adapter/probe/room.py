"""What questions share: the line, one coin of the platform, fresh names, what is known so far."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chain_adapter import money
from chain_adapter.platform_api.exact_json import Number
from chain_adapter.probe.answers import UNKNOWN, Answer, Findings, Setting
from chain_adapter.probe.line import Line, Said


@dataclass(frozen=True, slots=True)
class Coin:
    """The coin that is asked about. `token` shares its addresses, if there is one."""

    chain: str
    symbol: str
    decimals: int
    memo: bool
    token: str | None = None
    token_decimals: int = 0


@dataclass(slots=True)
class Room:
    """`address` gives one that was never used; `deepest` is the last depth that is tried."""

    line: Line
    coin: Coin
    address: Callable[[], str]
    deepest: int
    findings: Findings = field(default_factory=Findings)
    depth: int | None = None  # at which the platform credits, once known
    shared: str | None = None  # the one address of a memo coin, where we registered it

    # --- fresh things -----------------------------------------------------------------------------

    @staticmethod
    def txid() -> str:
        """Of a transaction that is on no chain."""
        return "0x" + secrets.token_hex(32)

    @staticmethod
    def request_id() -> str:
        return "probe" + secrets.token_hex(12)

    @property
    def amount(self) -> str:
        """A thousandth of the coin, or its smallest unit."""
        decimals = self.coin.decimals
        return money.plain(max(10**decimals // 1000, 1), decimals)

    # --- calls ------------------------------------------------------------------------------------

    async def available(self, symbol: str | None = None) -> int | None:
        """The count, None where the platform gives none."""
        name = symbol or self.coin.symbol
        said = await self.line.call("address/available", {"symbol": name})
        count = said.payload.get("count") if isinstance(said.payload, dict) else None
        return int(str(count)) if said.ok and str(count).isdigit() else None

    async def register(self, *addresses: str, memo: bool | None = None) -> Said:
        flag = self.coin.memo if memo is None else memo
        fields = {"symbol": self.coin.symbol, "addresses": ",".join(addresses), "memo": flag}
        return await self.line.call("address/register", fields)

    async def deposit(self, address: str, **changes: Any) -> Said:
        """A deposit notification; whatever is given replaces its fields."""
        fields: dict[str, Any] = {
            "request_id": self.request_id(),
            "address_to": address,
            "txid": self.txid(),
            "amount": Number(self.amount),
            "confirm": 1,
            "symbol": self.coin.symbol,
            "balance": 0,
            "status": 1,
        }
        return await self.line.call("deposit/notify", {**fields, **changes})

    # --- answers ----------------------------------------------------------------------------------

    def tell(
        self,
        rule: str,
        question: str,
        answer: str | None,
        evidence: str,
        *,
        risk: str = "",
        settings: tuple[Setting, ...] = (),
    ) -> None:
        """Keep an answer; None is unknown."""
        self.findings.add(
            Answer(rule, question, answer or UNKNOWN, evidence, self.coin.symbol, risk, settings)
        )
