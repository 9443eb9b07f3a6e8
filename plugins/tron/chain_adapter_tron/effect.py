"""What a payload would do, told from its bytes alone. Pure: no node, no clock.

Three shapes have a name: TRX to somebody, a configured TRC-10 token to somebody, and
`transfer(to, amount)` of a configured contract; each with or without a memo. Every other shape is
refused.
"""

from __future__ import annotations

from chain_adapter.chain import Effect, Payment, Rejected, ToSign
from chain_adapter_tron.address import sha256, spell
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.codec import (
    TRANSFER,
    TRANSFER_ASSET,
    Payload,
    Raw,
    bandwidth_of,
    read_payload,
    read_transfer_call,
)
from chain_adapter_tron.settings import Settings

BINDS = "tron:"
"""Signed bytes name no network, only a block of it (`ref_block_hash`): the rest of the identity is
not in them, and bytes made on another network are refused by this one for that block."""


def effect_of(payload: bytes, settings: Settings, assets: Assets) -> Effect:
    """All that the payload would do; `Rejected` if a part of it has no name.

    There are no locks; `expires` is the expiration in milliseconds: a block whose parent's time has
    reached it does not take the transaction in.
    """
    read = read_payload(payload)
    sender = spell(read.action.owner)
    if read.raw.permission_id:
        raise Rejected("it signs by another permission than the owner's")
    if read.raw.expiration <= 0:
        raise Rejected("it has no expiration")
    return Effect(
        binds=BINDS,
        senders=(sender,),
        payments=_payments(read, assets),
        max_fee=fee_bound(read.raw, read.activates, settings),
        locks=(),
        expires=read.raw.expiration,
        to_sign=(ToSign(read.public_key, sha256(read.raw_data)),),
    )


def fee_bound(raw: Raw, activates: bool, settings: Settings) -> int:
    """Most sun that the chain can take: the fee limit for energy, and by the bounds of the
    settings bandwidth, the memo, and the account of a recipient who had none."""
    bound = raw.fee_limit + bandwidth_of(raw.encode()) * settings.bandwidth_price
    if raw.data:
        bound += settings.memo_fee
    return bound + (settings.activation_fee if activates else 0)


def _payments(read: Payload, assets: Assets) -> tuple[Payment, ...]:
    action, memo = read.action, _memo(read.raw.data)
    if action.amount <= 0 and action.kind in (TRANSFER, TRANSFER_ASSET):
        raise Rejected("it moves nothing")
    if action.kind == TRANSFER:
        if assets.native is None:
            raise Rejected("it pays the main coin, which is not configured")
        return (Payment(assets.native, spell(action.to), action.amount, memo),)
    if action.kind == TRANSFER_ASSET:
        number = action.asset.decode("ascii", "replace")
        issued = assets.name_of_id(number)
        if issued is None:
            raise Rejected(f"it pays the TRC-10 token {number!r}, which is not configured")
        return (Payment(issued, spell(action.to), action.amount, memo),)
    token = assets.name_of_token(action.to)
    if token is None:
        raise Rejected(f"it calls {spell(action.to)}, which is no configured contract")
    if action.amount or action.token_amount or action.token_id:
        raise Rejected(f"it sends value to the contract of {token}")
    to, amount = read_transfer_call(action.data)
    return (Payment(token, spell(to), amount, memo),)


def _memo(data: bytes) -> str | None:
    if not data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Rejected("its memo is no text") from None
