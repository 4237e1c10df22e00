# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots as inline SVG. Widths are percentages, so that a plot fits a phone or a page and its text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import Child, Markup, element, join
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import (
    Curve,
    Curves,
    Step,
    StepSummary,
)

# Two ends in requests per second.
Bounds = Optional[tuple[float, float]]
_CURVE_UNITS = 1000
_LEAST_BEYOND = 10  # a percentile is drawn only if this many requests are beyond it
_LEAST_MS = 1e-6  # a logarithmic axis has no zero


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


def gain_scale(steps: Sequence[StepSummary]) -> Scale:
    """Return one scale for the gains of all steps: their intervals and noise floors, zero always included."""
    values = [0.0, 0.02, -0.02]
    for step in steps:
        values += [value for value in [step["gain"], *(step["gain_interval"] or ())] if value is not None]
        values += [step["noise_floor"] or 0.0, -(step["noise_floor"] or 0.0)]
    margin = (max(values) - min(values)) * 0.06
    return Scale(min(values) - margin, max(values) + margin)


def gain_mark(step: StepSummary, scale: Scale) -> Markup | None:
    """Return the gain of one step: a mark (filled if kept, else hollow) on its interval, the noise band behind, a line at zero."""
    if step["gain"] is None:
        return None
    noise = step["noise_floor"] or 0.0
    left, right = scale.percent(-noise), scale.percent(noise)
    title = (
        f"{step['name']}: gain {words.gain_with_interval(step['gain'], step['gain_interval'])}, noise floor {words.share(step['noise_floor'])}, "
        f"{'kept' if step['kept'] else 'not kept'}"
    )
    low, high = step["gain_interval"] or (None, None)
    return _svg(
        "gain",
        title,
        None,
        element("rect", class_="noise", x=_at(left), width=_at(right - left), y="0", height="100%"),
        element("line", class_="zero", x1=_at(scale.percent(0)), x2=_at(scale.percent(0)), y1="0", y2="100%"),
        _whisker(0 if low is None else scale.percent(low), 100 if high is None else scale.percent(high), 14)
        if step["gain_interval"]
        else None,
        element(
            "circle", class_="mark kept" if step["kept"] else "mark", cx=_at(scale.percent(step["gain"])), cy=14, r=5
        ),
    )


def gain_axis(scale: Scale) -> Markup:
    """Ticks in percent for the column of gains."""
    marks = [
        element("text", _tick_percent(tick), x=_at(scale.percent(tick)), y=11, text_anchor="middle")
        for tick in ticks(scale.low, scale.high, 3)
    ]
    return element("svg", *marks, class_="gain-axis", aria_hidden="true")


def goodput_bar(value: float, interval: Bounds, noise: Bounds, highest: float, kept: bool, label: str) -> Markup:
    """One bar from zero. value: requests per second. interval: (low, high) of it or None. noise: (low, high) around what it was compared with, or None."""
    scale = Scale(0, highest)
    return _svg(
        "bar",
        label,
        None,
        element("rect", class_="fill kept" if kept else "fill", x="0", y=6, height=16, width=_at(scale.percent(value))),
        None
        if noise is None
        else element(
            "rect",
            class_="noise",
            x=_at(scale.percent(noise[0])),
            y="0",
            height="100%",
            width=_at(scale.percent(noise[1]) - scale.percent(noise[0])),
        ),
        None if interval is None else _whisker(scale.percent(interval[0]), scale.percent(interval[1]), 14),
    )


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
        [_level(tick, up) for tick in _log_ticks(up.low, up.high)],
        [
            _column(fraction, across)
            for fraction in (0.5, 0.9, 0.99, 0.999, 0.9999)
            if _nines(fraction) <= across.high * 1.001
        ],
        _objective(objective_ms, up) if objective_ms and up.low <= objective_ms <= up.high else None,
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


def accuracy_scale(steps: Iterable[tuple[str, float, float]]) -> Scale:
    """Return one scale for the accuracies of all these steps: name, before, after."""
    values = [value for _name, *values in steps for value in values]
    least, most = min(values), max(values)
    middle, half_width = (least + most) / 2, max(most - least, 0.02 * max(-least, most) or 0.01)
    return Scale(middle - half_width, min(middle + half_width, 1.0) if most <= 1 else middle + half_width)


def accuracy_mark(before: float, after: float, scale: Scale, label: str) -> Markup:
    """Before (ring) and after (dot) on one line."""
    left, right = sorted((scale.percent(before), scale.percent(after)))
    return _svg(
        "accuracy",
        label,
        None,
        element("line", class_="rail", x1="0", x2="100%", y1=14, y2=14),
        element("line", class_="whisker", x1=_at(left), x2=_at(right), y1=14, y2=14),
        element("circle", class_="mark kept", cx=_at(scale.percent(after)), cy=14, r=4),
        element("circle", class_="mark ring", cx=_at(scale.percent(before)), cy=14, r=7),
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
        if point[1] >= _LEAST_MS and (requests is None or (1 - point[0]) * requests >= _LEAST_BEYOND * 0.999999)
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


def _tick_percent(fraction: float) -> str:
    return f"{round(100 * fraction, 6):+g} %".replace("-", words.MINUS) if fraction else "0"


def _whisker(left: float, right: float, middle: int) -> Markup:
    return join(
        element("line", class_="whisker", x1=_at(left), x2=_at(right), y1=middle, y2=middle),
        [
            element("line", class_="whisker", x1=_at(end), x2=_at(end), y1=middle - 4, y2=middle + 4)
            for end in (left, right)
        ],
    )


def _nines(fraction: float) -> float:
    return -math.log10(1 - fraction)


def _round_ends(least: float, most: float) -> tuple[float, float]:
    """Ends of the axis: the round values just beyond the data."""
    steps = [factor * 10.0**power for power in range(-7, 13) for factor in (1, 2, 5)]
    low = max((step for step in steps if step < least), default=least / 2)
    return low, min((step for step in steps if step > most), default=most * 2)


def _log_ticks(low: float, high: float) -> list[float]:
    values = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    values = [value for value in values if low * 0.999 <= value <= high * 1.001]
    return values if len(values) <= 7 else [value for value in values if f"{value:e}"[0] == "1"]


def _level(tick: float, up: Scale) -> Markup:
    height = _at(100 - up.percent(tick))
    return join(
        element("line", class_="grid", x1="0", x2="100%", y1=height, y2=height),
        element("text", f"{tick:g} ms", x=-8, y=height, dy="0.32em", text_anchor="end"),
    )


def _column(fraction: float, across: Scale) -> Markup:
    place = _at(across.percent(_nines(fraction)))
    return join(
        element("line", class_="grid", x1=place, x2=place, y1="0", y2="100%"),
        element("text", f"{100 * fraction:g} %", x=place, y="100%", dy="1.4em", text_anchor="middle"),
    )


def _objective(objective_ms: float, up: Scale) -> Markup:
    height = _at(100 - up.percent(objective_ms))
    return join(
        element("line", class_="objective", x1="0", x2="100%", y1=height, y2=height),
        element("text", f"objective {objective_ms:g} ms", class_="objective", x="6", y=height, dy="1.25em"),
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
