# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Present a host's capabilities (_capability/facts.py) to the plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import may_run

_LEAST_LEVEL = {"x86_64": "x86-64-v1"}
_OLDEST_DOCKER = (20, 10)
_NVIDIA = "10de:"


@dataclass(frozen=True)
class Host:
    """A host. capabilities: the mapping of the contract; keys that are missing or null count as unknown."""

    capabilities: Mapping[str, Any]

    @property
    def architecture(self) -> Any:
        """Return the architecture as uname -m prints it, or 'unknown'."""
        return self.capabilities.get("architecture") or "unknown"

    @property
    def level(self) -> Any:
        """Return the psABI level (x86-64-v1 if the flags show no more), 'aarch64', or the architecture."""
        least = _LEAST_LEVEL.get(self.architecture, self.architecture)
        level = self._part("cpu").get("level")
        return level if level and may_run(least, level) else least

    @property
    def cpu_flags(self) -> frozenset[str]:
        """Return the CPU flags in the kernel's spelling."""
        return frozenset(self._part("cpu").get("flags") or ())

    @property
    def image_class(self) -> Any:
        """Return the class of hosts that share an image."""
        return self._part("classes").get("image") or self.level

    @property
    def tuning_class(self) -> Any:
        """Return the class of hosts that share a tuning."""
        return self._part("classes").get("tuning") or self.image_class

    @property
    def affinity(self) -> list[int]:
        """Return the numbers of the CPUs that the host's processes may use, ascending; empty if unknown."""
        return sorted(limits.parse_cpu_list(self._part("cpu").get("affinity") or ""))

    @property
    def usable_cpus(self) -> int:
        """Return the number of usable whole CPUs after affinity, cpuset and quota, at least 1."""
        usable = self._part("cpu").get("usable") or self._part("cpu").get("threads") or len(self.affinity)
        return max(1, int(usable))

    @property
    def memory_mib(self) -> Any:
        """Return the usable memory, or None if unknown."""
        return self._part("memory").get("usable_mib")

    @property
    def has_quota(self) -> bool:
        """Return whether a CFS quota leaves fewer CPUs than the affinity mask shows. TensorFlow sees only the mask."""
        usable = self._part("cpu").get("usable")
        return bool(usable and self.affinity and usable < len(self.affinity))

    @property
    def is_pinned(self) -> bool:
        """Return whether the host's processes may use only some of its CPUs."""
        threads = self._part("cpu").get("threads")
        return bool(threads and self.affinity and len(self.affinity) < threads)

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """Return the NVIDIA GPUs by PCI bus id, each as one mapping that includes the values of its group."""
        found = [
            dict(group, **device)
            for group in self.capabilities.get("gpus") or ()
            if str(group.get("device_id") or "").startswith(_NVIDIA)
            for device in group.get("devices") or [{}]
        ]
        return sorted(found, key=lambda gpu: str(gpu.get("pci_bus_id")))

    @property
    def gpu_groups(self) -> Any:
        """Return the NVIDIA GPUs as the capabilities list them, with identical ones together."""
        return self.capabilities.get("gpus") or []

    @property
    def container(self) -> Any:
        """Return the container engine and what it can give to a container, or an empty mapping."""
        return self._part("container")

    @property
    def engine(self) -> Any:
        """Return the container engine's name, or None."""
        return self._part("container").get("engine")

    @property
    def engine_problem(self) -> str | None:
        """Return why no container can start here, or None."""
        container = self._part("container")
        if not self.engine:
            return "no container engine was found on this host"
        if not container.get("answers"):
            reason = container.get("reason")
            return f"{self.engine} does not answer on this host" + (f" ({reason})" if reason else "")
        version = numbers(container.get("version"))
        if self.engine == "docker" and version and version < _OLDEST_DOCKER:
            return f"Docker Engine {container['version']} on this host is older than {'.'.join(str(part) for part in _OLDEST_DOCKER)}"
        return None

    @property
    def sdk_problem(self) -> str | None:
        """Return why Ansible's Python cannot use the engine although it answers, or None."""
        problem = (self._part("container").get("sdk") or {}).get("problem")
        python = self._part("python").get("executable") or "the Python that Ansible uses"
        return f"{python} on this host cannot use the Docker SDK ({problem})" if problem else None

    def is_docker_before(self, version: Any) -> bool:
        """Return whether the engine is a Docker Engine that is known to be older than a version (major, minor, patch)."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(self._part("container").get("version") or ""))
        return bool(self.engine == "docker" and found and tuple(map(int, found.groups())) < version)

    def _part(self, name: str) -> dict[str, Any]:
        return self.capabilities.get(name) or {}


def compute_capability(gpu: Any) -> tuple[int, int] | None:
    """Return (major, minor) of a GPU, or None if no driver reported it."""
    compute = gpu.get("compute")
    return (compute["major"], compute["minor"]) if compute else None


def driver_major(gpu: Any) -> int | None:
    """Return the major version of the GPU's driver, or None if no driver reported it."""
    found = numbers(gpu.get("driver_version"))
    return found[0] if found else None


def numbers(version: Any) -> tuple[int, ...]:
    """Return the first two numbers of a version, or fewer if it has fewer."""
    parts = []
    for part in str(version if version is not None else "").split(".")[:2]:
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
