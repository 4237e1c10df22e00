# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protobuf's wire format with the standard library: enough to read a SavedModel and to write small messages."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Union

_VARINT, _BYTES = 0, 2
_FIXED = {1: struct.Struct("<Q"), 5: struct.Struct("<I")}
_SIGN = 1 << 63


Buffer = Union[bytes, bytearray, memoryview]
Fields = dict[
    int, list[Any]
]  # The values of each field by its number: int for numbers, memoryview for texts and messages.


class Malformed(ValueError):
    """The bytes are not a message."""


def fields(message: Buffer) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value) in the order of the bytes: an int (not negative) for numbers, a memoryview for texts and messages.

    message: bytes or memoryview. Raises Malformed.
    """
    view, position = memoryview(message), 0
    value: Any
    while position < len(view):
        key, position = read_varint(view, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = read_varint(view, position)
        elif kind == _BYTES:
            size, position = read_varint(view, position)
            value, position = _slice(view, position, size)
        elif kind in _FIXED:
            value, position = _slice(view, position, _FIXED[kind].size)
            value = _FIXED[kind].unpack(value)[0]
        else:
            raise Malformed(f"unknown wire type {kind} at byte {position}")
        if number == 0:
            raise Malformed(f"field number 0 before byte {position}")
        yield number, value


def grouped(message: Buffer) -> Fields:
    """Return {field number: [values]} of a message."""
    found: Fields = {}
    for number, value in fields(message):
        found.setdefault(number, []).append(value)
    return found


def last(parts: Fields, number: int, default: Any = b"") -> Any:
    """Return the value of a field that is not repeated, out of grouped()."""
    return parts[number][-1] if number in parts else default


def entries(values: Iterable[Buffer]) -> dict[str, Any]:
    """Return {key: value} of a map field with text keys, given the field's values; a missing value is an empty message."""
    found = {}
    for entry in values:
        parts = grouped(entry)
        found[text(last(parts, 1))] = parts.get(2, [memoryview(b"")])[-1]
    return found


def varints(value: Buffer) -> list[int]:
    """Return the numbers of a packed field."""
    view, position, found = memoryview(value), 0, []
    while position < len(view):
        number, position = read_varint(view, position)
        found.append(number)
    return found


def text(value: Any) -> str:
    """Return a string field. Raise Malformed for a number, from which bytes() would create that many bytes."""
    if isinstance(value, int):
        raise Malformed(f"a number ({value}) instead of a string")
    return bytes(value).decode("utf-8", "replace")


def signed(value: int) -> int:
    """Return an int64 or int32 field."""
    return value - 2 * _SIGN if value & _SIGN else value


def held(number: int, content: Buffer) -> bytes:
    """Return the bytes of a field that contains a string or a message."""
    return varint(number << 3 | _BYTES) + varint(len(content)) + bytes(content)


def whole(number: int, value: int) -> bytes:
    """Return the bytes of a field that contains a whole number."""
    return varint(number << 3 | _VARINT) + varint(value % (2 * _SIGN))


def varint(value: int) -> bytes:
    """Return a number that is not negative: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def read_varint(view: Buffer, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(view):
        byte = view[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, position
        shift += 7
        if shift > 63:
            raise Malformed(f"a number of more than 64 bits before byte {position}")
    raise Malformed("cut short")


def _slice(view: memoryview, position: int, size: int) -> tuple[memoryview, int]:
    if position + size > len(view):
        raise Malformed("cut short")
    return view[position : position + size], position + size
