# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine what the PCI bus, the kernel's files, NVML and nvidia-smi report into one description of a host's NVIDIA GPUs, with identical GPUs together.

_capability.nvml queries NVML. Names are those of NVIDIA's GPU feature discovery if it has one: product, family,
compute.major, memory, count.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import (
    MOST_INSTANCES,
    Answers,
    Fault,
    GpuDevice,
    GpuGroup,
)

# NVML's codes in words: nvmlReturn_t of nvml.h.
FAULTS = {
    1: "it was not initialized",
    2: "an argument was invalid",
    3: "not supported",
    4: "no permission",
    6: "not found",
    7: "a buffer was too small",
    8: "its external power cables are not attached",
    9: "NVIDIA's driver is not loaded",
    10: "it timed out",
    11: "the kernel found an interrupt issue with it",
    12: "libnvidia-ml.so.1 is missing or cannot be loaded",
    13: "this driver does not support the query",
    14: "its infoROM is corrupted",
    15: "it has fallen off the bus",
    16: "it needs a reset",
    17: "the operating system or a control group blocks it",
    18: "the versions of NVIDIA's kernel module and of its library differ",
    19: "it is in use",
    20: "not enough memory",
    21: "no data",
    22: "not supported with ECC",
    23: "not enough resources",
    24: "that clock is not supported",
    25: "this driver supports another version of the query",
    26: "the query is outdated",
    27: "it is not ready",
    28: "no GPU was found",
    29: "it is in the wrong state",
    30: "that reset is not supported",
    "crash": "the driver's library crashed",
    "hang": "the driver did not answer in time",
    "odd": "its answer is not valid",
}
REMEDIES = {
    4: "let the account use /dev/nvidia*, or become root",
    8: "attach the power cables",
    9: "load the module (modprobe nvidia), or install the driver again",
    11: "look at the kernel's log",
    12: "install the driver's libraries",
    15: "look for Xid 79 in the kernel's log and reboot; if it happens again, check power, temperature and seating",
    16: "reset it (nvidia-smi -r) or reboot",
    17: "give the container or service access to /dev/nvidia*",
    18: "reboot, so that the module of the installed driver is loaded",
    "crash": "install the driver again, and look at the kernel's log",
    "hang": "look at the kernel's log; enable persistence mode if starting a GPU is slow",
}
_NO_SUCH_GPU = 2  # the driver's error for an index that does not exist
_MAY_LACK = (("memory", 3),)  # for GPUs that use the machine's memory
_ESSENTIAL = ("name", "uuid", "compute", "memory")
_ALSO_DESCRIBED = ("driver", "cuda", "pci", "ecc", "mig", "mig_count")
_OF_AN_INSTANCE = re.compile(r"mig\.\d\.(?:handle|uuid|name)$")
_WORDS = {
    "name": "product",
    "uuid": "UUID",
    "compute": "compute capability",
    "memory": "memory",
    "mig": "all MIG slices",
}
_FAMILIES = {
    2: "fermi",
    3: "kepler",
    5: "maxwell",
    6: "pascal",
    9: "hopper",
    10: "blackwell",
    12: "blackwell",
    13: "rubin",
}
_UNKNOWN = 999  # NVML_ERROR_UNKNOWN
# What nvidia-smi prints instead of a missing value, in lower case and without brackets.
_SMI_FAULTS = {
    "n/a": 3,
    "not supported": 3,
    "requested functionality has been deprecated": 3,
    "deprecated": 3,
    "not available": 3,
    "not found": 6,
    "function not found": 13,
    "insufficient permissions": 4,
    "gpu is lost": 15,
    "reset required": 16,
    "gpu requires reset": 16,
    "gpu reset required": 16,
    "err!": _UNKNOWN,
    "error": _UNKNOWN,
    "unknown error": _UNKNOWN,
    "unknown": _UNKNOWN,
}
_SMI_ADDRESS = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]$")
_SMI_INSTANCE = re.compile(r"^\s+MIG\s+(\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")
_SMI_GPU = re.compile(r"^GPU (\d+): ")
_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
# Conditions of plausible answers: CUDA 12.4 is 12040, and no GPU has a pebibyte.
_SENSIBLE: dict[str, Callable[[Any], bool]] = {
    "cuda": lambda number: 0 <= number < 100000,
    "compute": lambda pair: 0 < pair[0] < 100 and 0 <= pair[1] < 100,
    "memory": lambda memory: 0 < memory["total"] < 1 << 50,
    "name": bool,
    "uuid": bool,
}


