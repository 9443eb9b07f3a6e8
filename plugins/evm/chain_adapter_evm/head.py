"""The newest block of a node that may lag behind itself.

A height below one that was told before is a lag, unless the block there is another one: then the
chain has taken a shorter branch, and that is the truth. Where the node tells a finalized block,
that is told too; the first answer decides whether, once for all.
"""

from __future__ import annotations

import asyncio
import time

from chain_adapter.chain import BlockRef, Head, Unavailable
from chain_adapter_evm.match import number
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import HEADERS, TEXTS, Header

_LONGEST_WAIT_S = 10.0
_STALE_S = 2.0
_REMEMBERED = 512


def height_of(node: Node, header: Header) -> int:
    """A block's height; `Unavailable` if it is none."""
    height = number(node.name, header.number)
    if height.bit_length() > 63:
        raise Unavailable(f"{node.name} tells a block number of {height.bit_length()} bits")
    return height


class Heads:
    """The heads of one node, as it tells them."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._settings = settings
        self._seen: dict[int, str] = {}  # told before, by height
        self._height = -1
        self._at = -_STALE_S
        self._final_height: int | None = None
        self._tells_final: bool | None = {"tag": True, "depth": False}.get(settings.finality)

    async def newest(self, after: Head | None) -> Head:
        """The newest block; with `after`, waits up to 10 s for another one. `Unavailable`."""
        until = time.monotonic() + _LONGEST_WAIT_S
        if after is not None and after.ref.height > self._height:
            self._remember(after.ref)  # told by another endpoint
        while True:
            head, lag = await self._ask()
            if head is not None and (after is None or head.ref != after.ref):
                return head
            left = until - time.monotonic()
            if after is None or left <= 0:
                if head is None:
                    raise Unavailable(lag)
                return head
            await asyncio.sleep(min(self._settings.head_poll_s, left))

    async def at_least(self, last: int) -> int:
        """A height the chain has reached; asked anew when an old one would not tell deep blocks."""
        deep = last <= self._height - self._settings.verify_depth
        if not deep and time.monotonic() - self._at > _STALE_S:
            (told,) = await self._node.batch("eth_blockNumber", [[]], TEXTS)
            if isinstance(told, str):  # else nothing counts as deep, and all is verified
                return max(self._height, number(self._node.name, told))
        return self._height

    async def _ask(self) -> tuple[Head | None, str]:
        """The head, or None and the text about a node that lags behind itself."""
        node = self._node
        tags = ["latest"] if self._tells_final is False else ["latest", "finalized"]
        answers = await node.batch("eth_getBlockByNumber", [[tag, False] for tag in tags], HEADERS)
        newest = answers[0]
        if isinstance(newest, NodeError):
            raise newest
        if newest is None:
            raise Unavailable(f"{node.name} tells no newest block: it may be syncing")
        ref = BlockRef(height_of(node, newest), newest.hash.lower())
        if ref.height < self._height:
            if self._seen.get(ref.height, ref.hash) == ref.hash:
                return None, (
                    f"{node.name}: the head moved back from {self._height} to {ref.height}: "
                    "the node lags behind what it told before"
                )
            self._seen = {h: known for h, known in self._seen.items() if h < ref.height}
        self._remember(ref)
        return Head(ref, self._final(answers[1]) if len(answers) > 1 else None), ""

    def _remember(self, ref: BlockRef) -> None:
        self._seen[ref.height] = ref.hash
        if len(self._seen) > _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        self._height = ref.height
        self._at = time.monotonic()

    def _final(self, answer: Header | NodeError | None) -> int | None:
        if answer is None or isinstance(answer, NodeError):
            if self._tells_final is None:  # the first question decides, once for all
                self._tells_final = False
            if self._tells_final and isinstance(answer, NodeError):
                raise answer
            if self._tells_final:
                raise Unavailable(f"{self._node.name} tells no finalized block")
            return None
        self._tells_final = True
        # a node that moves it back lags: what was final stays so
        self._final_height = max(height_of(self._node, answer), self._final_height or 0)
        return self._final_height
