# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the account that root changes to before it executes models, which are not trusted."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

NOBODY = "65534:65534"  # Of Debian, Fedora and systemd (nss-myhostname(8)).
_OPTION = "convert_user"


def chosen(candidates: Sequence[str], needed: Sequence[str], where: str) -> tuple[str | None, str]:
    """Return (UID:GID of the first account other than root that can read all needed paths and run the first one, or None; why the first account cannot).

    candidates: UID, UID:GID or names. Raise FleetError, with where, for a name that no account has.
    """
    numbers = [_numbers(user, where) for user in candidates]
    for uid, gid in numbers:
        if uid and not _first_refused(uid, gid, needed):
            return f"{uid}:{gid}", ""
    uid, gid = numbers[0]
    return None, f"user {uid} cannot read {_first_refused(uid, gid, needed)}" if uid else "it would run as root"


def for_model(user: str | None, needed: Sequence[str], model: str) -> tuple[str | None, tuple[str, ...]]:
    """Return (UID:GID that root changes to for a program that runs a model, or None for this account; warnings). Raise FleetError.

    user: the option convert_user, or None for its default, with which the model runs as root if no other account can run it.
    """
    is_root_named = user is not None and _numbers(user, _OPTION)[0] == 0
    if os.geteuid() != 0 or is_root_named:
        return None, ()
    candidates = [user] if user else [NOBODY, *others([model])]
    found, why = chosen(candidates, [*needed, tempfile.gettempdir()], _OPTION)
    if user and not found:
        raise FleetError(
            why,
            where=_OPTION,
            remedy=f"Give this user read access, set {_OPTION} to an account that has it, or accept root ({_OPTION}: root).",
        )
    warning = f"TensorFlow runs {model} as root: {why}. Give this user read access, or set {_OPTION} to an account that has it, or to root."
    return found, () if found else (warning,)


def others(folders: Iterable[str]) -> list[str]:
    """Return the UIDs to try after the default account: those of the accounts that became root, and of the owners of folders."""
    owners = [os.stat(folder).st_uid for folder in folders if os.path.isdir(folder)]
    return [str(uid) for uid in [*sorted(shared_folders.connecting()), *owners]]


def needed(python: str | None, places: Iterable[str | None], trees: Iterable[str]) -> list[str]:
    """Return the paths that a program reads: its Python, places (or the nearest existing folder above), and trees with their files that are not hidden."""
    executable = shutil.which(python or "") or "/"
    library = os.path.join(os.path.dirname(os.path.dirname(executable)), "lib")
    found, seen = [executable, *filter(os.path.exists, [library])], set()
    found += [shared_folders.nearest(place) for place in places if place]
    for tree in trees:
        found.append(shared_folders.nearest(tree))
        for parent, folders, names in os.walk(tree, followlinks=True):
            if os.path.realpath(parent) in seen:
                folders[:], names = [], []
            seen.add(os.path.realpath(parent))
            folders[:] = [name for name in folders if not name.startswith(".")]  # Staged files and locks.
            found += [parent, *(os.path.join(parent, name) for name in names if not name.startswith("."))]
    return found


def become(user: str | None) -> None:
    """Change a new process of root to the account for good."""
    uid, gid = _numbers(user or "0")
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


@contextlib.contextmanager
def lent_directory(user: str | None, parent: str | None = None) -> Iterator[str]:
    """Yield a scratch directory that a program can write to as user (None: this account). Its files are as little trusted as the program."""
    with atomic_files.scratch_directory(parent) as directory:
        if user:
            uid, gid = _numbers(user)
            os.chmod(
                directory, 0o711
            )  # This account keeps it, so that no other one can replace the lent folder with a link.
            directory = os.path.join(directory, "lent")
            os.mkdir(directory, 0o700)
            os.chown(directory, uid, gid)
        yield directory


@contextlib.contextmanager
def lent_file(path: str | None, user: str | None) -> Iterator[None]:
    """Give a file to an account for the time in which its program appends to it. Do nothing if path or user is None."""
    if not path or not user:
        yield
        return
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with os.fdopen(shared_folders.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as stream:
        before = os.fstat(stream.fileno())
        if before.st_nlink == 1:  # Another hard link may be a file that this account must not own.
            os.fchown(stream.fileno(), *_numbers(user))
        try:
            yield
        finally:
            os.fchown(stream.fileno(), before.st_uid, before.st_gid)


def _numbers(user: str, where: str = "user") -> tuple[int, int]:
    """Return (UID, GID) for UID, UID:GID or a name."""
    name, _colon, group = user.partition(":")
    if group and not group.isdecimal():
        raise FleetError(f"{user!r} is not a valid user; allowed: a name, UID or UID:GID", where=where)
    try:
        known = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        if not name.isdecimal():
            raise FleetError(
                f"{name!r} is not an account on this host", where=where, remedy="Create it, or name another one."
            ) from None
        return int(name), int(group or name)
    return known.pw_uid, int(group or known.pw_gid)


def _first_refused(uid: int, gid: int, paths: Sequence[str]) -> str:
    """Return the first path that an account cannot read or run, or "". A process of the account asks the kernel, which considers modes, ACLs and mounts."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            become(f"{uid}:{gid}")
            os.write(writing, b"." + next(_refused(paths), "").encode("utf-8", "surrogateescape")[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        found = stream.read().decode("utf-8", "surrogateescape")
    os.waitpid(child, 0)
    return found[1:] if found else "anything here, because this process cannot change to another account"


def _refused(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if not os.access(path, os.R_OK | (os.X_OK if path == paths[0] or os.path.isdir(path) else 0)):
            yield path
