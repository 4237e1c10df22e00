# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the files of a model's variables contain what their index lists.

variables.index is a table of tensorflow/core/lib/io/table_format.txt: blocks of sorted keys, each without the letters that it shares with the one before,
and a footer that names the block of blocks. Its values are the messages of tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer

INDEX = "variables.index"
_POINTER = b"version https://git-lfs.github.com/spec/"
_MAGIC, _FOOTER, _TRAILER, _WORD = (0xDB4775248B80FB57).to_bytes(8, "little"), 48, 5, 4
_SHARDS = 1
_SHARD, _OFFSET, _SIZE = 3, 4, 5
_AGAIN = "Export or copy the whole model again."


def check(folder: str, content: bytes, sizes: Mapping[str, int], restored: Iterable[str] = ()) -> None:
    """Raise FleetError for a file that is missing, empty or truncated.

    folder: the directory variables of a model. content: the bytes of its index. sizes: {name: bytes} of all files
    there. restored: the tensors that the graph restores from them.
    """
    path = posixpath.join(folder, INDEX)
    if not content:
        raise FleetError("it is empty", where=path, remedy=_AGAIN)
    try:
        needed, tensors = _needed(memoryview(content))
    except (ValueError, TypeError, IndexError) as fault:
        raise FleetError(f"it is damaged: {fault}", where=path, remedy=_AGAIN) from fault
    lacking = sorted(set(restored) - tensors)
    if lacking:
        raise FleetError(
            f"it has no tensor {lacking[0]!r}, which the graph restores: the variables belong to another model",
            where=path,
            remedy=_AGAIN,
        )
    count = len(needed)
    for number, (size, tensor) in sorted(needed.items()):
        shard = f"variables.data-{number:05d}-of-{count:05d}"
        if shard not in sizes:
            raise FleetError(f"{shard} is missing", where=folder, remedy=_AGAIN)
        if sizes[shard] < size:
            raise FleetError(
                f"it has {sizes[shard]} bytes, but the index needs {size} (the tensor {tensor!r} is at its end)",
                where=posixpath.join(folder, shard),
                remedy=_AGAIN,
            )


def refuse_pointer(path: str, head: bytes) -> None:
    """Raise FleetError if the file is only a pointer of Git LFS. head: its first bytes."""
    if head.startswith(_POINTER):
        raise FleetError(
            "it is a Git LFS pointer instead of the file",
            where=path,
            remedy="Run git lfs pull where the model comes from, and copy it again.",
        )


def _needed(table: memoryview) -> tuple[dict[int, tuple[int, str]], set[str]]:
    """Return ({number of a shard: (its minimum size in bytes, the tensor at its end)} for every shard, the names of all tensors)."""
    if len(table) < _FOOTER or bytes(table[-len(_MAGIC) :]) != _MAGIC:
        raise protobuf.Malformed("the end of the index is missing")
    footer = table[-_FOOTER:]
    _offset, position = protobuf.read_varint(footer, 0)  # Of the block of filters, which TensorFlow does not write.
    _size, position = protobuf.read_varint(footer, position)
    found: dict[int, tuple[int, str]] = {}
    tensors: set[str] = set()
    for _key, handle in _entries(table, footer[position:]):
        for key, value in _entries(table, handle):
            tensors.add(key.decode("utf-8", "replace"))
            parts = protobuf.grouped(value)
            if not key:
                for number in range(protobuf.last(parts, _SHARDS, 0)):
                    found.setdefault(number, (0, ""))
                continue
            end, number = (
                protobuf.last(parts, _OFFSET, 0) + protobuf.last(parts, _SIZE, 0),
                protobuf.last(parts, _SHARD, 0),
            )
            if end > found.get(number, (0, ""))[0]:
                found[number] = (end, key.decode("utf-8", "replace"))
    return found, tensors


def _entries(table: memoryview, handle: Buffer) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (key, value) of each entry of the block at a handle."""
    offset, position = protobuf.read_varint(memoryview(handle), 0)
    size, _position = protobuf.read_varint(memoryview(handle), position)
    if offset + size + _TRAILER > len(table):
        raise protobuf.Malformed("it is truncated")
    if table[offset + size]:
        raise protobuf.Malformed("it is compressed, which TensorFlow never does")
    block = table[offset : offset + size]
    restarts = int.from_bytes(block[-_WORD:], "little")
    block, key, position = block[: len(block) - _WORD * (restarts + 1)], b"", 0
    while position < len(block):
        shared, position = protobuf.read_varint(block, position)
        rest, position = protobuf.read_varint(block, position)
        length, position = protobuf.read_varint(block, position)
        if position + rest + length > len(block):
            raise protobuf.Malformed("it is truncated")
        key = key[:shared] + bytes(block[position : position + rest])
        yield key, block[position + rest : position + rest + length]
        position += rest + length
