"""The `Signer` port: what the daemon may ask of whoever holds the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chain_adapter.chain import SignedTx
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.journal import Death, JournalEntry, PayoutKey, SettledMark
from chain_adapter.keys.request import SignRequest


class Signer(Protocol):
    """What the daemon may ask of whoever holds the keys."""

    async def sign(self, request: SignRequest) -> SignedTx:
        """The signed transaction, journaled before it is returned; the same for the same request.

        Raises `SigningRefused` with the reason, `Unreachable` when nothing can be signed now.
        """
        ...

    async def judge(self, requests: Sequence[SignRequest]) -> list[SigningRefused | None]:
        """What `sign` would answer, asked before anything is reserved: None where it would sign.

        The requests count together, in this order; nothing is signed, booked or journaled.
        """
        ...

    async def journal(self, chain: str, after: int = 0) -> list[JournalEntry]:
        """Every attempt on `chain` with `seq` above `after`, in the order of signing."""
        ...

    async def settled(self) -> list[SettledMark]:
        """Every payout that was settled by hand."""
        ...

    async def pin(self, chain: str, identity: str) -> None:
        """Record a chain's network. Raises `SigningRefused` for another than recorded."""
        ...

    async def close(self, chain: str, txid: str, death: Death) -> None:
        """Tell what became of an attempt. Raises `SigningRefused` when the proof does not hold."""
        ...

    async def settle(self, payout: PayoutKey, evidence: str, by_whom: str) -> None:
        """Mark a payout as settled by hand; from then on only voids are signed for it."""
        ...

    async def prove(self, chain: str, account: int, index: int, challenge: bytes) -> bytes:
        """A signature that shows that the signer has the key at a path (`verify_proof`)."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and let go of files and keys."""
        ...
