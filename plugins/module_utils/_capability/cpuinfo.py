# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the text of a /proc/cpuinfo of x86 or Arm, of this or another machine, complete or damaged."""

from __future__ import annotations

import re
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import levels
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import Caches, CpuModel, CpuText
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

ARCHITECTURES = tuple(sorted(levels.KNOWN_FLAGS))
NO_CACHES: Caches = {"l1d_kib": None, "l1i_kib": None, "l2_kib": None, "l3_kib": None}

_FLAG_KEYS = {"x86_64": "flags", "aarch64": "Features"}
_PLAINLY = {"i686": "32-bit x86", "arm": "32-bit Arm"}
_BARE = {"Processor", "processor", "BogoMIPS"}
_LONGEST_NAME = 64
_MOST_DIGITS = 10
_FLAG = re.compile(r"[a-z0-9_]+")
# Values that mail programs and terminals wrap, and flags that matter although no level contains them.
_WRAPPED_KEYS = {"flags", "Features", "model name"}
_WHOLE_FLAGS = frozenset({"lm", "hypervisor"}).union(*levels.KNOWN_FLAGS.values())

# The lowest level of all CPUs of a family and model. Models: arch/x86/include/asm/intel-family.h; AMD's: bsp_init_amd
# in arch/x86/kernel/cpu/amd.c of Linux.
_INTEL_LEVELS = {
    "x86-64-v3": frozenset(
        (
            60,
            61,
            63,
            69,
            70,
            71,
            78,
            79,
            86,
            94,
            142,
            151,
            154,
            158,
            165,
            166,
            170,
            172,
            175,
            183,
            186,
            189,
            190,
            191,
            197,
            198,
            221,
        )
    ),
    "x86-64-v4": frozenset((85, 106, 108, 125, 126, 140, 141, 143, 167, 173, 174, 207)),
}
_AMD_LEVELS = (
    (0x17, range(0x100), "x86-64-v3"),
    (0x18, range(0x100), "x86-64-v3"),
    (0x19, range(0x10, 0x20), "x86-64-v4"),
    (0x19, range(0x60, 0xB0), "x86-64-v4"),
    (0x19, range(0x100), "x86-64-v3"),
    (0x1A, range(0x100), "x86-64-v4"),
)
# Intel sells CPUs without AVX under these names, with the same model numbers.
_WITHOUT_AVX = re.compile(r"Pentium|Celeron|Atom|Processor N\d")

# The names of util-linux's lscpu (sys-utils/lscpu-arm.c). An unknown code is shown unchanged.
_ARM_VENDORS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}
_ARM_SERVER_CORES = {
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0AF): "ThunderX2-99xx",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0x4E, 0x004): "Carmel",
    (0x4E, 0x010): "Olympus",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}


