# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the release and the backend of a host's server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

NOT_TENSORFLOW_SERVING = (
    "the embedded server is not TensorFlow Serving: it is this collection's small Python model server, which uses TensorFlow's library; "
    "its measurements do not apply to TensorFlow Serving"
)
# Docker's default seccomp profile has known clone3 since then (moby/moby#42681, notes of release 20.10.10); earlier it answers EPERM.
_FIRST_DOCKER_WITH_CLONE3 = (20, 10, 10)
# The variables in start lines that also apply to a server without a container.
_WITHOUT_CONTAINER = ("name", "grpc_port", "rest_port")
_WHEEL_NEEDS = "TensorFlow's packages need an x86-64 CPU with AVX, or aarch64"
# Keys of the request that only TensorFlow Serving can satisfy, so the embedded server does not replace it.
OF_TENSORFLOW_SERVING = ("image", "build", "version", "engine_socket")
_NO_MODELS = "serve no models on this host (tfserving_models: [])"


def choose_release(draft: Draft, wanted: dict[str, Any]) -> Any:
    """Return the table's row to plan with, or None if refused. Without tfserving_version, the tag of tfserving_image can name it."""
    image = wanted["image"] if wanted["backend"] != "embedded" else None
    tagged = questions.release_in_tag(image) if image else None
    given = tagged if wanted["version"] is None else wanted["version"]
    if given is None:
        newest = questions.releases()[-1]
        if image:
            draft.warn(
                f"image {image}: its tag names no release of the release table, so it is planned as {newest}; set tfserving_version to its release"
            )
            return draft.decide(
                "release",
                newest,
                "assumed: the newest release in the release table, because the tag of tfserving_image names none",
            )
        return draft.decide(
            "release", newest, "the newest release in the release table; set tfserving_version to pin another"
        )
    try:
        release = questions.nearest(given)
    except FleetError as fault:
        instead = questions.instead_of(given)
        if wanted["version"] is None:
            draft.refuse(
                "release",
                f"the tag of tfserving_image: {fault.what}",
                f"Leave tfserving_image out and set tfserving_version: {instead}, or keep the image and set tfserving_version to plan it as that release",
                {"version": instead, "image": None},
            )
        else:
            draft.refuse("release", fault.what, fault.remedy, {"version": instead})
        return None
    newer = questions.is_newer_than_table(release)
    if newer:
        draft.warn(
            f"release {release} is newer than the release table: planned with the data of {questions.releases()[-1]}; flags and images may differ"
        )
    if wanted["version"] is None:
        return draft.decide("release", release, "the release in the tag of tfserving_image")
    if tagged and questions.numbers(release)[: len(questions.numbers(tagged))] != questions.numbers(tagged):
        draft.warn(
            f"tfserving_version is {given}, but the tag of tfserving_image names {tagged}: planned for {release}; if the image is {tagged}, "
            "leave tfserving_version out"
        )
    known = release == wanted["version"] or newer
    reason = "set by tfserving_version" if known else f"the newest release in the release table for {wanted['version']}"
    return draft.decide("release", release, reason)


def corrected(refusal: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a refusal. If it changes the release, it also removes an image whose tag names another one."""
    change = refusal["change"]
    if (
        change.get("version")
        and "image" not in change
        and wanted["image"]
        and questions.release_in_tag(wanted["image"])
    ):
        return dict(refusal, change=dict(change, image=None))
    return refusal


def choose_backend(draft: Draft, host: Host, wanted: dict[str, Any], release: str) -> Any:
    """Return 'docker', 'embedded', or None if refused."""
    problem = host.engine_problem
    named = next((f"tfserving_{key}" for key in OF_TENSORFLOW_SERVING if wanted[key]), None)
    if problem and (wanted["backend"] == "docker" or (wanted["backend"] == "auto" and named)):
        reason = problem if wanted["backend"] == "docker" else f"{problem}, and {named} needs TensorFlow Serving"
        start = "Start Docker Engine 20.10 or later (or Podman's socket) on the host"
        if _tensorflow_wheel_runs(host):
            draft.refuse(
                "backend",
                reason,
                f"{start}, or set tfserving_backend: embedded for the collection's own server",
                {"backend": "embedded"},
            )
        else:
            draft.refuse(
                "backend",
                f"{reason}; the embedded server cannot run here either: {_WHEEL_NEEDS}",
                f"{start}, or {_NO_MODELS}",
                {"models": []},
            )
        return None
    if wanted["backend"] == "docker" or (wanted["backend"] == "auto" and not problem):
        if host.sdk_problem:
            draft.refuse(
                "backend",
                host.sdk_problem,
                "Install it there (apt-get install python3-docker, or pip install docker for that Python), set "
                "Python in ansible_python_interpreter, or set tfserving_backend: embedded",
                {"backend": "embedded"},
            )
            return None
        if not wanted["image"] and questions.needs_clone3(release) and host.is_docker_before(_FIRST_DOCKER_WITH_CLONE3):
            last = next(known for known in reversed(questions.releases()) if not questions.needs_clone3(known))
            first = ".".join(map(str, _FIRST_DOCKER_WITH_CLONE3))
            draft.refuse(
                "backend",
                f"images of {release} start threads with clone3, which Docker Engine {host.container['version']} on this host forbids",
                f"Update Docker Engine to {first} or later, or set tfserving_version: {last}",
                {"version": last},
            )
            return None
        asked = "requested" if wanted["backend"] == "docker" else "the default if a container engine answers"
        return draft.decide("backend", "docker", f"{asked}; {host.engine} answers")
    return _embedded(draft, host, wanted, "requested" if wanted["backend"] == "embedded" else str(problem), problem)


def of_start_lines(draft: Draft, given: Any, backend: str) -> dict[str, Any]:
    """Return {serve: the role tfs_server's variables in start lines} without those that the backend does not have, or an empty mapping."""
    kept = {name: value for name, value in given.items() if backend == "docker" or name in _WITHOUT_CONTAINER}
    dropped = sorted(set(given) - set(kept))
    if dropped:
        draft.warn(
            f"{', '.join(dropped)} of tfserving_options {'has' if len(dropped) == 1 else 'have'} no effect: the embedded server does not run in a container"
        )
    return {"serve": kept} if kept else {}


def _embedded(draft: Draft, host: Host, wanted: dict[str, Any], reason: str, problem: Any) -> Any:
    if not _tensorflow_wheel_runs(host):
        if problem:
            draft.refuse(
                "backend",
                f"{reason}, and {_WHEEL_NEEDS}: the embedded server cannot run here either",
                f"Leave it out: {_NO_MODELS}",
                {"models": []},
            )
        else:
            draft.refuse(
                "backend",
                f"{_WHEEL_NEEDS}; this is "
                + (f"{host.level} without AVX" if host.architecture == "x86_64" else host.architecture),
                "Use the container engine instead: tfserving_backend: docker",
                {"backend": "docker"},
            )
        return None
    draft.warn(NOT_TENSORFLOW_SERVING)
    for key, what in (("image", wanted["image"]), ("build", wanted["build"])):
        if what:
            draft.warn(f"tfserving_{key} has no effect: the embedded server does not run in a container")
    return draft.decide("backend", "embedded", reason)


def _tensorflow_wheel_runs(host: Host) -> bool:
    return host.architecture == "aarch64" or (host.architecture == "x86_64" and "avx" in host.cpu_flags)
