"""A merchant's end of the sandbox, and a platform that has a merchant, for the tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from chain_adapter.callbacks import MerchantClient, WaasV2, load_private_key, load_public_key
from chain_adapter.sandbox.merchant import Merchant
from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import Platform

FAST = 1e6  # the whole schedule in some milliseconds


async def until(holds: Callable[[], Awaitable[bool]], what: str, limit_s: float = 20) -> None:
    """Ask, give way, ask again; fails naming what did not come about."""
    end = time.monotonic() + limit_s
    while not await holds():
        assert time.monotonic() < end, f"still waiting for {what}"
        await asyncio.sleep(0)


def merchant_end(sandbox: Sandbox) -> WaasV2:
    """Party A's keys are the merchant's until another public key is set."""
    private = load_private_key((sandbox.state / "party_a_private.pem").read_bytes())
    public = load_public_key((sandbox.state / "platform_public.pem").read_bytes())
    return WaasV2(sandbox.app_id, private, public)


def client_of(sandbox: Sandbox, session: aiohttp.ClientSession) -> MerchantClient:
    return MerchantClient(session, sandbox.url, merchant_end(sandbox))


@dataclass
class Shop:
    """A merchant and the two ends of its platform."""

    platform: Platform
    merchant: Merchant
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.merchant.url}/{path}") as answer:
            return await answer.json()

    async def post(self, path: str, *, expect: int = 200, **fields: object) -> Any:
        url = f"{self.merchant.url}/{path}"
        async with self.session.post(url, data=json.dumps(fields)) as answer:
            told = await answer.json()
            assert answer.status == expect, told
            return told

    async def books(self) -> Any:
        return await self.get("books")

    async def callbacks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.platform.control.get("merchant/callbacks")
        return found

    async def deposit(self, address: str, amount: str, request_id: str, **more: object) -> None:
        answer = await self.platform.party.deposit(
            request_id, address, txid=f"tx-{request_id}", amount=amount, **more
        )
        assert answer.code == 0

    async def settled(self) -> None:
        """Nothing waits any more."""

        async def quiet() -> bool:
            return all(one["state"] != "waiting" for one in await self.callbacks())

        await until(quiet, "callbacks to be done")

    async def platform_balance(self, user: str, symbol: str = "VLX") -> str:
        for row in await self.platform.control.get("users"):
            if str(row["user"]) == user:
                return str(row["balances"].get(symbol, "0"))
        raise AssertionError(f"no user {user}")
