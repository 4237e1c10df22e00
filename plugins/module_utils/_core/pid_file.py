# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the process that a file names lives, and is not a later one of the same number."""

from __future__ import annotations

import json


def process_of(path: str) -> int | None:
    """The process id in the file (which holds it and its birth), or None when that process does not live."""
    try:
        with open(path, encoding="utf-8") as stream:
            pid, birth = json.load(stream)
    except (OSError, ValueError, TypeError):
        return None
    return pid if birth_of(pid) == birth else None


def birth_of(pid: int) -> str | None:
    """What tells a process from a later one of the same number: the boot and the moment in it; None for none that lives."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
            boot = stream.read().strip()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
