"""Accounts and what transactions do to them, by the chain's own rules for what may fail.

`execute` carries out one transaction in a block or raises `Refused` and changes nothing. It charges
bandwidth, then the memo and further signatures, then does what the contract says, then charges
energy. Two states that execute the same transactions are equal: forks are made by doing it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chain_adapter_tron.address import keccak, sha256
from chain_adapter_tron.devnet.engine import Engine, Event, Inner, Ran
from chain_adapter_tron.devnet.transaction import Refused, Tx, signer_of

DAY_MS = 86_400_000
TRX = 1_000_000
ENERGY_PER_TRX = 100
BANDWIDTH_PER_TRX = 10
DEFAULT_OPERATIONS = bytes.fromhex("7fff1fc0033e03") + bytes(25)
PARAMETERS: dict[str, int] = {
    "getMaintenanceTimeInterval": 21_600_000,
    "getAccountUpgradeCost": 9_999_000_000,
    "getCreateAccountFee": 100_000,
    "getTransactionFee": 1_000,
    "getAssetIssueFee": 1_024_000_000,
    "getCreateNewAccountFeeInSystemContract": 1_000_000,
    "getEnergyFee": 100,
    "getMaxCpuTimeOfOneTx": 80,
    "getTotalEnergyCurrentLimit": 180_000_000_000,
    "getAllowMultiSign": 1,
    "getUpdateAccountPermissionFee": 100_000_000,
    "getMultiSignFee": 1_000_000,
    "getForbidTransferToContract": 1,
    "getMaxFeeLimit": 15_000_000_000,
    "getFreeNetLimit": 600,
    "getMemoFee": 1_000_000,
}


@dataclass(slots=True)
class Usage:
    """A use that is forgotten evenly over a day."""

    amount: int = 0
    at_ms: int = 0

    def left(self, now_ms: int) -> int:
        gone = min(max(now_ms - self.at_ms, 0), DAY_MS)
        return self.amount * (DAY_MS - gone) // DAY_MS

    def add(self, amount: int, now_ms: int) -> None:
        self.amount, self.at_ms = self.left(now_ms) + amount, now_ms


@dataclass(slots=True)
class Permission:
    """Who may sign: keys with weights, and for an active one the operations."""

    id: int
    name: str
    threshold: int
    keys: dict[bytes, int]
    operations: bytes = b""

    def allows(self, kind: int) -> bool:
        if not self.operations:
            return True
        return bool(self.operations[kind // 8] & 1 << kind % 8)


@dataclass(slots=True)
class Account:
    """Everything but the balance, which the engine holds."""

    key: bytes
    created_ms: int
    is_contract: bool = False
    assets: dict[str, int] = field(default_factory=dict)
    owner: Permission | None = None
    actives: list[Permission] | None = None
    frozen: dict[int, int] = field(default_factory=dict)  # by resource: 0 bandwidth, 1 energy
    free_net: Usage = field(default_factory=Usage)
    net: Usage = field(default_factory=Usage)
    energy: Usage = field(default_factory=Usage)

    def permissions(self) -> list[Permission]:
        """The owner's, then the active ones."""
        plain = {self.key: 1}
        owner = self.owner or Permission(0, "owner", 1, plain)
        actives = self.actives
        if actives is None:
            actives = [Permission(2, "active", 1, plain, DEFAULT_OPERATIONS)]
        return [owner, *actives]

    def net_limit(self) -> int:
        return self.frozen.get(0, 0) * BANDWIDTH_PER_TRX // TRX

    def energy_limit(self) -> int:
        return self.frozen.get(1, 0) * ENERGY_PER_TRX // TRX


@dataclass(slots=True)
class Outcome:
    """What became of a transaction. Amounts in sun."""

    result: str = "SUCCESS"
    runs_code: bool = False
    fee: int = 0
    net_usage: int = 0
    net_fee: int = 0
    energy_usage: int = 0
    energy_fee: int = 0
    energy_total: int = 0
    output: bytes = b""
    contract: bytes = b""
    events: tuple[Event, ...] = ()
    inner: tuple[Inner, ...] = ()


