# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for folders that other accounts can write to: it does not open files through links, and sets modes explicitly."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from typing import IO

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

MOST_ENTRIES = 10_000  # Of a model.
_NO_LOGIN = "4294967295"
_MOST_LINKS = 40  # As in Linux (path_resolution(7)).
_MOST_BYTES = 64 << 20  # Of a file that is read as a whole: configuration, state.


_accepted: set[int] = set()  # Of this module's run.


def accept(account: str | None) -> None:
    """Accept the folders of one more account, by name or UID, such as that of a server. Raise FleetError if it does not exist."""
    if account:
        try:
            _accepted.add(int(account) if account.isdecimal() else pwd.getpwnam(account).pw_uid)
        except (KeyError, ValueError) as fault:
            raise FleetError(
                f"{account!r} is not an account on this host",
                where="folder_owner",
                remedy="Create it, or name another one.",
            ) from fault


def refuse_foreign(path: str) -> None:
    """Raise FleetError if root would use a path that another account owns or can replace, for example with a link.

    Accepted are root, the account that became root (sudo, or the login), and those of accept().
    """
    if os.geteuid() != 0:
        return
    for part, status in _way(os.path.abspath(path)):
        if _is_foreign(status):
            name = _name_of(status.st_uid)
            raise FleetError(
                f"{part!r} belongs to {name}, who could make root write elsewhere",
                where=path,
                remedy=f"Change its owner to root (chown), run as {name} (become_user), or use another folder.",
            )
        if stat.S_ISDIR(status.st_mode) and status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise FleetError(
                f"every account can replace files in {part!r}, and could make root write elsewhere",
                where=path,
                remedy="Change its mode (chmod o-w), or use another folder.",
            )


def lock_file(path: str) -> IO[bytes]:
    """Open a file for atomic_files.lock() that other accounts can neither open and lock, nor replace with a link."""
    refuse_foreign(path)
    handle = open_file(path, os.O_RDWR | os.O_CREAT, 0o600)
    status = os.fstat(handle)
    if status.st_uid == os.geteuid() and status.st_nlink == 1:
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "r+b")


def open_file(path: str, flags: int, mode: int = 0o644) -> int:
    """Return the descriptor of a regular file that is not a link. Raise FleetError otherwise, and OSError as os.open() does."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as fault:
        if fault.errno == errno.ENXIO or os.path.islink(path):
            raise _strange(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _strange(path)
    return handle


def open_regular(path: str) -> IO[bytes]:
    """Open a file for reading. Links are followed. Raise OSError for a pipe or device as well, whose reader could wait forever."""
    opened = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return opened


def read(path: str, most_bytes: int = _MOST_BYTES, lent: bool = False) -> bytes:
    """Return the content of a file that open_regular() opens. Raise OSError for a larger one, which can be sparse.

    lent: others will read the content. Raise OSError as well if another account led root, with a folder or link of its own, to a file that it cannot read.
    """
    with open_regular(path) as opened:
        status = os.fstat(opened.fileno())
        if status.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {most_bytes >> 20} MiB", path)
        if lent and os.geteuid() == 0 and not status.st_mode & stat.S_IROTH:
            for part, one in _way(os.path.abspath(path)):
                if _is_foreign(one) and one.st_uid != status.st_uid:
                    name = _name_of(one.st_uid)
                    raise PermissionError(errno.EACCES, f"{part!r} belongs to {name}, who cannot read the file", path)
        return opened.read(
            status.st_size or most_bytes
        )  # It is 0 for a file of the kernel. The limit ends a file that grows.


def own_folder(path: str, mode: int = 0o700) -> None:
    """Create a folder of this account, and remove a link or another account's folder at its path."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path)
        elif status.st_uid != os.geteuid():
            shutil.rmtree(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    set_mode(path, mode)


def set_mode(path: str, mode: int) -> None:
    """Set the mode of a folder. Raise OSError if the path is a link."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def open_inside(folder: str, name: str) -> IO[bytes]:
    """Open a file below a folder for reading. Links are followed. Raise FleetError if the opened file is outside of the folder."""
    path = os.path.join(folder, name)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        opened = os.fdopen(handle, "rb")
        real = os.readlink(f"/proc/self/fd/{handle}")
        if not stat.S_ISREG(os.fstat(handle).st_mode) or not is_inside(real, os.readlink(f"/proc/self/fd/{root}")):
            opened.close()
            raise leaves(path, real)
        return opened
    finally:
        os.close(root)


def copy_inside(folder: str, name: str, target: str, most_bytes: int | None = None) -> None:
    """Copy a file below a folder, opened by open_inside(), to a new file: so many bytes (None: as many as it has now), also while it grows."""
    with open_inside(folder, name) as source, os.fdopen(open_file(target, _TO_WRITE), "wb") as copied:
        left = os.fstat(source.fileno()).st_size if most_bytes is None else most_bytes
        while left > 0 and (block := source.read(min(left, 1 << 20))):
            copied.write(block)
            left -= len(block)


def walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what os.walk() yields, also below links. Raise FleetError for more files and folders than a model has, to which links between a few add up."""
    entries = 0
    for parent, folders, names in os.walk(folder, followlinks=True):
        entries += len(folders) + len(names)
        if entries > MOST_ENTRIES:
            raise FleetError(
                f"it contains more than {MOST_ENTRIES} files and folders",
                where=folder,
                remedy="Copy the model to its own directory.",
            )
        yield parent, folders, names


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path without links is a folder or below it."""
    return os.path.commonpath([path, folder]) == folder


def nearest(path: str) -> str:
    """Return a path, or the nearest folder above it that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def leaves(path: str, real: str) -> FleetError:
    """Return the FleetError for a link to a file outside of the copied folder."""
    return FleetError(
        f"it is a link to {real!r}, outside of the folder",
        where=path,
        remedy="Copy the folder with the targets of its links (cp -rL), and use the copy.",
    )


_TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _strange(path: str) -> FleetError:
    return FleetError(
        "it is a link or not a regular file, but this collection stores a file here", where=path, remedy="Remove it."
    )


def _is_foreign(status: os.stat_result) -> bool:
    return status.st_uid not in {0, *_accepted, *connecting()}


def _way(path: str, links: int = 0) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (path, status) of the existing folders and links that a path leads through, including those of the links' targets."""
    current = "/"
    for name in ["", *path.split("/")]:
        current = os.path.join(current, name) if name else current
        try:
            status = os.lstat(current)
        except OSError:
            return
        yield current, status
        if stat.S_ISLNK(status.st_mode) and links < _MOST_LINKS:
            yield from _way(os.path.join(os.path.dirname(current), os.readlink(current)), links + 1)
            current = os.path.realpath(current)


def connecting() -> set[int]:
    """Return the accounts that became root, from sudo's variable and from the kernel's login UID."""
    found = {os.environ.get("SUDO_UID", "")}
    with contextlib.suppress(OSError), open("/proc/self/loginuid", encoding="ascii") as stream:
        found.add(stream.read().strip())
    return {int(text) for text in found if text.isdecimal() and text != _NO_LOGIN}


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
