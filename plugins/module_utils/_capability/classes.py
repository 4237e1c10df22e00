# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the classes of a host: the image class decides where an image may run, and the tuning class for which hosts a tuning applies.

They are made of what decides compatibility and speed, never of marketing names. A class depends only on the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import Classes, GpuGroup, HostFacts

_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel", "HygonGenuine": "hygon", "CentaurHauls": "centaur"}


def classes(capabilities: HostFacts) -> Classes:
    """Return the classes of a host.

    image: the psABI level (which includes the architecture), or the architecture if it has no levels; then -ccN for
    each major compute capability of the host's GPUs. A GPU with an unknown compute capability (no driver answered) adds
    nothing, so the host runs only images for CPUs. The text is valid in an image's tag.

    tuning: image class, AI instructions, vendor, usable CPUs, NUMA nodes, and the GPUs: count x product-memory-MIG, or
    count x the PCI device if no driver reported more.
    """
    cpu, gpus = capabilities["cpu"], capabilities["gpus"]
    image = image_class(capabilities["architecture"], cpu["level"], gpus)
    vendor = _VENDORS.get(cpu["vendor"] or "") or _slug(cpu["vendor"])
    parts = [
        "+".join([image, *cpu["ai"]]),
        vendor,
        f"{_count(cpu['usable'])}c",
        f"{_count(cpu['numa_nodes'])}n",
        *_gpu_groups(gpus),
    ]
    return {"image": image, "tuning": "-".join(parts)}


def image_class(architecture: str | None, level: str | None, gpus: Iterable[GpuGroup] = ()) -> str:
    """Return only the image class, also of a CPU description without a host."""
    families = sorted({compute["major"] for compute in (gpu.get("compute") for gpu in gpus) if compute})
    return "-".join([level or _slug(architecture)] + [f"cc{family}" for family in families])


def _gpu_groups(gpus: Iterable[GpuGroup]) -> list[str]:
    counts: dict[str, int] = {}
    for group in gpus:
        counts[_gpu_name(group)] = counts.get(_gpu_name(group), 0) + group.get("count", 1)
    return [f"{count}x{name}" for name, count in sorted(counts.items())]


def _gpu_name(group: GpuGroup) -> str:
    name = _slug(group["product"]) if group.get("product") else (group.get("device_id") or "unknown").replace(":", ".")
    memory_mib, mig = group.get("memory_mib"), group.get("mig")
    memory = [f"{round(memory_mib / 1024)}g"] if memory_mib else []
    layout = ["mig", *sorted(str(instance["profile"]) for instance in mig)] if mig else []
    return "-".join([name, *memory, *layout])


def _count(number: float | None) -> str:
    return "unknown" if number is None else f"{number:g}"


def _slug(name: str | None) -> str:
    return re.sub(r"[^a-z0-9]+", ".", str(name or "unknown").lower()).strip(".")
