# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that lists the files of a model, and computes their digests."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core import bounded_archives, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

MANIFEST = "manifest.json"
_MOST_BYTES = 2 << 30  # Of a protobuf message.
_STRANGE = "it is not a file or directory of a model, but a broken or circular link, a pipe, a socket, or a device"


def read_file(path: str, limit: int = -1) -> bytes:
    """Return the bytes of a plain file, at most limit of them unless it is negative. Raise FleetError, also for a pipe or a device, which have no end."""
    try:
        if limit < 0:
            return shared_folders.read(path, _MOST_BYTES)
        with shared_folders.open_regular(path) as stream:
            return stream.read(limit)
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault


def files(directory: str, leaving: bool = False) -> list[str]:
    """Return the relative paths of all files below directory, sorted, without the manifest, which is not a part of the model.

    Raise FleetError for what cannot be copied: a pipe, a socket, a device, a sparse file, more files than a model has, or
    a link that is broken, circular or, unless leaving, points outside of the directory.
    """
    found, root = [], os.path.realpath(directory)
    real_of = {directory: root}
    for parent, folders, names in shared_folders.walk(directory):
        real, looping = real_of.pop(parent), []
        for name in [*folders, *names]:
            path = os.path.join(parent, name)
            target = real_of[path] = os.path.realpath(
                os.path.join(real, name)
            )  # Short, also where links make path long.
            if not os.path.islink(path):
                continue
            if not leaving and os.path.exists(path) and not shared_folders.is_inside(target, root):
                raise shared_folders.leaves(path, target)
            if name in folders and shared_folders.is_inside(real, target):
                looping.append(name)
        for name in sorted(names) + looping:
            path = os.path.join(parent, name)
            if not os.path.isfile(path):
                raise FleetError(_STRANGE, where=path, remedy="Remove it, or copy the model to its own directory.")
            _refuse_holes(path)
            found.append(os.path.relpath(path, directory))
    return sorted(name for name in found if name != MANIFEST)


def _refuse_holes(path: str) -> None:
    """Raise FleetError for a file whose holes make it larger than an archive of its size on the disk may be."""
    status = os.stat(path)
    most_bytes = bounded_archives.unpacked_bytes(status.st_blocks * 512)
    if status.st_size > most_bytes and (status.st_blocks or not _has_data(path)):
        raise FleetError(
            "it is a sparse file with almost no data", where=path, remedy="Export or copy the whole model again."
        )


def _has_data(path: str) -> bool:
    """Return whether a file has data; some network file systems do not count blocks."""
    with shared_folders.open_regular(path) as stream:
        try:
            return stream.seek(0, os.SEEK_DATA) >= 0
        except OSError:
            return False


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raise FleetError if it cannot be read."""
    total = hashlib.sha256()
    try:
        with shared_folders.open_regular(path) as stream:
            left = os.fstat(stream.fileno()).st_size  # Of a file that grows meanwhile there may be no end.
            while left > 0 and (block := stream.read(min(left, 1 << 20))):
                total.update(block)
                left -= len(block)
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault
    return total.hexdigest()
