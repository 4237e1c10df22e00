# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document: what is known about the hosts and what was measured on them, as report.json holds it. Checked first, then arranged; never computed anew."""

from __future__ import annotations

import math

from ansible_collections.tfserving.fleet.plugins.module_utils.common import options
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.version import VERSION

SCHEMA = 1
NOTHING = "unclassified"
HOST_KEYS = ("host", "capabilities", "plan", "server", "tuning", "checks")
SUMMARY_KEYS = ("name", "kept", "reason", "goodput_rps", "p50_ms", "p99_ms", "requests", "gain", "gain_interval", "noise_floor", "accuracy")
STEP_KEYS = SUMMARY_KEYS + ("change", "before", "curve_before", "curve_after", "windows")
BEFORE_KEYS = ("goodput_rps", "p50_ms", "p99_ms", "requests")
STATEMENTS = {
    "embedded": "These figures are of the embedded server: a small model server of this collection over TensorFlow, made for laptops, demonstrations and "
                "tests. It is not TensorFlow Serving, and its figures must not be read as TensorFlow Serving's.",
    "docker": "These figures are of TensorFlow Serving, run in a container.",
    None: "Nothing has been measured: no figure in this report speaks of a server's speed.",
}


def build(hosts, title, measured_at=None):
    """The document of a fleet, a dict of JSON data. hosts: a list of dicts with HOST_KEYS, all but host may be missing or None.

    title: of the report. measured_at: when, as text, or None. Raises FleetError on data that is not as the architecture page describes it.
    """
    _check_hosts(hosts)
    entries = [_host(data) for data in sorted(hosts, key=lambda data: data["host"])]
    tuned = [entry for entry in entries if entry["total"]]
    backends = sorted({entry["backend"] for entry in tuned})
    if len(backends) > 1:
        raise FleetError(f"figures of the backends {' and '.join(backends)} cannot stand in one report", where="hosts",
                         remedy="Make one report for each backend: the embedded server is not TensorFlow Serving.")
    backend = backends[0] if backends else None
    first = tuned[0] if tuned else None
    return {
        "schema": SCHEMA,
        "generated_by": f"tfserving.fleet {VERSION}",
        "title": title,
        "measured_at": measured_at,
        "backend": backend,
        "is_tensorflow_serving": None if backend is None else backend == "docker",
        "statement": STATEMENTS[backend],
        "tuned_host": first["host"] if first else None,
        "method": first["method"] if first else None,
        "steps": [_summary(step) for step in first["steps"]] if first else [],
        "total": _summary(first["total"]) if first else None,
        "classes": _classes(entries),
        "hosts": entries,
    }


def _check_hosts(hosts):
    seen = set()
    for position, data in enumerate(hosts):
        where = f"hosts[{position}]"
        if not isinstance(data, dict) or not isinstance(data.get("host"), str) or not data["host"].strip():
            raise FleetError("every host is a mapping with its name as `host`, a text", where=where)
        if data["host"] in seen:
            raise FleetError(f"{data['host']!r} stands in the list twice", where=f"{where}.host", remedy="Name each host once.")
        seen.add(data["host"])
        for key in data:
            options.one_of(f"{where} ({data['host']})", key, HOST_KEYS)
        for key in ("capabilities", "plan", "server", "tuning"):
            if not isinstance(data.get(key), (dict, type(None))):
                raise FleetError(f"{data[key]!r} is not a mapping", where=f"{where} ({data['host']}).{key}")
        if not isinstance(data.get("checks"), (list, type(None))):
            raise FleetError(f"{data['checks']!r} is not a list", where=f"{where} ({data['host']}).checks")


def _host(data):
    capabilities, tuning = data.get("capabilities"), data.get("tuning")
    classes = (capabilities or {}).get("classes") or {}
    entry = {
        "host": data["host"],
        "class": {"image": classes.get("image"), "tuning": classes.get("tuning")},
        "capabilities": capabilities,
        "plan": data.get("plan"),
        "server": data.get("server"),
        "checks": data.get("checks") or [],
        "backend": None, "model": None, "method": None, "steps": [], "total": None,
    }
    if tuning:
        entry.update(_tuning(tuning, data))
    return entry


def _tuning(tuning, data):
    where = f"hosts[{data['host']}].tuning"
    backend = tuning.get("backend") or (data.get("server") or {}).get("backend") or (data.get("plan") or {}).get("backend")
    options.one_of(f"{where}.backend", backend, [name for name in STATEMENTS if name])
    if not isinstance(tuning.get("steps"), list):
        raise FleetError("steps must be a list of tuning steps", where=where)
    steps = [_step(step, f"{where}.steps[{position}]") for position, step in enumerate(tuning["steps"])]
    total = _step(tuning.get("total"), f"{where}.total")
    return {"backend": backend, "model": tuning.get("model"), "method": _method(tuning, steps, where), "steps": steps, "total": total}


