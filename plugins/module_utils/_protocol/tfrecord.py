# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TFRecord files: each record is its length, the length's checksum, the bytes, and their checksum (CRC-32C, masked)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer

_POLYNOMIAL, _MASK_DELTA, _ALL = 0x82F63B78, 0xA282EAD8, 0xFFFFFFFF
_HEAD, _SUM = struct.Struct("<QI"), struct.Struct("<I")


class Malformed(ValueError):
    """The bytes are not a TFRecord file, or only a part of one."""


def is_one(content: Buffer) -> bool:
    """Return whether the bytes begin as a TFRecord file does."""
    if len(content) < _HEAD.size:
        return False
    length, checksum = _HEAD.unpack_from(content)
    return bool(_masked(struct.pack("<Q", length)) == checksum)


def records(content: Buffer) -> Iterator[memoryview]:
    """Yield the records, memoryviews. Raises Malformed."""
    view, position = memoryview(content), 0
    while position < len(view):
        if not is_one(view[position : position + _HEAD.size]):
            raise Malformed(f"no record begins at byte {position}")
        start = position + _HEAD.size
        end = start + _HEAD.unpack_from(view, position)[0]
        if end + _SUM.size > len(view):
            raise Malformed(f"the record at byte {position} is truncated")
        if _masked(view[start:end]) != _SUM.unpack_from(view, end)[0]:
            raise Malformed(f"the record at byte {position} is damaged")
        yield view[start:end]
        position = end + _SUM.size


def frame(record: Buffer) -> bytes:
    """Return a record as in the file."""
    length = struct.pack("<Q", len(record))
    return length + _SUM.pack(_masked(length)) + bytes(record) + _SUM.pack(_masked(record))


def _masked(content: Buffer) -> int:
    checksum = _ALL
    for byte in bytes(content):
        checksum = _TABLE[(checksum ^ byte) & 255] ^ checksum >> 8
    checksum ^= _ALL
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & _ALL


def _entry(number: int) -> int:
    for _bit in range(8):
        number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE = tuple(_entry(number) for number in range(256))
