"""The platform's callbacks to its merchants: both dialects, and what a merchant mounts.

`WaasV2` and `UuWallet` open, verify and answer without I/O; `WaasCallbacks` and `UuWalletCallbacks`
are their aiohttp handlers; `HandOff` hands every event on once; `Sync` fetches what was missed.
docs/merchants.md shows them at work.
"""

from chain_adapter.callbacks.blocks import load_private_key, load_public_key
from chain_adapter.callbacks.client import MerchantCallRefused, MerchantClient
from chain_adapter.callbacks.events import (
    AddressReplaced,
    Approved,
    CallbackRefused,
    ConfirmRequest,
    Decision,
    Deposited,
    DepositUpdate,
    Event,
    MinerFee,
    Notice,
    NotNow,
    Refused,
    Transferred,
    WithdrawalFailed,
    WithdrawalUpdate,
    Withdrawn,
)
from chain_adapter.callbacks.handler import UuWalletCallbacks, WaasCallbacks
from chain_adapter.callbacks.handoff import HandOff, Verdict
from chain_adapter.callbacks.sqlite_store import SqliteStore
from chain_adapter.callbacks.stock import AddressStock
from chain_adapter.callbacks.sync import Sync, Synced
from chain_adapter.callbacks.uuwallet import UuWallet, UuWalletPlatform
from chain_adapter.callbacks.verify import ChainVerifier, OnChain, RecordVerifier
from chain_adapter.callbacks.waas import WaasV2

__all__ = [
    "AddressReplaced",
    "AddressStock",
    "Approved",
    "CallbackRefused",
    "ChainVerifier",
    "ConfirmRequest",
    "Decision",
    "DepositUpdate",
    "Deposited",
    "Event",
    "HandOff",
    "MerchantCallRefused",
    "MerchantClient",
    "MinerFee",
    "NotNow",
    "Notice",
    "OnChain",
    "RecordVerifier",
    "Refused",
    "SqliteStore",
    "Sync",
    "Synced",
    "Transferred",
    "UuWallet",
    "UuWalletCallbacks",
    "UuWalletPlatform",
    "Verdict",
    "WaasCallbacks",
    "WaasV2",
    "WithdrawalFailed",
    "WithdrawalUpdate",
    "Withdrawn",
    "load_private_key",
    "load_public_key",
]
