"""What may be asked of a signer: an effect with its intent and its reason, never a bare digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chain_adapter.chain import Chain, Intent
from chain_adapter.keys.journal import PayoutKey, Purpose
from chain_adapter.platform_api.answers import Warrant

WITHDRAWAL: Final = "withdrawal"
SWEEP: Final = "sweep"
TOP_UP: Final = "top-up"
COLD: Final = "cold"
KINDS: Final = frozenset({WITHDRAWAL, SWEEP, TOP_UP, COLD})


@dataclass(frozen=True, slots=True, order=True)
class KeyPath:
    """Names a key of ours on a chain: m/44'/coin_type'/account'/0/index."""

    account: int
    index: int


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One transaction to sign, with everything that the signer holds it against.

    `account`, `index` name the sender's key, `also` further keys of ours that sign inputs of the
    same transaction (coin chains). `destination` tells which address of ours a sweep or top-up
    goes to; the signer derives it by itself. `build_height` is the newest final height when the
    payload was built. `approvals` are operators' signatures, where the policy asks for them.
    """

    chain: str
    payout: PayoutKey
    purpose: Purpose
    account: int
    index: int
    intent: Intent
    payload: bytes = field(repr=False)
    build_height: int
    warrant: Warrant | None = None
    destination: KeyPath | None = None
    also: tuple[KeyPath, ...] = ()
    approvals: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SignerAsset:
    """An asset as the signer knows it, from its own configuration, not from the request."""

    name: str
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class SignerChain:
    """A chain as the signer knows it. `chain` is opened without an endpoint: pure methods only.

    `cold` maps an asset's name to the one address that cold transfers may go to. `fee_cap` is the
    most that one transaction may cost, base units of the fee asset. `identity` is the network the
    operator configured, or empty: then the first one told is pinned.
    """

    chain: Chain = field(repr=False)
    assets: Mapping[str, SignerAsset]
    cold: Mapping[str, str] = field(default_factory=dict)
    fee_cap: int | None = None
    identity: str = ""
