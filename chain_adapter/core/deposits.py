"""What arrived, and what becomes of it: pure functions of values.

Transfers matched to our addresses (`Arrival`) -> folded by (asset, txid, to, memo) into a
`Sighting`, the sum -> `decide` says SEEN, HELD or IGNORED -> `again` when a popped one comes back
-> `compare` holds two readings of one block against each other. `request_id` names a deposit for
ever.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from chain_adapter import money
from chain_adapter.chain import Proof, Transfer
from chain_adapter.core.states import Deposit

LABEL = b"chain-adapter/deposit/1"
MEMO_MAX = 64
"""Longest memo in bytes that is passed on, unless configured."""


class Why:
    """Reasons that stand in `deposits.reason`; several are joined by "; "."""

    OWN_ADDRESS = "own address"
    OWN_MONEY = "own money"
    ASSET_OFF = "asset off"
    BELOW_MINIMUM = "below the minimum"
    TOO_FINE = "finer than the platform holds"
    OWN_MIXED = "own money mixed in"
    REFUTED = "proof refuted"
    UNPROVEN = "proof required and missing"
    NO_MEMO = "memo missing"
    BAD_MEMO = "memo cannot be passed on"
    LIMIT = "above the limit"
    OTHER_AMOUNT = "included again with another amount"
    SECOND_LOOK = "second look"
    PAUSED = "paused"


# --- names that last for ever ---------------------------------------------------------------------


def request_id(
    secret: bytes, identity: str, asset_key: bytes, txid: str, address_key: bytes, memo: bytes
) -> str:
    """The deposit's id at the platform, 32 hex digits.

    HMAC-SHA-256 keyed by the ledger's request-id secret, over the label and then, each prefixed
    by its length in 8 big-endian bytes: network identity, asset key, txid, address key, memo
    (``b""`` when absent). No configured name and no spelling enters (docs/laws.md 3.1). A changed
    id is money credited twice: the golden values in the tests stand for ever.
    """
    mac = hmac.new(secret, LABEL, hashlib.sha256)
    for part in (identity.encode(), asset_key, txid.encode(), address_key, memo):
        mac.update(len(part).to_bytes(8, "big") + part)
    return mac.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Memo:
    """A memo as the books hold it. `told` is None when it cannot be passed on byte for byte."""

    raw: bytes
    key: str  # the memo itself, "" or "#" and the SHA-256 of its bytes
    told: str | None

    @property
    def hex(self) -> str | None:
        return self.raw.hex() or None


NO_MEMO = Memo(b"", "", None)


def read_memo(raw: bytes | None, most: int = MEMO_MAX) -> Memo:
    """Printable ASCII of 1 to `most` bytes goes on as it is; anything else is named by its hash.

    Nothing is trimmed or folded: two memos that differ in one byte stay two (docs/laws.md 3.6).
    An empty memo is an absent one.
    """
    if not raw:
        return NO_MEMO
    # The key must not depend on a setting: a memo would otherwise change its row.
    printable = all(0x20 <= byte <= 0x7E for byte in raw)
    text = raw.decode("ascii") if printable else None
    key = text if text and len(raw) <= MEMO_MAX else "#" + hashlib.sha256(raw).hexdigest()
    return Memo(raw, key, text if len(raw) <= most else None)


# --- terms ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetTerms:
    """How deposits of one asset are judged and told. Amounts in base units."""

    name: str
    symbol: str
    key: bytes  # as the chain names it; b"" is the main coin
    decimals: int
    platform_decimals: int
    depth: int  # the platform's confirmations
    min_deposit: int = 0
    proof: Proof = Proof.WHEN_POSSIBLE  # OFF for the main coin, whatever is configured
    enabled: bool = True
    limit: int | None = None  # a deposit above it waits for a person


@dataclass(frozen=True, slots=True)
class Terms:
    """How deposits of one chain are judged, named and told."""

    chain: str  # configured name; enters no id
    identity: str  # the pinned network
    secret: bytes  # request-id secret
    assets: Mapping[str, AssetTerms]  # by configured name
    memo_coin: bool = False  # the memo names the owner
    memo_max: int = MEMO_MAX

    def __repr__(self) -> str:
        return f"Terms({self.chain})"  # never the secret


# --- from transfers to sightings ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrival:
    """A transfer to an address of ours, matched exactly."""

    transfer: Transfer
    to: str  # as registered
    key: bytes  # address key
    credited: bool  # users deposit here (not a hot, gas or cold address)
    own: bool = False  # its sender is an address whose key we hold


class Key(NamedTuple):
    """What makes one deposit of one chain."""

    asset: str
    txid: str
    to: str
    memo_key: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """The sum of what one transaction brought of one asset to one address under one memo."""

    asset: str
    txid: str
    to: str
    key: bytes  # address key
    memo: Memo
    amount: int  # base units, above 0
    sender: str | None  # None when there are several
    proof: bool | None  # None: at least one transfer without a proof, and none refuted
    credited: bool
    own: bool | None  # None: some of it

    @property
    def name(self) -> Key:
        return Key(self.asset, self.txid, self.to, self.memo.key)


def moves_value(transfer: Transfer) -> bool:
    """Whether anything arrived: zero amounts and payments to oneself bring nothing.

    A coin chain's payment to oneself makes a new coin, so one with a lock stays.
    """
    if transfer.amount <= 0:
        return False
    return transfer.lock is not None or transfer.sender != transfer.to


def key_of(arrival: Arrival) -> Key:
    """The deposit that a transfer belongs to."""
    transfer = arrival.transfer
    return Key(transfer.asset, transfer.txid, arrival.to, read_memo(transfer.memo).key)


def fold(arrivals: Iterable[Arrival]) -> list[Sighting]:
    """One sighting a (asset, txid, to, memo), in the order of first arrival. The sum counts."""
    found: dict[Key, Sighting] = {}
    for arrival in arrivals:
        if not moves_value(arrival.transfer):
            continue
        one = _alone(arrival)
        known = found.get(one.name)
        found[one.name] = one if known is None else _add(known, one)
    return list(found.values())


def _alone(arrival: Arrival) -> Sighting:
    transfer = arrival.transfer
    return Sighting(
        asset=transfer.asset,
        txid=transfer.txid,
        to=arrival.to,
        key=arrival.key,
        memo=read_memo(transfer.memo),
        amount=transfer.amount,
        sender=transfer.sender,
        proof=transfer.proof,
        credited=arrival.credited,
        own=arrival.own or transfer.sender == transfer.to,
    )


def _add(one: Sighting, other: Sighting) -> Sighting:
    return replace(
        one,
        amount=one.amount + other.amount,
        sender=one.sender if one.sender == other.sender else None,
        proof=both_proofs(one.proof, other.proof),
        own=one.own if one.own == other.own else None,
    )


def both_proofs(one: bool | None, other: bool | None) -> bool | None:
    """Refuted if either is; proven only if both are."""
    if one is False or other is False:
        return False
    return True if one and other else None


# --- what becomes of it ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """The state a sighting enters the books in. `told` are units of 10^-platform_decimals."""

    state: Deposit
    reason: str | None
    told: int
    remainder: int  # base units finer than the platform holds


def decide(sighting: Sighting, terms: AssetTerms, chain: Terms) -> Decision:
    """SEEN, HELD or IGNORED, from values alone. Finality and second look come later."""
    told, remainder = money.to_platform(sighting.amount, terms.decimals, terms.platform_decimals)
    ignored = _ignored(sighting, terms, told)
    if ignored is not None:
        return Decision(Deposit.IGNORED, ignored, told, remainder)
    held = _held(sighting, terms, chain)
    if held:
        return Decision(Deposit.HELD, "; ".join(held), told, remainder)
    return Decision(Deposit.SEEN, None, told, remainder)


def _ignored(sighting: Sighting, terms: AssetTerms, told: int) -> str | None:
    if not sighting.credited:
        return Why.OWN_ADDRESS
    if sighting.own:
        return Why.OWN_MONEY
    if not terms.enabled:
        return Why.ASSET_OFF
    if sighting.amount < terms.min_deposit:
        return Why.BELOW_MINIMUM
    if told == 0:
        return Why.TOO_FINE
    return None


def _held(sighting: Sighting, terms: AssetTerms, chain: Terms) -> list[str]:
    reasons = []
    if sighting.own is None:
        reasons.append(Why.OWN_MIXED)
    if terms.proof is not Proof.OFF and sighting.proof is False:
        reasons.append(Why.REFUTED)
    if terms.proof is Proof.REQUIRED and sighting.proof is None:
        reasons.append(Why.UNPROVEN)
    if chain.memo_coin:
        memo = read_memo(sighting.memo.raw, chain.memo_max)
        if memo.told is None:
            reasons.append(Why.BAD_MEMO if memo.raw else Why.NO_MEMO)
    if terms.limit is not None and sighting.amount > terms.limit:
        reasons.append(Why.LIMIT)
    return reasons


def again(old: Deposit, old_amount: int, amount: int, decision: Decision) -> Decision:
    """What becomes of a popped deposit that is included again (docs/laws.md 3.4).

    An ORPHANED one is judged anew. A REVERSED one was confirmed before: with the same amount it
    is SEEN again under the same request_id, with another a person decides.
    """
    if old is Deposit.ORPHANED:
        return decision
    if old is not Deposit.REVERSED:
        raise ValueError(f"a deposit in state {old} cannot be included again")
    if amount == old_amount:
        return replace(decision, state=Deposit.SEEN, reason=None)
    return replace(decision, state=Deposit.HELD, reason=Why.OTHER_AMOUNT)


# --- the second look ------------------------------------------------------------------------------


class Piece(NamedTuple):
    """One transfer as a comparison needs it."""

    name: Key
    place: str
    amount: int

    @property
    def kind(self) -> str:
        return self.place.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`differ`: known deposits whose sums disagree. `found`: pieces that only the second saw,
    of deposits that are unknown or of kinds that the first cannot see."""

    differ: frozenset[Key]
    found: tuple[Piece, ...]


def compare(
    first: Sequence[Piece],
    second: Sequence[Piece],
    first_kinds: frozenset[str],
    second_kinds: frozenset[str],
) -> Comparison:
    """Hold two readings of one block against each other.

    Over the kinds that both methods see, the sums by (asset, txid, to, memo) must agree. A
    deposit of which the first reading knew nothing is `found`; so is what stands at places of a
    kind that only the second method sees.
    """
    common = first_kinds & second_kinds
    known = {piece.name for piece in first}
    one, other = _sums(first, common), _sums(second, common)
    differ = {name for name in known if one.get(name, 0) != other.get(name, 0)}
    places = {(piece.name.txid, piece.place) for piece in first}
    found = tuple(
        piece
        for piece in second
        if (piece.name.txid, piece.place) not in places
        and piece.name not in differ
        and (piece.name not in known or piece.kind not in first_kinds)
    )
    return Comparison(frozenset(differ), found)


def _sums(pieces: Iterable[Piece], kinds: frozenset[str]) -> dict[Key, int]:
    sums: dict[Key, int] = {}
    for piece in pieces:
        if piece.kind in kinds:
            sums[piece.name] = sums.get(piece.name, 0) + piece.amount
    return sums
