# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe of an image: everything that determines its content, as data. Its digest names the image.

How a build is run (jobs, memory, caches, mirrors, proxies) is not part of it, because that does not change the image.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import may_run
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean, one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

NATIVE = ("--config=nativeopt", "--copt=-march=native", "--copt=-mtune=native")
REPOSITORY = "tfserving-fleet/serving"
UNSTARTED = "-unstarted"  # suffix of the name of an image until it was started once
ARCHIVES = "https://github.com/tensorflow/serving/archive"
KINDS = ("cpu", "gpu", "mkl")
_DOCKERFILES = "tensorflow_serving/tools/docker/Dockerfile"
_TARGET = "binary_build"  # the stage with the binary; the one after it only removes files that a layer below keeps
_RELEASE = "--config=release"
_MARCH = "--copt=-march="


class Fix(TypedDict, total=False):
    """A change of upstream's Dockerfile. python: of the devel image, where the fix depends on it."""

    mend: str
    reason: str
    python: str


class Sources(TypedDict):
    """Where the sources come from, and git's ids of the commit and of all their files."""

    archive: str
    commit: str
    tree: str


class DockerFile(TypedDict, total=False):
    """A Dockerfile of upstream and what is built from it."""

    dockerfile: str
    target: str
    arguments: dict[str, str]


Stage = Literal["devel", "runtime"]


class Contents(TypedDict):
    """Everything that determines the result of a build."""

    release: str
    kind: str  # cpu, gpu or mkl
    level: str  # psABI
    cpu_flags: list[str]
    compute_capabilities: list[str]  # sm_80, compute_90
    tensorrt: str | None
    compiler: str
    sources: Sources
    base_images: dict[str, str]  # {name in upstream's FROM: name@sha256:digest}
    mends: list[Fix]
    devel: DockerFile
    runtime: DockerFile


class Recipe(Contents):
    """The recipe of an image."""

    digest: str
    image: str


class Microarchitecture(TypedDict):
    """What compilers produce for a microarchitecture."""

    level: str  # psABI
    flags: list[str]  # those of levels.KNOWN_FLAGS that a program for it may use beyond its level
    options: dict[str, str]  # by compiler of the release table ("clang 18.1"), without those that do not support it


class March(TypedDict):
    """A value of -march: whose it is, and the first version of each compiler that takes it."""

    name: str
    compilers: dict[str, list[int]]


class Known(TypedDict):
    """What archspec knows: microarchitectures by its names, and values of -march."""

    names: dict[str, Microarchitecture]
    marches: dict[str, March]


_NONE: Known = {"names": {}, "marches": {}}  # if archspec was not queried


def level_options(level: str, cpu_flags: Collection[str]) -> str:
    """Return Bazel's options for a level (of may_run), or for the highest level below it if a host hides one of its flags."""
    levels = [known for known in table.LEVEL_OPTIONS if may_run(known, level)]
    fitting = [known for known in levels if not lacking(table.LEVEL_OPTIONS[known], cpu_flags)]
    return table.LEVEL_OPTIONS[(fitting or levels)[-1]]


def microarchitecture_options(name: str, release: str, kind: str, known: Known) -> str | None:
    """Return Bazel's options for an exact microarchitecture, or None if the compiler of a release does not support it."""
    words = known["names"][name]["options"].get(compiler_of(release, kind))
    return words and " ".join(
        [
            *([_RELEASE] if "avx" in flags_of(name, known) else []),
            *(f"--copt={word}" for word in words.split()),
            "--copt=-O3",
        ]
    )


def needed_flags(options: str, known: Known | None = None) -> list[str]:
    """Return the CPU flags (the kernel's spelling, sorted) that a program built with Bazel's options needs, as far as the release table and archspec know."""
    copts = [option.partition("--copt=")[2] for option in options.split()]
    if _RELEASE in options.split():
        copts += ["-mavx", "-msse4.2"]
    needed = {flag for copt in copts for flag in table.COPT_FLAGS.get(copt, ())}
    for march in _marches(options):
        needed.update(_march_flags(march, known))
    taken_back = {flag for (_compiler, flag), (option, _why, _source) in table.KNOWN_BAD.items() if option in copts}
    return sorted(needed - taken_back)


def lacking(options: str, cpu_flags: Collection[str], known: Known | None = None) -> list[str]:
    """Return the flags that a program built with these options needs and a CPU does not have."""
    return [flag for flag in needed_flags(options, known) if flag not in cpu_flags]