def family(major: int, minor: int) -> str | None:
    """Return the name of a compute capability's architecture, as GPU feature discovery spells it, or None."""
    if major == 7:
        return "turing" if minor >= 5 else "volta"
    if major == 8:
        return "ada-lovelace" if minor >= 9 else "ampere"
    return _FAMILIES.get(major)


def driver_version_of(text: str) -> str | None:
    """Return the version of the loaded kernel module in the text of /proc/driver/nvidia/version, or None."""
    found = _VERSION.search(text)
    return found[1] if found else None


def information_of(text: str) -> dict[str, str | None]:
    """Return {product, uuid} of the text of /proc/driver/nvidia/gpus/ADDRESS/information. A GPU that was never started has no UUID there."""
    pairs = dict(re.findall(r"^([^:\n]+):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
    uuid = pairs.get("GPU UUID")
    return {"product": pairs.get("Model") or None, "uuid": uuid if uuid and "?" not in uuid else None}


def address(domain: int, bus: int, device: int) -> str:
    """Return a PCI address in sysfs's spelling."""
    return f"{domain:04x}:{bus:02x}:{device:02x}.0"


def rows_of(tables: Iterable[tuple[str, Sequence[str]]]) -> list[dict[str, str]]:
    """Return the rows ({field: text}) of tables of nvidia-smi --query-gpu, each (text, fields), one for each GPU.

    Other lines, such as warnings, are left out: a row has as many cells as there are fields, and an index or an
    address.
    """
    rows: dict[str, dict[str, str]] = {}
    for text, fields in tables:
        for line in text.lstrip("\ufeff").splitlines():
            split = [
                [cell.strip().strip('"') for cell in line.split(separator)] for separator in (", ", ",", ";", "\t")
            ]
            cells = next((cells for cells in split if len(cells) == len(fields)), [])
            row = dict(zip(fields, cells))
            if cells and (row.get("index", "").isdigit() or _SMI_ADDRESS.match(row.get("pci.bus_id", ""))):
                rows.setdefault(
                    row.get("pci.bus_id", "") if _SMI_ADDRESS.match(row.get("pci.bus_id", "")) else row["index"], row
                )
    return list(rows.values())


def rows_to_answers(rows: Sequence[dict[str, str]], listing: str) -> Answers:
    """Return the answers in the rows of nvidia-smi --query-gpu ({field: text}) and in the listing of nvidia-smi -L."""
    answers: Answers = {}
    instances = _listed_instances(listing)
    for place, row in enumerate(rows):
        gpu = int(row["index"]) if row.get("index", "").isdigit() else place
        answers[gpu, "handle"] = (None, None)
        read: dict[str, tuple[str, Callable[[str], Any]]] = {
            "name": ("name", str),
            "uuid": ("uuid", str),
            "memory": ("memory.total", lambda text: {"total": _mib(text) << 20, "free": None}),
            "compute": ("compute_cap", lambda text: [int(part) for part in re.split("[.,]", text)]),
            "ecc": ("ecc.mode.current", _enabled),
            "mig": ("mig.mode.current", _enabled),
            "driver": ("driver_version", str),
        }
        for question, (field, parse) in read.items():
            answers[None if question == "driver" else gpu, question] = _cell(row.get(field), parse)
        answers[gpu, "pci"] = _cell(
            row.get("pci.bus_id"), functools.partial(_smi_pci, device=row.get("pci.device_id", ""))
        )
        if gpu in instances:
            answers[gpu, "mig_count"] = answers[gpu, "mig_listed"] = (None, len(instances[gpu]))
        for index, (profile, uuid) in instances.get(gpu, {}).items():
            answers[gpu, f"mig.{index}.handle"] = (None, None)
            answers[gpu, f"mig.{index}.uuid"] = (None, uuid)
            answers[gpu, f"mig.{index}.name"] = (None, f"MIG {profile}")
    answers[None, "count"] = (None, len(rows))
    return answers


def _listed_instances(listing: str) -> dict[int, dict[int, tuple[str, str]]]:
    found: dict[int, dict[int, tuple[str, str]]] = {}
    gpu = None
    for line in listing.splitlines():
        heading, instance = _SMI_GPU.match(line), _SMI_INSTANCE.match(line)
        if heading:
            gpu = int(heading[1])
        elif instance and gpu is not None:
            found.setdefault(gpu, {})[int(instance[2])] = instance[1], instance[3]
    return found


def _cell(text: str | None, parse: Callable[[str], Any]) -> tuple[Fault, Any]:
    if text is None:
        return 13, None
    words = text.strip("[]").lower()
    if text.startswith("[") or words in _SMI_FAULTS or not text:
        return _SMI_FAULTS.get(words, _UNKNOWN), None
    try:
        return None, parse(text)
    except ValueError:
        return _UNKNOWN, None


def _mib(text: str) -> int:
    """Return the mebibytes in a cell, with or without a unit, with digits grouped as in any locale."""
    found = re.match(r"(\d{1,3}(?:[ .,'\u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?\s*([a-z]*)", text.lower())
    if not found:
        raise ValueError(text)
    return int(re.sub(r"\D", "", found[1])) * {"gib": 1024, "gb": 1024}.get(found[2], 1)


def _enabled(text: str) -> int:
    return {"Enabled": 1, "Disabled": 0}[text] if text in ("Enabled", "Disabled") else int(text)


def _smi_pci(text: str, device: str) -> list[int]:
    place = re.match(r"([0-9a-fA-F]+):([0-9a-fA-F]+):([0-9a-fA-F]+)\.", text)
    if not place:
        raise ValueError(text)
    return [int(part, 16) for part in place.groups()] + [int(device, 16) if device.startswith("0x") else 0]


def sensible(answers: Answers) -> Answers:
    """Return the answers with a fault in place of implausible ones, and texts without control characters."""

    def judged(question: str, fault: Fault, value: Any) -> tuple[Fault, Any]:
        if isinstance(value, str):
            value = "".join(letter if letter.isprintable() else "?" for letter in value).strip()
        odd = fault is None and value is not None and not _SENSIBLE.get(question, lambda _value: True)(value)
        return ("odd", None) if odd else (fault, value)

    return {(gpu, question): judged(question, *found) for (gpu, question), found in answers.items()}


def lacking(answers: Answers) -> bool:
    """Return whether a value of the description was not reported for another reason than that the GPU or the driver does not have it."""
    count = value_of(answers, None, "count")
    essential = [
        answers.get((gpu, question), ("hang", None))[0] for gpu in range(count or 0) for question in _ESSENTIAL
    ]
    others = [
        fault
        for (_gpu, question), (fault, _value) in answers.items()
        if question in _ALSO_DESCRIBED or _OF_AN_INSTANCE.match(question)
    ]
    return (
        not count
        or any(fault not in (None, 3) for fault in essential)
        or any(fault not in (None, 3, 6, 13) for fault in others)
    )


def filled(answers: Answers, more: Answers) -> Answers:
    """Return answers with their missing values taken from more. GPUs are matched by address, or else by index."""
    known = dict(answers)
    places = {tuple(found[1][:3]): gpu for (gpu, question), found in answers.items() if question == "pci" and found[1]}
    for (gpu, question), found in more.items():
        pci = value_of(more, gpu, "pci")
        place = places.get(tuple(pci[:3]), gpu) if pci else gpu
        if (place, question) not in known or known[place, question][0] is not None and found[0] is None:
            known[place, question] = found
    return known


def value_of(answers: Answers, gpu: int | None, question: str) -> Any:
    """Return the value, or None."""
    return answers.get((gpu, question), (None, None))[1]


def indices(answers: Answers) -> list[int]:
    """Return the indices of the GPUs for which the driver reported anything, even an error, except for counted ones that do not exist."""
    return sorted(
        gpu
        for (gpu, question), (fault, _value) in answers.items()
        if gpu is not None and question == "handle" and fault != _NO_SUCH_GPU
    )


def describe(
    pci: Iterable[dict[str, Any]], answers: Answers, kernel_driver: str | None, failure: str | None
) -> tuple[list[GpuGroup], list[str]]:
    """Return (groups, problems): the GPUs, and a line about each one that is unusable or partly unknown.

    pci: NVIDIA's display controllers on the bus, {pci_bus_id, device_id, driver, numa_node, cpu_affinity, product,
    uuid}. kernel_driver: the version of the loaded kernel module or None. failure: why there are no answers, or None.
    """
    versions = {
        "driver_version": kernel_driver or value_of(answers, None, "driver"),
        "cuda_version": _cuda(value_of(answers, None, "cuda")),
    }
    devices = {device["pci_bus_id"]: dict(device) for device in pci}
    unplaced = []
    for gpu in indices(answers):
        reported = _reported(answers, gpu)
        if reported["pci_bus_id"] is None:
            unplaced.append(reported)
        else:
            known = devices.get(reported["pci_bus_id"], {"driver": "nvidia", "numa_node": None, "cpu_affinity": None})
            devices[reported["pci_bus_id"]] = dict(
                known, **{key: value for key, value in reported.items() if value is not None or key not in known}
            )
    silent = [device for device in devices.values() if device["driver"] == "nvidia" and "index" not in device]
    for device, reported in zip(silent, unplaced):  # as many GPUs without an answer as without an address
        device.update(
            {key: value for key, value in reported.items() if value is not None}, pci_bus_id=device["pci_bus_id"]
        )
    for device in silent[len(unplaced) :]:
        device["problem"] = (
            failure
            or "NVIDIA's driver does not list it: it has fallen off the bus, or this account or container cannot access it"
        )
    devices.update({f"?{reported['index']}": dict(reported, driver="nvidia") for reported in unplaced[len(silent) :]})
    return _grouped(
        [
            dict(device, **(versions if device["driver"] == "nvidia" else {}))
            for _place, device in sorted(devices.items())
        ]
    )


def failure_of(answers: Answers, smi_failure: str | None = None) -> str | None:
    """Return why the driver reported no GPU, or None."""
    for question, what in (("load", None), ("init", None), ("count", "the number of GPUs is not known")):
        fault = answers.get((None, question), (None, None))[0]
        if fault is not None:
            said = f" (nvidia-smi: {smi_failure})" if smi_failure else ""
            return ": ".join(part for part in (what, explained(fault)) if part) + said
    return f"nvidia-smi: {smi_failure}" if smi_failure and not answers else None


def explained(fault: Fault) -> str:
    """Return a fault as text, with its remedy if there is one."""
    words = FAULTS.get(fault, f"an unknown error of the driver (code {fault})")
    return f"{words}: {REMEDIES[fault]}" if fault in REMEDIES else words


def _reported(answers: Answers, gpu: int) -> dict[str, Any]:
    """Return what the driver reported about one of its GPUs."""

    def value(question: str) -> Any:
        return value_of(answers, gpu, question)

    pci, compute, memory = value("pci"), value("compute"), value("memory")
    mig = _instances(answers, gpu, memory) if value("mig") else None
    return {
        "index": gpu,
        "pci_bus_id": address(*pci[:3]) if pci else None,
        "device_id": f"{pci[3] & 0xFFFF:04x}:{pci[3] >> 16:04x}" if pci and pci[3] else None,
        "product": value("name"),
        "uuid": value("uuid"),
        "compute": {"major": compute[0], "minor": compute[1]} if compute else None,
        "memory_mib": memory["total"] >> 20 if memory else None,
        "ecc": None if value("ecc") is None else bool(value("ecc")),
        "mig": mig and [{key: instance[key] for key in ("profile", "memory_mib")} for instance in mig]
        if mig is not None
        else None,
        "mig_uuids": [instance["uuid"] for instance in mig or ()],
        "problem": problem_of(answers, gpu),
    }


def problem_of(answers: Answers, gpu: int) -> str | None:
    """Return why a GPU is unusable, or which of its values are unknown, or None."""
    fault = answers.get((gpu, "handle"), ("hang", None))[0]
    if fault is not None:
        return explained(fault)
    missing = [(question, answers.get((gpu, question), ("hang", None))[0]) for question in _ESSENTIAL]
    missing = [
        (question, fault) for question, fault in missing if fault is not None and (question, fault) not in _MAY_LACK
    ]
    if value_of(answers, gpu, "mig"):
        listed = value_of(answers, gpu, "mig_listed")
        asked = ["mig_count", *(f"mig.{index}.handle" for index in range(MOST_INSTANCES if listed is None else listed))]
        faults = [answers.get((gpu, question), (None, None))[0] for question in asked]
        missing += [("mig", fault) for fault in faults if fault not in (None, 6)][:1]
    if not missing:
        return None
    why, colon, remedy = explained(missing[0][1]).partition(": ")
    return f"the driver did not report {', '.join(_WORDS[question] for question, _fault in missing)} ({why}){colon}{remedy}"


def _instances(answers: Answers, gpu: int, memory: dict[str, int] | None) -> list[dict[str, Any]]:
    found = []
    for index in range(MOST_INSTANCES):
        if answers.get((gpu, f"mig.{index}.handle"), (6, None))[0] is None:
            attributes = value_of(answers, gpu, f"mig.{index}.attributes") or {}
            name = value_of(answers, gpu, f"mig.{index}.name") or ""
            found.append(
                {
                    "uuid": value_of(answers, gpu, f"mig.{index}.uuid"),
                    "memory_mib": attributes.get("memory_mib"),
                    "profile": name.rpartition("MIG ")[2] if "MIG " in name else _profile(attributes, memory),
                }
            )
    return found


def _profile(attributes: dict[str, int], memory: dict[str, int] | None) -> str | None:
    """Return the name of a MIG profile from its parts (1g.5gb, 1c.3g.20gb) for drivers whose names lack it, or None if a part is missing."""
    if not attributes or not memory or not memory["total"]:
        return None
    share = -(-attributes["memory_mib"] * MOST_INSTANCES * 2**20 // memory["total"])
    gigabytes = round(share / MOST_INSTANCES * -(-memory["total"] // 2**30))
    slices = f"{attributes['gpu_slices']}g.{gigabytes}gb"
    return (
        slices
        if attributes["compute_slices"] == attributes["gpu_slices"]
        else f"{attributes['compute_slices']}c.{slices}"
    )


def _cuda(number: int | None) -> str | None:
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


_OF_A_GROUP = (
    "product",
    "compute",
    "memory_mib",
    "device_id",
    "driver",
    "driver_version",
    "cuda_version",
    "ecc",
    "mig",
    "problem",
)
_OF_A_DEVICE = ("pci_bus_id", "uuid", "index", "numa_node", "cpu_affinity", "mig_uuids")


def _grouped(devices: Iterable[dict[str, Any]]) -> tuple[list[GpuGroup], list[str]]:
    groups: list[GpuGroup] = []
    concerned: dict[str, list[str]] = {}
    for device in devices:
        common = {key: device.get(key) for key in _OF_A_GROUP}
        compute = common["compute"]
        common["family"] = family(compute["major"], compute["minor"]) if compute else None
        own = cast(
            GpuDevice, dict({key: device.get(key) for key in _OF_A_DEVICE}, mig_uuids=device.get("mig_uuids") or [])
        )
        group = next((group for group in groups if all(item in group.items() for item in common.items())), None)
        if group is None:
            group = cast(GpuGroup, dict(common, count=0, devices=[]))
            groups.append(group)
        group["count"] += 1
        group["devices"].append(own)
        if common["problem"]:
            concerned.setdefault(common["problem"], []).append(str(own["pci_bus_id"] or own["index"]))
    return groups, [f"GPU {', '.join(places)}: {problem}" for problem, places in concerned.items()]
