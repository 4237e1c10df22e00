# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write and read the labels of an image: how it was built and what it needs. They decide whether an image can run on a host before it starts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class ImageContents(TypedDict):
    """How an image of this collection was built, and what it needs."""

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
BUILDING = f"{PREFIX}building"  # "1" while the image is built, which identifies leftovers of a killed engine; "0" in a finished image
_LISTS = ("cpu_flags", "compute_capabilities")


def of(recipe: Mapping[str, Any], stage: str = "runtime") -> dict[str, str]:
    """Return the labels of the image that a recipe makes. stage: devel or runtime."""
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
    """Return the content of an image's labels, or None if this collection did not build the image."""
    if RECIPE not in labels:
        return None
    contents: dict[str, Any] = {
        name: labels.get(PREFIX + name, "") for name in ("recipe", "release", "commit", "kind", "level", "tensorrt")
    }
    contents.update({name: [part for part in labels.get(PREFIX + name, "").split(",") if part] for name in _LISTS})
    return cast(
        ImageContents, dict(contents, tensorrt=None if contents["tensorrt"] in ("", "none") else contents["tensorrt"])
    )


# Architectures by the name of uname -m: the names that engines (Go) use for it and for others that the same CPU can
# run.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    **{name: name for name in ("ppc64le", "s390x", "riscv64")},
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), "arm"),
    **dict.fromkeys(("i386", "i586", "i686"), "386"),
}
_ALSO_RUNS = {"amd64": "386", "arm64": "arm"}
# The first bytes of their programs (elf(5)): class and byte order, then e_type and e_machine in that order.
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
    """Return why an image with these labels cannot run on a host, or None. An image without labels of this collection passes.

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
    """Return the machine's architecture in Go's spelling if it cannot run an image of another architecture, else None.

    architecture: the image's, or None if unknown. machine: as uname -m prints it.
    """
    own = _ARCHITECTURES.get(machine)
    image = _ARCHITECTURES.get(architecture or "", architecture)
    return own if own and image and image not in (own, _ALSO_RUNS.get(own)) else None


def is_emulated(architecture: str | None, entries: Iterable[str]) -> bool:
    """Return whether the kernel runs programs of an architecture with an emulator that it keeps open (flag F), because containers do not contain it.

    entries: the texts of the files of /proc/sys/fs/binfmt_misc (admin-guide/binfmt-misc.rst and fs/binfmt_misc.c of
    Linux).
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
    """Return the CPU flags that an image's labels claim, but that its server does not use (server_log.parse()['cpu_flags'])."""
    contents = read(labels)
    return [flag for flag in unused if contents and flag in contents["cpu_flags"]]


def check_recipe(labels: Mapping[str, str], digest: str, where: str) -> None:
    """Raise FleetError unless the recipe with this digest made the image."""
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
