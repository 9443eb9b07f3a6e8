"""Earlier answers, kept for the faults that send one again.

Of every path and symbol the newest answer to each payload is kept, twenty at most.
"""

from __future__ import annotations

from chain_adapter.sandbox.ledger import Books, Ledger

_KEPT = 20


class Answers:
    """Writes behind the callers' backs: nobody waits for a memory of an answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def remember(self, path: str, symbol: str, plaintext: bytes, body: bytes) -> None:
        """An answer of success, as it went out."""

        def unit(books: Books) -> None:
            books.do(
                "INSERT OR REPLACE INTO answers (path, symbol, plaintext, body)"
                " VALUES (?, ?, ?, ?)",
                path, symbol, plaintext, body,
            )  # fmt: skip
            books.do(
                "DELETE FROM answers WHERE path = ? AND symbol = ? AND id <= (SELECT id FROM"
                " answers WHERE path = ? AND symbol = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                path, symbol, path, symbol, _KEPT,
            )  # fmt: skip

        self._ledger.later(unit)

    async def last(self, path: str) -> bytes | None:
        """The newest answer of this path, byte for byte."""

        def unit(books: Books) -> bytes | None:
            row = books.one(
                "SELECT body FROM answers WHERE path = ? ORDER BY id DESC LIMIT 1", path
            )
            return None if row is None else bytes(row["body"])

        return await self._ledger.run(unit)

    async def other_payload(self, path: str, symbol: str, present: bytes) -> bytes | None:
        """The newest earlier payload for this symbol that is not the present one."""

        def unit(books: Books) -> bytes | None:
            row = books.one(
                "SELECT plaintext FROM answers WHERE path = ? AND symbol = ? AND plaintext <> ?"
                " ORDER BY id DESC LIMIT 1",
                path, symbol, present,
            )  # fmt: skip
            return None if row is None else bytes(row["plaintext"])

        return await self._ledger.run(unit)
