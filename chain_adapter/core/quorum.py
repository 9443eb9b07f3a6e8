"""What the endpoints' answers about one block mean: pure functions of values.

label -> hash or None (it did not tell) -> agreed, too few, or contradicted; and in words, naming
whoever stands alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

LEAST = 2
"""Where two endpoints or more are configured, one alone is no agreement."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`ours`, `differ`, `silent`: labels that show our block, another one, nothing.

    `is_agreed`: it may be credited as far as those that answer go; `is_short`: but fewer answer
    than should. `must_pause`: they contradict each other, and no quorum decides.
    """

    ours: tuple[str, ...]
    differ: tuple[str, ...]
    silent: tuple[str, ...]
    is_agreed: bool
    is_short: bool
    must_pause: bool
    text: str

    @property
    def is_alone(self) -> bool:
        """There is but one endpoint."""
        return len(self.ours) + len(self.differ) + len(self.silent) == 1


def judge(our_hash: str, told: Mapping[str, str | None], quorum: int | None) -> Agreement:
    """Hold what endpoints tell against our block. `quorum` None: all that answer must agree."""
    shown = {label: one for label, one in told.items() if one is not None}
    ours = tuple(sorted(label for label, one in shown.items() if one == our_hash))
    differ = tuple(sorted(label for label, one in shown.items() if one != our_hash))
    silent = tuple(sorted(set(told) - set(shown)))
    needed = min(LEAST, len(told)) if quorum is None else min(quorum, len(told))
    outvoted = quorum is not None and len(ours) >= needed
    return Agreement(
        ours,
        differ,
        silent,
        is_agreed=bool(ours) and (not differ or outvoted),
        is_short=len(ours) < needed,
        # Where all that answer agree on another block, ours has just been replaced.
        must_pause=len(set(shown.values())) > 1 and not outvoted,
        text=_in_words(our_hash, shown),
    )


def _in_words(our_hash: str, shown: Mapping[str, str]) -> str:
    votes = Counter(shown.values())
    parts = []
    for one, _ in sorted(votes.items(), key=lambda item: (item[0] != our_hash, item[0])):
        labels = sorted(label for label, shown_hash in shown.items() if shown_hash == one)
        ours = " (which we read)" if one == our_hash else ""
        parts.append(f"{', '.join(labels)} {'has' if len(labels) == 1 else 'have'} {one}{ours}")
    most = max(votes.values(), default=0)
    few = sorted(label for label, one in shown.items() if votes[one] < most)
    named = f": {', '.join(few)} against the others" if few else ""
    return "; ".join(parts) + named
