# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the GPUs of a server, how to request them from its engine, and what that means for its release, its memory and its first start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching.start_values import row_bytes
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import cdi, limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_view as hosts
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

# Compiling all kernels from PTX took half an hour where users measured it (github.com/tensorflow/tensorflow issue 62320).
FIRST_START_S = 2400
_CACHE_BYTES = 4 * 1024**3
_HOW = {"cdi": "CDI", "device_request": "the engine's device request (--gpus)", "runtime": "the runtime nvidia"}
# Loading takes this in addition to the weights, and two versions at once while one replaces the other: upstream's
# resource estimate and version policy.
_LOADED = 1.2
_CONTEXT_MIB = 600
# The output of a layer is often larger than its input, so inputs should take only a small part of the memory.
_SHARE_OF_INPUTS = 8
_PORTS_OF_A_SERVER = 2


@dataclass
class Chosen:
    """The devices of a server: GPUs or MIG slices, as mappings of the capabilities with `id`, their name for the engine."""

    devices: list[Any] = field(default_factory=list)
    how: str | None = None
    just_in_time: bool = False

    def __bool__(self) -> bool:
        return bool(self.devices)

    @property
    def as_planned(self) -> list[dict[str, Any]]:
        """Return server.devices of the plan."""
        return [{"pci_bus_id": device.get("pci_bus_id"), "id": device["id"], "by": self.how} for device in self.devices]

    @property
    def memory_mib(self) -> int | None:
        """Return the memory of the device that computes, or None if unknown."""
        return self.devices[0].get("memory_mib") if self.devices else None

    @property
    def start_timeout_s(self) -> int | None:
        """Return how long the first start may take if it takes longer than others."""
        return FIRST_START_S if self.just_in_time else None


def choose(draft: Draft, host: Host, wanted: dict[str, Any], release: str, backend: str) -> Chosen | None:
    """Return what the server gets, Chosen, or None if a GPU is required and not available. Such a host is not served on its CPU instead."""
    if wanted["gpu"] == "none":
        if host.gpus:
            draft.decide("GPU", "none", "tfserving_gpu: none")
        return Chosen()
    chosen, problem, change = _usable(draft, host, wanted, release, backend)
    if problem is None:
        return chosen
    if wanted["gpu"] == "require":
        draft.refuse("GPU", problem[0], f"{problem[1]}, or set tfserving_gpu: none", change or {"gpu": "none"})
        return None
    if host.gpus:
        draft.decide("GPU", "none", f"{problem[0]}; to use it: {_lower(problem[1])}")
        draft.warn(f"a GPU stays unused: {problem[0]}. {problem[1]}")
    return Chosen()


def unused(warnings: Iterable[str]) -> list[str]:
    """Return the warnings of a plan that say that a GPU or a MIG slice computes nothing."""
    return [text for text in warnings if re.search("stays? unused", text)]


def _usable(
    draft: Draft, host: Host, wanted: dict[str, Any], release: str, backend: str
) -> tuple[Chosen | None, Any, Any]:
    """Return (Chosen, None, None), or (None, (reason, remedy), a change that helps or None)."""
    if not host.gpus:
        return None, ("this host has no NVIDIA GPU", "Serve the models on a host with a GPU"), None
    if backend == "embedded":
        return None, ("the embedded server uses only the CPU", "Start a container engine on the host"), None
    if host.architecture not in table.IMAGES["architectures"]:
        return (
            None,
            (f"the GPU images are for {', '.join(table.IMAGES['architectures'])} only", "Serve without the GPU"),
            None,
        )
    bound = [gpu for gpu in host.gpus if gpu.get("driver") == "nvidia"]
    if not bound:
        others = sorted({gpu["driver"] for gpu in host.gpus if gpu.get("driver")})
        return (
            None,
            (
                f"the driver {others[0]} is bound to the GPU, not NVIDIA's"
                if others
                else "no driver is bound to the GPU",
                "Install NVIDIA's driver and its container toolkit on the host",
            ),
            None,
        )
    sound = [gpu for gpu in bound if not (gpu.get("problem") and not gpu.get("compute"))]
    if not sound:
        return None, _of_problem(bound[0]["problem"]), None
    answers = [(gpu, _support(release, gpu)) for gpu in sound]
    supported = [(gpu, answer) for gpu, answer in answers if answer["supported"]]
    if not supported:
        refused = answers[0][1]
        return (
            None,
            (refused["reason"], refused["remedy"]),
            {"version": refused["releases"][-1]} if refused["releases"] else None,
        )
    tag = questions.official_tag(wanted["image"] or "")
    if tag and "gpu" not in tag and "@" not in wanted["image"]:
        with_cuda = questions.official_image(release, "gpu")
        return (
            None,
            (f"{wanted['image']} is an image without CUDA", f"Set tfserving_image: {with_cuda}"),
            {"image": with_cuda},
        )
    how, missing, remedy = cdi.way(host.container, host.gpu_groups)
    if how is None:
        return None, (missing, remedy), None
    devices = _placed(bound, supported, how, host.container)
    if not devices and supported[0][0].get("problem"):
        return None, _of_problem(supported[0][0]["problem"]), None
    if not devices:
        return (
            None,
            (
                "MIG is on, but there is no slice",
                "Create slices (nvidia-smi mig -cgi PROFILE -C) or turn MIG off (nvidia-smi -mig 0)",
            ),
            None,
        )
    short = _too_small(wanted["models"], devices)
    if short:
        return None, short, None
    return _take(draft, host, wanted, supported, devices, how, release), None, None


