# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that queries NVIDIA's driver for a host's GPUs, and finds the software that gives them to containers.

A failure never prevents the description of the host.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import (
    cdi,
    gpu_details,
    gpus,
    nvidia_smi,
    nvml,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import (
    Answers,
    Found,
    GpuGroup,
    GpusForContainers,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files

_NVIDIA, _PCI = "10de", "sys/bus/pci/devices"
_PROGRAM_PLACES = ("usr/bin", "usr/local/bin", "bin", "usr/lib/wsl/lib", "usr/local/nvidia/toolkit", "opt/bin")
_CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_VERSION = re.compile(r"version:? v?(\d+\.\d+\.\d+\S*)")
_NVML_LIMIT_S, _LIMIT_S, _TOOL_LIMIT_S, _LEAST_S = 8.0, 9.0, 2.0, 0.4
_KERNEL_LOG, _KERNEL_LOG_MOST = "/dev/kmsg", 20000


def read(files: Files, places: Iterable[str], signs: bool, directories: Iterable[str], detail: bool) -> Found:
    """Return what nvidia.read returns. places: PCI addresses of the GPUs. signs: whether the driver's files exist."""
    begun = time.monotonic()
    pci = [_on_the_bus(files, place) for place in places]
    answers: Answers = {}
    failure = None
    if signs or any(device["driver"] == "nvidia" for device in pci):
        answers, failure = _ask(
            files, [device["pci_bus_id"] for device in pci if device["driver"] == "nvidia"], detail, begun
        )
    version = gpus.driver_version_of(files.text("proc/driver/nvidia/version"))
    groups, problems = gpus.describe(pci, answers, version, failure)
    if failure and not pci:
        problems.append(f"NVIDIA's driver: {failure}")
    return (
        groups,
        _container_side(files, directories, groups, begun),
        gpu_details.details(answers, _kernel_log(files)) if detail else None,
        problems,
    )


def _on_the_bus(files: Files, place: str) -> dict[str, Any]:
    """Return an NVIDIA display controller as sysfs and the driver's files below /proc describe it."""
    base = f"{_PCI}/{place}"
    node, cpus = files.line(f"{base}/numa_node"), files.line(f"{base}/local_cpulist")
    reported = gpus.information_of(files.text(f"proc/driver/nvidia/gpus/{place}/information"))
    return dict(
        reported,
        pci_bus_id=place,
        device_id=f"{_NVIDIA}:{files.line(f'{base}/device')[2:]}",
        driver=files.link_name(f"{base}/driver"),
        numa_node=int(node) if node.isdigit() else None,
        cpu_affinity=cpus or None,
    )


def _ask(files: Files, addresses: list[str], detail: bool, begun: float) -> tuple[Answers, str | None]:
    """Return (answers, why there is no answer or None) of the library, completed by nvidia-smi."""
    answers = gpus.sensible(nvml.read_host(files, detail, _NVML_LIMIT_S - (time.monotonic() - begun)))
    if not gpus.lacking(answers):
        return answers, None
    program = _program(files, "nvidia-smi")
    more, said = (
        nvidia_smi.read(program, addresses, max(_LEAST_S, _LIMIT_S - (time.monotonic() - begun)))
        if program
        else ({}, None)
    )
    whole = gpus.filled(answers, gpus.sensible(more))
    return whole, None if gpus.value_of(whole, None, "count") else gpus.failure_of(answers, said)


def _program(files: Files, name: str) -> str | None:
    return next((files.path(f"{place}/{name}") for place in _PROGRAM_PLACES if files.exists(f"{place}/{name}")), None)


def _container_side(
    files: Files, directories: Iterable[str], groups: list[GpuGroup], begun: float
) -> GpusForContainers:
    """Return the software that gives this host's GPUs to containers."""
    tool = _program(files, "nvidia-ctk") or _program(files, "nvidia-container-cli")
    now = time.monotonic()
    until = max(now + _LEAST_S, min(now + _TOOL_LIMIT_S, begun + _LIMIT_S))
    said = _VERSION.search(nvidia_smi.run([tool, "--version"], until)[1]) if tool else None
    texts = [
        files.text(f"{directory}/{name}")
        for directory in dict.fromkeys([*directories, *_CDI_DIRECTORIES])
        for name in files.names(directory)
        if name.endswith((".yaml", ".yml", ".json"))
    ]
    return {
        "toolkit": said[1] if said else None,
        "hook": _program(files, "nvidia-container-runtime-hook") is not None,
        "cdi": cdi.describe(texts, groups),
    }


def _kernel_log(files: Files) -> str | None:
    """Return the kernel's log, or None if this account may not read it."""
    try:
        log = os.open(files.path(_KERNEL_LOG), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    parts = []
    try:
        for _record in range(_KERNEL_LOG_MOST):
            try:
                part = os.read(log, 8192)
            except BrokenPipeError:  # a record was overwritten before it was read
                continue
            if not part:
                break
            parts.append(part.decode("utf-8", "replace"))
    except OSError:  # there are no more records yet
        pass
    finally:
        os.close(log)
    return "".join(parts)
