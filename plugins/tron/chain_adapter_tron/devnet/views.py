"""What the local chain tells, in a node's JSON: blocks, transactions, results, accounts.

What is zero, false or empty is left out, as a node does: an empty block has no `transactions`.
"""

from __future__ import annotations

import json
from typing import Any

from chain_adapter_tron.address import PREFIX
from chain_adapter_tron.devnet.engine import Event, Inner
from chain_adapter_tron.devnet.ledger import ISSUED, Made
from chain_adapter_tron.devnet.schema import raw_to_json, show_address
from chain_adapter_tron.devnet.state import (
    BANDWIDTH_PER_TRX,
    ENERGY_PER_TRX,
    PARAMETERS,
    Account,
    Outcome,
    Permission,
    State,
)
from chain_adapter_tron.devnet.transaction import Tx

Json = dict[str, Any]
_FUNCTIONS = (
    ("name", (), "string", "View"), ("symbol", (), "string", "View"),
    ("decimals", (), "uint8", "View"), ("totalSupply", (), "uint256", "View"),
    ("balanceOf", ("address",), "uint256", "View"),
    ("allowance", ("address", "address"), "uint256", "View"),
    ("transfer", ("address", "uint256"), "bool", "Nonpayable"),
    ("transferFrom", ("address", "address", "uint256"), "bool", "Nonpayable"),
    ("approve", ("address", "uint256"), "bool", "Nonpayable"),
)  # fmt: skip
TOKEN_ABI = {
    "entrys": [
        {
            "name": name,
            "inputs": [{"name": f"arg{at}", "type": kind} for at, kind in enumerate(inputs)],
            "outputs": [{"type": output}],
            "type": "Function",
            "stateMutability": mutability,
        }
        for name, inputs, output, mutability in _FUNCTIONS
    ]
}


def _present(values: Json) -> Json:
    return {name: value for name, value in values.items() if value not in (0, "", None, [], {})}


def block_json(block: Made, visible: bool, *, detail: bool = True) -> Json:
    """A block."""
    raw: Json = {
        "number": block.number,
        "txTrieRoot": block.tx_root.hex(),
        "witness_address": show_address(block.witness, visible),
        "parentHash": block.parent.hex(),
        "version": 31,
        "timestamp": block.timestamp_ms,
    }
    out: Json = {
        "blockID": block.id.hex(),
        "block_header": {
            "raw_data": _present(raw),
            "witness_signature": block.witness_signature.hex(),
        },
    }
    if detail and block.txs:
        out["transactions"] = [tx_json(tx, outcome, visible) for tx, outcome in block.txs]
    return out


def tx_json(tx: Tx, outcome: Outcome | None, visible: bool) -> Json:
    """A transaction, with its result when it is in a block."""
    out: Json = {"visible": True} if visible else {}
    if outcome is not None:
        out["ret"] = [{"contractRet": outcome.result}]
    if tx.signatures:
        out["signature"] = [signature.hex() for signature in tx.signatures]
    out["txID"] = tx.txid
    out["raw_data"] = raw_to_json(tx.raw_data, visible)
    out["raw_data_hex"] = tx.raw_data.hex()
    if tx.kind == 30 and outcome is not None:
        out["contract_address"] = show_address(PREFIX + outcome.contract, visible)
    return out


def info_json(block: Made, tx: Tx, outcome: Outcome, visible: bool) -> Json:
    """The result of a transaction."""
    receipt = _present(
        {
            "energy_usage": outcome.energy_usage,
            "energy_fee": outcome.energy_fee,
            "energy_usage_total": outcome.energy_total,
            "net_usage": outcome.net_usage,
            "net_fee": outcome.net_fee,
            "result": outcome.result if outcome.runs_code else "",
        }
    )
    out = _present(
        {
            "id": tx.txid,
            "fee": outcome.fee,
            "blockNumber": block.number,
            "blockTimeStamp": block.timestamp_ms,
        }
    )
    out["contractResult"] = [outcome.output.hex()]
    if outcome.contract:
        out["contract_address"] = show_address(PREFIX + outcome.contract, visible)
    out["receipt"] = receipt
    if outcome.result != "SUCCESS":
        out["result"] = "FAILED"
        text = {"REVERT": "REVERT opcode executed", "OUT_OF_ENERGY": "Not enough energy"}
        out["resMessage"] = text.get(outcome.result, outcome.result).encode().hex()
    if outcome.events:
        out["log"] = [event_json(event) for event in outcome.events]
    if outcome.inner:
        out["internal_transactions"] = [
            inner_json(tx.txid, at, inner, visible) for at, inner in enumerate(outcome.inner)
        ]
    return out


