"""What is ours: assets by contract, recipients by key, senders by spelling. Pure.

Recipients of a whole block are packed into bytes and looked up in one go. Contracts and senders
stand in small sets in both spellings that nodes use, so a look-up needs no conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from chain_adapter.chain import Asset, Proof, Rejected, Unavailable
from chain_adapter_evm.codec import parse_address, quantity, spell

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


def sender_test(senders: Container[str]) -> Callable[[str], bool] | None:
    """Whether an address, as the node spells it, is one of ours that sign; None: we have none."""
    if isinstance(senders, Iterable):
        size = len(senders) if hasattr(senders, "__len__") else _SET_LIMIT
        if size == 0:
            return None
        if size < _SET_LIMIT:
            spelled = frozenset(senders)
            return (spelled | {one.lower() for one in spelled}).__contains__
    return lambda text: spell(bytes.fromhex(text[2:])) in senders


def keys_of(where: str, digits: list[str]) -> list[bytes]:
    """Address keys of hex digits, 40 each, all at once; `Unavailable` if one is no address."""
    size = 20 * len(digits)
    try:
        packed = bytes.fromhex("".join(digits))
    except ValueError:
        packed = b""
    if len(packed) != size:
        raise Unavailable(f"{where}: an address is not 40 hex digits")
    return [packed[at : at + 20] for at in range(0, size, 20)]


def number(where: str, text: str) -> int:
    """A number the node told; `Unavailable` if it is none or above 256 bits."""
    try:
        return quantity(text)
    except ValueError as error:
        raise Unavailable(f"{where}: {error}") from None
