"""Contracts, run by a real EVM (pyrevm) whose balances are the chain's.

Energy is the EVM's gas without what a transaction costs there before its code runs, so it is
indicative only. A contract stands at TRON's address for it: its creation code is run there, then
replaced by what it returned. The contracts of contracts/Devnet.sol tell their internal transfers by
the event `Moved`, since the engine has no traces; it is taken out of the logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pyrevm import EVM, AccountInfo

from chain_adapter_tron.address import keccak

MOVED = keccak(b"Moved(address,uint256,bool)")
_BASE_GAS = 21_000
_ZERO_BYTE_GAS, _BYTE_GAS = 4, 16
_BLOCK_GAS = 1 << 50
_MOST_GAS = 1 << 40
_USED = re.compile(r"gas_used: (\d+)")
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")
_REASON = re.compile(r"reason: (\w+)")


@dataclass(frozen=True, slots=True)
class Event:
    """A log, without the index."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Inner:
    """Value that a contract passed on, or tried to."""

    caller: bytes
    to: bytes
    value: int
    rejected: bool


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call came to. `result` is the chain's word: SUCCESS, REVERT, OUT_OF_ENERGY …"""

    result: str
    energy: int
    output: bytes = b""
    events: tuple[Event, ...] = ()
    inner: tuple[Inner, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return self.result == "SUCCESS"


class Engine:
    """One EVM state. Keys are 20 bytes."""

    def __init__(self) -> None:
        self._evm = EVM(spec_id="SHANGHAI", gas_limit=_BLOCK_GAS)

    def balance(self, key: bytes) -> int:
        """Sun of an account."""
        return int(self._evm.get_balance(_hex(key)))

    def set_balance(self, key: bytes, amount: int) -> None:
        if amount < 0:
            raise ValueError(f"a balance of {amount}")
        self._evm.set_balance(_hex(key), amount)

    def has_code(self, key: bytes) -> bool:
        return bool(self._evm.get_code(_hex(key)))

    def create(self, owner: bytes, at: bytes, code: bytes, value: int, energy: int) -> Ran:
        """Run creation code at `at`; its result stays there. A failure leaves nothing."""
        self._evm.insert_account_info(_hex(at), AccountInfo(code=code, nonce=1))
        ran = self.call(owner, at, b"", value, energy)
        code = ran.output if ran.ok else b""
        balance = self.balance(at)
        self._evm.insert_account_info(_hex(at), AccountInfo(code=code, nonce=1))
        self._evm.set_balance(_hex(at), balance)
        return ran

    def call(self, owner: bytes, to: bytes, data: bytes, value: int, energy: int) -> Ran:
        """Carry out a call; a failure changes nothing."""
        before = _BASE_GAS + sum(_BYTE_GAS if byte else _ZERO_BYTE_GAS for byte in data)
        gas = min(before + max(energy, 0), _MOST_GAS)
        try:
            output = self._evm.message_call(
                caller=_hex(owner), to=_hex(to), calldata=data, value=value, gas=gas
            )
        except RuntimeError as error:
            return _failed(str(error), before, max(energy, 0))
        result = self._evm.result
        assert result is not None
        events: list[Event] = []
        inner: list[Inner] = []
        for log in result.logs:
            topics, body = log.data
            event = Event(bytes.fromhex(log.address[2:]), tuple(topics), bytes(body))
            if event.topics[:1] == (MOVED,):
                to_key, amount = event.data[12:32], int.from_bytes(event.data[32:64], "big")
                inner.append(Inner(event.address, to_key, amount, event.data[95] == 1))
            else:
                events.append(event)
        # what the EVM gives back for storage that is cleared, this chain does not
        used = max(int(result.gas_used) + int(result.gas_refunded) - before, 0)
        return Ran("SUCCESS", used, bytes(output), tuple(events), tuple(inner))

    def dry_run(self, owner: bytes, to: bytes, data: bytes, value: int, energy: int) -> Ran:
        """What a call would come to; changes nothing."""
        mark = self._evm.snapshot()
        try:
            return self.call(owner, to, data, value, energy)
        finally:
            self._evm.revert(mark)


def _failed(text: str, before: int, energy: int) -> Ran:
    used, output = _USED.search(text), _OUTPUT.search(text)
    spent = max(int(used[1]) - before, 0) if used else energy
    if text.startswith("Revert"):
        return Ran("REVERT", spent, bytes.fromhex(output[1]) if output else b"")
    reason = _REASON.search(text)
    word = reason[1] if reason else ""
    if word.startswith("OutOfGas") or "GasLimit" in text:
        return Ran("OUT_OF_ENERGY", energy)
    known = {"InvalidJump": "BAD_JUMP_DESTINATION", "OpcodeNotFound": "ILLEGAL_OPERATION"}
    return Ran(known.get(word, "UNKNOWN"), energy)


def _hex(key: bytes) -> str:
    return "0x" + key.hex()
