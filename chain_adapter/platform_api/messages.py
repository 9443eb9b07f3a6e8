"""The seven calls as typed values, and the JSON that is signed for each.

Going out: `to_json` writes the one form that is sent; the same value gives the same bytes, always.
Coming in: `from_json` and `read_*` accept every form the platform is known to use, exactly.
Amounts are decimal text here (`chain_adapter.money` turns them into base units and back), sent as
JSON numbers with every digit. An optional field that is absent or empty is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from chain_adapter.platform_api.answers import (
    PAGE_SIZE,
    BadRow,
    ConsumePage,
    Order,
    Warrant,
    read_available,
    read_consume,
    read_deposit_echo,
)
from chain_adapter.platform_api.exact_json import BadMessage, Number, dumps, loads
from chain_adapter.platform_api.fields import MAX_TEXT, Row, TransId, is_plain

__all__ = [
    "MAX_ADDRESSES",
    "PAGE_SIZE",
    "Available",
    "BadMessage",
    "BadRow",
    "Cancel",
    "Consume",
    "ConsumePage",
    "DepositNotice",
    "InternalNotice",
    "Order",
    "Register",
    "Request",
    "TransId",
    "Warrant",
    "WithdrawalNotice",
    "read_available",
    "read_consume",
    "read_deposit_echo",
]

MAX_ADDRESSES = 100  # a register call takes no more


class Request(Protocol):
    """What the client can send."""

    call: ClassVar[str]  # the path below /api/v1/

    def to_json(self) -> bytes:
        """The plaintext that is signed."""
        ...


@dataclass(frozen=True, slots=True)
class Register:
    """`address/register`: addresses of a main coin that the platform may give to users."""

    call: ClassVar[str] = "address/register"
    symbol: str
    addresses: tuple[str, ...]
    memo: bool

    def __post_init__(self) -> None:
        if not 0 < len(self.addresses) <= MAX_ADDRESSES:
            raise BadMessage(f"register takes 1 to {MAX_ADDRESSES} addresses in one call")
        if self.memo and len(self.addresses) != 1:
            raise BadMessage("a memo coin registers exactly one address")
        if any(not address or "," in address for address in self.addresses):
            raise BadMessage("an address is empty or holds a comma, which separates addresses")

    def to_json(self) -> bytes:
        return dumps(
            {"symbol": self.symbol, "addresses": ",".join(self.addresses), "memo": self.memo}
        )

    @classmethod
    def from_json(cls, raw: bytes) -> Register:
        row = Row(loads(raw))
        addresses = row.text("addresses", MAX_ADDRESSES * MAX_TEXT)
        return cls(row.name("symbol"), tuple(addresses.split(",")), row.flag("memo"))


@dataclass(frozen=True, slots=True)
class Available:
    """`address/available`: how many registered addresses no user has yet."""

    call: ClassVar[str] = "address/available"
    symbol: str

    def to_json(self) -> bytes:
        return dumps({"symbol": self.symbol})

    @classmethod
    def from_json(cls, raw: bytes) -> Available:
        return cls(Row(loads(raw)).name("symbol"))


@dataclass(frozen=True, slots=True)
class DepositNotice:
    """`deposit/notify`: one deposit. `status` 1 success, 0 failure.

    `request_id` stands first, because it cannot be guessed: what is signed is an MD5, and the
    memo and sender that follow are chosen by strangers.
    """

    call: ClassVar[str] = "deposit/notify"
    request_id: str
    symbol: str
    txid: str
    address_to: str
    amount: str
    confirm: int
    balance: str
    address_from: str | None = None
    memo: str | None = None
    status: int = 1

    def __post_init__(self) -> None:
        _check_amounts(self.amount, self.balance)
        _check_whole(self.confirm)
        if self.status not in (0, 1):
            raise BadMessage("status is 1 (success) or 0 (failure)")

    def to_json(self) -> bytes:
        return _object(
            request_id=self.request_id,
            address_from=self.address_from or None,
            address_to=self.address_to,
            txid=self.txid,
            amount=Number(self.amount),
            confirm=self.confirm,
            symbol=self.symbol,
            balance=Number(self.balance),
            status=self.status,
            memo=self.memo or None,
        )

    @classmethod
    def from_json(cls, raw: bytes) -> DepositNotice:
        row = Row(loads(raw))
        return cls(
            request_id=row.name("request_id"),
            symbol=row.name("symbol"),
            txid=row.name("txid"),
            address_to=row.name("address_to"),
            amount=row.amount("amount"),
            confirm=row.whole("confirm"),
            balance=row.amount("balance"),
            address_from=row.optional("address_from"),
            memo=row.optional("memo"),
            status=row.whole("status"),
        )


@dataclass(frozen=True, slots=True)
class Consume:
    """`withdraw/consume`: which withdrawals wait."""

    call: ClassVar[str] = "withdraw/consume"
    symbol: str

    def to_json(self) -> bytes:
        return dumps({"symbol": self.symbol})

    @classmethod
    def from_json(cls, raw: bytes) -> Consume:
        return cls(Row(loads(raw)).name("symbol"))


@dataclass(frozen=True, slots=True)
class WithdrawalNotice:
    """`withdraw/notify`: the claim (`confirm` 0) and, later, how it went. `fee` in the fee coin."""

    call: ClassVar[str] = "withdraw/notify"
    trans_id: TransId
    symbol: str
    txid: str
    address_to: str
    amount: str
    fee: str
    confirm: int
    balance: str
    address_from: str | None = None
    memo: str | None = None

    def __post_init__(self) -> None:
        _check_amounts(self.amount, self.fee, self.balance)
        _check_whole(self.confirm)

    def to_json(self) -> bytes:
        return _object(
            trans_id=self.trans_id.json_value,
            address_from=self.address_from or None,
            address_to=self.address_to,
            txid=self.txid,
            amount=Number(self.amount),
            fee=Number(self.fee),
            confirm=self.confirm,
            symbol=self.symbol,
            balance=Number(self.balance),
            memo=self.memo or None,
        )

    @classmethod
    def from_json(cls, raw: bytes) -> WithdrawalNotice:
        row = Row(loads(raw))
        return cls(
            trans_id=row.trans_id(),
            symbol=row.name("symbol"),
            txid=row.name("txid"),
            address_to=row.name("address_to"),
            amount=row.amount("amount"),
            fee=row.amount("fee"),
            confirm=row.whole("confirm"),
            balance=row.amount("balance"),
            address_from=row.optional("address_from"),
            memo=row.optional("memo"),
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """`withdraw/cancel`: a withdrawal that cannot be paid goes back to its user."""

    call: ClassVar[str] = "withdraw/cancel"
    symbol: str
    trans_id: TransId
    msg: str

    def to_json(self) -> bytes:
        return dumps({"symbol": self.symbol, "trans_id": self.trans_id.json_value, "msg": self.msg})

    @classmethod
    def from_json(cls, raw: bytes) -> Cancel:
        row = Row(loads(raw))
        return cls(row.name("symbol"), row.trans_id(), row.text("msg"))


@dataclass(frozen=True, slots=True)
class InternalNotice:
    """`internal/notify`: a transaction of ours that burnt a fee and completes no withdrawal."""

    call: ClassVar[str] = "internal/notify"
    symbol: str
    txid: str
    address_to: str
    amount: str
    fee: str
    confirm: int
    balance: str
    address_from: str | None = None
    memo: str | None = None

    def __post_init__(self) -> None:
        _check_amounts(self.amount, self.fee, self.balance)
        _check_whole(self.confirm)

    def to_json(self) -> bytes:
        return _object(
            address_from=self.address_from or None,
            address_to=self.address_to,
            txid=self.txid,
            amount=Number(self.amount),
            fee=Number(self.fee),
            confirm=self.confirm,
            symbol=self.symbol,
            balance=Number(self.balance),
            memo=self.memo or None,
        )

    @classmethod
    def from_json(cls, raw: bytes) -> InternalNotice:
        row = Row(loads(raw))
        return cls(
            symbol=row.name("symbol"),
            txid=row.name("txid"),
            address_to=row.name("address_to"),
            amount=row.amount("amount"),
            fee=row.amount("fee"),
            confirm=row.whole("confirm"),
            balance=row.amount("balance"),
            address_from=row.optional("address_from"),
            memo=row.optional("memo"),
        )


# --- inside ---------------------------------------------------------------------------------------


def _object(**fields: Any) -> bytes:
    return dumps({key: value for key, value in fields.items() if value is not None})


def _check_amounts(*amounts: str) -> None:
    for amount in amounts:
        if not is_plain(amount):
            raise BadMessage(f"{amount[:40]!r} is no amount in plain notation")


def _check_whole(confirm: int) -> None:
    if isinstance(confirm, bool) or confirm < 0:
        raise BadMessage("confirm counts confirmations, from 0 up")
