"""The protobuf wire format, as much of it as transactions need. Pure.

Writing: `number_field` and `bytes_field` leave out zero and empty, as proto3 does, so that one
message has one encoding. Reading: `Message` keeps the last value of each field number, as every
parser does, and ignores a field whose wire type is not the expected one.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_WORD = 1 << 64
_TOP = 1 << 63


def varint(value: int) -> bytes:
    """A 64-bit number, negative ones in two's complement."""
    value %= _WORD
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(number: int, value: int) -> bytes:
    """A varint field; nothing for zero."""
    return varint(number << 3) + varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field; nothing for no bytes."""
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """A length-delimited field that is written even when empty, as repeated messages are."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) in order. Raises `ValueError` for bytes that are no message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a protobuf field has no number")
        if kind == VARINT:
            value, at = _read_varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _read_varint(data, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"protobuf wire type {kind} is not one of today's")
        if at + size > end:
            raise ValueError("a protobuf field ends beyond its message")
        yield number, kind, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a protobuf number breaks off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _WORD, at
    raise ValueError("a protobuf number is longer than ten bytes")


class Message:
    """A message read: its fields by number. Raises `ValueError` for bytes that are none."""

    __slots__ = ("_bytes", "_numbers")

    def __init__(self, data: bytes) -> None:
        self._numbers: dict[int, int] = {}
        self._bytes: dict[int, list[bytes]] = {}
        for number, kind, value in fields(data):
            if isinstance(value, int):
                self._numbers[number] = value
            elif kind == BYTES:
                self._bytes.setdefault(number, []).append(value)

    def number(self, number: int) -> int:
        """A signed 64-bit number; 0 when it is absent."""
        value = self._numbers.get(number, 0)
        return value - _WORD if value >= _TOP else value

    def bytes_of(self, number: int) -> bytes:
        """The last value of a bytes field; empty when it is absent."""
        found = self._bytes.get(number)
        return found[-1] if found else b""

    def all_of(self, number: int) -> list[bytes]:
        """Every value of a repeated field."""
        return self._bytes.get(number, [])
