# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the account that the embedded server runs as where root starts it: models execute what strangers wrote."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

_ROOT = "0:0"


def chosen(wanted: ServingConfiguration, user: str, state_directory: str, allow_root: bool) -> str:
    """UID:GID for the server. user: as the option has it; where that is the default, also the account that root was reached from and the owners of the
    models may be it. Raises FleetError where none of them can read Python and the models, unless root is allowed."""
    if os.geteuid() != 0:
        return wanted.user
    needed = [*_needed(wanted, state_directory)]
    candidates = [_numbers(user)]
    if user == wanted.user:
        candidates += [_numbers(str(uid)) for uid in _others(wanted)]
    for uid, gid in candidates:
        if uid and not _first_refused(uid, gid, needed):
            return f"{uid}:{gid}"
    if allow_root:
        return _ROOT
    uid, gid = candidates[0]
    raise FleetError(
        f"user {uid} cannot read {_first_refused(uid, gid, needed)}"
        if uid
        else "the embedded server would run as root",
        where="user",
        remedy="Let it read that, name an account that can (tfs_server_user of the role), or accept root (embedded_allow_root: true).",
    )


def become(user: str) -> None:
    """In a new process of root's: be the account and nobody else any more."""
    uid, gid = _numbers(user)
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _numbers(user: str) -> tuple[int, int]:
    """(UID, GID) of UID, UID:GID or a name."""
    name, _colon, group = user.partition(":")
    try:
        known = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        if not name.isdecimal():
            raise FleetError(f"{name!r} is no account of this host", where="user") from None
        return int(name), int(group or name)
    if group and not group.isdecimal():
        raise FleetError(f"{user!r} is no user; allowed: a name, UID or UID:GID", where="user")
    return known.pw_uid, int(group or known.pw_gid)


def _others(wanted: ServingConfiguration) -> Iterator[int]:
    yield from sorted(shared_folders.connecting())
    for model in wanted.models:
        if os.path.isdir(model.base_path):
            yield os.stat(model.base_path).st_uid


def _needed(wanted: ServingConfiguration, state_directory: str) -> Iterator[str]:
    """What the server reads, as far as it is there: first its Python."""
    python = shutil.which(wanted.python or "") or "/"
    yield python
    for path in (os.path.join(os.path.dirname(os.path.dirname(python)), "lib"), wanted.batching_parameters_file):
        if path and os.path.exists(path):
            yield path
    yield _nearest(state_directory)
    for model in wanted.models:
        yield _nearest(model.base_path)
        for parent, folders, names in os.walk(model.base_path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]  # What is on its way, and locks.
            yield parent
            yield from (os.path.join(parent, name) for name in names if not name.startswith("."))


def _nearest(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _first_refused(uid: int, gid: int, paths: Sequence[str]) -> str:
    """The first path that an account cannot read, or run, "" for none. The kernel is asked in a process of the account's: it knows modes, lists and mounts."""
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
    return found[1:] if found else "anything here, as this process may not become another account"


def _refused(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if not os.access(path, os.R_OK | (os.X_OK if path == paths[0] or os.path.isdir(path) else 0)):
            yield path
