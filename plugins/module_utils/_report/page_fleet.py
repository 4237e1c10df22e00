# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's part about the fleet: what the machines can do, and what was planned for them."""

from __future__ import annotations

import json

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import cell, element, facts, join, table

_HOST_NAMES_SHOWN = 8
_UNKNOWN = "not known"


def machines(document, tuned):
    """The section of the machines. tuned: the tunings that the page shows."""
    hosts = document["hosts"]
    measured = {tuning["host"] for tuning in tuned[:1]}
    shown = [entry for entry in hosts if entry["capabilities"] and (entry["host"] in measured or not measured)][:1]
    title = "What this machine can do" if len(hosts) == 1 else "What these machines can do"
    return element(
        "section",
        element("h2", title),
        _class_table(document) if len(hosts) > 1 else None,
        [_machine(entry, len(hosts) > 1) for entry in shown],
        None if shown else element("p", "The capabilities are not known: no host was examined.", class_="quiet"),
    )


def _machine(entry, named):
    known = _facts(entry["capabilities"]) + [("Tuning class", entry["class"]["tuning"] or _UNKNOWN)]
    return join(element("h3", entry["host"]) if named else None, facts(known))


def _facts(capabilities):
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
        ("Virtualisation", words.plain((capabilities.get("virtualization") or {}).get("kind"))),
    ]


def _memory(memory):
    usable = memory.get("usable_mib")
    if not isinstance(usable, (int, float)):
        return _UNKNOWN
    limited = " (limited by its control group)" if memory.get("limit_mib") is not None else ""
    return f"{words.significant(usable / 1024)}\N{NO-BREAK SPACE}GiB{limited}"


def _gpu(group):
    compute = group.get("compute")
    parts = [
        f"{group['count']} \N{MULTIPLICATION SIGN}" if group.get("count") else None,
        group.get("product") or group.get("device_id"),
        compute and "compute {major}.{minor}".format(**compute),
        group.get("mig") and "MIG",
    ]
    return " ".join(words.plain(part) for part in parts if part)


def _class_table(document):
    entries = {entry["host"]: entry for entry in document["hosts"]}
    rows = []
    for known in document["classes"]:
        members = [entries[name] for name in known["hosts"]]
        capabilities = next((entry["capabilities"] for entry in members if entry["capabilities"]), None)
        told = {name: value if capabilities else _UNKNOWN for name, value in _facts(capabilities or {})}
        tuned = entries.get(known["tuned_host"])
        rows.append(
            element(
                "tr",
                element("th", known["tuning"], scope="row"),
                cell("Hosts", _names(known["hosts"])),
                [cell(name, told[name]) for name in ("Processor", "CPUs usable", "Memory usable", "GPUs")],
                cell("Gain", _class_gain(tuned)),
            )
        )
    heads = ("Tuning class", "Hosts", "Processor", "CPUs usable", "Memory usable", "GPUs", "Gain")
    caption = f"{words.plural(len(entries), 'host')} in {words.plural(len(rows), 'class')}; a class is measured on one of its hosts."
    return table(caption, heads, rows, "stack fleet")


def _class_gain(entry):
    if entry is None:
        return words.NOT_MEASURED
    return ", ".join(
        words.gain_with_interval(tuning["total"]["gain"], tuning["total"]["gain_interval"])
        if any(step["kept"] for step in tuning["steps"])
        else "baseline kept"
        for tuning in entry["tunings"]
    )


def _names(names):
    if len(names) <= _HOST_NAMES_SHOWN:
        return ", ".join(names)
    return element("details", element("summary", words.plural(len(names), "host")), ", ".join(names), class_="names")


def plans(document):
    """The section of the plans, hosts with the same plan together."""
    groups = {}
    for entry in document["hosts"]:
        if entry["plan"]:
            same = json.dumps(
                {key: value for key, value in entry["plan"].items() if key != "host_class"}, sort_keys=True, default=str
            )
            groups.setdefault(same, []).append(entry)
    if not groups:
        return element("section", element("h2", "The plan"), element("p", "No plan was made.", class_="quiet"))
    unplanned = sum(1 for entry in document["hosts"] if not entry["plan"])
    return element(
        "section",
        element("h2", "The plan and its reasons"),
        [
            _plan(members, len(groups) > 1 or unplanned > 0, position == 0)
            for position, members in enumerate(groups.values())
        ],
        element("p", f"No plan was made for {words.plural(unplanned, 'host')}.", class_="quiet") if unplanned else None,
    )


def _plan(members, named, opened):
    plan = members[0]["plan"]
    rows = [
        element(
            "tr",
            element("th", words.plain(decision.get("subject")), scope="row"),
            cell("Choice", words.plain(decision.get("choice"))),
            cell("Reason", words.plain(decision.get("reason"), "")),
        )
        for decision in plan.get("decisions") or []
    ]
    caption = f"Release of TensorFlow Serving: {words.plain(plan.get('release'), 'not named')}. Backend: {words.plain(plan.get('backend'), 'not named')}."
    warnings = [element("li", words.plain(warning)) for warning in plan.get("warnings") or []]
    refusals = [
        element(
            "li",
            element("strong", words.plain(refusal.get("subject"))),
            f": {words.plain(refusal.get('reason'), '')} ",
            element("em", words.plain(refusal.get("remedy"), "")),
        )
        for refusal in plan.get("refusals") or []
    ]
    told = join(
        table(caption, ("What", "Choice", "Why"), rows, "stack plan"),
        element("div", element("h3", "Warnings"), element("ul", warnings), class_="callout") if warnings else None,
        element("div", element("h3", "Refused, and what would change that"), element("ul", refusals), class_="callout")
        if refusals
        else None,
    )
    if not named:
        return told
    hosts = [entry["host"] for entry in members]
    counts = f" · {words.plural(len(warnings), 'warning')}, {words.plural(len(refusals), 'refusal')}"
    named = words.plain(hosts[:3]) + (f" and {len(hosts) - 3:,} more" if len(hosts) > 3 else "")
    return element(
        "details",
        element("summary", named, element("span", counts)),
        element("div", _names(hosts), class_="quiet") if len(hosts) > 3 else None,
        told,
        open="open" if opened else None,
    )
