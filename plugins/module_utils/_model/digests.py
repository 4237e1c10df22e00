# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that remembers the digests of large files between runs, so that a model that did not change is not read again.

A file is the same while its device, inode, size and times of content and status are. Git calls the trap that is left "racily clean": a file that changes again
within the clock's granularity keeps its times. So nothing is remembered of a file that was young when it was read.
"""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files

_YOUNG_S = 3.0  # FAT counts in steps of 2 s, others finer.
_LARGEST_BYTES = 8 << 20


class Digests:
    """SHA-256 digests of files, kept in this user's cache. rehash: read every file, and remember that."""

    def __init__(self, rehash: bool = False) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self._path = os.path.join(cache, "tfserving", "digests")
        self._rehash = rehash
        self._known: dict[str, str] | None = None

    def of(self, path: str) -> str:
        """The digest of a file, in hexadecimal. Raises FleetError where it cannot be read."""
        began, key = time.time(), _key(path)
        known = self._load()
        if not self._rehash and key in known:
            return known[key]
        digest = model_files.file_digest(path)
        if key is not None and key == _key(path) and _age_s(path, began) > _YOUNG_S:
            known[key] = digest
            self._keep(f"{key} {digest}\n")
        return digest

    def _load(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError):
                with open(self._path, encoding="ascii") as stream:
                    status = os.fstat(stream.fileno())
                    if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                        lines = (line.rstrip("\n").rpartition(" ") for line in stream if line.endswith("\n"))
                        self._known = {key: digest for key, _blank, digest in lines if len(digest) == 64}
        return self._known

    def _keep(self, line: str) -> None:
        """Add a line, in one write, so that runs at the same time do not mix theirs. A cache that cannot be written remembers nothing."""
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            if os.path.exists(self._path) and os.path.getsize(self._path) > _LARGEST_BYTES:
                os.unlink(self._path)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line.encode("ascii"))
            finally:
                os.close(handle)


def _key(path: str) -> str | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _age_s(path: str, now: float) -> float:
    """For how long a file is as it is; less than 0 where its times lie ahead."""
    status = os.stat(path)
    return now - max(status.st_mtime, status.st_ctime)
