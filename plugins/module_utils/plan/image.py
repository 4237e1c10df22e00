# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a host gets: the official one, the user's, or the recipe of an own build for the host's image class."""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.capability.levels import may_run
from ansible_collections.tfserving.fleet.plugins.module_utils.release import questions, table

_NATIVE = ("--config=nativeopt", "--copt=-march=native")
_OWN_REPOSITORY = "tfserving-fleet/serving"
_DOCKERFILES = "tensorflow_serving/tools/docker/Dockerfile"


def choose_image(draft, host, wanted, release, gpu):
    """(the image's name, the recipe of an own build or None); (None, None) when refused. gpu: whether the server gets one."""
    kind = "gpu" if gpu else "cpu"
    if wanted["image"]:
        if wanted["image"].endswith(table.IMAGES["mkl"]):
            _warn_of_mkl(draft, release)
        draft.warn(f"image {wanted['image']}: its instruction set is not known here; the deployment proves it on each host before it serves")
        return draft.decide("image", wanted["image"], "tfserving_image"), None
    if host.architecture not in table.IMAGES["architectures"]:
        _refuse_architecture(draft, host)
        return None, None
    if wanted["build"]:
        return _own_build(draft, host, wanted, release, kind)
    missing = [flag for flag in questions.stock_cpu_flags(release) if flag not in host.cpu_flags]
    if missing:
        draft.refuse("image", f"the official image of {release} needs {_names(missing)}, which this {host.level} CPU lacks: "
                     "it would die with 'Illegal instruction'",
                     f"Build an image for {host.level}: tfserving_build: true", {"build": True, "build_options": None, "image": None})
        return None, None
    _say_what_a_build_needs(draft, host, wanted, release)
    name = questions.official_image(release, kind)
    return draft.decide("image", name, f"the official image of {release}; built for {_names(questions.stock_cpu_flags(release))}, which this CPU has"), None


def _refuse_architecture(draft, host):
    reason = f"the official images and Docker files are for {', '.join(table.IMAGES['architectures'])}, this host is {host.architecture}"
    if host.architecture == "aarch64":
        draft.refuse("image", reason, "Name an image of your own (tfserving_image), or set tfserving_backend: embedded", {"backend": "embedded"})
    else:
        draft.refuse("image", reason, "Name an image of your own (tfserving_image), or serve no models on this host (tfserving_models: [])", {"models": []})


def _say_what_a_build_needs(draft, host, wanted, release):
    if not may_run("x86-64-v3", host.level):
        return
    if "oneDNN" in wanted["measured"]:
        draft.decide("own build", "worth a trial", f"oneDNN is measured on the official image; tfserving_build: true tries what an image for {host.level} adds")
    else:
        draft.decide("own build", "not yet", "oneDNN chooses its instructions at run time in the official image: measure it on and off first, it costs nothing")


def _own_build(draft, host, wanted, release, kind):
    if questions.cell("rebuild", release) == "fails":
        newest = questions.releases()[-1]
        draft.refuse("build", f"the build files of {release} fetch tools that refuse their Python {questions.cell('devel_python', release)}",
                     f"Build a newer release: tfserving_version: {newest}", {"version": newest})
        return None, None
    if questions.cell("rebuild", release) == "at risk":
        draft.warn(f"the build files of {release} rest on Python {questions.cell('devel_python', release)}, which their tools will drop: keep the built image")
    options = _build_options(draft, host, wanted["build_options"], release)
    fault = _build_fault(host, options, release, kind)
    if fault:
        draft.refuse("build options", fault, f"Let the plan choose for {host.level}: leave tfserving_build_options out", {"build_options": None})
        return None, None
    if "--config=mkl" in options.split():
        _warn_of_mkl(draft, release)
    shared_by = host.image_class if kind == "gpu" else host.level
    name = f"{_OWN_REPOSITORY}:{release}-{re.sub('[^A-Za-z0-9_.-]', '-', shared_by)}"
    draft.decide("image", name, f"built once for all hosts of the class {shared_by}")
    return name, _recipe(release, options, kind, host.level, name)


def _warn_of_mkl(draft, release):
    openmp = "" if questions.cell("mkl_openmp", release) == "true" else " and has no OpenMP, so that OMP_ and KMP_ variables do nothing"
    draft.warn(f"--config=mkl was slower than a plain build as often as faster{openmp}; the plain build has oneDNN too: measure before you keep it")


def _build_options(draft, host, given, release):
    own = _level_options(host)
    if not given:
        return draft.decide("build options", own, f"what every {host.level} CPU runs, in options that the compiler of {release} knows")
    if any(native in given.split() for native in _NATIVE):
        rest = " ".join(option for option in given.split() if option not in _NATIVE)
        return draft.decide("build options", f"{own} {rest}".strip(), f"in place of {given}: native code runs only on CPUs like the builder's; "
                            f"these run on every {host.level} CPU")
    if "--config=release" not in given.split() and "avx" in host.cpu_flags:
        return draft.decide("build options", f"--config=release {given}", "the argument replaces the default, so --config=release is repeated in front")
    return draft.decide("build options", given, "tfserving_build_options")


def _level_options(host):
    """The options of the host's level, or of the highest level below it where the host hides one of its flags."""
    levels = [level for level in table.LEVEL_OPTIONS if may_run(level, host.level)]
    fitting = [level for level in levels if not _lacking(host, table.LEVEL_OPTIONS[level])]
    return table.LEVEL_OPTIONS[(fitting or levels)[-1]]


def _lacking(host, options):
    copts = [option.partition("--copt=")[2] for option in options.split()]
    if "--config=release" in options.split():
        copts.append("-mavx")
    return [flag for copt in copts for flag in table.COPT_FLAGS.get(copt, ()) if flag not in host.cpu_flags]


def _build_fault(host, options, release, kind):
    for option in options.split():
        compiler_option = option.partition("--copt=")[2]
        needed = _lacking(host, option)
        if needed:
            return f"{option} makes a program that needs {_names(needed)}, which this CPU lacks"
        march = compiler_option.partition("-march=")[2]
        if march and not may_run(table.MARCH_LEVELS.get(march), host.level):
            needs = table.MARCH_LEVELS.get(march)
            return f"-march={march} makes a program for {needs}, this host is {host.level}" if needs else f"-march={march} is not known to the release table"
        if march and questions.march_problem(release, march, kind == "gpu"):
            return questions.march_problem(release, march, kind == "gpu")
    return None


def _recipe(release, options, kind, level, name):
    """Both builds with every argument whose default would not do: sources of the tip of master, the official devel image, its options."""
    suffix = table.IMAGES[kind]
    pinned = {"TF_SERVING_VERSION_GIT_COMMIT": release, "TF_SERVING_VERSION_GIT_BRANCH": release}
    devel = f"{_OWN_REPOSITORY}-devel:{name.rpartition(':')[2]}"
    return {
        "level": level,
        "devel": {"dockerfile": f"{_DOCKERFILES}.devel{suffix}", "image": devel, "arguments": dict(pinned, TF_SERVING_BUILD_OPTIONS=options)},
        "runtime": {"dockerfile": f"{_DOCKERFILES}{suffix.replace('-', '.')}", "image": name, "arguments": dict(pinned, TF_SERVING_BUILD_IMAGE=devel)},
    }


def _names(flags):
    return ", ".join(flag.replace("_", ".").upper() for flag in flags)
