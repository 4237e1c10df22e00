# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check capabilities that come from a fact cache or from the user's variables for what other packages rely on."""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import Capabilities
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_NUMBER = (int, float)
# The keys that the plan reads, and their types. All keys may be missing or null. The only element of a list stands for
# all of its elements.
_SHAPE = {
    "architecture": str,
    "classes": {"image": str, "tuning": str},
    "memory": {"usable_mib": _NUMBER},
    "cpu": {"level": str, "flags": [str], "usable": _NUMBER, "threads": int, "affinity": str},
    "gpus": [
        {
            "product": str,
            "compute": {"major": int, "minor": int},
            "memory_mib": _NUMBER,
            "count": int,
            "device_id": str,
            "driver": str,
            "problem": str,
            "mig": [{"profile": str, "memory_mib": _NUMBER}],
            "devices": [{"pci_bus_id": str, "uuid": str, "index": int, "mig_uuids": [str], "cpu_affinity": str}],
        }
    ],
    "container": {
        "engine": str,
        "version": str,
        "reason": str,
        "runtimes": [str],
        "cdi_directories": [str],
        "nvidia": {"cdi": {"names": str}},
    },
}


def check(capabilities: Any, where: str = "ansible_facts.tfserving_capabilities") -> Capabilities:
    """Return the capabilities. Raise FleetError if this collection cannot have detected them. where: their name for the user."""
    _check(capabilities, dict, where)
    for key, shape in _SHAPE.items():
        _check(capabilities.get(key), shape, f"{where}.{key}")
    found: Capabilities = capabilities
    return found


def _check(value: Any, shape: Any, where: str, optional: bool = True) -> None:
    kind: Any = type(shape) if isinstance(shape, (dict, list)) else shape
    if value is None and optional:
        return
    strange_key = isinstance(value, dict) and not all(isinstance(key, str) for key in value)
    if (
        not isinstance(value, kind)
        or isinstance(value, bool)
        or isinstance(value, float)
        and not math.isfinite(value)
        or strange_key
    ):
        raise FleetError(
            f"{value!r} is not what tfserving.fleet.capability_facts returns here",
            where=where,
            remedy="Detect the host again.",
        )
    if isinstance(shape, dict):
        for key, inner in shape.items():
            _check(value.get(key), inner, f"{where}.{key}")
    elif isinstance(shape, list):
        for number, element in enumerate(value):
            _check(element, shape[0], f"{where}[{number}]", optional=False)
