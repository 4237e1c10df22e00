# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document: what is known about the hosts and what was measured on them, as in report.json. It is checked and arranged, not computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils._report.costs import costs
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import (
    Curve,
    Document,
    Figures,
    Host,
    Interval,
    OpenLoop,
    Side,
    Step,
    StepSummary,
    Tuning,
    TuningClass,
)

SCHEMA = 1
NOTHING = "unclassified"
_LARGEST = 1e12  # nothing that is measured here is larger, whatever its unit
HOST_OPTIONS: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "capabilities": {"type": "dict"},
    "plan": {"type": "dict"},
    "server": {"type": "dict"},
    "price_per_hour": {"type": "float"},
    "tunings": {"type": "list", "elements": "dict"},
    "checks": {"type": "list", "elements": "dict"},
}
OPTIONS: dict[str, Any] = {
    "destination": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "dict", "required": True, "options": HOST_OPTIONS},
    "title": {"type": "str", "default": "TensorFlow Serving on this fleet"},
    "measured_at": {"type": "str"},
}
SUMMARY_KEYS = tuple(StepSummary.__annotations__)
LISTS = {"capabilities": ("gpus",), "plan": ("decisions", "refusals")}  # of mappings
MAPPINGS = {"capabilities": ("classes", "cpu", "memory", "container", "os", "virtualization")}
STATEMENTS = {
    "embedded": "These figures are from the embedded server, a small model server of this collection that runs TensorFlow on laptops, in demonstrations "
    "and in tests. It is not TensorFlow Serving. Do not read these figures as TensorFlow Serving's.",
    "docker": "These figures are from {server}.",
    None: "Nothing has been measured: this report contains no figures about the speed of a server.",
}


def by_backend(hosts: list[dict[str, Any]]) -> list[tuple[str | None, list[dict[str, Any]]]]:
    """Return [(backend, hosts)] for each backend that was measured. Each report contains only the tunings of its backend.

    A host without a tuning is in the report of the backend that it uses, or in every report if that is not measured or unknown. Without tunings, there is one.
    hosts: as in build, which cannot have figures of several backends.
    """
    _check_hosts(hosts)
    used = [
        [
            _backend(tuning, data, f"hosts[{data['host']}].tunings[{position}]")
            for position, tuning in enumerate(data.get("tunings") or [])
        ]
        for data in hosts
    ]
    names = sorted({name for backends in used for name in backends})
    if len(names) < 2:
        return [(names[0] if names else None, hosts)]
    parts: dict[str | None, list[dict[str, Any]]] = {name: [] for name in names}
    for data, backends in zip(hosts, used):
        own = set(backends) or {_own_backend(data)}
        for name in own & set(names) or names:
            tunings = [one for one, backend in zip(data.get("tunings") or [], backends) if backend == name]
            parts[name].append(dict(data, tunings=tunings))
    return list(parts.items())


def build(hosts: list[dict[str, Any]], title: str, measured_at: str | None = None) -> Document:
    """Return the document of a fleet. hosts: a list of dicts with HOST_OPTIONS; all but host may be missing or None.

    title: of the report. measured_at: when, as text, or None. Raise FleetError for data that is not as the architecture page describes it, and ValueError for
    figures of several backends.
    """
    _check_hosts(hosts)
    entries = [_host(data) for data in sorted(hosts, key=lambda data: data["host"])]
    tunings = [tuning for entry in entries for tuning in entry["tunings"]]
    backends = sorted({tuning["backend"] for tuning in tunings})
    if len(backends) > 1:
        raise ValueError(f"figures of the backends {' and '.join(backends)} need a report each")
    backend = backends[0] if backends else None
    classes = _classes(entries)
    first = tunings[0] if tunings else None
    return {
        "schema": SCHEMA,
        "generated_by": f"tfserving.fleet {VERSION}",
        "title": title,
        "measured_at": measured_at,
        "backend": backend,
        "is_tensorflow_serving": None if backend is None else backend == "docker",
        "statement": STATEMENTS[backend].format(server=_servers(tunings)),
        "tuned_host": first["host"] if first else None,
        "method": first["method"] if first else None,
        "steps": [_summary(step) for step in first["steps"]] if first else [],
        "total": _summary(first["total"]) if first else None,
        "classes": classes,
        "costs": costs(entries, classes),
        "hosts": entries,
    }


