"""Asking someone else before a deposit is credited: the chain itself, or the platform's records.

A callback's blocks are each proven to be the platform's, their combination is not: whoever can
read and change the traffic might put two true messages together. A verifier closes that.
`ChainVerifier` reads the block that holds the transaction through a chain plugin and adds up what
it paid. `RecordVerifier` asks the platform for the record by its id, over a connection of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain_adapter.callbacks.client import MerchantCallRefused, MerchantClient
from chain_adapter.callbacks.events import (
    CallbackRefused,
    Deposited,
    DepositUpdate,
    Event,
    NotNow,
    WithdrawalFailed,
    WithdrawalUpdate,
    Withdrawn,
)
from chain_adapter.callbacks.waas import deposit_event, withdrawal_event
from chain_adapter.chain import BlockRef, Chain, ChainError, InvalidAddress, Watch
from chain_adapter.errors import AmountError, PlatformUnreachable
from chain_adapter.platform_api.exact_json import BadMessage


@dataclass(frozen=True, slots=True)
class OnChain:
    """Where to look for a symbol. `asset` is the plugin's name of it, `memo` a memo coin."""

    chain: Chain
    asset: str
    decimals: int
    confirmations: int
    memo: bool = False


class ChainVerifier:
    """Lets a `Deposited` pass when the chain shows it, deep enough, with that amount.

    A symbol without an entry is refused, unless `others_pass`. Deposits without a txid were paid
    inside the platform and cannot be seen on chain: refused as well, unless `others_pass`.
    """

    def __init__(self, symbols: Mapping[str, OnChain], *, others_pass: bool = False) -> None:
        self._symbols = symbols
        self._others_pass = others_pass

    async def __call__(self, event: Event) -> None:
        """Raises `NotNow` while it is not to be seen, `CallbackRefused` when the amount differs."""
        if not isinstance(event, Deposited):
            return
        place = self._symbols.get(event.symbol)
        if place is None or not event.txid:
            if not self._others_pass:
                raise NotNow(f"{event.symbol} {event.txid or 'without txid'}: no chain to ask")
            return
        try:
            found = await _sum(place, event)
            wanted = event.units(place.decimals)
        except InvalidAddress as error:
            raise CallbackRefused(f"{event.address_to}: {error}") from None
        except AmountError as error:
            raise CallbackRefused(f"{event.symbol}: {error}") from None
        except ChainError as error:
            raise NotNow(f"the chain did not answer: {error}") from None
        if found != wanted:
            raise CallbackRefused(
                f"{event.txid} paid {found} base units of {event.symbol} to {event.address_to}, "
                f"the callback says {wanted}"
            )


async def _sum(place: OnChain, event: Deposited) -> int:
    chain = place.chain
    address, memo = event.address_to, None
    if place.memo:
        address, _, text = event.address_to.rpartition("_")
        memo = text.encode()
    recipient = chain.parse_address(address)
    at = await chain.locate(event.txid)
    if at is None:
        raise NotNow(f"{event.txid} is not on the chain")
    head = await chain.head()
    depth = head.ref.height - at.height + 1
    if depth < place.confirmations:
        raise NotNow(f"{event.txid} has {depth} of {place.confirmations} confirmations")
    watch = Watch(to=frozenset({chain.address_key(recipient)}))
    total = 0
    async for block in chain.blocks(BlockRef(at.height - 1, ""), at.height, watch):
        for transfer in block.transfers:
            same = (transfer.txid, transfer.asset, transfer.to) == (
                event.txid, place.asset, recipient,
            )  # fmt: skip
            if same and transfer.proof is not False and (memo is None or transfer.memo == memo):
                total += transfer.amount
    return total


class RecordVerifier:
    """Lets a deposit or withdrawal pass when the platform's own list says the same of it."""

    def __init__(self, client: MerchantClient) -> None:
        self._client = client

    async def __call__(self, event: Event) -> None:
        """Raises `NotNow` when it cannot be asked, `CallbackRefused` when the record differs."""
        try:
            if isinstance(event, Deposited | DepositUpdate):
                rows = await self._client.by_ids("billing/depositList", [event.record_id])
                found: list[Event] = [deposit_event(row) for row in rows]
            elif isinstance(event, Withdrawn | WithdrawalFailed | WithdrawalUpdate):
                rows = await self._client.by_ids("billing/withdrawList", [event.request_id])
                found = [withdrawal_event(row) for row in rows]
            else:
                return
        except (PlatformUnreachable, MerchantCallRefused, BadMessage) as error:
            raise NotNow(f"the platform's record could not be read: {error}") from None
        same = [one for one in found if one.subject == event.subject]
        if not same:
            raise CallbackRefused(f"the platform has no record of {event.subject}")
        if same[0].facts != event.facts or (event.final and same[0].key != event.key):
            raise CallbackRefused(f"the platform's record of {event.subject} is another")