def _support(release: str, gpu: Any) -> Any:
    """Return the result of questions.gpu_support, unless the driver cannot compile this release's PTX, which minor version compatibility does not cover."""
    answer = questions.gpu_support(release, hosts.compute_capability(gpu), hosts.driver_major(gpu))
    cuda = questions.cell("cuda", release)
    if answer["just_in_time"] and gpu.get("cuda_version") and hosts.numbers(gpu["cuda_version"]) < hosts.numbers(cuda):
        return dict(
            answer,
            supported=False,
            reason=f"{answer['reason']}, but this driver compiles PTX only up to CUDA {gpu['cuda_version']}, not {cuda}",
            remedy=f"Update the driver to one with CUDA {cuda} or later",
            releases=(),
        )
    return answer


def _of_problem(problem: Any) -> Any:
    """Return (reason, remedy) of a GPU's problem, whose text ends with its remedy."""
    what, colon, remedy = problem.rpartition(": ")
    return (what, remedy[:1].upper() + remedy[1:]) if colon else (problem, "Check the kernel log and nvidia-smi")


def _devices(gpu: Any, how: Any, container: Any) -> Any:
    """Return the devices of one GPU: itself, or its MIG slices, the largest first."""
    by_index = how == "cdi" and (((container.get("nvidia") or {}).get("cdi")) or {}).get("names") == "index"
    if gpu.get("mig") is None:
        return [
            dict(
                gpu,
                id=gpu.get("uuid")
                if gpu.get("uuid") and not by_index
                else str(gpu["index"])
                if gpu.get("index") is not None
                else str(gpu.get("pci_bus_id")),
            )
        ]
    slices = [
        dict(
            gpu,
            memory_mib=part.get("memory_mib"),
            profile=part.get("profile"),
            id=f"{gpu['index']}:{place}" if by_index or not uuid else uuid,
        )
        for place, (part, uuid) in enumerate(zip(gpu["mig"], gpu.get("mig_uuids") or ()))
    ]
    return sorted(slices, key=lambda part: -(part["memory_mib"] or 0))


def _placed(bound: Any, supported: Any, how: Any, container: Any) -> Any:
    """Return the devices of the supported GPUs, each with its `place` among those of the host.

    A broken GPU keeps its place, so the places of others do not change.
    """
    found, place = [], 0
    usable = [gpu for gpu, _answer in supported]
    for gpu in bound:
        devices = _devices(gpu, how, container) if gpu in usable else []
        found += [dict(device, place=place + number) for number, device in enumerate(devices)]
        place += len(devices) or (1 if gpu.get("problem") and not gpu.get("compute") else 0)
    return found


def _too_small(models: list[dict[str, Any]], devices: Any) -> Any:
    """Return (reason, remedy) if the models do not fit the largest device, or None."""
    needed, most = _needed_mib(models), max(device.get("memory_mib") or 0 for device in devices)
    if needed and most and needed > most:
        return (
            f"the models need about {needed:.0f} MiB of GPU memory, but the largest device has only {most}",
            "Serve fewer models on this host, or convert them to a smaller variant",
        )
    return None


def _needed_mib(models: list[dict[str, Any]], versions: Any = 1) -> Any:
    """Return the approximate GPU memory of the models without that of batches, or 0 if no size is known."""
    size = sum(model.get("size_bytes") or 0 for model in models)
    return versions * _LOADED * size / 2**20 + _CONTEXT_MIB if size else 0


