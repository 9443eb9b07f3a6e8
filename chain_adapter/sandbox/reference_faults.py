"""How an endpoint of the reference chain misbehaves: set a field, and it does so until reset.

`ReferenceLedger.endpoint(name)` gives the one of ``memory://LEDGER/NAME``. Faults are per endpoint,
so that two of them can differ about one ledger, which is what lies, lags and forks look like.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain_adapter.chain import Unavailable

if TYPE_CHECKING:
    from chain_adapter.sandbox.reference_ledger import ReferenceLedger


@dataclass(slots=True)
class ReferenceEndpoint:
    """One way to a ledger. The fields are the faults; all off at first.

    `fails` holds errors to raise, one a request, before it works again: a plugin's own error types
    or any other exception, as a careless plugin would let through.
    """

    name: str
    serves: ReferenceLedger  # set another one: the wrong network behind the same address
    down: bool = False  # every request is `Unavailable`
    hangs: bool = False  # no request is ever answered
    latency_s: float = 0.0
    fails: deque[BaseException] = field(default_factory=deque)
    stalled_at: int | None = None  # the head does not move beyond this height
    lag: int = 0  # the head is so many blocks behind
    back: int = 0  # the head moved back by so many blocks, though the blocks are there
    lies_from: int | None = None  # from this height on hashes are other ones
    identity: str | None = None  # claims to be this network
    breaks_after: int | None = None  # each `blocks` call ends in `Unavailable` after so many
    hidden: set[tuple[str, str | None]] = field(default_factory=set)  # (txid, method or None: all)
    refuses: str | None = None  # every broadcast is `Rejected` with this text
    swallows: bool = False  # broadcasts are acknowledged and go nowhere
    loses_answers: bool = False  # broadcasts arrive, the answer does not
    calls: Counter[str] = field(default_factory=Counter)

    async def enter(self, method: str) -> ReferenceLedger:
        """The ledger behind this endpoint for one request, or its trouble."""
        self.calls[method] += 1
        ledger = self.serves
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.latency_s:
            await ledger.clock.sleep(self.latency_s)
        if self.fails:
            raise self.fails.popleft()
        if self.down or ledger.closed:
            raise Unavailable(f"{self.name}: connection refused")
        return ledger

    def head_height(self) -> int:
        height = self.serves.height - self.lag - self.back
        if self.stalled_at is not None:
            height = min(height, self.stalled_at)
        return max(height, 0)

    def served_height(self) -> int:
        """The newest block this endpoint has: it lacks what it lags, not what its head hides."""
        height = self.serves.height - self.lag
        return height if self.stalled_at is None else min(height, self.stalled_at)

    def hash_at(self, height: int, true_hash: str) -> str:
        if self.lies_from is None or height < self.lies_from:
            return true_hash
        return hashlib.sha256(f"{self.name}/{true_hash}".encode()).hexdigest()

    def hides(self, txid: str, method: str) -> bool:
        return bool(self.hidden) and ((txid, None) in self.hidden or (txid, method) in self.hidden)