def _method(tuning, steps, where):
    settings = tuning.get("settings") or {}
    if not isinstance(settings, dict):
        raise FleetError(f"{settings!r} is not a mapping", where=f"{where}.settings")
    metric, examples = settings.get("metric"), settings.get("examples")
    if metric is not None:
        _text(metric, f"{where}.settings.metric")
    windows = [window for step in steps for window in step["windows"] or []]
    return dict(
        settings,
        metric=metric,
        examples=_number(examples, f"{where}.settings.examples", minimum=1),
        objective_p99_ms=_number(tuning.get("objective_p99_ms"), f"{where}.objective_p99_ms", minimum=0),
        noise_floor=_number(tuning.get("noise_floor"), f"{where}.noise_floor", minimum=0),
        requests=sum(step["requests"] or 0 for step in steps),
        windows=len(windows) or None,
        void_windows=[window["void"] for window in windows if window.get("void")],
    )


def _step(step, where):
    if not isinstance(step, dict):
        raise FleetError(f"{step!r} is not a tuning step", where=where, remedy=f"A step is a mapping with {', '.join(SUMMARY_KEYS)}.")
    for key in SUMMARY_KEYS:
        if key not in step:
            raise FleetError(f"{key} is missing", where=where, remedy="A key that does not apply is null, never left out.")
    if not isinstance(step["kept"], bool):
        raise FleetError(f"{step['kept']!r} is not true or false", where=f"{where}.kept")
    known = {key: step.get(key) for key in STEP_KEYS}
    known.update({key: _number(step[key], f"{where}.{key}", minimum=0) for key in BEFORE_KEYS + ("noise_floor",)})
    known["name"], known["reason"] = _text(step["name"], f"{where}.name"), _text(step["reason"], f"{where}.reason")
    known["gain"] = _number(step["gain"], f"{where}.gain", minimum=-1)
    known["gain_interval"] = _interval(step["gain_interval"], f"{where}.gain_interval")
    known["accuracy"] = _numbers(step["accuracy"], ("before", "after"), f"{where}.accuracy")
    known["before"] = _numbers(step.get("before"), BEFORE_KEYS, f"{where}.before")
    known["windows"] = _windows(step.get("windows"), f"{where}.windows")
    for key in ("curve_before", "curve_after"):
        known[key] = _curve(step.get(key), f"{where}.{key}")
    return known


def _text(value, where):
    if not isinstance(value, str):
        raise FleetError(f"{value!r} is not a text", where=where)
    return value


def _number(value, where, minimum=None, maximum=None):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FleetError(f"{value!r} is not a finite number", where=where)
    return options.bounded(where, value, minimum, maximum)


def _numbers(mapping, keys, where):
    mapping = {} if mapping is None else mapping
    if not isinstance(mapping, dict):
        raise FleetError(f"{mapping!r} is not a mapping with {', '.join(keys)}", where=where)
    return {key: _number(mapping.get(key), f"{where}.{key}") for key in keys}


def _interval(value, where):
    """Two bounds, None for an open end, or None."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise FleetError(f"{value!r} is not an interval: two numbers, the lower first", where=where)
    low, high = (_number(bound, where) for bound in value)
    if low is not None and high is not None and low > high:
        raise FleetError(f"{value!r} is not an interval: the lower number comes first", where=where)
    return [low, high]


def _windows(value, where):
    """The measured windows as they came: a list of mappings, or None."""
    if value is not None and not (isinstance(value, list) and all(isinstance(window, dict) for window in value)):
        raise FleetError("windows must be a list of measured windows", where=where)
    return value


def _curve(points, where):
    """A latency curve: [[fraction of the requests, milliseconds], ...], both rising; the maximum (fraction 1) has no place on it and is left out."""
    if points is None:
        return None
    curve = []
    for point in points if isinstance(points, (list, tuple)) else [points]:
        if not isinstance(point, (list, tuple)) or len(point) != 2 or None in point:
            raise FleetError(f"{point!r} is not a pair of a fraction and milliseconds", where=where)
        fraction, latency = _number(point[0], where, 0, 1), _number(point[1], where, 0)
        if curve and (fraction < curve[-1][0] or latency < curve[-1][1]):
            raise FleetError(f"{point!r} is below the point before it; a curve rises", where=where)
        if fraction < 1:
            curve.append([fraction, latency])
    return curve


def _summary(step):
    return {key: step[key] for key in SUMMARY_KEYS}


def _classes(entries):
    """Each tuning class once, in order, the unknown one last: its hosts, and the host that was measured for it."""
    classes = {}
    for entry in entries:
        key = (entry["class"]["image"] or NOTHING, entry["class"]["tuning"] or NOTHING)
        known = classes.setdefault(key, {"image": key[0], "tuning": key[1], "hosts": [], "tuned_host": None})
        known["hosts"].append(entry["host"])
        if entry["total"] and known["tuned_host"] is None:
            known["tuned_host"] = entry["host"]
    return [classes[key] for key in sorted(classes, key=lambda key: (key[1] == NOTHING, key))]
