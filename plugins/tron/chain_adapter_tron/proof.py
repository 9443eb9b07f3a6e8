"""Deposits of a token held against balances: what came must be what the logs say (D-12).

A node keeps two states, at its head and at its newest solidified block, and no other. The balance
in the one less that in the other must equal every Transfer log of the blocks between. So a proof
can be made for a block that is read while it is not yet solidified; for any other it stays unmade.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from chain_adapter.chain import BlockRef, Proof, Unavailable
from chain_adapter_tron.address import NOBODY, PREFIX
from chain_adapter_tron.assets import Assets
from chain_adapter_tron.draft import Draft, Move, moves_of, open_block, take_infos
from chain_adapter_tron.node import Node, together
from chain_adapter_tron.wire import BlockHead, BlockList, DryRun, Info

TIP_DEPTH = 40
"""Blocks below the head that are kept in mind: more than are ever unsolidified in good health."""
_TRIES = 3
_KEPT = 2 * TIP_DEPTH
_BALANCE_OF = "70a08231"
Holder = tuple[str, str]
"""A contract and an address, 40 hex digits each."""


def balance_body(contract: str, owner: str) -> dict[str, str]:
    """The request of a constant call of `balanceOf(owner)`."""
    return {
        "owner_address": (PREFIX + NOBODY).hex(),
        "contract_address": PREFIX.hex() + contract,
        "data": _BALANCE_OF + owner.rjust(64, "0"),
        "function_selector": "balanceOf(address)",
        "parameter": owner.rjust(64, "0"),
    }


def balance_in(answer: DryRun) -> int | None:
    """The balance that a constant call told; None where it told none."""
    if not answer.constant_result or len(answer.constant_result[0]) < 64:
        return None
    try:
        return int(answer.constant_result[0][:64], 16)
    except ValueError:
        return None


class Prover:
    """Makes proofs through one endpoint, and remembers the logs of the newest blocks for them."""

    def __init__(self, node: Node, assets: Assets) -> None:
        self._node = node
        self._assets = assets
        self._wanted = {
            key for key, token in assets.by_contract.items() if token.proof is not Proof.OFF
        }
        self._seen: OrderedDict[str, tuple[str, list[Move]]] = OrderedDict()

    @property
    def is_wanted(self) -> bool:
        return bool(self._wanted)

    def wants(self, contract: str) -> bool:
        """Whether deposits of this contract are to be proven."""
        return contract in self._wanted

    def remember(self, draft: Draft, moves: list[Move]) -> None:
        """Keep what a new block moved."""
        self._seen[draft.ref.hash] = (draft.parent_hash, moves)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)

    async def prove(self, at: BlockRef, holders: Iterable[Holder]) -> dict[Holder, bool | None]:
        """True: proven. False: refuted. None, or left out: the node cannot tell."""
        asked = sorted(holders)
        for _ in range(_TRIES):
            try:
                head, solid = await self._ends()
                if not solid.height < at.height <= head.height:
                    return {}
                now = await self._balances("wallet", asked)
                then = await self._balances("walletsolidity", asked)
                if (head, solid) != await self._ends():
                    continue
                moved = await self._between(solid, head, at)
            except Unavailable:
                return {}
            if moved is None:
                continue
            return {holder: _verdict(holder, now, then, moved) for holder in asked}
        return {}

    async def _ends(self) -> tuple[BlockRef, BlockRef]:
        head, solid = await together(
            self._node.newest(),
            self._node.newest("walletsolidity"),
        )
        return _ref(head), _ref(solid)

    async def _balances(self, interface: str, holders: list[Holder]) -> dict[Holder, int | None]:
        path = f"{interface}/triggerconstantcontract"
        answers = await together(
            *(self._node.ask(path, balance_body(*holder), DryRun) for holder in holders)
        )
        return {holder: balance_in(one) for holder, one in zip(holders, answers, strict=True)}

    async def _between(self, solid: BlockRef, head: BlockRef, at: BlockRef) -> list[Move] | None:
        """All moves after `solid` up to `head`; None unless `at` stands between them."""
        found: list[Move] = []
        name, height, passed = head.hash, head.height, False
        while height > solid.height:
            if name not in self._seen:
                await self._learn(solid.height + 1, height)
            if name not in self._seen:
                return None
            passed = passed or name == at.hash
            name, moves = self._seen[name]
            found += moves
            height -= 1
        return found if passed and name == solid.hash else None

    async def _learn(self, first: int, last: int) -> None:
        body = {"startNum": first, "endNum": last + 1}
        told = await self._node.ask("wallet/getblockbylimitnext", body, BlockList)
        for block in told.block:
            draft = open_block(self._node.name, block.block_header.raw_data.number, block)
            if draft.ref.hash in self._seen:
                continue
            if draft.txs:
                infos = await self._node.ask(
                    "wallet/gettransactioninfobyblocknum", {"num": draft.ref.height}, list[Info]
                )
                take_infos(self._node.name, draft, infos)
            self.remember(draft, moves_of(self._node.name, draft, self._assets))


def _ref(block: BlockHead) -> BlockRef:
    if not block.blockID:
        raise Unavailable("the node tells no newest block")
    return BlockRef(block.block_header.raw_data.number, block.blockID.lower())


def _verdict(
    holder: Holder,
    now: Mapping[Holder, int | None],
    then: Mapping[Holder, int | None],
    moved: Iterable[Move],
) -> bool | None:
    has, had = now[holder], then[holder]
    if has is None or had is None:
        return None
    contract, owner = holder
    gained = 0
    for move in moved:
        if move.contract == contract:
            gained += move.amount * ((move.to == owner) - (move.sender == owner))
    return has - had == gained
