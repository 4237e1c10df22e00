# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the plans of many hosts as a text: what each class gets, what is refused, why, and what differs from earlier plans or from what runs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.limits import format_cpu_list as ranges
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.changes import shown
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.derived_flags import flat

NO_PLAN = "no plan"
_LABEL = 12
_HEADINGS = ("", "HOSTS", "CLASS", "SERVER", "MODELS", "REFUSED")
_NUMBERS = (0, 1)
# Columns that may be shortened to fit the width, in this order, with their minimum widths.
_MAY_SHRINK = {2: 16, 4: 12, 3: 15}
_FEWEST_COLUMNS = 72
_COMPARED = ("release", "backend", "image", "build", "models", "server")


def text(plans: Mapping[str, Any], earlier: Any = None, width: int = 120, running: Any = None) -> str:
    """Return the whole text. plans: {host: plan, or None for a host with unknown capabilities}. earlier: the same of an earlier run, or None.

    running: {host: {seen: now|remembered|None, reason: why not now, differences: [text]}}, or None to omit what runs.
    """
    width = max(_FEWEST_COLUMNS, width)
    groups = _groups(plans)
    shared = {label: _shared(groups, entries) for label, entries in (("why", _reasons), ("warnings", _warnings))}
    parts = ["\n".join(_summary(groups, len(plans), width))]
    parts += ["\n".join(_details(number, hosts, plan, shared, width)) for number, (hosts, plan) in enumerate(groups, 1)]
    if any(shared.values()):
        entries = {
            label: [f"{words}   [{_numbers(numbers, len(groups))}]" for words, numbers in found.items()]
            for label, found in shared.items()
        }
        parts.append(
            "\n".join(
                [
                    "SHARED by several of the groups above",
                    *_listed("why", entries["why"], width),
                    *_listed("warnings", entries["warnings"], width),
                ]
            )
        )
    if running is not None:
        parts.append("\n".join(against_running(running, width)))
    if earlier is not None:
        parts.append("\n".join(differences(plans, earlier, width)))
    return "\n\n".join(parts) + "\n"


def differences(plans: Mapping[str, Any], earlier: Any, width: int = 120) -> list[str]:
    """Return lines about what is planned differently from earlier plans, with the hosts."""
    changes = {
        host: _host_changes(plans.get(host), earlier.get(host), host in plans, host in earlier)
        for host in {*plans, *earlier}
    }
    return ["CHANGED since the earlier plan", *_by_text(changes, width)]


def against_running(running: Any, width: int = 120) -> list[str]:
    """Return lines about what deploying the plans would change on the hosts. running: as in text()."""
    known = {host: found["differences"] for host, found in running.items() if found["seen"]}
    lines = ["CHANGES that a deployment would make", *(_by_text(known, width) if known else [])]
    for seen, words in (
        ("remembered", "not checked now, compared with what ran when it was last checked"),
        (None, "unknown what runs"),
    ):
        reasons = {
            host: [f"{words}: {found['reason']}" if found["reason"] else words]
            for host, found in running.items()
            if found["seen"] == seen
        }
        lines += _by_text(reasons, width) if reasons else []
    return lines


def _by_text(texts: Any, width: int) -> list[str]:
    """Return lines with each text once and its hosts, or 'nothing'. texts: {host: [text]}."""
    hosts: dict[str, Any] = {}
    for host in sorted(texts):
        for line in texts[host]:
            hosts.setdefault(line, []).append(host)
    return [
        part
        for line, named in sorted(hosts.items())
        for part in _wrapped("  ", f"{line}   [{shortened(named)}]", width)
    ] or ["  nothing"]


def _host_changes(now: Any, before: Any, is_there: bool, was_there: bool) -> list[str]:
    if not (is_there and was_there):
        return ["host is new" if is_there else "host is gone"]
    if now is None or before is None:
        return [] if now is before else ["host had no plan" if before is None else "host has no plan"]
    now_flat, before_flat = flat(_compared(now)), flat(_compared(before))
    return [
        f"{key}: {shown(before_flat.get(key))} -> {shown(now_flat.get(key))}"
        for key in sorted(set(now_flat) | set(before_flat))
        if now_flat.get(key) != before_flat.get(key)
    ]


def _compared(plan: Mapping[str, Any]) -> dict[str, Any]:
    models = {model["name"]: {key: model[key] for key in ("form", "batching")} for model in plan["models"]}
    return dict(
        {key: plan.get(key) for key in _COMPARED},
        models=models,
        refused=[refusal["subject"] for refusal in plan["refusals"]],
    )


def _groups(plans: Mapping[str, Any]) -> Any:
    """Return [(hosts, plan)] with the hosts that share a plan together, by class, and hosts without a plan last."""
    found: dict[Any, Any] = {}
    for host in sorted(plans):
        key = json.dumps(plans[host], sort_keys=True) if plans[host] is not None else ""
        found.setdefault(key, ([], plans[host]))[0].append(host)
    return sorted(
        found.values(), key=lambda group: (group[1] is None, str((group[1] or {}).get("host_class")), group[0])
    )


def _shared(groups: Any, entries: Any) -> dict[str, Any]:
    """Return {text: numbers of the groups} of the texts of more than one group, in the order of decisions."""
    found: dict[Any, Any] = {}
    for number, (_hosts, plan) in enumerate(groups, 1):
        for position, words in enumerate(entries(plan) if plan else ()):
            found.setdefault(words, ([], position))[0].append(number)
    several = sorted(
        (words for words, (numbers, _position) in found.items() if len(numbers) > 1), key=lambda words: found[words][1]
    )
    return {words: found[words][0] for words in several}


