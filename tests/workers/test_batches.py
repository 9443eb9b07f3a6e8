"""How blocks are gathered into commits while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chain_adapter.chain import Block, BlockRef, Unavailable
from chain_adapter.workers.reading import GROUP_MOST, in_batches


def block(height: int) -> Block:
    return Block(
        BlockRef(height, f"h{height}"), f"h{height - 1}", height, height, (), (), "m", True
    )


async def told(count: int, trouble: Exception | None = None) -> AsyncIterator[Block]:
    for height in range(1, count + 1):
        yield block(height)
        if not height % 50:
            await asyncio.sleep(0)
    if trouble is not None:
        raise trouble


class Books:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.writing = 0

    async def write(self, batch: list[Block]) -> None:
        assert self.writing == 0, "two commits at once"
        self.writing += 1
        await asyncio.sleep(0)
        self.batches.append([one.ref.height for one in batch])
        self.writing -= 1


async def test_every_block_once_in_order_whatever_the_grouping() -> None:
    books = Books()
    await in_batches(told(5000), books.write, 64)
    assert [height for batch in books.batches for height in batch] == list(range(1, 5001))
    assert all(64 <= len(batch) <= GROUP_MOST for batch in books.batches[:-1])
    assert all(len(batch) % 64 == 0 for batch in books.batches[:-1])


async def test_what_comes_fast_is_written_together() -> None:
    books = Books()
    await in_batches(told(640), books.write, 64)
    assert len(books.batches) < 5


async def test_what_came_before_trouble_is_written() -> None:
    books = Books()
    with pytest.raises(Unavailable):
        await in_batches(told(70, Unavailable("gone")), books.write, 64)
    assert [height for batch in books.batches for height in batch] == list(range(1, 71))


async def test_a_commit_that_fails_ends_the_reading() -> None:
    async def write(_batch: list[Block]) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        await in_batches(told(3000), write, 64)
