# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots: where marks stand, which points are drawn, and that no data breaks them."""

from __future__ import annotations

import math
import random
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


def test_mark_of_a_gain_stands_on_its_interval_and_moves_the_line_of_the_best():
    # +25 % over a best of 2 times the start is 2.5 times; its interval of 20 to 30 % is 2.4 to 2.6 times.
    step = dict(STEP, gain=0.25, gain_interval=[0.2, 0.3], noise_floor=0.1, factor=2.5)
    scale = plots.Scale(1, 4, logarithmic=True)
    drawn = ElementTree.fromstring(plots.path_row(step, 2.0, (2.0, 2.5), scale))
    percent = {factor: 100 * math.log(factor) / math.log(4) for factor in (1.8, 2, 2.2, 2.4, 2.5, 2.6)}
    band, inner = drawn.find("rect"), drawn.find("svg")
    assert place(band, "x") == pytest.approx(percent[1.8], abs=0.01)
    assert place(band, "width") == pytest.approx(percent[2.2] - percent[1.8], abs=0.02)
    whisker = inner.find("line")
    assert [place(whisker, key) for key in ("x1", "x2")] == pytest.approx([percent[2.4], percent[2.6]], abs=0.01)
    assert place(inner.find("circle"), "cx") == pytest.approx(percent[2.5], abs=0.01)
    assert inner.find("circle").get("class") == "mark kept"
    best = [line for line in drawn.findall("line") if line.get("class") == "best"]
    ends = [place(line, key) for line in best for key in ("x1", "x2")]
    assert ends == pytest.approx([percent[2]] * 3 + [percent[2.5]] * 3, abs=0.01)


def test_an_open_interval_reaches_the_edge():
    step = dict(STEP, gain_interval=[0.05, None], factor=1.1)
    drawn = ElementTree.fromstring(plots.path_row(step, 1, (1, 1.1), plots.path_scale([(1, step)])))
    assert place(drawn.find("svg/line"), "x2") == 100


def test_a_step_without_a_gain_has_the_line_but_no_mark():
    drawn = ElementTree.fromstring(plots.path_row(dict(STEP, factor=None), 2, (2, 2), plots.path_scale([(2, STEP)])))
    assert drawn.find("svg") is None and drawn.find("rect") is None
    assert len({line.get("x1") for line in drawn.findall("line") if line.get("class") == "best"}) == 1


def point(label, goodput_rps, p99_ms, kind="mark"):
    return plots.Point(label, f"point {label}", kind, goodput_rps, p99_ms)


def test_scatter_shows_goodput_to_the_right_p99_up_and_the_path_in_its_order():
    start, first, other, final = (
        point("start", 100, 40),
        point("1", 200, 20),
        point("2", 150, 80),
        point("final", 250, 10),
    )
    drawn = ElementTree.fromstring(plots.scatter([start, final, first, other], [start, first, final], 50))
    marks = {mark.find("title").text[6:]: mark for mark in drawn.findall("circle")}
    across, up = ({label: place(mark, key) for label, mark in marks.items()} for key in ("cx", "cy"))
    assert across["start"] < across["2"] < across["1"] < across["final"]
    assert up["2"] < up["start"] < up["1"] < up["final"]  # percent from the top
    assert up["2"] - up["start"] == pytest.approx(up["start"] - up["1"], abs=0.02)  # logarithmic: 80, 40, 20
    path = [line for line in drawn.findall("line") if line.get("class") == "best"]
    assert [(place(line, "x1"), place(line, "x2")) for line in path] == [
        (across["start"], across["1"]),
        (across["1"], across["final"]),
    ]
    (objective,) = (line for line in drawn.findall("line") if line.get("class") == "objective")
    assert up["2"] < place(objective, "y1") < up["start"]
    for kind in ("narrow", "wide"):
        assert {text.text for text in drawn.findall("text") if text.get("class") == f"label {kind}"} == set(marks)


def rectangle(element, width, size):
    """Left, top, right and bottom in px of a label or a mark in a plot of 278 px height."""
    x, y = (place(element, key) * length / 100 for key, length in (("x", width), ("y", 278)))
    x, y = x + float(element.get("dx")), y + float(element.get("dy")) - 4  # 4: from the middle of a line to its base
    return x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2


@pytest.mark.parametrize("spread", [0.01, 0.1, 1])
@pytest.mark.parametrize("count", [2, 5, 12, 30])
def test_labels_cover_neither_each_other_nor_a_mark(count, spread, seed):
    """On every width that the page can have. Digits of DejaVu Sans, a wide font, are 0.636 em wide: 7.7 px at 12 px."""
    draw = random.Random(f"{count} {spread} {seed}")
    points = [
        point(str(number), *(1000 * draw.lognormvariate(0, spread) for _axis in range(2))) for number in range(count)
    ]
    drawn = ElementTree.fromstring(plots.scatter(points, points[:3], None))
    marks = [
        ElementTree.Element("x", x=mark.get("cx"), y=mark.get("cy"), dx="0", dy="4") for mark in drawn.findall("circle")
    ]
    for kind, widths in (("narrow", range(240, 627, 3)), ("wide", range(580, 1001, 5))):
        texts = [text for text in drawn.findall("text") if text.get("class") == f"label {kind}"]
        assert texts
        for width in widths:
            boxes = [rectangle(text, width, (7.7 * len(text.text), 12)) for text in texts]
            others = [rectangle(mark, width, (11.75, 11.75)) for mark in marks]
            for number, (left, top, right, bottom) in enumerate(boxes):
                assert left >= 0 and top >= 0 and right <= width and bottom <= 278
                for box in boxes[:number] + others:
                    assert left >= box[2] or right <= box[0] or top >= box[3] or bottom <= box[1]


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
            "advice": strategies.booleans(),
            "unconfirmed": strategies.booleans(),
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
