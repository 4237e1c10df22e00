# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select what the page shows about the fleet: what the machines can do, and which plans are the same."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Document, Host, Tuning, TuningClass

_UNKNOWN = "not known"


def examined(document: Document, tuned: list[Tuning]) -> Host | None:
    """Return the host whose capabilities the page shows: the first that was measured, else the first that is known."""
    measured = {tuning["host"] for tuning in tuned[:1]}
    known = (entry for entry in document["hosts"] if entry["capabilities"])
    return next((entry for entry in known if entry["host"] in measured or not measured), None)


def facts(capabilities: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a host can do, as names and texts."""
    cpu, memory = capabilities.get("cpu") or {}, capabilities.get("memory") or {}
    container, system = capabilities.get("container") or {}, capabilities.get("os") or {}
    usable, threads = (words.plain(cpu.get(key), _UNKNOWN) for key in ("usable", "threads"))
    named = f"{words.plain(system.get('distribution'), _UNKNOWN)} {words.plain(system.get('version'), '')}"
    limits = [f"{key} {words.plain(cpu[key])}" for key in ("cpuset", "quota") if cpu.get(key) is not None]
    engine = (
        f"{words.plain(container['engine'])} {words.plain(container.get('version'), '')}"
        if container.get("engine")
        else "none"
    )
    if container.get("engine") and not container.get("answers"):
        engine += " (does not answer)"
    return [
        ("Processor", words.plain(cpu.get("brand"), _UNKNOWN)),
        ("Instruction set", f"{words.plain(cpu.get('level'), _UNKNOWN)}, for AI: {words.plain(cpu.get('ai'))}"),
        ("CPUs usable", f"{usable} of {threads}" + (f" ({', '.join(limits)})" if limits else "")),
        (
            "Cores, sockets, NUMA nodes",
            " / ".join(words.plain(cpu.get(key), _UNKNOWN) for key in ("cores", "sockets", "numa_nodes")),
        ),
        ("Memory usable", _memory(memory)),
        ("GPUs", ", ".join(_gpu(gpu) for gpu in capabilities.get("gpus") or []) or "none found"),
        ("Container engine", engine),
        ("System", f"{named}, kernel {words.plain(system.get('kernel'), _UNKNOWN)}"),
        ("Virtualization", words.plain((capabilities.get("virtualization") or {}).get("kind"))),
    ]


def _memory(memory: dict[str, Any]) -> str:
    usable = memory.get("usable_mib")
    if not isinstance(usable, (int, float)):
        return _UNKNOWN
    limited = " (limited by its control group)" if memory.get("limit_mib") is not None else ""
    return f"{words.significant(usable / 1024)}\N{NO-BREAK SPACE}GiB{limited}"


def _gpu(group: dict[str, Any]) -> str:
    compute = group.get("compute")
    parts = [
        f"{group['count']} \N{MULTIPLICATION SIGN}" if group.get("count") else None,
        group.get("product") or group.get("device_id"),
        compute and "compute {major}.{minor}".format(**compute),
        group.get("mig") and "MIG",
    ]
    return " ".join(words.plain(part) for part in parts if part)


def classes(document: Document) -> list[tuple[TuningClass, dict[str, str], str]]:
    """Return each tuning class with the facts of its first known host, and its gain as text."""
    entries = {entry["host"]: entry for entry in document["hosts"]}
    found = []
    for known in document["classes"]:
        capabilities = next(filter(None, (entries[name]["capabilities"] for name in known["hosts"])), None)
        tuned = entries[known["tuned_host"]] if known["tuned_host"] is not None else None
        found.append((known, dict(facts(capabilities)) if capabilities else {}, _gain(tuned)))
    return found


def _gain(entry: Host | None) -> str:
    if entry is None:
        return words.NOT_MEASURED
    return ", ".join(
        words.gain_with_interval(tuning["total"]["gain"], tuning["total"]["gain_interval"])
        if any(step["kept"] for step in tuning["steps"])
        else "baseline kept"
        for tuning in entry["tunings"]
    )


def same_plans(document: Document) -> list[list[Host]]:
    """Return the hosts that have a plan, grouped by plan."""
    groups: dict[str, list[Host]] = {}
    for entry in document["hosts"]:
        if entry["plan"]:
            plan = {key: value for key, value in entry["plan"].items() if key != "host_class"}
            groups.setdefault(json.dumps(plan, sort_keys=True, default=str), []).append(entry)
    return list(groups.values())
