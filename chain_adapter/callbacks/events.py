"""What a merchant is told, typed, the same for both dialects; and what it may answer.

One class a meaning: `Deposited` alone means "credit", `Withdrawn` alone "paid", `WithdrawalFailed`
alone "give the money back". Everything else only informs. `key` is the idempotency key, made of
the platform's own; `subject` the thing it is about; `final` whether money moves because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chain_adapter import money
from chain_adapter.errors import AdapterError


class CallbackRefused(AdapterError):
    """A message that is not acted upon: forged, damaged, of unknown kind, or contradicting."""


class NotNow(AdapterError):
    """Raised by a merchant's handler or a verifier: refuse this delivery, it will come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all have in common. `facts` are what may not change under one key.

    `undoes`: it would take back what a final event has done, which nobody may do silently.
    """

    key: str
    subject: str
    final: bool
    facts: str
    undoes: bool = False
    fields: Mapping[str, Any] = field(repr=False, compare=False)  # the message as it came


class _Money:
    """An event with an amount."""

    __slots__ = ()
    amount: str

    def units(self, decimals: int) -> int:
        """The amount in base units of an asset with that many decimals. Raises `AmountError`."""
        return money.parse(self.amount, decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositRecord(_Money, Event):
    """A deposit as the platform has it. `amount` is plain decimal text."""

    record_id: str
    user_id: str
    symbol: str
    amount: str
    address_to: str
    txid: str
    chain: str | None = None
    address_from: str | None = None
    confirmations: int | None = None
    risk_from: int | None = None  # 0 to 100
    risk_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposited(DepositRecord):
    """Credit it, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositUpdate(DepositRecord):
    """Do not credit. `state`: `confirming`, `failed` or `held` (a review)."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRecord(Event):
    """A withdrawal. `request_id` is the name that the merchant gave it."""

    request_id: str
    record_id: str | None = None
    user_id: str
    symbol: str | None = None
    amount: str | None = None
    address_to: str | None = None
    txid: str | None = None
    chain: str | None = None
    address_from: str | None = None
    withdraw_fee: str | None = None  # the platform's service charge, part of `amount`
    withdraw_fee_symbol: str | None = None
    real_fee: str | None = None  # the miner fee
    fee_symbol: str | None = None
    confirmations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(WithdrawalRecord):
    """It is paid: the frozen amount is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalFailed(WithdrawalRecord):
    """It will not be paid: unfreeze. `why`: rejected, failed, cancelled, invalid_address."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalUpdate(WithdrawalRecord):
    """Nothing to book.

    `state`: `unreviewed`, `paying`, `processing`, `held`, `waiting_for_funds`, `waiting_for_gas`.
    """

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReplaced(Event):
    """The user's deposit address is `address` from now on."""

    user_id: str
    chain: str
    symbol: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A message that asks for nothing (type 0)."""

    type: int
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerFee(Event):
    """A fee of collecting deposits, from the sync list."""

    record_id: str
    symbol: str
    fee: str
    txid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred(_Money, Event):
    """A transfer between merchants, from the sync list."""

    record_id: str
    request_id: str
    symbol: str
    amount: str
    sender: str
    receiver: str
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest:
    """The platform asks whether this withdrawal is yours.

    WaaS V2 tells what would be paid; `to_merchant` is set when it is a transfer between merchants.
    UUWallet tells only `request_id` (its `callBackId`) and the user: your answer says the rest.
    """

    request_id: str
    user_id: str
    address: str | None = None
    symbol: str | None = None
    amount: str | None = None
    to_merchant: str | None = None
    remark: str | None = None
    fields: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Approved:
    """Yes, and this is what *your books* say about it, read there, not copied from the question.

    Where the platform has told the same (WaaS V2), a difference refuses. UUWallet needs them all.
    """

    address: str | None = None
    chain: str | None = None
    symbol: str | None = None
    amount: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """No. `reason` goes to the platform where the dialect has a place for it."""

    reason: str


Decision = Approved | Refused
