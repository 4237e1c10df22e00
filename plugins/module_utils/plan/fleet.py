# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of many hosts as a text that people read: what each class gets, why, what is refused, and what changed since."""

from __future__ import annotations

import json
import textwrap

NO_PLAN = "no plan"
_LABEL = 10
_NUMBERS = (1, 4)
_FEWEST_COLUMNS = 60
_COMPARED = ("release", "backend", "image", "build", "models", "server")


def text(plans, earlier=None, width=120):
    """The whole page. plans: {host: plan, or None for a host whose capabilities are not known}; earlier: the same from before, or None."""
    width = max(_FEWEST_COLUMNS, width)
    groups = _groups(plans)
    parts = [_summary(groups, len(plans))] + ["\n".join(_details(hosts, plan, width)) for hosts, plan in groups]
    if earlier is not None:
        parts.append("\n".join(differences(plans, earlier, width)))
    return "\n\n".join(parts) + "\n"


def differences(plans, earlier, width=120):
    """Lines: what is planned differently from earlier plans, with the hosts it concerns."""
    changes = {}
    for host in sorted(set(plans) | set(earlier)):
        for line in _host_changes(plans.get(host), earlier.get(host), host in plans, host in earlier):
            changes.setdefault(line, []).append(host)
    lines = [part for change, hosts in sorted(changes.items()) for part in _wrapped("  ", f"{change}   [{shortened(hosts)}]", width)]
    return ["CHANGED since the earlier plan"] + (lines or ["  nothing"])


def _host_changes(now, before, is_there, was_there):
    if not (is_there and was_there):
        return ["host is new" if is_there else "host is gone"]
    if now is None or before is None:
        return [] if now is before else ["host had no plan" if before is None else "host has no plan"]
    now_flat, before_flat = _flat(_compared(now)), _flat(_compared(before))
    return [f"{key}: {_shown(before_flat.get(key))} -> {_shown(now_flat.get(key))}" for key in sorted(set(now_flat) | set(before_flat))
            if now_flat.get(key) != before_flat.get(key)]


def _compared(plan):
    models = {model["name"]: {key: model[key] for key in ("form", "batching")} for model in plan["models"]}
    return dict({key: plan.get(key) for key in _COMPARED}, models=models,
                refused=[refusal["subject"] for refusal in plan["refusals"]])


def _flat(value, path=""):
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{path}.{name}" if path else str(name)).items()}
    return {path: value} if value not in (None, [], {}) else {}


def _groups(plans):
    """[(hosts, plan)]: hosts with one plan together, by class; those without a plan last."""
    found = {}
    for host in sorted(plans):
        key = json.dumps(plans[host], sort_keys=True) if plans[host] is not None else ""
        found.setdefault(key, ([], plans[host]))[0].append(host)
    return sorted(found.values(), key=lambda group: (group[1] is None, str((group[1] or {}).get("host_class")), group[0]))


def _summary(groups, count):
    rows = [("CLASS", "HOSTS", "SERVER", "MODELS", "REFUSED")] + [_row(hosts, plan) for hosts, plan in groups]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = [[cell.rjust(width) if column in _NUMBERS else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))] for row in rows]
    lines = ["  ".join(row).rstrip() for row in aligned]
    refused = sum(len(hosts) for hosts, plan in groups if plan and plan["refusals"])
    heading = f"PLAN for {count} {_plural('host', count)} of {len({str((plan or {}).get('host_class')) for _hosts, plan in groups})} classes"
    heading += f"; something is refused on {refused}" if refused else "; nothing is refused"
    return "\n".join([heading, ""] + lines)


def _row(hosts, plan):
    if plan is None:
        return NO_PLAN, str(len(hosts)), "-", "-", "-"
    forms = ", ".join(f"{model['name']} ({model['form']}{', batched' if model['batching'] else ''})" for model in plan["models"])
    return str(plan["host_class"]), str(len(hosts)), _server(plan), forms or "-", str(len(plan["refusals"]) or "-")


def _server(plan):
    if plan["image"]:
        return plan["image"]
    return f"embedded {plan['release']}" if plan["backend"] == "embedded" else "-"


def _details(hosts, plan, width):
    if plan is None:
        yield f"{NO_PLAN}: {shortened(hosts)}"
        yield from _entry("do", "Detect what they can do: run this without --tags offline, with the hosts reachable", width)
        return
    yield f"{plan['host_class']}: {shortened(hosts)}"
    if plan["backend"]:
        yield from _entry("server", f"{plan['backend']}, {plan['image']}" if plan["image"] else f"{plan['backend']}, release {plan['release']}", width)
    flags = " ".join(f"--{name}={_shown(value)}" for name, value in sorted(plan["server"]["flags"].items()))
    if flags:
        yield from _entry("flags", flags, width)
    environment = " ".join(f"{name}={value}" for name, value in sorted(plan["server"]["environment"].items()))
    if environment:
        yield from _entry("variables", environment, width)
    for number, decision in enumerate(plan["decisions"]):
        yield from _entry("" if number else "why", f"{decision['subject']}: {decision['choice']} ({decision['reason']})", width)
    if plan["candidates"]:
        yield from _entry("to try", ", ".join(candidate["name"] for candidate in plan["candidates"]), width)
    for number, warning in enumerate(plan["warnings"]):
        yield from _entry("" if number else "mind", warning, width)
    for refusal in plan["refusals"]:
        yield from _entry("REFUSED", f"{refusal['subject']}: {refusal['reason']}. {refusal['remedy'].rstrip('.')}.", width)


def _entry(label, words, width):
    return _wrapped(f"  {label:<{_LABEL}}", words, width)


def _wrapped(start, words, width):
    return textwrap.wrap(words, width, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False, break_on_hyphens=False)


def shortened(hosts, shown=6):
    """The first names of a list of hosts, and how many more there are."""
    rest = f" and {len(hosts) - shown} more" if len(hosts) > shown else ""
    return ", ".join(hosts[:shown]) + rest


def _plural(word, count):
    return word if count == 1 else f"{word}s"


def _shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else "none" if value is None else str(value)
