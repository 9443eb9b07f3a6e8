"""Which address keys may be ours: a compact answer for millions, before anything is looked up.

A key is known by its first eight bytes, as a 64-bit number. A bitmap over some of those bits sends
most strangers away with one look; the sorted array of all numbers answers for the rest. New keys
stand in a small set until they are merged. It may say yes wrongly, never no: the books match
exactly what it lets through.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import le
from struct import Struct

PREFIX = 8  # bytes of a key that are kept
_LOW = 0xFFFFFFFF  # the bitmap is over the last four of them: the first may be a script's opcodes
_SPARSE = 4  # 2^4 bits a key: one stranger in sixteen passes the bitmap
_LEAST_BITS, _MOST_BITS = 16, 32
_WORD = "I" if array("I").itemsize == 4 else "L"


def packed(key: bytes) -> int:
    """The number by which the filter knows a key: its first eight bytes, zeros behind."""
    return int.from_bytes(key[:PREFIX].ljust(PREFIX, b"\0"), "big")


class AddressFilter:
    """A `Container[bytes]` of address keys, about ten bytes each.

    Guarantees: an added key is always found. Does not guarantee that what is found was added:
    a stranger passes about once in 2^44 questions to a million keys, or when he works for it.
    """

    __slots__ = ("_bitmap", "_bits", "_fresh", "_prefixes")

    def __init__(self, keys: Iterable[Sequence[bytes]] = ()) -> None:
        """`keys` come in chunks, so that millions stream in; sorted ones load fastest."""
        prefixes = array("Q")
        for chunk in keys:
            prefixes.frombytes(b"".join([key[:PREFIX].ljust(PREFIX, b"\0") for key in chunk]))
        if sys.byteorder == "little":
            prefixes.byteswap()
        if not all(map(le, prefixes, islice(prefixes, 1, None))):
            prefixes = array("Q", sorted(prefixes))
        self._fresh: set[int] = set()
        self._take(prefixes)

    def _take(self, prefixes: array[int]) -> None:
        self._prefixes = prefixes
        bits = len(prefixes).bit_length() + _SPARSE
        self._bits = min(max(bits, _LEAST_BITS), _MOST_BITS)
        self._bitmap = bytearray(1 << self._bits >> 3)
        shift, bitmap = 32 - self._bits, self._bitmap
        for prefix in prefixes:
            slot = (prefix & _LOW) >> shift
            bitmap[slot >> 3] |= 1 << (slot & 7)

    def __len__(self) -> int:
        return len(self._prefixes) + len(self._fresh)

    def add(self, key: bytes) -> None:
        """A new address; found from now on."""
        prefix = packed(key)
        if self._has(prefix):
            return
        slot = (prefix & _LOW) >> 32 - self._bits
        self._bitmap[slot >> 3] |= 1 << (slot & 7)
        self._fresh.add(prefix)
        # Fresh ones cost ten times the memory: they join the array when they have become many.
        if len(self._fresh) > 4096 + len(self._prefixes) // 64:
            self._merge()

    def _merge(self) -> None:
        old, merged, start = self._prefixes, array("Q"), 0
        for prefix in sorted(self._fresh):
            at = bisect_left(old, prefix, start)
            merged.extend(old[start:at])
            merged.append(prefix)
            start = at
        merged.extend(old[start:])
        self._fresh = set()
        self._take(merged)

    def _has(self, prefix: int) -> bool:
        at = bisect_left(self._prefixes, prefix)
        if at < len(self._prefixes) and self._prefixes[at] == prefix:
            return True
        return prefix in self._fresh

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes):
            return False
        prefix = packed(key)
        slot = (prefix & _LOW) >> 32 - self._bits
        if not self._bitmap[slot >> 3] >> (slot & 7) & 1:
            return False
        return self._has(prefix)

    def hits(self, keys: Sequence[bytes]) -> list[int]:
        """Indexes of the keys that may be ours. Far cheaper than asking one by one."""
        width = len(keys[0]) if keys else 0
        joined = b"".join(keys)
        if width < PREFIX or len(joined) != width * len(keys):
            return [index for index, key in enumerate(keys) if key in self]
        return self.hits_in(joined, width)

    def hits_in(self, joined: bytes, width: int) -> list[int]:
        """As `hits`, for keys of one width (at least 8 bytes) that stand one after another."""
        shift, bitmap = 32 - self._bits, self._bitmap
        byte = shift + 3
        maybe = [
            index
            for index, word in enumerate(_words(joined, width))
            if (eight := bitmap[word >> byte]) and eight >> (word >> shift & 7) & 1
        ]
        if not maybe:
            return maybe
        at = [index * width for index in maybe]
        prefixes = [int.from_bytes(joined[start : start + PREFIX], "big") for start in at]
        return [index for index, prefix in zip(maybe, prefixes, strict=True) if self._has(prefix)]


def _words(joined: bytes, width: int) -> Iterable[int]:
    """Bytes 4 to 8 of each key as a number."""
    if width % 4:
        pattern = Struct(f">4xI{width - PREFIX}x")
        return [word for (word,) in pattern.iter_unpack(joined)]
    words = array(_WORD, joined)[1 :: width // 4]
    if sys.byteorder == "little":
        words.byteswap()
    return words
