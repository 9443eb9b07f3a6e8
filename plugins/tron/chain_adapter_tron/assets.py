"""The configured assets: TRX, TRC-20 tokens by contract, TRC-10 tokens by numeric id. Pure.

`contract` of an asset tells its kind: absent is TRX, digits are the id of a TRC-10 token, an
address is a TRC-20 contract. Names and symbols on chain are never looked at: anybody can issue a
token that is called USDT.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from chain_adapter.chain import Asset, InvalidAddress, Proof, Rejected
from chain_adapter_tron.address import key_of, spell


@dataclass(frozen=True, slots=True)
class Token:
    """A TRC-20 contract whose Transfer logs are believed."""

    name: str
    key: bytes
    decimals: int
    proof: Proof

    @property
    def address(self) -> str:
        return spell(self.key)


@dataclass(frozen=True, slots=True)
class Issued:
    """A TRC-10 token. `id` is the text of its number, which is how transactions name it."""

    name: str
    id: str
    decimals: int


class Assets:
    """The configured assets. Raises `Rejected` for a set that cannot be right."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        coins = [asset.name for asset in assets.values() if asset.contract is None]
        if len(coins) > 1:
            raise Rejected(f"one main coin a chain; these have no contract: {', '.join(coins)}")
        self.native: str | None = coins[0] if coins else None
        self.fee_asset = self.native or "native"
        self.tokens: dict[str, Token] = {}
        self.issued: dict[str, Issued] = {}
        self.by_contract: dict[str, Token] = {}  # by 40 hex digits, as logs name them
        self.by_id: dict[str, Issued] = {}
        for asset in assets.values():
            if asset.contract is None:
                continue
            if asset.contract.isascii() and asset.contract.isdigit():
                self._add_issued(asset, asset.contract)
            else:
                self._add_token(asset, asset.contract)

    def _add_issued(self, asset: Asset, number: str) -> None:
        if number.startswith("0"):
            raise Rejected(f"{asset.name}: {number!r} is no id of a TRC-10 token")
        if number in self.by_id:
            raise Rejected(f"{asset.name} and {self.by_id[number].name} name one token {number}")
        self.issued[asset.name] = self.by_id[number] = Issued(asset.name, number, asset.decimals)

    def _add_token(self, asset: Asset, contract: str) -> None:
        try:
            key = key_of(contract)
        except InvalidAddress as error:
            raise Rejected(
                f"{asset.name}: contract is an address (TRC-20) or a number (TRC-10): {error}"
            ) from None
        if key.hex() in self.by_contract:
            other = self.by_contract[key.hex()].name
            raise Rejected(f"{asset.name} and {other} name one contract {contract}")
        token = Token(asset.name, key, asset.decimals, asset.proof)
        self.tokens[asset.name] = self.by_contract[key.hex()] = token

    def key(self, asset: str) -> bytes:
        """The bytes by which the chain names an asset; `Rejected` for an unknown one."""
        if asset == self.native:
            return b""
        if asset in self.tokens:
            return self.tokens[asset].key
        if asset in self.issued:
            return b"trc10/" + self.issued[asset].id.encode()
        raise Rejected(f"no asset {asset} is configured on this chain")

    def name_of_token(self, key: bytes) -> str | None:
        """The asset of a TRC-20 contract; None for a contract that is not configured."""
        token = self.by_contract.get(key.hex())
        return None if token is None else token.name

    def name_of_id(self, number: str) -> str | None:
        """The asset of a TRC-10 id; None for one that is not configured."""
        issued = self.by_id.get(number)
        return None if issued is None else issued.name


def matcher(to: Container[bytes]) -> Callable[[list[bytes]], Iterable[int]]:
    """Which of several address keys are ours, by index.

    A filter may offer `hits(keys) -> indexes`, which looks up many at once; else `in` is used.
    """
    hits = getattr(to, "hits", None)
    if callable(hits):
        return hits  # type: ignore[no-any-return]
    return lambda keys: [index for index, key in enumerate(keys) if key in to]
