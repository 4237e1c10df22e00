# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Latencies of measured windows as HdrHistograms. The figures of several windows come from their histograms, never from the windows' figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load.load_test import Window

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]
try:
    from hdrh.histogram import HdrHistogram
except ImportError:
    HdrHistogram = None

# What the generator needs, by package name; None if this Python lacks it.
PACKAGES = {"numpy": numpy, "hdrhistogram": HdrHistogram}
# name -> (percent, the fewest requests that support it): ten requests beyond it, and for p99.9, which few stalls decide, a hundred.
PERCENTILES = {"p50": (50.0, 20), "p90": (90.0, 100), "p95": (95.0, 200), "p99": (99.0, 1000), "p999": (99.9, 100000)}
_LONGEST_US = 3600 * 10**6
CURVE = (
    0,
    1,
    2,
    5,
    10,
    20,
    30,
    40,
    50,
    60,
    70,
    75,
    80,
    85,
    90,
    92,
    94,
    95,
    96,
    97,
    98,
    98.5,
    99,
    99.3,
    99.5,
    99.7,
    99.9,
    99.95,
    99.99,
)


class Figures(TypedDict):
    """The figures of several windows of one target. A percentile that the count cannot support is None.

    curve: [[fraction, ms], …] over the percentiles that it can.
    """

    goodput_rps: float
    throughput_rps: float
    p50_ms: float | None
    p99_ms: float | None
    requests: int
    curve: list[list[float]]


def supported(count: int) -> list[str]:
    """Return the names of PERCENTILES that a count of requests supports."""
    return [name for name, (_percent_, fewest) in PERCENTILES.items() if count >= fewest]


def encoded(took_ms: Any) -> tuple[dict[str, float | None], str]:
    """Return ({mean, p50, …, max}, the encoded histogram) of the latencies (an array) of answered requests; None for what the count does not support."""
    histogram = HdrHistogram(1, _LONGEST_US, 3)
    micros, counts = numpy.unique(
        numpy.clip(numpy.rint(took_ms * 1000), 1, _LONGEST_US).astype("int64"), return_counts=True
    )
    for value, count in zip(micros.tolist(), counts.tolist()):
        histogram.record_value(value, count)
    enough = supported(len(took_ms))
    figures: dict[str, float | None] = {
        name: histogram.get_value_at_percentile(percent) / 1000 if name in enough else None
        for name, (percent, _fewest) in PERCENTILES.items()
    }
    some = len(took_ms) > 0
    return dict(
        figures, mean=float(took_ms.mean()) if some else None, max=float(took_ms.max()) if some else None
    ), histogram.encode().decode()


def merged(windows: Sequence[Window]) -> Figures:
    """Return the figures of windows of one target, one at least."""
    whole, *others = (_decode(window["histogram"]) for window in windows)
    for part in others:
        whole.add(part)
    count = whole.get_total_count()
    enough = supported(count)
    limit = max([PERCENTILES[name][0] for name in enough], default=0)
    seconds = sum(window["duration_s"] for window in windows)
    return {
        "goodput_rps": sum(window["goodput_rps"] * window["duration_s"] for window in windows) / seconds,
        "throughput_rps": sum(window["throughput_rps"] * window["duration_s"] for window in windows) / seconds,
        "p50_ms": _at(whole, 50) if "p50" in enough else None,
        "p99_ms": _at(whole, 99) if "p99" in enough else None,
        "requests": sum(window["requests"] for window in windows),
        "curve": [[percent / 100, _at(whole, percent)] for percent in CURVE if percent <= limit],
    }


def _at(histogram: Any, percent: float) -> float:
    return float(histogram.get_value_at_percentile(percent)) / 1000


def _decode(text: str) -> Any:
    if HdrHistogram is None:
        raise FleetError(
            "the Python package hdrhistogram is missing on the controller",
            where="tuning",
            remedy="Install it in the environment of ansible-core: pip install hdrhistogram",
        )
    return HdrHistogram.decode(text)
