"""Why a signature is given, as pure checks: effect against intent, intent against its kind.

payload --inspect--> effect: its network, its senders, its keys, what it pays, what it may cost
effect = intent, to the unit and to the byte; then the payout's kind says who may be paid at all.
Every check raises `SigningRefused` with the reason; what passes all of them may be signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from chain_adapter.chain import Effect, InvalidAddress, Payment, SignedTx
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.journal import NewAttempt, Purpose
from chain_adapter.keys.request import (
    COLD,
    KINDS,
    SWEEP,
    TOP_UP,
    WITHDRAWAL,
    KeyPath,
    SignerChain,
    SignRequest,
)
from chain_adapter.keys.warrant import Verify, check_order, ordered, refused

MAX_PAYLOAD_BYTES: Final = 1 << 20
_LEAST_OF_HASH: Final = 8  # hex digits of a genesis hash that tell networks apart
_PAYING_ACCOUNTS: Final[Mapping[str, frozenset[int]]] = {
    WITHDRAWAL: frozenset({Account.HOT}),
    SWEEP: frozenset({Account.DEPOSIT, Account.GAS, Account.HOT}),
    TOP_UP: frozenset({Account.GAS, Account.HOT}),
    COLD: frozenset({Account.HOT}),
}


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key of ours on a chain, derived by the signer itself."""

    path: KeyPath
    public_key: bytes
    address: str


Own = Callable[[KeyPath], OwnKey]
"""Derives a key of ours on the request's chain."""


def check_network(effect: Effect, pinned: str | None, chain: str) -> None:
    """The signed bytes commit to the pinned network, by a whole prefix of its identity."""
    if pinned is None:
        raise SigningRefused(f"chain {chain} is not pinned to a network yet: nothing is signed")
    binds = effect.binds
    if not binds:
        raise refused(f"the payload for {chain} commits to no network")
    if not pinned.startswith(binds):
        raise refused(f"the payload is for {binds}, chain {chain} is pinned to {pinned}")
    # "…:1" begins "…:10/…" too: only a hash may be cut in the middle, and not too short
    if _cuts_a_word(binds, pinned[len(binds) :]):
        raise refused(f"the payload commits to {binds}, which ends inside a word of {pinned}")


def check_keys(request: SignRequest, effect: Effect, own: Own) -> dict[bytes, KeyPath]:
    """Every sender and every key that must sign is ours and was named. Returns key -> path."""
    sender = own(KeyPath(request.account, request.index))
    keys = {sender.public_key: sender.path}
    addresses = {sender.address}
    for path in request.also:
        further = own(path)
        if further.path.account != sender.path.account:
            raise refused("the keys of one transaction must be of one account")
        keys[further.public_key] = path
        addresses.add(further.address)
    if request.intent.sender != sender.address:
        raise refused(f"the intent's sender is {request.intent.sender}, the key's address is "
                      f"{sender.address}")  # fmt: skip
    if request.intent.public_key != sender.public_key:
        raise refused("the intent names another public key than the one at its path")
    if not effect.senders or not set(effect.senders) <= addresses:
        raise refused(f"the payload spends from {', '.join(effect.senders) or 'nobody'}, "
                      f"not from {sender.address}")  # fmt: skip
    if not request.also and effect.senders != (sender.address,):
        raise refused("the payload names its sender more than once")
    if not effect.to_sign:
        raise refused("the payload asks for no signature")
    for wanted in effect.to_sign:
        if wanted.public_key not in keys:
            raise refused("the payload asks for the signature of a key that is not the sender's")
    return keys


def check_effect(request: SignRequest, effect: Effect, chain: SignerChain) -> tuple[Payment, ...]:
    """What the bytes do is what the intent says, and no more. Returns the net payments."""
    intent = request.intent
    net = tuple(p for p in effect.payments if p.to != intent.sender)
    exact = Counter(intent.payments)
    rest = Counter(net)
    both = exact & rest
    exact, rest = exact - both, rest - both
    for payment in exact.elements():
        if payment.amount is not None:
            raise refused(f"the intent pays {_said(payment)}, the payload does not")
        same = [p for p in rest if rest[p] and replace(p, amount=None) == payment]
        if not same:
            raise refused(f"the intent pays {_said(payment)}, the payload does not")
        rest[same[0]] -= 1
    for payment in (+rest).elements():
        raise refused(f"the payload pays {_said(payment)}, the intent does not")
    if intent.fee_limit < 0 or effect.max_fee < 0:
        raise refused("a fee is negative")
    if effect.max_fee > intent.fee_limit:
        raise refused(
            f"the payload may cost {effect.max_fee} base units, the intent allows "
            f"{intent.fee_limit}"
        )
    if chain.fee_cap is not None and effect.max_fee > chain.fee_cap:
        raise SigningRefused(
            f"the payload may cost {effect.max_fee} base units, the fee cap is {chain.fee_cap}"
        )
    if not effect.locks and effect.expires is None:
        raise refused("the payload has neither a lock nor an expiry: it could land at any time")
    return net