def completed_options(
    given: str, level: str, cpu_flags: Collection[str], release: str, kind: str, known: Known | None = None
) -> tuple[str, list[str]]:
    """Return (options, reasons): the options to use in place of the user's ('' for none).

    Native code becomes that of the level, and missing options are added.
    """
    own = level_options(level, cpu_flags)
    reasons, words = [], given.split()
    if not words:
        words = own.split()
        reasons.append(f"options for every {level} CPU that the compiler of {release} supports")
    elif any(word in NATIVE for word in words):
        words = own.split() + [word for word in words if word not in NATIVE + (_RELEASE,)]
        reasons.append(
            f"replaces {given}: native code runs only on CPUs like the builder's; these options work on every {level} CPU"
        )
    elif _RELEASE not in words and "avx" in cpu_flags:
        words = [_RELEASE, *words]
        reasons.append(f"the argument replaces the default, so {_RELEASE} is added in front")
    compiler = questions.compiler(release, kind == "gpu")[0]
    for (troubled, flag), (option, why, _source) in sorted(table.KNOWN_BAD.items()):
        implied = any(flag in _march_flags(march, known) for march in _marches(" ".join(words)))
        if compiler == troubled and implied and f"--copt={option}" not in words:
            words.append(f"--copt={option}")
            reasons.append(f"{option} is added: {why}")
    return " ".join(words), reasons


def problem(
    release: str,
    options: str,
    cpu_flags: Collection[str],
    kind: str,
    majors: Iterable[int] = (),
    known: Known | None = None,
) -> str | None:
    """Return why a release cannot be built with these options for a host, or None. majors: compute capabilities, for kind gpu."""
    compiler, version = questions.compiler(release, kind == "gpu")
    for option in options.split():
        march = option.partition(_MARCH)[2]
        if option in NATIVE:
            return f"{option} compiles only for the builder's CPU"
        if march and march_problem(release, march, kind, known):
            return march_problem(release, march, kind, known)
        for flag in table.COPT_FLAGS.get(option.partition("--copt=")[2], ()):
            if (compiler, flag) in table.KNOWN_BAD:
                return f"{option} does not compile with {compiler_of(release, kind)} of {release}: {table.KNOWN_BAD[compiler, flag][1]}"
    needed = lacking(options, cpu_flags, known)
    if needed:
        culprits = [option for option in options.split() if lacking(option, cpu_flags, known)]
        return f"{' '.join(culprits)} makes a program that needs {spelt(needed)}, which this CPU lacks"
    families = _families(release)
    unsupported = [str(major) for major in majors if kind == "gpu" and major < families[0]]
    if unsupported:
        return f"CUDA {questions.cell('cuda', release)} of {release} is not built for compute capability {', '.join(unsupported)}.x"
    return None


def march_problem(release: str, march: str, kind: str, known: Known | None = None) -> str | None:
    """Return why the compiler of a release does not support a value of -march, or None."""
    found = (known or _NONE)["marches"].get(_archspecs(march))
    if not found:
        return f"archspec does not know -march={march}"
    compiler, version = questions.compiler(release, kind == "gpu")
    lowest = found["compilers"].get(compiler)
    if lowest is None or list(version) < lowest:
        needs = (
            f"needs {questions.spelt_compiler(compiler, tuple(lowest))} or later"
            if lowest
            else f"is not supported by {compiler}"
        )
        return f"-march={march} {needs}; the {'GPU ' if kind == 'gpu' else ''}devel image of {release} compiles with {compiler_of(release, kind)}"
    return None


def compiler_of(release: str, kind: str) -> str:
    """Return the compiler of a release's devel image as text."""
    return questions.spelt_compiler(*questions.compiler(release, kind == "gpu"))


def flags_of(name: str, known: Known | None = None) -> frozenset[str]:
    """Return the CPU flags that a program for a level or a microarchitecture may use, as far as the release table and archspec know."""
    names = (known or _NONE)["names"]
    if name in names:
        return flags_of(names[name]["level"]).union(names[name]["flags"])
    if name in table.LEVEL_OPTIONS:
        return frozenset(
            flag
            for level, options in table.LEVEL_OPTIONS.items()
            if may_run(level, name)
            for flag in needed_flags(options)
        )
    raise FleetError(
        f"{name!r} is not an image class, and not a microarchitecture that archspec knows{did_you_mean(name, [*table.LEVEL_OPTIONS, *names])}",
        where="tfserving_build_for",
        remedy="Use classes such as x86-64-v3 or x86-64-v3-cc8, or names of archspec such as zen4.",
    )


