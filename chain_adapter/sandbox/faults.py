"""Faults on command: queued a path, taken one a call, gone when used up.

Kinds *without* the call's effect fail before the platform has done anything; kinds *with* it fail
after the effect is durable. `effect` turns that round where it makes sense.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.wire import Fields, Malformed, Num

# kind -> what happens
WITHOUT_EFFECT = {
    "refuse": "the connection is closed before the body is read, as if nobody were there",
    "reset_before": "the connection is reset after the request was read",
    "status_500": "HTTP 500",
    "html": "HTTP 200 with a page of HTML",
    "error_code": "an answer with `code`",
    "replay": "the last answer of this path that said success, byte for byte",
}
WITH_EFFECT = {
    "latency": "the answer comes `seconds` later",
    "reset_after": "the connection is reset instead of an answer",
    "truncate": "half of the answer under its full Content-Length, then the end",
    "bad_json": "an answer that is not JSON",
    "bad_signature": "an answer whose signature is damaged",
    "other_key": "an answer signed by a stranger",
    "wrong_request_id": "a signed answer to another question",
    "stale_list": "an earlier payload for this symbol, freshly signed",
}
KINDS = WITHOUT_EFFECT | WITH_EFFECT
DEFAULT_CODE = 100002
DEFAULT_SECONDS = 2.0
_MOST_TIMES = 1_000_000
_MOST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One queued entry. `effect`: whether the call takes effect."""

    id: int
    path: str
    kind: str
    seconds: float
    code: int
    effect: bool


@dataclass(slots=True)
class _Queued:
    fault: Fault
    remaining: int


class FaultQueue:
    """In memory for speed, in the books for restarts. Used on the event loop only."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queued: dict[str, deque[_Queued]] = {}

    def load(self, rows: list[tuple[Fault, int]]) -> None:
        """What an earlier process left."""
        for fault, remaining in rows:
            self._queued.setdefault(fault.path, deque()).append(_Queued(fault, remaining))

    async def add(self, fault: Fault, times: int) -> None:
        """Queue it behind the others of its path."""

        def unit(books: Books) -> int:
            return books.do(
                "INSERT INTO faults (path, kind, remaining, seconds, code, effect)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                fault.path, fault.kind, times, fault.seconds, fault.code, int(fault.effect),
            )  # fmt: skip

        stored_id = await self._ledger.run(unit)
        stored = Fault(stored_id, fault.path, fault.kind, fault.seconds, fault.code, fault.effect)
        self._queued.setdefault(fault.path, deque()).append(_Queued(stored, times))

    async def take(self, path: str) -> Fault | None:
        """The fault of this call, if one is queued; it is used up durably before it acts."""
        waiting = self._queued.get(path)
        if not waiting:
            return None
        first = waiting[0]
        first.remaining -= 1
        if first.remaining == 0:
            waiting.popleft()
        remaining, fault = first.remaining, first.fault

        def unit(books: Books) -> None:
            if remaining:
                books.do("UPDATE faults SET remaining = ? WHERE id = ?", remaining, fault.id)
            else:
                books.do("DELETE FROM faults WHERE id = ?", fault.id)

        await self._ledger.run(unit)
        return fault

    async def clear(self) -> None:
        """Forget all of them."""

        def unit(books: Books) -> None:
            books.do("DELETE FROM faults")

        await self._ledger.run(unit)
        self._queued.clear()

    def listing(self) -> list[dict[str, object]]:
        """What is queued, in order."""
        return [
            {
                "path": path,
                "kind": queued.fault.kind,
                "times": queued.remaining,
                "seconds": queued.fault.seconds,
                "code": queued.fault.code,
                "effect": queued.fault.effect,
            }
            for path, waiting in self._queued.items()
            for queued in waiting
        ]


def stored(books: Books) -> list[tuple[Fault, int]]:
    """The queue as the books have it."""
    return [
        (
            Fault(row["id"], row["path"], row["kind"], row["seconds"], row["code"],
                  bool(row["effect"])),
            row["remaining"],
        )
        for row in books.all("SELECT * FROM faults ORDER BY id")
    ]  # fmt: skip


def read(fields: Fields, paths: frozenset[str]) -> tuple[Fault, int]:
    """A fault and its `times` from the control call. Raises `Malformed`."""
    fields.only("path", "kind", "times", "seconds", "code", "effect")
    path, kind = fields.text("path"), fields.text("kind")
    if path not in paths:
        raise Malformed(f"unknown path {path!r}; known are {', '.join(sorted(paths))}")
    if kind not in KINDS:
        raise Malformed(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    times = fields.whole("times", most=_MOST_TIMES) if "times" in fields else 1
    if times == 0:
        raise Malformed("field 'times' is 0")
    code = fields.whole("code") if "code" in fields else DEFAULT_CODE
    if code == 0:
        raise Malformed("field 'code' is 0, which is success")
    seconds = DEFAULT_SECONDS
    if "seconds" in fields:
        text = fields.number("seconds")
        if not isinstance(text, Num):
            raise Malformed("field 'seconds' is not a number")
        seconds = float(text)
        if not 0 <= seconds <= _MOST_SECONDS:
            raise Malformed(f"field 'seconds' is not between 0 and {_MOST_SECONDS:.0f}")
    effect = fields.flag("effect") if "effect" in fields else kind in WITH_EFFECT
    if kind == "latency" and not effect:
        raise Malformed("kind 'latency' always has the call's effect: its answer is a true one")
    return Fault(0, path, kind, seconds, code, effect), times
