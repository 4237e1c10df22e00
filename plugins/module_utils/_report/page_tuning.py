# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select what the page shows about a tuning: the path of the search, goodput and latency as plots, and the method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._report import plots, words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import Markup
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Curves, Figures, Step, Tuning

_CALLED = {
    "loop": "Loop",
    "concurrency": "Requests in flight",
    "batch_sizes": "Examples of a request, with weights",
    "dimensions": "Lengths of unknown dimensions",
    "rate_rps": "Rate",
    "arrivals": "Recorded arrival times",
    "window_s": "Length of a window",
    "warm_up_s": "Warm-up",
    "rounds": "Rounds on each pair of servers",
    "instances": "Pairs of fresh servers in a comparison, at most",
    "confidence": "Confidence of the intervals",
    "minimum_gain": "Smallest gain worth keeping",
    "objective_p99_ms": "Latency objective (p99)",
    "noise_floor": "Noise floor",
    "requests": "Requests counted in the steps",
    "requests_from": "Source of the requests",
    "window_requests": "Requests per window, if possible",
    "void_windows": "Void windows",
    "allowed_loss": "Allowed loss of accuracy",
    "seed": "Seed of the arrival times",
    "server_cpus": "CPUs of the server",
    "generator_cpus": "CPUs of the load generator",
    "metric": "Task metric",
    "examples": "Labeled examples",
}
_SHOWN_ELSEWHERE = ("void_reasons", "note")
_UNITS = {"_ms": "ms", "_s": "s", "_rps": "requests/s", "_mib": "MiB"}
_NEAR = 3  # times the highest p99, or a fraction of it: an objective beyond would squeeze the other points
_LOOPS = {
    "closed": "closed: each connection sends the next request when it has an answer",
    "open": "open: Poisson arrivals, latency measured from the scheduled time",
}


def path(tuning: Tuning) -> tuple[Markup, list[tuple[str, Step, Markup]]]:
    """Return the axis of the search's path, and a row for each step and the final configuration: name, step, plot."""
    best, rows = 1.0, list[tuple[str, Step, float, tuple[float, float]]]()
    for number, step in enumerate(tuning["steps"], 1):
        after = (step["factor"] if step["kept"] or step.get("unconfirmed") else None) or best
        rows.append((f"{number}. {step['name']}", step, best, (best, after)))
        best = after
    if best != 1:
        rows.append(("Final configuration compared with the start", tuning["total"], 1, (best, best)))
    scale = plots.path_scale((compared, step) for _name, step, compared, _best in rows)
    return plots.path_axis(scale), [
        (name, step, plots.path_row(step, compared, line, scale)) for name, step, compared, line in rows
    ]


def scatter(tuning: Tuning) -> tuple[Markup | None, bool]:
    """Return the plot of p99 over goodput, and whether the latency objective is near enough to be in it."""
    total, steps = tuning["total"], list(enumerate(tuning["steps"], 1))
    start = _point("start", "Start", total["before"], "mark ring")
    kept = [_point(str(number), step["name"], step, "mark kept") for number, step in steps if step["kept"]]
    others = [_point(str(number), step["name"], step, "mark") for number, step in steps if not step["kept"]]
    final = _point("final", "Final configuration", total, "mark kept") if total["kept"] else None
    points = [point for point in (start, final, *kept, *others) if point]
    objective, highest = tuning["method"]["objective_p99_ms"], max((point.p99_ms for point in points), default=0)
    is_near = bool(objective) and highest / _NEAR <= objective <= highest * _NEAR
    path = [point for point in (start, *kept, final) if point]
    return plots.scatter(points, path, objective if is_near else None), is_near


def _point(label: str, name: str, figures: Figures | Step, kind: str) -> plots.Point | None:
    goodput, p99 = figures["goodput_rps"], figures["p99_ms"]
    if goodput is None or p99 is None or p99 < plots.LEAST_MS:
        return None
    title = f"{name}: {words.rate(goodput)}, p99 {words.milliseconds(p99)}"
    return plots.Point(label, title, kind, goodput, p99)


def latency_curves(tuning: Tuning) -> list[tuple[str, Curves, Markup]]:
    """Return the plots of the start and the final configuration: caption, curves, plot."""
    total, objective = tuning["total"], tuning["method"]["objective_p99_ms"]
    pictures: list[tuple[str, Curves]] = [
        (
            "Start and final configuration with a constant number of requests in flight",
            {
                "name": total["name"],
                "requests": total["requests"],
                "curve_before": total["curve_before"],
                "curve_after": total["curve_after"],
            },
        )
    ]
    if total["open_loop"]:
        before, after = total["open_loop"]["before"], total["open_loop"]["after"]
        rate = words.rate(total["open_loop"]["rate_rps"])
        curves: Curves = {
            "name": "start and final configuration at the same rate",
            "requests": min(before["requests"] or 0, after["requests"] or 0) or None,
            "curve_before": before["curve"],
            "curve_after": after["curve"],
        }
        pictures.insert(0, (f"Start and final configuration at the same rate, {rate} at random times", curves))
    drawn = (
        (caption, curves, plots.latency(curves, plots.latency_scale([curves]), objective))
        for caption, curves in pictures
    )
    return [(caption, curves, plot) for caption, curves, plot in drawn if plot]


def step_curves(tuning: Tuning) -> list[tuple[Step, Markup | None]]:
    """Return the plots of the steps on one scale, None for a step without a distribution."""
    scale, objective = plots.latency_scale(tuning["steps"]), tuning["method"]["objective_p99_ms"]
    return [(step, plots.latency(step, scale, objective, small=True)) for step in tuning["steps"]]


def percentiles(curves: Curves) -> Iterator[tuple[str, list[float | None]]]:
    """Yield the percentiles that the curves support, before and after, in ms."""
    supported = [
        plots.supported(curve, curves["requests"]) for curve in (curves["curve_before"], curves["curve_after"])
    ]
    for fraction, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")):
        values = [plots.at_fraction(curve, fraction) for curve in supported]
        if values != [None, None]:
            yield name, values


def settings(tuning: Tuning, server: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the method as names and texts."""
    found = [("Server", ", ".join(words.plain(part) for part in (tuning["backend"], server.get("version")) if part))]
    found += [("Image", words.plain(tuning["image"]))] if tuning["image"] else []
    found += [
        (_CALLED.get(key, key.replace("_", " ").capitalize()), _setting(key, value))
        for key, value in tuning["method"].items()
        if key not in _SHOWN_ELSEWHERE
    ]
    ends = (("Start", tuning["start"]), ("Final configuration", tuning["configuration"]))
    return found + [(name, words.plain(value, "")) for name, value in ends if value]


def _setting(key: str, value: Any) -> str:
    if value is None:
        return "all, shared" if key.endswith("_cpus") else "none"
    if key in ("noise_floor", "minimum_gain", "confidence", "allowed_loss") and isinstance(value, (int, float)):
        return words.share(value)
    if key == "loop":
        return _LOOPS.get(value, words.plain(value))
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = words.count(value)
    return words.plain(value) + (f"\N{NO-BREAK SPACE}{unit}" if unit else "")
