# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect from its log and from NVML's processes whether a server computes on its GPUs. Without a usable GPU, TensorFlow silently uses the CPU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import GpuUse, SeenGpu

# TensorFlow's gpu_device.cc, before and since 2.6: Created TensorFlow device (… GPU:0 …) -> physical GPU (device: 0, name: …, pci bus id: …, …)
_CREATED = re.compile(
    r"Created (?:TensorFlow )?device .*device:GPU:(\d+) with (\d+) MB memory.*?name: ([^,]+), pci bus id: ([0-9a-fA-F:.]+)"
)
# Texts with which TensorFlow continues without a GPU, and the remedy.
_COMPLAINTS = (
    (
        re.compile(r"CUDA_ERROR_NO_DEVICE|no CUDA-capable device is detected"),
        "the server's container has no GPU",
        "check that the container requests a GPU (docker inspect: DeviceRequests), and that the engine uses NVIDIA's container toolkit",
    ),
    (
        re.compile(r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
        "the libraries in the container do not fit the driver",
        "reboot if the driver was updated; otherwise use a release whose CUDA the driver supports",
    ),
    (
        re.compile(
            r"CUDA_ERROR_INVALID_DEVICE|CUDA_ERROR_ECC_UNCORRECTABLE|CUDA_ERROR_DEVICE_UNAVAILABLE|CUDA_ERROR_UNKNOWN"
        ),
        "CUDA refuses the GPU",
        "check the GPU's health (capability_facts with detail: full) and the kernel log",
    ),
    (
        re.compile(r"CUDA_ERROR_OUT_OF_MEMORY"),
        "the GPU's memory is in use",
        "stop other programs that use the GPU, or give each server a fraction of its memory",
    ),
    (
        re.compile(r"failed call to cuInit"),
        "CUDA does not start",
        "check the line in the log, and nvidia-smi on the host",
    ),
    (
        re.compile(r"kernel driver does not appear to be running|Could not find cuda drivers"),
        "the driver's libraries are not in the container",
        "check that the engine uses NVIDIA's container toolkit (nvidia-ctk runtime configure)",
    ),
    (
        re.compile(r"Skipping registering GPU devices"),
        "the image lacks CUDA's libraries",
        "use the image for GPUs (…-gpu)",
    ),
    (
        re.compile(r"Ignoring visible gpu device"),
        "TensorFlow ignores the GPU, which is too old for this build",
        "use a release or a build for its compute capability",
    ),
)


def judge(
    log: str, devices: Iterable[Mapping[str, Any]], processes: Iterable[int] | None = None, pids: Iterable[int] = ()
) -> GpuUse:
    """Return whether a server uses its GPUs.

    log: the server's, from its start. devices: the GPUs of the server, [{pci_bus_id}]; a MIG slice has the address of
    its GPU. processes: NVML's, with pids of the host, or None if they are not readable. pids: of the server's
    processes, as the host numbers them.
    """
    seen: list[SeenGpu] = [
        {"name": name, "pci_bus_id": place.lower(), "memory_mib": int(memory)}
        for _number, memory, name, place in _CREATED.findall(log)
    ]
    complaint = next(
        (
            (found[0], reason, remedy)
            for pattern, reason, remedy in _COMPLAINTS
            for found in [pattern.search(log)]
            if found
        ),
        None,
    )
    listed = sorted(set(processes or ()) & set(pids))
    if seen:
        places = {one["pci_bus_id"] for one in seen}
        missing = [device["pci_bus_id"] for device in devices if device["pci_bus_id"] not in places]
        if missing:
            return _verdict(
                True,
                seen,
                f"it uses {', '.join(sorted(places))}, but not {', '.join(missing)}",
                "check the server's log",
            )
        return _verdict(True, seen, f"its log names {', '.join(one['name'] for one in seen)}")
    if complaint:
        return _verdict(
            False, seen, f"it serves from the CPU: {complaint[1]} ({complaint[0]!r} in its log)", complaint[2]
        )
    if listed:
        return _verdict(True, seen, f"the driver lists its process {listed[0]}")
    if processes is not None and pids:
        return _verdict(
            False,
            seen,
            "it serves from the CPU: its log names no GPU, and the driver does not list its process",
            "check that the image is the one for GPUs (…-gpu), and check the server's log",
        )
    return _verdict(None, seen, "its log names no GPU, and the driver's processes could not be read")


def _verdict(used: bool | None, seen: list[SeenGpu], reason: str, remedy: str | None = None) -> GpuUse:
    return {"used": used, "seen": seen, "reason": reason, "remedy": remedy}
