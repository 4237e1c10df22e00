# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for folders that other accounts can write to: it does not open files through links, and sets modes explicitly."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from typing import IO

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_NO_LOGIN = "4294967295"
_MOST_LINKS = 40  # As in Linux (path_resolution(7)).


_accepted: set[int] = set()  # Of this module's run.


def accept(account: str | None) -> None:
    """Accept the folders of one more account, by name or UID, such as that of a server. Raise FleetError if it does not exist."""
    if account:
        try:
            _accepted.add(int(account) if account.isdecimal() else pwd.getpwnam(account).pw_uid)
        except (KeyError, ValueError) as fault:
            raise FleetError(f"{account!r} is not an account on this host", where="folder_owner") from fault


def refuse_foreign(path: str) -> None:
    """Raise FleetError if root would use a path that another account owns or can replace, for example with a link.

    Accepted are root, the account that became root (sudo, or the login), and those of accept().
    """
    if os.geteuid() != 0:
        return
    accepted = {0, *_accepted, *connecting()}
    for part, owner in _way(os.path.abspath(path)):
        if owner not in accepted:
            name = _name_of(owner)
            raise FleetError(
                f"{part!r} belongs to {name}, who could make root write elsewhere",
                where=path,
                remedy=f"Change its owner to root (chown), run as {name} (become_user), or use another folder.",
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
    except OSError:
        if os.path.islink(path):
            raise _strange(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _strange(path)
    return handle


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


def copy_inside(folder: str, name: str, target: str) -> None:
    """Copy a file below a folder, opened by open_inside(), to a new file."""
    with open_inside(folder, name) as source, os.fdopen(open_file(target, _TO_WRITE), "wb") as copied:
        shutil.copyfileobj(source, copied, 1 << 20)


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


def _way(path: str, links: int = 0) -> Iterator[tuple[str, int]]:
    """Yield (path, owner) of the existing folders and links that a path leads through, including those of the links' targets."""
    current = "/"
    for name in ["", *path.split("/")]:
        current = os.path.join(current, name) if name else current
        try:
            status = os.lstat(current)
        except OSError:
            return
        yield current, status.st_uid
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
