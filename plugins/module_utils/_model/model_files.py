# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that lists the files of a model, and computes their digests."""

from __future__ import annotations

import hashlib
import os
import stat

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

MANIFEST = "manifest.json"
_STRANGE = "it is not a file or directory of a model, but a broken or circular link, a pipe, a socket, or a device"


def read_file(path: str, limit: int = -1) -> bytes:
    """Return the bytes of a plain file, at most limit of them unless it is negative. Raise FleetError, also for a pipe or a device, which have no end."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise FleetError("it is not a regular file", where=path)
            return stream.read(limit)
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault


def files(directory: str, leaving: bool = False) -> list[str]:
    """Return the relative paths of all files below directory, sorted, without the manifest, which is not a part of the model.

    Raise FleetError for what cannot be copied: a pipe, a socket, a device, or a link that is broken, circular or,
    unless leaving, points outside of the directory.
    """
    found, root = [], os.path.realpath(directory)
    for parent, folders, names in os.walk(directory, followlinks=True):
        real = os.path.realpath(parent)
        for path in filter(os.path.islink, (os.path.join(parent, name) for name in [*folders, *names])):
            if not leaving and os.path.exists(path) and not shared_folders.is_inside(os.path.realpath(path), root):
                raise shared_folders.leaves(path, os.path.realpath(path))
        looping = [
            name
            for name in folders
            if os.path.islink(os.path.join(parent, name))
            and os.path.commonpath([real, link := os.path.realpath(os.path.join(parent, name))]) == link
        ]
        for name in sorted(names) + looping:
            path = os.path.join(parent, name)
            if not os.path.isfile(path):
                raise FleetError(_STRANGE, where=path, remedy="Remove it, or copy the model to its own directory.")
            found.append(os.path.relpath(path, directory))
    return sorted(name for name in found if name != MANIFEST)


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raise FleetError if it cannot be read."""
    total = hashlib.sha256()
    if os.path.exists(path) and not os.path.isfile(path):
        raise FleetError("it is not a regular file", where=path)  # Reading a pipe could wait forever.
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                total.update(block)
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault
    return total.hexdigest()
