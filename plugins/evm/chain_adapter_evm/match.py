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

KEY_BYTES = 20
_ADDRESS_CHARS = 2 + 2 * KEY_BYTES
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


class Recipients:
    """Finds ours among the recipients of a block, given as bytes one after another.

    A filter may look up many keys at once: `hits_in(joined, width)` takes them in one piece,
    `hits(keys)` as a list, both give indexes. Any other container is asked by `in`.
    """

    def __init__(self, to: Container[bytes]) -> None:
        self._to = to
        self._hits_in = getattr(to, "hits_in", None)
        self._hits = getattr(to, "hits", None)

    def among(self, joined: bytes) -> list[int]:
        """Indexes of those that may be ours."""
        if self._hits_in is not None:
            return list(self._hits_in(joined, KEY_BYTES))
        keys = _unpacker(len(joined) // KEY_BYTES)(joined)
        if self._hits is not None:
            return list(self._hits(list(keys)))
        return [index for index, key in enumerate(keys) if key in self._to]


class Senders:
    """The addresses of ours that sign, found among transactions as nodes spell theirs.

    A container that cannot be listed may offer `hits(keys)`, which looks up many address keys at
    once and may say yes wrongly; else each address met is spelled and asked by `in`.
    """

    def __init__(self, senders: Container[str]) -> None:
        self._senders = senders
        self._hits = getattr(senders, "hits", None)
        self._spelled: frozenset[str | None] | None = None
        if isinstance(senders, Iterable):
            size = len(senders) if hasattr(senders, "__len__") else _SET_LIMIT
            if size < _SET_LIMIT:
                known = frozenset(senders)
                self._spelled = known | {one.lower() for one in known}

    def among(self, where: str, txs: Sequence[Tx]) -> list[Tx]:
        """Those that one of ours signed."""
        spelled = self._spelled
        if spelled is None:
            known = [tx for tx in txs if tx.sender is not None]
            joined = join_addresses(where, [tx.sender or "" for tx in known])
            keys = list(_unpacker(len(known))(joined))
            if self._hits is not None:
                return [known[index] for index in self._hits(keys)]
            return [tx for tx, key in zip(known, keys, strict=True) if spell(key) in self._senders]
        if not spelled or spelled.isdisjoint(map(_SENDER, txs)):
            return []  # nearly always: told without a step of Python for each
        return [tx for tx in txs if tx.sender in spelled]


def join_keys(where: str, digits: str | bytes, count: int) -> bytes:
    """So many addresses, 40 hex digits each, as bytes; `Unavailable` if that is not what it is."""
    try:
        joined = unhexlify(digits)
    except ValueError:
        joined = b""
    if len(joined) != count * KEY_BYTES:
        raise Unavailable(f"{where}: an address is not 40 hex digits")
    return joined


def join_addresses(where: str, addresses: Sequence[str]) -> bytes:
    """Addresses as nodes spell them, as bytes; `Unavailable` if one is none."""
    text = "".join(addresses)
    count = len(addresses)
    if set(map(len, addresses)) - {_ADDRESS_CHARS} or text.count("0x") != count:
        raise Unavailable(f"{where}: an address is not 0x and 40 hex digits")
    return join_keys(where, text.replace("0x", ""), count)


def key_at(joined: bytes, index: int) -> bytes:
    """One of the keys that stand one after another."""
    return joined[index * KEY_BYTES : (index + 1) * KEY_BYTES]


def key_of(where: str, address: str) -> bytes:
    """The 20 bytes of an address as a node spells it."""
    return join_keys(where, address[2:], 1)


@lru_cache(maxsize=4096)
def _unpacker(count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    return struct.Struct(f"{KEY_BYTES}s" * count).unpack


def number(where: str, text: str) -> int:
    """A number the node told; `Unavailable` if it is none or above 256 bits."""
    try:
        return quantity(text)
    except ValueError as error:
        raise Unavailable(f"{where}: {error}") from None
