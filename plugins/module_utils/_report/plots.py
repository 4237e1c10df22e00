# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots as inline SVG. Widths are percentages, so that a plot fits a phone or a page and its text keeps its size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._report import labels, words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import Child, Markup, element, join
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import (
    Curve,
    Curves,
    Step,
    StepSummary,
)

_CURVE_UNITS = 1000
_LEAST_BEYOND = 10  # a percentile is drawn only if this many requests are beyond it
LEAST_MS = 1e-6  # a logarithmic axis has no zero


class Scale:
    """From values to percent of a length. low, high: the ends; logarithmic: the kind of axis."""

    def __init__(self, low: float, high: float, logarithmic: bool = False) -> None:
        self._of: Callable[[float], float] = math.log10 if logarithmic else float
        self.low, self.high = low, high
        self._start, self._length = self._of(low), self._of(high) - self._of(low)

    def percent(self, value: float) -> float:
        """0 to 100; values beyond the ends stay at the ends."""
        if value <= self.low:
            return 0.0
        return 100.0 if value >= self.high else 100 * (self._of(value) - self._start) / self._length


def path_scale(rows: Iterable[tuple[float, StepSummary]]) -> Scale:
    """Return one scale for all steps of a search, as factors of the start's goodput. rows: the factor of the best so far, and the step."""
    values = [0.95, 1.05]
    for best, step in rows:
        noise = step["noise_floor"] or 0.0
        gains = [step["gain"], *(step["gain_interval"] or ()), noise, -noise]
        values += [best * (1 + gain) for gain in gains if gain is not None and gain > -1]
    most = max(values) * 1.03
    return Scale(max(min(values) / 1.03, most / 1000), most, logarithmic=True)


def path_row(step: Step, compared: float, best: tuple[float, float], scale: Scale) -> Markup:
    """Return the row of one step: a mark (filled if kept) on its interval, the noise band behind, and the line of the best so far.

    compared: the factor of what the step was compared with. best: the factor of the best so far, before and after the step.
    """
    mark = None
    if step["factor"] is not None:
        noise, bounds = step["noise_floor"] or 0.0, step["gain_interval"]
        low, high = (scale.percent(compared * (1 + gain)) for gain in (-noise, noise))
        left, right = (
            end if gain is None else scale.percent(compared * (1 + gain))
            for end, gain in zip((0, 100), bounds or (None, None))
        )
        kind = "mark kept" if step["kept"] else "mark"
        circle = element("circle", class_=kind, cx=_at(scale.percent(step["factor"])), cy="0", r=5)
        # The origin of the inner plot is the middle of the row, whatever its height.
        mark = join(
            element("rect", class_="noise", x=_at(low), width=_at(high - low), y="0", height="100%"),
            element("svg", _whisker(left, right) if bounds else None, circle, y="50%", aria_hidden="true"),
        )
    one, was, now = (_at(scale.percent(factor)) for factor in (1, *best))
    return _svg(
        "step",
        f"{step['name']}: {step['reason']}",
        None,
        element("line", class_="zero", x1=one, x2=one, y1="0", y2="100%"),
        [
            element("line", class_="best", x1=left, x2=right, y1=top, y2=bottom)
            for left, right, top, bottom in (
                (was, was, "0", "50%"),
                (was, now, "50%", "50%"),
                (now, now, "50%", "100%"),
            )
        ],
        mark,
    )


def path_axis(scale: Scale) -> Markup:
    """Return the ticks of the path."""
    marks = [
        element("text", f"\N{MULTIPLICATION SIGN}{tick:.4g}", x=_at(scale.percent(tick)), y=11, text_anchor="middle")
        for tick in _log_ticks(scale)
    ]
    return element("svg", *marks, class_="path-axis", aria_hidden="true")


def latency_scale(steps: Sequence[Curves | Step]) -> Scale | None:
    """Return one scale for the latency curves of all these steps, or None if they have none."""
    values = [point[1] for step in steps for _kind, curve in _curves(step) for point in curve]
    return Scale(*_round_ends(min(values), max(values)), logarithmic=True) if values else None


