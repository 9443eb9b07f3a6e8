"""What is ours: assets by contract, recipients by key, senders by spelling. Pure.

Recipients of a whole block are packed into bytes and looked up in one go. Contracts and senders
stand in small sets in both spellings that nodes use, so a look-up needs no conversion.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from chain_adapter.chain import Asset, Proof, Rejected, Unavailable
from chain_adapter_evm.codec import parse_address, quantity, spell
from chain_adapter_evm.wire import Tx

_SENDER = attrgetter("sender")
_SET_LIMIT = 200_000  # of senders that are spelled ahead; above, each address met is spelled


@dataclass(frozen=True, slots=True)
class Token:
    """A contract whose Transfer logs are believed. `native`: they move the main coin itself."""

    name: str
    address: str  # EIP-55
    key: bytes
    decimals: int
    proof: Proof
    native: bool = False


class Assets:
    """The configured assets. Raises `Rejected` for a set that cannot be right."""

    def __init__(self, assets: Mapping[str, Asset], native_contract: str | None) -> None:
        coins = [asset for asset in assets.values() if asset.contract is None]
        if len(coins) > 1:
            names = ", ".join(sorted(coin.name for coin in coins))
            raise Rejected(f"one main coin a chain; these have no contract: {names}")
        self.native: str | None = coins[0].name if coins else None
        self.fee_asset = self.native or "native"
        self.tokens: dict[str, Token] = {}
        self.by_contract: dict[str, Token] = {}
        for asset in assets.values():
            if asset.contract is None:
                continue
            address = parse_address(asset.contract)
            if address in self.by_contract:
                raise Rejected(
                    f"{asset.name} and {self.by_contract[address].name} name one contract {address}"
                )
            token = Token(
                asset.name, address, bytes.fromhex(address[2:]), asset.decimals, asset.proof
            )
            self.tokens[asset.name] = token
            self._believe(token)
        self.native_contract: bytes | None = None
        if native_contract is not None:
            address = parse_address(native_contract)
            if address in self.by_contract:
                raise Rejected(
                    f"{self.by_contract[address].name} is the main coin under its contract "
                    f"{address} (native_contract): one of the two is counted, not both"
                )
            self.native_contract = bytes.fromhex(address[2:])
            if self.native is not None:
                key = self.native_contract
                self._believe(Token(self.native, address, key, 18, Proof.OFF, native=True))

    def _believe(self, token: Token) -> None:
        self.by_contract[token.address] = token
        self.by_contract[token.address.lower()] = token

    def name_of(self, contract: bytes) -> str | None:
        """The asset of a contract that may be paid; None for any other."""
        token = self.by_contract.get(spell(contract))
        return None if token is None or token.native else token.name


def matcher(to: Container[bytes]) -> Callable[[list[bytes]], Iterable[int]]:
    """Which of several address keys are ours, by index.

    A filter may offer `hits(keys) -> indexes`, which looks up many at once; else `in` is used.
    """
    hits = getattr(to, "hits", None)
    if callable(hits):
        return hits  # type: ignore[no-any-return]
    return lambda keys: [index for index, key in enumerate(keys) if key in to]


class Senders:
    """The addresses of ours that sign, found among transactions as nodes spell theirs."""

    def __init__(self, senders: Container[str]) -> None:
        self._senders = senders
        self._spelled: frozenset[str | None] | None = None
        if isinstance(senders, Iterable):
            size = len(senders) if hasattr(senders, "__len__") else _SET_LIMIT
            if size < _SET_LIMIT:
                known = frozenset(senders)
                self._spelled = known | {one.lower() for one in known}

    def among(self, txs: Sequence[Tx]) -> list[Tx]:
        """Those that one of ours signed."""
        spelled = self._spelled
        if spelled is None:
            return [
                tx
                for tx in txs
                if tx.sender is not None and spell(bytes.fromhex(tx.sender[2:])) in self._senders
            ]
        if not spelled or spelled.isdisjoint(map(_SENDER, txs)):
            return []  # nearly always: told without a step of Python for each
        return [tx for tx in txs if tx.sender in spelled]


def keys_of(where: str, digits: Sequence[str]) -> list[bytes]:
    """Address keys of hex digits, 40 each, all at once; `Unavailable` if one is no address."""
    return unpack_keys(where, "".join(digits), len(digits))


def unpack_keys(where: str, digits: str | bytes, count: int) -> list[bytes]:
    """So many address keys out of their digits in one piece."""
    try:
        return list(_unpacker(count)(unhexlify(digits)))
    except (ValueError, struct.error):
        raise Unavailable(f"{where}: an address is not 40 hex digits") from None


@lru_cache(maxsize=4096)
def _unpacker(count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    return struct.Struct("20s" * count).unpack


def number(where: str, text: str) -> int:
    """A number the node told; `Unavailable` if it is none or above 256 bits."""
    try:
        return quantity(text)
    except ValueError as error:
        raise Unavailable(f"{where}: {error}") from None
