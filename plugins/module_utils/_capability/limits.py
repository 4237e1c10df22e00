# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a machine a process may use: CPU lists, cgroup version 1 and 2, and the least of them."""

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
    """The CPU numbers of a list such as '0-3,8' as a frozenset; the empty text is the empty set. Raises FleetError on another syntax."""
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
    """The inverse of parse_cpu_list, in the kernel's shortest form."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def directories(cgroup: str, mountinfo: str) -> Places:
    """Where the limits of a process stand: {controller: (version, paths)}, paths from its own cgroup up to the mount, each a limit of its own.

    cgroup, mountinfo: the texts of /proc/self/cgroup and /proc/self/mountinfo. A controller that is mounted nowhere is left out.
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
    """{controller ('' for version 2): (root within the hierarchy, mount point)}."""
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
    """The directories of path and of its ancestors up to the mount. A path outside of the mounted root (another namespace) is the mount itself."""
    inside = posixpath.relpath(posixpath.normpath(path), root) if path.startswith("/") and root.startswith("/") else "."
    parts = [part for part in inside.split("/") if part != "."]
    parts = [] if parts[:1] == [".."] else parts
    return [posixpath.join(mount_point, *parts[:depth]) for depth in range(len(parts), -1, -1)]


def quota(version: int, first: str | None, period: str | None = None) -> float | None:
    """CPUs (float) that a CFS quota allows, or None for no limit. Version 1: cpu.cfs_quota_us and cpu.cfs_period_us; version 2: cpu.max alone."""
    words = (first or "").split() + ((period or "").split() if version == 1 else [])
    if len(words) != 2 or not all(map(_NUMBER.fullmatch, words)) or not int(words[1]):
        return None
    return max(0.01, round(int(words[0]) / int(words[1]), 2)) if int(words[0]) else None


def least(values: Iterable[_Number | None]) -> _Number | None:
    """The smallest of those that are not None, or None."""
    return min((value for value in values if value is not None), default=None)


def cpus(
    affinity: frozenset[int] | None,
    cpuset: frozenset[int] | None,
    quotas: Iterable[float | None],
    online: frozenset[int] | None,
    threads: int | None,
) -> CpuLimits:
    """The CPUs really usable, and what limits them.

    affinity, cpuset, online: frozensets of CPU numbers, None where unknown. quotas: CPUs (float|None). threads: how many CPUs there are if no set is known.
    A cpuset that holds all CPUs online is None, being no limit.
    """
    count = _count(affinity, cpuset, online) or threads
    limiting = cpuset if cpuset and not (online and cpuset >= online) else None
    limit = least(quotas)
    usable = least([count, limit])
    return {
        "usable": None if usable is None else float(usable),
        "affinity": format_cpu_list(affinity) if affinity else None,
        "cpuset": format_cpu_list(limiting) if limiting else None,
        "quota": limit,
    }


def _count(affinity: frozenset[int] | None, cpuset: frozenset[int] | None, online: frozenset[int] | None) -> int | None:
    """How many CPUs the sets share, or None where none is known.

    The kernel's list of those online holds every CPU of a cpuset (cpuset_cpus_allowed), and an affinity may also hold some that are offline. A list that holds
    neither is LXCFS's, which numbers the CPUs of its container from 0: it does not count.
    """
    allowed = (affinity & cpuset or affinity if affinity and cpuset else affinity or cpuset) or frozenset()
    if online and (not allowed or allowed > online):
        return len(online)
    return len(allowed) or None


def memory(total_kib: int | None, limits: Iterable[str | None]) -> Memory:
    """Memory, of the kernel's MemTotal (KiB or None) and the texts of memory limits (bytes, 'max', or None), rounded down.

    A limit that is not below the total is none: version 1 says 'no limit' with a number near 2**63.
    """
    total = None if total_kib is None else total_kib // 1024
    limit = least(int(text) >> 20 for text in map(str.strip, filter(None, limits)) if _NUMBER.fullmatch(text))
    if limit is not None and (total is None and limit > 1 << 40 or total is not None and limit >= total):
        limit = None
    return {"total_mib": total, "limit_mib": limit, "usable_mib": least([total, limit])}
