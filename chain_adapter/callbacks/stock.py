"""Deposit addresses fetched in advance, so that a user never waits for the platform.

prefetch(n) -> a platform user for each missing one -> its address -> stored; take(owner) -> the
same address for that owner for ever. The platform user's name is made of a number that is stored
with the address: a crash between the two asks for the same user again and loses none.
"""

from __future__ import annotations

from typing import Protocol

from chain_adapter.callbacks.client import MerchantClient


class StockStore(Protocol):
    """Where the addresses are kept; `SqliteStore` is one."""

    async def stock(self, symbol: str) -> tuple[int, int]: ...

    async def put_address(self, symbol: str, number: int, uid: str, address: str) -> None: ...

    async def take_address(self, symbol: str, owner: str) -> tuple[str, str] | None: ...


class AddressStock:
    """Addresses of one symbol. `domain` goes into the e-mail of the platform users."""

    def __init__(
        self,
        client: MerchantClient,
        store: StockStore,
        symbol: str,
        domain: str = "merchant.invalid",
    ) -> None:
        self._client = client
        self._store = store
        self._symbol = symbol
        self._domain = domain

    async def prefetch_addresses(self, n: int) -> int:
        """Fill up to `n` unowned addresses; how many were fetched. Run one at a time.

        Raises `PlatformUnreachable`, `MerchantCallRefused` (the platform's pool is empty).
        """
        free, number = await self._store.stock(self._symbol)
        missing = max(n - free, 0)
        for one in range(number, number + missing):
            uid = await self._client.register_email(f"{self._symbol}-{one}@{self._domain}".lower())
            address = await self._client.deposit_address(uid, self._symbol)
            await self._store.put_address(self._symbol, one, uid, address)
        return missing

    async def take(self, owner: str) -> tuple[str, str] | None:
        """(platform uid, address) for one of the merchant's users; None when none is left."""
        return await self._store.take_address(self._symbol, owner)
