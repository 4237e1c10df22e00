# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of a host: what decides where an image may run (image class) and for which hosts a tuning holds (tuning class).

Keyed by what decides compatibility and speed, never by marketing names. A class depends on the host alone.
"""

from __future__ import annotations

import re

_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel", "HygonGenuine": "hygon", "CentaurHauls": "centaur"}


def classes(capabilities):
    """{image, tuning} of a host's capabilities (docs/architecture.md), both strings.

    image: the psABI level (which names the architecture), or the architecture where it has no level; then -ccN for each major compute
    capability of the host's GPUs. A GPU whose compute capability is not known (no driver answered) adds nothing: the host runs the
    CPU's images only. Fit for the tag of an image.
    tuning: image class, AI instructions, vendor, usable CPUs, NUMA nodes, and the GPUs: count x product-memory-MIG, or count x the PCI
    device where no driver told more.
    """
    cpu, gpus = capabilities["cpu"], capabilities["gpus"]
    image = image_class(capabilities["architecture"], cpu["level"], gpus)
    vendor = _VENDORS.get(cpu["vendor"]) or _slug(cpu["vendor"])
    parts = ["+".join([image, *cpu["ai"]]), vendor, f"{_count(cpu['usable'])}c", f"{_count(cpu['numa_nodes'])}n", *_gpu_groups(gpus)]
    return {"image": image, "tuning": "-".join(parts)}


def image_class(architecture, level, gpus=()):
    """The image class alone: of a CPU description that is not a host's, or of a host."""
    families = sorted({gpu["compute"]["major"] for gpu in gpus if gpu.get("compute")})
    return "-".join([level or _slug(architecture)] + [f"cc{family}" for family in families])


def _gpu_groups(gpus):
    counts = {}
    for group in gpus:
        counts[_gpu_name(group)] = counts.get(_gpu_name(group), 0) + group.get("count", 1)
    return [f"{count}x{name}" for name, count in sorted(counts.items())]


def _gpu_name(group):
    name = _slug(group["product"]) if group.get("product") else (group.get("device_id") or "unknown").replace(":", ".")
    memory = [f"{round(group['memory_mib'] / 1024)}g"] if group.get("memory_mib") else []
    layout = ["mig", *sorted(str(instance["profile"]) for instance in group["mig"])] if group.get("mig") else []
    return "-".join([name, *memory, *layout])


def _count(number):
    return "unknown" if number is None else f"{number:g}"


def _slug(name):
    return re.sub(r"[^a-z0-9]+", ".", str(name or "unknown").lower()).strip(".")
