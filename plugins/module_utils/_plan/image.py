# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the image of a host: the official one, the user's, or a recipe to build one for the host's image class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import may_run
from ansible_collections.tfserving.fleet.plugins.module_utils._image import recipe as recipes
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table


def choose_image(
    draft: Draft, host: Host, wanted: dict[str, Any], release: str, gpu: Any
) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return (the image's name, the recipe to build it or None), or (None, None) if refused. gpu: whether the server gets one."""
    kind: questions.ImageKind = "gpu" if gpu else "cpu"
    if wanted["image"]:
        if wanted["image"].endswith(table.IMAGES["mkl"]):
            _warn_of_mkl(draft, release)
        draft.warn(
            f"image {wanted['image']}: its instruction set is unknown; the deployment checks on each host that the image runs before it serves"
        )
        return draft.decide("image", wanted["image"], "tfserving_image"), None
    if host.architecture not in table.IMAGES["architectures"]:
        _refuse_architecture(draft, host)
        return None, None
    if wanted["build"]:
        return _own_build(draft, host, wanted, release, kind)
    missing = [flag for flag in questions.stock_cpu_flags(release) if flag not in host.cpu_flags]
    if missing:
        draft.refuse(
            "image",
            f"the official image of {release} needs {recipes.spelt(missing)}, which this {host.level} CPU lacks: "
            "it would crash with 'Illegal instruction'",
            f"Build an image for {host.level}: tfserving_build: true",
            {"build": True, "build_options": None, "image": None},
        )
        return None, None
    if not gpu:
        _say_what_a_build_needs(draft, host, wanted, release)
    name = questions.official_image(release, kind)
    built_for = recipes.spelt(questions.stock_cpu_flags(release))
    return draft.decide(
        "image", name, f"the official image of {release}; built for {built_for}, which this CPU has"
    ), None


def _refuse_architecture(draft: Draft, host: Host) -> None:
    reason = f"the official images and Dockerfiles are only for {', '.join(table.IMAGES['architectures'])}, but this host is {host.architecture}"
    if host.architecture == "aarch64":
        draft.refuse(
            "image",
            reason,
            "Use your own image (tfserving_image), or set tfserving_backend: embedded",
            {"backend": "embedded"},
        )
    else:
        draft.refuse(
            "image",
            reason,
            "Use your own image (tfserving_image), or serve no models on this host (tfserving_models: [])",
            {"models": []},
        )


def _say_what_a_build_needs(draft: Draft, host: Host, wanted: dict[str, Any], release: str) -> None:
    if not may_run("x86-64-v3", host.level):
        return
    if "oneDNN" in wanted["measured"]:
        draft.decide(
            "custom build",
            "worth trying",
            f"oneDNN is measured on the official image; tfserving_build: true builds an image for {host.level} to compare",
        )
    else:
        draft.decide(
            "custom build",
            "not yet",
            "oneDNN chooses its instructions at run time in the official image: first measure with oneDNN on and off, which costs nothing",
        )


def _own_build(
    draft: Draft, host: Host, wanted: dict[str, Any], release: str, kind: Any
) -> tuple[str | None, Mapping[str, Any] | None]:
    if questions.is_newer_than_table(release) and not wanted["build_sources"]:
        newest = questions.releases()[-1]
        draft.refuse(
            "build",
            f"the release table has no checksum of the sources of {release}",
            f"Build the newest release in the table (tfserving_version: {newest}), or set the sources (tfserving_build_sources)",
            {"version": newest},
        )
        return None, None
    if "oneDNN" not in wanted["measured"] and host.cpu_flags.issuperset(questions.stock_cpu_flags(release)):
        draft.warn(
            "oneDNN was not measured: the official image with oneDNN is often as fast as one whose build takes hours: tune that image first"
        )
    known = wanted["microarchitectures"]
    name, level, majors = (
        recipes.union(wanted["build_for"], known)
        if wanted["build_for"]
        else (None, host.level, recipes.parse_class(host.image_class)[1])
    )
    majors = majors if kind == "gpu" else []
    if not may_run(level, host.level):
        draft.refuse(
            "build",
            f"an image for {' and '.join(wanted['build_for'])} is an image for {name or level}, which this {host.level} CPU cannot run",
            "Add this host's class to it, or leave tfserving_build_for out",
            {"build_for": []},
        )
        return None, None
    chosen = (
        _exact_options(draft, host, name, level, release, kind, known)
        if name and not wanted["build_options"]
        else _options(draft, host, wanted, level, release, kind, majors, known)
    )
    if chosen is None:
        return None, None
    options, kind = chosen
    recipe = recipes.recipe(
        release, level, options, kind, majors, wanted["build_base_images"], wanted["build_sources"], name, known
    )
    for fix in recipe["mends"]:
        if fix["mend"] == "get_pip":
            draft.warn(f"{fix['reason']}; no build of {release} was tested with it: keep the built image")
    unused = [
        flag
        for flag in questions.stock_cpu_flags(release)
        if flag in host.cpu_flags and flag not in recipe["cpu_flags"]
    ]
    if unused:
        draft.warn(
            f"an image for every {name or level} CPU does not use {recipes.spelt(unused)}, which the official image uses and this CPU has: expect it "
            "to be slower"
        )
    shared_by = "-".join([name or level, *(f"cc{major}" for major in majors)])
    return draft.decide("image", recipe["image"], f"built once for all hosts of the class {shared_by}"), recipe


def _options(
    draft: Draft, host: Host, wanted: dict[str, Any], level: str, release: str, kind: Any, majors: Any, known: Any
) -> Any:
    """Return (Bazel's options, the kind of image that they make), or None if refused."""
    options, reasons = recipes.completed_options(
        wanted["build_options"] or "", level, host.cpu_flags, release, kind, known
    )
    draft.decide("build options", options, "; ".join(reasons) or "tfserving_build_options")
    if "--config=mkl" in options.split():
        kind = "mkl" if kind == "cpu" else kind
        _warn_of_mkl(draft, release)
    fault = recipes.problem(release, options, host.cpu_flags, kind, majors, known)
    if fault:
        draft.refuse(
            "build options",
            fault,
            f"Let the plan choose for {level}: leave tfserving_build_options out",
            {"build_options": None},
        )
        return None
    return options, kind


def _exact_options(draft: Draft, host: Host, name: str, level: str, release: str, kind: Any, known: Any) -> Any:
    """Return what _options() returns, for a microarchitecture."""
    compiler = recipes.compiler_of(release, kind)
    own = recipes.microarchitecture_options(name, release, kind, known)
    if not own:
        draft.refuse(
            "build",
            f"{compiler} of {release} generates no code for {name}, according to archspec",
            f"Build for this level (tfserving_build_for: ['{level}']), or a release with a newer compiler",
            {"build_for": [level]},
        )
        return None
    options, reasons = recipes.completed_options(own, level, recipes.flags_of(name, known), release, kind, known)
    draft.decide(
        "build options", options, "; ".join([f"from archspec, for {compiler} of {release} and {name}", *reasons])
    )
    lacking = recipes.lacking(options, host.cpu_flags, known)
    if lacking:
        draft.refuse(
            "build",
            f"a program for {name} may use {recipes.spelt(lacking)}, which this CPU lacks",
            "Name this host's microarchitecture in it, or leave tfserving_build_for out",
            {"build_for": []},
        )
        return None
    return options, kind


def _warn_of_mkl(draft: Draft, release: str) -> None:
    openmp = (
        ""
        if questions.cell("mkl_openmp", release) == "true"
        else " and has no OpenMP, so OMP_ and KMP_ variables have no effect"
    )
    draft.warn(
        f"--config=mkl was slower than a plain build as often as faster{openmp}; the plain build also has oneDNN: measure before you keep this one"
    )
