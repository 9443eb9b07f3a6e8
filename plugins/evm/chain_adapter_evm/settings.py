"""The keys of ``[chains.NAME.node]`` that this plugin understands.

One frozen record: every key has a type, a default where one is safe, and its meaning beside it
(`field.metadata["doc"]`). Only `endpoints` must be given. Nothing here does I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def _doc(text: str) -> dict[str, str]:
    return {"doc": text}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one EVM chain. Amounts are wei, times seconds. `ValueError` for a wrong value."""

    endpoints: tuple[str, ...] = field(
        default=(), metadata=_doc("JSON-RPC addresses, http or https; all of one network")
    )
    chain_id: int | None = field(
        default=None, metadata=_doc("EIP-155 chain id; an endpoint of another one is refused")
    )
    genesis: str | None = field(
        default=None, metadata=_doc("hash of block 0; an endpoint with another one is refused")
    )
    coin_type: int = field(default=60, metadata=_doc("SLIP-44 number in the derivation path"))
    block_time_s: float = field(default=12.0, metadata=_doc("usual distance of two blocks"))
    default_confirmations: int = field(
        default=32, metadata=_doc("depth of a final block where neither operator nor chain says")
    )
    reorg_limit: int = field(
        default=64, metadata=_doc("deepest reorganisation that is followed without a person")
    )
    finality: Literal["auto", "tag", "depth"] = field(
        default="auto",
        metadata=_doc(
            "tag: the node's `finalized` block is told and must be there; depth: it is not "
            "asked; auto: told if the node answered it at the first question"
        ),
    )
    traces: Literal["auto", "off", "required"] = field(
        default="auto",
        metadata=_doc(
            "value moved by contracts, by trace_block or callTracer; auto: where the node has "
            "either; required: a block without is not read; off: not read"
        ),
    )
    native_contract: str | None = field(
        default=None,
        metadata=_doc(
            "contract whose Transfer logs move the main coin itself (CELO and the like); such a "
            "movement is counted once, however often the chain shows it"
        ),
    )
    mints: bool = field(
        default=False, metadata=_doc("whether a Transfer log from the zero address is credited")
    )
    value_types: tuple[int, ...] = field(
        default=(0, 1, 2, 3, 4),
        metadata=_doc(
            "transaction types whose value field is credited; any other type is passed, its "
            "logs and calls are read"
        ),
    )
    blooms: bool = field(
        default=True, metadata=_doc("false on chains whose header bloom is not made from the logs")
    )
    verify_depth: int = field(
        default=256, metadata=_doc("blocks below the head whose logs are held against the bloom")
    )
    batch: int = field(default=16, metadata=_doc("blocks asked in one request"))
    window: int = field(default=32, metadata=_doc("most batches in flight"))
    timeout_s: float = field(default=30.0, metadata=_doc("longest wait for one request"))
    answer_limit_mib: int = field(default=256, metadata=_doc("largest answer that is read"))
    head_poll_s: float = field(
        default=0.25, metadata=_doc("pause between two questions for the newest block")
    )
    fees: Literal["auto", "eip1559", "legacy"] = field(
        default="auto", metadata=_doc("auto: EIP-1559 where the newest block has a base fee")
    )
    priority_fee: int | None = field(
        default=None, metadata=_doc("tip, wei a gas; default: what the node suggests")
    )
    base_fee_multiple: int = field(
        default=2, metadata=_doc("the cap is this many base fees and the tip")
    )
    gas_margin_percent: int = field(
        default=20, metadata=_doc("gas added to an estimate above that of a plain payment")
    )
    gas_cap: int = field(default=1_000_000, metadata=_doc("most gas one transaction may ask for"))
    l1_fee_bound: int = field(
        default=0,
        metadata=_doc("rollups: most wei that the chain may take beside gas for one transaction"),
    )
    headroom_percent: int = field(
        default=25, metadata=_doc("added to a fee that is missing, so that one top-up is enough")
    )

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            if not endpoint.startswith(("http://", "https://")):
                raise ValueError("endpoints: an endpoint starts with http:// or https://")
        if self.genesis is not None and not _HASH.fullmatch(self.genesis):
            raise ValueError("genesis: not a block hash (0x and 64 hex digits)")
        if self.native_contract is not None and not _ADDRESS.fullmatch(self.native_contract):
            raise ValueError("native_contract: not an address (0x and 40 hex digits)")
        choices = {
            "finality": ("auto", "tag", "depth"),
            "traces": ("auto", "off", "required"),
            "fees": ("auto", "eip1559", "legacy"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: one of {', '.join(allowed)}")
        least = {
            "coin_type": 0,
            "default_confirmations": 1,
            "reorg_limit": 1,
            "verify_depth": 0,
            "batch": 1,
            "window": 1,
            "answer_limit_mib": 1,
            "base_fee_multiple": 1,
            "gas_margin_percent": 0,
            "gas_cap": 21_000,
            "l1_fee_bound": 0,
            "headroom_percent": 0,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name}: at least {bound}")
        if self.chain_id is not None and self.chain_id < 1:
            raise ValueError("chain_id: at least 1")
        if self.priority_fee is not None and self.priority_fee < 0:
            raise ValueError("priority_fee: at least 0")
        if self.timeout_s <= 0 or self.head_poll_s <= 0 or self.block_time_s <= 0:
            raise ValueError("timeout_s, head_poll_s and block_time_s: above 0")