class State:
    """The chain's state after some block."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.accounts: dict[bytes, Account] = {}

    def give(self, key: bytes, balance: int, assets: dict[str, int], now_ms: int) -> None:
        """Genesis: an account that has something."""
        self.accounts[key] = Account(key, now_ms, assets=dict(assets))
        self.engine.set_balance(key, balance)

    def balance(self, key: bytes) -> int:
        return self.engine.balance(key)

    # --- may it be done -------------------------------------------------------------------------

    def check_signatures(self, tx: Tx) -> None:
        """Signatures reach the threshold of the permission that they claim. `Refused`."""
        account = self._account(tx.owner, "account does not exist")
        found = [one for one in account.permissions() if one.id == tx.permission_id]
        if not found:
            raise Refused("SIGERROR", f"permission {tx.permission_id} isn't exit")
        permission = found[0]
        if not permission.allows(tx.kind):
            raise Refused("SIGERROR", "Permission denied: the operation is not allowed")
        if not tx.signatures:
            raise Refused("SIGERROR", "Validate signature error: miss sig or contract")
        digest = sha256(tx.raw_data)
        weight = 0
        seen: set[bytes] = set()
        for signature in tx.signatures:
            try:
                key = signer_of(digest, signature)
            except ValueError as error:
                raise Refused("SIGERROR", f"Validate signature error: {error}") from None
            if key not in permission.keys or key in seen:
                why = "has signed twice" if key in seen else "is not contained of permission"
                raise Refused("SIGERROR", f"Validate signature error: 41{key.hex()} {why}.")
            seen.add(key)
            weight += permission.keys[key]
        if weight < permission.threshold:
            raise Refused(
                "SIGERROR",
                f"Validate signature error: weight {weight} is below {permission.threshold}",
            )

    def check(self, tx: Tx, spent: dict[str, int] | None = None) -> None:
        """The contract's own rules. `spent`: what others in the pool take from the same owner."""
        account = self._account(tx.owner, "Validate error, no OwnerAccount.")
        spent = spent or {}
        balance = self.balance(tx.owner) - spent.get("", 0)
        if tx.kind in (1, 2):
            self._check_transfer(tx, account, balance, spent)
        elif tx.kind == 31:
            if not self.engine.has_code(tx.key("contract_address")):
                raise _invalid("No contract or not a valid smart contract")
            if tx.number("call_value") > balance or tx.number("call_value") < 0:
                raise _invalid("Validate InternalTransfer error, balance is not sufficient.")
            if tx.number("call_token_value") or tx.number("token_id"):
                raise _invalid("TRC-10 cannot be sent to a contract on this chain")
        elif tx.kind == 46 and balance < PARAMETERS["getUpdateAccountPermissionFee"]:
            raise _invalid("Validate AccountPermissionUpdate error, balance is not sufficient.")
        elif tx.kind == 54 and not TRX <= tx.number("frozen_balance") <= balance:
            raise _invalid("frozenBalance must be greater than or equal to 1 TRX, and be there")
        elif tx.kind == 57 and tx.number("balance") > account.frozen.get(tx.number("resource"), 0):
            raise _invalid("delegateBalance must be less than or equal to available")
        if tx.kind in (30, 31) and not 0 <= tx.fee_limit <= PARAMETERS["getMaxFeeLimit"]:
            raise _invalid("feeLimit must be >= 0 and <= the maximum")

    def _check_transfer(
        self, tx: Tx, account: Account, balance: int, spent: dict[str, int]
    ) -> None:
        to, amount = tx.key("to_address"), tx.number("amount")
        if amount <= 0:
            raise _invalid("Amount must be greater than 0.")
        if to == tx.owner:
            raise _invalid("Cannot transfer to yourself.")
        there = self.accounts.get(to)
        if there is not None and there.is_contract:
            raise _invalid("Cannot transfer to a smartContract.")
        fee = 0 if there is not None else PARAMETERS["getCreateNewAccountFeeInSystemContract"]
        if tx.kind == 1 and balance < amount + fee:
            raise _invalid("Validate TransferContract error, balance is not sufficient.")
        if tx.kind == 2:
            number = bytes(tx.fields["asset_name"]).decode("ascii", "replace")
            if account.assets.get(number, 0) - spent.get(number, 0) < amount:
                raise _invalid("assetBalance is not sufficient.")
            if balance < fee:
                raise _invalid("Validate TransferAssetActuator error, insufficient fee.")

    def _account(self, key: bytes, why: str) -> Account:
        found = self.accounts.get(key)
        if found is None:
            raise _invalid(f"{why} (41{key.hex()})")
        return found

    # --- doing it -------------------------------------------------------------------------------

    def execute(self, tx: Tx, now_ms: int) -> Outcome:
        """Carry out a transaction. `Refused`: nothing was changed."""
        self.check_signatures(tx)
        self.check(tx)
        out, use = self.charge(tx, now_ms)
        if use is not None:
            use.add(out.net_usage, now_ms)
        self._take(tx.owner, out.fee)
        self._act(tx, self.accounts[tx.owner], now_ms, out)
        return out

    def charge(self, tx: Tx, now_ms: int) -> tuple[Outcome, Usage | None]:
        """What it costs before its contract runs, and which bandwidth it uses. `Refused`; nothing
        is changed."""
        account = self.accounts[tx.owner]
        activates = tx.kind in (1, 2) and tx.key("to_address") not in self.accounts
        out = Outcome(runs_code=tx.kind in (30, 31))
        use = self._bandwidth(tx, account, activates, now_ms, out)
        out.fee = out.net_fee + self._extra_fees(tx, activates)
        if self.balance(tx.owner) < out.fee + _moved_trx(tx):
            raise Refused("BANDWITH_ERROR", "account has insufficient bandwidth and balance")
        return out, use

    def _bandwidth(
        self, tx: Tx, account: Account, activates: bool, now_ms: int, out: Outcome
    ) -> Usage | None:
        size = tx.size
        if account.net_limit() - account.net.left(now_ms) >= size:
            out.net_usage = size
            return account.net
        free = PARAMETERS["getFreeNetLimit"] - account.free_net.left(now_ms)
        if activates:
            out.net_fee = PARAMETERS["getCreateAccountFee"]
        elif free >= size:
            out.net_usage = size
            return account.free_net
        else:
            out.net_fee = size * PARAMETERS["getTransactionFee"]
        return None

    def _extra_fees(self, tx: Tx, activates: bool) -> int:
        fee = PARAMETERS["getMemoFee"] if tx.data else 0
        if len(tx.signatures) > 1:
            fee += PARAMETERS["getMultiSignFee"]
        if activates:
            fee += PARAMETERS["getCreateNewAccountFeeInSystemContract"]
        if tx.kind == 46:
            fee += PARAMETERS["getUpdateAccountPermissionFee"]
        return fee

    def _act(self, tx: Tx, account: Account, now_ms: int, out: Outcome) -> None:
        if tx.kind == 1:
            self._take(tx.owner, tx.number("amount"))
            self._put(tx.key("to_address"), tx.number("amount"), now_ms)
        elif tx.kind == 2:
            number = bytes(tx.fields["asset_name"]).decode()
            account.assets[number] -= tx.number("amount")
            there = self._ensure(tx.key("to_address"), now_ms)
            there.assets[number] = there.assets.get(number, 0) + tx.number("amount")
        elif tx.kind == 30:
            self._create(tx, account, now_ms, out)
        elif tx.kind == 31:
            to = tx.key("contract_address")
            value = tx.number("call_value")
            limit = self.energy_limit(account, tx.fee_limit, value, now_ms)
            ran = self.engine.call(tx.owner, to, bytes(tx.fields["data"]), value, limit)
            self._ran(tx, account, ran, to, now_ms, out)
        elif tx.kind == 46:
            _set_permissions(account, tx)
        elif tx.kind == 54:
            self._take(tx.owner, tx.number("frozen_balance"))
            resource = tx.number("resource")
            frozen = account.frozen.get(resource, 0) + tx.number("frozen_balance")
            account.frozen[resource] = frozen
        elif tx.kind == 57:
            resource, amount = tx.number("resource"), tx.number("balance")
            account.frozen[resource] -= amount
            there = self._ensure(tx.key("receiver_address"), now_ms)
            there.frozen[resource] = there.frozen.get(resource, 0) + amount

    def energy_limit(self, account: Account, fee_limit: int, value: int, now_ms: int) -> int:
        """Energy that a call may use: staked and bought, within the fee limit."""
        price = PARAMETERS["getEnergyFee"]
        staked = max(account.energy_limit() - account.energy.left(now_ms), 0)
        bought = max(self.balance(account.key) - value, 0) // price
        return min(staked + bought, fee_limit // price)

    def _create(self, tx: Tx, account: Account, now_ms: int, out: Outcome) -> None:
        made: dict[str, Any] = tx.fields["new_contract"] or {}
        at = keccak(bytes.fromhex(tx.txid) + b"\x41" + tx.owner)[12:]
        value = int(made.get("call_value", 0))
        limit = self.energy_limit(account, tx.fee_limit, value, now_ms)
        code = bytes(made.get("bytecode", b""))
        ran = self.engine.create(tx.owner, at, code, value, limit)
        if ran.ok:
            self._ensure(at, now_ms).is_contract = True
        self._ran(tx, account, ran, at, now_ms, out)

    def _ran(
        self, tx: Tx, account: Account, ran: Ran, contract: bytes, now_ms: int, out: Outcome
    ) -> None:
        out.result, out.output, out.contract = ran.result, ran.output, contract
        out.events, out.inner = ran.events, ran.inner
        out.energy_total = ran.energy
        staked = max(account.energy_limit() - account.energy.left(now_ms), 0)
        out.energy_usage = min(staked, ran.energy)
        account.energy.add(out.energy_usage, now_ms)
        out.energy_fee = (ran.energy - out.energy_usage) * PARAMETERS["getEnergyFee"]
        self._take(tx.owner, out.energy_fee)
        out.fee += out.energy_fee
        for inner in ran.inner:
            if inner.value and not inner.rejected:
                self._ensure(inner.to, now_ms)

    def _take(self, key: bytes, amount: int) -> None:
        if amount:
            self.engine.set_balance(key, self.balance(key) - amount)

    def _put(self, key: bytes, amount: int, now_ms: int) -> None:
        self._ensure(key, now_ms)
        self.engine.set_balance(key, self.balance(key) + amount)

    def _ensure(self, key: bytes, now_ms: int) -> Account:
        return self.accounts.setdefault(key, Account(key, now_ms))


def _moved_trx(tx: Tx) -> int:
    if tx.kind == 1:
        return tx.number("amount")
    if tx.kind == 54:
        return tx.number("frozen_balance")
    return tx.number("call_value") if tx.kind == 31 else 0


def _set_permissions(account: Account, tx: Tx) -> None:
    def made(told: dict[str, Any], number: int) -> Permission:
        keys = {bytes(one["address"])[1:]: int(one["weight"]) for one in told["keys"]}
        name = bytes(told["permission_name"]).decode("utf-8", "replace")
        return Permission(number, name, int(told["threshold"]), keys, bytes(told["operations"]))

    if tx.fields["owner"]:
        account.owner = made(tx.fields["owner"], 0)
    account.actives = [made(one, 2 + at) for at, one in enumerate(tx.fields["actives"])]


def _invalid(message: str) -> Refused:
    return Refused("CONTRACT_VALIDATE_ERROR", f"Contract validate error : {message}")
