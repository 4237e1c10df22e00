# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that reads untrusted archives: it compares declared sizes with limits before it reads, and counts the bytes that it reads."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_COMPRESSED: tuple[tuple[bytes, Any], ...] = ((b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ", lzma), (b"]\0\0", lzma))
_SMALL_BYTES, _RATIO = 256 << 20, 100
_HEADER_BYTES = 1 << 20  # No file system has longer names and attributes.
_FOLDERS = 100
_MEMBER_BYTES = 1000  # Of the description of a member of a zip archive.
_SMALL_ARRAYS_BYTES, _MOST_ARRAYS = 64 << 20, 10_000


class Limits:
    """The limits of one archive, and a count of its members. where: its path or address, for errors."""

    def __init__(self, where: str, most_bytes: int, most_members: int) -> None:
        self.where, self.most_bytes, self._most_members = where, most_bytes, most_members
        self.bytes = self._members = 0

    def add(self, name: str, size: int) -> None:
        """Count a member. Raise FleetError."""
        if size < 0:
            raise self.fault(
                f"{name} has {size} bytes"
            )  # tarfile would seek back by this size and read the same member again.
        self.bytes += size
        self._members += 1
        self.check_members(self._members)
        if name.count("/") > _FOLDERS:
            raise self.fault(f"it contains folders that are nested more than {_FOLDERS} deep")
        self.check(self.bytes)

    def check_members(self, count: int) -> None:
        """Raise FleetError if this number of members is above the limit."""
        if count > self._most_members:
            raise self.fault(f"it contains more than {self._most_members} files and folders")

    def check(self, size: int) -> None:
        """Raise FleetError if this unpacked size is above the limit."""
        if size > self.most_bytes:
            raise self.fault(f"its content is larger than {self.most_bytes >> 20} MiB")

    def fault(self, what: str) -> FleetError:
        """Return the FleetError for an archive beyond the limits."""
        return FleetError(
            what, where=self.where, remedy="Unpack it in a safe place, inspect its content, and use the folder."
        )


def unpacked_bytes(packed_bytes: int, small_bytes: int = _SMALL_BYTES) -> int:
    """Return how large an archive of this size may be unpacked: models shrink to a tenth at best, unless they are all zeros."""
    return max(small_bytes, _RATIO * packed_bytes)


@contextlib.contextmanager
def arrays(path: str) -> Iterator[dict[str, Callable[[], bytes]]]:
    """Yield {name: function that reads it} of the arrays of a NumPy archive. Raise FleetError and archive_errors.FAULTS."""
    limits = Limits(path, unpacked_bytes(os.path.getsize(path), _SMALL_ARRAYS_BYTES), _MOST_ARRAYS)
    with shared_folders.open_regular(path) as stream, open_zip(stream, limits) as opened:
        yield {
            one.filename[: -len(".npy")]: functools.partial(opened.read, one)
            for one in opened.infolist()
            if one.filename.endswith(".npy")
        }


def open_tar(stream: IO[bytes], limits: Limits) -> tarfile.TarFile:
    """Open a tar archive, compressed or not, for reading within the limits. Raise FleetError and archive_errors.FAULTS."""
    stream.seek(0)
    head = stream.read(8)
    stream.seek(0)
    module = next((module for magic, module in _COMPRESSED if head.startswith(magic)), None)
    return tarfile.open(fileobj=_Bounded(module.open(stream) if module else stream, limits), mode="r:")  # type: ignore[call-overload, no-any-return]


def members(archive: tarfile.TarFile, limits: Limits) -> list[tarfile.TarInfo]:
    """Return the members of an archive. Each is counted before the search for the next one, which unpacks it."""
    found = []
    for member in archive:
        limits.add(member.name, member.size)
        found.append(member)
    return found


def open_zip(stream: IO[bytes], limits: Limits) -> zipfile.ZipFile:
    """Open a zip archive, and count its members. Raise FleetError and archive_errors.FAULTS."""
    directory = _Directory(stream, limits)
    archive = zipfile.ZipFile(directory)
    directory.read = stream.read  # type: ignore[assignment,method-assign]
    for one in archive.infolist():
        limits.add(one.filename, one.file_size)
    return archive


class _Directory:
    """A stream for zipfile, which reads the descriptions of all members at once, and needs ten times as much memory for them."""

    def __init__(self, stream: IO[bytes], limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        self._limits.check_members(size // _MEMBER_BYTES)
        return self._stream.read(size)


class _Bounded:
    """A stream for tarfile that is read within the limits, and in small pieces."""

    def __init__(self, stream: Any, limits: Limits) -> None:
        self._stream, self._limits, self.tell = stream, limits, stream.tell

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        if not 0 <= size <= _HEADER_BYTES:
            raise self._limits.fault("one of its headers is longer than any file system allows")
        content: bytes = self._stream.read(size)
        self._limits.check(self._stream.tell())
        return content

    def seek(self, position: int, whence: int = 0) -> int:
        """Seek like a file; whence is 0."""
        self._limits.check(position)
        return int(self._stream.seek(position, whence))
