"""The platform's own books without HTTP and RSA: the same rules as the sandbox, in this process.

message -> its JSON bytes -> the sandbox's call on its ledger -> the answer, or the error that the
client would raise. `before` and `after` hold faults a path: what is raised (or awaited) instead of,
or after, the call's effect.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from chain_adapter.errors import PlatformRefused, PlatformUnreachable
from chain_adapter.platform_api import codes
from chain_adapter.platform_api.answers import ConsumePage, read_consume
from chain_adapter.platform_api.messages import (
    Cancel,
    Consume,
    DepositNotice,
    InternalNotice,
    Register,
    Request,
    TransId,
    WithdrawalNotice,
)
from chain_adapter.sandbox import behaviour, deposits, pool, withdrawals
from chain_adapter.sandbox.coins import Coin, Refusal, find_coin
from chain_adapter.sandbox.identity import open_identity
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.wapi import CALLS
from chain_adapter.sandbox.wire import Fields, Malformed, dumps, loads

Act = BaseException | Callable[[], Awaitable[None]]


def refused(call: str, code: int) -> PlatformRefused:
    """The refusal that the client makes of a code."""
    return PlatformRefused(call, code, codes.meaning(code), row=codes.is_row(code))


class Platform:
    """What the workers ask (`register` … `notify_internal`), and what users do (`order` …)."""

    def __init__(self, state: Path, keys: Path) -> None:
        state.mkdir(parents=True)
        for file in keys.iterdir():
            shutil.copy(file, state / file.name)
        self.state = state
        self._identity = open_identity(state)
        self.app_id = self._identity.app_id
        self.rule = behaviour.defaults()
        self._ledger = Ledger(state, self.rule)
        self._ledger.start()
        self.before: defaultdict[str, deque[Act]] = defaultdict(deque)
        self.after: defaultdict[str, deque[Act]] = defaultdict(deque)
        self.judge: Callable[[str, Any], BaseException | None] = lambda _path, _request: None
        self.down = False
        self.calls: Counter[str] = Counter()
        self.said: list[tuple[str, bytes]] = []  # everything that was told, in order
        self.point: Callable[[str], Awaitable[None]] | None = None

    def close(self) -> None:
        self._ledger.stop()

    # --- the port of the workers ------------------------------------------------------------------

    async def _call(self, request: Request) -> bytes:
        """The plaintext answer. Raises as the client does."""
        path = request.call
        self.calls[path] += 1
        if self.point is not None:
            await self.point(f"before {path}")
        if self.down:
            raise PlatformUnreachable(f"{path}: connection refused")
        await self._act(self.before[path])
        wrong = self.judge(path, request)
        if wrong is not None:
            raise wrong
        raw = request.to_json()
        self.said.append((path, raw))
        try:
            fields = Fields(loads(raw))
            outcome = await self._ledger.run(lambda books: CALLS[path](books, fields))
        except Refusal as refusal:
            raise PlatformRefused(
                path, refusal.code, refusal.msg, row=codes.is_row(refusal.code)
            ) from None
        except Malformed as error:
            raise PlatformRefused(path, codes.JSON_DECODE_ERROR, str(error), row=False) from None
        if self.point is not None:
            await self.point(f"after {path}")
        await self._act(self.after[path])
        if outcome.code:
            raise refused(path, outcome.code)
        return b"" if outcome.payload is None else dumps(outcome.payload)

    async def _act(self, queue: deque[Act]) -> None:
        if queue:
            act = queue.popleft()
            if isinstance(act, BaseException):
                raise act
            await act()

    async def register(self, symbol: str, addresses: Sequence[str], memo: bool) -> None:
        await self._call(Register(symbol, tuple(addresses), memo))

    async def available(self, symbol: str) -> int:
        """Answered without a call's path: it changes nothing."""
        if self.down:
            raise PlatformUnreachable("address/available: connection refused")
        fields = Fields(loads(dumps({"symbol": symbol})))
        outcome = await self._ledger.run(lambda books: CALLS["address/available"](books, fields))
        assert isinstance(outcome.payload, dict)
        return int(outcome.payload["count"])

    async def notify_deposit(self, notice: DepositNotice) -> None:
        await self._call(notice)

    async def consume(self, symbol: str) -> ConsumePage:
        plaintext = await self._call(Consume(symbol))
        return read_consume(symbol, plaintext, self._identity.envelope.seal(plaintext).sign)

    async def notify_withdrawal(self, notice: WithdrawalNotice) -> None:
        await self._call(notice)

    async def cancel(self, symbol: str, trans_id: TransId, msg: str) -> None:
        await self._call(Cancel(symbol, trans_id, msg))

    async def notify_internal(self, notice: InternalNotice) -> None:
        await self._call(notice)

    # --- its users --------------------------------------------------------------------------------

    async def add_coin(
        self, symbol: str, main: str, *, memo: bool, decimals: int, confirmations: int
    ) -> None:
        await self._ledger.run(
            lambda books: books.do(
                "INSERT INTO coins (symbol, main_symbol, memo, decimals, confirmations)"
                " VALUES (?, ?, ?, ?, ?)",
                symbol, main, int(memo), decimals, confirmations,
            )
        )  # fmt: skip

    async def user(self, symbol: str) -> tuple[str, str | None]:
        """Address and memo of a new user."""
        holder = await self._ledger.run(
            lambda books: pool.new_holder(books, self._coin(books, symbol))
        )
        assert holder is not None, "the pool of addresses is empty"
        return holder.address, holder.memo or None

    async def order(self, symbol: str, amount: str, to: str, memo: str = "") -> str:
        """A new withdrawal, right or wrong; its trans_id."""
        made = await self._ledger.run(
            lambda books: withdrawals.create(books, self._coin(books, symbol), amount, to, memo)
        )
        return str(made)

    async def change(self, trans_id: str, **content: str) -> None:
        """Content changed under the adapter's feet."""

        def unit(books: Books) -> None:
            for name, value in content.items():
                books.do(
                    f"UPDATE withdrawals SET {name} = ? WHERE trans_id = ?", value, int(trans_id)
                )

        await self._ledger.run(unit)

    async def user_cancels(self, trans_id: str) -> None:
        def unit(books: Books) -> None:
            row = withdrawals.find(books, trans_id)
            assert row is not None
            assert row["state"] == "pending"
            withdrawals.send_back(books, row, "user", "")

        await self._ledger.run(unit)

    async def withdrawal(self, trans_id: str) -> dict[str, Any]:
        rows = await self._ledger.run(lambda books: withdrawals.listing(books, int(trans_id)))
        return rows[0]

    async def withdrawals(self) -> list[dict[str, Any]]:
        return await self._ledger.run(withdrawals.listing)

    async def deposits(self) -> list[dict[str, Any]]:
        return await self._ledger.run(deposits.listing)

    async def internal(self) -> list[dict[str, Any]]:
        return await self._ledger.run(deposits.internal_listing)

    @staticmethod
    def _coin(books: Books, symbol: str) -> Coin:
        coin = find_coin(books, symbol)
        assert coin is not None, f"no coin {symbol}"
        return coin