def _take(
    draft: Draft, host: Host, wanted: dict[str, Any], supported: Any, devices: Any, how: Any, release: str
) -> Any:
    """Decide for these devices. A process computes on only one MIG slice, so a server gets one."""
    whole = [device for device in devices if device.get("mig") is None]
    one = wanted["gpu_servers"] == "one"
    chosen = Chosen((whole or devices[:1]) if one else devices, how)
    used = {device.get("pci_bus_id") for device in chosen.devices}
    answers = [answer for gpu, answer in supported if gpu.get("pci_bus_id") in used]
    chosen.just_in_time = any(answer["just_in_time"] for answer in answers)
    draft.decide(
        "GPU",
        ", ".join(_shown(device) for device in chosen.devices),
        f"{'; '.join(sorted({answer['reason'] for answer in answers}))}; provided by {_HOW[how]}",
    )
    if len(supported) < len(host.gpus):
        unused = [gpu for gpu in host.gpus if gpu not in [taken for taken, _answer in supported]]
        problems = sorted({gpu["problem"] for gpu in unused if gpu.get("problem")})
        why = "; ".join(problems) if problems else f"{release} does not support them or no driver is bound to them"
        draft.warn(f"{len(unused)} of {len(host.gpus)} GPUs stay unused: {why}")
    if len(devices) > len(chosen.devices):
        draft.warn(
            f"a process uses only one MIG slice, so {len(devices) - len(chosen.devices)} stay unused; tfserving_gpu_servers: per_gpu plans a server "
            "for each"
        )
    if one and len(chosen.devices) > 1:
        draft.warn(
            f"TensorFlow uses only the first of the {len(chosen.devices)} GPUs unless the model itself places operations; "
            "tfserving_gpu_servers: per_gpu plans a server for each"
        )
    if chosen.just_in_time:
        draft.warn(
            "the first start compiles the GPU code from PTX, which can take many minutes: the CUDA cache is kept, and the first start has that much time "
            f"({FIRST_START_S} s)"
        )
    if any(hosts.driver_major(device) is None for device in chosen.devices):
        draft.warn(
            f"the version of NVIDIA's driver is unknown: CUDA {questions.cell('cuda', release)} needs {questions.lowest_driver(release)} or later"
        )
    tensorrt = questions.tensorrt_support(release, hosts.compute_capability(chosen.devices[0]))
    draft.decide("TensorRT", "usable" if tensorrt["supported"] else "not usable", tensorrt["reason"])
    return chosen


def environment(draft: Draft, wanted: dict[str, Any], chosen: Any) -> dict[str, str]:
    """Return the variables that a server with these devices needs, {name: text}."""
    draft.decide("CUDA cache", "kept", "later starts reuse what the driver compiles at the first start")
    found = {"CUDA_CACHE_PATH": container.CUDA_CACHE, "CUDA_CACHE_MAXSIZE": str(_CACHE_BYTES)}
    if wanted["flags"].get("per_process_gpu_memory_fraction"):
        draft.decide(
            "GPU memory",
            "a fraction",
            "tfserving_flags: per_process_gpu_memory_fraction; CUDA itself needs memory in addition",
        )
    else:
        found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        draft.decide(
            "GPU memory",
            "as needed",
            "TensorFlow would reserve all of it at the start, which leaves none for a second server and hides how much is used",
        )
    return found


def say_memory(draft: Draft, wanted: dict[str, Any], planned: Any, chosen: Any) -> None:
    """Warn if one version of the models fits the device but two (while one replaces the other) do not, and if batches alone take much of it."""
    if not chosen.memory_mib:
        return
    if _needed_mib(wanted["models"], versions=2) > chosen.memory_mib:
        draft.warn(
            f"two versions of the models do not fit into {chosen.memory_mib} MiB of GPU memory at once: an update interrupts the service"
        )
    for model, made in zip(wanted["models"], planned):
        batching = made["batching"] or {}
        rows, at_once = (
            batching.get("max_execution_batch_size") or batching.get("max_batch_size") or 0,
            batching.get("num_batch_threads") or 1,
        )
        inputs_mib = rows * at_once * (row_bytes(model["signatures"] or {}) or 0) / 2**20
        if inputs_mib > (chosen.memory_mib - _needed_mib([model])) / _SHARE_OF_INPUTS:
            draft.warn(
                f"{model['name']}: {at_once} batches of {rows} rows at once take {inputs_mib:.0f} MiB of {chosen.memory_mib} MiB of GPU memory for "
                "their inputs alone, and more during the computation: lower max_execution_batch_size or num_batch_threads"
            )


def one_each(draft: Draft, host: Host, wanted: dict[str, Any], chosen: Any) -> list[dict[str, Any]]:
    """Return a server for each device, [{suffix, devices, cpu_set, port_offset}], or an empty list if one server gets all devices.

    The first place has no suffix.
    """
    if wanted["gpu_servers"] != "per_gpu" or [device["place"] for device in chosen.devices] in ([], [0]):
        return []
    draft.decide(
        "GPU servers",
        str(len(chosen.devices)),
        "tfserving_gpu_servers: per_gpu; each additional server has -gpu and its number at the end of its name, and "
        f"ports that are {_PORTS_OF_A_SERVER} higher",
    )
    return [
        {
            "suffix": f"-gpu{device['place']}" if device["place"] else "",
            "devices": [planned],
            "cpu_set": _cpus_near(host, wanted, device),
            "port_offset": device["place"] * _PORTS_OF_A_SERVER,
        }
        for device, planned in zip(chosen.devices, chosen.as_planned)
    ]


def _cpus_near(host: Host, wanted: dict[str, Any], device: Any) -> Any:
    """Return the CPUs near a GPU that processes of this host may use, or None for those of the plan, which the user may have chosen."""
    try:
        near = limits.parse_cpu_list(device.get("cpu_affinity") or "")
    except FleetError:
        return None
    usable = near & set(host.affinity) if host.affinity else near
    return None if wanted["cpus"] or not usable or usable == set(host.affinity) else limits.format_cpu_list(usable)


def _shown(device: Any) -> str:
    place = str(device.get("pci_bus_id"))
    return f"{place} MIG {device['profile']}" if device.get("profile") else place


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
