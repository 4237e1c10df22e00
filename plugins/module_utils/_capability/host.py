# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that reads a host's capabilities from files below a root directory, so that a recorded tree can stand for a host."""

from __future__ import annotations

import os
import sys
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import cpuinfo, limits, nvidia, system
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import (
    Caches,
    Cpu,
    CpuLimits,
    GpuDetails,
    HostFacts,
    Topology,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_DMI = "sys/class/dmi/id"
_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_CACHE_KEYS = {
    ("1", "Data"): "l1d_kib",
    ("1", "Instruction"): "l1i_kib",
    ("2", "Unified"): "l2_kib",
    ("3", "Unified"): "l3_kib",
}


def read(
    root: str = "/", machine: str | None = None, engine_socket: str | None = None, detail: bool = False
) -> tuple[HostFacts, list[str], list[GpuDetails] | None]:
    """Return the capabilities of a host without its classes, warnings about implausible values, and the GPUs' details or None.

    root: the directory that stands for the host's /. machine: as uname -m prints it (None: of this host).
    engine_socket: the only socket on which to look for a container engine (None: the usual places). detail: whether to
    read the current state of the GPUs.
    """
    files = Files(root)
    machine = machine or os.uname().machine
    cgroup = files.text("proc/self/cgroup")
    found = cpuinfo.read(files.text("proc/cpuinfo"), _MACHINES.get(machine, machine))
    architecture, cpu = found["architecture"], cast(dict[str, Any], found["cpu"])
    cpu.update(_topology(files) or {})
    cpu["numa_nodes"] = _count(files, f"{_NODE}/has_cpu") or _count(files, f"{_NODE}/online") or 1
    cpu["caches"] = _caches(files) or cpu["caches"]
    places = limits.directories(cgroup, files.text("proc/self/mountinfo"))
    cpu.update(_cpu_limits(files, places, cpu["threads"]))
    distribution, version = system.os_release(files.text("etc/os-release") or files.text("usr/lib/os-release"))
    container = sockets.find(files, engine_socket)
    gpus, gpus_for_containers, details, problems = nvidia.read(files, container["cdi_directories"], detail)
    capabilities: HostFacts = {
        "schema": 1,
        "architecture": architecture,
        "cpu": cast(Cpu, cpu),
        "memory": limits.memory(files.memory_kib("MemTotal"), _memory_limits(files, places)),
        "gpus": gpus,
        "container": {**container, "sdk": sockets.sdk() if root == "/" else None, "nvidia": gpus_for_containers},
        "os": {
            "distribution": distribution,
            "version": version,
            "kernel": files.name("proc/sys/kernel/osrelease"),
            "init": _init(files),
            "libc": _libc() if root == "/" else None,
        },
        "virtualization": {
            "kind": system.virtualization(
                architecture,
                found["hypervisor"],
                files.line(f"{_DMI}/sys_vendor"),
                files.line(f"{_DMI}/product_name"),
                files.text("sys/devices/system/clocksource/clocksource0/available_clocksource"),
            ),
            "container": system.container(
                files.exists(".dockerenv"),
                files.exists("run/.containerenv"),
                files.text("run/systemd/container"),
                cgroup,
            ),
        },
        "python": {"version": ".".join(map(str, sys.version_info[:3])), "executable": sys.executable},
    }
    return capabilities, found["warnings"] + problems, details


def _topology(files: Files) -> Topology | None:
    """Return the topology of the online CPUs, or None if sysfs does not show it."""
    online = _cpu_set(files.line(f"{_CPU}/online"))
    packages: set[str] = set()
    siblings: set[int] = set()
    cores = 0
    for cpu in sorted(online or ()):
        if cpu in siblings:
            continue
        of_core = _cpu_set(files.line(f"{_CPU}/cpu{cpu}/topology/thread_siblings_list"))
        if not of_core:
            return None
        cores += 1
        siblings |= of_core
        packages.add(files.line(f"{_CPU}/cpu{cpu}/topology/physical_package_id"))
    return {"sockets": len(packages), "cores": cores, "threads": len(online or ())} if cores else None


def _caches(files: Files) -> Caches | None:
    """Return the cache sizes of the first online CPU in KiB, or None if sysfs does not show them."""
    sizes = cast("dict[str, int | None]", {**cpuinfo.NO_CACHES})
    first = min(_cpu_set(files.line(f"{_CPU}/online")) or {0})
    base = f"{_CPU}/cpu{first}/cache"
    for index in files.names(base):
        key = _CACHE_KEYS.get((files.line(f"{base}/{index}/level"), files.line(f"{base}/{index}/type")))
        size = files.line(f"{base}/{index}/size")
        if key and size.endswith("K") and size[:-1].isdigit():
            sizes[key] = int(size[:-1])
    return cast(Caches, sizes) if any(sizes.values()) else None


def _cpu_limits(files: Files, places: limits.Places, threads: int | None) -> CpuLimits:
    version, paths = places.get("cpu", (2, []))
    if version == 1:
        quotas = [
            limits.quota(1, files.text(f"{path}/cpu.cfs_quota_us"), files.text(f"{path}/cpu.cfs_period_us"))
            for path in paths
        ]
    else:
        quotas = [limits.quota(2, files.text(f"{path}/cpu.max")) for path in paths]
    version, paths = places.get("cpuset", (2, []))
    name = "cpuset.effective_cpus" if version == 1 else "cpuset.cpus.effective"
    cpuset = next((found for found in (_cpu_set(files.line(f"{path}/{name}")) for path in paths) if found), None)
    affinity = _cpu_set(system.cpus_allowed(files.text("proc/self/status")) or "")
    return limits.cpus(affinity, cpuset, quotas, _cpu_set(files.line(f"{_CPU}/online")), threads)


def _memory_limits(files: Files, places: limits.Places) -> list[str]:
    version, paths = places.get("memory", (2, []))
    name = "memory.limit_in_bytes" if version == 1 else "memory.max"
    return [files.text(f"{path}/{name}") for path in paths]


def _init(files: Files) -> str | None:
    return "systemd" if files.exists("run/systemd/system") else files.name("proc/1/comm")


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        return None


def _cpu_set(text: str) -> frozenset[int] | None:
    """Return the CPUs of a list in a file, or None if it is absent, empty or damaged."""
    try:
        return limits.parse_cpu_list(text) or None
    except FleetError:
        return None


def _count(files: Files, name: str) -> int:
    return len(_cpu_set(files.line(name)) or ())