def check_kind(
    request: SignRequest,
    net: Sequence[Payment],
    chain: SignerChain,
    own: Own,
    *,
    verify: Verify,
    earlier: bytes | None,
) -> None:
    """Who may be paid by this kind of payout, and why.

    `earlier`: what an attempt of this payout paid before (`payments_text`), which is then what
    every further one must pay; a replacement of such a one needs no warrant.
    """
    payout, intent = request.payout, request.intent
    if payout.kind not in KINDS:
        raise refused(f"there is no payout of kind {payout.kind!r}")
    if request.account not in _PAYING_ACCOUNTS[payout.kind] and request.purpose != Purpose.VOID:
        raise refused(f"a {payout.kind} is not paid from account {request.account}")
    if request.purpose == Purpose.VOID:
        if intent.payments or net:
            raise refused("a void pays nobody")
        return
    if not intent.payments:
        raise refused(f"the {payout.kind} pays nobody")
    for payment in intent.payments:
        if payment.asset not in chain.assets:
            raise refused(f"asset {payment.asset!r} is not configured on chain {request.chain}")
        if payment.amount is not None and payment.amount <= 0:
            raise refused(f"a payment of {payment.amount} base units")
        if _canonical(chain, payment.to) != payment.to:
            raise refused(f"{payment.to!r} is not the chain's own spelling of an address")
    if payout.kind == WITHDRAWAL:
        _check_withdrawal(request, chain, own, verify=verify, earlier=earlier)
    elif payout.kind == SWEEP:
        _check_own_destination(request, own, frozenset({Account.HOT}), KeyPath(Account.HOT, 0))
    elif payout.kind == TOP_UP:
        _check_own_destination(request, own, frozenset({Account.DEPOSIT, Account.GAS}), None)
        if any(p.asset != chain.chain.info.fee_asset for p in intent.payments):
            raise refused("a top-up moves the fee asset only")
        if any(p.amount is None for p in intent.payments):
            raise refused("a top-up names its amount")
    else:
        for payment in intent.payments:
            if chain.cold.get(payment.asset) != payment.to:
                raise refused(f"{payment.to} is not the configured cold address of {payment.asset}")


def payments_text(payments: Sequence[Payment]) -> bytes:
    """The payments in one fixed order and spelling, as the journal keeps them."""
    rows = sorted(
        [p.asset, p.to, "all" if p.amount is None else str(p.amount), p.memo or ""]
        for p in payments
    )
    return msgspec.json.encode(rows)


def new_attempt(request: SignRequest, effect: Effect, signed: SignedTx) -> NewAttempt:
    """What the journal keeps of it."""
    return NewAttempt(
        chain=request.chain,
        txid=signed.txid,
        payout=request.payout,
        purpose=request.purpose,
        account=request.account,
        index=request.index,
        sender=request.intent.sender,
        payments=payments_text(request.intent.payments),
        payload=request.payload,
        raw=signed.raw,
        max_fee=effect.max_fee,
        locks=effect.locks,
        expires=effect.expires,
        build_height=request.build_height,
    )


# --- inside -------------------------------------------------------------------------------------


def _check_withdrawal(
    request: SignRequest, chain: SignerChain, own: Own, *, verify: Verify, earlier: bytes | None
) -> None:
    payout, payments = request.payout, request.intent.payments
    if len(payments) != 1:
        raise refused("a withdrawal pays exactly one recipient")
    (payment,) = payments
    asset = chain.assets[payment.asset]
    if asset.symbol != payout.symbol:
        raise refused(f"a withdrawal of {payout.symbol} does not pay {payment.asset}")
    if payment.amount is None:
        raise refused("a withdrawal names its amount")
    if earlier is not None and earlier != payments_text(payments):
        raise refused(f"{payout} was signed before with another content")
    if request.warrant is None:
        if request.purpose != Purpose.REPLACE or earlier is None:
            raise refused(f"{payout} has no warrant: the platform's signed order is missing")
    else:
        order = ordered(request.warrant, verify, payout.symbol, payout.trans_id)
        check_order(
            order,
            to=payment.to,
            amount=payment.amount,
            memo=payment.memo,
            decimals=asset.decimals,
            parse_address=chain.chain.parse_address,
        )
    _check_recipient(payment.to, request, chain, own)


def _check_recipient(to: str, request: SignRequest, chain: SignerChain, own: Own) -> None:
    """Never to ourselves, to nobody, or to a token's contract: it would be lost or run in circles.

    Deposit addresses are without end: the daemon, which has them all, refuses those.
    """
    key = chain.chain.address_key(to)
    if not any(key):
        raise refused(f"{to} is the address of nobody")
    if key in {chain.chain.asset_key(name) for name in chain.assets} - {b""}:
        raise refused(f"{to} is the contract of a token")
    for path in (KeyPath(Account.HOT, 0), KeyPath(Account.GAS, 0),
                 KeyPath(request.account, request.index)):  # fmt: skip
        if own(path).address == to:
            raise refused(f"{to} is an address of our own")


def _check_own_destination(
    request: SignRequest, own: Own, accounts: frozenset[Account], default: KeyPath | None
) -> None:
    path = request.destination or default
    if path is None or path.account not in accounts:
        raise refused(f"a {request.payout.kind} must name the address of ours that it goes to")
    address = own(path).address
    if address == request.intent.sender:
        raise refused(f"a {request.payout.kind} to its own sender moves nothing")
    for payment in request.intent.payments:
        if payment.to != address:
            raise refused(f"a {request.payout.kind} goes to {payment.to}, which is not {address}")


def _canonical(chain: SignerChain, text: str) -> str:
    try:
        return chain.chain.parse_address(text)
    except InvalidAddress:
        raise refused(f"{text[:80]!r} is no address of this chain") from None


def _cuts_a_word(binds: str, rest: str) -> bool:
    """Whether the boundary lies inside a word that is no hash, or too early in a hash."""
    if rest[:1] not in _WORD or not rest:
        return False
    left = binds[len(binds.rstrip(_WORD)) :]
    right = rest[: len(rest) - len(rest.lstrip(_WORD))]
    whole = (left + right).removeprefix("0x").lower()
    is_hash = len(whole) >= 32 and not whole.strip("0123456789abcdef")
    return bool(left) and not (is_hash and len(left.removeprefix("0x")) >= _LEAST_OF_HASH)


_WORD: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _said(payment: Payment) -> str:
    amount = "all" if payment.amount is None else str(payment.amount)
    return f"{amount} of {payment.asset} to {payment.to}"
