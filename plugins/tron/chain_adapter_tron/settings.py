"""The keys of ``[chains.NAME.node]`` that this plugin understands.

One frozen record: every key has a type, a default where one is safe, and its meaning beside it
(`field.metadata["doc"]`). Only `endpoints` must be given. Nothing here does I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_BLOCK_ID = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
DAY_S = 86_400


def _doc(text: str) -> dict[str, str]:
    return {"doc": text}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one TRON network. Amounts are sun (a millionth of a TRX), times seconds.
    `ValueError` for a wrong value."""

    endpoints: tuple[str, ...] = field(
        default=(),
        metadata=_doc("addresses of the HTTP interface, http or https; all of one network"),
    )
    solidity_port: int | None = field(
        default=None,
        metadata=_doc(
            "port of the solidified interface (/walletsolidity) where it is another one, 8091 on a "
            "node of one's own; default: the endpoint's"
        ),
    )
    genesis: str | None = field(
        default=None, metadata=_doc("id of block 0; an endpoint with another one is refused")
    )
    memo: bool = field(
        default=False,
        metadata=_doc("one deposit address, the memo names the owner; set by `memo` of the chain"),
    )
    api_key_file: str | None = field(
        default=None, metadata=_doc("file with a key that is sent as TRON-PRO-API-KEY")
    )
    coin_type: int = field(default=195, metadata=_doc("SLIP-44 number in the derivation path"))
    block_time_s: float = field(default=3.0, metadata=_doc("usual distance of two blocks"))
    default_confirmations: int = field(
        default=20,
        metadata=_doc("depth of a final block where the operator says none; it must be solidified"),
    )
    reorg_limit: int = field(
        default=64, metadata=_doc("deepest reorganisation that is followed without a person")
    )
    internal: bool = field(
        default=True,
        metadata=_doc(
            "TRX and TRC-10 moved by contracts; the node must keep them (vm.saveInternalTx), which "
            "it does not tell: false where it does not"
        ),
    )
    mints: bool = field(
        default=False, metadata=_doc("whether a Transfer log from the zero address is credited")
    )
    roots: Literal["auto", "off", "required"] = field(
        default="auto",
        metadata=_doc(
            "blocks held against their ids: header hash, and the root of all transactions with "
            "their results; auto: on the public networks"
        ),
    )
    batch: int = field(default=10, metadata=_doc("blocks asked in one request, at most 100"))
    window: int = field(default=4, metadata=_doc("most batches in flight"))
    requests: int = field(default=16, metadata=_doc("most requests in flight"))
    timeout_s: float = field(default=30.0, metadata=_doc("longest wait for one request"))
    answer_limit_mib: int = field(default=256, metadata=_doc("largest answer that is read"))
    brief_heads: bool = field(
        default=False,
        metadata=_doc(
            "ask for the newest block without its transactions (getblock, of newer nodes): spares "
            "most of the traffic while nothing happens, worth it on a hosted node"
        ),
    )
    head_poll_s: float = field(
        default=1.0, metadata=_doc("pause between two questions for the newest block")
    )
    expiration_s: int = field(
        default=600,
        metadata=_doc(
            "how long a transaction stays valid after the newest block, at most a day; it must "
            "outlive the claim, and a payment that was not sent can be made anew only after it"
        ),
    )
    energy_margin_percent: int = field(
        default=20, metadata=_doc("energy added to an estimate: contracts grow dearer with use")
    )
    energy_fee_cap: int = field(
        default=150_000_000,
        metadata=_doc("most sun that one transaction may set as its fee limit for energy"),
    )
    bandwidth_price: int = field(
        default=1_000, metadata=_doc("most sun that the chain may ask for a byte of bandwidth")
    )
    memo_fee: int = field(
        default=1_000_000, metadata=_doc("most sun that the chain may ask for a memo")
    )
    activation_fee: int = field(
        default=1_100_000, metadata=_doc("most sun that the chain may ask for a new account")
    )
    headroom_percent: int = field(
        default=25, metadata=_doc("added to a fee that is missing, so that one top-up is enough")
    )

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            if not endpoint.startswith(("http://", "https://")):
                raise ValueError("endpoints: an endpoint starts with http:// or https://")
        if self.genesis is not None and not _BLOCK_ID.fullmatch(self.genesis):
            raise ValueError("genesis: not a block id (64 hex digits)")
        if self.roots not in ("auto", "off", "required"):
            raise ValueError("roots: one of auto, off, required")
        bounds = {
            "coin_type": (0, None),
            "default_confirmations": (1, None),
            "reorg_limit": (1, None),
            "batch": (1, 100),
            "window": (1, None),
            "requests": (1, None),
            "answer_limit_mib": (1, None),
            "expiration_s": (5, DAY_S),
            "energy_margin_percent": (0, None),
            "energy_fee_cap": (0, None),
            "bandwidth_price": (0, None),
            "memo_fee": (0, None),
            "activation_fee": (0, None),
            "headroom_percent": (0, None),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name}: at least {least}")
            if most is not None and value > most:
                raise ValueError(f"{name}: at most {most}")
        if self.solidity_port is not None and not 0 < self.solidity_port < 65_536:
            raise ValueError("solidity_port: a port is 1 to 65535")
        if self.timeout_s <= 0 or self.head_poll_s <= 0 or self.block_time_s <= 0:
            raise ValueError("timeout_s, head_poll_s and block_time_s: above 0")
