# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process ids in files, protected against reuse of the number."""

from __future__ import annotations

import json
import os
import pathlib

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_MOST_BYTES = 200


def process_of(path: str) -> int | None:
    """Return the process id in the file (which contains it and its start), or None if the process has ended.

    Files of other accounts than root and this one count only for processes of their owners.
    """
    try:
        with open(shared_folders.open_file(path, os.O_RDONLY), "rb") as stream:
            owner = os.fstat(stream.fileno()).st_uid
            pid, birth = json.loads(stream.read(_MOST_BYTES))
        is_named = isinstance(pid, int) and isinstance(birth, str) and birth_of(pid) == birth
        return pid if is_named and (owner in (0, os.geteuid()) or owner == os.stat(f"/proc/{pid}").st_uid) else None
    except (OSError, ValueError, TypeError, FleetError):
        return None


def birth_of(pid: int) -> str | None:
    """Return the boot and the time of the start of a process, which differ if the number is reused, or None if it has ended."""
    try:
        fields = (
            pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
