"""Broadcasts to all endpoints at once: one success is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chain_adapter.chain import ChainError, Rejected, SignedTx, Unavailable
from chain_adapter.guard.endpoint import Endpoint
from chain_adapter.guard.limits import Limits
from chain_adapter.guard.pool import worst


class Sender:
    """Sends signed bytes; what is on its way when the first success comes goes on behind it."""

    def __init__(self, endpoints: Sequence[Endpoint], limits: Limits) -> None:
        self._endpoints = endpoints
        self._limits = limits
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, tx: SignedTx) -> None:
        """`Rejected` only if all reject; otherwise, without a success, `Unavailable`: unknown."""
        waiting = {asyncio.create_task(self._one(one, tx)) for one in self._endpoints}
        self._sending.update(waiting)
        for task in waiting:
            task.add_done_callback(self._ended)
        errors: list[BaseException] = []
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    return
                errors.append(error)
        for error in errors:
            if not isinstance(error, ChainError):
                raise error
        refused = [error for error in errors if isinstance(error, Rejected)]
        if len(refused) == len(errors):
            raise refused[0]
        raise worst([error for error in errors if isinstance(error, Unavailable)])

    async def finish(self) -> None:
        """Let what is being sent end, but no longer than a request may take."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._limits.request_timeout_s)
        for task in list(self._sending):
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # seen: after the first success nobody else reads it

    async def _one(self, endpoint: Endpoint, tx: SignedTx) -> None:
        timeout_s = self._limits.request_timeout_s
        await endpoint.ask("broadcast", lambda chain: chain.broadcast(tx), timeout_s)
