"""What a payload would do, told from its bytes alone. Pure: no node, no clock.

Two shapes have a name: main coin to somebody, and `transfer(to, amount)` of a configured contract.
A payment of nothing to oneself is a void. Every other shape is refused.
"""

from __future__ import annotations

from chain_adapter.chain import Effect, Payment, Rejected, ToSign
from chain_adapter_evm.build import TRANSFER_SELECTOR
from chain_adapter_evm.codec import Payload, lock_of, read_payload, spell
from chain_adapter_evm.match import Assets
from chain_adapter_evm.settings import Settings

_TRANSFER_BYTES = 68
_PADDING = bytes(12)


def effect_of(payload: bytes, settings: Settings, assets: Assets) -> Effect:
    """All that the payload would do; `Rejected` if a part of it has no name.

    `max_fee` is gas times the cap a gas, plus `l1_fee_bound`. There is no expiry: a nonce is the
    lock. `binds` ends with a slash, so that chain 1 is no prefix of chain 10.
    """
    read = read_payload(payload)
    tx = read.tx
    sender = spell(read.sender)
    return Effect(
        binds=f"eip155:{tx.chain_id}/",
        senders=(sender,),
        payments=_payments(read, assets),
        max_fee=tx.gas * tx.max_fee + settings.l1_fee_bound,
        locks=(lock_of(sender, tx.nonce),),
        expires=None,
        to_sign=(ToSign(read.public_key, read.digest),),
    )


def _payments(read: Payload, assets: Assets) -> tuple[Payment, ...]:
    tx = read.tx
    if not tx.data:
        if not tx.value:
            if tx.to != read.sender:
                raise Rejected("it calls somebody without value, and does nothing that has a name")
            return ()
        if assets.native is None:
            raise Rejected("it pays the main coin, which is not configured")
        return (Payment(assets.native, spell(tx.to), tx.value),)
    name = assets.name_of(tx.to)
    if name is None:
        raise Rejected(f"it calls {spell(tx.to)}, which is no configured contract")
    if tx.value:
        raise Rejected(f"it sends value to the contract of {name}")
    if len(tx.data) != _TRANSFER_BYTES or tx.data[:4] != TRANSFER_SELECTOR:
        raise Rejected(f"it calls {name} with something other than transfer(to, amount)")
    if tx.data[4:16] != _PADDING:
        raise Rejected("the recipient in its calldata is not an address")
    to, amount = tx.data[16:36], int.from_bytes(tx.data[36:], "big")
    return (Payment(name, spell(to), amount),)
