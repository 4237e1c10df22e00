# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots: where marks stand, which points are drawn, and that no data breaks them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page, plots, summary

STEP = {
    "name": "a",
    "kept": True,
    "reason": "",
    "goodput_rps": 100.0,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "requests": 1000,
    "gain": 0.1,
    "gain_interval": [0.05, 0.15],
    "noise_floor": 0.02,
    "accuracy": {"before": 0.9, "after": 0.9},
}


def place(element, key):
    return float(element.get(key).rstrip("%"))


def test_linear_and_logarithmic_scales():
    assert [plots.Scale(0, 200).percent(value) for value in (-1, 0, 50, 200, 300)] == [0, 0, 25, 100, 100]
    assert plots.Scale(1, 100, logarithmic=True).percent(10) == pytest.approx(50)


@pytest.mark.parametrize(
    "low, high, wanted, expected",
    [
        (0, 1, 4, [0, 0.5, 1]),
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.07, 0.56, 3, [0, 0.5]),
        (-0.02, 0.02, 3, [-0.02, 0, 0.02]),
        (3, 97, 5, [20, 40, 60, 80]),
    ],
)
def test_ticks_are_round(low, high, wanted, expected):
    assert plots.ticks(low, high, wanted) == pytest.approx(expected)


def test_mark_of_a_gain_stands_on_its_interval_and_right_of_the_noise():
    scale = plots.gain_scale([dict(STEP, gain=0.3, gain_interval=[0.25, 0.35])])
    drawn = ElementTree.fromstring(plots.gain_mark(dict(STEP, gain=0.3, gain_interval=[0.25, 0.35]), scale))
    band, zero, whisker = drawn.find("rect"), drawn.findall("line")[0], drawn.findall("line")[1]
    mark = drawn.find("circle")
    assert (
        place(band, "x")
        < place(zero, "x1")
        < place(band, "x") + place(band, "width")
        < place(whisker, "x1")
        < place(mark, "cx")
        < place(whisker, "x2")
    )
    assert place(mark, "cx") == pytest.approx((place(whisker, "x1") + place(whisker, "x2")) / 2, abs=0.02)
    assert mark.get("class") == "mark kept"


def test_an_open_interval_reaches_the_edge():
    step = dict(STEP, gain_interval=[0.05, None])
    drawn = ElementTree.fromstring(plots.gain_mark(step, plots.gain_scale([step])))
    assert place(drawn.findall("line")[1], "x2") == 100


def test_a_step_without_a_gain_has_no_mark():
    assert plots.gain_mark(dict(STEP, gain=None), plots.gain_scale([STEP])) is None


def test_bars_start_at_zero_and_are_in_proportion():
    whole, half = (
        ElementTree.fromstring(plots.goodput_bar(value, None, None, 200, True, "x")).find("rect")
        for value in (200, 100)
    )
    assert (place(whole, "width"), place(half, "width"), half.get("x")) == (100, 50, "0")


@pytest.mark.parametrize(
    "requests, last",
    [
        (None, 0.9999),
        (1_000_000, 0.9999),
        (10_000, 0.999),
        (1_000, 0.99),
        (999, 0.9),
        (100, 0.9),
        (20, 0.5),
        (19, None),
    ],
)
def test_ten_requests_lie_beyond_every_point_that_is_drawn(requests, last):
    curve = [[0.5, 1.0], [0.9, 2.0], [0.99, 3.0], [0.999, 4.0], [0.9999, 5.0]]
    drawn = plots.supported(curve, requests)
    assert (drawn[-1][0] if drawn else None) == last


def test_axis_of_nines_spaces_percentiles_evenly():
    step = dict(STEP, requests=None, curve_before=None, curve_after=[[0.0, 1.0], [0.9, 10.0], [0.99, 100.0]])
    drawn = plots.latency(step, plots.latency_scale([step]))
    numbers = [float(number) for number in re.search(r'd="M([^"]+)"', drawn).group(1).replace("L", " ").split()]
    assert numbers[0::2] == pytest.approx([0, 500, 1000], abs=0.2)
    assert numbers[1] - numbers[3] == pytest.approx(numbers[3] - numbers[5], abs=0.2)


def test_latency_between_points():
    assert plots.at_fraction([[0.5, 10.0], [0.9, 20.0]], 0.7) == pytest.approx(15)
    assert plots.at_fraction([[0.5, 10.0], [0.9, 20.0]], 0.99) is None
    assert plots.at_fraction([], 0.5) is None


def test_any_checked_data_makes_a_page():
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies

    number = strategies.none() | strategies.floats(0, 1e12) | strategies.sampled_from([0, 5e-324, 1e-9, 1e12])
    gain = strategies.none() | strategies.floats(-1, 1e6) | strategies.sampled_from([-1, 0, 1e12])
    interval = strategies.none() | strategies.tuples(gain, gain).map(
        lambda bounds: list(bounds) if None in bounds else sorted(bounds)
    )
    curve = strategies.none() | strategies.lists(
        strategies.tuples(strategies.floats(0, 1), strategies.floats(0, 1e9)), max_size=6
    ).map(
        lambda points: [
            list(point) for point in zip(sorted(point[0] for point in points), sorted(point[1] for point in points))
        ]
    )
    metric = strategies.none() | strategies.floats(-1e12, 1e12) | strategies.floats(0, 1)
    step = strategies.fixed_dictionaries(
        {
            "name": strategies.text(),
            "kept": strategies.booleans(),
            "reason": strategies.text(),
            "goodput_rps": number,
            "p50_ms": number,
            "p99_ms": number,
            "requests": strategies.none() | strategies.integers(0, 10**9),
            "gain": gain,
            "gain_interval": interval,
            "noise_floor": number,
            "accuracy": strategies.fixed_dictionaries({"before": metric, "after": metric}),
            "curve_before": curve,
            "curve_after": curve,
            "before": strategies.none()
            | strategies.fixed_dictionaries(
                {"goodput_rps": number, "p50_ms": number, "p99_ms": number, "requests": strategies.none()}
            ),
        }
    )
    method = strategies.fixed_dictionaries(
        {
            "objective_p99_ms": number,
            "metric": strategies.none() | strategies.text(),
            "examples": strategies.none() | strategies.integers(1, 10**6),
            "other": strategies.text(),
        }
    )
    tuning = strategies.fixed_dictionaries(
        {
            "backend": strategies.just("embedded"),
            "steps": strategies.lists(step, max_size=3),
            "total": step,
            "method": method,
        }
    )

    @hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(tuning)
    def check(given):
        made = document.build([{"host": "a", "tunings": [given]}], "x")
        text = page.render(made)
        ElementTree.fromstring(text.partition("\n")[2])
        assert not re.search(r'="-?(nan|inf)', text)
        assert summary.lines(made)

    check()
