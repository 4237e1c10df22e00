# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of an image: what it was made of and what it needs. They decide, before anything is started, whether it may run on a host."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class ImageContents(TypedDict):
    """What an image of an own build was made of and what it needs."""

    recipe: str  # the recipe's digest
    release: str
    commit: str
    kind: str  # cpu, gpu or mkl
    level: str  # psABI
    cpu_flags: list[str]
    compute_capabilities: list[str]  # sm_80, compute_90
    tensorrt: str | None


PREFIX = "org.tfserving.fleet."
RECIPE = f"{PREFIX}recipe"
STAGE = f"{PREFIX}stage"
BUILDING = f"{PREFIX}building"  # "1" in what a build starts from, so that what a killed engine left of one can be recognized; "0" in a finished image
_LISTS = ("cpu_flags", "compute_capabilities")


def of(recipe: Mapping[str, Any], stage: str = "runtime") -> dict[str, str]:
    """The labels of the image that a recipe makes. stage: devel or runtime."""
    return {
        RECIPE: recipe["digest"],
        STAGE: stage,
        BUILDING: "0",
        f"{PREFIX}release": recipe["release"],
        f"{PREFIX}commit": recipe["sources"]["commit"],
        f"{PREFIX}kind": recipe["kind"],
        f"{PREFIX}level": recipe["level"],
        f"{PREFIX}tensorrt": recipe["tensorrt"] or "none",
        **{f"{PREFIX}{name}": ",".join(recipe[name]) for name in _LISTS},
    }


def read(labels: Mapping[str, str]) -> ImageContents | None:
    """What an image's labels say; None for an image of somebody else."""
    if RECIPE not in labels:
        return None
    contents: dict[str, Any] = {
        name: labels.get(PREFIX + name, "") for name in ("recipe", "release", "commit", "kind", "level", "tensorrt")
    }
    contents.update({name: [part for part in labels.get(PREFIX + name, "").split(",") if part] for name in _LISTS})
    return cast(
        ImageContents, dict(contents, tensorrt=None if contents["tensorrt"] in ("", "none") else contents["tensorrt"])
    )


# Names of uname -m -> those of Go, which engines use; and what these CPUs run as well.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    **{name: name for name in ("ppc64le", "s390x", "riscv64")},
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), "arm"),
    **dict.fromkeys(("i386", "i586", "i686"), "386"),
}
_ALSO_RUNS = {"amd64": "386", "arm64": "arm"}
# How their programs begin (elf(5)): class and byte order; e_type and e_machine in that order.
_ELF = {
    "386": "0101 0200 0300",
    "amd64": "0201 0200 3e00",
    "arm": "0101 0200 2800",
    "arm64": "0201 0200 b700",
    "ppc64le": "0201 0200 1500",
    "riscv64": "0201 0200 f300",
    "s390x": "0202 0002 0016",
}
_BINFMT = re.compile(r"enabled\n.*flags: \w*F.*offset 0\nmagic (\w+)(?:\nmask (\w+))?", re.DOTALL)


def refusal(
    labels: Mapping[str, str], architecture: str, cpu_flags: Collection[str], compute: Iterable[tuple[int, int]] = ()
) -> str | None:
    """Why an image with these labels cannot run on a host, as text, or None; an image without labels of ours is not judged.

    cpu_flags: the host's, in the kernel's spelling. compute: (major, minor) of the GPUs that it would use.
    """
    contents = read(labels)
    if contents is None:
        return None
    if architecture != "x86_64":
        return f"it is built for x86_64, but this host is {architecture}"
    lacking = [flag for flag in contents["cpu_flags"] if flag not in cpu_flags]
    if lacking:
        return f"it is built for {contents['level']} and needs {', '.join(lacking)}, which this CPU lacks: it would crash with 'Illegal instruction'"
    for major, minor in compute:
        if contents["kind"] == "gpu" and not any(
            _runs(entry, major, minor) for entry in contents["compute_capabilities"]
        ):
            return f"it is built for {', '.join(contents['compute_capabilities'])}, but this host has a GPU of compute capability {major}.{minor}"
    return None


def foreign_to(architecture: str | None, machine: str) -> str | None:
    """The machine's architecture (uname -m) in Go's word where an image of another cannot run on it, else None. architecture: the image's, None if unknown."""
    own = _ARCHITECTURES.get(machine)
    image = _ARCHITECTURES.get(architecture or "", architecture)
    return own if own and image and image not in (own, _ALSO_RUNS.get(own)) else None


def is_emulated(architecture: str | None, entries: Iterable[str]) -> bool:
    """Whether the kernel hands programs of an image's architecture to an emulator that it holds open (flag F), as no container has it.

    entries: the texts of the files of /proc/sys/fs/binfmt_misc (admin-guide/binfmt-misc.rst and fs/binfmt_misc.c of Linux).
    """
    elf = _ELF.get(_ARCHITECTURES.get(architecture or "", architecture or ""))
    if elf is None:
        return False
    ends = bytes.fromhex(elf)
    program = b"\x7fELF" + ends[:2] + b"\1" + bytes(9) + ends[2:]
    for entry in entries:
        found = _BINFMT.match(entry)
        magic, mask = (bytes.fromhex(text or "") for text in found.groups()) if found else (b"", b"")
        if magic and all(
            not (one ^ own) & bits for one, own, bits in zip(magic, program, mask or b"\xff" * len(magic))
        ):
            return True
    return False


def lies(labels: Mapping[str, str], unused: Iterable[str]) -> list[str]:
    """The CPU flags that an image's labels promise and its server leaves unused (server_log.parse()['cpu_flags'])."""
    contents = read(labels)
    return [flag for flag in unused if contents and flag in contents["cpu_flags"]]


def check_recipe(labels: Mapping[str, str], digest: str, where: str) -> None:
    """Raise FleetError unless an image was made by the recipe with this digest."""
    contents = read(labels)
    if contents is None or contents["recipe"] != digest:
        raise FleetError(
            f"the image was built by {'another recipe' if contents else 'something other than this collection'}",
            where=where,
            remedy="Remove the image of that name and run again.",
        )


def _runs(entry: str, major: int, minor: int) -> bool:
    kind, _underscore, number = entry.partition("_")
    built = divmod(int(number), 10)
    return built <= (major, minor) if kind == "compute" else built[0] == major and built[1] <= minor