def event_json(event: Event) -> Json:
    """A log: the address without 41, the topics without 0x."""
    return _present(
        {
            "address": event.address.hex(),
            "topics": [topic.hex() for topic in event.topics],
            "data": event.data.hex(),
        }
    )


def inner_json(txid: str, at: int, inner: Inner, visible: bool) -> Json:
    """An internal transaction."""
    out: Json = {
        "hash": f"{txid[:56]}{at:08x}",
        "caller_address": show_address(PREFIX + inner.caller, visible),
        "transferTo_address": show_address(PREFIX + inner.to, visible),
        "callValueInfo": [_present({"callValue": inner.value})],
        "note": b"call".hex(),
    }
    return {**out, "rejected": True} if inner.rejected else out


def account_json(state: State, account: Account | None, now_ms: int, visible: bool) -> Json:
    """An account; nothing where there is none."""
    if account is None:
        return {}
    out = _present(
        {
            "address": show_address(PREFIX + account.key, visible),
            "balance": state.balance(account.key),
            "create_time": account.created_ms,
            "free_net_usage": account.free_net.left(now_ms),
            "type": "Contract" if account.is_contract else "",
        }
    )
    assets = [{"key": key, "value": amount} for key, amount in account.assets.items() if amount]
    if assets:
        out["assetV2"] = assets
    out["frozenV2"] = [
        _present({"amount": account.frozen.get(0, 0)}),
        _present({"type": "ENERGY", "amount": account.frozen.get(1, 0)}),
        {"type": "TRON_POWER"},
    ]
    owner, *actives = account.permissions()
    out["owner_permission"] = permission_json(owner, visible)
    out["active_permission"] = [
        {"type": "Active", "id": one.id, **permission_json(one, visible)} for one in actives
    ]
    return out


def permission_json(permission: Permission, visible: bool) -> Json:
    """A permission."""
    keys = [
        {"address": show_address(PREFIX + key, visible), "weight": weight}
        for key, weight in permission.keys.items()
    ]
    return _present(
        {
            "permission_name": permission.name,
            "threshold": permission.threshold,
            "operations": permission.operations.hex(),
            "keys": keys,
        }
    )


def resource_json(account: Account | None, now_ms: int) -> Json:
    """Bandwidth and energy of an account."""
    if account is None:
        return {}
    return {
        **_present(
            {
                "freeNetUsed": account.free_net.left(now_ms),
                "freeNetLimit": PARAMETERS["getFreeNetLimit"],
                "NetUsed": account.net.left(now_ms),
                "NetLimit": account.net_limit(),
                "EnergyUsed": account.energy.left(now_ms),
                "EnergyLimit": account.energy_limit(),
            }
        ),
        "TotalNetLimit": 43_200_000_000,
        "TotalNetWeight": 43_200_000_000 // BANDWIDTH_PER_TRX,
        "TotalEnergyLimit": PARAMETERS["getTotalEnergyCurrentLimit"],
        "TotalEnergyWeight": PARAMETERS["getTotalEnergyCurrentLimit"] // ENERGY_PER_TRX,
    }


def issue_json(number: str, owner: bytes, visible: bool) -> Json:
    """A TRC-10 token as issued; nothing for an id that is not."""
    if number not in ISSUED:
        return {}
    name, decimals = ISSUED[number]
    return {
        "owner_address": show_address(PREFIX + owner, visible),
        "name": name if visible else name.encode().hex(),
        "abbr": name if visible else name.encode().hex(),
        "total_supply": 10**18,
        "precision": decimals,
        "id": number,
    }


def parameters_json() -> Json:
    """The chain's parameters; a value of zero is left out."""
    rows = [_present({"key": key, "value": value}) for key, value in PARAMETERS.items()]
    return {"chainParameter": rows}


def node_info_json(head: Made, solid: Made) -> Json:
    """What `getnodeinfo` tells, as far as clients read it."""
    return {
        "block": f"Num:{head.number},ID:{head.id.hex()}",
        "solidityBlock": f"Num:{solid.number},ID:{solid.id.hex()}",
        "beginSyncNum": 0,
        "configNodeInfo": {"codeVersion": "4.8.0", "supportConstant": True},
    }


def dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