def compute_capabilities(release: str, majors: Collection[int]) -> tuple[str, ...]:
    """Return what to compile for GPUs of these major compute capabilities: ('sm_80', 'compute_90'). The last is PTX, for GPUs newer than the release."""
    entries = questions.cell("compute_capabilities", release)
    portable = [entry for entry in entries if entry.startswith("compute_")][-1]
    native = [entry for entry in entries if entry.startswith("sm_") and _major(entry) in majors]
    if _major(portable) in majors and not [entry for entry in native if _major(entry) == _major(portable)]:
        native.append(
            portable.replace("compute_", "sm_")
        )  # a toolkit that writes PTX for it writes its machine code too
    return (*native, portable)


def recipe(
    release: str,
    level: str,
    options: str,
    kind: str = "cpu",
    majors: Collection[int] = (),
    base_images: Mapping[str, str] | None = None,
    sources: Sources | None = None,
    name: str | None = None,
    known: Known | None = None,
) -> Recipe:
    """Return the recipe of an image.

    release: one of the release table. level: the psABI level that is shared. options: Bazel's, as completed_options returns them. kind: cpu, gpu or mkl.
    majors: major compute capabilities of the class, for kind gpu. base_images: {name in upstream's FROM: name@sha256:digest} that pin them.
    sources: {archive, commit, tree} of other sources than upstream's, a fork's for instance. name: of the exact microarchitecture, where it is for one.
    """
    one_of("kind", kind, KINDS)
    if level not in table.LEVEL_OPTIONS or level == "aarch64":
        raise FleetError(
            f"upstream's Dockerfiles and toolchains of {release} build only for x86-64, not for {level!r}",
            where="serving_image",
            remedy="Set your own image (tfserving_image), or set tfserving_backend: embedded.",
        )
    if sources and sorted(sources) != ["archive", "commit", "tree"]:
        raise FleetError(
            f"{sources!r} are not valid sources: they need archive (URL or path), commit, and tree (git's id of all files)",
            where="tfserving_build_sources",
            remedy="Get commit and tree with: git rev-parse HEAD HEAD^{tree}",
        )
    if not sources:
        commit, tree = questions.sources(release)
        sources = {"archive": f"{ARCHIVES}/{commit}.tar.gz", "commit": commit, "tree": tree}
    compute = list(compute_capabilities(release, majors)) if kind == "gpu" else []
    if kind == "mkl":
        words = [
            word
            for word in questions.cell("build_options_mkl", release).split()
            if word != _RELEASE or "avx" in needed_flags(options, known)
        ]
        options = " ".join(dict.fromkeys([*words, *options.split()]))
    if compute:
        options += (
            f" --{questions.cell('capabilities_option', release)}=TF_CUDA_COMPUTE_CAPABILITIES={','.join(compute)}"
        )
    suffix = str(table.IMAGES[kind])
    pinned = {"TF_SERVING_VERSION_GIT_COMMIT": sources["commit"], "TF_SERVING_VERSION_GIT_BRANCH": release}
    made: Contents = {
        "release": release,
        "kind": kind,
        "level": level,
        "cpu_flags": needed_flags(options, known),
        "compute_capabilities": compute,
        "tensorrt": questions.cell("tensorrt_installed", release)
        if kind == "gpu" and questions.cell("tensorrt_compiled", release)
        else None,
        "compiler": compiler_of(release, kind),
        "sources": sources,
        "base_images": dict(base_images or {}),
        "mends": _fixes(release),
        "devel": {
            "dockerfile": f"{_DOCKERFILES}.devel{suffix}",
            "target": _TARGET,
            "arguments": dict(pinned, TF_SERVING_BUILD_OPTIONS=options),
        },
        "runtime": {"dockerfile": f"{_DOCKERFILES}{suffix.replace('-', '.')}", "arguments": pinned},
    }
    return {**made, "digest": digest(made), "image": f"{REPOSITORY}:{_tag(made, name or level)}-{digest(made)[:12]}"}


