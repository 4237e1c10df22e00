# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query the release table. A release is a text like "2.20.0"; every function takes one that known() or nearest() returned."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean, number_of
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table

_RELEASE = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?$")
_MEANT = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?")
_OFFICIAL = re.compile(rf"(?:docker\.io/)?{table.IMAGES['repository']}(?::([\w.-]+))?(?:@.*)?")
_RELEASE_IN_TAG = re.compile(r"v?(\d{1,4}\.\d{1,4}(?:\.\d{1,4})?)(?![\d.])")
Flag = tuple[str, Any]  # type (int, float, bool or string), default
ComputeCapability = tuple[int, int]  # major, minor
Compiler = tuple[str, tuple[int, ...]]  # name, version
ImageKind = Literal["cpu", "gpu", "mkl"]


class FlagProblem(TypedDict):
    """What is wrong with one flag of a server."""

    flag: str
    reason: str
    remedy: str
    change: dict[str, Any]  # flag: corrected value, or None to omit the flag; this removes the problem


class Support(TypedDict):
    """What a release does with a GPU."""

    supported: bool
    just_in_time: bool  # the image has no machine code for this GPU; the driver compiles PTX at first use
    reason: str
    remedy: str | None
    releases: tuple[str, ...]  # releases whose images support it, oldest first


_FIRST_UBUNTU_WITH_CLONE3 = 22.04
_WHOLE = re.compile(r"[+-]?\d{1,10}")
_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "string": str}


def releases() -> tuple[str, ...]:
    """Return the table's releases, oldest first."""
    return table.RELEASES


def parse(release: str, option: str = "tfserving_version") -> tuple[int, int, int | None]:
    """Return (major, minor, patch or None) of a release's name. Raise FleetError for anything else, such as 'latest'. option: where it was set."""
    text = str(release)
    found = _RELEASE.match(text)
    if not found:
        tag = "-" in text or ":" in text
        what = (
            f"{release!r} is the tag of an image, not a release of TensorFlow Serving"
            if tag
            else f"{release!r} is not a release of TensorFlow Serving (the release table has {_minors()})"
        )
        gpu = " tfserving_gpu selects the GPU variant: auto uses it on hosts with a GPU, require refuses hosts without one."
        raise FleetError(
            what,
            where=option,
            remedy=f"Set {option}: {instead_of(text)}.{gpu if 'gpu' in text else ''}",
        )
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch) if patch is not None else None


@functools.cache
def nearest(release: str) -> str:
    """Return the release that a name means: for 2.20, the newest 2.20.x in the table.

    A release newer than the table is returned unchanged and uses its last row.

    Raise FleetError for an invalid name, and for a release that is older than the table or was never tagged.
    """
    major, minor, patch = parse(release)
    same_minor = [known for known in table.RELEASES if numbers(known)[:2] == (major, minor)]
    if patch is None and same_minor:
        return same_minor[-1]
    spelt = f"{major}.{minor}.{patch or 0}"
    if spelt in table.RELEASES:
        return spelt
    if (major, minor, patch or 0) > numbers(table.RELEASES[-1]):
        return spelt
    known = ", ".join(same_minor) if same_minor else _minors()
    raise FleetError(
        f"{release!r} is not a release of TensorFlow Serving in the release table (it has {known})",
        where="tfserving_version",
        remedy=f"Set tfserving_version: {instead_of(release)}.",
    )


def instead_of(release: str) -> str:
    """Return the release to suggest instead of an invalid one: that in an image's tag, the newest of the same minor, or the newest of all."""
    found = _MEANT.search(re.split("[/:]", str(release).partition("@")[0])[-1])
    if found and (found[0] in table.RELEASES or numbers(found[0]) > numbers(table.RELEASES[-1])):
        return found[0]
    same_minor = [known for known in table.RELEASES if found and numbers(known)[:2] == (int(found[1]), int(found[2]))]
    return (same_minor or table.RELEASES)[-1]


