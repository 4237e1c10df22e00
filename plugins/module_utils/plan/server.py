# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server a host gets: the release, the backend, the GPUs it is given."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.plan import host as hosts
from ansible_collections.tfserving.fleet.plugins.module_utils.release import questions, table

NOT_TENSORFLOW_SERVING = ("the embedded server is not TensorFlow Serving: a small Python model server of this collection over TensorFlow's own library; "
                          "its figures are not TensorFlow Serving's")
_HOW = {"cdi": "CDI", "device_request": "the engine's device request (--gpus)"}
_NO_MODELS = "serve no models on this host (tfserving_models: [])"


def choose_release(draft, wanted):
    """The table's row to plan with, or None when refused."""
    if wanted["version"] is None:
        return draft.decide("release", questions.releases()[-1], "the newest that the release table knows; set tfserving_version to pin another")
    try:
        release = questions.nearest(wanted["version"])
    except FleetError as fault:
        draft.refuse("release", fault.what, fault.remedy, {"version": questions.instead_of(wanted["version"])})
        return None
    if questions.is_newer_than_table(release):
        draft.warn(f"release {release} is newer than the release table: planned with what {questions.releases()[-1]} knows; flags and images may differ")
    reason = "as tfserving_version says" if release == wanted["version"] else f"what the release table has for {wanted['version']}"
    return draft.decide("release", release, reason)


def choose_backend(draft, host, wanted):
    """'docker', 'embedded', or None when refused."""
    problem = host.engine_problem
    if wanted["backend"] == "docker" and problem:
        draft.refuse("backend", problem, "Start Docker Engine 20.10 or later (or Podman's socket) on the host, or set tfserving_backend: auto",
                     {"backend": "auto"})
        return None
    if wanted["backend"] == "docker" or (wanted["backend"] == "auto" and not problem):
        asked = "asked for" if wanted["backend"] == "docker" else "the default wherever a container engine answers"
        return draft.decide("backend", "docker", f"{asked}; {host.engine} answers")
    return _embedded(draft, host, wanted, "asked for" if wanted["backend"] == "embedded" else problem, problem)


def _embedded(draft, host, wanted, reason, problem):
    if not _tensorflow_wheel_runs(host):
        needs = "TensorFlow's packages need an x86-64 CPU with AVX, or aarch64"
        if problem:
            draft.refuse("backend", f"{reason}, and {needs}: the embedded server cannot run here either", f"Take it out: {_NO_MODELS}", {"models": []})
        else:
            draft.refuse("backend", f"{needs}; this is {host.level} without AVX" if host.architecture == "x86_64" else f"{needs}; this is {host.architecture}",
                         "Use the container engine instead: tfserving_backend: docker", {"backend": "docker"})
        return None
    draft.warn(NOT_TENSORFLOW_SERVING)
    for key, what in (("image", wanted["image"]), ("build", wanted["build"])):
        if what:
            draft.warn(f"tfserving_{key} has no effect: the embedded server runs in no container")
    return draft.decide("backend", "embedded", reason)


def _tensorflow_wheel_runs(host):
    return host.architecture == "aarch64" or (host.architecture == "x86_64" and "avx" in host.cpu_flags)


def choose_gpus(draft, host, wanted, release, backend):
    """The PCI bus ids of the GPUs that the server gets, and how the engine is asked for them: ([...], 'cdi' | 'device_request' | None).

    None where one is required and cannot be had: such a host is not served on its CPU instead.
    """
    if wanted["gpu"] == "none":
        if host.gpus:
            draft.decide("GPU", "none", "tfserving_gpu: none")
        return [], None
    found, problem, change = _usable_gpus(draft, host, release, backend)
    if problem is None:
        return found
    if wanted["gpu"] == "require":
        draft.refuse("GPU", problem[0], f"{problem[1]}, or set tfserving_gpu: none", change or {"gpu": "none"})
        return None
    if host.gpus:
        draft.decide("GPU", "none", f"{problem[0]}; to use it: {_lower(problem[1])}")
        draft.warn(f"a GPU stays unused: {problem[0]}. {problem[1]}")
    return [], None


def _usable_gpus(draft, host, release, backend):
    """((ids, how), None, None), or (None, (reason, remedy), a change that helps or None)."""
    if not host.gpus:
        return None, ("this host has no NVIDIA GPU", "Ask for none on this host"), None
    if backend == "embedded":
        return None, ("the embedded server computes on the CPU", "Start a container engine on the host"), None
    if host.architecture not in table.IMAGES["architectures"]:
        return None, (f"the GPU images are for {', '.join(table.IMAGES['architectures'])} only", "Serve without the GPU"), None
    if not any(gpu.get("driver") for gpu in host.gpus):
        return None, ("no driver is bound to the GPU", "Install NVIDIA's driver and its container toolkit on the host"), None
    answers = [(gpu, questions.gpu_support(release, hosts.compute_capability(gpu), hosts.driver_major(gpu))) for gpu in host.gpus if gpu.get("driver")]
    supported = [(gpu, answer) for gpu, answer in answers if answer["supported"]]
    if not supported:
        refused = answers[0][1]
        return None, (refused["reason"], refused["remedy"]), {"version": refused["releases"][-1]} if refused["releases"] else None
    how = _access(host)
    if how is None:
        return None, (f"{host.engine} has neither NVIDIA's runtime nor CDI descriptions", "Install NVIDIA's container toolkit on the host"), None
    return (_take(draft, supported, release, how, len(host.gpus)), None, None)


def _take(draft, supported, release, how, present):
    chosen = [str(gpu.get("pci_bus_id")) for gpu, _answer in supported]
    reasons = sorted({answer["reason"] for _gpu, answer in supported})
    draft.decide("GPU", ", ".join(chosen), f"{'; '.join(reasons)}; handed in by {_HOW[how]}")
    if len(chosen) < present:
        draft.warn(f"{present - len(chosen)} of {present} GPUs stay unused: {release} does not support them or no driver is bound to them")
    if len(chosen) > 1:
        draft.warn(f"TensorFlow computes on the first of the {len(chosen)} GPUs unless the model itself places operations, and takes the memory of all")
    if any(answer["just_in_time"] for _gpu, answer in supported):
        draft.warn("the first start compiles the GPU code from PTX, which can take many minutes: the CUDA cache is kept, allow the first start that time")
    if any(hosts.driver_major(gpu) is None for gpu, _answer in supported):
        draft.warn(f"the version of NVIDIA's driver is not known: CUDA {questions.cell('cuda', release)} needs {questions.lowest_driver(release)} or later")
    return chosen, how


def _access(host):
    if host.engine != "podman" and "nvidia" in host.runtimes:
        return "device_request"
    return "cdi" if host.has_cdi else None


def _lower(text):
    return text[:1].lower() + text[1:]