def _reasons(plan: Mapping[str, Any]) -> list[Any]:
    return [f"{decision['subject']}: {decision['choice']} - {decision['reason']}" for decision in plan["decisions"]]


def _warnings(plan: Mapping[str, Any]) -> Any:
    return plan["warnings"]


def _numbers(numbers: Any, count: int) -> str:
    return "all" if len(numbers) == count else ranges(numbers).replace(",", ", ")


def _summary(groups: Any, count: int, width: int) -> Iterator[str]:
    """Return the heading, and a table with one row per group, as lines."""
    classes = len({plan["host_class"] for _hosts, plan in groups if plan})
    refused = sum(len(hosts) for hosts, plan in groups if plan and plan["refusals"])
    unknown = sum(len(hosts) for hosts, plan in groups if plan is None)
    yield "; ".join(
        [
            f"PLAN for {_count(count, 'host')} of {_count(classes, 'class', 'classes')}",
            f"refusals on {refused}" if refused else "nothing is refused",
            *([f"{unknown} not detected yet"] if unknown else []),
        ]
    )
    yield ""
    rows = [_HEADINGS] + [_row(number, hosts, plan) for number, (hosts, plan) in enumerate(groups, 1)]
    widths = _fitting([max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))], width)
    for row in rows:
        cells = [
            _cut(cell, room).rjust(room) if column in _NUMBERS else _cut(cell, room).ljust(room)
            for column, (cell, room) in enumerate(zip(row, widths))
        ]
        yield "  ".join(cells).rstrip()


def _row(number: int, hosts: Sequence[str], plan: Mapping[str, Any]) -> tuple[str, ...]:
    if plan is None:
        return str(number), str(len(hosts)), NO_PLAN, "-", "-", "-"
    forms = ", ".join(
        f"{model['name']} ({model['form']}{', batched' if model['batching'] else ''})" for model in plan["models"]
    )
    subjects = ", ".join(dict.fromkeys(refusal["subject"].partition(" ")[0] for refusal in plan["refusals"]))
    return str(number), str(len(hosts)), str(plan["host_class"]), _server(plan), forms or "-", subjects or "-"


def _server(plan: Mapping[str, Any]) -> str:
    if plan["image"]:
        return str(plan["image"].rpartition("/")[2])
    return f"embedded {plan['release']}" if plan["models"] else "-"


def _fitting(widths: Any, width: int) -> Any:
    """Return the columns' widths, with flexible ones reduced until the row fits."""
    widths = list(widths)
    for column, least in _MAY_SHRINK.items():
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        widths[column] = max(min(least, widths[column]), widths[column] - max(0, excess))
    return widths


def _cut(cell: str, room: int) -> str:
    """Return the cell with its middle left out if it is too long, because its ends are most specific."""
    if len(cell) <= room:
        return cell
    head = (room - 2) // 2
    return f"{cell[:head]}..{cell[len(cell) - (room - 2 - head) :]}"


def _details(
    number: int, hosts: Sequence[str], plan: Mapping[str, Any], shared: Mapping[str, Any], width: int
) -> Iterator[str]:
    """Return the lines about one group: first what its hosts get and what is refused, then the reasons."""
    yield from _wrapped(
        "", f"{number}. {plan['host_class'] if plan else NO_PLAN}: {shortened(hosts)}", width, indented=2
    )
    if plan is None:
        yield from _listed(
            "to do",
            ["The capabilities are unknown: run tfserving.fleet.detect for them while they can be reached"],
            width,
        )
        return
    if plan["models"]:
        yield from _listed(
            "server", [f"{plan['backend']}, {plan['image'] or 'with the API of ' + plan['release']}"], width
        )
        yield from _listed("models", [_of_model(model) for model in plan["models"]], width)
    yield from _listed(
        "flags", _joined(f"--{name}={shown(value)}" for name, value in sorted(plan["server"]["flags"].items())), width
    )
    variables = sorted(plan["server"]["environment"].items())
    yield from _listed(
        "variables",
        _joined(f"{name}={'(not shown)' if looks_secret(name, value) else value}" for name, value in variables),
        width,
    )
    yield from _listed(
        "REFUSED",
        [
            f"{refusal['subject']}: {refusal['reason'].rstrip('.')}. {refusal['remedy'].rstrip('.')}."
            for refusal in plan["refusals"]
        ],
        width,
    )
    yield from _listed("warnings", [words for words in _warnings(plan) if words not in shared["warnings"]], width)
    yield from _listed("why", [words for words in _reasons(plan) if words not in shared["why"]], width)
    candidates = ", ".join(candidate["name"] for candidate in plan["candidates"])
    yield from _listed("tuning", [f"tries {candidates}"] if candidates else [], width)


def _of_model(model: dict[str, Any]) -> str:
    batching = ", ".join(f"{name} {shown(value)}" for name, value in sorted((model["batching"] or {}).items()))
    return f"{model['name']}: {model['form']}" + (f", batched ({batching})" if batching else "")


def _joined(words: Iterable[str], between: str = " ") -> list[str]:
    joined = between.join(words)
    return [joined] if joined else []


def _listed(label: str, entries: Any, width: int) -> Iterator[str]:
    for number, words in enumerate(entries):
        yield from _wrapped(f"  {'' if number else label:<{_LABEL}}", words, width)


def _wrapped(start: str, words: str, width: int, indented: int = 0) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=start,
        subsequent_indent=" " * (len(start) or indented),
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(hosts: Sequence[str], most: int = 6) -> str:
    """Return the first names of a list of hosts, and how many more there are."""
    rest = f" and {len(hosts) - most} more" if len(hosts) > most else ""
    return ", ".join(hosts[:most]) + rest


def _count(count: int, one: Any, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
