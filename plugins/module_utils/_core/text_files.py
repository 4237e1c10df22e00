# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that writes or removes text files as a module describes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Optional

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

Texts = Mapping[str, Optional[str]]  # By path; None for a file that does not exist, or must not.


def put(desired: Texts, check_mode: bool, warnings: Iterable[str] = ()) -> tuple[Texts, Decision]:
    """Return (the current files, the Decision to change them to the desired ones). Carry it out unless in check mode."""
    for path in desired:
        shared_folders.refuse_foreign(path if os.path.islink(path) else os.path.dirname(path))
    before = {path: _read(path) for path in desired}
    if not check_mode:
        for path, text in desired.items():
            if before[path] != text:
                _write(path, text)
    return before, _decide(before, desired, warnings)


def _read(path: str) -> str | None:
    """Return the text at path, with invalid bytes replaced, or None if it does not exist. Raise FleetError if this account cannot replace the file."""
    try:
        text = shared_folders.read(path).decode("utf-8", "replace")
    except FileNotFoundError:
        text = None
    except OSError as fault:
        raise FleetError(f"cannot read the file: {fault.strerror}", where=path) from fault
    directory = shared_folders.nearest(os.path.dirname(path))
    if not os.access(directory, os.W_OK):
        raise FleetError(
            f"this user cannot write to {directory!r}", where=path, remedy="Set become: true, or use another path."
        )
    return text


def _write(path: str, text: str | None) -> None:
    """Write text to path atomically, with the mode and owner of the file that it replaces. None removes the file."""
    try:
        if text is None:
            os.unlink(path)
        elif os.path.exists(path):
            former = os.stat(path)
            atomic_files.write_file(path, text.encode(), stat.S_IMODE(former.st_mode))
            if os.geteuid() == 0:
                os.chown(path, former.st_uid, former.st_gid)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            atomic_files.write_file(path, text.encode())
    except OSError as fault:
        raise FleetError(f"cannot write the file: {fault.strerror}", where=path) from fault


def _decide(before: Texts, desired: Texts, warnings: Iterable[str]) -> Decision:
    """Return the Decision from the current and the desired {path: text or None}."""
    changing = [path for path in desired if before[path] != desired[path]]
    actions = tuple(f"{'remove' if desired[path] is None else 'write'} {path}" for path in changing)
    if len(changing) == 1:
        return Decision(
            True, before[changing[0]] or "", desired[changing[0]] or "", actions, tuple(warnings), changing[0]
        )
    before_all, after_all = (
        "".join(f"# {path}\n{texts[path] or ''}" for path in changing) for texts in (before, desired)
    )
    return Decision(bool(changing), before_all, after_all, actions, tuple(warnings))
