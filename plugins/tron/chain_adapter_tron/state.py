"""The chain as of now, for one payment: asked in one round, told in units of the chain.

`Prices` are the chain's parameters, kept for some minutes; `State` is everything that a payment
depends on; `costs` tells what it would burn, by bandwidth and energy that are free, staked or paid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from chain_adapter.chain import Unavailable
from chain_adapter_tron.address import PREFIX
from chain_adapter_tron.node import Node, NoSuchCall, together
from chain_adapter_tron.proof import balance_body, balance_in
from chain_adapter_tron.wire import (
    Account,
    ChainParameters,
    DryRun,
    Energy,
    Resource,
)

_KEPT_S = 600.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What the chain asks, in sun. `refuses_contracts`: TRX and TRC-10 go to no contract."""

    byte: int
    energy: int
    memo: int
    new_account: int
    new_account_bandwidth: int
    refuses_contracts: bool


@dataclass(frozen=True, slots=True)
class State:
    """Sender, recipient and chain. `token` is the sender's balance of the token that is paid."""

    head_ms: int
    ref_block: bytes  # id of a solidified block
    balance: int
    token: int
    staked_bandwidth: int  # left
    free_bandwidth: int  # left
    energy: int  # staked, left
    recipient_exists: bool
    recipient_is_contract: bool
    prices: Prices


class Eyes:
    """Asks for a `State` through one endpoint."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._prices: Prices | None = None
        self._asked_at = 0.0
        self._estimates: bool | None = None  # whether the node has estimateenergy

    async def look(
        self, sender: bytes, to: bytes, contract: str | None, number: str | None
    ) -> State:
        """`contract` (40 hex digits) or `number` name the token that is paid; neither: TRX."""
        head, solid, account, resource, recipient, prices, token = await together(
            self._node.newest(),
            self._node.newest("walletsolidity"),
            self.account(sender),
            self._node.ask("wallet/getaccountresource", _named(sender), Resource),
            self.account(to),
            self.prices(),
            self._token(sender, contract),
        )
        if not head.blockID or not solid.blockID:
            raise Unavailable(f"{self._node.name} tells no newest block")
        if number is not None:
            token = issued_balance(account, number)
        return State(
            head_ms=head.block_header.raw_data.timestamp,
            ref_block=_block_id(self._node.name, solid.blockID),
            balance=account.balance,
            token=token,
            staked_bandwidth=max(resource.NetLimit - resource.NetUsed, 0),
            free_bandwidth=max(resource.freeNetLimit - resource.freeNetUsed, 0),
            energy=max(resource.EnergyLimit - resource.EnergyUsed, 0),
            recipient_exists=bool(recipient.address),
            recipient_is_contract=recipient.type == "Contract",
            prices=prices,
        )

    async def account(self, key: bytes) -> Account:
        """An account; an empty one where there is none."""
        return await self._node.ask("wallet/getaccount", _named(key), Account)

    async def _token(self, owner: bytes, contract: str | None) -> int:
        return 0 if contract is None else await self.token_balance(contract, owner)

    async def token_balance(self, contract: str, owner: bytes) -> int:
        """`balanceOf(owner)` at the newest block. Raises `Unavailable`."""
        body = balance_body(contract, owner.hex())
        answer = await self._node.ask("wallet/triggerconstantcontract", body, DryRun)
        balance = balance_in(answer)
        if balance is None:
            said = message_of(answer.result.message) or answer.result.code or "nothing"
            raise Unavailable(f"{self._node.name}: balanceOf of 41{contract} tells {said}")
        return balance

    async def prices(self) -> Prices:
        """The chain's prices, at most some minutes old."""
        now = time.monotonic()
        if self._prices is None or now - self._asked_at > _KEPT_S:
            told = await self._node.ask("wallet/getchainparameters", {}, ChainParameters)
            values = {one.key: one.value for one in told.chainParameter}
            if "getTransactionFee" not in values or "getEnergyFee" not in values:
                raise Unavailable(f"{self._node.name} tells no prices of bandwidth and energy")
            self._prices = Prices(
                byte=values["getTransactionFee"],
                energy=values["getEnergyFee"],
                memo=values.get("getMemoFee", 0),
                new_account=values.get("getCreateNewAccountFeeInSystemContract", 0),
                new_account_bandwidth=values.get("getCreateAccountFee", 0),
                refuses_contracts=bool(values.get("getForbidTransferToContract", 0)),
            )
            self._asked_at = now
        return self._prices

    async def dry_run(self, sender: bytes, contract: bytes, data: bytes) -> DryRun:
        """A call that is carried out and forgotten."""
        return await self._node.ask("wallet/triggerconstantcontract", _call(sender, contract, data),
                                    DryRun)  # fmt: skip

    async def estimate(self, sender: bytes, contract: bytes, data: bytes) -> int:
        """What `estimateenergy` tells; 0 where the node does not have it, or it fails."""
        if self._estimates is False:
            return 0
        try:
            answer = await self._node.ask(
                "wallet/estimateenergy", _call(sender, contract, data), Energy
            )
        except NoSuchCall:
            self._estimates = False
            return 0
        if not answer.result.result and "support" in message_of(answer.result.message).lower():
            self._estimates = False
        return answer.energy_required if answer.result.result else 0


def _named(key: bytes) -> dict[str, str]:
    return {"address": (PREFIX + key).hex()}


def _call(sender: bytes, contract: bytes, data: bytes) -> dict[str, str]:
    return {
        "owner_address": (PREFIX + sender).hex(),
        "contract_address": (PREFIX + contract).hex(),
        "data": data.hex(),
        "function_selector": "transfer(address,uint256)",
        "parameter": data[4:].hex(),
    }


def _block_id(where: str, text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise Unavailable(f"{where}: {text[:80]!r} is no block id")
    return found


def issued_balance(account: Account, number: str) -> int:
    """Balance of a TRC-10 token."""
    return next((one.value for one in account.assetV2 if one.key == number), 0)


def message_of(text: str) -> str:
    """A message of the node as text: some calls tell it as hex, some plainly."""
    try:
        return bytes.fromhex(text).decode("utf-8", "replace")
    except ValueError:
        return text


def burned_bandwidth(state: State, size: int, *, activates: bool) -> int:
    """Sun that bandwidth and a new account's entry would burn."""
    prices = state.prices
    if activates:  # a new account is never carried by free bandwidth
        entry = 0 if state.staked_bandwidth >= size else prices.new_account_bandwidth
        return entry + prices.new_account
    if state.staked_bandwidth >= size or state.free_bandwidth >= size:
        return 0
    return size * prices.byte