def is_newer_than_table(release: str) -> bool:
    """Return whether only the table's last row can apply."""
    major, minor, patch = parse(release)
    return (major, minor, patch or 0) > numbers(table.RELEASES[-1])


def cell(name: str, release: str) -> Any:
    """Return a value of the table for a release. For example, cell("cuda", "2.20.0") is "12.5"."""
    return _pair(name, release)[1]


def source(name: str, release: str) -> str:
    """Return the source of a cell, a flag or a batching field: a file of upstream's repository, and the tag at which the value appeared."""
    if name in table.FLAGS:
        return f"tensorflow_serving/model_servers/main.cc@{table.FLAGS[name][2]}"
    if name in table.BATCHING_FIELDS:
        return f"tensorflow_serving/servables/tensorflow/session_bundle_config.proto@{table.BATCHING_FIELDS[name][3]}"
    where = (table.READ.get(name) or table.DERIVED[name])[0].replace("SERVING/", "tensorflow_serving/")
    return f"{where}@{_pair(name, release)[0]}"


def sources(release: str) -> tuple[str, str]:
    """Return (commit, tree id) of a release's sources, both 40 hexadecimal digits. Raise FleetError for a release newer than the table."""
    if release not in table.SOURCES:
        raise FleetError(
            f"the release table has no checksum of the sources of {release}",
            where="tfserving_version",
            remedy=f"Build {table.RELEASES[-1]}, or set the sources (tfserving_build_sources).",
        )
    return table.SOURCES[release]


def flags(release: str) -> dict[str, Flag]:
    """Return the flags that the server of a release knows, by name."""
    return dict(_flags(release))


@functools.cache
def batching_fields(release: str) -> dict[str, tuple[int, str]]:
    """Return the number and type of each field of BatchingParameters, by name."""
    return {
        name: (number, kind)
        for name, (number, kind, _default, first) in table.BATCHING_FIELDS.items()
        if numbers(first) <= numbers(release)
    }


def row(release: str) -> dict[str, Any]:
    """Return everything that tools/release-table compares: every READ cell, flags and batching_fields, with lists instead of tuples, as read from upstream."""
    cells = {name: _plain(cell(name, release)) for name in table.READ}
    return dict(cells, flags=flags(release), batching_fields=batching_fields(release))


def typed(name: str, value: Any) -> Any:
    """Return the value of a flag. Convert a text that spells a number or a Boolean if the flag takes one."""
    kind = {"int": int, "float": float, "bool": bool}.get(
        table.FLAGS.get(table.FORMER_FLAGS.get(name, (name,))[0], ("",))[0]
    )
    return number_of(value, kind) if kind else value


def tflite_flag(release: str) -> str | None:
    """Return the flag with which the server prefers model.tflite to the SavedModel."""
    return table.TFLITE["flag"] if table.TFLITE["flag"] in _flags(release) else None


def first_release_with_flag(name: str) -> str | None:
    """Return the first release whose server knows the flag, or None if no release knows it."""
    return table.FLAGS[name][2] if name in table.FLAGS else None


def check_flags(release: str, given: Mapping[str, Any]) -> list[FlagProblem]:
    """Return what is wrong with flags for a release. given: names without dashes and their values.

    The server itself would print 'unknown argument' once, and serve without the flag.
    """
    found = [_flag_problem(release, name, value) for name, value in sorted(given.items())]
    return [problem for problem in found if problem]


def needs_clone3(release: str) -> bool:
    """Return whether the images of a release have a C library that starts threads with clone3: glibc 2.34 and later, in Ubuntu since 22.04."""
    return float(cell("cpu_base", release).partition(":")[2]) >= _FIRST_UBUNTU_WITH_CLONE3


def stock_cpu_flags(release: str) -> tuple[str, ...]:
    """Return the CPU flags (in the kernel's spelling) that the official image of a release needs."""
    return tuple(flag for option in cell("release_copts", release) for flag in table.COPT_FLAGS[option])


