# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that stores the digests of large files between runs, so that an unchanged model is not read again.

A file is considered unchanged while its device, inode, size and times of content and status are the same. File systems
of other machines may return outdated times, so their files are not stored. A file that changes twice within the clock's
granularity keeps its times (Git calls it "racily clean"), so a file that changed shortly before it was read is not
stored either.
"""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files

_YOUNG_S = 3.0  # FAT counts in steps of 2 s, and others in smaller ones.
_LARGEST_BYTES = 8 << 20
_MOUNTS = "/proc/self/mountinfo"
# The beginnings of the names of other machines' file systems.
_REMOTE = tuple("9p afs ceph cifs fuse. gfs gpfs lustre nfs ocfs smb virtiofs".split())


class Digests:
    """SHA-256 digests of files, stored in this user's cache. rehash: read every file, and store its digest."""

    def __init__(self, rehash: bool = False) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self._path = os.path.join(cache, "tfserving", "digests")
        self._rehash = rehash
        self._known: dict[str, str] | None = None
        self._remote: set[str] | None = None

    def of(self, path: str) -> str:
        """Return the digest of a file, in hexadecimal. Raise FleetError if it cannot be read."""
        began, status = time.time(), _status(path)
        key = _key(status) if status else None
        known = self._load()
        if not self._rehash and key in known:
            return known[key]
        digest = model_files.file_digest(path)
        after = _status(path)
        if status and after and key == _key(after) and _age_s(after, began) > _YOUNG_S and not self._is_remote(after):
            known[key] = digest
            self._keep(f"{key} {digest}\n")
        return digest

    def _is_remote(self, status: os.stat_result) -> bool:
        if self._remote is None:
            self._remote = set()
            with contextlib.suppress(OSError), open(_MOUNTS, encoding="utf-8", errors="replace") as stream:
                self._remote = remote_devices(stream.read())
        return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}" in self._remote

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
        """Add a line in a single write, so that lines of parallel runs do not mix. Do nothing if the cache is not writable."""
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            if os.path.exists(self._path) and os.path.getsize(self._path) > _LARGEST_BYTES:
                os.unlink(self._path)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line.encode("ascii"))
            finally:
                os.close(handle)


def remote_devices(mounts: str) -> set[str]:
    """Return the devices (major:minor) of the file systems of other machines. mounts: a text such as /proc/self/mountinfo."""
    halves = (line.partition(" - ") for line in mounts.splitlines())
    return {before.split()[2] for before, _dash, after in halves if after.startswith(_REMOTE)}


def _status(path: str) -> os.stat_result | None:
    """Return a file's status, or None if it cannot be opened.

    Opening queries a file server, whose status stat() may have cached. It does not wait for a pipe.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)


def _key(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _age_s(status: os.stat_result, now: float) -> float:
    """Return for how many seconds a file has been unchanged; less than 0 if its times are in the future."""
    return now - max(status.st_mtime, status.st_ctime)