def latency(
    step: Curves | Step, up: Scale | None, objective_ms: float | None = None, small: bool = False
) -> Markup | None:
    """Return the latency curves before and after a step over the percentiles (an axis of nines), or None if it has none.

    up: the latency_scale. What the step's requests cannot support is not drawn.
    """
    curves = _curves(step)
    if not curves or up is None:
        return None
    across = Scale(0, max(_nines(curve[-1][0]) for _kind, curve in curves))
    description = "; ".join(f"{kind}: {_described(curve)}" for kind, curve in curves)
    return _svg(
        "latency small" if small else "latency",
        f"Latency, {step['name']}",
        description,
        [_level(tick, up) for tick in _log_ticks(up)],
        [
            _column(across.percent(_nines(fraction)), f"{100 * fraction:g} %")
            for fraction in (0.5, 0.9, 0.99, 0.999, 0.9999)
            if _nines(fraction) <= across.high * 1.001
        ],
        _objective(objective_ms, up),
        element(
            "svg",
            [
                element("path", class_=kind, d=_path(curve, across, up), vector_effect="non-scaling-stroke")
                for kind, curve in curves
            ],
            x="0",
            y="0",
            width="100%",
            height="100%",
            viewBox=f"0 0 {_CURVE_UNITS} {_CURVE_UNITS}",
            preserveAspectRatio="none",
        ),
    )


@dataclasses.dataclass(frozen=True)
class Point:
    """A configuration in the scatter plot. label: stands next to it. title: shows on hover. kind: of the mark."""

    label: str
    title: str
    kind: str
    goodput_rps: float
    p99_ms: float


def scatter(points: Sequence[Point], path: Sequence[Point], objective_ms: float | None) -> Markup | None:
    """Return the plot of p99 (up, logarithmic) over goodput (across), or None without points.

    points: those whose labels matter most first; labels that find no place are left out. path: the points that a line connects.
    objective_ms: where to draw its line, or None.
    """
    if not points:
        return None
    rates, latencies = [point.goodput_rps for point in points], [point.p99_ms for point in points]
    ends = latencies if objective_ms is None else [objective_ms, *latencies]
    up = Scale(min(ends) / 1.1, max(ends) * 1.1, logarithmic=True)
    margin = max(0.1 * (max(rates) - min(rates)), 0.02 * max(rates), 0.001)
    across = Scale(max(min(rates) - margin, 0), max(rates) + margin)

    def place(point: Point) -> tuple[float, float]:
        return across.percent(point.goodput_rps), 100 - up.percent(point.p99_ms)

    named = [(*place(point), point.label) for point in points]
    return _svg(
        "scatter",
        "p99 over goodput of each configuration",
        "; ".join(point.title for point in points),
        [_level(tick, up) for tick in _log_ticks(up)],
        [_column(across.percent(tick), f"{tick:,.10g}/s") for tick in ticks(across.low, across.high, 5)],
        None if objective_ms is None else _across("objective", 100 - up.percent(objective_ms)),
        [
            element("line", class_="best", x1=_at(left), y1=_at(top), x2=_at(right), y2=_at(bottom))
            for (left, top), (right, bottom) in zip(map(place, path), map(place, path[1:]))
        ],
        [
            element("circle", element("title", point.title), class_=point.kind, cx=_at(x), cy=_at(y), r=5)
            for point in reversed(points)
            for x, y in [place(point)]
        ],
        [
            element("text", label, class_=f"label {kind}", x=_at(x), y=_at(y), dx=dx, dy=dy + 4, text_anchor="middle")
            for kind, widths in (("narrow", labels.NARROW), ("wide", labels.WIDE))
            for x, y, dx, dy, label in labels.place(named, widths)
        ],
    )


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return about so many round values (1, 2 or 5 times a power of ten) between low and high."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def supported(curve: Curve | None, requests: int | None) -> Curve:
    """Return the points of a latency curve (or None) that a count of requests supports, with ten requests beyond each. Without a count, all."""
    return [
        point
        for point in curve or ()
        if point[1] >= LEAST_MS and (requests is None or (1 - point[0]) * requests >= _LEAST_BEYOND * 0.999999)
    ]


