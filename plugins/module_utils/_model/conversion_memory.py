# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Predict before a conversion starts whether its memory fits into what the kernel reports as available."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_BASE_MIB = 800  # The memory of TensorFlow itself.
_MIB = 1 << 20


def refuse_what_does_not_fit(size_bytes: int, times: int, available_mib: int | None) -> None:
    """Raise FleetError if a conversion that takes `times` bytes for each byte of the model does not fit. available_mib: None if unknown."""
    needed = _BASE_MIB + times * size_bytes // _MIB
    if available_mib is not None and needed > available_mib:
        raise FleetError(
            f"the conversion needs about {needed} MiB of memory, but only {available_mib} MiB are free",
            where="source",
            remedy="Convert on a host with more memory, or do not convert (form: none).",
        )


def available_mib(files: Any, limit_mib: int | None = None) -> int | None:
    """Return the MiB available without swapping, within the limit of the control group and limit_mib; None if unknown. files: host_files.Files."""
    free_kib = files.memory_kib("MemAvailable")
    figures = [figure for figure in (limit_mib, free_kib and free_kib >> 10) if figure is not None]
    for folder, limit, usage, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = (_table(files.text(f"sys/fs/cgroup/{folder}{name}")) for name in (limit, usage))
        if most and used:
            reclaimable = sum(
                value for name, value in _table(files.text(f"sys/fs/cgroup/{folder}memory.stat")) if name == cache
            )
            figures.append((most[0][1] - used[0][1] + reclaimable) // _MIB)
    return min(figures, default=None)


def _table(text: str) -> list[tuple[str, int]]:
    """Return [(name, number)] of the lines with a number, and the name before it if there is one."""
    words = [line.split() for line in text.splitlines()]
    return [
        (line[0], int(line[1 if len(line) > 1 else 0]))
        for line in words
        if line and line[1 if len(line) > 1 else 0].isdigit()
    ]