def digest(made: Mapping[str, Any]) -> str:
    """Return the digest of everything that determines the image: not its name, nor where the sources come from."""
    decisive = {key: value for key, value in made.items() if key not in ("digest", "image")}
    decisive["sources"] = {key: value for key, value in made["sources"].items() if key != "archive"}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def check(given: Mapping[str, Any]) -> Recipe:
    """Return a recipe from outside. Raise FleetError if it is not a recipe, or was changed after its digest was computed."""
    missing = [key for key in Recipe.__annotations__ if key not in given and key not in ("compiler", "digest")]
    if missing:
        raise FleetError(
            f"not a recipe: the key {missing[0]!r} is missing",
            where="recipe",
            remedy="Pass the value `build` of a plan without changes.",
        )
    if given.get("digest") != digest(given):
        raise FleetError(
            "the recipe was changed after it was made: its digest does not match",
            where="recipe",
            remedy="Pass the value `build` of a plan without changes.",
        )
    return cast(Recipe, given)


def union(classes: Sequence[str], known: Known | None = None) -> tuple[str | None, str, list[int]]:
    """Return (name, level, majors) of one image for hosts of several classes: the lowest of their names, its level, and the compute capabilities of all.

    classes: image classes, or microarchitectures by archspec's names. The lowest is the one whose programs run on all others; name is None if that is a level.
    """
    parsed = [parse_class(str(name)) for name in classes]
    flags = {name: flags_of(name, known) for name, _majors in parsed}
    order = [*table.LEVEL_OPTIONS, *(known or _NONE)["names"]]
    lowest = [
        name
        for name in sorted(flags, key=order.index)
        if all(flags[name] <= other and (name == "aarch64") == (more == "aarch64") for more, other in flags.items())
    ]
    if not lowest:
        raise FleetError(
            f"no image that is built for one of these runs on the CPUs of all: {', '.join(classes)}",
            where="tfserving_build_for",
            remedy="Set it to one of them for each group of hosts, or list an instruction level that all these CPUs have, such as x86-64-v3.",
        )
    level = (known or _NONE)["names"][lowest[0]]["level"] if lowest[0] in (known or _NONE)["names"] else lowest[0]
    return (
        None if lowest[0] == level else lowest[0],
        level,
        sorted({major for _name, majors in parsed for major in majors}),
    )


def parse_class(image_class: str) -> tuple[str, list[int]]:
    """Return (level, major compute capabilities) of an image class, 'x86-64-v3-cc8' for instance."""
    return re.sub(r"(-cc\d+)+$", "", image_class), [int(major) for major in re.findall(r"-cc(\d+)", image_class)]


def is_class(name: str) -> bool:
    """Return whether a name is that of an image class, not of a microarchitecture."""
    return parse_class(name)[0] in table.LEVEL_OPTIONS


def spelt(flags: Iterable[str]) -> str:
    """Return CPU flags as text."""
    return ", ".join(flag.replace("_", ".").upper() for flag in flags)


def _fixes(release: str) -> list[Fix]:
    fixes: list[Fix] = [
        {
            "mend": "sources",
            "reason": "the sources come from the archive whose checksum holds, not from a second download",
        }
    ]
    if questions.cell("rebuild", release) != "ok":
        python = questions.cell("devel_python", release)
        fixes.append(
            {
                "mend": "get_pip",
                "python": python,
                "reason": f"get-pip.py refuses Python {python} today: the one for this Python is fetched",
            }
        )
    return fixes


def _archspecs(march: str) -> str:
    """Return the value of -march for which archspec has data."""
    return table.MARCH_ALIASES.get(march, march)


def _march_flags(march: str, known: Known | None) -> list[str]:
    known = known or _NONE
    found = (
        known["names"][known["marches"][_archspecs(march)]["name"]] if _archspecs(march) in known["marches"] else None
    )
    return [*needed_flags(table.LEVEL_OPTIONS[found["level"]]), *found["flags"]] if found else []


def _tag(made: Contents, name: str) -> str:
    families = sorted({_major(entry) for entry in made["compute_capabilities"] if entry.startswith("sm_")})
    kind = ["mkl"] if made["kind"] == "mkl" else ["gpu"] if made["kind"] == "gpu" and not families else []
    return "-".join([made["release"], name, *kind, *(f"cc{family}" for family in families)])


def _families(release: str) -> list[int]:
    return sorted({_major(entry) for entry in questions.cell("compute_capabilities", release)})


def _major(entry: str) -> int:
    return int(entry.partition("_")[2]) // 10


def _marches(options: str) -> list[str]:
    return [option.partition(_MARCH)[2] for option in options.split() if option.startswith(_MARCH)]
