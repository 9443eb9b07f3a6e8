"""The contract messages that the local chain knows, and their two forms: protobuf and JSON.

A message is a table of (field number, JSON name, kind); `to_json` and `from_json` follow it. The
JSON is a node's: addresses and bytes as hex, or with `visible` addresses in Base58Check and names
as text; what is zero or empty is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain_adapter_tron.address import PREFIX, key_of, spell
from chain_adapter_tron.protobuf import (
    Message,
    bytes_field,
    message_field,
    number_field,
)

Table = tuple[tuple[int, str, str], ...]

KEY: Table = ((1, "address", "address"), (2, "weight", "int"))
PERMISSION: Table = (
    (1, "type", "enum:Owner,Witness,Active"), (2, "id", "int"), (3, "permission_name", "text"),
    (4, "threshold", "int"), (5, "parent_id", "int"), (6, "operations", "bytes"),
    (7, "keys", "list:key"),
)  # fmt: skip
SMART_CONTRACT: Table = (
    (1, "origin_address", "address"), (2, "contract_address", "address"), (4, "bytecode", "bytes"),
    (5, "call_value", "int"), (6, "consume_user_resource_percent", "int"), (7, "name", "text"),
    (8, "origin_energy_limit", "int"),
)  # fmt: skip
VOTE: Table = ((1, "vote_address", "address"), (2, "vote_count", "int"))
_RESOURCE = "enum:BANDWIDTH,ENERGY,TRON_POWER"
PARTS: Mapping[str, Table] = {
    "key": KEY,
    "permission": PERMISSION,
    "smart": SMART_CONTRACT,
    "vote": VOTE,
}
CONTRACTS: Mapping[int, tuple[str, Table]] = {
    1: (
        "TransferContract",
        ((1, "owner_address", "address"), (2, "to_address", "address"), (3, "amount", "int")),
    ),
    2: (
        "TransferAssetContract",
        (
            (1, "asset_name", "name"), (2, "owner_address", "address"),
            (3, "to_address", "address"), (4, "amount", "int"),
        ),
    ),
    4: ("VoteWitnessContract", ((1, "owner_address", "address"), (2, "votes", "list:vote"))),
    30: (
        "CreateSmartContract",
        (
            (1, "owner_address", "address"), (2, "new_contract", "part:smart"),
            (3, "call_token_value", "int"), (4, "token_id", "int"),
        ),
    ),
    31: (
        "TriggerSmartContract",
        (
            (1, "owner_address", "address"), (2, "contract_address", "address"),
            (3, "call_value", "int"), (4, "data", "bytes"), (5, "call_token_value", "int"),
            (6, "token_id", "int"),
        ),
    ),
    46: (
        "AccountPermissionUpdateContract",
        (
            (1, "owner_address", "address"), (2, "owner", "part:permission"),
            (3, "witness", "part:permission"), (4, "actives", "list:permission"),
        ),
    ),
    54: (
        "FreezeBalanceV2Contract",
        ((1, "owner_address", "address"), (2, "frozen_balance", "int"), (3, "resource", _RESOURCE)),
    ),
    57: (
        "DelegateResourceContract",
        (
            (1, "owner_address", "address"), (2, "resource", _RESOURCE), (3, "balance", "int"),
            (4, "receiver_address", "address"), (5, "lock", "bool"), (6, "lock_period", "int"),
        ),
    ),
}  # fmt: skip
NUMBERS = {name: number for number, (name, _) in CONTRACTS.items()}
_URL = "type.googleapis.com/protocol."


class Unknown(ValueError):
    """A contract type that this chain does not know."""


def read_message(table: Table, data: bytes) -> dict[str, Any]:
    """A message as a dictionary: bytes stay bytes, enums stay numbers, every field is there."""
    told = Message(data)
    out: dict[str, Any] = {}
    for number, name, kind in table:
        first, _, rest = kind.partition(":")
        if first in ("int", "bool", "enum"):
            out[name] = told.number(number)
        elif first == "list":
            out[name] = [read_message(PARTS[rest], part) for part in told.all_of(number)]
        elif first == "part":
            parts = told.all_of(number)
            out[name] = read_message(PARTS[rest], parts[-1]) if parts else None
        else:
            out[name] = told.bytes_of(number)
    return out


def write_message(table: Table, values: Mapping[str, Any]) -> bytes:
    """The bytes of what `read_message` gave."""
    out = b""
    for number, name, kind in table:
        first, _, rest = kind.partition(":")
        value = values.get(name)
        if first in ("int", "bool", "enum"):
            out += number_field(number, value or 0)
        elif first == "list":
            for part in value or ():
                out += message_field(number, write_message(PARTS[rest], part))
        elif first == "part":
            if value is not None:
                out += message_field(number, write_message(PARTS[rest], value))
        else:
            out += bytes_field(number, value or b"")
    return out


def shown(table: Table, values: Mapping[str, Any], visible: bool) -> dict[str, Any]:
    """A message as JSON."""
    out: dict[str, Any] = {}
    for _, name, kind in table:
        first, _, rest = kind.partition(":")
        value = values.get(name)
        if not value:
            continue
        if first == "address":
            out[name] = show_address(value, visible)
        elif first == "text" or (first == "name" and visible):
            out[name] = value.decode("utf-8", "replace")
        elif first in ("bytes", "name"):
            out[name] = value.hex()
        elif first == "enum":
            out[name] = rest.split(",")[value]
        elif first == "bool":
            out[name] = True
        elif first == "part":
            out[name] = shown(PARTS[rest], value, visible)
        elif first == "list":
            out[name] = [shown(PARTS[rest], part, visible) for part in value]
        else:
            out[name] = value
    return out


def told(table: Table, values: Mapping[str, Any], visible: bool) -> dict[str, Any]:
    """JSON as `write_message` takes it. Raises `ValueError`, `InvalidAddress`."""
    out: dict[str, Any] = {}
    for _, name, kind in table:
        if name not in values:
            continue
        first, _, rest = kind.partition(":")
        value = values[name]
        if first == "address":
            out[name] = PREFIX + key_of(value)
        elif first == "text" or (first == "name" and visible):
            out[name] = str(value).encode()
        elif first in ("bytes", "name"):
            out[name] = bytes.fromhex(value)
        elif first == "enum":
            out[name] = value if isinstance(value, int) else rest.split(",").index(value)
        elif first == "part":
            out[name] = None if value is None else told(PARTS[rest], value, visible)
        elif first == "list":
            out[name] = [told(PARTS[rest], part, visible) for part in value]
        else:
            out[name] = int(value)
    return out


def show_address(address: bytes, visible: bool) -> str:
    """An address of 21 bytes as a node tells it."""
    return spell(address[1:]) if visible and len(address) == 21 else address.hex()


def raw_to_json(data: bytes, visible: bool) -> dict[str, Any]:
    """`raw_data` as a node tells it."""
    raw = Message(data)
    contracts = []
    for part in raw.all_of(11):
        contract = Message(part)
        kind = contract.number(1)
        if kind not in CONTRACTS:
            raise Unknown(f"contract type {kind}")
        name, table = CONTRACTS[kind]
        value = Message(contract.bytes_of(2)).bytes_of(2)
        entry: dict[str, Any] = {
            "parameter": {
                "value": shown(table, read_message(table, value), visible),
                "type_url": _URL + name,
            },
            "type": name,
        }
        if contract.number(5):
            entry["Permission_id"] = contract.number(5)
        contracts.append(entry)
    out: dict[str, Any] = {"contract": contracts}
    for number, name in ((1, "ref_block_bytes"), (4, "ref_block_hash"), (10, "data")):
        if raw.bytes_of(number):
            out[name] = raw.bytes_of(number).hex()
    for number, name in ((8, "expiration"), (14, "timestamp"), (18, "fee_limit")):
        if raw.number(number):
            out[name] = raw.number(number)
    return out


def json_to_raw(value: Mapping[str, Any], visible: bool) -> bytes:
    """The bytes of `raw_data` that a client tells as JSON. Raises `ValueError`."""
    out = bytes_field(1, bytes.fromhex(value.get("ref_block_bytes") or ""))
    out += bytes_field(4, bytes.fromhex(value.get("ref_block_hash") or ""))
    out += number_field(8, int(value.get("expiration") or 0))
    out += bytes_field(10, bytes.fromhex(value.get("data") or ""))
    for entry in value["contract"]:
        name = entry["type"]
        if name not in NUMBERS:
            raise Unknown(f"contract type {name}")
        number = NUMBERS[name]
        table = CONTRACTS[number][1]
        body = write_message(table, told(table, entry["parameter"]["value"], visible))
        parameter = bytes_field(1, (_URL + name).encode()) + bytes_field(2, body)
        contract = number_field(1, number) + message_field(2, parameter)
        out += message_field(11, contract + number_field(5, int(entry.get("Permission_id") or 0)))
    out += number_field(14, int(value.get("timestamp") or 0))
    return out + number_field(18, int(value.get("fee_limit") or 0))
