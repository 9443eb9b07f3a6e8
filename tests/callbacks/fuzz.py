"""Inputs that the platform never signed, by the thousand: none of them may be handed on.

    python -m tests.callbacks.fuzz --inputs 100000

Every input goes through the very dialects and hand-off that the handlers use. Mutated are the
recorded messages (bytes, Base64 text, blocks cut, swapped, doubled, dropped, taken from another
message), strangers' seals, our own, and noise. Beside it genuine messages go in, so that a fuzz
that refuses everything for a wrong reason fails too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from chain_adapter.callbacks.blocks import from_text, to_text
from chain_adapter.callbacks.events import CallbackRefused, Event
from chain_adapter.callbacks.handler import parse_form
from chain_adapter.callbacks.handoff import HandOff
from chain_adapter.callbacks.sqlite_store import SqliteStore
from chain_adapter.callbacks.waas import WaasV2
from tests.callbacks.ends import (
    APP_ID,
    items,
    merchant,
    notice,
    platform,
    private,
    raw,
    told,
    uu_merchant,
    uu_platform,
)


class Fuzz:
    """One seeded run; `handed` counts what reached the merchant's books."""

    def __init__(self, seed: int, store: SqliteStore) -> None:
        self.random = random.Random(seed)
        self.handed: list[Event] = []
        self.refused: Counter[str] = Counter()
        self.genuine: set[bytes] = set()
        self._hand_off = HandOff(store, apply=self._book)
        self._waas = merchant()
        self._uu = uu_merchant()
        self._stranger = WaasV2(APP_ID, private("stranger"), private("merchant").public_key())
        self._seeds = [one["data"] for one in items("waas_v2.json")]
        self._uu_seeds = [one["data"] for one in items("uuwallet.json")]
        # What the platform did sign as one message: only these may come out again.
        for name in ("waas_v2.json", "uuwallet.json"):
            self.genuine |= {one["plaintext"].encode() for one in items(name)}

    def _book(self, event: Event, db: sqlite3.Connection) -> None:
        self.handed.append(event)

    def bodies(self, count: int) -> Iterator[tuple[str, bytes]]:
        """(dialect, body)"""
        for _ in range(count):
            if self.random.random() < 0.5:
                data = self._mutated(self.random.choice(self._seeds), 256, url_safe=True)
                yield "waas", self._as_form(data)
            else:
                data = self._mutated(self.random.choice(self._uu_seeds), 128, url_safe=False)
                yield "uu", data.encode("utf-8", "surrogatepass")

    def _as_form(self, data: str) -> bytes:
        if self.random.random() < 0.1:
            return data.encode("utf-8", "surrogatepass")
        return urlencode({"app_id": APP_ID, "data": data}, errors="replace").encode()

    def _mutated(self, text: str, size: int, *, url_safe: bool) -> str:
        pick = self.random.randrange(10)
        blocks = from_text(text)
        parts = [blocks[at : at + size] for at in range(0, len(blocks), size)]
        if pick == 0:  # a character
            at = self.random.randrange(len(text))
            return text[:at] + self.random.choice("AZaz09-_+/=%&{}\x00é") + text[at + 1 :]
        if pick == 1:  # cut
            return text[: self.random.randrange(len(text))]
        if pick == 2:  # noise
            noise = self.random.randbytes(self.random.randrange(size * 3))
            return self.random.choice([to_text(noise, url_safe=url_safe), noise.decode("latin-1")])
        if pick == 3:  # a bit of a block
            one = bytearray(blocks)
            one[self.random.randrange(len(one))] ^= 1 << self.random.randrange(8)
            return to_text(bytes(one), url_safe=url_safe)
        if pick == 4:  # blocks in another order
            self.random.shuffle(parts)
        elif pick == 5:  # a block twice
            parts.insert(self.random.randrange(len(parts) + 1), self.random.choice(parts))
        elif pick == 6:  # a block missing
            parts.pop(self.random.randrange(len(parts)))
        elif pick == 7:  # a block of another message
            other = from_text(self.random.choice(self._seeds if url_safe else self._uu_seeds))
            at = self.random.randrange(len(other) // size) * size
            parts[self.random.randrange(len(parts))] = other[at : at + size]
        elif pick == 8:  # by a stranger, or by ourselves
            fields = raw(notice()) if url_safe else raw(told("NOTIFY_DEPOSITED"))
            return self.random.choice([self._stranger, self._waas]).seal(fields)
        else:  # block type 2 or raw numbers
            at = self.random.randrange(len(parts))
            parts[at] = self.random.randrange(1 << (size * 8 - 9)).to_bytes(size)
        return to_text(b"".join(parts), url_safe=url_safe)

    async def feed(self, dialect: str, body: bytes) -> None:
        """One input, as the handlers read it. What opens must be a whole genuine message."""
        try:
            if dialect == "waas":
                form = parse_form(body)
                event = self._waas.notification(form)
                opened = self._waas.open_form(form)
            else:
                message = self._uu.open(body)
                event = self._uu.event(message)
                opened = _plaintext_of(body)
        except CallbackRefused as error:
            self.refused[str(error)[:40]] += 1
            return
        assert opened in self.genuine, f"not signed as one message: {opened!r}"
        await self._hand_off.offer(event)

    async def control(self) -> None:
        """Genuine messages pass: the run can tell good from bad."""
        before = len(self.handed)
        for fields in (notice(id="900001"), notice(id="900002")):
            self.genuine.add(raw(fields))
            data = platform().seal(raw(fields))
            await self.feed("waas", urlencode({"app_id": APP_ID, "data": data}).encode())
        fields = told("NOTIFY_DEPOSITED", txId="900003")
        self.genuine.add(raw(fields))
        await self.feed("uu", uu_platform().seal(raw(fields)).encode())
        assert len(self.handed) == before + 3


def _plaintext_of(body: bytes) -> bytes:
    from chain_adapter.callbacks.blocks import open_public

    text = body.decode("ascii").strip()
    return open_public(private("uuwallet").public_key(), from_text(text))


async def run(inputs: int, seed: int, path: Path) -> Fuzz:
    """Raises `AssertionError` when something was opened that nobody signed as one message."""
    store = SqliteStore(path)
    fuzz = Fuzz(seed, store)
    for dialect, body in fuzz.bodies(inputs):
        await fuzz.feed(dialect, body)
    # Unharmed seeds come through (a shuffle may change nothing); each is booked at most once.
    assert len(fuzz.handed) <= len(fuzz.genuine)
    assert len({event.key for event in fuzz.handed}) == len(fuzz.handed)
    await fuzz.control()
    await store.close()
    return fuzz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        fuzz = asyncio.run(run(given.inputs, given.seed, Path(directory) / "fuzz.db"))
    refused = sum(fuzz.refused.values())
    print(f"{given.inputs} inputs, {refused} refused, nothing handed on that was not signed")
    for why, count in fuzz.refused.most_common(8):
        print(f"  {count:7} {why}")


if __name__ == "__main__":
    sys.exit(main())
