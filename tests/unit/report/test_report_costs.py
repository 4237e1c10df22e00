# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a million requests cost. Expected: price of an hour / requests answered in an hour, worked out by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page, summary

FIXTURES = Path(__file__).resolve().parents[3] / "tests" / "fixtures" / "report"
MEASURED = json.loads((FIXTURES / "gains.json").read_text())[0]


def host(name, tuning_class, price, before=None, after=None, kept=True):
    """A host of a class; measured where before and after, in requests/s, are given."""
    entry = {"host": name, "capabilities": {"classes": {"image": "x86-64-v3", "tuning": tuning_class}}}
    if price is not None:
        entry["price_per_hour"] = price
    if after is not None:
        tuning = copy.deepcopy(MEASURED["tunings"][0])
        tuning["model"] = "digits"
        tuning["total"].update(kept=kept, goodput_rps=after, before={"goodput_rps": before})
        entry["tunings"] = [tuning]
    return entry


def costs(*hosts):
    """[(class, hosts, price per hour, before, after)]"""
    made = document.build(list(hosts), "Serving")["costs"]
    assert all(cost["model"] == "digits" for cost in made)
    return [tuple(cost[key] for key in ("tuning", "hosts", "price_per_hour", "before", "after")) for cost in made]


def test_each_class_and_all_together():
    # 2 hosts x 100 requests/s x 3,600 s = 720,000 requests for 0.72; later four times as many. 1 host x 500 x 3,600 = 1,800,000 for 1.80, unchanged.
    # Together 2.52 for 2,520,000 requests, later for 2,880,000 + 1,800,000.
    found = costs(
        host("a1", "A", 0.36, 100, 400),
        host("a2", "A", 0.36),
        host("a3", "A", None),
        host("b1", "B", 1.8, 500, 900, kept=False),
    )
    assert found == [
        ("A", 2, 0.72, pytest.approx(1), pytest.approx(0.25)),
        ("B", 1, 1.8, pytest.approx(1), pytest.approx(1)),
        (None, 3, pytest.approx(2.52), pytest.approx(1), pytest.approx(2.52e6 / 4.68e6)),
    ]


def test_nothing_is_said_without_a_price_or_a_measurement():
    assert costs(host("a1", "A", None, 100, 400), host("b1", "B", 1.8)) == []


def test_a_tuning_for_latency_measured_no_full_load():
    latency = host("a1", "A", 0.36, 100, 400)
    latency["tunings"][0]["method"]["goal"] = "latency"
    assert costs(latency) == []


def test_what_was_not_measured_costs_an_unknown_amount():
    assert costs(host("a1", "A", 0.36, None, 400)) == [("A", 1, 0.36, None, pytest.approx(0.25))]
    assert costs(host("a1", "A", 0.36, 0, 400)) == [("A", 1, 0.36, None, pytest.approx(0.25))]
    assert costs(host("a1", "A", 0.0, 100, 400)) == [("A", 1, 0, 0, 0)]


def test_page_and_summary_say_it():
    made = document.build([host("a1", "A", 0.36, 100, 400)], "Serving")
    assert "1 million requests of digits on A cost 1.00 before, 0.250 after (1 host, 0.360 per hour)" in summary.lines(
        made
    )
    assert "<h2>Cost</h2>" in page.render(made)
    assert "<h2>Cost</h2>" not in page.render(document.build([host("a1", "A", None, 100, 400)], "Serving"))


@pytest.mark.parametrize("price", [-0.1, float("inf"), float("nan"), True])
def test_a_price_that_is_none(price):
    with pytest.raises(FleetError, match=r"hosts\[a1\]\.price_per_hour: "):
        document.build([host("a1", "A", price, 100, 400)], "Serving")