def read(text: str, architecture: str | None = None) -> CpuText:
    """Return the description of the CPUs of a text. Never raise.

    architecture: as uname -m prints it, if known. It overrides what the text looks like, and flags of other
    architectures are ignored.
    """
    text = _unwrapped(text)
    cores = _cores(text)
    shown = _architecture(cores)
    architecture = architecture or shown
    warnings: list[str] = []
    flags: frozenset[str] = frozenset()
    if architecture in _FLAG_KEYS:
        flags, warnings = (
            _common_flags(cores, architecture, text)
            if architecture == shown
            else (flags, [_strange(architecture, shown)])
        )
    known = flags & levels.KNOWN_FLAGS.get(architecture or "", frozenset())
    first = cores[0] if cores else {}
    if (
        len(
            {
                tuple(core.get(key) for key in ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part"))
                for core in cores
                if len(core) > 1
            }
        )
        > 1
    ):
        warnings.append("the cores are of different kinds; the first one describes the CPU")
    cpu = cast(
        CpuModel,
        dict(
            _identity(first),
            level=levels.level(architecture, known),
            flags=sorted(known),
            ai=levels.ai(architecture, known),
            caches=_caches(first),
            **_counts(cores),
        ),
    )
    if architecture == "x86_64" and known and not warnings:
        warnings += _less_than_known(cpu)
    return {"architecture": architecture, "cpu": cpu, "hypervisor": "hypervisor" in flags, "warnings": warnings}


def require(text: str, architecture: str | None = None) -> CpuText:
    """Return the result of read(). Raise FleetError if the text does not show a class, or is not of the given architecture."""
    if architecture is not None and architecture not in ARCHITECTURES:
        raise FleetError(f"{architecture!r} is not known; allowed: {', '.join(ARCHITECTURES)}", where="architecture")
    if not text.strip():
        raise FleetError(
            "the text is empty", where="cpu_capability", remedy="Pass the whole content of a /proc/cpuinfo."
        )
    text = _unwrapped(text)
    found = read(text)
    shown = found["architecture"]
    if shown is None:
        raise FleetError(
            "the text is not a readable /proc/cpuinfo",
            where="cpu_capability",
            remedy=f"Pass the whole content of a /proc/cpuinfo of {' or '.join(ARCHITECTURES)}.",
        )
    damaged = _damaged(_cores(text))
    if damaged:
        raise FleetError(
            f"{damaged!r} is not a CPU flag: the text was changed or shortened",
            where="cpu_capability",
            remedy="Pass the whole content of /proc/cpuinfo, as a file or a text with its line breaks.",
        )
    if shown == "i686" and _is_cut(text, [core["flags"] for core in _cores(text) if core.get("flags")]):
        raise FleetError(
            "the text ends before the CPU flags that show whether the CPU has 64 bits",
            where="cpu_capability",
            remedy="Pass the whole content of /proc/cpuinfo.",
        )
    if shown not in ARCHITECTURES:
        raise FleetError(
            f"the text is from {_PLAINLY.get(shown, shown)}; TensorFlow Serving is built only for {' and '.join(reversed(ARCHITECTURES))}",
            where="cpu_capability",
        )
    if architecture not in (None, shown):
        raise FleetError(
            f"the text is from {shown}, not from {architecture}",
            where="architecture",
            remedy="Leave architecture out, or pass the text of a host with this architecture.",
        )
    if not found["cpu"]["flags"]:
        raise FleetError(
            f"the text of this {shown} machine has no line {_FLAG_KEYS[shown]!r} with flags, so its level is unknown",
            where="cpu_capability",
            remedy="Pass the whole content of /proc/cpuinfo.",
        )
    return found


def _strange(architecture: str, shown: str | None) -> str:
    what = f"of {shown}" if shown else "empty or not readable"
    return (
        f"the machine is {architecture}, but its cpuinfo is {what}; it is treated as the lowest level of {architecture}"
    )


def _unwrapped(text: str) -> str:
    """Return the text with each line without a colon joined to the previous one, to undo the wrapping of a mail program or a terminal."""
    lines, key = [], ""
    for line in text.splitlines():
        if ":" in line or not line.strip():
            key = line.partition(":")[0].strip()
            lines.append(line)
        elif key in _WRAPPED_KEYS:
            lines[-1] = _joined(lines[-1], line)
        else:
            lines.append(line)
    return "\n".join(lines) + ("\n" if text[-1:] in ("\n", "\r") else "")


def _joined(before: str, after: str) -> str:
    """Return the two parts of a wrapped line joined.

    Lines are wrapped between words, or within a word as terminals do. It was within a word if only the whole is a flag.
    """
    first, last = after.split()[0], before.split()[-1]
    blank = "" if last + first in _WHOLE_FLAGS else " "
    return before.rstrip() + blank + after.strip()


def _less_than_known(cpu: CpuModel) -> list[str]:
    """Return a warning if a CPU shows a lower level than all CPUs of its family and model have."""
    vendor, family, model = cpu["vendor"], cpu["family"], cpu["model"]
    expected = None
    if vendor == "GenuineIntel" and family == 6 and not _WITHOUT_AVX.search(cpu["brand"] or ""):
        expected = next((level for level, models in _INTEL_LEVELS.items() if model in models), None)
    elif vendor in ("AuthenticAMD", "HygonGenuine"):
        expected = next(
            (level for of_family, models, level in _AMD_LEVELS if family == of_family and model in models), None
        )
    if expected is None or levels.may_run(expected, cpu["level"]):
        return []
    missing = sorted(
        frozenset().union(*(flags for name, flags in levels.X86_64_LEVELS if levels.may_run(name, expected)))
        - set(cpu["flags"])
    )
    return [
        f"a CPU of this family ({family}) and model ({model}) has {expected}, but shows {cpu['level']} ({' '.join(missing)} missing): "
        "a hypervisor hides them, or the text is damaged"
    ]


def _cores(text: str) -> list[dict[str, str]]:
    """Return one dict of its lines for each core, without other sections. A blank line or a repeated key begins the next core."""
    sections: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key = key.strip()
        if not line.strip() or key in sections[-1]:
            sections.append({})
        if colon:
            sections[-1][key] = value.strip()
    cores = [section for section in sections if _is_core(section)]
    # Linux before 3.19 printed what Arm's cores share only once, below the numbers of all cores.
    shared = cores[-1] if cores and "Features" in cores[-1] else {}
    if shared and all(set(core) <= _BARE for core in cores[:-1]):
        return [{**shared, **core} for core in cores]
    return cores


def _is_core(section: dict[str, str]) -> bool:
    keys = ("processor", "vendor_id", "flags", "Features")
    return any(key in section for key in keys)


def _architecture(cores: list[dict[str, str]]) -> str | None:
    """Return the architecture in uname -m's spelling if the cores show it, or None."""
    merged = {key: value for core in reversed(cores) for key, value in core.items()}
    flags, features = merged.get("flags", "").split(), merged.get("Features", "").split()
    isa = (merged.get("isa") or merged.get("ISA") or "").lower()
    if merged.get("vendor_id") == "IBM/S390":
        return "s390x"
    if "vendor_id" in merged and "cpu family" in merged or "lm" in flags:
        return "x86_64" if not flags or "lm" in flags else "i686"
    if "CPU implementer" in merged:
        new = "asimd" in features or not features and merged.get("CPU architecture") in ("8", "AArch64")
        return "aarch64" if new else "arm"
    if merged.get("cpu", "").startswith("POWER"):
        return "ppc64"
    for beginning, name in (("rv64", "riscv64"), ("loongarch", "loongarch64"), ("mips", "mips")):
        if isa.startswith(beginning):
            return name
    return None


def _common_flags(cores: list[dict[str, str]], architecture: str, text: str) -> tuple[frozenset[str], list[str]]:
    """Return the flags that all cores have (a frozenset), and warnings about cores that differ and truncated texts."""
    key = _FLAG_KEYS[architecture]
    lines = [core[key] for core in cores if core.get(key)]
    damaged = _damaged(cores)
    warnings = [f"{damaged!r} among the {key} is not one: the text is damaged"] if damaged else []
    cut = _is_cut(text, lines)
    if cut or len(lines) < len(cores):
        warnings.append(f"the text may be cut short: {len(lines) - cut} of {len(cores)} cores show all their {key}")
    if cut and len(lines) > 1:
        lines.pop()
    sets = [frozenset(line.split()) for line in sorted(set(lines))] or [frozenset()]
    common = sets[0].intersection(*sets)
    differing = sorted(levels.KNOWN_FLAGS[architecture] & frozenset().union(*sets) - common)
    if differing:
        warnings.append(f"the cores differ in {' '.join(differing)}; only what all cores have counts")
    if not lines:
        warnings.append(f"cpuinfo shows no {key}; the machine is treated as the lowest level of {architecture}")
    return common, warnings


def _damaged(cores: list[dict[str, str]]) -> str | None:
    """Return the first word among the flags of the cores that cannot be a flag, or None."""
    words = (word for core in cores for key in _FLAG_KEYS.values() for word in core.get(key, "").split())
    return next((word for word in words if not _FLAG.fullmatch(word)), None)


def _is_cut(text: str, lines: list[str]) -> bool:
    """Return whether a text ends within the last of these lines of flags."""
    return bool(lines) and not text.endswith("\n") and text.rstrip().endswith(lines[-1])


def _identity(core: dict[str, str]) -> dict[str, Any]:
    implementer = _number(core.get("CPU implementer"))
    if implementer is None:
        return {
            "vendor": _name(core.get("vendor_id")),
            "family": _number(core.get("cpu family")),
            "model": _number(core.get("model")),
            "stepping": _number(core.get("stepping")),
            "brand": _name(core.get("model name")),
        }
    part, variant, revision = (_number(core.get(f"CPU {key}")) for key in ("part", "variant", "revision"))
    return {
        "vendor": _ARM_VENDORS.get(implementer, f"0x{implementer:02x}"),
        "family": _number(core.get("CPU architecture")),
        "model": part,
        "stepping": None if variant is None or revision is None else variant * 16 + revision,
        "brand": _ARM_SERVER_CORES.get((implementer, part or 0)) or _name(core.get("model name")),
    }


def _counts(cores: list[dict[str, str]]) -> dict[str, Any]:
    threads = len(cores)
    sockets = len({core.get("physical id") for core in cores})
    known = cores and all("core id" in core for core in cores)
    distinct = len({(core.get("physical id"), core["core id"]) for core in cores}) if known else threads
    return {"sockets": sockets or None, "cores": distinct or None, "threads": threads or None}


def _caches(core: dict[str, str]) -> Caches:
    """Return the caches of a core. AMD's cpuinfo shows the size of the second level, and Intel's that of the last level."""
    size, _blank, unit = core.get("cache size", "").partition(" ")
    if core.get("vendor_id") in ("AuthenticAMD", "HygonGenuine") and size.isdigit() and unit == "KB":
        return {**NO_CACHES, "l2_kib": int(size)}
    return {**NO_CACHES}


def _name(text: str | None) -> str | None:
    return " ".join(text.split())[:_LONGEST_NAME] or None if text else None


def _number(text: str | None) -> int | None:
    try:
        return int(text, 0) if text is not None and len(text) <= _MOST_DIGITS else None
    except ValueError:
        return None
