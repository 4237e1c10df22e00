# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as the plan sees it: the capabilities (docs/architecture.md, "Capabilities") with the questions that planning asks of them."""

from __future__ import annotations

from dataclasses import dataclass

_LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_OLDEST_DOCKER = (20, 10)
_NVIDIA = "10de:"


@dataclass(frozen=True)
class Host:
    """capabilities: the mapping of the contract; keys that are missing or null count as unknown."""

    capabilities: dict

    @property
    def architecture(self):
        """uname -m, or 'unknown'."""
        return self.capabilities.get("architecture") or "unknown"

    @property
    def level(self):
        """The psABI level, x86-64-v1 where the flags tell no more; 'aarch64'; or the architecture."""
        return self._part("cpu").get("level") or (_LEVELS[0] if self.architecture == "x86_64" else self.architecture)

    @property
    def cpu_flags(self):
        """CPU flags in the kernel's spelling."""
        return frozenset(self._part("cpu").get("flags") or ())

    @property
    def image_class(self):
        """The class that shares an image."""
        return self._part("classes").get("image") or self.level

    @property
    def tuning_class(self):
        """The class that shares a tuning."""
        return self._part("classes").get("tuning") or self.image_class

    @property
    def affinity(self):
        """The numbers of the CPUs that the host's processes may use, ascending; empty when unknown."""
        return cpu_numbers(self._part("cpu").get("affinity"))

    @property
    def usable_cpus(self):
        """Whole CPUs worth using: what affinity, cpuset and quota leave, at least 1."""
        usable = self._part("cpu").get("usable") or self._part("cpu").get("threads") or len(self.affinity)
        return max(1, int(usable))

    @property
    def memory_mib(self):
        """Usable memory, or None when unknown."""
        return self._part("memory").get("usable_mib")

    @property
    def has_quota(self):
        """Whether a CFS quota leaves less than the affinity mask shows; TensorFlow sees the mask alone."""
        usable = self._part("cpu").get("usable")
        return bool(usable and self.affinity and usable < len(self.affinity))

    @property
    def is_pinned(self):
        """Whether the host's processes may use only some of its CPUs."""
        threads = self._part("cpu").get("threads")
        return bool(threads and self.affinity and len(self.affinity) < threads)

    @property
    def gpus(self):
        """The NVIDIA GPUs, by PCI bus id."""
        found = [gpu for gpu in self.capabilities.get("gpus") or () if str(gpu.get("device_id") or "").startswith(_NVIDIA)]
        return sorted(found, key=lambda gpu: str(gpu.get("pci_bus_id")))

    @property
    def runtimes(self):
        """The container runtimes that the engine knows."""
        return tuple(self._part("container").get("runtimes") or ())

    @property
    def has_cdi(self):
        """Whether a folder with CDI descriptions exists."""
        return bool(self._part("container").get("cdi_directories"))

    @property
    def engine(self):
        """The container engine's name, or None."""
        return self._part("container").get("engine")

    @property
    def engine_problem(self):
        """Why no container can be started here, or None."""
        container = self._part("container")
        if not self.engine:
            return "no container engine was found on this host"
        if not container.get("answers"):
            reason = container.get("reason")
            return f"{self.engine} does not answer on this host" + (f" ({reason})" if reason else "")
        version = _numbers(container.get("version"))
        if self.engine == "docker" and version and version < _OLDEST_DOCKER:
            return f"Docker Engine {container['version']} on this host is older than {'.'.join(str(part) for part in _OLDEST_DOCKER)}"
        return None

    def _part(self, name):
        return self.capabilities.get(name) or {}


def compute_capability(gpu):
    """(major, minor) of a GPU, or None. compute: {major, minor}, "9.0" or 9.0."""
    compute = gpu.get("compute")
    if isinstance(compute, dict):
        return (compute["major"], compute.get("minor") or 0) if isinstance(compute.get("major"), int) else None
    numbers = _numbers(compute)
    return (numbers + (0,))[:2] if numbers else None


def driver_major(gpu):
    """The major version of the GPU's driver, or None when unknown."""
    numbers = _numbers(gpu.get("driver_version"))
    return numbers[0] if numbers else None


def level_covers(host_level, needed):
    """Whether code for the psABI level needed runs on a host of host_level."""
    return host_level == needed or (host_level in _LEVELS and needed in _LEVELS and _LEVELS.index(needed) <= _LEVELS.index(host_level))


def cpu_numbers(text):
    """The CPU numbers of a list such as '0-3,8', ascending; empty for anything else."""
    numbers = set()
    for part in str(text or "").split(","):
        first, _dash, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.update(range(int(first), int(last or first) + 1))
    return sorted(numbers)


def cpu_list(numbers):
    """The inverse of cpu_numbers: '0-3,8'."""
    runs = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _numbers(version):
    parts = []
    for part in str(version if version is not None else "").split(".")[:2]:
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
