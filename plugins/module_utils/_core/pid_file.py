# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process ids in files, protected against reuse of the number."""

from __future__ import annotations

import json
import pathlib

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders


def process_of(path: str) -> int | None:
    """Return the process id in the file (which contains it and its start), or None if the process has ended."""
    try:
        pid, birth = json.loads(shared_folders.read(path))
    except (OSError, ValueError, TypeError):
        return None
    return pid if birth_of(pid) == birth else None


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
