"""A file of addresses into the books: all of it or nothing, millions in seconds.

Lines are parsed and staged in a private temporary database, where a repeated address counts once;
only when every line was good one transaction takes them over, so that a daemon on the same books
waits for that alone.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sqlite3
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chain_adapter.chain import Chain, InvalidAddress
from chain_adapter.errors import AdapterError, ConfigError
from chain_adapter.store import addresses
from chain_adapter.store.events import record
from chain_adapter.store.store import Store, Tx

BLOCK = 1 << 20  # bytes read at a time
LONGEST = 512  # bytes of a line; no address of any chain is so long


class BadLine(AdapterError):
    """A line of the file is no address of the chain. Nothing was stored."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Imported:
    """Addresses that were added, and that the books held before; each counted once."""

    imported: int
    known: int


def blocks_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, whole lines) of a file, a megabyte or so at a time."""
    first = 1
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                block += file.readline()
                yield first, block
                first += block.count(b"\n")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def parsed(chain: Chain, first: int, block: bytes) -> list[tuple[bytes, str]]:
    """(address key, spelling) of every line that is not blank. Raises `BadLine` with its number."""
    parse, key = chain.parse_address, chain.address_key
    if first == 1:
        block = block.removeprefix(b"\xef\xbb\xbf")
    found: list[tuple[bytes, str]] = []
    for number, raw in enumerate(block.split(b"\n"), first):
        line = raw.strip()
        if not line:
            continue
        try:
            if len(line) > LONGEST:
                raise BadLine(f"line {number}: longer than any address; nothing was stored")
            text = line.decode("utf-8")
            found.append((key(parse(text)), text))
        except UnicodeDecodeError:
            raise BadLine(f"line {number}: is not UTF-8 text; nothing was stored") from None
        except InvalidAddress as error:
            raise BadLine(
                f"line {number}: no address of this chain ({error}); nothing was stored"
            ) from None
    return found


_chain_of_worker: Chain | None = None


def _adopt(chain: Chain) -> None:
    """A forked worker inherits the chain: a plugin's objects need not be fit for pickling."""
    global _chain_of_worker  # noqa: PLW0603
    _chain_of_worker = chain


def _in_worker(first: int, block: bytes) -> list[tuple[bytes, str]]:
    assert _chain_of_worker is not None
    return parsed(_chain_of_worker, first, block)


def parsed_blocks(path: Path, chain: Chain) -> Iterator[list[tuple[bytes, str]]]:
    """Every block parsed, in order; a large file by all processors. Raises `BadLine`."""
    blocks = blocks_of(path)
    start = list(itertools.islice(blocks, 2))
    workers = os.cpu_count() or 1
    if len(start) < 2 or workers < 2:
        for first, block in itertools.chain(start, blocks):
            yield parsed(chain, first, block)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, _adopt, (chain,)) as pool:
        waiting: deque[Future[list[tuple[bytes, str]]]] = deque()
        try:
            for first, block in itertools.chain(start, blocks):
                waiting.append(pool.submit(_in_worker, first, block))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Staged:
    """The addresses of a good file, each once, in a temporary file. A context manager."""

    def __init__(self, path: Path, chain: Chain) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="chain-adapter-import-")
        try:
            self._fill(path, chain)
        except BaseException:
            self._directory.cleanup()
            raise

    def _fill(self, path: Path, chain: Chain) -> None:
        self._connection = sqlite3.connect(
            Path(self._directory.name) / "staged.db", isolation_level=None
        )
        run = self._connection.execute
        run("PRAGMA journal_mode=OFF")
        run("PRAGMA synchronous=OFF")
        run("CREATE TABLE lines (key BLOB NOT NULL, address TEXT NOT NULL)")
        run("BEGIN")
        try:
            for batch in parsed_blocks(path, chain):
                self._connection.executemany("INSERT INTO lines VALUES (?, ?)", batch)
        except BadLine as error:
            raise BadLine(f"{path}, {error}") from None
        # Sorted once at the end: cheaper than an index that grows at random places.
        run(
            "CREATE TABLE staged AS SELECT key, address, min(rowid) AS line FROM lines "
            "GROUP BY key ORDER BY key"
        )
        run("COMMIT")

    def rows(self) -> Iterator[tuple[bytes, str]]:
        """Sorted by key, each key once, in the spelling that came first."""
        yield from self._connection.execute("SELECT key, address FROM staged ORDER BY rowid")

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._directory.cleanup()


def take_over(store: Store, chain: str, staged: Staged, who: str, source: str) -> Imported:
    """One transaction: what is new becomes a watched address, what is known stays as it is."""

    def unit(tx: Tx) -> Imported:
        added, known = addresses.import_watched(tx, chain, staged.rows())
        if added:
            record(
                tx, chain, "addresses imported", f"addresses:{chain}",
                imported=added, file=source, who=who,
            )  # fmt: skip
        return Imported(added, known)

    return store.write_now(unit)