def at_fraction(curve: Curve, fraction: float) -> float | None:
    """Return the latency in ms at a fraction of the requests, between the points of a curve; None beyond its ends."""
    for (left, low), (right, high) in zip(curve, curve[1:]):
        if left <= fraction <= right:
            return low if right == left else low + (high - low) * (fraction - left) / (right - left)
    return None


def _curves(step: Curves | Step) -> list[tuple[str, Curve]]:
    curves = (("before", step["curve_before"]), ("after", step["curve_after"]))
    drawn = [(kind, supported(curve, step["requests"])) for kind, curve in curves]
    return [(kind, curve) for kind, curve in drawn if len(curve) > 1]


def _svg(kind: str, title: str, description: str | None, *children: Child) -> Markup:
    return element(
        "svg",
        element("title", title),
        None if description is None else element("desc", description),
        *children,
        class_=kind,
        role="img",
    )


def _at(percent: float) -> str:
    return f"{percent:.2f}%"


def _whisker(left: float, right: float) -> Markup:
    ends = [element("line", class_="whisker", x1=_at(end), x2=_at(end), y1=-4, y2=4) for end in (left, right)]
    return join(element("line", class_="whisker", x1=_at(left), x2=_at(right), y1="0", y2="0"), *ends)


def _nines(fraction: float) -> float:
    return -math.log10(1 - fraction)


def _round_ends(least: float, most: float) -> tuple[float, float]:
    """Ends of the axis: the round values just beyond the data."""
    steps = [factor * 10.0**power for power in range(-7, 13) for factor in (1, 2, 5)]
    low = max((step for step in steps if step < least), default=least / 2)
    return low, min((step for step in steps if step > most), default=most * 2)


def _log_ticks(scale: Scale) -> list[float]:
    if scale.high < 4 * scale.low:
        return ticks(scale.low, scale.high, 4)
    values = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        for factor in (1, 2, 5)
    ]
    values = [value for value in values if scale.low * 0.999 <= value <= scale.high * 1.001]
    return values if len(values) <= 7 else [value for value in values if f"{value:e}"[0] == "1"]


def _across(kind: str, percent: float) -> Markup:
    return element("line", class_=kind, x1="0", x2="100%", y1=_at(percent), y2=_at(percent))


def _level(tick: float, up: Scale) -> Markup:
    percent = 100 - up.percent(tick)
    return join(
        _across("grid", percent),
        element("text", f"{tick:.6g} ms", x=-8, y=_at(percent), dy="0.32em", text_anchor="end"),
    )


def _column(percent: float, label: str) -> Markup:
    place = _at(percent)
    return join(
        element("line", class_="grid", x1=place, x2=place, y1="0", y2="100%"),
        element("text", label, x=place, y="100%", dy="1.4em", text_anchor="middle"),
    )


def _objective(objective_ms: float | None, up: Scale) -> Markup | None:
    if not objective_ms or not up.low <= objective_ms <= up.high:
        return None
    percent = 100 - up.percent(objective_ms)
    return join(
        _across("objective", percent),
        element("text", f"objective {objective_ms:g} ms", class_="objective", x="6", y=_at(percent), dy="1.25em"),
    )


def _path(curve: Curve, across: Scale, up: Scale) -> str:
    points = [(across.percent(_nines(fraction)), 100 - up.percent(latency_ms)) for fraction, latency_ms in curve]
    scale = _CURVE_UNITS / 100
    return "M" + "L".join(f"{x * scale:.1f} {y * scale:.1f}" for x, y in points)


def _described(curve: Curve) -> str:
    known = [(fraction, at_fraction(curve, fraction)) for fraction in (0.5, 0.9, 0.99, 0.999)]
    return ", ".join(
        f"{words.milliseconds(value)} at {100 * fraction:g} %" for fraction, value in known if value is not None
    )
