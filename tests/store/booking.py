"""Hand-made blocks on a fresh ledger: what the books do with them, without any chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from chain_adapter.chain import Block, BlockRef, Sent, Transfer
from chain_adapter.clock import SystemClock
from chain_adapter.core.deposits import AssetTerms, Terms
from chain_adapter.core.scan import Finality
from chain_adapter.core.states import Role
from chain_adapter.store import addresses, blocks, ledger
from chain_adapter.store.store import Store, Tx

CHAIN = "c"
KINDS = {"scan": frozenset({"value", "log"}), "other": frozenset({"value", "log", "call"})}


def key_of(address: str) -> bytes:
    return address.lower().encode().ljust(8, b"\0")


def block(
    height: int,
    transfers: Sequence[Transfer] = (),
    sent: Sequence[Sent] = (),
    *,
    fork: str = "",
    parent: str | None = None,
    method: str = "scan",
) -> Block:
    return Block(
        BlockRef(height, f"h{height}{fork}"),
        parent if parent is not None else f"h{height - 1}",
        1_700_000_000 + height, height, tuple(transfers), tuple(sent), method, False,
    )  # fmt: skip


def arrives(txid: str, to: str, amount: int, place: str = "value", **more: Any) -> Transfer:
    return Transfer(txid, place, more.pop("asset", "ETH"), to, amount, **more)


class Books:
    """A ledger in which a chain has begun at height 1 and `A`, `B` are deposit addresses."""

    def __init__(
        self, url: str, *, chain: str = CHAIN, identity: str = "net", **terms: Any
    ) -> None:
        self.store: Store = ledger.create(url, SystemClock())
        self.chain = chain
        self.terms = self.terms_for(chain, identity, **terms)
        self.coins = False
        self.begin(chain, identity)
        for name in ("A", "B"):
            self.add(name)

    @staticmethod
    def terms_for(chain: str, identity: str = "net", **more: Any) -> Terms:
        asset = AssetTerms("ETH", "ETH", b"", 18, 18, 6)
        return Terms(chain, identity, b"secret", {"ETH": asset}, **more)

    def begin(self, chain: str, identity: str) -> None:
        def unit(tx: Tx) -> None:
            blocks.pin_identity(tx, chain, identity)
            blocks.begin(tx, chain, Finality.OPERATOR, 1)

        self.store.write_now(unit)

    def add(self, name: str, role: Role = Role.DEPOSIT, account: int | None = 1) -> None:
        chain = self.chain
        self.store.write_now(
            lambda tx: addresses.add(tx, chain, key_of(name), name, role, account=account, idx=1)
        )

    def reading(self, head: int = 100, *, followed_from: int = 0, **more: Any) -> blocks.Reading:
        counter = self.store.read_now(lambda tx: addresses.counter(tx, self.chain))
        values: dict[str, Any] = {
            "terms": self.terms, "key_of": key_of, "counter": counter, "head_height": head,
            "reorg_limit": 10, "plugin_version": "1", "followed_from": followed_from,
            "keeps_coins": self.coins,
        }  # fmt: skip
        return blocks.Reading(**(values | more))

    def commit(self, *batch: Block, **more: Any) -> blocks.Committed:
        how = self.reading(**more)
        return self.store.write_now(lambda tx: blocks.commit(tx, how, batch))

    def pop(self, popped_before: int = 0) -> int:
        def unit(tx: Tx) -> int:
            top = blocks.tip(tx, self.chain)
            assert top is not None
            return blocks.pop(tx, self.chain, BlockRef(top.height, top.hash), popped_before, 10)

        return self.store.write_now(unit)

    def rows(self, table: Any) -> list[Any]:
        return list(self.store.read_now(lambda tx: tx.all(select(table))))

    def close(self) -> None:
        self.store.close()
