"""Whether the daemon is ready: health is progress, not that a process exists.

`Progress.reasons` is told each status it is asked about and remembers when each tip last moved;
limits scale with the chain's block time. No reason means ready.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chain_adapter.console.status import ChainStatus, Status

BEHIND_BLOCKS, BEHIND_LEAST_S = 20, 60.0
"""A tip below the head must move within so many block times, and at least so many seconds."""

STILL_BLOCKS, STILL_LEAST_S = 60, 900.0
"""A tip that has reached the head: no new block for so long is a node that stands still."""


@dataclass(slots=True)
class _Seen:
    tip: int | None
    at_s: float


@dataclass(slots=True)
class Progress:
    """What was seen of each chain's tip, by a monotonic clock."""

    unsent_limit_s: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def reasons(self, status: Status, now_s: float) -> list[str]:
        """Why it is not ready; empty when it is."""
        found: list[str] = []
        for name, chain in status.chains.items():
            found += self._of(name, chain, now_s)
        return found

    def _of(self, name: str, chain: ChainStatus, now_s: float) -> list[str]:
        seen = self._seen.get(name)
        if seen is None or seen.tip != chain.tip:
            seen = self._seen[name] = _Seen(chain.tip, now_s)
        still_s = now_s - seen.at_s
        found = []
        if chain.tip is None or chain.head is None:
            found.append(f"{name}: no block was read yet")
        elif chain.tip < chain.head:
            if still_s > max(BEHIND_LEAST_S, BEHIND_BLOCKS * chain.block_time_s):
                found.append(
                    f"{name}: stands at {chain.tip} for {still_s:.0f} s, the head is {chain.head}"
                )
        elif still_s > max(STILL_LEAST_S, STILL_BLOCKS * chain.block_time_s):
            found.append(f"{name}: no new block for {still_s:.0f} s")
        if chain.oldest_unsent_s is not None and chain.oldest_unsent_s > self.unsent_limit_s:
            found.append(f"{name}: a message waits unsent for {chain.oldest_unsent_s:.0f} s")
        found += [
            f"{name}: a full page of {symbol} withdrawals waits and may wait for ever"
            for symbol in chain.stuck_windows
        ]
        return found
