# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that merge measured windows: the figures of several windows from their HdrHistograms, never from their percentiles."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import percentiles

try:
    from hdrh.histogram import HdrHistogram
except ImportError:
    HdrHistogram = None

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


def merged(windows):
    """The figures of windows of one target: {goodput_rps, throughput_rps, p50_ms, p99_ms, requests, curve}.

    A percentile that the count cannot support is None. curve: [[fraction, ms], …] over the percentiles that it can.
    """
    whole = None
    for window in windows:
        part = _decode(window["histogram"])
        if whole is None:
            whole = part
        else:
            whole.add(part)
    count = whole.get_total_count()
    supported = percentiles.supported(count)
    limit = max([percentiles.PERCENTILES[name][0] for name in supported], default=0)
    seconds = sum(window["duration_s"] for window in windows)
    return {
        "goodput_rps": sum(window["goodput_rps"] * window["duration_s"] for window in windows) / seconds,
        "throughput_rps": sum(window["throughput_rps"] * window["duration_s"] for window in windows) / seconds,
        "p50_ms": _at(whole, 50) if "p50" in supported else None,
        "p99_ms": _at(whole, 99) if "p99" in supported else None,
        "requests": sum(window["requests"] for window in windows),
        "curve": [[percent / 100, _at(whole, percent)] for percent in CURVE if percent <= limit],
    }


def _at(histogram, percent):
    return histogram.get_value_at_percentile(percent) / 1000


def _decode(text):
    if HdrHistogram is None:
        raise FleetError(
            "the Python package hdrhistogram is missing on the controller",
            where="tuning",
            remedy="Install it beside ansible-core: pip install hdrhistogram",
        )
    return HdrHistogram.decode(text)
