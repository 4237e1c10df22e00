# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute which CPUs and how much memory a process may use, from CPU lists and cgroup versions 1 and 2."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import TypeVar

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import CpuLimits, Memory
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

Places = dict[str, tuple[int, list[str]]]  # controller -> (version of the control groups, directories)

_Number = TypeVar("_Number", int, float)

CONTROLLERS = ("cpu", "cpuset", "memory")
MOST_CPUS = 1 << 16
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?$", re.ASCII)
# What the kernel can write, which counts in 64 bits.
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)


def parse_cpu_list(text: str, where: str = "CPU list") -> frozenset[int]:
    """Return the CPU numbers of a list such as '0-3,8' as a frozenset. Raise FleetError for other syntax. An empty text is an empty set."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        found = _RANGE.match(part.strip())
        if found is None:
            if text.strip():
                raise FleetError(f"{part!r} is not a CPU number or a range of them, as in 0-3,8", where=where)
            break
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < MOST_CPUS:
            raise FleetError(f"{part!r} is not a range of CPU numbers below {MOST_CPUS}", where=where)
        cpus.update(range(first, last + 1))
    return frozenset(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Return CPU numbers in the kernel's shortest form, the inverse of parse_cpu_list."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def directories(cgroup: str, mountinfo: str) -> Places:
    """Return the directories with the limits of a process.

    The result is {controller: (version, paths)}, with paths from the process's cgroup up to the mount; each of them is
    a limit. A controller that is not mounted is left out. cgroup, mountinfo: the texts of /proc/self/cgroup and
    /proc/self/mountinfo.
    """
    mounts = _mounts(mountinfo)
    lines = (line.partition(":")[2].partition(":") for line in cgroup.splitlines())
    own = {controller: path for controllers, _colon, path in lines for controller in controllers.split(",")}
    found = {}
    for controller in CONTROLLERS:
        for version, hierarchy in ((1, controller), (2, "")):
            if hierarchy in own and hierarchy in mounts:
                found[controller] = (version, _upward(own[hierarchy], *mounts[hierarchy]))
                break
    return found


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """Return {controller ('' for version 2): (root within the hierarchy, mount point)}."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        for name in [""] if kind[0] == "cgroup2" else kind[2].split(","):
            mounts.setdefault(name, (_unescape(fields[3]), _unescape(fields[4])))
    return mounts


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _upward(path: str, root: str, mount_point: str) -> list[str]:
    """Return the directories of path and of its ancestors up to the mount. A path outside of the mounted root (another namespace) is the mount itself."""
    inside = posixpath.relpath(posixpath.normpath(path), root) if path.startswith("/") and root.startswith("/") else "."
    parts = [part for part in inside.split("/") if part != "."]
    parts = [] if parts[:1] == [".."] else parts
    return [posixpath.join(mount_point, *parts[:depth]) for depth in range(len(parts), -1, -1)]


def quota(version: int, first: str | None, period: str | None = None) -> float | None:
    """Return the CPUs (float) that a CFS quota permits, or None without a limit. Version 1: cpu.cfs_quota_us and cpu.cfs_period_us; version 2: only cpu.max."""
    words = (first or "").split() + ((period or "").split() if version == 1 else [])
    if len(words) != 2 or not all(map(_NUMBER.fullmatch, words)) or not int(words[1]):
        return None
    return max(0.01, round(int(words[0]) / int(words[1]), 2)) if int(words[0]) else None


def least(values: Iterable[_Number | None]) -> _Number | None:
    """Return the smallest value that is not None, or None."""
    return min((value for value in values if value is not None), default=None)


def cpus(
    affinity: frozenset[int] | None,
    cpuset: frozenset[int] | None,
    quotas: Iterable[float | None],
    online: frozenset[int] | None,
    threads: int | None,
) -> CpuLimits:
    """Return the usable CPUs, and what limits them.

    affinity, cpuset, online: frozensets of CPU numbers, None if unknown. quotas: CPUs (float or None). threads: the
    number of CPUs if no set is known. A cpuset that contains all online CPUs is None, because it does not limit. The
    affinity in the result has no CPUs that are offline: sched_getaffinity does not return them either.
    """
    count = _count(affinity, cpuset, online) or threads
    limiting = cpuset if cpuset and not (online and cpuset >= online) else None
    limit = least(quotas)
    # With a quota, LXCFS can show as many CPUs as online as the quota permits. The kernel does not know of that.
    if affinity and online and affinity > online and (limit is None or limit > len(online)):
        affinity = online
    usable = least([count, limit])
    return {
        "usable": None if usable is None else float(usable),
        "affinity": format_cpu_list(affinity) if affinity else None,
        "cpuset": format_cpu_list(limiting) if limiting else None,
        "quota": limit,
    }


def _count(affinity: frozenset[int] | None, cpuset: frozenset[int] | None, online: frozenset[int] | None) -> int | None:
    """Return how many CPUs are in all sets, or None if no set is known.

    The kernel's list of online CPUs contains every CPU of a cpuset (cpuset_cpus_allowed), and an affinity may also
    contain some that are offline. A list that contains neither comes from LXCFS, which numbers the CPUs of its
    container from 0, and is ignored.
    """
    allowed = (affinity & cpuset or affinity if affinity and cpuset else affinity or cpuset) or frozenset()
    if online and (not allowed or allowed > online):
        return len(online)
    return len(allowed) or None


def memory(total_kib: int | None, limits: Iterable[str | None]) -> Memory:
    """Return the memory, rounded down, from the kernel's MemTotal (KiB or None) and the texts of memory limits (bytes, 'max', or None).

    A limit at or above the total is ignored: version 1 writes a number near 2**63 for 'no limit'.
    """
    total = None if total_kib is None else total_kib // 1024
    limit = least(int(text) >> 20 for text in map(str.strip, filter(None, limits)) if _NUMBER.fullmatch(text))
    if limit is not None and (total is None and limit > 1 << 40 or total is not None and limit >= total):
        limit = None
    return {"total_mib": total, "limit_mib": limit, "usable_mib": least([total, limit])}
