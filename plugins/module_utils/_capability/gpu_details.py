# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the current state and health of a host's NVIDIA GPUs. It changes all the time, so it is not part of the fact and has its own option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import gpus
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import (
    MOST_INSTANCES,
    Answers,
    GpuDetails,
    GpuHealth,
    GpuReadings,
)

_NOT_TOLD = (3, 13)  # the GPU does not have it, or the driver is too old to report it: nothing is wrong
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
# Bits of nvmlClocksEventReasons that do not show a problem: an idle GPU, and clocks that a user set.
_THROTTLING = {
    4: "sw_power_cap",
    8: "hw_slowdown",
    16: "sync_boost",
    32: "sw_thermal_slowdown",
    64: "hw_thermal_slowdown",
    128: "hw_power_brake_slowdown",
}


def details(answers: Answers, kernel_log: str | None) -> list[GpuDetails]:
    """Return the current state of each GPU that the driver lists. None: unknown. kernel_log: its text, or None if it is not readable."""
    xids = _xids(kernel_log)
    return [_details_of(answers, gpu, xids) for gpu in gpus.indices(answers)]


def _details_of(answers: Answers, gpu: int, xids: dict[str, list[int]] | None) -> GpuDetails:
    def value(question: str) -> Any:
        return gpus.value_of(answers, gpu, question)

    pci, memory, throttling = value("pci"), value("memory"), value("throttling")
    place = gpus.address(*pci[:3]) if pci else None
    links, processes, remapped = value("nvlink"), value("processes"), value("remapped")
    retired = [value("retired_single_bit"), value("retired_double_bit")]
    found: GpuReadings = {
        "pci_bus_id": place,
        "uuid": value("uuid"),
        "free_memory_mib": memory["free"] >> 20 if memory and memory["free"] is not None else None,
        "persistence": None if value("persistence") is None else bool(value("persistence")),
        "power_w": _thousandth(value("power")),
        "power_limit_w": _thousandth(value("power_limit")),
        "temperature_c": value("temperature"),
        "clocks_mhz": {
            "sm": value("clock_sm"),
            "sm_max": value("clock_sm_max"),
            "memory": value("clock_memory"),
            "memory_max": value("clock_memory_max"),
        },
        "nvlink": None
        if links is None
        else [
            {"peer": peer, "links": [gpus.address(*link) for link in links].count(peer)}
            for peer in sorted({gpus.address(*link) for link in links})
        ],
        "processes": None
        if processes is None
        else [{"pid": pid, "memory_mib": None if used is None else used >> 20} for pid, used in processes],
        "throttling": None
        if throttling is None
        else [name for bit, name in sorted(_THROTTLING.items()) if throttling & bit],
        "retired_pages": None if None in retired else sum(retired),
        "retired_pages_pending": None if value("retired_pending") is None else bool(value("retired_pending")),
        "remapped_rows": None
        if remapped is None
        else {
            "correctable": remapped[0],
            "uncorrectable": remapped[1],
            "pending": bool(remapped[2]),
            "failed": bool(remapped[3]),
        },
        "mig_free_memory_mib": [
            memory["free"] >> 20
            for memory in (value(f"mig.{index}.memory") for index in range(MOST_INSTANCES))
            if memory
        ],
        "xids": xids.get(place or "", []) if xids is not None else None,
        "faults": {
            question: gpus.explained(fault)
            for (of, question), (fault, _value) in sorted(answers.items(), key=str)
            if of == gpu
            and fault is not None
            and fault not in _NOT_TOLD
            and not (question.startswith("mig.") and fault == 6)
        },
    }
    return {**found, "health": _health(found, gpus.problem_of(answers, gpu))}


def _health(found: GpuReadings, problem: str | None) -> GpuHealth:
    """Return the health of a GPU according to its readings."""
    failed = [problem] if problem and found["pci_bus_id"] is None else []
    rows: Mapping[str, Any] = found["remapped_rows"] or {}
    failed += ["rows could not be remapped: replace the GPU"] if rows.get("failed") else []
    failed += ["it has fallen off the bus (Xid 79)"] if 79 in (found["xids"] or ()) else []
    warnings = [f"throttled: {', '.join(found['throttling'])}"] if found["throttling"] else []
    warnings += (
        ["a memory page or row is retired at the next reset"]
        if found["retired_pages_pending"] or rows.get("pending")
        else []
    )
    warnings += [f"Xid {xid} in the kernel's log" for xid in sorted(set(found["xids"] or ())) if xid != 79]
    warnings += [problem] if problem and not failed else []
    if failed or warnings:
        return {"state": "failed" if failed else "warning", "reasons": failed + warnings}
    seen = [found[key] for key in ("throttling", "retired_pages_pending", "remapped_rows", "xids")]
    return {"state": "unknown" if all(value is None for value in seen) else "ok", "reasons": []}


def _thousandth(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 1)


def _xids(kernel_log: str | None) -> dict[str, list[int]] | None:
    """Return {address: [Xid]} of the kernel's log, or None if it is not readable."""
    if kernel_log is None:
        return None
    found: dict[str, list[int]] = {}
    for place, xid in _XID.findall(kernel_log):
        place = place.lower() if place.count(":") == 2 else f"0000:{place.lower()}"
        found.setdefault(place if "." in place else f"{place}.0", []).append(int(xid))
    return found