def _servers(tunings: Iterable[Tuning]) -> str:
    images = sorted({str(tuning["image"]) for tuning in tunings if tuning["image"]})
    if len(images) > 1:
        return f"servers in the container images {', '.join(images)}"
    return f"the server in the container image {images[0]}" if images else "a server in a container"


def _check_hosts(hosts: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for position, data in enumerate(hosts):
        where = f"hosts[{position}]"
        if not isinstance(data, dict) or not isinstance(data.get("host"), str) or not data["host"].strip():
            raise FleetError(
                "a host must be a mapping with the key `host`", where=where, remedy="Set `host` to its name."
            )
        if data["host"] in seen:
            raise FleetError(f"{data['host']!r} is listed twice", where=f"{where}.host", remedy="List each host once.")
        seen.add(data["host"])
        for key in data:
            options.one_of(f"{where} ({data['host']})", key, HOST_OPTIONS)
        _check_parts(data, f"{where} ({data['host']})")


def _check_parts(data: dict[str, Any], where: str) -> None:
    for key in ("capabilities", "plan", "server"):
        _mapping(data.get(key), f"{where}.{key}")
        for inner in MAPPINGS.get(key, ()):
            _mapping((data.get(key) or {}).get(inner), f"{where}.{key}.{inner}")
        for inner in LISTS.get(key, ()):
            _mappings((data.get(key) or {}).get(inner), f"{where}.{key}.{inner}")
    for key in ("tunings", "checks"):
        _mappings(data.get(key), f"{where}.{key}")


def _host(data: dict[str, Any]) -> Host:
    capabilities = data.get("capabilities")
    classes = (capabilities or {}).get("classes") or {}
    tunings = [
        _tuning(tuning, data, f"hosts[{data['host']}].tunings[{position}]")
        for position, tuning in enumerate(data.get("tunings") or [])
    ]
    return {
        "host": data["host"],
        "class": {"image": classes.get("image"), "tuning": classes.get("tuning")},
        "capabilities": capabilities,
        "plan": data.get("plan"),
        "server": data.get("server"),
        "price_per_hour": _number(data.get("price_per_hour"), f"hosts[{data['host']}].price_per_hour", minimum=0),
        "checks": [
            _check(check, f"hosts[{data['host']}].checks[{position}]")
            for position, check in enumerate(data.get("checks") or [])
        ],
        "steps": [_summary(step) for step in tunings[0]["steps"]] if tunings else [],
        "total": _summary(tunings[0]["total"]) if tunings else None,
        "tunings": tunings,
    }


def _check(check: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a check of a served model. Its differences must be numbers."""
    outputs = _mapping(check.get("outputs"), f"{where}.outputs")
    return dict(
        check,
        outputs={
            name: _numbers(difference, ("max_abs", "max_rel"), f"{where}.outputs.{name}")
            for name, difference in outputs.items()
        },
    )


def _backend(tuning: dict[str, Any], data: dict[str, Any], where: str) -> str:
    found = tuning.get("backend") or _own_backend(data)
    backend: str = options.one_of(f"{where}.backend", found, [name for name in STATEMENTS if name])
    return backend


def _own_backend(data: dict[str, Any]) -> Any:
    return (data.get("server") or {}).get("backend") or (data.get("plan") or {}).get("backend")


def _tuning(tuning: dict[str, Any], data: dict[str, Any], where: str) -> Tuning:
    backend = _backend(tuning, data, where)
    if not isinstance(tuning.get("steps"), list):
        raise FleetError(
            "steps must be a list of tuning steps", where=where, remedy="Pass the result of a tuning unchanged."
        )
    steps = [_step(step, f"{where}.steps[{position}]") for position, step in enumerate(tuning["steps"])]
    total = _step(tuning.get("total"), f"{where}.total")
    noise = _step(tuning["noise"], f"{where}.noise") if tuning.get("noise") else None
    _set_factors(steps, total)
    method = _method(_mapping(tuning.get("method"), f"{where}.method"), noise or total, steps, f"{where}.method")
    return {
        "host": data["host"],
        "model": tuning.get("model"),
        "backend": backend,
        "image": tuning.get("image"),
        "start": tuning.get("start"),
        "configuration": tuning.get("configuration"),
        "method": method,
        "noise": noise,
        "steps": steps,
        "total": total,
    }


def _method(given: dict[str, Any], noise: Step, steps: list[Step], where: str) -> dict[str, Any]:
    metric, reasons = given.get("metric"), given.get("void_reasons") or []
    if metric is not None:
        _text(metric, f"{where}.metric")
    return dict(
        given,
        metric=metric,
        examples=_number(given.get("examples"), f"{where}.examples", minimum=1),
        objective_p99_ms=_number(given.get("objective_p99_ms"), f"{where}.objective_p99_ms", minimum=0),
        noise_floor=noise["noise_floor"],
        requests=sum(step["requests"] or 0 for step in steps),
        void_windows=_number(given.get("void_windows"), f"{where}.void_windows", minimum=0),
        void_reasons=[_text(reason, f"{where}.void_reasons") for reason in reasons],
    )


def _step(step: Any, where: str) -> Step:
    if not isinstance(step, dict):
        raise FleetError(
            f"{step!r} is not a tuning step", where=where, remedy=f"A step is a mapping with {', '.join(SUMMARY_KEYS)}."
        )
    for key in SUMMARY_KEYS:
        if key not in step:
            raise FleetError(
                f"the key {key!r} is missing", where=where, remedy="Set a key that does not apply to null."
            )
    if not isinstance(step["kept"], bool):
        raise FleetError(f"{step['kept']!r} is not true or false", where=f"{where}.kept")
    known: dict[str, Any] = {
        "name": _text(step["name"], f"{where}.name"),
        "kept": step["kept"],
        "reason": _text(step["reason"], f"{where}.reason"),
        **_figures(step, where, 0),
        "gain": _number(step["gain"], f"{where}.gain", minimum=-1),
        "gain_interval": _interval(step["gain_interval"], f"{where}.gain_interval"),
        "noise_floor": _number(step["noise_floor"], f"{where}.noise_floor", minimum=0),
        "instances": _number(step.get("instances"), f"{where}.instances", minimum=0),
        "rounds": _number(step.get("rounds"), f"{where}.rounds", minimum=0),
        "accuracy": _numbers(step["accuracy"], ("before", "after"), f"{where}.accuracy"),
        "change": step.get("change"),
        "before": _figures(step.get("before"), f"{where}.before"),
        "curve_before": _curve(step.get("curve_before"), f"{where}.curve_before"),
        "curve_after": _curve(step.get("curve_after"), f"{where}.curve_after"),
        "open_loop": _open_loop(step.get("open_loop"), f"{where}.open_loop"),
        "factor": None,
    }
    known.update({key: True for key in ("advice", "unconfirmed") if step.get(key)})
    return cast(Step, known)


def _set_factors(steps: Iterable[Step], total: Step) -> None:
    """Set the goodput of each step as a factor of the start's: its gain over the best so far, multiplied by the gains that were kept before."""
    best = 1.0
    for step in steps:
        if step["gain"] is not None and not step.get("advice"):
            step["factor"] = min(best * (1 + step["gain"]), _LARGEST)
        if step["kept"] or step.get("unconfirmed"):
            best = step["factor"] or best
    total["factor"] = None if total["gain"] is None else 1 + total["gain"]


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise FleetError(f"{value!r} is not a mapping", where=where)
    return value or {}


def _mappings(value: Any, where: str) -> None:
    if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        raise FleetError(f"{value!r} is not a list of mappings", where=where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise FleetError(f"{value!r} is not a string", where=where)
    return value


def _number(value: Any, where: str, minimum: float = -_LARGEST, maximum: float = _LARGEST) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FleetError(f"{value!r} is not a finite number", where=where)
    return options.bounded(where, value, minimum, maximum)


def _numbers(mapping: Any, keys: Iterable[str], where: str, minimum: float = -_LARGEST) -> Any:
    return {key: _number(_mapping(mapping, where).get(key), f"{where}.{key}", minimum) for key in keys}


def _figures(mapping: Any, where: str, minimum: float = -_LARGEST) -> Figures:
    found: Figures = _numbers(mapping, Figures.__annotations__, where, minimum)
    return found


def _interval(value: Any, where: str) -> Interval | None:
    """Return two bounds, None for an open end, or None."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise FleetError(f"{value!r} is not an interval: two numbers, the lower first", where=where)
    low, high = (_number(bound, where) for bound in value)
    if low is not None and high is not None and low > high:
        raise FleetError(f"{value!r} is not an interval: the lower number comes first", where=where)
    return [low, high]


def _open_loop(value: Any, where: str) -> OpenLoop | None:
    if not _mapping(value, where):
        return None
    return {
        "rate_rps": _number(value.get("rate_rps"), f"{where}.rate_rps", minimum=0),
        "before": _side(value.get("before"), f"{where}.before"),
        "after": _side(value.get("after"), f"{where}.after"),
        "highest_rps": _numbers(value.get("highest_rps"), ("before", "after"), f"{where}.highest_rps", minimum=0)
        if value.get("highest_rps")
        else None,
    }


def _side(value: Any, where: str) -> Side:
    return {**_figures(value, where), "curve": _curve(_mapping(value, where).get("curve"), f"{where}.curve")}


def _curve(points: Any, where: str) -> Curve | None:
    """Return a latency curve without its maximum (fraction 1), which has no place on the axis."""
    if points is None:
        return None
    curve: Curve = []
    for at, point in enumerate(points if isinstance(points, (list, tuple)) else [points]):
        if not isinstance(point, (list, tuple)) or len(point) != 2 or None in point:
            raise FleetError(f"{point!r} is not a pair of a fraction and milliseconds", where=where)
        fraction, latency = _number(point[0], where, 0, 1), _number(point[1], where, 0)
        if curve and (fraction < curve[-1][0] or latency < curve[-1][1]):
            before = points[at - 1]
            raise FleetError(
                f"{point!r} is below the previous point, {before!r}; neither the fraction nor the milliseconds may fall",
                where=where,
            )
        if fraction < 1:
            curve.append([fraction, latency])
    return curve


def _summary(step: Step) -> StepSummary:
    summary: Any = {key: value for key, value in step.items() if key in SUMMARY_KEYS}
    found: StepSummary = summary
    return found


def _classes(entries: Sequence[Host]) -> list[TuningClass]:
    """Return each tuning class once, in order, the unknown one last: its hosts, and the host that was measured."""
    classes: dict[tuple[str, str], TuningClass] = {}
    for entry in entries:
        key = (entry["class"]["image"] or NOTHING, entry["class"]["tuning"] or NOTHING)
        known = classes.setdefault(key, {"image": key[0], "tuning": key[1], "hosts": [], "tuned_host": None})
        known["hosts"].append(entry["host"])
        if entry["tunings"] and known["tuned_host"] is None:
            known["tuned_host"] = entry["host"]
    return [classes[key] for key in sorted(classes, key=lambda key: (key[1] == NOTHING, key))]