def official_image(release: str, kind: ImageKind = "cpu") -> str:
    """Return the official image's name, for example tensorflow/serving:2.20.0-gpu."""
    return f"{table.IMAGES['repository']}:{release}{table.IMAGES[kind]}"


def official_tag(image: str) -> str | None:
    """Return the tag in an official image's name, by default latest, or None for another image."""
    found = _OFFICIAL.fullmatch(image)
    return (found[1] or "latest") if found else None


def release_in_tag(image: str) -> str | None:
    """Return the release at the beginning of an image's tag, or None. Pass it to nearest().

    The numbers in tags of other images than the official ones may be their owner's, so they count only if the table has such a release.
    """
    found = _RELEASE_IN_TAG.match(image.partition("@")[0].rpartition("/")[2].partition(":")[2])
    if not found:
        return None
    if official_tag(image) is None:
        try:
            return found[1] if nearest(found[1]) in table.RELEASES else None
        except FleetError:
            return None
    return found[1]


def gpu_support(release: str, compute: ComputeCapability | None, driver: int | None = None) -> Support:
    """Return what the GPU image of a release does with a GPU.

    compute: None if unknown. driver: the driver's major version, or None if unknown.
    """
    if compute is None:
        return _support(
            False,
            reason="its compute capability is unknown",
            remedy="Make sure that nvidia-smi answers on the host, then detect again",
        )
    native, entry = _machine_code(release, compute)
    fitting = _releases_for(compute, driver)
    if entry is None:
        return _support(
            False,
            reason=f"{release} has no code for compute capability {_dotted(compute)}; it was built for {_list(release)}",
            releases=fitting,
            remedy=f"Use release {fitting[-1]} or older" if fitting else "Serve without the GPU",
        )
    lowest = lowest_driver(release)
    if driver is not None and driver < lowest:
        older = f", or use release {fitting[-1]}" if fitting else ""
        return _support(
            False,
            reason=f"CUDA {cell('cuda', release)} of {release} needs NVIDIA's driver {lowest} or later, but this host has {driver}",
            remedy=f"Update the driver to {lowest} or later{older}",
            releases=fitting,
        )
    if native:
        return _support(
            True, reason=f"{entry} code of {release} runs on compute capability {_dotted(compute)}", releases=fitting
        )
    return _support(
        True,
        just_in_time=True,
        releases=fitting,
        reason=f"{release} has no machine code for compute capability {_dotted(compute)}: the driver compiles {entry} at first use",
    )


def lowest_driver(release: str) -> int:
    """Return the lowest major version of NVIDIA's driver that runs the GPU image of a release."""
    return table.LOWEST_DRIVERS[int(cell("cuda", release).partition(".")[0])]


def tensorrt_support(release: str, compute: ComputeCapability | None) -> Support:
    """Return whether TF-TRT models run on a GPU. compute: None if unknown."""
    fitting = tuple(
        known
        for known in table.RELEASES
        if cell("tensorrt_compiled", known) and compute and _machine_code(known, compute)[0]
    )
    if compute is None:
        return _support(
            False, reason="a TF-TRT model needs a GPU whose compute capability is known", remedy="Serve the SavedModel"
        )
    if not cell("tensorrt_compiled", release):
        last = [known for known in table.RELEASES if cell("tensorrt_compiled", known)][-1]
        remedy = f"Use release {fitting[-1]}, or serve the SavedModel" if fitting else "Serve the SavedModel"
        return _support(
            False,
            releases=fitting,
            remedy=remedy,
            reason=f"the server of {release} is built without TensorRT (the library in its image is unused); {last} was the last with it",
        )
    if not _machine_code(release, compute)[0]:
        return _support(
            False,
            releases=fitting,
            remedy=f"Use release {fitting[-1]}, or serve the SavedModel" if fitting else "Serve the SavedModel",
            reason=f"TensorRT {cell('tensorrt_installed', release)} of {release} was not built for compute capability {_dotted(compute)}",
        )
    return _support(
        True, reason=f"TensorRT {cell('tensorrt_installed', release)} is compiled into {release}", releases=fitting
    )


