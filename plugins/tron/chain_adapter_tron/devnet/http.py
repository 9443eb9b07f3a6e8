"""The local chain's HTTP interface: a node's calls under /wallet and /walletsolidity.

Each call is a function of (interface, request); a table binds names to them. Faults stand before
the calls: a stored answer or status, so many times, with or without the call's effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from chain_adapter.chain import InvalidAddress
from chain_adapter_tron.address import PREFIX, keccak, key_of, sha256
from chain_adapter_tron.devnet import views
from chain_adapter_tron.devnet.engine import Ran
from chain_adapter_tron.devnet.ledger import Ledger, Made
from chain_adapter_tron.devnet.schema import NUMBERS, json_to_raw, show_address
from chain_adapter_tron.devnet.state import PARAMETERS, Account, State
from chain_adapter_tron.devnet.transaction import (
    Refused,
    Tx,
    decode_tx,
    raw_data_of,
    read_tx,
    signer_of,
)

Json = dict[str, Any]
_CALL_ENERGY = 100_000_000


@dataclass(slots=True)
class Fault:
    """`answer` (any JSON) with `status` instead of the node's own, `times` times."""

    answer: Any
    times: int = 1
    status: int = 200
    effect: bool = False  # whether the call is carried out all the same


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its parameters, whether it asks the solidified interface."""

    body: Mapping[str, Any]
    solid: bool

    @property
    def visible(self) -> bool:
        return str(self.body.get("visible", "")).lower() == "true"

    def key(self, name: str) -> bytes:
        return key_of(str(self.body[name]))

    def number(self, name: str) -> int:
        return int(self.body.get(name) or 0)

    def bytes_of(self, name: str) -> bytes:
        return bytes.fromhex(str(self.body.get(name) or "").removeprefix("0x"))


@dataclass(slots=True)
class Api:
    """The calls of one ledger. `issuer` owns the TRC-10 tokens; `abis` by contract key."""

    ledger: Ledger
    issuer: bytes
    abis: dict[bytes, Json] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    # --- blocks ---------------------------------------------------------------------------------

    def _top(self, ask: Request) -> Made:
        height = self.ledger.solid_height if ask.solid else self.ledger.head.number
        return self.ledger.blocks[height]

    def _block(self, ask: Request, block: Made | None, *, detail: bool = True) -> Json:
        return {} if block is None else views.block_json(block, ask.visible, detail=detail)

    def get_now_block(self, ask: Request) -> Json:
        return self._block(ask, self._top(ask))

    def get_block_by_num(self, ask: Request) -> Json:
        return self._block(ask, self.ledger.block(ask.number("num"), solid=ask.solid))

    def get_block_by_id(self, ask: Request) -> Json:
        return self._block(ask, self.ledger.by_id(ask.bytes_of("value")))

    def get_block(self, ask: Request) -> Json:
        named = str(ask.body.get("id_or_num") or "")
        detail = str(ask.body.get("detail", "")).lower() == "true"
        if not named:
            return self._block(ask, self._top(ask), detail=detail)
        if len(named) == 64:
            return self._block(ask, self.ledger.by_id(bytes.fromhex(named)), detail=detail)
        block = self.ledger.block(int(named), solid=ask.solid)
        return self._block(ask, block, detail=detail)

    def get_block_by_limit_next(self, ask: Request) -> Json:
        first, end = ask.number("startNum"), ask.number("endNum")
        if not 0 <= first < end or end - first > 100:
            return {}
        found = [self.ledger.block(height, solid=ask.solid) for height in range(first, end)]
        shown = [self._block(ask, block) for block in found if block is not None]
        return {"block": shown} if shown else {}

    # --- transactions ---------------------------------------------------------------------------

    def get_transaction_by_id(self, ask: Request) -> Json:
        txid = str(ask.body.get("value") or "").lower()
        found = self.ledger.find(txid, solid=ask.solid)
        if found is not None:
            return views.tx_json(found[1], found[2], ask.visible)
        pending = None if ask.solid else self.ledger.pool.get(txid)
        return {} if pending is None else views.tx_json(pending, None, ask.visible)

    def get_transaction_info_by_id(self, ask: Request) -> Json:
        found = self.ledger.find(str(ask.body.get("value") or "").lower(), solid=ask.solid)
        return {} if found is None else views.info_json(*found, ask.visible)

    def get_transaction_info_by_block_num(self, ask: Request) -> list[Json]:
        block = self.ledger.block(ask.number("num"), solid=ask.solid)
        if block is None:
            return []
        return [views.info_json(block, tx, outcome, ask.visible) for tx, outcome in block.txs]

    # --- accounts and contracts -----------------------------------------------------------------

    def _state(self, ask: Request) -> State:
        return self.ledger.state_at_solid() if ask.solid else self.ledger.state

    def _account(self, ask: Request, name: str = "address") -> Account | None:
        return self._state(ask).accounts.get(ask.key(name))

    def get_account(self, ask: Request) -> Json:
        now = self._top(ask).timestamp_ms
        return views.account_json(self._state(ask), self._account(ask), now, ask.visible)

    def get_account_resource(self, ask: Request) -> Json:
        return views.resource_json(self._account(ask), self._top(ask).timestamp_ms)

    def get_contract(self, ask: Request) -> Json:
        key = ask.key("value")
        if not self._state(ask).engine.has_code(key):
            return {}
        return {
            "origin_address": show_address(PREFIX + self.issuer, ask.visible),
            "contract_address": show_address(PREFIX + key, ask.visible),
            "abi": self.abis.get(key, {}),
            "consume_user_resource_percent": 100,
            "name": "contract",
        }

    def get_asset_issue_by_id(self, ask: Request) -> Json:
        number = str(ask.body.get("value") or "")
        return views.issue_json(number, self.issuer, ask.visible)

    def get_chain_parameters(self, ask: Request) -> Json:
        return views.parameters_json()

    def get_node_info(self, ask: Request) -> Json:
        solid = self.ledger.blocks[self.ledger.solid_height]
        return views.node_info_json(self.ledger.head, solid)

    # --- calls that change nothing --------------------------------------------------------------

    def _call(self, ask: Request) -> tuple[Ran | None, Json]:
        contract = ask.key("contract_address")
        owner = ask.key("owner_address")
        engine = self._state(ask).engine
        if not engine.has_code(contract):
            text = b"Contract validate error : Smart contract is not exist."
            return None, {"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": text.hex()}}
        ran = engine.dry_run(
            owner, contract, _calldata(ask), ask.number("call_value"), _CALL_ENERGY
        )
        out: Json = {"result": {"result": True}}
        if not ran.ok:
            text = b"REVERT opcode executed" if ran.result == "REVERT" else ran.result.encode()
            out["result"]["message"] = text.hex()
        return ran, out

    def trigger_constant_contract(self, ask: Request) -> Json:
        ran, out = self._call(ask)
        if ran is None:
            return out
        out["energy_used"] = ran.energy
        out["constant_result"] = [ran.output.hex()]
        if ran.events:
            out["logs"] = [views.event_json(event) for event in ran.events]
        out["transaction"] = {
            **self._unsigned("TriggerSmartContract", ask, ask.number("fee_limit")),
            "ret": [{} if ran.ok else {"ret": "FAILED"}],
        }
        return out

    def estimate_energy(self, ask: Request) -> Json:
        ran, out = self._call(ask)
        if ran is not None and ran.ok:
            out["energy_required"] = ran.energy
        return out

    # --- making and sending ---------------------------------------------------------------------

    def _unsigned(self, name: str, ask: Request, fee_limit: int = 0) -> Json:
        """An unsigned transaction of the fields in the request."""
        kind = NUMBERS[name]
        fields: Json = {"owner_address": PREFIX + ask.key("owner_address")}
        for field_, value in (("amount", 0), ("call_value", 0)):
            fields[field_] = ask.number(field_) or value
        if ask.body.get("to_address"):
            fields["to_address"] = PREFIX + ask.key("to_address")
        if ask.body.get("contract_address"):
            fields["contract_address"] = PREFIX + ask.key("contract_address")
            fields["data"] = _calldata(ask)
        if ask.body.get("asset_name"):
            told = str(ask.body["asset_name"])
            fields["asset_name"] = told.encode() if ask.visible else bytes.fromhex(told)
        now = self.ledger.head.timestamp_ms
        memo = str(ask.body.get("extra_data") or "")
        raw = raw_data_of(
            kind, fields, self.ledger.head.id, now + 60_000, now,
            data=memo.encode() if ask.visible else bytes.fromhex(memo), fee_limit=fee_limit,
            permission_id=ask.number("Permission_id"),
        )  # fmt: skip
        return {"visible": ask.visible, **views.tx_json(read_tx(raw, ()), None, ask.visible)}

    def create_transaction(self, ask: Request) -> Json:
        return self._checked("TransferContract", ask)

    def transfer_asset(self, ask: Request) -> Json:
        return self._checked("TransferAssetContract", ask)

    def _checked(self, name: str, ask: Request) -> Json:
        made = self._unsigned(name, ask)
        try:
            self.ledger.state.check(read_tx(bytes.fromhex(made["raw_data_hex"]), ()))
        except Refused as error:
            return {"Error": f"class org.tron.core.exception.ContractValidateException : {error}"}
        return made

    def trigger_smart_contract(self, ask: Request) -> Json:
        made = self._unsigned("TriggerSmartContract", ask, ask.number("fee_limit"))
        return {"result": {"result": True}, "transaction": made}

    def _received(self, body: Mapping[str, Any]) -> Tx:
        """A transaction as a client tells it; its JSON counts, as a node reads it."""
        visible = str(body.get("visible", "")).lower() == "true"
        try:
            if body.get("raw_data_hex") and "raw_data" not in body:
                raw = bytes.fromhex(body["raw_data_hex"])
            else:
                raw = json_to_raw(body["raw_data"], visible)
            signatures = [bytes.fromhex(one) for one in body.get("signature") or ()]
        except (KeyError, TypeError, ValueError, InvalidAddress) as error:
            raise Refused("OTHER_ERROR", f"no transaction: {type(error).__name__}") from None
        tx = read_tx(raw, signatures)
        if body.get("txID") and str(body["txID"]).lower() != tx.txid:
            raise Refused("OTHER_ERROR", "txID is not that of raw_data")
        return tx

    def broadcast_transaction(self, ask: Request) -> Json:
        try:
            tx = self._received(ask.body)
            self.ledger.submit(tx)
        except Refused as error:
            txid = str(ask.body.get("txID") or "")
            return {"code": error.code, "txid": txid, "message": str(error).encode().hex()}
        return {"result": True, "txid": tx.txid}

    def broadcast_hex(self, ask: Request) -> Json:
        shown = ""
        try:
            tx = decode_tx(ask.bytes_of("transaction"))
            shown = views.dumps(views.tx_json(tx, None, ask.visible))
            self.ledger.submit(tx)
        except Refused as error:
            return {"result": False, "code": error.code, "txid": "", "message": str(error),
                    "transaction": shown}  # fmt: skip
        return {"result": True, "code": "SUCCESS", "txid": tx.txid, "message": "",
                "transaction": shown}  # fmt: skip

    def get_sign_weight(self, ask: Request) -> Json:
        try:
            tx = self._received(ask.body)
        except Refused as error:
            return {"result": {"code": "OTHER_ERROR", "message": str(error)}}
        shown = views.tx_json(tx, None, ask.visible)
        out: Json = {
            "result": {},
            "transaction": {"result": {"result": True}, "txid": tx.txid, "transaction": shown},
        }
        account = self.ledger.state.accounts.get(tx.owner)
        if account is None:
            out["result"] = {"code": "PERMISSION_ERROR", "message": "Account is not exist!"}
            return out
        found = [one for one in account.permissions() if one.id == tx.permission_id]
        if not found:
            out["result"] = {"code": "PERMISSION_ERROR", "message": "Permission id is null"}
            return out
        out["permission"] = views.permission_json(found[0], ask.visible)
        signed = [signer_of(sha256(tx.raw_data), one) for one in tx.signatures]
        out["approved_list"] = [show_address(PREFIX + key, ask.visible) for key in signed]
        out["current_weight"] = sum(found[0].keys.get(key, 0) for key in set(signed))
        enough = out["current_weight"] >= found[0].threshold
        out["result"] = {} if enough else {"code": "NOT_ENOUGH_PERMISSION"}
        return out


_BOTH: Mapping[str, Callable[[Api, Request], Any]] = {
    "getnowblock": Api.get_now_block,
    "getblock": Api.get_block,
    "getblockbynum": Api.get_block_by_num,
    "getblockbyid": Api.get_block_by_id,
    "getblockbylimitnext": Api.get_block_by_limit_next,
    "gettransactionbyid": Api.get_transaction_by_id,
    "gettransactioninfobyid": Api.get_transaction_info_by_id,
    "gettransactioninfobyblocknum": Api.get_transaction_info_by_block_num,
    "getaccount": Api.get_account,
    "getassetissuebyid": Api.get_asset_issue_by_id,
    "triggerconstantcontract": Api.trigger_constant_contract,
    "estimateenergy": Api.estimate_energy,
}
_FULL: Mapping[str, Callable[[Api, Request], Any]] = {
    "getaccountresource": Api.get_account_resource,
    "getcontract": Api.get_contract,
    "getchainparameters": Api.get_chain_parameters,
    "getnodeinfo": Api.get_node_info,
    "createtransaction": Api.create_transaction,
    "transferasset": Api.transfer_asset,
    "triggersmartcontract": Api.trigger_smart_contract,
    "broadcasttransaction": Api.broadcast_transaction,
    "broadcasthex": Api.broadcast_hex,
    "getsignweight": Api.get_sign_weight,
}
CALLS: Mapping[str, Mapping[str, Callable[[Api, Request], Any]]] = {
    "wallet": {**_BOTH, **_FULL},
    "walletsolidity": _BOTH,
}


def _calldata(ask: Request) -> bytes:
    """`function_selector` and `parameter`, or `data` alone."""
    selector = str(ask.body.get("function_selector") or "")
    if not selector:
        return ask.bytes_of("data")
    return keccak(selector.encode())[:4] + ask.bytes_of("parameter")


async def handle(api: Api, request: web.Request) -> web.Response:
    """One request of any client."""
    interface, name = request.match_info["interface"], request.match_info["name"]
    call = CALLS.get(interface, {}).get(name)
    if call is None:
        return web.Response(status=404, text="404 Not Found")
    body: Json = dict(request.query)
    text = await request.text()
    if text.strip():
        try:
            told = json.loads(text)
        except ValueError:
            return _json({"Error": "class com.alibaba.fastjson.JSONException : no JSON"})
        body.update(told if isinstance(told, dict) else {})
    fault = _next_fault(api, f"{interface}/{name}")
    if fault is not None and not fault.effect:
        return _json(fault.answer, fault.status)
    try:
        answer = call(api, Request(body, interface == "walletsolidity"))
    except InvalidAddress as error:
        answer = {"Error": f"class java.lang.IllegalArgumentException : {error}"}
    except (KeyError, TypeError, ValueError, Refused) as error:
        answer = {"Error": f"class java.lang.{type(error).__name__} : {error}"}
    if fault is not None:
        return _json(fault.answer, fault.status)
    return _json(answer)


def _next_fault(api: Api, path: str) -> Fault | None:
    queue = api.faults.get(path)
    if not queue:
        return None
    queue[0].times -= 1
    return queue[0] if queue[0].times > 0 else queue.pop(0)


def _json(value: Any, status: int = 200) -> web.Response:
    if isinstance(value, str):
        return web.Response(text=value, status=status)
    return web.Response(text=views.dumps(value), status=status, content_type="application/json")


__all__ = ["CALLS", "PARAMETERS", "Api", "Fault", "handle"]
