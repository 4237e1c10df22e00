# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Define the fact tfserving_capabilities, as tfserving.fleet.capability_facts returns it. A key that does not apply is None, never missing."""

from __future__ import annotations

from typing import Any, TypedDict, Union

from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Engine, Sdk

Fault = Union[int, str, None]  # a code of NVML or a word of _capability.gpus; None if there is a value
Answers = dict[
    tuple[Union[int, None], str], tuple[Fault, Any]
]  # the answers of NVIDIA's driver: (GPU's index or None, question) -> (fault, value)
MOST_INSTANCES = 8  # MIG slices of a GPU


class Caches(TypedDict):
    """Sizes of the caches of one core, in KiB."""

    l1d_kib: int | None
    l1i_kib: int | None
    l2_kib: int | None
    l3_kib: int | None


class CpuLimits(TypedDict):
    """The CPUs that a process may use."""

    usable: float | None  # CPUs: the smallest of affinity, cpuset and quota
    affinity: str | None  # a list as the kernel writes it: 0-3,8; without CPUs that are known to be offline
    cpuset: str | None  # the list of the control group; None if it contains all online CPUs
    quota: float | None  # CPUs


class Topology(TypedDict):
    """The number of CPUs, as far as it is known."""

    sockets: int | None
    cores: int | None
    threads: int | None


class CpuModel(Topology):
    """What a CPU is and what it supports, according to a cpuinfo."""

    vendor: str | None  # on Arm the implementer
    family: int | None  # on Arm the architecture
    model: int | None  # on Arm the part
    stepping: int | None  # on Arm variant * 16 + revision
    brand: str | None
    level: str | None  # x86-64-v1 to x86-64-v4, or aarch64
    flags: list[str]  # those of levels.KNOWN_FLAGS that every core has, sorted
    ai: list[str]  # those of flags that are AI instructions, sorted
    caches: Caches


class Cpu(CpuModel, CpuLimits):
    """The CPUs of a host."""

    numa_nodes: int


class CpuText(TypedDict):
    """The content of a /proc/cpuinfo."""

    architecture: str | None
    cpu: CpuModel
    hypervisor: bool  # whether the CPU reports that it belongs to a virtual machine
    warnings: list[str]


class Memory(TypedDict):
    """Memory in MiB, rounded down."""

    total_mib: int | None
    limit_mib: int | None  # of the control groups
    usable_mib: int | None  # the smaller of both


class Compute(TypedDict):
    """A compute capability."""

    major: int
    minor: int


class MigSlice(TypedDict):
    """One slice of a GPU with MIG."""

    profile: str | None  # 1g.5gb
    memory_mib: int | None


class GpuDevice(TypedDict):
    """One GPU."""

    pci_bus_id: str | None
    uuid: str | None
    index: int | None  # the driver's number
    numa_node: int | None
    cpu_affinity: str | None
    mig_uuids: list[str]  # in the order of the group's mig


class GpuGroup(TypedDict):
    """Identical GPUs. Values that only the driver reports are None if it did not."""

    product: str | None
    family: str | None  # the architecture as GPU feature discovery names it
    compute: Compute | None
    memory_mib: int | None
    count: int
    device_id: str | None  # vendor:device
    driver: str | None  # the kernel driver that is bound
    driver_version: str | None
    cuda_version: str | None  # the highest that the driver supports
    ecc: bool | None
    mig: list[MigSlice] | None  # the slices of one GPU; None if MIG is off or unknown
    problem: str | None  # why they are not usable, with a remedy
    devices: list[GpuDevice]


class Cdi(TypedDict):
    """The CDI descriptions of a host's GPUs."""

    names: str | None  # how they name the devices: uuid or index
    problem: str | None  # why they do not fit the GPUs


class GpusForContainers(TypedDict):
    """The software that gives GPUs to containers."""

    toolkit: str | None  # the version of NVIDIA's container toolkit
    hook: bool  # whether the hook that --gpus uses exists
    cdi: Cdi | None


class Container(Engine):
    """The container engine, and what it can give to a container."""

    sdk: Sdk | None  # None for a recorded host
    nvidia: GpusForContainers | None  # None without a GPU


class OperatingSystem(TypedDict):
    """The operating system of a host."""

    distribution: str | None
    version: str | None
    kernel: str | None
    init: str | None
    libc: str | None  # name and version


class Virtualization(TypedDict):
    """The kind of virtual machine or container that the host is, in the words of systemd-detect-virt."""

    kind: str | None
    container: str | None


class Python(TypedDict):
    """The Python that Ansible uses on the host."""

    version: str
    executable: str


class Classes(TypedDict):
    """The classes of a host."""

    image: str  # hosts of this class can run the same image
    tuning: str  # a tuning of one host applies to all hosts of this class


class HostFacts(TypedDict):
    """What a host reports about itself."""

    schema: int
    architecture: str | None  # uname -m
    cpu: Cpu
    memory: Memory
    gpus: list[GpuGroup]
    container: Container
    os: OperatingSystem
    virtualization: Virtualization
    python: Python


class Capabilities(HostFacts):
    """The whole fact."""

    classes: Classes  # added on the controller


class Clocks(TypedDict):
    """Clocks in MHz."""

    sm: int | None
    sm_max: int | None
    memory: int | None
    memory_max: int | None


class NvLink(TypedDict):
    """The NVLink connections of a GPU with one other."""

    peer: str  # its PCI address
    links: int


class GpuProcess(TypedDict):
    """A process that computes on a GPU."""

    pid: int  # as the host numbers it
    memory_mib: int | None


class RemappedRows(TypedDict):
    """Rows of a GPU's memory that were replaced by spare ones."""

    correctable: int
    uncorrectable: int
    pending: bool
    failed: bool


class GpuHealth(TypedDict):
    """Whether a GPU is usable."""

    state: str  # ok, warning, failed, or unknown if no reading that could show damage is available
    reasons: list[str]


class GpuReadings(TypedDict):
    """The current state of one GPU. None: unknown."""

    pci_bus_id: str | None
    uuid: str | None
    free_memory_mib: int | None
    mig_free_memory_mib: list[int]
    persistence: bool | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: int | None
    clocks_mhz: Clocks
    nvlink: list[NvLink] | None
    processes: list[GpuProcess] | None
    throttling: list[str] | None
    retired_pages: int | None
    retired_pages_pending: bool | None
    remapped_rows: RemappedRows | None
    xids: list[int] | None  # the driver's errors in the kernel's log; None if the log is not readable
    faults: dict[str, str]  # why the driver refused a question


class GpuDetails(GpuReadings):
    """The readings of a GPU, and conclusions from them."""

    health: GpuHealth


# The GPUs, what gives them to containers (None without a GPU), the details or None, and lines about unusable parts.
Found = tuple[list[GpuGroup], Union[GpusForContainers, None], Union[list[GpuDetails], None], list[str]]


class GpuUse(TypedDict):
    """Whether a server computes on its GPUs."""

    used: bool | None  # None if nothing shows it
    seen: list[SeenGpu]
    reason: str
    remedy: str | None


class SeenGpu(TypedDict):
    """A GPU in a server's log."""

    name: str
    pci_bus_id: str
    memory_mib: int