def onednn_by_default(release: str, cpu_flags: Collection[str]) -> bool:
    """Return whether TensorFlow of a release uses oneDNN's operations on this CPU by default."""
    return cell("onednn_by_default", release) and any(flag in cpu_flags for flag in table.ONEDNN_DEFAULT_FLAGS)


def compiler(release: str, gpu: bool = False) -> Compiler:
    """Return the compiler of a release's devel image."""
    found: Compiler = cell("gpu_compiler" if gpu else "cpu_compiler", release)
    return found


def compilers() -> list[Compiler]:
    """Return all results of compiler() over all releases."""
    return sorted({value for name in ("cpu_compiler", "gpu_compiler") for _release, value in table.DERIVED[name][1]})


def spelt_compiler(name: str, version: tuple[int, ...]) -> str:
    """Return the name of a compiler as people write it: gcc 10.5."""
    return f"{name} {_dotted(version)}"


@functools.cache
def numbers(release: str) -> tuple[int, ...]:
    """Return (major, minor, patch) of a release's name, also of TensorFlow. A suffix is ignored."""
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])


def _minors() -> str:
    return ", ".join(sorted({release.rpartition(".")[0] for release in table.RELEASES}, key=numbers))


@functools.cache
def _pair(name: str, release: str) -> tuple[str, Any]:
    history = (table.READ.get(name) or table.DERIVED[name])[1]
    return [pair for pair in history if numbers(pair[0]) <= numbers(release)][-1]


