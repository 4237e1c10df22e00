# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that replaces files and directories atomically (stage, flush, rename), and locks them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

STAGING_PREFIX = ".tfserving-staging-"
_POLL_S = 0.05


def write_file(path: str, content: bytes, mode: int = 0o644) -> None:
    """Write content (bytes) to path; a reader sees the old file or the new one, never a part."""
    directory = os.path.dirname(os.path.abspath(path))
    handle, staged = tempfile.mkstemp(prefix=_prefix(), dir=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(staged, path)
    except BaseException:
        os.unlink(staged)
        raise
    _flush_directory(directory)


def staging_directory(parent: str) -> str:
    """Create a directory below parent whose name contains this process's id, and is not a version for any server."""
    os.makedirs(parent, exist_ok=True)
    return tempfile.mkdtemp(prefix=_prefix(), dir=parent)


@contextlib.contextmanager
def scratch_directory(parent: str | None = None) -> Iterator[str]:
    """Yield a directory below parent (by default that of temporary files), and remove it afterwards, together with those of killed runs."""
    parent = parent or tempfile.gettempdir()
    sweep(parent)
    directory = staging_directory(parent)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def publish_directory(staged: str, final: str) -> None:
    """Rename a staged directory to its final name on the same filesystem after flushing its files. Raise OSError if final exists."""
    for directory, _names, files in os.walk(staged):
        for name in files:
            with open(os.path.join(directory, name), "rb") as stream:
                os.fsync(stream.fileno())
        _flush_directory(directory)
    shared_folders.set_mode(staged, 0o755)
    os.rename(staged, final)
    _flush_directory(os.path.dirname(os.path.abspath(final)))


def lock(stream: IO[Any], wait_s: float, what: str, where: str) -> None:
    """Lock an open file until it is closed. Raise FleetError after wait_s; what: the thing that the lock protects."""
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as fault:
            if time.monotonic() > end:
                raise FleetError(
                    f"another process is changing this {what}", where=where, remedy="Try again when it has finished."
                ) from fault
        time.sleep(_POLL_S)


def sweep(parent: str) -> list[str]:
    """Remove what killed runs of this account left staged below parent, and return the removed names."""
    removed = []
    for name in sorted(os.listdir(parent)) if os.path.isdir(parent) else []:
        path = os.path.join(parent, name)
        if name.startswith(STAGING_PREFIX) and not _owner_lives(name) and _is_ours(path):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            removed.append(name)
    return removed


def _prefix() -> str:
    return f"{STAGING_PREFIX}{os.getpid()}-"


def _owner_lives(name: str) -> bool:
    owner = name[len(STAGING_PREFIX) :].partition("-")[0]
    return owner.isdigit() and os.path.isdir(f"/proc/{owner}")


def _is_ours(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _flush_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