@functools.cache
def _flags(release: str) -> dict[str, Flag]:
    return {
        name: (kind, default)
        for name, (kind, default, first, last) in table.FLAGS.items()
        if numbers(first) <= numbers(release) and (last is None or numbers(release) <= numbers(last))
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _flag_problem(release: str, name: str, value: Any) -> FlagProblem | None:
    known = _flags(release)
    if name in table.FORMER_FLAGS:
        today, what, _source = table.FORMER_FLAGS[name]
        return _problem(
            name,
            f"{what}; the server would print 'unknown argument: --{name}' and continue without it",
            f"Use {today} instead",
            {name: None, today: value},
        )
    if name in table.BATCHING_FIELDS and name not in known:
        return _problem(
            name,
            f"it is a batching parameter, and the server would silently ignore --{name}",
            "Leave it out, and set it in the model's batching (tfserving_models)",
            {name: None},
        )
    if name not in known:
        first = first_release_with_flag(name)
        hint = f"it appeared in {first}" if first else f"no release has it{did_you_mean(name, known)}"
        return _problem(
            name,
            f"the server of {release} does not know --{name} ({hint}) and would silently ignore it",
            "Leave it out",
            {name: None},
        )
    kind = known[name][0]
    if not isinstance(value, _TYPES[kind]) or (kind != "bool" and isinstance(value, bool)):
        return _problem(name, f"{value!r} is not of type {kind}", f"Give a value of type {kind}", {name: None})
    return _channel_problem(value) if name == "grpc_channel_arguments" else _range_problem(name, value)


def channel_arguments(text: str) -> list[tuple[str, str | None]]:
    """Return [(key, value, or None without '=')] of grpc_channel_arguments as the server splits it (parseGrpcChannelArgs in server.cc), without stripping."""
    return [
        (key, value if equals else None)
        for key, equals, value in (pair.partition("=") for pair in text.split(",") if text)
    ]


def _channel_problem(text: str) -> FlagProblem | None:
    """Return what is wrong with the first gRPC argument that would have no effect. The server passes an int32 as a number, and anything else as a text."""
    pairs: list[str | None] = list(text.split(","))
    for number, (key, value) in enumerate(channel_arguments(text)):
        takes_number = table.CHANNEL_ARGUMENTS.get(key.strip()) == "int"
        fixed = None
        if value is None:
            what = f"{key!r} is not key=value, and the server would read past its end"
        elif takes_number and not (_WHOLE.fullmatch(value.strip()) and -(2**31) <= int(value) < 2**31):
            what = f"{key.strip()} takes a whole number of 32 bits; {value!r} would reach gRPC as a text, which gRPC ignores"
            product = _product(value)
            fixed = None if product is None else f"{key.strip()}={product}"
        elif key != key.strip():
            what, fixed = f"gRPC does not know {key!r} because of its spaces", f"{key.strip()}={value.strip()}"
        else:
            continue
        pairs[number] = fixed
        change = ",".join(pair for pair in pairs if pair is not None)
        return _problem(
            "grpc_channel_arguments",
            what,
            f"Write {fixed}" if fixed is not None else "Leave it out",
            {"grpc_channel_arguments": change or None},
        )
    return None


def _product(text: str) -> int | None:
    """Return the product that a text spells if it fits an int32, else None."""
    factors = [part.strip() for part in text.split("*")]
    if not all(re.fullmatch(r"\d{1,10}", part) for part in factors) or len(factors) > 8:
        return None
    value = math.prod(int(part) for part in factors)
    return value if value < 2**31 else None


def _range_problem(name: str, value: Any) -> FlagProblem | None:
    minimum, why_minimum = table.FLAG_MINIMUMS.get(name, (None, ""))
    maximum, why_maximum = table.FLAG_MAXIMUMS.get(name, (None, ""))
    allowed, _source = table.FLAG_VALUES.get(name, ((), ""))
    if minimum is not None and value < minimum:
        return _problem(
            name, f"{value!r} is below {minimum}: {why_minimum}", f"Set it to {minimum} or more", {name: minimum}
        )
    if maximum is not None and value > maximum:
        return _problem(
            name, f"{value!r} is above {maximum}: {why_maximum}", f"Set it to {maximum} or less", {name: maximum}
        )
    if allowed and value not in allowed:
        return _problem(
            name,
            f"{value!r} would be accepted, but have no effect",
            f"Set it to {' or '.join(repr(text) for text in allowed)}",
            {name: None},
        )
    return None


def _problem(flag: str, reason: str, remedy: str, change: dict[str, Any]) -> FlagProblem:
    return {"flag": flag, "reason": reason, "remedy": remedy, "change": change}


def _support(
    supported: bool,
    just_in_time: bool = False,
    reason: str = "",
    remedy: str | None = None,
    releases: Iterable[str] = (),
) -> Support:
    return {
        "supported": supported,
        "just_in_time": just_in_time,
        "reason": reason,
        "remedy": remedy,
        "releases": tuple(releases),
    }


@functools.cache
def _machine_code(release: str, compute: ComputeCapability) -> tuple[bool, str | None]:
    """Return (whether the image has machine code for this GPU; the entry that serves it: its code, the PTX to compile, or None)."""
    entries = [
        (kind, divmod(int(number), 10), f"{kind}_{number}")
        for kind, _underscore, number in (entry.partition("_") for entry in cell("compute_capabilities", release))
    ]
    native = [text for _kind, built, text in entries if built[0] == compute[0] and built[1] <= compute[1]]
    if native:
        return True, native[-1]
    portable = [text for kind, built, text in entries if kind == "compute" and built <= compute]
    return False, portable[-1] if portable else None


@functools.cache
def _releases_for(compute: ComputeCapability, driver: int | None) -> tuple[str, ...]:
    return tuple(
        release
        for release in table.RELEASES
        if _machine_code(release, compute)[1] and (driver is None or driver >= lowest_driver(release))
    )


def _list(release: str) -> str:
    return ", ".join(cell("compute_capabilities", release))


def _dotted(parts: Iterable[int]) -> str:
    return ".".join(str(part) for part in parts)
